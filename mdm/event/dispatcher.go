package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Dispatcher delivers the events of a Log to one Consumer. Any number of processes may run one under the same Name;
// each event is then taken by one of them. Its zero fields take the defaults given; Log, Name and Consumer are
// required.
type Dispatcher struct {
	Log      Log
	Name     string // tells consumers apart; part of what is stored
	Consumer Consumer

	Interval time.Duration // between looks at the Log when nobody calls Notify; 0: 1 s
	Batch    int           // events leased at once; 0: 100
	Lease    time.Duration // how long a batch may take, and how long a failed event waits; 0: 1 min
	Logger   *slog.Logger  // nil: nothing is logged

	once   sync.Once
	notify chan struct{}
}

// Notify makes Run look for events at once. It never blocks.
func (d *Dispatcher) Notify() {
	select {
	case d.wake() <- struct{}{}:
	default: // a look is due already
	}
}

func (d *Dispatcher) wake() chan struct{} {
	d.once.Do(func() { d.notify = make(chan struct{}, 1) })
	return d.notify
}

// Run delivers events until ctx ends, and returns the cause of that. Failures of the Log are logged and tried again.
func (d *Dispatcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(orDefault(d.Interval, time.Second))
	defer ticker.Stop()
	for {
		if err := d.Flush(ctx); err != nil && ctx.Err() == nil {
			d.log(ctx, "events wait", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		case <-d.wake():
		}
	}
}

// Flush delivers what can be delivered now and returns. The error is the Log's; a Consumer's failure leaves its event
// for later and is logged.
func (d *Dispatcher) Flush(ctx context.Context) error {
	for {
		lease := orDefault(d.Lease, time.Minute)
		until := time.Now().Add(lease / 2) // stop early enough to acknowledge what is done
		events, err := d.Log.Lease(ctx, d.Name, orDefault(d.Batch, 100), lease)
		if err != nil {
			return fmt.Errorf("event: lease for %q: %w", d.Name, err)
		}
		done := d.deliver(ctx, events, until)
		if len(done) > 0 {
			if err := d.Log.Ack(context.WithoutCancel(ctx), d.Name, done); err != nil {
				return fmt.Errorf("event: acknowledge for %q: %w", d.Name, err)
			}
		}
		if len(done) == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// deliver consumes events in order and returns those that succeeded. After a failure the later events of the same
// enrollment are left alone.
func (d *Dispatcher) deliver(ctx context.Context, events []mdm.Event, until time.Time) []mdm.Event {
	var done []mdm.Event
	failed := map[mdm.EnrollmentID]bool{}
	for _, e := range events {
		if ctx.Err() != nil || time.Now().After(until) {
			break
		}
		if failed[e.Enrollment] {
			continue
		}
		if err := d.consume(ctx, e); err != nil {
			if ctx.Err() != nil { // it is being stopped; the next holder of the lease goes on
				break
			}
			failed[e.Enrollment] = true
			d.log(ctx, "event not consumed", slog.String("type", string(e.Type)), slog.Int64("seq", e.Seq),
				slog.String("enrollment", e.Enrollment.String()), slog.Any("error", err))
			continue
		}
		done = append(done, e)
	}
	return done
}

var errPanic = errors.New("event: the consumer panicked")

// consume contains panics: one bad event must not end the delivery of all others.
func (d *Dispatcher) consume(ctx context.Context, e mdm.Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return d.Consumer.Consume(ctx, e)
}

func (d *Dispatcher) log(ctx context.Context, msg string, attrs ...slog.Attr) {
	if d.Logger != nil {
		d.Logger.LogAttrs(ctx, slog.LevelWarn, msg, append(attrs, slog.String("consumer", d.Name))...)
	}
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
