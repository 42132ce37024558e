package apns

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/internal/h2"
	"github.com/gomdm/applemdm/push"
)

const (
	firstRest    = time.Second // after a failure to connect; Apple takes quick reconnecting for an attack
	longestRest  = time.Minute
	breakAfter   = 10              // failures in a row of pushes that have a connection
	breakRest    = 5 * time.Second // the first time
	longestAsked = time.Hour       // that one answer keeps all pushes waiting
	renewPause   = time.Minute     // how old a connection must be to be given up for a 503
)

// link is the way to APNs with one certificate: a queue of flights and connections that take them. Calls of Push hold
// the link that they use; one that was replaced closes when nobody holds it.
type link struct {
	client  *Client
	cert    push.Certificate
	dialer  dialer
	most    int           // connections
	idle    time.Duration // of connections but the first
	watched atomic.Bool   // the breaker wants to know of successes

	mu       sync.Mutex
	holders  int
	retired  bool
	queue    queue
	header   header
	sessions []*session
	dialing  bool
	reaping  bool

	dials   pause   // no connections are made
	breaker pause   // no pushes are sent
	probe   *flight // decides whether the breaker closes

	refused      push.Result // what pushes share until refusedUntil
	refusedUntil time.Time
}

func (c *Client) newLink(cert push.Certificate, to endpoint) *link {
	return &link{
		client: c, cert: cert, dialer: c.newDialer(cert, to), header: newHeader(to.host, cert.Topic),
		most: orDefault(c.Connections, 8), idle: orDefault(c.IdleTimeout, time.Minute),
		dials:   pause{bound: 1, first: firstRest, longest: longestRest},
		breaker: pause{bound: breakAfter, first: breakRest, longest: longestRest},
	}
}

// ending is a flight that the link gives up. It ends when the link is not locked.
type ending struct {
	flight *flight
	result push.Result
}

func finish(all []ending) {
	for _, e := range all {
		e.flight.finish(e.result, unclear)
	}
}

// enqueue takes flights in, or ends them at once with what the link knows already.
func (l *link) enqueue(flights []*flight) {
	l.mu.Lock()
	var ended []ending
	for _, f := range flights {
		if r, barred := l.barred(f.sent); barred {
			ended = append(ended, ending{f, r})
		} else {
			l.queue.push(f)
		}
	}
	l.mu.Unlock()
	finish(ended)
	l.pump()
}

// barred returns the result of a push that need not be tried. The caller holds l.mu.
func (l *link) barred(now time.Time) (push.Result, bool) {
	switch {
	case now.Before(l.refusedUntil):
		r := l.refused
		r.At = now
		return r, true
	case l.breaker.active(now):
		return l.breaker.result(now), true
	}
	return push.Result{}, false
}

// pump is what moves flights: it is called after every change.
func (l *link) pump() {
	l.mu.Lock()
	l.sweep()
	ended := append(append(l.screen(), l.dispatch()...), l.grow()...)
	l.mu.Unlock()
	finish(ended)
	l.client.slots.share()
}

// screen gives up what need not be tried any more. The caller holds l.mu.
func (l *link) screen() []ending {
	if l.queue.first == nil || l.refusedUntil.IsZero() && !l.breaker.trial() {
		return nil
	}
	if r, barred := l.barred(l.client.steadyNow()); barred {
		return l.giveUp(r)
	}
	return nil
}

// dispatch hands flights to connections while there is room. Those that it returns cannot be sent. The caller holds
// l.mu.
func (l *link) dispatch() (ended []ending) {
	for _, s := range l.sessions {
		s.full = false
	}
	for f := l.queue.first; f != nil; f = l.queue.first {
		if l.breaker.trial() && l.probe != nil {
			break
		}
		s := l.pick(f)
		if s == nil {
			break
		}
		switch err := l.start(s, f); {
		case errors.Is(err, h2.ErrTooLarge):
			l.queue.remove(f)
			ended = append(ended, ending{f, push.Result{Outcome: push.Rejected, At: f.sent, Err: fmt.Errorf("apns: %w", err)}})
		case err != nil:
			s.full = true
		}
	}
	for _, s := range l.sessions {
		if s.unsent {
			s.unsent = false
			s.conn.Flush()
		}
	}
	return ended
}

// pick returns the least busy connection with room. The caller holds l.mu.
func (l *link) pick(f *flight) *session {
	var best *session
	least := 0
	for _, s := range l.sessions {
		n, ok := s.room()
		if s == f.session {
			n += 1 << 20 // rather another one than where it failed
		}
		if ok && (best == nil || n < least) {
			best, least = s, n
		}
	}
	return best
}

