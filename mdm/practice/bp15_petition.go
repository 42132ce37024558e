package practice

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// guardPetition is the state of a run that a request waits in: for a second person and then for the device, or for whoever asked.
type guardPetition struct {
	Request    int64         // number in the audit log
	Secret     GuardedSecret `json:",omitempty"` // empty: the unlock token
	What       string        `json:",omitempty"` // of what there is of it; see guardRelease
	Actor      string
	Reason     string
	Second     bool   // somebody else has to approve
	Approver   string // empty: anybody else
	ApprovedBy string
	Until      time.Time // of the present wait
}

func (s *guardPetition) kind() GuardedSecret {
	if s.Secret == "" {
		return GuardUnlockToken
	}
	return s.Secret
}

func (s *guardPetition) mayApprove(approver string) bool {
	return s.Second && !guardSame(approver, s.Actor) && (s.Approver == "" || guardSame(approver, s.Approver))
}

// details are those of an entry about the petition; see guardDetails.
func (s *guardPetition) details(run string, more ...string) map[string]string {
	if s.What != "" {
		more = append(more, "of", s.What)
	}
	return guardDetails(s.kind(), s.Request, append(more, "run", run)...)
}

// second reports whether somebody else has to approve a request.
func (g *Guard) second(kind GuardedSecret, approver string) bool {
	return approver != "" || kind == GuardUnlockToken && g.SecondApprover || slices.Contains(g.Approval, kind)
}

// guardSelf is an objection to a request; nil if there is none.
func guardSelf(approver, actor string) string {
	if approver != "" && guardSame(approver, actor) {
		return "nobody approves what he asks for himself"
	}
	return ""
}

// ApprovalNeeded is the cause of the Forbidden error of a request that waits for a second person: errors.As finds it. When
// [Guard.Approve] was called for Run, the same request is made again, with Approved set to it.
type ApprovalNeeded struct {
	Run string
}

// Error says so.
func (e *ApprovalNeeded) Error() string { return "somebody else has to approve it first: run " + e.Run }

// GuardApproval is the word of a second person.
type GuardApproval struct {
	Tenant   string
	Run      string // the ID of the run that ClearPasscode returned, or ApprovalNeeded names
	Approver string // not the actor of the request
	Reason   string // empty: "approved"
}

// guardApproval wakes a run that waits for its approval.
const guardApproval mdm.EventType = "practice.approved"

// petition begins the run of a request that was admitted. If there is an open one with its key, the request is refused, and the error
// is Forbidden.
func (g *Guard) petition(ctx context.Context, a guardAsk, name, key string, s guardPetition) (workflow.Run, error) {
	if g.Engine == nil {
		return workflow.Run{}, mdm.Errorf(mdm.Internal, a.op, "there is no Guard.Engine")
	}
	run, fresh, err := g.Engine.Begin(ctx, name, a.enrollment, key, s)
	if err != nil {
		return workflow.Run{}, errors.Join(err, g.outcome(ctx, a, s.Request, guardStatusFailed, "it could not be begun"))
	}
	if !fresh {
		const why = "there is an open request"
		if err := g.refuse(ctx, a, s.Request, why); err != nil {
			return workflow.Run{}, err
		}
		return run, &mdm.Error{Code: mdm.Forbidden, Op: a.op, Enrollment: a.enrollment, Err: errors.New(why)}
	}
	return run, nil
}

// petitionSteps are the steps of every petition: it waits for a second approver, if there has to be one. Granted goes on then.
func (g *Guard) petitionSteps(granted func(*workflow.Turn, *guardPetition) workflow.Next) machineSteps[guardPetition] {
	return machineSteps[guardPetition]{
		"begin": func(_ context.Context, t *workflow.Turn, s *guardPetition) (workflow.Next, error) {
			if s.Request == 0 {
				return workflow.GiveUp(guardUnasked), nil
			}
			if !s.Second {
				return granted(t, s), nil
			}
			s.Until = t.Now.Add(waitOr(g.ApprovalWait, 24*time.Hour))
			return workflow.Go("approval").On(guardApproval).At(s.Until).Note("waits for a second approver"), nil
		},
		"approval": func(ctx context.Context, t *workflow.Turn, s *guardPetition) (workflow.Next, error) {
			if word := t.Signal(); word != nil && word.Type == guardApproval && s.mayApprove(word.Name) {
				s.ApprovedBy = word.Name
				return granted(t, s), nil
			}
			if t.Now.Before(s.Until) {
				return workflow.Go("approval").On(guardApproval).At(s.Until), nil
			}
			return g.petitionEnd(ctx, t, s, guardStatusFailed, "nobody approved it in time")
		},
	}
}

// petitionEnd records the outcome and ends the run.
func (g *Guard) petitionEnd(ctx context.Context, t *workflow.Turn, s *guardPetition, status, outcome string) (workflow.Next, error) {
	_, err := g.record(ctx, GuardOutcome, guardServer, s.Reason, t.Run.Enrollment, s.details(t.Run.ID, "status", status, "outcome", outcome))
	if status == guardStatusDone {
		return workflow.Finish(outcome), err
	}
	return workflow.GiveUp(outcome), err
}

// guardPetitions are the workflows whose runs are petitions.
func guardPetitions(name string) bool {
	return name == GuardClearPasscode || name == GuardReleaseSecret
}

// Approve lets a request go on that waits for a second approver. It is a Forbidden error if the run does not wait for that, or not
// for this approver; that is recorded, too.
func (g *Guard) Approve(ctx context.Context, a GuardApproval) error {
	const op = "practice.Approve"
	if strings.TrimSpace(a.Approver) == "" {
		return mdm.Errorf(mdm.Malformed, op, "an approver is required")
	}
	if a.Reason == "" {
		a.Reason = "approved"
	}
	run, err := g.Runs.Run(ctx, a.Tenant, a.Run)
	if err != nil {
		return err
	}
	var s guardPetition
	if !guardPetitions(run.Workflow) || json.Unmarshal(run.State, &s) != nil {
		return mdm.Errorf(mdm.NotFound, op, "%q is no such request", a.Run)
	}
	why := ""
	switch {
	case !s.mayApprove(a.Approver) || run.Status != workflow.Open || run.Step != "approval":
		why = "it does not wait for the approval of this person"
	case !g.now().Before(s.Until): // and nobody has come to end it yet
		why = "it is too late to approve it"
	}
	if why != "" {
		_, err := g.record(ctx, GuardNotApproved, a.Approver, a.Reason, run.Enrollment, s.details(run.ID, "why", why))
		return errors.Join(mdm.Errorf(mdm.Forbidden, op, "%s", why), err)
	}
	e, err := g.record(ctx, GuardApproved, a.Approver, a.Reason, run.Enrollment, s.details(run.ID))
	if err != nil {
		return err
	}
	now := g.now()
	word := mdm.Event{Seq: -e.Number, Type: guardApproval, At: now, Enrollment: run.Enrollment, Name: a.Approver}
	_, err = g.Runs.ChangeRun(ctx, a.Tenant, a.Run, func(r *workflow.Run) ([]string, error) {
		if r.Step != "approval" || !r.Hear(word, now) {
			return nil, mdm.Errorf(mdm.Forbidden, op, "it does not wait for an approval any more")
		}
		return nil, nil
	})
	return err
}
