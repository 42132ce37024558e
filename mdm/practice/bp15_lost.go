package practice

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// A device is lost from when somebody wanted it in Lost Mode until it is known that it is not any more: until the device reported that
// Lost Mode is off at an operator's word, or somebody says that it was found. A run of Lost Mode that failed, was canceled, or ended
// with its generation says nothing of where the device is: it may never have heard of it, be in Lost Mode still, or have been erased
// by whoever has it.

// Names of workflows that mark a device. Their runs are not for anybody to begin but the Guard.
const (
	guardMissing  = "device-lost"  // open for as long as the device is lost, after a run of Lost Mode that ended otherwise
	guardRecovery = "device-found" // somebody said so
)

// FoundRequest says that a device is in the hands of its owner again.
type FoundRequest struct {
	Enrollment mdm.EnrollmentID // of a user: it means the device
	Actor      string           // who says so; required
	Reason     string           // how it is known; required
}

// Found ends the loss of a device whose Lost Mode was not seen to end: from now on its secrets are released again. It is in the audit
// log before. It does not switch Lost Mode off, and does not touch your own flag ([Guard.Lost]). The error is Malformed without an
// actor and a reason, Forbidden while a run of [LostMode] is open, which is ended or canceled first, and NotFound for a device that is not lost.
func (g *Guard) Found(ctx context.Context, r FoundRequest) error {
	const op = "practice.Found"
	if err := machineAsked(op, r.Actor, r.Reason); err != nil {
		return err
	}
	id := r.Enrollment.DeviceID()
	if id.Device == "" {
		return mdm.Errorf(mdm.Malformed, op, "an enrollment is required")
	}
	if g.Engine == nil {
		return mdm.Errorf(mdm.Internal, op, "there is no Guard.Engine")
	}
	trail, err := g.trail(ctx, id)
	switch {
	case err != nil:
		return err
	case trail.open != "":
		return &mdm.Error{Code: mdm.Forbidden, Op: op, Enrollment: id, Err: fmt.Errorf("the run %s of Lost Mode is to be ended first", trail.open)}
	case !trail.isLost():
		return &mdm.Error{Code: mdm.NotFound, Op: op, Enrollment: id}
	}
	e, err := g.record(ctx, GuardFound, r.Actor, r.Reason, id, nil)
	if err != nil {
		return err
	}
	_, _, err = g.Engine.Begin(ctx, guardRecovery, id, "", guardRecovered{Entry: e.Number, Covers: trail.lost})
	return err
}

// lost reports whether a device is lost, by the vendor's flag or by its trail.
func (g *Guard) lost(ctx context.Context, id mdm.EnrollmentID) (bool, error) {
	if g.Lost != nil {
		if lost, err := g.Lost(ctx, id); lost || err != nil {
			return lost, err
		}
	}
	trail, err := g.trail(ctx, id)
	return err == nil && trail.isLost(), err
}

// guardTrail is what the runs of a device tell of its loss.
type guardTrail struct {
	open     string    // a run of Lost Mode that is not over
	lost     time.Time // when Lost Mode was wanted last, and came to no verified end
	verified time.Time // when the device was last seen to be out of Lost Mode
	covers   time.Time // up to when somebody has said that it was found
}

func (t *guardTrail) isLost() bool {
	return t.open != "" || t.lost.After(t.covers) && !t.verified.After(t.lost)
}

// trail reads the runs. They are kept for as long as events, and so that none is forgotten that matters: see [Guard.missing].
func (g *Guard) trail(ctx context.Context, id mdm.EnrollmentID) (t guardTrail, err error) {
	for _, look := range []struct {
		name string
		note func(*workflow.Run) error
	}{{LostModeName, t.lostMode}, {guardMissing, t.missing}, {guardRecovery, t.recovery}} {
		q := workflow.Query{Tenant: id.Tenant, Workflow: look.name, Enrollment: id.DeviceID()}
		for r, err := range g.Runs.Runs(ctx, q) {
			if err != nil {
				return guardTrail{}, err
			}
			if err := look.note(&r); err != nil {
				return guardTrail{}, err
			}
		}
	}
	return t, nil
}

