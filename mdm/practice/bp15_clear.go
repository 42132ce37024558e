package practice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// ClearPasscodeRequest asks for the passcode of a device to be removed, which also ends its Data Protection until a new one is set.
type ClearPasscodeRequest struct {
	Enrollment mdm.EnrollmentID // a device channel
	Actor      string           // who asks; required
	Reason     string           // why; required
	// PossessionVerified says that Actor has made sure that the device is in the hands of its owner. It must be true.
	PossessionVerified bool
	// Approver, if not empty, is who has to approve it, who is not Actor. Empty: anybody else, if Guard.SecondApprover is set.
	Approver string
}

// GuardApproval is the word of a second person.
type GuardApproval struct {
	Tenant   string
	Run      string // the ID of the run that ClearPasscode returned
	Approver string // not the actor of the request
	Reason   string // empty: "approved"
}

// guardApproval wakes a run that waits for its approval.
const guardApproval mdm.EventType = "practice.approved"

// guardClearing is the state of a run.
type guardClearing struct {
	Request    int64 // number in the audit log
	Actor      string
	Reason     string
	Second     bool   // somebody else has to approve
	Approver   string // empty: anybody else
	ApprovedBy string
	Until      time.Time // of the present wait
}

// ClearPasscode begins a run that removes the passcode of a device, as soon as the device asks and, if it has to be, somebody else
// has approved. The run's Note and Step, and the audit log, say what became of it; the unlock token stays in any case. The error
// is a Malformed one if Actor, Reason or Enrollment is missing, and a Forbidden one if it is refused.
func (g *Guard) ClearPasscode(ctx context.Context, r ClearPasscodeRequest) (workflow.Run, error) {
	const op = "practice.ClearPasscode"
	a := guardAsk{op: op, secret: GuardUnlockToken, enrollment: r.Enrollment, actor: r.Actor, reason: r.Reason, possession: r.PossessionVerified}
	a.objects = func(ctx context.Context) (string, error) {
		if r.Approver != "" && guardSame(r.Approver, r.Actor) {
			return "nobody approves what he asks for himself", nil
		}
		return g.unclearable(ctx, r.Enrollment)
	}
	request, err := g.admit(ctx, a)
	if err != nil {
		return workflow.Run{}, err
	}
	state := guardClearing{Request: request, Actor: r.Actor, Reason: r.Reason, Approver: r.Approver, Second: g.SecondApprover || r.Approver != ""}
	run, fresh, err := g.Engine.Begin(ctx, GuardClearPasscode, r.Enrollment, GuardClearPasscode, state)
	if err != nil {
		details := guardDetails(a.secret, request, "outcome", "it could not be begun")
		_, unsaid := g.record(ctx, GuardOutcome, guardServer, r.Reason, r.Enrollment, details)
		return workflow.Run{}, errors.Join(err, unsaid)
	}
	if !fresh {
		if err := g.refuse(ctx, a, request, "there is an open request"); err != nil {
			return workflow.Run{}, err
		}
		return run, &mdm.Error{Code: mdm.Forbidden, Op: op, Enrollment: r.Enrollment, Err: errors.New("there is an open request")}
	}
	return run, nil
}

