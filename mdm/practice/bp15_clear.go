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

// ClearPasscode begins a run that removes the passcode of a device, as soon as the device asks and, if it has to be, somebody else
// has approved. The run's Note and Step, and the audit log, say what became of it; the unlock token stays in any case. The error
// is a Malformed one if Actor, Reason or Enrollment is missing, and a Forbidden one if it is refused.
func (g *Guard) ClearPasscode(ctx context.Context, r ClearPasscodeRequest) (workflow.Run, error) {
	const op = "practice.ClearPasscode"
	a := guardAsk{op: op, secret: GuardUnlockToken, enrollment: r.Enrollment, actor: r.Actor, reason: r.Reason, possession: r.PossessionVerified}
	a.objects = func(ctx context.Context) (string, error) {
		if why := guardSelf(r.Approver, r.Actor); why != "" {
			return why, nil
		}
		return g.unclearable(ctx, r.Enrollment)
	}
	request, err := g.admit(ctx, a)
	if err != nil {
		return workflow.Run{}, err
	}
	return g.petition(ctx, a, GuardClearPasscode, GuardClearPasscode, guardPetition{Request: request, Secret: a.secret, Actor: r.Actor, Reason: r.Reason,
		Approver: r.Approver, Second: g.second(a.secret, r.Approver)})
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

// clearing is the workflow of ClearPasscode.
func (g *Guard) clearing() *workflow.Workflow[guardPetition] {
	steps := g.petitionSteps(g.clearSend)
	steps["outcome"] = g.clearOutcome
	return &workflow.Workflow[guardPetition]{Name: GuardClearPasscode, First: "begin", Listens: []mdm.EventType{guardApproval}, Steps: steps,
		Outlived: guardOutlived}
}

func (g *Guard) clearSend(t *workflow.Turn, s *guardPetition) workflow.Next {
	s.Until = t.Now.Add(waitOr(g.ClearWait, time.Hour))
	return workflow.Go("outcome").Send("clear", command.Order{
		Command:  command.Recipe{Type: "ClearPasscode", Name: GuardClearPasscode, Args: map[string]string{"run": t.Run.ID}},
		NotAfter: s.Until, Priority: command.Security,
	}).Answered("clear").At(s.Until).Note("waits for the device")
}

func (g *Guard) clearOutcome(ctx context.Context, t *workflow.Turn, s *guardPetition) (workflow.Next, error) {
	if why := t.Refused("clear"); why != "" {
		return g.petitionEnd(ctx, t, s, guardStatusFailed, "it cannot be sent: "+why)
	}
	e, ok := t.Answer("clear")
	switch {
	case !ok && t.Now.Before(s.Until):
		return workflow.Go("outcome").Answered("clear").At(s.Until), nil
	case !ok:
		next, err := g.petitionEnd(ctx, t, s, guardStatusFailed, "the device did not answer in time")
		return next.Drop("clear"), err
	case e.State == command.Acknowledged:
		return g.petitionEnd(ctx, t, s, guardStatusDone, "the passcode is cleared")
	}
	return g.petitionEnd(ctx, t, s, guardStatusFailed, guardFailure(&e))
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
	run, s, err := guardRunOf[guardPetition](ctx, g, id, GuardClearPasscode, args["run"])
	if err != nil {
		return nil, err
	}
	details := s.details(run.ID)
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