func (t *guardTrail) lostMode(r *workflow.Run) error {
	switch {
	case !r.Status.Over():
		t.open = r.ID
	case r.Status == workflow.Done:
		t.verified = later(t.verified, r.EndedAt)
	default:
		t.lost = later(t.lost, r.EndedAt)
	}
	return nil
}

func (t *guardTrail) missing(r *workflow.Run) error {
	var s guardLoss
	if r.Status == workflow.Done { // who cancels one has not said that the device was found
		return nil
	}
	if err := json.Unmarshal(r.State, &s); err != nil {
		return err
	}
	t.lost = later(t.lost, s.Since)
	return nil
}

func (t *guardTrail) recovery(r *workflow.Run) error {
	var s guardRecovered
	if err := json.Unmarshal(r.State, &s); err != nil {
		return err
	}
	if s.Entry > 0 {
		t.covers = later(t.covers, s.Covers)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// guardLoss is the state of a run of guardMissing.
type guardLoss struct {
	Since time.Time
}

// missing is the workflow that remembers a loss for as long as it lasts: runs that are over are deleted one day, open ones are not.
// It outlives the generation, for a device that was erased may have been so by whoever has it.
func (g *Guard) missing() *workflow.Workflow[guardLoss] {
	return &workflow.Workflow[guardLoss]{Name: guardMissing, First: "look", Outlives: true,
		Listens: []mdm.EventType{mdm.EventWorkflowCanceled, mdm.EventWorkflowFailed, mdm.EventWorkflowDone},
		Start:   g.remember, Steps: machineSteps[guardLoss]{"look": g.missed}, Retry: workflow.Retry{Limit: 1000}}
}

// remember begins with the end of a run of Lost Mode that does not say where the device is, and begins again what an operator
// canceled: that does not say so either.
func (g *Guard) remember(ctx context.Context, e mdm.Event) (s guardLoss, key string, ok bool, err error) {
	switch {
	case e.Subject == LostModeName && e.Type != mdm.EventWorkflowDone:
		return guardLoss{Since: e.At}, guardMissing, true, nil
	case e.Subject != guardMissing || e.Type != mdm.EventWorkflowCanceled:
		return s, "", false, nil
	}
	run, err := g.Runs.Run(ctx, e.Enrollment.Tenant, e.Name)
	if err != nil {
		if mdm.CodeOf(err) == mdm.NotFound { // deleted since
			return guardLoss{Since: e.At}, guardMissing, true, nil
		}
		return s, "", false, err
	}
	err = json.Unmarshal(run.State, &s)
	return s, guardMissing, err == nil && !s.Since.IsZero(), err
}

// missed looks whether the device is still lost, each time that a run of it ends.
func (g *Guard) missed(ctx context.Context, t *workflow.Turn, s *guardLoss) (workflow.Next, error) {
	if s.Since.IsZero() {
		return workflow.GiveUp(guardUnasked), nil
	}
	trail, err := g.trail(ctx, t.Run.Enrollment)
	if err != nil {
		return workflow.Next{}, err
	}
	if !trail.isLost() {
		return workflow.Finish("not lost any more"), nil
	}
	s.Since = later(s.Since, trail.lost)
	return workflow.Go("look").On(mdm.EventWorkflowCanceled, mdm.EventWorkflowFailed, mdm.EventWorkflowDone).At(t.Now.AddDate(0, 0, 7)).
		Note("lost: its Lost Mode was not seen to end"), nil
}

// guardRecovered is the state of a run of guardRecovery.
type guardRecovered struct {
	Entry  int64     // number in the audit log
	Covers time.Time // the loss that it ends
}

// finding is the workflow whose runs say that a device was found. They say so from their beginning on.
func (g *Guard) finding() *workflow.Workflow[guardRecovered] {
	return &workflow.Workflow[guardRecovered]{Name: guardRecovery, First: "tell", Outlives: true,
		Steps: machineSteps[guardRecovered]{"tell": func(_ context.Context, _ *workflow.Turn, s *guardRecovered) (workflow.Next, error) {
			if s.Entry == 0 {
				return workflow.GiveUp(guardUnasked), nil
			}
			return workflow.Finish("found"), nil
		}}}
}