// unclearable says why an enrollment has no unlock token that could be used. Apple: unlock tokens are not available in User
// Enrollment, on Shared iPad, and on macOS.
func (g *Guard) unclearable(ctx context.Context, id mdm.EnrollmentID) (string, error) {
	e, err := g.Roster.Enrollment(ctx, id)
	switch {
	case mdm.CodeOf(err) == mdm.NotFound && err != nil:
		return "the enrollment is not known", nil
	case err != nil:
		return "", err
	case e.State != mdm.Enrolled:
		return fmt.Sprintf("the enrollment is %s", e.State), nil
	case e.Channel != mdm.DeviceChannel:
		return fmt.Sprintf("there is no unlock token for a %s", e.Channel), nil
	case e.Device.SharedIPad == mdm.Yes:
		return "there is no unlock token for a Shared iPad", nil
	}
	switch p := schema.PlatformOf(&e.Device); p {
	case schema.MacOS, schema.TvOS:
		return fmt.Sprintf("there is no unlock token for %s", p), nil
	}
	return "", nil
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
	var s guardClearing
	if run.Workflow != GuardClearPasscode || json.Unmarshal(run.State, &s) != nil {
		return mdm.Errorf(mdm.NotFound, op, "%q is no such request", a.Run)
	}
	details := guardDetails(GuardUnlockToken, s.Request, "run", run.ID)
	why := ""
	switch {
	case !s.mayApprove(a.Approver) || run.Status != workflow.Open || run.Step != "approval":
		why = "it does not wait for the approval of this person"
	case !g.now().Before(s.Until): // and nobody has come to end it yet
		why = "it is too late to approve it"
	}
	if why != "" {
		details["why"] = why
		_, err := g.record(ctx, GuardNotApproved, a.Approver, a.Reason, run.Enrollment, details)
		return errors.Join(mdm.Errorf(mdm.Forbidden, op, "%s", why), err)
	}
	e, err := g.record(ctx, GuardApproved, a.Approver, a.Reason, run.Enrollment, details)
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

func (s *guardClearing) mayApprove(approver string) bool {
	return s.Second && !guardSame(approver, s.Actor) && (s.Approver == "" || guardSame(approver, s.Approver))
}

// clearing is the workflow of ClearPasscode.
func (g *Guard) clearing() *workflow.Workflow[guardClearing] {
	type step = func(context.Context, *workflow.Turn, *guardClearing) (workflow.Next, error)
	return &workflow.Workflow[guardClearing]{
		Name: GuardClearPasscode, First: "begin", Listens: []mdm.EventType{guardApproval},
		Steps: map[string]step{"begin": g.clearBegin, "approval": g.clearApproval, "outcome": g.clearOutcome},
	}
}

func (g *Guard) clearBegin(_ context.Context, t *workflow.Turn, s *guardClearing) (workflow.Next, error) {
	if s.Request == 0 {
		return workflow.GiveUp(guardUnasked), nil
	}
	if !s.Second {
		return g.clearSend(t, s), nil
	}
	s.Until = t.Now.Add(waitOr(g.ApprovalWait, 24*time.Hour))
	return workflow.Go("approval").On(guardApproval).At(s.Until).Note("waits for a second approver"), nil
}

func (g *Guard) clearApproval(ctx context.Context, t *workflow.Turn, s *guardClearing) (workflow.Next, error) {
	if word := t.Signal(); word != nil && word.Type == guardApproval && s.mayApprove(word.Name) {
		s.ApprovedBy = word.Name
		return g.clearSend(t, s), nil
	}
	if t.Now.Before(s.Until) {
		return workflow.Go("approval").On(guardApproval).At(s.Until), nil
	}
	return g.clearEnd(ctx, t, s, workflow.GiveUp, "nobody approved it in time")
}

func (g *Guard) clearSend(t *workflow.Turn, s *guardClearing) workflow.Next {
	s.Until = t.Now.Add(waitOr(g.ClearWait, time.Hour))
	return workflow.Go("outcome").Send("clear", command.Order{
		Command:  command.Recipe{Type: "ClearPasscode", Name: GuardClearPasscode, Args: map[string]string{"run": t.Run.ID}},
		NotAfter: s.Until, Priority: command.Security,
	}).Answered("clear").At(s.Until).Note("waits for the device")
}

func (g *Guard) clearOutcome(ctx context.Context, t *workflow.Turn, s *guardClearing) (workflow.Next, error) {
	if why := t.Refused("clear"); why != "" {
		return g.clearEnd(ctx, t, s, workflow.GiveUp, "it cannot be sent: "+why)
	}
	e, ok := t.Answer("clear")
	switch {
	case !ok && t.Now.Before(s.Until):
		return workflow.Go("outcome").Answered("clear").At(s.Until), nil
	case !ok:
		next, err := g.clearEnd(ctx, t, s, workflow.GiveUp, "the device did not answer in time")
		return next.Drop("clear"), err
	case e.State == command.Acknowledged:
		return g.clearEnd(ctx, t, s, workflow.Finish, "the passcode is cleared")
	}
	return g.clearEnd(ctx, t, s, workflow.GiveUp, guardFailure(&e))
}

// clearEnd records the outcome and ends the run.
func (g *Guard) clearEnd(ctx context.Context, t *workflow.Turn, s *guardClearing, end func(string) workflow.Next,
	outcome string) (workflow.Next, error) {
	details := guardDetails(GuardUnlockToken, s.Request, "run", t.Run.ID, "outcome", outcome)
	_, err := g.record(ctx, GuardOutcome, guardServer, s.Reason, t.Run.Enrollment, details)
	return end(outcome), err
}

// guardFailure says how a command ended that was not acknowledged. Of the device's words it has the codes only: texts may quote
// anything.
func guardFailure(e *command.Entry) string {
	switch e.State {
	case command.Canceled:
		return "the command was withdrawn"
	case command.Expired:
		return "the device did not ask for it in time"
	case command.Failed:
		var codes []string
		if result, err := command.ParseResult(e.Result); err == nil {
			for _, item := range result.ErrorChain {
				codes = append(codes, fmt.Sprintf("%.64q %d", item.ErrorDomain, item.ErrorCode))
			}
		}
		return strings.TrimSuffix("the device failed: "+strings.Join(codes[:min(len(codes), 5)], ", "), ": ")
	}
	return "the command ended as " + e.State.String()
}

// cookClear makes the command when the device asks for it. What spoke against it at the request is looked at again.
func (g *Guard) cookClear(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
	run, s, err := guardRunOf[guardClearing](ctx, g, id, GuardClearPasscode, args["run"])
	if err != nil {
		return nil, err
	}
	details := guardDetails(GuardUnlockToken, s.Request, "run", run.ID)
	why, err := g.unclearable(ctx, id)
	if err != nil {
		return nil, err
	}
	if why == "" {
		lost, err := g.lost(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case lost:
			why = guardLost
		case s.Second && s.ApprovedBy == "":
			why = "it is not approved"
		}
	}
	if why != "" {
		details["why"] = why
		if _, err := g.record(ctx, GuardCalledOff, guardServer, s.Reason, id, details); err != nil {
			return nil, err
		}
		return nil, command.ErrCalledOff
	}
	e, err := g.record(ctx, GuardReleased, s.Actor, s.Reason, id, details)
	if err != nil {
		return nil, err
	}
	token, err := g.Escrow.UnlockToken(ctx, id, fmt.Sprintf("audit entry %d: %s", e.Number, s.Reason))
	if err != nil {
		return nil, err
	}
	if token.IsZero() {
		details["why"] = "there is no unlock token"
		_, err := g.record(ctx, GuardCalledOff, guardServer, s.Reason, id, details)
		return nil, errors.Join(command.ErrCalledOff, err)
	}
	return command.ClearPasscode{UnlockToken: token}, nil
}

// guardRunOf returns an open run that a recipe belongs to, and its state. Without it the command is called off.
func guardRunOf[S any](ctx context.Context, g *Guard, id mdm.EnrollmentID, name, run string) (r workflow.Run, s S, err error) {
	r, err = g.Runs.Run(ctx, id.Tenant, run)
	if err != nil && mdm.CodeOf(err) != mdm.NotFound {
		return r, s, err
	}
	if err != nil || r.Workflow != name || r.Status != workflow.Open || r.Enrollment != id {
		return r, s, command.ErrCalledOff
	}
	return r, s, json.Unmarshal(r.State, &s)
}
