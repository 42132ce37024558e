package push_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/push"
)

func TestSpacingBeginsWithADelivery(t *testing.T) {
	t.Parallel()
	now := newClock()
	tests := []struct {
		name    string
		spacing time.Duration
		result  push.Result
		rest    time.Duration // from now; 0: none
	}{
		{"delivered", 0, push.Result{Outcome: push.Delivered}, time.Second},
		{"delivered, as the vendor likes it", 5 * time.Second, push.Result{Outcome: push.Delivered}, 5 * time.Second},
		{"none", -1, push.Result{Outcome: push.Delivered}, 0},
		{"not delivered", time.Minute, push.Result{Outcome: push.Retry}, 0},
		{"too many for this token", 0, push.Result{Outcome: push.Retry, Status: http.StatusTooManyRequests, Retry: now.now().Add(time.Hour)}, time.Hour},
		{"too many, and APNs does not say for how long", 0, push.Result{Outcome: push.Retry, Status: http.StatusTooManyRequests}, 7 * time.Second},
		{"APNs is overloaded", 0, push.Result{Outcome: push.Retry, Status: http.StatusServiceUnavailable, Retry: now.now().Add(time.Hour)}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			box := newOutbox("a")
			d := &push.Dispatcher{Store: box, Pusher: always(tt.result), Clock: now.now, Pacing: push.Pacing{Spacing: tt.spacing}}
			require.NoError(t, d.Flush(bg))
			require.Len(t, box.settled(), 1)
			rest := box.settled()[0].Rest
			if tt.rest == 0 {
				assert.False(t, rest.After(now.now()), "%s", rest)
				return
			}
			if tt.rest == 7*time.Second { // as its back-off, which is random
				assert.Equal(t, box.settled()[0].Retry, rest)
				return
			}
			assert.Equal(t, now.now().Add(tt.rest), rest)
		})
	}
}

// TestRateBoundsWhatIsTaken: what waits for its turn waits in the store, not in the process.
func TestRateBoundsWhatIsTaken(t *testing.T) {
	t.Parallel()
	box := newOutbox(devices(60)...)
	var biggest int
	d := &push.Dispatcher{Store: box, Parallel: 1, Pacing: push.Pacing{Rate: 200}, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			biggest = max(biggest, len(targets))
			return always(push.Result{Outcome: push.Delivered})(ctx, targets)
		})}
	require.NoError(t, d.Flush(bg))
	assert.Len(t, box.settled(), 60)
	assert.Equal(t, 50, biggest, "a quarter of a second's")
}

func TestRateEndsWithTheContext(t *testing.T) {
	t.Parallel()
	box := newOutbox(devices(3)...)
	ctx, cancel := context.WithCancel(bg)
	d := &push.Dispatcher{Store: box, Parallel: 1, Pacing: push.Pacing{Rate: 1}, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			cancel() // while the second waits for its turn
			return always(push.Result{Outcome: push.Delivered})(ctx, targets)
		})}
	require.Error(t, d.Flush(ctx))
	assert.Len(t, box.settled(), 1)
	assert.Equal(t, 2, box.left(), "the others stay in the store")
}

// tally counts the pushes that reach a Pusher, by topic.
type tally struct {
	mu     sync.Mutex
	tried  map[string]int
	answer func(push.Target) push.Result
}

func (c *tally) Push(_ context.Context, targets []push.Target) ([]push.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	results := make([]push.Result, len(targets))
	for i, t := range targets {
		c.tried[t.Topic]++
		results[i] = c.answer(t)
	}
	return results, nil
}

