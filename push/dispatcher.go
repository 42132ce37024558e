package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Dispatcher takes due intents from a Store, hands them to a Pusher and settles them. Any number of processes may run
// one on the same database. Its zero fields take the defaults given; Store and Pusher are required. It must not be
// copied after first use.
type Dispatcher struct {
	Store  Store
	Pusher Pusher

	Interval time.Duration // between looks at the Store when nobody calls Notify; 0: 1 s
	Gather   time.Duration // how long others may join a push before it is taken, so that a busy server looks seldom; 0: 50 ms
	Batch    int           // intents taken at once; 0: 500
	Parallel int           // batches in flight, so that a stalled one does not hold up the others; 0: 4
	Lease    time.Duration // how long intents are ours; a batch is given up after three quarters of it; 0: 2 min

	Pacing
	// Backoff says how long to wait after the given number of failures in a row (1, 2, …) of one target, where the
	// Pusher did not say. nil: 15 s, doubled each time up to 1 h, less a random part of up to a half.
	Backoff func(failures int) time.Duration
	Clock   func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: nothing is logged

	once   sync.Once
	notify chan struct{}
	limit  *rate.Limiter // nil: none
	brakes brakes
}

// Pacing is how fast pushes go. The zero value has defaults.
type Pacing struct {
	// Spacing is the least time between two pushes to one channel: what is asked for sooner waits and goes with one. It
	// begins when APNs has accepted a push, and holds for all processes. 0: 1 s; negative: none, for tests.
	Spacing time.Duration
	// Rate is how many pushes this process sends a second, at most. 0: as many as the Pusher takes. The load on the server is
	// what the devices then ask, each within seconds.
	Rate int
}

// Notify makes Run look for intents after Gather. It never blocks, and many calls are as good as one: call it after every
// commit that left a push.
func (d *Dispatcher) Notify() {
	select {
	case d.wake() <- struct{}{}:
	default: // a look is due already
	}
}

func (d *Dispatcher) wake() chan struct{} {
	d.setUp()
	return d.notify
}

func (d *Dispatcher) setUp() {
	d.once.Do(func() {
		d.notify = make(chan struct{}, 1)
		if d.Rate > 0 {
			d.limit = rate.NewLimiter(rate.Limit(d.Rate), max(1, d.Rate/4))
		}
	})
}

