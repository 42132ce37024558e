package push_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// outbox is a push.Store in memory that knows every enrollment it is told of as enrolled.
type outbox struct {
	mu      sync.Mutex
	intents map[mdm.EnrollmentID]*intent
	order   []mdm.EnrollmentID
	results []push.Result // all that came back
	takes   int
	takeErr error
	giveErr error
}

type intent struct {
	target push.Target
	due    time.Time
}

func newOutbox(devices ...string) *outbox {
	o := &outbox{intents: map[mdm.EnrollmentID]*intent{}}
	for _, device := range devices {
		o.add(device)
	}
	return o
}

func target(device string) push.Target {
	return push.Target{Enrollment: mdm.EnrollmentID{Device: device}, Topic: topic, Token: []byte(device), Magic: "magic"}
}

func (o *outbox) add(device string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := target(device)
	o.intents[t.Enrollment] = &intent{target: t}
	o.order = append(o.order, t.Enrollment)
}

func (o *outbox) addOf(topic, device string) {
	o.add(device)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.intents[mdm.EnrollmentID{Device: device}].target.Topic = topic
}

func (o *outbox) DuePushes(_ context.Context, now time.Time, max int, lease time.Duration) ([]push.Target, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.takes++
	var out []push.Target
	for _, id := range o.order {
		if in := o.intents[id]; in != nil && !in.due.After(now) && len(out) < max {
			in.due = now.Add(lease)
			out = append(out, in.target)
		}
	}
	return out, o.takeErr
}

func (o *outbox) Feedback(ctx context.Context, results []push.Result) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.giveErr != nil {
		return o.giveErr
	}
	for _, r := range results {
		o.results = append(o.results, r)
		if in := o.intents[r.Target.Enrollment]; r.Retry.IsZero() {
			delete(o.intents, r.Target.Enrollment)
		} else if in != nil {
			in.due = r.Retry
			in.target.Failures++
		}
	}
	return nil
}

func (o *outbox) Wake(_ context.Context, to mdm.Targets, due time.Time) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range to.List() {
		o.intents[id] = &intent{target: target(id.Device), due: due}
		o.order = append(o.order, id)
	}
	return len(to.List()), nil
}

func (o *outbox) LastPush(context.Context, mdm.EnrollmentID) (push.Record, error) {
	return push.Record{}, errors.ErrUnsupported
}

func (o *outbox) settled() []push.Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]push.Result(nil), o.results...)
}

func (o *outbox) left() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.intents)
}

func (o *outbox) looks() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.takes
}

// pusherFunc is a push.Pusher.
type pusherFunc func(context.Context, []push.Target) ([]push.Result, error)

func (f pusherFunc) Push(ctx context.Context, targets []push.Target) ([]push.Result, error) {
	return f(ctx, targets)
}

// always gives every target the same result.
func always(r push.Result) pusherFunc {
	return func(_ context.Context, targets []push.Target) ([]push.Result, error) {
		results := make([]push.Result, len(targets))
		for i, t := range targets {
			results[i] = r
			results[i].Target = t
		}
		return results, nil
	}
}

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
