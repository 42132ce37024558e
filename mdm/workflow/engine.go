package workflow

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Roster finds an enrollment.
type Roster interface {
	Enrollment(ctx context.Context, id mdm.EnrollmentID) (*mdm.Enrollment, error)
}

// Config says what an Engine is made of.
type Config struct {
	Store    Store             // required
	Commands command.Inspector // required: where answers are read
	Roster   Roster            // required

	Interval time.Duration    // between looks when nobody calls Notify; 0: 1 s
	Lease    time.Duration    // how long a run is kept from other engines for a step, whose context ends before; 0: 1 min
	Workers  int              // steps taken at once; 0: 8
	Clock    func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: nothing is logged
}

// Engine runs workflows. Make it with [New]; it is safe for concurrent use. It consumes the events of a server
// ([Engine.Consume]) and works in the background ([Engine.Run]), in any number of processes on one Store. Their clocks should
// agree to well within Config.Lease: else steps are taken more often than they count.
//
// While programs of two versions run on one Store, a run is left to those that know its workflow and the version of its state, and
// is woken by all. A workflow that the older one does not know may miss events that would begin it. Runs of a workflow that no
// program knows any more stay as they are until their enrollment ends or [Engine.Cancel] ends them; [Store.CountRuns] shows them.
type Engine struct {
	cfg    Config
	kinds  map[string]kind
	names  []string
	known  []Known
	hears  map[mdm.EventType]bool
	holder string
	leases atomic.Int64 // how many were made, so that each has a holder of its own
	wake   chan struct{}
}

// Any is a *[Workflow] of any state.
type Any interface{ kind }

