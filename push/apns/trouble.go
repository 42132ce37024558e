package apns

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/internal/h2"
	"github.com/gomdm/applemdm/push"
)

const (
	maxSilent  = 3               // pushes without an answer, and none to others meanwhile, for which a connection is replaced
	stuckAfter = 5 * time.Second // how long a connection may take no push although it is idle
	blipPause  = time.Second     // connections that are lost in this time are one failure
)

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
		if f.session != nil && errors.Is(r.Err, errNoAnswer) {
			f.session.unanswered(f.mark)
		}
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
	resting := l.breaker.active(r.At)
	l.replace(func(s *session) bool { n := s.silent(); return n >= maxSilent || resting && n > 0 }) // not for the probe
	if r.Status == 503 && !r.Retry.IsZero() {
		l.breaker.ask(r.At.Add(min(r.Retry.Sub(r.At), longestAsked)), err)
	}
	l.watch()
	if !l.breaker.active(r.At) {
		return nil
	}
	return l.giveUp(l.breaker.result(r.At))
}

// watch keeps what follows from the breaker. The caller holds l.mu.
func (l *link) watch() {
	if !l.breaker.trial() {
		l.probe = nil // another push has decided
	}
	l.watched.Store(l.breaker.failures > 0 || l.breaker.trial())
}

// refuse makes pushes share r for a while, those that wait among them.
func (l *link) refuse(r push.Result) {
	l.mu.Lock()
	l.refused, l.refusedUntil = r, r.At.Add(l.refusedFor())
	ended := l.giveUp(r)
	l.mu.Unlock()
	finish(ended)
}

func (l *link) refusedFor() time.Duration { return orDefault(l.client.CertificatePause, time.Minute) }

// isRefused reports whether the certificate was, of late. The caller holds l.mu.
func (l *link) isRefused(now time.Time) bool {
	if latest := now.Add(l.refusedFor()); l.refusedUntil.After(latest) {
		l.refusedUntil = latest // the clock was set back
	}
	return now.Before(l.refusedUntil)
}

var (
	errLost  = errors.New("the connection was lost before APNs answered on it")
	errStuck = errors.New("APNs takes no pushes on the connection")
)

// sweep drops the connections that take no more pushes, and learns from their ends. The caller holds l.mu.
func (l *link) sweep() {
	l.sessions = slices.DeleteFunc(l.sessions, func(s *session) bool {
		load := s.conn.Load()
		if load.Open || load.Breaking {
			return false
		}
		if err := s.conn.Err(); !s.closing && err != nil {
			l.lost(s, err, load.Lost)
		}
		return true
	})
}

// lost learns from the end of s, with which that many pushes were lost.
func (l *link) lost(s *session, err error, pushes int) {
	now := l.client.steadyNow()
	away, isAway := errors.AsType[*h2.GoAwayError](err)
	switch {
	case certificateRefused(err):
		r := push.Result{Outcome: push.BadCertificate, At: now, Err: fmt.Errorf("apns: the certificate was refused: %w", err)}
		l.refused, l.refusedUntil = r, now.Add(l.refusedFor())
		l.dials.fail(now, err)
	case !s.proven.Load():
		l.dials.fail(now, fmt.Errorf("%w: %w", errLost, err))
	case isAway && !graceful(away), l.dials.trial() && !s.isSteady():
		l.dials.fail(now, err)
	case pushes > 0 && (l.breaker.trial() || time.Since(l.blip) >= blipPause):
		l.blip = time.Now()
		l.breaker.fail(now, err)
		l.watch()
	}
}

// graceful reports whether a connection ended as any does some time.
func graceful(away *h2.GoAwayError) bool {
	switch reasonOf(away) {
	case "", ReasonIdleTimeout, ReasonShutdown:
		return away.Code == http2.ErrCodeNo
	}
	return false
}

// replace gives up connections. They take no more pushes; those in flight may still be answered. The caller holds l.mu.
func (l *link) replace(bad func(*session) bool) {
	var given []*session
	l.sessions = slices.DeleteFunc(l.sessions, func(s *session) bool {
		if s.closing || !bad(s) {
			return false
		}
		s.closing = true
		given = append(given, s)
		return true
	})
	if len(given) > 0 {
		go closeAll(given) // it pumps
	}
}

// useless gives up s, on which nothing can be sent. The caller holds l.mu.
func (l *link) useless(s *session, err error) {
	if !s.proven.Load() || errors.Is(err, h2.ErrNarrow) {
		l.dials.fail(l.client.steadyNow(), err)
	}
	l.replace(func(other *session) bool { return other == s })
}

// unstick gives up connections that are idle and take no pushes, although some wait because all are short of room. The
// caller holds l.mu.
func (l *link) unstick(short bool) {
	if !short && !l.stuck {
		return
	}
	l.stuck = false
	now := time.Now()
	for _, s := range slices.Clone(l.sessions) {
		switch {
		case !short || s.conn.Load().InFlight > 0:
			s.stuck = time.Time{}
		case s.stuck.IsZero():
			s.stuck, l.stuck = now, true
			time.AfterFunc(stuckAfter, l.pump)
		case now.Sub(s.stuck) >= stuckAfter:
			l.useless(s, errStuck)
		default:
			l.stuck = true
		}
	}
}
