package apns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gomdm/applemdm/push"
)

// ErrPaused is the cause of results of pushes that were not tried, because those before them failed for a reason that
// they would share: no connection, no answers, or answers that say that APNs is in trouble. Result.Retry tells when
// pushes are tried again.
var ErrPaused = errors.New("apns: no pushes are sent for a while")

// verdict is what the end of a push tells about APNs.
type verdict uint8

const (
	unclear verdict = iota
	alive           // it answers, be it with a refusal
	failing
)

// verdictOn tells what it means that a push that was sent was given up for that reason.
func verdictOn(canceled error) verdict {
	if errors.Is(canceled, errNoAnswer) {
		return failing
	}
	return unclear
}

var (
	errNoAnswer = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	errNotSent  = fmt.Errorf("not sent in time: %w", context.DeadlineExceeded)
)

// pause is a rest after failures in a row, longer each time. When it is over one attempt decides: success ends the
// matter, failure begins the next rest.
type pause struct {
	bound   int // failures that begin the first rest
	first   time.Duration
	longest time.Duration

	failures int
	rests    int
	until    time.Time // the zero time: no rest since the last success
	asked    bool      // the rest was asked for, whatever else succeeds
	err      error
}

// active reports whether it is still to be rested. If the clock was set back that is not for longer than it can have been
// meant to be.
func (p *pause) active(now time.Time) bool {
	most := p.longest + p.longest/4
	if p.asked {
		most = longestAsked
	}
	if latest := now.Add(most); p.until.After(latest) {
		p.until = latest
	}
	return now.Before(p.until)
}

// trial reports whether an attempt is to decide, if p is not active.
func (p *pause) trial() bool { return !p.until.IsZero() }

// fail counts a failure and reports whether a rest begins. What fails during a rest began before it and tells nothing
// new.
func (p *pause) fail(now time.Time, err error) bool {
	if p.active(now) {
		return false
	}
	p.failures++
	p.err = err
	if p.failures < p.bound && !p.trial() {
		return false
	}
	rest := p.longest
	if p.rests < 16 {
		rest = min(p.longest, p.first<<p.rests)
	}
	p.rests++
	p.until, p.asked = now.Add(rest+rand.N(rest/4)), false // not all clients at once
	return true
}

// ask rests until then at least.
func (p *pause) ask(until time.Time, err error) {
	if until.After(p.until) {
		p.until, p.asked, p.err = until, true, err
	}
}

// succeed ends the matter. What succeeds during a rest that was asked for began before it and does not end it.
func (p *pause) succeed(now time.Time) {
	if !p.asked || !p.active(now) {
		p.failures, p.rests, p.until, p.asked, p.err = 0, 0, time.Time{}, false, nil
	}
}

// result is what pushes get during the rest.
func (p *pause) result(now time.Time) push.Result {
	err := fmt.Errorf("%w: until %s: %w", ErrPaused, p.until.UTC().Format(time.RFC3339), p.err)
	return push.Result{Outcome: push.Unsent, At: now, Retry: p.until, Err: err}
}
