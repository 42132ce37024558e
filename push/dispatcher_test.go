package push_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

var bg = context.Background()

func devices(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("device-%03d", i)
	}
	return names
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, time.Millisecond)
}

func TestFlushPushesAllThatIsDue(t *testing.T) {
	t.Parallel()
	box, now := newOutbox(devices(25)...), newClock()
	var largest atomic.Int64
	d := &push.Dispatcher{Store: box, Batch: 10, Clock: now.now, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			largest.Store(max(largest.Load(), int64(len(targets))))
			return always(push.Result{Outcome: push.Delivered})(ctx, targets)
		})}
	_, err := box.Wake(bg, mdm.IDs(mdm.EnrollmentID{Device: "later"}), now.now().Add(time.Minute))
	require.NoError(t, err)
	require.NoError(t, d.Flush(bg))
	assert.Len(t, box.settled(), 25)
	assert.LessOrEqual(t, largest.Load(), int64(10))
	assert.Equal(t, 1, box.left(), "one is not due yet")
	now.advance(time.Minute)
	require.NoError(t, d.Flush(bg))
	assert.Zero(t, box.left())
}

func TestOutcomesAreSettled(t *testing.T) {
	t.Parallel()
	now := newClock()
	asked := now.now().Add(42 * time.Second)
	tests := []struct {
		name     string
		result   push.Result
		from, to time.Duration // until the retry; 0: none
	}{
		{"delivered", push.Result{Outcome: push.Delivered}, 0, 0},
		{"invalid", push.Result{Outcome: push.Invalid, Since: now.now()}, 0, 0},
		{"rejected", push.Result{Outcome: push.Rejected}, 0, 0},
		{"retry, back-off", push.Result{Outcome: push.Retry}, 7 * time.Second, 15 * time.Second},
		{"retry as asked", push.Result{Outcome: push.Retry, Retry: asked}, 42 * time.Second, 42 * time.Second},
		{"retry in the past", push.Result{Outcome: push.Retry, Retry: asked.Add(-time.Hour)}, time.Second, time.Second},
		{"bad certificate", push.Result{Outcome: push.BadCertificate}, 7 * time.Second, 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			box := newOutbox("a")
			d := &push.Dispatcher{Store: box, Pusher: always(tt.result), Clock: now.now}
			require.NoError(t, d.Flush(bg))
			require.Len(t, box.settled(), 1)
			got := box.settled()[0]
			assert.Equal(t, tt.result.Outcome, got.Outcome)
			assert.Equal(t, now.now(), got.At)
			assert.Equal(t, "a", got.Target.Enrollment.Device)
			if tt.to == 0 {
				assert.Zero(t, got.Retry)
				return
			}
			wait := got.Retry.Sub(now.now())
			assert.GreaterOrEqual(t, wait, tt.from)
			assert.LessOrEqual(t, wait, tt.to)
		})
	}
}

func TestBackoffGrowsAndStartsAgain(t *testing.T) {
	t.Parallel()
	box, now := newOutbox("a"), newClock()
	outcome := push.Retry
	d := &push.Dispatcher{Store: box, Clock: now.now, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			return always(push.Result{Outcome: outcome})(ctx, targets)
		})}
	step := func() time.Duration {
		require.NoError(t, d.Flush(bg))
		all := box.settled()
		wait := all[len(all)-1].Retry.Sub(now.now())
		now.advance(2 * time.Hour)
		return wait
	}
	full := []time.Duration{15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600}
	for n, seconds := range full {
		wait, limit := step(), seconds*time.Second
		assert.LessOrEqual(t, wait, limit, "failure %d", n+1)
		assert.Greater(t, wait, limit/2-time.Second, "failure %d", n+1)
	}
	outcome = push.Delivered
	step()
	outcome = push.Retry
	box.add("a")
	assert.LessOrEqual(t, step(), 15*time.Second, "a success begins anew")
}

func TestBackoffCanBeReplaced(t *testing.T) {
	t.Parallel()
	box, now := newOutbox("a"), newClock()
	d := &push.Dispatcher{Store: box, Clock: now.now, Pusher: always(push.Result{Outcome: push.Retry}),
		Backoff: func(failures int) time.Duration { return time.Duration(failures) * time.Minute }}
	for n := 1; n <= 3; n++ {
		require.NoError(t, d.Flush(bg))
		assert.Equal(t, now.now().Add(time.Duration(n)*time.Minute), box.settled()[n-1].Retry)
		now.advance(time.Hour)
	}
}

