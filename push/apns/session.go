package apns

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/internal/h2"
	"github.com/gomdm/applemdm/push"
)

const (
	firstAlone    = time.Second      // how long the first push on a connection may hold up the others
	steadyAnswers = 10               // after which a connection proved that APNs is well
	steadyAge     = 10 * time.Second // or an answer after that time
)

// session is a connection. Its fields are guarded by the mutex of its link, where they are not atomic.
type session struct {
	conn    *h2.Conn
	proven  atomic.Bool // APNs has answered on it
	open    atomic.Bool // to more than the first push
	steady  atomic.Bool // it proved more than that it could be made
	answers atomic.Uint64
	made    time.Time // by the system's clock
	born    time.Time // when its first push was sent
	started int       // pushes
	seen    int       // of them, when the connection was last looked at for being idle; -1: it was not
	missing int       // pushes without an answer in time
	after   uint64    // answers before them
	stuck   time.Time // since when pushes wait although it is idle, by the system's clock
	unsent  bool      // something was started and not flushed
	full    bool      // in this round
	closing bool      // by us
}

// room returns how busy the session is and whether it takes another push. Until it is open there is one only: APNs
// allows but few before it has answered on a connection, and a certificate that it refuses should be refused once.
func (s *session) room() (busy int, ok bool) {
	if s.full || s.closing {
		return 0, false
	}
	load := s.conn.Load()
	return load.InFlight, load.Room && (s.open.Load() || load.InFlight == 0)
}

// began notes that a push was sent.
func (s *session) began(at time.Time) {
	if s.started == 0 {
		s.born = at
	}
	s.started++
	s.unsent = true
}

// unanswered notes that a push got no answer in time that was sent after the given number of answers.
func (s *session) unanswered(mark uint64) {
	answers := s.answers.Load()
	if s.after != answers {
		s.missing, s.after = 0, answers
	}
	if mark == answers { // nor did any other
		s.missing++
	}
}

// silent returns how many pushes got no answer since there was one to any.
func (s *session) silent() int {
	if s.after != s.answers.Load() {
		return 0
	}
	return s.missing
}

// isSteady reports whether APNs was well as long as the connection was there.
func (s *session) isSteady() bool {
	return s.steady.Load() || s.proven.Load() && time.Since(s.made) >= steadyAge
}

// prove notes an answer: after the first one s is open, after some connecting is no matter any more.
func (l *link) prove(s *session) {
	answers := s.answers.Add(1)
	if s.steady.Load() {
		return
	}
	first := s.proven.CompareAndSwap(false, true)
	steady := answers >= steadyAnswers || s.isSteady()
	if !first && !steady {
		return
	}
	l.mu.Lock()
	s.open.Store(true)
	if steady {
		s.steady.Store(true)
		l.dials.succeed(time.Time{})
	}
	l.mu.Unlock()
}

// renew gives up s if it is old.
func (l *link) renew(s *session, now time.Time) {
	l.mu.Lock()
	old := !s.closing && now.Sub(s.born) >= renewPause
	s.closing = s.closing || old
	l.mu.Unlock()
	if old {
		s.conn.Close()
	}
}

// grow makes a connection if flights wait because every stream is in use. Those that it returns cannot wait: there is no
// connection, and none is made for now. The caller holds l.mu.
func (l *link) grow() []ending {
	if l.queue.first == nil {
		return nil
	}
	if l.dialing || len(l.sessions) >= l.most || !l.busy() {
		return nil
	}
	if l.dials.trial() {
		if now := l.client.steadyNow(); l.dials.active(now) {
			if len(l.sessions) > 0 {
				return nil
			}
			return l.giveUp(l.dials.result(now))
		}
	}
	l.dialing = true
	time.AfterFunc(l.gate.Reserve().Delay(), l.connect)
	return nil
}

// busy reports whether all streams of all connections are in use, as far as is known. The caller holds l.mu.
func (l *link) busy() bool {
	if len(l.sessions) > 0 && l.breaker.trial() {
		return false // it is the breaker that holds them up
	}
	for _, s := range l.sessions {
		load := s.conn.Load()
		if !s.open.Load() || !load.Settled || load.InFlight < load.Limit {
			return false
		}
	}
	return true
}

// connect connects on behalf of all who wait, so it does not end with one of them.
func (l *link) connect() {
	l.mu.Lock()
	l.dialing = l.queue.first != nil // they may have waited for the gate
	wanted := l.dialing
	l.mu.Unlock()
	if !wanted {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*dialTimeout)
	nc, err := l.dial(ctx)
	cancel()
	if err != nil {
		l.unreachable(err)
	} else {
		l.connected(nc)
	}
	l.closeUnheld()
	l.pump()
}

// dial contains panics of what a certificate's key does, which would end the whole program here.
func (l *link) dial(ctx context.Context) (conn *tls.Conn, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return l.dialer.dial(ctx)
}

// unreachable ends the flights that have no other connection to wait for.
func (l *link) unreachable(err error) {
	l.mu.Lock()
	now := l.client.steadyNow()
	l.dialing = false
	l.dials.fail(now, err)
	r := push.Result{Outcome: push.Unsent, At: now, Err: fmt.Errorf("apns: %w", err)}
	refused := certificateRefused(err)
	var ended []ending
	if !refused && len(l.sessions) == 0 {
		ended = l.giveUp(r)
	}
	l.mu.Unlock()
	finish(ended)
	if refused {
		r.Outcome, r.Err = push.BadCertificate, fmt.Errorf("apns: refused in the TLS handshake: %w", err)
		l.refuse(r)
	}
}

func (l *link) connected(nc net.Conn) {
	ping := orDefault(l.client.PingInterval, 15*time.Second)
	s := &session{made: time.Now(), seen: -1}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.conn = h2.New(nc, h2.Config{PingInterval: ping, PingTimeout: min(ping, 10*time.Second), Changed: l.pump})
	l.dialing = false
	l.sessions = append(l.sessions, s)
	time.AfterFunc(firstAlone, func() {
		s.open.Store(true)
		l.pump()
	})
	if len(l.sessions) > 1 && !l.reaping {
		l.reaping = true
		time.AfterFunc(l.idle, l.reap)
	}
}

// reap closes the connections but the first that had nothing to do since it last looked.
func (l *link) reap() {
	l.mu.Lock()
	var idle []*session
	for i, s := range l.sessions {
		if i > 0 && !s.closing && s.started == s.seen && s.conn.Load().InFlight == 0 {
			s.closing = true
			idle = append(idle, s)
		}
		s.seen = s.started
	}
	l.reaping = len(l.sessions) > 1
	if l.reaping {
		time.AfterFunc(l.idle, l.reap)
	}
	l.mu.Unlock()
	closeAll(idle)
}
