package push_test

import (
	"context"
	"net/http"
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
	for _, r := range box.settled()[1:] {
		assert.Equal(t, push.Unsent, r.Outcome)
		assert.False(t, r.Retry.IsZero())
	}
}

// TestAnOutageIsNotWrittenToEveryPush: a batch finds out, then small ones do, and the others stay as they are.
func TestAnOutageIsNotWrittenToEveryPush(t *testing.T) {
	t.Parallel()
	box, now := newOutbox(devices(1000)...), newClock()
	down := true
	d := &push.Dispatcher{Store: box, Clock: now.now, Batch: 100, Parallel: 1, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			if down {
				return always(push.Result{Outcome: push.Retry})(ctx, targets)
			}
			return always(push.Result{Outcome: push.Delivered, Status: 200})(ctx, targets)
		})}
	require.NoError(t, d.Flush(bg))
	assert.Len(t, box.settled(), 100, "the batch that found out")
	require.NoError(t, d.Flush(bg))
	assert.Len(t, box.settled(), 100, "the brake is on")
	for range 10 {
		now.advance(2 * time.Minute)
		before := len(box.settled())
		require.NoError(t, d.Flush(bg))
		assert.Equal(t, 10, len(box.settled())-before, "a few find out whether it is over")
	}
	down = false
	now.advance(2 * time.Hour)
	require.NoError(t, d.Flush(bg))
	assert.Zero(t, box.left(), "everybody is pushed")
}

func TestOneWhoIsRefusedPutsNoBrakeOn(t *testing.T) {
	t.Parallel()
	for _, r := range []push.Result{
		{Outcome: push.Retry, Status: http.StatusTooManyRequests}, {Outcome: push.Invalid, Status: http.StatusGone},
		{Outcome: push.Rejected}, {Outcome: push.BadCertificate}, // of one tenant: those of others go on
	} {
		box := newOutbox(devices(50)...)
		d := &push.Dispatcher{Store: box, Clock: newClock().now, Batch: 10, Parallel: 1, Pusher: always(r)}
		require.NoError(t, d.Flush(bg))
		assert.Len(t, box.settled(), 50, "%s", r.Outcome)
	}
}
