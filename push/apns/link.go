package apns

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

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
	dialBurst    = 8               // connections that may be made at once, besides Client.Connections; then one a second
)

// link is the way to APNs with one certificate: a queue of flights and connections that take them. Calls of Push hold
// the link that they use; one that was replaced closes when nobody holds it.
type link struct {
	client  *Client
	cert    push.Certificate
	dialer  dialer
	most    int           // connections
	idle    time.Duration // of connections but the first
	since   uint64        // number of calls that looked for a certificate before this one was used
	gate    *rate.Limiter // of connections that are made
	watched atomic.Bool   // the breaker wants to know of successes

	mu       sync.Mutex
	holders  int
	retired  bool
	queue    queue
	header   header
	sessions []*session
	dialing  bool
	reaping  bool
	stuck    bool      // some connection is
	blip     time.Time // when connections that were lost last counted as a failure

	dials   pause   // no connections are made
	breaker pause   // no pushes are sent
	probe   *flight // decides whether the breaker closes

	refused      push.Result // what pushes share until refusedUntil
	refusedUntil time.Time
}

func (c *Client) newLink(cert push.Certificate, to endpoint) *link {
	most := orDefault(c.Connections, 8)
	return &link{
		client: c, cert: cert, dialer: c.newDialer(cert, to), header: newHeader(to.host, cert.Topic),
		most: most, gate: rate.NewLimiter(rate.Every(time.Second), most+dialBurst), idle: orDefault(c.IdleTimeout, time.Minute),
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
	case l.isRefused(now):
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
	short := false // of room
	for f := l.queue.first; f != nil; f = l.queue.first {
		if l.breaker.trial() && l.probe != nil {
			break
		}
		s := l.pick(f)
		if short = s == nil; short {
			break
		}
		switch err := l.start(s, f); {
		case errors.Is(err, h2.ErrTooLarge):
			l.queue.remove(f)
			ended = append(ended, ending{f, push.Result{Outcome: push.Rejected, At: f.sent, Err: fmt.Errorf("apns: %w", err)}})
		case errors.Is(err, h2.ErrNarrow):
			l.useless(s, err)
		case err != nil:
			s.full = true
		}
	}
	l.unstick(short)
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
	f.session, f.mark = s, s.answers.Load() // the answer may be quick
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
	if f.canceled != nil {
		return f.canceled, false
	}
	if f.attempts >= maxAttempts(err) {
		return nil, false
	}
	if now := l.client.steadyNow(); l.isRefused(now) || l.breaker.active(now) {
		return nil, false
	}
	if l.probe == f {
		l.probe = nil
	}
	l.queue.pushFront(f)
	return nil, true
}

// giveUp empties the queue. The caller holds l.mu.
func (l *link) giveUp(r push.Result) []ending {
	var all []ending
	for f := l.queue.first; f != nil; f = l.queue.first {
		l.queue.remove(f)
		all = append(all, ending{f, r})
	}
	return all
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
