package practice

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// RotateRequest asks for a new secret on a device.
type RotateRequest struct {
	Secret     GuardedSecret // GuardRecoveryLock, GuardFirmwarePassword, GuardFileVaultKey or GuardAdminPassword
	Enrollment mdm.EnrollmentID
	Actor      string // who asks, or what; required
	Reason     string // required
	// GUID is the managed administrator, for GuardAdminPassword: DeviceInformation tells it as AutoSetupAdminAccounts.
	GUID string
}

// guardRotation is the state of a run. It says where secrets are and holds none.
type guardRotation struct {
	Secret   GuardedSecret
	Request  int64 // number in the audit log
	Reason   string
	GUID     string `json:",omitempty"`
	Slot     int    // of the candidate
	Before   int    // slot of what was current; 0: there was none
	Accepted bool   // the candidate is current
	Until    time.Time
}

// Rotate begins a run that gives a device a new secret. The new one is kept before the command is sent, and becomes the current one
// when the device acknowledges that very command; a recovery lock is verified then. The old one is kept, and stays the current one
// if it fails. One run at a time changes a secret: the run that is there is returned with a Forbidden error.
func (g *Guard) Rotate(ctx context.Context, r RotateRequest) (workflow.Run, error) {
	const op = "practice.Rotate"
	if err := g.rotatable(ctx, op, r); err != nil {
		return workflow.Run{}, err
	}
	details := map[string]string{"secret": string(r.Secret)}
	if r.GUID != "" {
		details["guid"] = guardClip(r.GUID)
	}
	e, err := g.record(ctx, GuardRotationRequested, r.Actor, r.Reason, r.Enrollment, details)
	if err != nil {
		return workflow.Run{}, err
	}
	state := guardRotation{Secret: r.Secret, Request: e.Number, Reason: r.Reason, GUID: r.GUID}
	run, fresh, err := g.Engine.Begin(ctx, GuardRotateSecret, r.Enrollment, "rotate/"+string(r.Secret), state)
	if err != nil || fresh {
		return run, err
	}
	details = guardDetails(r.Secret, e.Number, "outcome", "another run changes it")
	_, err = g.record(ctx, GuardRotationOutcome, guardServer, r.Reason, r.Enrollment, details)
	return run, errors.Join(mdm.Errorf(mdm.Forbidden, op, "another run changes it"), err)
}

func (g *Guard) rotatable(ctx context.Context, op string, r RotateRequest) error {
	switch {
	case strings.TrimSpace(r.Actor) == "" || strings.TrimSpace(r.Reason) == "":
		return mdm.Errorf(mdm.Malformed, op, "an actor and a reason are required")
	case guardRotates[r.Secret] == "":
		return mdm.Errorf(mdm.Malformed, op, "a secret of the kind %q cannot be rotated", r.Secret)
	case r.Secret == GuardAdminPassword && r.GUID == "":
		return mdm.Errorf(mdm.Malformed, op, "the GUID of the administrator is required")
	case r.Secret == GuardFileVaultKey && len(g.FileVault) == 0:
		return mdm.Errorf(mdm.Internal, op, "Guard.FileVault has no certificate to encrypt the key to")
	}
	e, err := g.Roster.Enrollment(ctx, r.Enrollment)
	if err != nil {
		return err
	}
	if e.State != mdm.Enrolled || e.Channel != mdm.DeviceChannel {
		return mdm.Errorf(mdm.Forbidden, op, "the enrollment is %s on the channel %s", e.State, e.Channel)
	}
	return nil
}

// guardRotates has the commands that rotate.
var guardRotates = map[GuardedSecret]string{
	GuardRecoveryLock: "SetRecoveryLock", GuardFirmwarePassword: "SetFirmwarePassword", GuardFileVaultKey: "RotateFileVaultKey",
	GuardAdminPassword: "SetAutoAdminPassword",
}

