package push

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

const (
	firstBackoff = 15 * time.Second
	maxBackoff   = time.Hour
	minBackoff   = time.Second // also where a Pusher says earlier, so that a Flush ends
	maxCounted   = 100_000     // targets whose failures are counted
)

// schedule completes r: when it was settled and, if it is to be tried again, when.
func (d *Dispatcher) schedule(ctx context.Context, r *Result) {
	now := d.now()
	if r.At.IsZero() {
		r.At = now
	}
	switch r.Outcome {
	case Retry, BadCertificate: // what a bad certificate holds up is still wanted when there is a good one
	default:
		d.failures.forget(r.Target.Enrollment)
		return
	}
	if ctx.Err() != nil && r.Status == 0 {
		r.Retry = now // we are shutting down: not its failure
		return
	}
	failed := d.failures.add(r.Target.Enrollment)
	if r.Retry.IsZero() {
		r.Retry = now.Add(d.backoff(failed))
	}
	if earliest := now.Add(minBackoff); r.Retry.Before(earliest) {
		r.Retry = earliest
	}
}

func (d *Dispatcher) backoff(failed int) time.Duration {
	if d.Backoff != nil {
		return d.Backoff(failed)
	}
	wait := maxBackoff
	if doublings := failed - 1; doublings < 8 { // 15 s * 2^8 > 1 h
		wait = firstBackoff << doublings
	}
	return wait - rand.N(wait/2)
}

// failures counts failures in a row by target. The zero value is ready.
type failures struct {
	mu    sync.Mutex
	count map[mdm.EnrollmentID]int
}

// add counts one more and returns how many there are.
func (f *failures) add(id mdm.EnrollmentID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil || len(f.count) >= maxCounted {
		f.count = map[mdm.EnrollmentID]int{} // forgetting makes retries earlier, nothing else
	}
	f.count[id]++
	return f.count[id]
}

func (f *failures) forget(id mdm.EnrollmentID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.count, id)
}
