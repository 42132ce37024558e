package push

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
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
	case 0:
		r.Outcome, r.Err = Retry, errors.Join(r.Err, errOutcome)
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
	if r.Retry.IsZero() {
		r.Retry = now.Add(d.backoff(r.Target.Failures + 1))
	}
	if earliest := now.Add(minBackoff); r.Retry.Before(earliest) {
		r.Retry = earliest
	}
	if r.Status == http.StatusTooManyRequests { // too many to this token, whatever they are for
		r.Rest = r.Retry
	}
}

var errOutcome = errors.New("push: the pusher gave a result without an outcome")

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
