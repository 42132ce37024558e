package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// WaveRunner moves on the waves that are under way, each at its pace. Any number of processes may run one on the same
// database: they share the work, and a wave goes no faster. When one is killed the others go on where it was. A Dispatcher
// sends the pushes. Store is required.
type WaveRunner struct {
	Store Waves

	Rate     int           // pushes a second of a wave that does not say; 0: 1000
	Interval time.Duration // between looks at the Store; 0: 1 s
	// Backlog is how many pushes may be due before a wave waits, so that a push that somebody asks for meanwhile has no more
	// than these before it. 0: 1000.
	Backlog int
	Clock   func() time.Time // nil: time.Now
	Logger  *slog.Logger     // how far waves are; nil: nothing is logged

	turn atomic.Int64
}

// DefaultWaveRate is how many pushes a second a wave makes that does not say.
const DefaultWaveRate = 1000

// Run moves waves on until ctx ends, and returns the cause of that. Failures of the Store are logged and tried again.
func (r *WaveRunner) Run(ctx context.Context) error {
	interval := orDefault(r.Interval, time.Second)
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		held, err := r.advance(ctx)
		if err != nil && ctx.Err() == nil {
			r.log(ctx, slog.LevelWarn, "waves of pushes wait", slog.Any("error", err))
		}
		if held { // it waits for those before it, which takes less than the interval
			timer.Reset(interval / 10)
		} else {
			timer.Reset(interval)
		}
	}
}

// Flush moves each wave on as far as its pace allows by now. The error is the Store's.
func (r *WaveRunner) Flush(ctx context.Context) error {
	_, err := r.advance(ctx)
	return err
}

// advance is Flush. held is true if a wave could go on but for the backlog.
func (r *WaveRunner) advance(ctx context.Context) (held bool, err error) {
	waves, err := r.Store.ListWaves(ctx, WaveQuery{AllTenants: true, Open: true})
	if err != nil {
		return false, fmt.Errorf("push: waves: %w", err)
	}
	var failed []error
	first := int(r.turn.Add(1)) // another one each time, as the first may leave no room for the others
	for i := range waves {
		w := waves[(first+i)%len(waves)]
		waiting, err := r.advanceOne(ctx, w)
		if err != nil {
			failed = append(failed, fmt.Errorf("push: wave %s: %w", w.ID, err))
		}
		held = held || waiting
	}
	return held, errors.Join(failed...)
}

func (r *WaveRunner) advanceOne(ctx context.Context, w Wave) (held bool, err error) {
	for w.Open() {
		s, ok := r.step(w, r.now())
		if !ok {
			return false, nil
		}
		next, err := r.Store.AdvanceWave(ctx, w, s)
		if err != nil {
			return false, err
		}
		if next.Same(w) {
			return true, nil
		}
		if !next.Open() || next.Moved.Equal(s.At) { // else it was somebody else
			r.report(ctx, w, next)
		}
		w = next
	}
	return false, nil
}

// step is how far a wave may go by now. It is false if that is nowhere. What it missed is made up for only within two
// intervals, so that after a standstill it does not come at once.
func (r *WaveRunner) step(w Wave, now time.Time) (Step, bool) {
	rate := orDefault(w.Rate, orDefault(r.Rate, DefaultWaveRate))
	interval := orDefault(r.Interval, time.Second)
	from := now.Add(-interval - max(interval, time.Second/time.Duration(rate))) // a slow one makes less than one in an interval
	if w.Moved.After(from) && !w.Moved.After(now.Add(time.Minute)) {            // else a clock was wrong
		from = w.Moved
	}
	n := int(min(WaveStep, float64(rate)*now.Sub(from).Seconds()))
	at := from.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return Step{At: at.UTC().Truncate(time.Microsecond), Max: n, Backlog: orDefault(r.Backlog, 1000)}, n > 0
}

// report logs the begin of a wave, each tenth of it, and its end.
func (r *WaveRunner) report(ctx context.Context, before, after Wave) {
	text := "a wave of pushes goes on"
	switch {
	case after.Canceled:
		text = "a wave of pushes was canceled"
	case !after.Open():
		text = "a wave of pushes has ended"
	case before.Woken == 0:
		text = "a wave of pushes begins"
	case before.Percent()/10 == after.Percent()/10:
		return
	}
	r.log(ctx, slog.LevelInfo, text, slog.String("wave", after.ID), slog.String("tenant", after.To.Tenant), slog.Int("woken", after.Woken),
		slog.Int("total", after.Total), slog.Int("percent", after.Percent()), slog.Duration("took", r.now().Sub(after.Begun)))
}

func (r *WaveRunner) log(ctx context.Context, level slog.Level, text string, attrs ...slog.Attr) {
	if r.Logger != nil {
		r.Logger.LogAttrs(ctx, level, text, attrs...)
	}
}

func (r *WaveRunner) now() time.Time {
	if r.Clock != nil {
		return r.Clock()
	}
	return time.Now()
}