// rotating is the workflow of Rotate.
func (g *Guard) rotating() *workflow.Workflow[guardRotation] {
	type step = func(context.Context, *workflow.Turn, *guardRotation) (workflow.Next, error)
	return &workflow.Workflow[guardRotation]{
		Name: GuardRotateSecret, First: "prepare",
		Steps: map[string]step{"prepare": g.rotatePrepare, "answer": g.rotateAnswer, "verify": g.rotateVerify}, Outlived: guardOutlived,
	}
}

// rotatePrepare keeps the candidate; then, in the transaction of the step, the command is queued.
func (g *Guard) rotatePrepare(ctx context.Context, t *workflow.Turn, s *guardRotation) (workflow.Next, error) {
	if s.Request == 0 {
		return workflow.GiveUp(guardUnasked), nil
	}
	shelf, err := g.shelf(ctx, t.Run.Enrollment, s.Secret)
	if err != nil {
		return workflow.Next{}, err
	}
	s.Before = shelf.tip.Current
	if s.Secret != GuardFileVaultKey { // a Mac makes its own
		value, err := g.generate(s.Secret)
		if err != nil {
			return workflow.Next{}, err
		}
		if s.Slot, err = shelf.add(ctx, guardRecord{Kind: guardCandidate, Run: t.Run.ID, Value: value.Reveal()}); err != nil {
			return workflow.Next{}, err
		}
	}
	s.Until = t.Now.Add(waitOr(g.RotateWait, 7*24*time.Hour))
	return workflow.Go("answer").Send("set", guardRotationOrder(t, s, guardRotates[s.Secret], "set")).Answered("set").At(s.Until).
		Note("waits for the device"), nil
}

func guardRotationOrder(t *workflow.Turn, s *guardRotation, requestType, do string) command.Order {
	return command.Order{NotAfter: s.Until, Priority: command.Security,
		Command: command.Recipe{Type: requestType, Name: GuardRotateSecret, Args: map[string]string{"run": t.Run.ID, "do": do}}}
}

func (g *Guard) rotateAnswer(ctx context.Context, t *workflow.Turn, s *guardRotation) (workflow.Next, error) {
	if why := t.Refused("set"); why != "" {
		return g.rotateEnd(ctx, t, s, workflow.GiveUp, "it cannot be sent: "+why)
	}
	e, ok := t.Answer("set")
	switch {
	case !ok && t.Now.Before(s.Until):
		return workflow.Go("answer").Answered("set").At(s.Until), nil
	case !ok:
		next, err := g.rotateEnd(ctx, t, s, workflow.GiveUp, "the device did not answer in time; it may have the new secret")
		return next.Drop("set"), err
	case e.State == command.Acknowledged && s.Secret == GuardFileVaultKey:
		return g.rotateFileVault(ctx, t, s, e.Result)
	case e.State == command.Acknowledged && !guardChanged(s.Secret, e.Result):
		return g.rotateEnd(ctx, t, s, workflow.GiveUp, "the device did not change it")
	case e.State == command.Acknowledged:
		if err := g.accept(ctx, t, s); err != nil {
			return workflow.Next{}, err
		}
		if s.Secret != GuardRecoveryLock {
			return g.rotateEnd(ctx, t, s, workflow.Finish, "the device has the new secret")
		}
		return g.rotateAsk(t, s), nil
	case e.State == command.Failed && s.Secret == GuardRecoveryLock:
		// If the answer to an earlier delivery was lost, it has the new one, and the old one was wrong just now.
		return g.rotateAsk(t, s), nil
	}
	return g.rotateEnd(ctx, t, s, workflow.GiveUp, guardFailure(&e))
}

// guardChanged reports whether a device says that it changed its firmware password. Of others the acknowledgment says it.
func guardChanged(kind GuardedSecret, raw []byte) bool {
	if kind != GuardFirmwarePassword {
		return true
	}
	var answer command.SetFirmwarePasswordResponse
	return command.DecodeResult(raw, &answer) == nil && answer.SetFirmwarePassword.PasswordChanged
}