// start hands f to s, unless s does not take it. The caller holds l.mu.
func (l *link) start(s *session, f *flight) error {
	t := &f.call.targets[f.index]
	last := f.session
	f.session = s // the answer may be quick
	f.attempts++
	fields := l.header.of(t.Token, f.id, len(f.body), f.sent.Add(orDefault(l.client.Expiration, 7*24*time.Hour)))
	stream, err := s.conn.Start(fields, f.body, f)
	if err != nil {
		f.session = last
		f.attempts--
		return err
	}
	l.queue.remove(f)
	f.stream = stream
	s.began(f.sent)
	if l.breaker.trial() {
		l.probe = f
	}
	return nil
}

// repeat lines f up again, if err and the number of attempts allow it. canceled is why it must not be.
func (l *link) repeat(f *flight, err error) (canceled error, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.probe == f {
		l.probe = nil
	}
	if f.canceled != nil {
		return f.canceled, false
	}
	if f.attempts >= maxAttempts(err) {
		return nil, false
	}
	if now := l.client.steadyNow(); now.Before(l.refusedUntil) || l.breaker.active(now) {
		return nil, false
	}
	l.queue.pushFront(f)
	return nil, true
}

// judge lets the breaker learn from the end of a push.
func (l *link) judge(f *flight, r push.Result, v verdict) {
	if v != failing && !l.watched.Load() {
		return
	}
	l.mu.Lock()
	probe := l.probe == f
	if probe {
		l.probe = nil
	}
	var ended []ending
	switch v {
	case alive:
		l.breaker.succeed(r.At)
	case failing:
		ended = l.trouble(r)
	}
	l.watch()
	l.mu.Unlock()
	finish(ended)
	if probe {
		l.pump()
	}
}

// trouble counts a failure and, if it is too many, gives up what waits. The caller holds l.mu.
func (l *link) trouble(r push.Result) []ending {
	err := r.Err
	if err == nil {
		err = fmt.Errorf("APNs answered %d %s", r.Status, r.Reason)
	}
	l.breaker.fail(r.At, err)
	if r.Status == 503 && !r.Retry.IsZero() {
		l.breaker.ask(r.At.Add(min(r.Retry.Sub(r.At), longestAsked)), err)
	}
	l.watch()
	if !l.breaker.active(r.At) {
		return nil
	}
	return l.giveUp(l.breaker.result(r.At))
}

func (l *link) watch() { l.watched.Store(l.breaker.failures > 0 || l.breaker.trial()) }

// giveUp empties the queue. The caller holds l.mu.
func (l *link) giveUp(r push.Result) []ending {
	var all []ending
	for f := l.queue.first; f != nil; f = l.queue.first {
		l.queue.remove(f)
		all = append(all, ending{f, r})
	}
	return all
}

// refuse makes pushes share r for a while, those that wait among them.
func (l *link) refuse(r push.Result) {
	l.mu.Lock()
	l.refused, l.refusedUntil = r, r.At.Add(orDefault(l.client.CertificatePause, time.Minute))
	ended := l.giveUp(r)
	l.mu.Unlock()
	finish(ended)
}

func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders++
}

func (l *link) unhold() {
	l.mu.Lock()
	l.holders--
	l.mu.Unlock()
	l.closeUnheld()
}

// retire closes the link's connections as soon as nobody holds it. Nobody may take hold of it any more.
func (l *link) retire() {
	l.mu.Lock()
	l.retired = true
	l.mu.Unlock()
	l.closeUnheld()
}

func (l *link) closeUnheld() {
	l.mu.Lock()
	var open []*session
	if l.retired && l.holders == 0 {
		open = slices.Clone(l.sessions)
	}
	for _, s := range open {
		s.closing = true
	}
	l.mu.Unlock()
	closeAll(open)
}

func closeAll(all []*session) {
	for _, s := range all {
		s.conn.Close()
	}
}

var errLost = errors.New("the connection was lost before APNs answered on it")

// sweep drops the connections that take no more pushes, and learns from their ends. The caller holds l.mu.
func (l *link) sweep() {
	l.sessions = slices.DeleteFunc(l.sessions, func(s *session) bool {
		if s.conn.Load().Open {
			return false
		}
		if err := s.conn.Err(); !s.closing && err != nil {
			l.lost(s, err)
		}
		return true
	})
}

func (l *link) lost(s *session, err error) {
	now := l.client.steadyNow()
	_, away := errors.AsType[*h2.GoAwayError](err)
	switch {
	case certificateRefused(err):
		r := push.Result{Outcome: push.BadCertificate, At: now, Err: fmt.Errorf("apns: the certificate was refused: %w", err)}
		l.refused, l.refusedUntil = r, now.Add(orDefault(l.client.CertificatePause, time.Minute))
		l.dials.fail(now, err)
	case !s.proven.Load():
		l.dials.fail(now, fmt.Errorf("%w: %w", errLost, err))
	case !away:
		l.breaker.fail(now, err)
		l.watch()
	}
}
