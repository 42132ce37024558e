package presence

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gomdm/applemdm/internal/recur"
	"github.com/gomdm/applemdm/mdm"
)

// Watcher looks at devices when their time has come. Any number of processes may run one on the same database. Store is
// required.
type Watcher struct {
	Store  Store
	Policy Policy
	// For says which policy holds for a device, given Policy with its defaults: a kiosk is never off, a loaned laptop often. It
	// sees what a Sighting has. Nil is [Headsets], which one of yours may call, too.
	For func(e *mdm.Enrollment, p Policy) Policy

	Interval time.Duration    // between looks at the Store; 0: 1 min
	Batch    int              // devices in one transaction; 0: 500
	Pause    time.Duration    // between two transactions, in which devices have the database for themselves; 0: 20 ms
	Clock    func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: nothing is logged
}

// Headsets is the For of a Watcher that has none. On visionOS pushes come only while the device is unlocked and worn (Apple:
// MDM documentation), so it may be silent three times as long.
func Headsets(e *mdm.Enrollment, p Policy) Policy {
	if kind := e.Device.ProductName + e.Device.Model; len(kind) >= len(headset) && kind[:len(headset)] == headset {
		p = p.withDefaults() // for one who calls it with a policy of his own
		p.Quiet, p.Inactive = 3*p.Quiet, 3*p.Inactive
	}
	return p
}

const headset = "RealityDevice"

// Run looks at devices until ctx ends, and returns the cause of that. Failures of the Store are logged and tried again.
func (w *Watcher) Run(ctx context.Context) error {
	interval := w.Interval
	if interval <= 0 {
		interval = time.Minute
	}
	return recur.Every(ctx, interval, interval/10, func() {
		if err := w.Flush(ctx); err != nil && ctx.Err() == nil && w.Logger != nil {
			w.Logger.LogAttrs(ctx, slog.LevelWarn, "not all devices were looked at", slog.Any("error", err))
		}
	})
}

// Flush looks at what is due now and returns when that is done. The error is the Store's.
func (w *Watcher) Flush(ctx context.Context) error {
	batch := w.Batch
	if batch <= 0 {
		batch = 500
	}
	for {
		now := w.now()
		n, err := w.Store.Look(ctx, now, batch, func(s Sighting) Finding { return w.judge(s, now) })
		if err != nil {
			return fmt.Errorf("presence: %w", err)
		}
		if n < batch {
			return nil
		}
		if err := w.pause(ctx); err != nil {
			return err
		}
	}
}

func (w *Watcher) judge(s Sighting, now time.Time) Finding {
	return w.policy(s.Enrollment).Judge(s, now, rand.Float64())
}

// policy contains panics of For: one odd device must not end the looking at all others.
func (w *Watcher) policy(e mdm.Enrollment) (p Policy) {
	defer func() {
		if r := recover(); r != nil {
			p = w.Policy
			if w.Logger != nil {
				w.Logger.Error("the policy for a device panicked", slog.String("enrollment", e.ID.String()), slog.Any("panic", r))
			}
		}
	}()
	which := w.For
	if which == nil {
		which = Headsets
	}
	return which(&e, w.Policy.withDefaults())
}

func (w *Watcher) pause(ctx context.Context) error {
	pause := w.Pause
	if pause <= 0 {
		pause = 20 * time.Millisecond
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (w *Watcher) now() time.Time {
	if w.Clock != nil {
		return w.Clock()
	}
	return time.Now()
}