func TestAFailedCallIsRetried(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	for name, pusher := range map[string]pusherFunc{
		"error":           func(context.Context, []push.Target) ([]push.Result, error) { return nil, down },
		"too few results": func(context.Context, []push.Target) ([]push.Result, error) { return make([]push.Result, 1), nil },
		"panic":           func(context.Context, []push.Target) ([]push.Result, error) { panic("oh") },
	} {
		t.Run(name, func(t *testing.T) {
			box := newOutbox("a", "b", "c")
			d := &push.Dispatcher{Store: box, Pusher: pusher, Clock: newClock().now}
			require.NoError(t, d.Flush(bg))
			require.Len(t, box.settled(), 3)
			for _, r := range box.settled() {
				assert.Equal(t, push.Retry, r.Outcome)
				assert.False(t, r.Retry.IsZero())
				require.Error(t, r.Err)
			}
			assert.Equal(t, 3, box.left())
		})
	}
}

func TestATargetThatPanicsDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	box := newOutbox(devices(9)...)
	d := &push.Dispatcher{Store: box, Clock: newClock().now, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			if slices.ContainsFunc(targets, func(t push.Target) bool { return t.Enrollment.Device == "device-005" }) {
				panic("device-005")
			}
			return always(push.Result{Outcome: push.Delivered})(ctx, targets)
		})}
	require.NoError(t, d.Flush(bg))
	require.Len(t, box.settled(), 9)
	for _, r := range box.settled() {
		want := push.Delivered
		if r.Target.Enrollment.Device == "device-005" {
			want = push.Retry
		}
		assert.Equal(t, want, r.Outcome, r.Target.Enrollment.Device)
	}
}

func TestStoreErrorsAreReturned(t *testing.T) {
	t.Parallel()
	box := newOutbox("a")
	d := &push.Dispatcher{Store: box, Pusher: always(push.Result{Outcome: push.Delivered})}
	box.giveErr = errors.New("read-only")
	require.ErrorIs(t, d.Flush(bg), box.giveErr)
	box.giveErr, box.takeErr = nil, errors.New("gone")
	require.ErrorIs(t, d.Flush(bg), box.takeErr)
}

func TestAStalledBatchDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	box := newOutbox(devices(4)...)
	release := make(chan struct{})
	d := &push.Dispatcher{Store: box, Batch: 1, Interval: time.Hour, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			if targets[0].Enrollment.Device == "device-000" {
				<-release
			}
			return always(push.Result{Outcome: push.Delivered})(ctx, targets)
		})}
	run := start(d)
	eventually(t, func() bool { return box.left() == 1 })
	box.add("new")
	d.Notify()
	eventually(t, func() bool { return len(box.settled()) == 4 })
	close(release)
	eventually(t, func() bool { return box.left() == 0 })
	run.stop(t)
}

// running is a Dispatcher's Run in the background.
type running struct {
	cancel context.CancelCauseFunc
	done   chan error
}

var errStop = errors.New("test: stop")

func start(d *push.Dispatcher) running {
	ctx, cancel := context.WithCancelCause(bg)
	r := running{cancel, make(chan error, 1)}
	go func() { r.done <- d.Run(ctx) }()
	return r
}

func (r running) stop(t *testing.T) {
	t.Helper()
	r.cancel(errStop)
	select {
	case err := <-r.done:
		require.ErrorIs(t, err, errStop)
	case <-time.After(10 * time.Second):
		require.Fail(t, "Run did not end")
	}
}

func TestNotifyWakesRunAtOnceAndCoalesces(t *testing.T) {
	t.Parallel()
	box := newOutbox()
	entered, release := make(chan struct{}, 100), make(chan struct{})
	d := &push.Dispatcher{Store: box, Interval: time.Hour, Parallel: 1, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			entered <- struct{}{}
			<-release
			return always(push.Result{Outcome: push.Delivered})(ctx, targets)
		})}
	run := start(d)
	eventually(t, func() bool { return box.looks() == 1 })
	box.add("a")
	d.Notify()
	<-entered
	before := box.looks()
	for range 1000 {
		d.Notify() // does not block while a push stalls
	}
	close(release)
	eventually(t, func() bool { return box.left() == 0 })
	box.add("b")
	d.Notify()
	eventually(t, func() bool { return box.left() == 0 })
	assert.Less(t, box.looks()-before, 20, "a thousand calls are as good as one")
	run.stop(t)
}

func TestRunLooksByItself(t *testing.T) {
	t.Parallel()
	box := newOutbox()
	d := &push.Dispatcher{Store: box, Interval: time.Millisecond, Pusher: always(push.Result{Outcome: push.Delivered})}
	run := start(d)
	box.add("a")
	eventually(t, func() bool { return box.left() == 0 })
	run.stop(t)
}