// New returns an engine for workflows.
func New(cfg Config, workflows ...Any) (*Engine, error) {
	if cfg.Store == nil || cfg.Commands == nil || cfg.Roster == nil {
		return nil, errors.New("workflow: Config.Store, Commands and Roster are required")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	e := &Engine{cfg: cfg, kinds: map[string]kind{}, hears: map[mdm.EventType]bool{}, holder: rand.Text(), wake: make(chan struct{}, 1)}
	for _, w := range workflows {
		if err := w.check(); err != nil {
			return nil, err
		}
		if e.kinds[w.name()] != nil {
			return nil, fmt.Errorf("workflow: there are two of the name %s", w.name())
		}
		e.kinds[w.name()] = w
		e.names = append(e.names, w.name())
		e.known = append(e.known, Known{w.name(), w.version()})
		for _, list := range [][]mdm.EventType{w.listens(), final, ending} {
			for _, kind := range list {
				e.hears[kind] = true
			}
		}
	}
	slices.Sort(e.names)
	return e, nil
}

// Begin starts a run of a workflow with a state, which is of its type S or nil. It is false, and the run is the one that is
// there, if an open one of the enrollment has the same key; an empty key is none.
func (e *Engine) Begin(ctx context.Context, workflow string, id mdm.EnrollmentID, key string, state any) (Run, bool, error) {
	const op = "workflow.Begin"
	k := e.kinds[workflow]
	if k == nil {
		return Run{}, false, mdm.Errorf(mdm.NotFound, op, "there is no workflow %q", workflow)
	}
	r, err := k.begin(state)
	if err != nil {
		return Run{}, false, err
	}
	r.Enrollment, r.Key = id, key
	return e.begin(ctx, r)
}

func (e *Engine) begin(ctx context.Context, r Run) (Run, bool, error) {
	now := e.cfg.Clock()
	r.BegunAt, r.MovedAt, r.Due = now, now, now
	r, fresh, err := e.cfg.Store.BeginRun(ctx, r)
	if fresh {
		e.Notify()
	}
	return r, fresh, err
}

// Cancel ends a run, and withdraws its commands that have no answer yet, in one transaction: who cancels an erase does not want the
// device erased when it comes. A step that is being taken comes to nothing, so it sends nothing more.
//
// A run of a workflow that has something to take back ([Workflow.Canceled]) does so first: it is returned as it is then, open and
// Canceling. To cancel it once more ends it as it is.
func (e *Engine) Cancel(ctx context.Context, tenant, id, why string) (Run, error) {
	now := e.cfg.Clock()
	r, err := e.cfg.Store.ChangeRun(ctx, tenant, id, func(r *Run) ([]string, error) {
		drops := r.drops(slices.Sorted(maps.Keys(r.Sent)))
		if k := e.kinds[r.Workflow]; k != nil && k.canceled() != "" && !r.Canceling {
			r.cancel(k.canceled(), why, now)
		} else {
			r.End(Canceled, why, now)
		}
		return drops, nil
	})
	e.Notify()
	return r, err
}

// Resume has the step of a run that was set aside tried again, or of one that waits for its next attempt.
func (e *Engine) Resume(ctx context.Context, tenant, id string) (Run, error) {
	now := e.cfg.Clock()
	r, err := e.cfg.Store.ChangeRun(ctx, tenant, id, func(r *Run) ([]string, error) {
		r.Status, r.Attempts, r.Due, r.MovedAt = Open, 0, now, now
		return nil, nil
	})
	e.Notify()
	return r, err
}

// idle are the events of commands that wake no run unless a workflow listens to them. There are many.
var idle = []mdm.EventType{mdm.EventCommandQueued, mdm.EventCommandSent, mdm.EventCommandNotNow}

// Consume implements event.Consumer: it starts the runs that an event begins, and wakes those that wait for it, also runs of
// workflows that this program does not know. It costs one query for an enrollment that has no run which the event is about.
func (e *Engine) Consume(ctx context.Context, event mdm.Event) error {
	if !e.hears[event.Type] && slices.Contains(idle, event.Type) {
		return nil
	}
	if event.Enrollment.Device != "" { // else it is of a credential
		if err := e.tell(ctx, event); err != nil {
			return err
		}
	}
	for _, name := range e.names {
		if err := e.start(ctx, e.kinds[name], event); err != nil {
			return fmt.Errorf("workflow: %s: %w", name, err)
		}
	}
	return nil
}

// tell tells the runs of an enrollment. Users end with their device, and no event of theirs tells of it.
func (e *Engine) tell(ctx context.Context, event mdm.Event) error {
	now, woken := e.cfg.Clock(), false
	users := slices.Contains(ending, event.Type) && !event.Enrollment.IsUser()
	err := e.cfg.Store.TellRuns(ctx, event.Enrollment, users, func(r *Run) bool {
		heard := r.hear(e.kinds[r.Workflow], event, now)
		woken = woken || heard
		return heard
	})
	if err == nil && woken {
		e.Notify()
	}
	return err
}

// start begins the run that an event begins. An enrollment that ended meanwhile begins nothing.
func (e *Engine) start(ctx context.Context, k kind, event mdm.Event) error {
	if !slices.Contains(k.listens(), event.Type) {
		return nil
	}
	r, ok, err := k.start(ctx, event)
	if err != nil || !ok {
		return err
	}
	if _, _, err = e.begin(ctx, r); mdm.CodeOf(err) == mdm.Forbidden || mdm.CodeOf(err) == mdm.NotFound {
		return nil
	}
	return err
}

// Notify makes Run look for due runs at once. It never blocks.
func (e *Engine) Notify() {
	select {
	case e.wake <- struct{}{}:
	default: // a look is due already
	}
}

// Run takes steps until ctx ends, and returns the cause of that. Failures of the Store are logged and tried again.
func (e *Engine) Run(ctx context.Context) error {
	interval := e.cfg.Interval
	if interval <= 0 {
		interval = time.Second
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := e.Flush(ctx); err != nil && ctx.Err() == nil {
			e.log(ctx, slog.LevelWarn, "workflows wait", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		case <-e.wake:
		}
	}
}

// Flush takes the steps that are due now by Config.Clock, and those that become due at once by that, and returns when all are
// taken; a test moves its clock and calls it. What events wake must be consumed before. The error is the Store's; a step that
// fails is logged and due again.
func (e *Engine) Flush(ctx context.Context) error {
	workers := e.cfg.Workers
	if workers <= 0 {
		workers = 8
	}
	pool := &pool{free: make(chan struct{}, workers), ended: make(chan struct{}, 1)}
	for {
		holder := e.holder + "/" + strconv.FormatInt(e.leases.Add(1), 10)
		before := pool.done()
		runs, err := e.cfg.Store.LeaseRuns(ctx, e.known, holder, e.cfg.Clock(), e.lease(), 4*workers)
		for i := range runs {
			pool.run(func() error { return e.turn(ctx, &runs[i]) })
		}
		if err = pool.failed(err); err != nil || len(runs) == 0 && !pool.wait(before) {
			return errors.Join(err, pool.close())
		}
	}
}

func (e *Engine) lease() time.Duration {
	if e.cfg.Lease <= 0 {
		return time.Minute
	}
	return e.cfg.Lease
}

func (e *Engine) log(ctx context.Context, level slog.Level, text string, attrs ...slog.Attr) {
	if e.cfg.Logger != nil {
		e.cfg.Logger.LogAttrs(ctx, level, text, attrs...)
	}
}
