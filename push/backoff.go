package push

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	firstBackoff = 15 * time.Second
	maxBackoff   = time.Hour
	minBackoff   = time.Second // also where a Pusher says earlier, so that a Flush ends
)

// schedule completes r: when it was settled, when it is to be tried again, and how long its channel is left alone.
func (d *Dispatcher) schedule(ctx context.Context, r *Result) {
	now := d.now()
	if r.At.IsZero() {
		r.At = now
	}
	switch r.Outcome {
	case Retry, BadCertificate, Unsent: // what a bad certificate holds up is still wanted when there is a good one
	case Delivered:
		r.Rest = r.At.Add(d.spacing())
		return
	default:
		return
	}
	if ctx.Err() != nil && r.Status == 0 {
		r.Outcome, r.Retry = Unsent, now // we are shutting down: not its failure
		return
	}
	asked := r.Retry
	if r.Retry.IsZero() {
		r.Retry = now.Add(d.backoff(r.Target.Failures + 1))
	}
	if earliest := now.Add(minBackoff); r.Retry.Before(earliest) {
		r.Retry = earliest
	}
	if r.Status == http.StatusTooManyRequests && !asked.IsZero() { // too many to this token, whatever they are for
		r.Rest = r.Retry
	}
}

func (d *Dispatcher) spacing() time.Duration {
	if d.Spacing < 0 {
		return 0
	}
	return orDefault(d.Spacing, time.Second)
}

func (d *Dispatcher) backoff(failed int) time.Duration {
	if d.Backoff != nil {
		return d.Backoff(failed)
	}
	return halved(firstBackoff, maxBackoff, failed)
}

// halved doubles first with each failure but the first, up to most, and takes a random part of up to a half away.
func halved(first, most time.Duration, failed int) time.Duration {
	wait := most
	if doublings := failed - 1; doublings < 16 && first<<max(doublings, 0) < most {
		wait = first << max(doublings, 0)
	}
	return wait - rand.N(wait/2)
}

// brake keeps a Dispatcher from taking pushes while none gets through: each would be written to the store for nothing, a
// million for each look. One small batch after a pause finds out.
type brake struct {
	mu     sync.Mutex
	failed int // batches in a row of which nothing got through
	until  time.Time
}

const (
	firstPause = time.Second
	maxPause   = time.Minute
	probe      = 10 // pushes that find out

	worthTelling = 3
)

// allow returns how many of a batch may be taken.
func (b *brake) allow(now time.Time, batch int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failed == 0:
		return batch
	case now.Before(b.until):
		return 0
	}
	b.until = now.Add(firstPause) // one probe at a time
	return min(batch, probe)
}

// note notes what became of a batch. It reports whether that is worth telling: one that fails alone may be nothing.
func (b *brake) note(results []Result, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range results {
		answered := r.Status != 0 && r.Status < http.StatusInternalServerError
		if answered || r.Outcome != Retry && r.Outcome != Unsent {
			b.failed = 0
			return false
		}
	}
	b.failed++
	b.until = now.Add(halved(firstPause, maxPause, b.failed))
	return b.failed == worthTelling
}

func (b *brake) end() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until
}