func TestRunOutlivesStoreFailures(t *testing.T) {
	t.Parallel()
	box := newOutbox("a")
	box.takeErr = errors.New("gone")
	d := &push.Dispatcher{Store: box, Interval: time.Millisecond, Pusher: always(push.Result{Outcome: push.Delivered})}
	run := start(d)
	eventually(t, func() bool { return box.looks() > 2 })
	box.mu.Lock()
	box.takeErr = nil
	box.intents[target("a").Enrollment].due = time.Time{}
	box.mu.Unlock()
	eventually(t, func() bool { return box.left() == 0 })
	run.stop(t)
}

func TestWhatIsInFlightAtTheEndIsSettled(t *testing.T) {
	t.Parallel()
	box, now := newOutbox("a", "b"), newClock()
	entered := make(chan struct{})
	d := &push.Dispatcher{Store: box, Clock: now.now, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			close(entered)
			<-ctx.Done()
			return []push.Result{{Outcome: push.Delivered, Status: 200}, {Outcome: push.Retry, Err: ctx.Err()}}, nil
		})}
	run := start(d)
	<-entered
	run.stop(t)
	require.Len(t, box.settled(), 2, "before Run returned, although the context had ended")
	assert.Equal(t, push.Delivered, box.settled()[0].Outcome)
	assert.Equal(t, now.now(), box.settled()[1].Retry, "another process may push it at once")
}

func TestAFlushThatIsCanceledTakesNothing(t *testing.T) {
	t.Parallel()
	box := newOutbox("a")
	d := &push.Dispatcher{Store: box, Pusher: always(push.Result{Outcome: push.Delivered})}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	require.ErrorIs(t, d.Flush(ctx), context.Canceled)
	assert.Equal(t, 1, box.left())
}

func TestABatchIsGivenUpBeforeItsLeaseEnds(t *testing.T) {
	t.Parallel()
	box := newOutbox("a")
	var left time.Duration
	d := &push.Dispatcher{Store: box, Lease: time.Hour, Pusher: pusherFunc(
		func(ctx context.Context, targets []push.Target) ([]push.Result, error) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return always(push.Result{Outcome: push.Delivered})(ctx, targets)
		})}
	require.NoError(t, d.Flush(bg))
	assert.LessOrEqual(t, left, 45*time.Minute)
	assert.Greater(t, left, 30*time.Minute)
}

func TestWhatTheOperatorIsTold(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	flush := func(r push.Result) string {
		out.Reset()
		d := &push.Dispatcher{Store: newOutbox("a", "b"), Pusher: always(r), Logger: log}
		require.NoError(t, d.Flush(bg))
		return out.String()
	}
	lines := func(s string) int { return bytes.Count([]byte(s), []byte("\n")) }

	got := flush(push.Result{Outcome: push.BadCertificate, Status: 403, Reason: "BadCertificate"})
	assert.Contains(t, got, "level=ERROR")
	assert.Contains(t, got, "topic="+topic)
	assert.Equal(t, 1, lines(got), "once per batch and topic")

	got = flush(push.Result{Outcome: push.Rejected, Status: 400, Reason: "BadPriority"})
	assert.Contains(t, got, "reason=BadPriority")
	assert.Equal(t, 2, lines(got))

	got = flush(push.Result{Outcome: push.Retry, Err: errors.New("connection refused")})
	assert.Contains(t, got, "connection refused")
	assert.Equal(t, 1, lines(got))
	assert.NotContains(t, got, "magic", "the PushMagic is nobody's business")

	assert.Empty(t, flush(push.Result{Outcome: push.Delivered}))
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func TestOutcomeNames(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "delivered", push.Delivered.String())
	assert.Equal(t, "bad-certificate", push.BadCertificate.String())
	assert.Equal(t, "none", push.Outcome(0).String())
	assert.Equal(t, "unknown", push.Outcome(99).String())
}

func BenchmarkDispatcher(b *testing.B) {
	b.ReportAllocs()
	names := devices(500)
	for b.Loop() {
		b.StopTimer()
		box := newOutbox(names...)
		d := &push.Dispatcher{Store: box, Pusher: always(push.Result{Outcome: push.Delivered})}
		b.StartTimer()
		require.NoError(b, d.Flush(bg))
	}
	b.ReportMetric(float64(b.N*len(names))/b.Elapsed().Seconds(), "pushes/s")
}