// accept makes the candidate the current secret.
func (g *Guard) accept(ctx context.Context, t *workflow.Turn, s *guardRotation) error {
	shelf, err := g.shelf(ctx, t.Run.Enrollment, s.Secret)
	if err != nil {
		return err
	}
	if _, err := shelf.add(ctx, guardRecord{Kind: guardCurrent, Run: t.Run.ID, Current: s.Slot}); err != nil {
		return err
	}
	s.Accepted = true
	return nil
}

// rotateAsk asks the device whether it has the candidate.
func (g *Guard) rotateAsk(t *workflow.Turn, s *guardRotation) workflow.Next {
	s.Until = t.Now.Add(waitOr(g.RotateWait, 7*24*time.Hour))
	return workflow.Go("verify").Send("verify", guardRotationOrder(t, s, "VerifyRecoveryLock", "verify")).Answered("verify").At(s.Until).
		Note("is verified")
}

func (g *Guard) rotateVerify(ctx context.Context, t *workflow.Turn, s *guardRotation) (workflow.Next, error) {
	e, ok := t.Answer("verify")
	if !ok && t.Refused("verify") == "" && t.Now.Before(s.Until) {
		return workflow.Go("verify").Answered("verify").At(s.Until), nil
	}
	var answer command.VerifyRecoveryLockResponse
	said := ok && e.State == command.Acknowledged && command.DecodeResult(e.Result, &answer) == nil
	switch {
	case said && answer.PasswordVerified:
		if err := g.accept(ctx, t, s); err != nil {
			return workflow.Next{}, err
		}
		return g.rotateEnd(ctx, t, s, workflow.Finish, "the device has the new secret: it is verified")
	case said && s.Accepted:
		return g.revert(ctx, t, s)
	case s.Accepted:
		next, err := g.rotateEnd(ctx, t, s, workflow.Finish, "the device has the new secret, as it said; it did not verify it")
		return next.Drop("verify"), err
	}
	failed, _ := t.Answer("set")
	next, err := g.rotateEnd(ctx, t, s, workflow.GiveUp, guardFailure(&failed)+"; as far as is known it has the former secret")
	return next.Drop("verify"), err
}

// revert makes the former secret the current one again.
func (g *Guard) revert(ctx context.Context, t *workflow.Turn, s *guardRotation) (workflow.Next, error) {
	shelf, err := g.shelf(ctx, t.Run.Enrollment, s.Secret)
	if err != nil {
		return workflow.Next{}, err
	}
	if _, err := shelf.add(ctx, guardRecord{Kind: guardReverted, Run: t.Run.ID, Current: s.Before}); err != nil {
		return workflow.Next{}, err
	}
	return g.rotateEnd(ctx, t, s, workflow.GiveUp,
		"the device does not take the new secret, although it acknowledged it; the former one is current again")
}

// rotateEnd records the outcome and ends the run.
func (g *Guard) rotateEnd(ctx context.Context, t *workflow.Turn, s *guardRotation, end func(string) workflow.Next,
	outcome string) (workflow.Next, error) {
	details := guardDetails(s.Secret, s.Request, "run", t.Run.ID, "outcome", outcome)
	_, err := g.record(ctx, GuardRotationOutcome, guardServer, s.Reason, t.Run.Enrollment, details)
	return end(outcome), err
}

// guardLetters are those that are not taken for each other, and that every keyboard has in the same place or shows.
const guardLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// generate makes a new secret.
func (g *Guard) generate(kind GuardedSecret) (mdm.Secret, error) {
	if g.Generate != nil {
		s, err := g.Generate(kind)
		if err == nil && s.IsZero() {
			err = fmt.Errorf("practice: Guard.Generate made no %s", kind)
		}
		return s, err
	}
	random := make([]byte, 20)
	_, _ = rand.Read(random) // never fails
	for i, b := range random {
		random[i] = guardLetters[int(b)%len(guardLetters)] // 32 letters: each is as likely
	}
	return mdm.NewSecret(random), nil
}