// TestATopicThatIsDownWaits: a batch finds out, the others are put off untried, and a few at a time find out whether it is over.
// Another topic is pushed all the while.
func TestATopicThatIsDownWaits(t *testing.T) {
	t.Parallel()
	now := newClock()
	box := newOutbox(devices(1000)...)
	down := true
	c := &tally{tried: map[string]int{}, answer: func(t push.Target) push.Result {
		if down && t.Topic == topic {
			return push.Result{Outcome: push.Retry}
		}
		return push.Result{Outcome: push.Delivered, Status: http.StatusOK}
	}}
	d := &push.Dispatcher{Store: box, Clock: now.now, Batch: 100, Parallel: 1, Pusher: c}
	require.NoError(t, d.Flush(bg))
	assert.Equal(t, 100, c.tried[topic], "the batch that found out")
	assert.Len(t, box.settled(), 1000, "all others were put off")
	for range 10 {
		box.addOf("other", fmt.Sprintf("other-%d", c.tried["other"]))
		now.advance(3 * time.Minute)
		before, others := c.tried[topic], c.tried["other"]
		require.NoError(t, d.Flush(bg))
		assert.Equal(t, 10, c.tried[topic]-before, "a few find out whether it is over")
		assert.Equal(t, 1, c.tried["other"]-others, "another topic does not wait")
	}
	for _, r := range box.settled() {
		if r.Outcome == push.Unsent {
			require.False(t, r.Retry.Before(r.At))
			require.LessOrEqual(t, r.Retry.Sub(r.At), 5*time.Minute)
		}
	}
	down = false
	for range 5 {
		now.advance(time.Hour)
		require.NoError(t, d.Flush(bg))
	}
	assert.Zero(t, box.left(), "everybody is pushed")
}

func TestOneDeviceThatGetsNoAnswerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	box, now := newOutbox("poison"), newClock()
	c := &tally{tried: map[string]int{}, answer: func(t push.Target) push.Result {
		if t.Enrollment.Device == "poison" {
			return push.Result{Outcome: push.Retry}
		}
		return push.Result{Outcome: push.Delivered, Status: http.StatusOK}
	}}
	d := &push.Dispatcher{Store: box, Clock: now.now, Pusher: c}
	for i := range 9 {
		require.NoError(t, d.Flush(bg))
		now.advance(2 * time.Hour)
		assert.Equal(t, i+1, c.tried[topic])
	}
	box.add("good")
	require.NoError(t, d.Flush(bg))
	assert.Equal(t, 1, box.left())
}

func TestOneWhoIsRefusedHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for _, r := range []push.Result{
		{Outcome: push.Retry, Status: http.StatusTooManyRequests}, {Outcome: push.Invalid, Status: http.StatusGone},
		{Outcome: push.Rejected}, {Outcome: push.BadCertificate},
	} {
		box := newOutbox(devices(50)...)
		c := &tally{tried: map[string]int{}, answer: func(push.Target) push.Result { return r }}
		d := &push.Dispatcher{Store: box, Clock: newClock().now, Batch: 10, Parallel: 1, Pusher: c}
		require.NoError(t, d.Flush(bg))
		assert.Equal(t, 50, c.tried[topic], "%s", r.Outcome)
	}
}

// TestTheWrongEnvironmentMakesNobodyGone: with the sandbox, or another certificate, APNs calls every token bad.
func TestTheWrongEnvironmentMakesNobodyGone(t *testing.T) {
	t.Parallel()
	bad := push.Result{Outcome: push.Invalid, Status: http.StatusBadRequest, Reason: "BadDeviceToken"}
	box := newOutbox(devices(20)...)
	d := &push.Dispatcher{Store: box, Clock: newClock().now, Pusher: always(bad)}
	require.NoError(t, d.Flush(bg))
	for _, r := range box.settled() {
		assert.Equal(t, push.BadCertificate, r.Outcome)
		assert.ErrorContains(t, r.Err, "environment")
		assert.False(t, r.Retry.IsZero())
	}
	box = newOutbox(devices(20)...)
	d = &push.Dispatcher{Store: box, Clock: newClock().now, Pusher: &tally{tried: map[string]int{}, answer: func(t push.Target) push.Result {
		if t.Enrollment.Device < "device-007" {
			return bad
		}
		return push.Result{Outcome: push.Delivered, Status: http.StatusOK}
	}}}
	require.NoError(t, d.Flush(bg))
	invalid := 0
	for _, r := range box.settled() {
		if r.Outcome == push.Invalid {
			invalid++
		}
	}
	assert.Equal(t, 7, invalid, "some bad tokens are bad tokens")
}

func TestAForeignPusherIsNotBelievedBlindly(t *testing.T) {
	t.Parallel()
	box := newOutbox("a")
	d := &push.Dispatcher{Store: box, Clock: newClock().now, Pusher: always(push.Result{Reason: "a\x00b", APNsID: strings.Repeat("x", 1000)})}
	require.NoError(t, d.Flush(bg))
	r := box.settled()[0]
	assert.Equal(t, push.Retry, r.Outcome, "no outcome is none")
	assert.False(t, r.Retry.IsZero())
	assert.Empty(t, r.Reason+r.APNsID)
}
