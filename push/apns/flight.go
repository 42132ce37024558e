package apns

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/internal/h2"
	"github.com/gomdm/applemdm/push"
)

// flight is a push on its way: it waits in the queue of its link or has a stream of a connection, until it ends.
type flight struct {
	call     *call
	index    int
	link     *link
	id       string // apns-id, the same in every attempt
	body     []byte
	sent     time.Time
	deadline time.Time
	slot     bool
	ended    atomic.Bool

	// The mutex of the link guards what follows.
	queued     bool
	prev, next *flight // in the queue
	attempts   int
	mark       uint64   // answers on its connection before it was sent
	session    *session // of the last attempt
	stream     uint32
	canceled   error // why it is not to be repeated
}

var _ h2.Receiver = (*flight)(nil)

// prepare does what can be done before there is a connection. It reports whether the flight goes on.
func (f *flight) prepare() (ok bool) {
	defer f.contain()
	p := f.call
	c, t := p.client, &p.targets[f.index]
	r := p.routes[t.Topic]
	if r.link == nil {
		f.end(c.failure(*t, r.outcome, r.err))
		return false
	}
	f.sent = c.now()
	body, err := payload(t)
	if err != nil {
		f.end(c.failure(*t, push.Rejected, err))
		return false
	}
	f.link, f.body, f.id = r.link, body, uuid.NewString()
	return true
}

// contain ends a flight in which a callback panicked, which would end the whole program here.
func (f *flight) contain() {
	if p := recover(); p != nil {
		f.finish(push.Result{Outcome: push.Unsent, At: time.Now(), Err: fmt.Errorf("apns: panic: %v", p)}, unclear)
	}
}

// Answered is for the connection.
func (f *flight) Answered(a h2.Answer, err error) {
	defer f.contain()
	l := f.link
	if err != nil {
		f.failed(err)
		return
	}
	l.prove(f.session)
	c := f.call.client
	r := parseAnswer(a, f.sent, c.now())
	if r.Status == 503 {
		l.renew(f.session, r.At)
	}
	if r.Outcome == push.BadCertificate {
		l.refuse(r)
	}
	if r.Status >= 500 {
		f.finish(r, failing)
	} else {
		f.finish(r, alive)
	}
}

// failed repeats the flight if that is safe and may help, else ends it.
func (f *flight) failed(err error) {
	l, c := f.link, f.call.client
	if certificateRefused(err) {
		r := c.failure(push.Target{}, push.BadCertificate, fmt.Errorf("apns: the certificate was refused: %w", err))
		l.refuse(r)
		f.finish(r, unclear)
		return
	}
	canceled, again := l.repeat(f, err)
	switch {
	case again:
	case canceled != nil:
		f.finish(c.failure(push.Target{}, push.Retry, fmt.Errorf("apns: %w", canceled)), verdictOn(canceled))
	default:
		f.finish(c.failure(push.Target{}, push.Retry, fmt.Errorf("apns: %w", err)), f.verdict(err))
	}
}

// verdict tells what it means that the flight failed with err. Connections that were lost are the link's to count.
func (f *flight) verdict(err error) verdict {
	_, reset := errors.AsType[http2.StreamError](err)
	if f.attempts < maxAttempts(err) || errors.Is(err, h2.ErrLost) && !reset {
		return unclear
	}
	return failing
}

// cancel ends the flight unless it has ended. Only the goroutine of the call does that.
func (f *flight) cancel(cause error) {
	if f.ended.Load() {
		return
	}
	l := f.link
	l.mu.Lock()
	f.canceled = cause
	queued, s, stream := f.queued, f.session, f.stream
	if queued {
		l.queue.remove(f)
	}
	if queued && f.attempts == 0 && errors.Is(cause, errNoAnswer) {
		cause = errNotSent
	}
	l.mu.Unlock()
	switch {
	case queued:
		f.finish(f.call.client.failure(push.Target{}, push.Unsent, fmt.Errorf("apns: %w", cause)), unclear)
		l.client.slots.share()
	case s != nil:
		s.conn.Cancel(stream)
	}
}

// finish ends the flight with r, and lets its link learn from it. It is called with nothing locked.
func (f *flight) finish(r push.Result, v verdict) {
	if f.link != nil {
		f.link.judge(f, r, v)
	}
	f.end(r)
}

// end is the end of the flight, the first time.
func (f *flight) end(r push.Result) {
	if !f.ended.CompareAndSwap(false, true) {
		return
	}
	p := f.call
	if r.Outcome == push.Unsent && f.attempts > 0 {
		r.Outcome = push.Retry // not this time, but before
	}
	r.Target = p.targets[f.index]
	p.results[f.index] = p.client.doubt(r)
	if f.slot {
		p.client.slots.put(1)
	}
	if p.left.Add(-1) == 0 {
		close(p.done)
	}
}

// maxAttempts returns how often a push that failed with err may be tried in all.
func maxAttempts(err error) int {
	switch {
	case errors.Is(err, h2.ErrUntouched):
		return 5
	case errors.Is(err, h2.ErrLost):
		return 2
	}
	return 1
}

// queue is flights in line. The zero queue is empty.
type queue struct {
	first, last *flight
	len         int
}

func (q *queue) push(f *flight) {
	f.queued, f.prev, f.next = true, q.last, nil
	if q.last == nil {
		q.first = f
	} else {
		q.last.next = f
	}
	q.last = f
	q.len++
}

// pushFront is for those that have waited before.
func (q *queue) pushFront(f *flight) {
	f.queued, f.prev, f.next = true, nil, q.first
	if q.first == nil {
		q.last = f
	} else {
		q.first.prev = f
	}
	q.first = f
	q.len++
}

func (q *queue) remove(f *flight) {
	if f.prev == nil {
		q.first = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next == nil {
		q.last = f.prev
	} else {
		f.next.prev = f.prev
	}
	f.queued, f.prev, f.next = false, nil, nil
	q.len--
}
