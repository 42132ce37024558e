package apns

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/push"
)

const batch = 64 // pushes that are started together

// call is a call of Push. Only the goroutine of the caller works on it, besides the connections that end its flights.
type call struct {
	client  *Client
	routes  routes
	targets []push.Target
	results []push.Result
	flights []flight
	timeout time.Duration
	timer   *time.Timer // for the oldest flight; deadlines come in the order of the flights
	next    int         // of flights to start
	oldest  int         // of flights that may be under way
	left    atomic.Int64
	done    chan struct{} // closed when nothing is left
}

func (c *Client) newCall(routes routes, targets []push.Target) *call {
	p := &call{
		client: c, routes: routes, targets: targets, results: make([]push.Result, len(targets)),
		flights: make([]flight, len(targets)), timeout: orDefault(c.Timeout, 30*time.Second), done: make(chan struct{}),
	}
	p.left.Store(int64(len(targets)))
	return p
}

// run starts all flights as there are slots for them, and returns when all have ended.
func (p *call) run(ctx context.Context) []push.Result {
	if len(p.flights) == 0 {
		return p.results
	}
	p.timer = time.NewTimer(p.timeout)
	defer p.timer.Stop()
	for p.next < len(p.flights) {
		n := p.claim(ctx)
		if n == 0 {
			break
		}
		p.start(n)
	}
	if p.next == len(p.flights) && p.wait(ctx, p.done) {
		return p.results
	}
	p.abandon(context.Cause(ctx))
	p.wait(context.WithoutCancel(ctx), p.done)
	return p.results
}

// claim waits for slots. It returns none if ctx ends.
func (p *call) claim(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	n, claim := p.client.slots.take(min(batch, len(p.flights)-p.next))
	if claim == nil {
		return n
	}
	if !p.wait(ctx, claim.ready) {
		p.client.slots.drop(claim)
		return 0
	}
	return claim.n
}

// wait returns when something is ready, false if ctx ends before. Meanwhile flights run out of time.
func (p *call) wait(ctx context.Context, ready <-chan struct{}) bool {
	for {
		select {
		case <-ready:
			return true
		case <-ctx.Done():
			return false
		case <-p.timer.C:
			p.timer.Reset(p.expire(time.Now()))
		}
	}
}

// expire gives up the flights whose time is over and returns when to look again.
func (p *call) expire(now time.Time) time.Duration {
	for ; p.oldest < p.next; p.oldest++ {
		f := &p.flights[p.oldest]
		if f.ended.Load() {
			continue
		}
		if left := f.deadline.Sub(now); left > 0 {
			return left
		}
		f.cancel(errNoAnswer)
	}
	return p.timeout
}

// abandon gives up what has not ended.
func (p *call) abandon(cause error) {
	for i := p.oldest; i < p.next; i++ {
		p.flights[i].cancel(cause)
	}
	for ; p.next < len(p.flights); p.next++ {
		f := &p.flights[p.next]
		f.call, f.index = p, p.next
		f.end(p.client.failure(p.targets[p.next], push.Unsent, cause))
	}
}

// start begins the next n flights, for which slots were taken.
func (p *call) start(n int) {
	deadline := time.Now().Add(p.timeout)
	var ready []*flight // of one link
	var l *link
	for end := p.next + n; p.next < end; p.next++ {
		f := &p.flights[p.next]
		f.call, f.index, f.deadline, f.slot = p, p.next, deadline, true
		if !f.prepare() {
			continue
		}
		if f.link != l && len(ready) > 0 {
			l.enqueue(ready)
			ready = ready[:0]
		}
		l = f.link
		ready = append(ready, f)
	}
	if len(ready) > 0 {
		l.enqueue(ready)
	}
	p.client.slots.share() // of those that could not be sent
}
