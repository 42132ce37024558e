package practice

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// Every request that was let through ends with an outcome on record. Whoever answers it writes that; of a run that ends otherwise,
// canceled or with its generation, or with the process that answered, the workflow guardOutcomes does.

// What Details says as "status" of an outcome.
const (
	guardStatusDone       = "done"
	guardStatusFailed     = "failed"
	guardStatusCanceled   = "canceled"
	guardStatusSuperseded = "superseded"
)

// guardOutcomes is the name of the workflow that records what no step of a run has come to record.
const guardOutcomes = "secret-outcome"

// Notes of runs that end with their generation.
const (
	guardSuperseded = "superseded by a new generation"
	guardGone       = "the enrollment ended"
)

// outcome records what came of a request.
func (g *Guard) outcome(ctx context.Context, a guardAsk, request int64, status, outcome string) error {
	more := []string{"status", status, "outcome", outcome}
	if a.what != "" {
		more = append(more, "of", a.what)
	}
	_, err := g.record(context.WithoutCancel(ctx), GuardOutcome, guardServer, a.reason, a.enrollment, guardDetails(a.secret, request, more...))
	return err
}

// guardOutlived says how a run of the Guard ends whose generation is over.
func guardOutlived(r *workflow.Run, e mdm.Event) (workflow.Status, string) {
	if e.Generation > r.Generation {
		return workflow.Canceled, guardSuperseded
	}
	return workflow.Canceled, guardGone
}

// guardLoose is the state of a run of guardOutcomes.
type guardLoose struct {
	Run   string
	After time.Time // whoever answers the request writes until then
}

// guardLag is how long a process may take that gives a secret out.
const guardLag = time.Minute

// recording is the workflow that records outcomes. It outlives the enrollment.
func (g *Guard) recording() *workflow.Workflow[guardLoose] {
	return &workflow.Workflow[guardLoose]{Name: guardOutcomes, First: "look", Outlives: true,
		Listens: []mdm.EventType{mdm.EventWorkflowCanceled, mdm.EventWorkflowDone},
		Start: func(_ context.Context, e mdm.Event) (guardLoose, string, bool, error) {
			s := guardLoose{Run: e.Name}
			if e.Type == mdm.EventWorkflowDone {
				s.After = e.At.Add(guardLag)
			}
			canceled := e.Type == mdm.EventWorkflowCanceled && (guardPetitions(e.Subject) || e.Subject == GuardRotateSecret)
			return s, "", canceled || e.Subject == GuardReleaseSecret, nil
		},
		Steps: machineSteps[guardLoose]{"look": g.recordLoose}, Retry: workflow.Retry{Limit: 1000}}
}

// recordLoose records the outcome of a run that is over, unless there is one.
func (g *Guard) recordLoose(ctx context.Context, t *workflow.Turn, s *guardLoose) (workflow.Next, error) {
	if t.Now.Before(s.After) {
		return workflow.Go("look").At(s.After), nil
	}
	run, err := g.Runs.Run(ctx, t.Run.Enrollment.Tenant, s.Run)
	if mdm.CodeOf(err) == mdm.NotFound && err != nil {
		return workflow.GiveUp("there is no such run"), nil
	}
	if err != nil {
		return workflow.Next{}, err
	}
	var p guardPetition // a rotation has the same fields, as far as they are needed here
	if err := json.Unmarshal(run.State, &p); err != nil {
		return workflow.Next{}, err
	}
	if p.Request == 0 {
		return workflow.Finish(guardUnasked), nil
	}
	action := GuardOutcome
	if run.Workflow == GuardRotateSecret {
		action = GuardRotationOutcome
	}
	released, over, err := g.entriesOf(ctx, run.Enrollment.Tenant, p.Request, action)
	if over || err != nil {
		return workflow.Finish("it is on record"), err
	}
	status, outcome := guardLooseOutcome(&run, released)
	_, err = g.record(ctx, action, guardServer, p.Reason, run.Enrollment, p.details(run.ID, "status", status, "outcome", outcome))
	return workflow.Finish("recorded: " + outcome), err
}

// guardLooseOutcome says how a run ended that has no outcome on record.
func guardLooseOutcome(r *workflow.Run, released bool) (status, outcome string) {
	after := ""
	if released {
		after = " after the release"
	}
	switch {
	case r.Status == workflow.Canceled && r.Note == guardSuperseded:
		return guardStatusSuperseded, r.Note + after
	case r.Status == workflow.Canceled:
		return guardStatusCanceled, "canceled" + after + ": " + r.Note
	case released:
		return guardStatusFailed, "whether it came to anybody is not known"
	}
	return guardStatusFailed, "it was not given out"
}

// entriesOf reports whether a request led to a release, and whether its outcome is on record.
func (g *Guard) entriesOf(ctx context.Context, tenant string, request int64, outcome string) (released, over bool, err error) {
	number := strconv.FormatInt(request, 10)
	for e, err := range g.Audit.Entries(ctx, tenant, request, 0) {
		if err != nil {
			return false, false, err
		}
		if e.Details["request"] != number {
			continue
		}
		released = released || e.Action == GuardReleased
		if e.Action == outcome || e.Action == GuardRefused {
			return released, true, nil
		}
	}
	return released, false, nil
}