// Run pushes what becomes due until ctx ends, and returns the cause of that once everything in flight is settled.
// Failures of the Store are logged and tried again.
func (d *Dispatcher) Run(ctx context.Context) error {
	r := d.newRound(ctx)
	defer r.wait()
	ticker := time.NewTicker(orDefault(d.Interval, time.Second))
	defer ticker.Stop()
	for {
		if err := r.take(); err != nil && ctx.Err() == nil {
			d.log(ctx, slog.LevelWarn, "pushes wait", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		case <-d.wake():
			if !d.gather(ctx) {
				return context.Cause(ctx)
			}
		}
	}
}

// gather waits for others. It is false if ctx ended.
func (d *Dispatcher) gather(ctx context.Context) bool {
	timer := time.NewTimer(orDefault(d.Gather, 50*time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	select {
	case <-d.wake(): // what came meanwhile is taken with it
	default:
	}
	return true
}

// Flush pushes what is due now and returns when it is settled. The error is the Store's; failed pushes are settled,
// too. What is due only after the Spacing stays.
func (d *Dispatcher) Flush(ctx context.Context) error {
	r := d.newRound(ctx)
	err := r.take()
	return errors.Join(err, r.wait())
}

// round runs batches side by side, at most Parallel of them.
type round struct {
	d     *Dispatcher
	ctx   context.Context // of the Run or Flush that the round is a part of
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error // the first one of a batch
}

func (d *Dispatcher) newRound(ctx context.Context) *round {
	d.setUp()
	return &round{d: d, ctx: ctx, slots: make(chan struct{}, orDefault(d.Parallel, 4))}
}

// take starts batches until nothing is due.
func (r *round) take() error {
	for {
		select {
		case <-r.ctx.Done():
		case r.slots <- struct{}{}:
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		targets, err := r.d.due(r.ctx)
		if err != nil || len(targets) == 0 {
			<-r.slots
			return err
		}
		r.d.pace(r.ctx, len(targets)) // if ctx ends the batch is settled as not sent
		r.wg.Go(func() {
			defer func() { <-r.slots }()
			r.note(r.d.deliver(r.ctx, targets))
		})
	}
}

func (r *round) note(err error) {
	if err == nil {
		return
	}
	r.d.log(r.ctx, slog.LevelWarn, "pushes not settled", slog.Any("error", err))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *round) wait() error {
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// due takes the next batch.
func (d *Dispatcher) due(ctx context.Context) ([]Target, error) {
	batch := orDefault(d.Batch, 500)
	if d.limit != nil {
		batch = min(batch, d.limit.Burst())
	}
	targets, err := d.Store.DuePushes(ctx, d.now(), batch, d.lease())
	if err != nil {
		return nil, fmt.Errorf("push: due pushes: %w", err)
	}
	return targets, nil
}

// pace waits until so many pushes may be sent.
func (d *Dispatcher) pace(ctx context.Context, n int) {
	if d.limit != nil {
		_ = d.limit.WaitN(ctx, n) // n is no more than the burst, so it fails with ctx only
	}
}

// deliver pushes one batch and settles it, even if ctx has ended meanwhile.
func (d *Dispatcher) deliver(ctx context.Context, targets []Target) error {
	results := make([]Result, len(targets))
	off := d.brakes.hold(targets, d.now())
	var free []Target
	for i, t := range targets {
		if off[i].IsZero() {
			free = append(free, t)
		} else {
			results[i] = Result{Target: t, Outcome: Unsent, Retry: off[i], Err: errHeld}
		}
	}
	tried := d.try(ctx, free)
	for i := range results {
		if off[i].IsZero() {
			results[i], tried = tried[0], tried[1:]
		}
		d.schedule(ctx, &results[i])
	}
	d.report(ctx, results)
	settling, stop := context.WithTimeout(context.WithoutCancel(ctx), d.lease()/4)
	defer stop()
	if err := d.Store.Feedback(settling, results); err != nil {
		return fmt.Errorf("push: feedback: %w", err)
	}
	return nil
}

// try pushes targets, and learns whether their topics get through.
func (d *Dispatcher) try(ctx context.Context, targets []Target) []Result {
	if len(targets) == 0 {
		return nil
	}
	pushing, stop := context.WithTimeout(ctx, d.lease()/4*3)
	defer stop()
	results := d.pushAll(pushing, targets)
	for i := range results {
		results[i].Target = targets[i]
		results[i].Reason, results[i].APNsID = shortPlain(results[i].Reason), shortPlain(results[i].APNsID)
	}
	d.doubt(results)
	if ctx.Err() != nil { // we are shutting down: that tells nothing of APNs
		d.brakes.release(results)
		return results
	}
	held, freed := d.brakes.note(results, d.now())
	for _, topic := range held {
		d.log(ctx, slog.LevelWarn, "no push of this topic gets through; they wait", slog.String("topic", topic))
	}
	for _, topic := range freed {
		d.log(ctx, slog.LevelInfo, "pushes of this topic get through again", slog.String("topic", topic))
	}
	return results
}

// doubt takes it for a mistake of ours if APNs calls most tokens of a topic bad in one batch, without saying since when: they are
// of its other environment, or of another topic. A fleet must not be presumed gone for that.
func (d *Dispatcher) doubt(results []Result) {
	bad, all := map[string]int{}, map[string]int{}
	for _, r := range results {
		all[r.Target.Topic]++
		if r.Outcome == Invalid && r.Status == http.StatusBadRequest {
			bad[r.Target.Topic]++
		}
	}
	for i, r := range results {
		if n := bad[r.Target.Topic]; r.Outcome == Invalid && r.Status == http.StatusBadRequest && n >= enoughBad && 2*n > all[r.Target.Topic] {
			results[i].Outcome, results[i].Err, results[i].Since = BadCertificate, errEnvironment, time.Time{}
		}
	}
}

const enoughBad = 5 // in a batch

var (
	errHeld        = errors.New("push: no push of this topic gets through")
	errEnvironment = errors.New("push: most tokens of this topic are called bad: is it the right environment of APNs, and the right certificate?")
)

var (
	errPanic = errors.New("push: the pusher panicked")
	errCount = errors.New("push: the pusher did not return one result per target")
)

// pushAll always has one result per target. A batch that made the Pusher panic is halved until the bad target is alone,
// so that it does not hold up the others for ever.
func (d *Dispatcher) pushAll(ctx context.Context, targets []Target) []Result {
	results, err := d.push(ctx, targets)
	switch n := len(targets); {
	case err == nil:
		return results
	case errors.Is(err, errPanic) && n > 1 && ctx.Err() == nil:
		return append(d.pushAll(ctx, targets[:n/2]), d.pushAll(ctx, targets[n/2:])...)
	}
	d.log(ctx, slog.LevelWarn, "push failed", slog.Int("targets", len(targets)), slog.Any("error", err))
	return allRetry(targets, err)
}

// push contains panics: one bad target must not end all pushing.
func (d *Dispatcher) push(ctx context.Context, targets []Target) (results []Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	results, err = d.Pusher.Push(ctx, targets)
	if err == nil && len(results) != len(targets) {
		err = errCount
	}
	return results, err
}

func allRetry(targets []Target, err error) []Result {
	results := make([]Result, len(targets))
	for i := range results {
		results[i] = Result{Outcome: Retry, Err: err}
	}
	return results
}

// report logs what an operator can act upon: a line per batch and topic for a bad certificate, a line per batch for what
// is put off, a line per push that was rejected.
func (d *Dispatcher) report(ctx context.Context, results []Result) {
	if d.Logger == nil {
		return
	}
	bad, off := map[string]int{}, 0
	for _, r := range results {
		switch r.Outcome {
		case BadCertificate:
			if bad[r.Target.Topic]++; bad[r.Target.Topic] == 1 {
				d.log(ctx, slog.LevelError, "bad push certificate", attrs(r)...)
			}
		case Retry, Unsent:
			if off++; off == 1 {
				d.log(ctx, slog.LevelWarn, "pushes put off, the first of them", attrs(r)...)
			}
		case Rejected:
			d.log(ctx, slog.LevelError, "push rejected", attrs(r)...)
		}
	}
}

func attrs(r Result) []slog.Attr {
	all := []slog.Attr{
		slog.String("enrollment", r.Target.Enrollment.String()), slog.String("topic", r.Target.Topic),
		slog.Int("status", r.Status), slog.String("reason", r.Reason),
	}
	if r.Err != nil {
		all = append(all, slog.Any("error", r.Err))
	}
	return all
}

func (d *Dispatcher) log(ctx context.Context, level slog.Level, msg string, attrs ...slog.Attr) {
	if d.Logger != nil {
		d.Logger.LogAttrs(ctx, level, msg, attrs...)
	}
}

func (d *Dispatcher) now() time.Time {
	if d.Clock != nil {
		return d.Clock()
	}
	return time.Now()
}

func (d *Dispatcher) lease() time.Duration { return orDefault(d.Lease, 2*time.Minute) }

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
