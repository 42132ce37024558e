package practice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// replaceCook makes the profiles that replace enrollment profiles. The name is stored with commands.
const replaceCook = "renewal"

// replaceCommand is the name of the command in a run.
const replaceCommand = "profile"

// replacedEvents are those after which a device may have another identity.
var replacedEvents = []mdm.EventType{mdm.EventRenewed, mdm.EventCertificateBound, mdm.EventRestored, mdm.EventRolledBack}

// Cooks returns who makes the profiles, for server.Config.
func (r *Renewal) Cooks() map[string]command.Cook {
	return map[string]command.Cook{replaceCook: r.replacement}
}

// replacement makes the profile that replaces the one of a device, unless that has been replaced since it was ordered.
func (r *Renewal) replacement(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	e, err := r.Roster.Enrollment(ctx, id)
	switch {
	case mdm.CodeOf(err) == mdm.NotFound && err != nil, err == nil && e.State == mdm.Ended:
		return nil, command.ErrCalledOff
	case err != nil:
		return nil, err
	}
	ends, err := r.Ends.Ends(ctx, e)
	if err != nil {
		return nil, err
	}
	if args["was"] != endsIdentity(ends).Fingerprint.String() {
		return nil, command.ErrCalledOff
	}
	if _, breach, err := r.breach(ctx, e, renewalHeldBy(args)); breach != nil || err != nil { // the recipe may have changed since
		return nil, errors.Join(breach, err)
	}
	f, err := r.forWhom(ctx, e)
	if err != nil {
		return nil, err
	}
	data, err := r.Recipe.Bytes(ctx, f)
	if err != nil {
		return nil, err
	}
	return command.InstallProfile{Payload: data}, nil
}

func (r *Renewal) forWhom(ctx context.Context, e *mdm.Enrollment) (enroll.For, error) {
	f := enroll.Renewal(e)
	if r.Tailor == nil {
		return f, nil
	}
	return f, r.Tailor(ctx, e, &f)
}

// breach says why a device would not have the profile in place of its own, of which the form may be known. It would keep what it
// has, and a fleet would be lost without anybody having noticed. The other error is that it cannot be told. Coming is the form of the
// profile that it would get.
func (r *Renewal) breach(ctx context.Context, e *mdm.Enrollment, held *renewalForm) (coming renewalForm, breach, err error) {
	next, err := r.sample(ctx, e)
	if err != nil {
		return coming, nil, err
	}
	var problems []string
	if form := renewalFormOf(next); form != nil {
		coming = *form
		if e.Topic != "" && form.Topic != e.Topic {
			problems = append(problems, fmt.Sprintf("Topic: the device has %q and must keep it; it is %q", e.Topic, form.Topic))
		}
		if more := form.Rights &^ e.Rights; e.Rights != 0 && more != 0 {
			problems = append(problems, fmt.Sprintf("AccessRights: %d would be added; rights may only be given up", more))
		}
	}
	old, err := r.installed(ctx, e)
	if err != nil {
		return coming, nil, err
	}
	if old == nil && held != nil {
		old, next = held.profile(), coming.profile()
	}
	if old != nil {
		for _, p := range profile.ValidateUpdate(old, next) {
			problems = append(problems, p.String())
		}
	}
	if len(problems) == 0 {
		return coming, nil, nil
	}
	return coming, mdm.Errorf(mdm.Malformed, "practice.Renewal", "the device would refuse the profile: %s", strings.Join(problems, "; ")), nil
}

// sample makes the profile for a device with an identity that is none.
func (r *Renewal) sample(ctx context.Context, e *mdm.Enrollment) (*profile.Profile, error) {
	f, err := r.forWhom(ctx, e)
	if err != nil {
		return nil, err
	}
	f.EncryptTo = nil
	recipe := *r.Recipe
	recipe.Identities, recipe.Signer = replaceNoIdentity{}, nil
	return recipe.Profile(ctx, f)
}

// replaceNoIdentity stands in for identities where none is to be made.
type replaceNoIdentity struct{}

func (replaceNoIdentity) Identity(context.Context, enroll.For) (profile.Payload, error) {
	return &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://scep.invalid", Challenge: mdm.SecretString("none")}}, nil
}

func replaceMDM(p *profile.Profile) *profile.MDM {
	for _, payload := range p.Payloads {
		if m, ok := payload.(*profile.MDM); ok {
			return m
		}
	}
	return nil
}

// replacing is one replacement of an enrollment profile, of which a device has one at a time.
type replacing struct {
	Was      mdm.Fingerprint `json:"was,omitzero"` // its identity before
	SentAt   time.Time       `json:"sentAt,omitzero"`
	Failures int             `json:"failures,omitempty"`
	NextAt   time.Time       `json:"nextAt,omitzero"` // when the next attempt may be
}

// send puts the profile on the queue, to replace one of this form.
func (s *replacing) send(t *workflow.Turn, next workflow.Next, cook string, identity enroll.End, held *renewalForm) workflow.Next {
	s.Was, s.SentAt = identity.Fingerprint, t.Now
	return next.Send(replaceCommand, command.Order{
		Command: command.Recipe{Type: "InstallProfile", Name: cook, Args: map[string]string{"was": s.Was.String(), "held": renewalHeld(held)},
			Traits: command.ReplacesMDM},
		Priority: command.Renewal, Collapse: "practice.enrollment-profile", // one at a time
	}).Answered(replaceCommand)
}

// putOff makes the next attempt due later, each time longer.
func (s *replacing) putOff(now time.Time, first time.Duration) {
	wait := max(first, doubled(first, maxRenewalRetry, s.Failures+1, 20))
	s.Failures++
	s.NextAt = now.Add(wait)
}

// replaceOutcome is what came of a replacement.
type replaceOutcome uint8

const (
	replacePending replaceOutcome = iota
	replaceDone                   // the device uses its new identity
	replaceBroken                 // it has the old one still, and the command is over
	replaceSilent                 // the device is there and does not answer
)

// judge goes by the identity that the device uses, not by what it answers.
func (s *replacing) judge(t *workflow.Turn, identity enroll.End, proof, timeout time.Duration) (replaceOutcome, string) {
	if s.proven(t, identity) {
		return replaceDone, ""
	}
	if why := t.Refused(replaceCommand); why != "" {
		return replaceBroken, "the queue did not take the profile: " + why
	}
	entry, answered := t.Answer(replaceCommand)
	switch {
	case answered && entry.State == command.Acknowledged:
		if t.Now.Before(entry.FinishedAt.Add(proof)) {
			return replacePending, ""
		}
		return replaceBroken, "the device said that it has the profile, and goes on with its old identity"
	case answered:
		return replaceBroken, bp16Text(entry)
	case !t.Now.Before(s.SentAt.Add(timeout)) && t.Enrollment.LastSeenAt.After(s.SentAt):
		return replaceSilent, fmt.Sprintf("no answer within %s; it is sent anew", timeout)
	}
	return replacePending, ""
}

// proven reports whether the device was seen with a new identity.
func (s *replacing) proven(t *workflow.Turn, identity enroll.End) bool {
	if !identity.Fingerprint.IsZero() && !s.Was.IsZero() {
		return identity.Fingerprint != s.Was
	}
	signal := t.Signal()
	return signal != nil && signal.Type == mdm.EventRenewed
}

// waiting waits for what judge asks for.
func (s *replacing) waiting(t *workflow.Turn, next workflow.Next, proof time.Duration) workflow.Next {
	entry, answered := t.Answer(replaceCommand)
	if !answered {
		return next.Answered(replaceCommand)
	}
	return next.At(entry.FinishedAt.Add(proof))
}

// bp16Text says what became of a command that is over, without what a device says in words: that may quote what was in it.
func bp16Text(e command.Entry) string {
	text := e.RequestType + " is " + e.State.String()
	if e.Note != "" {
		text += ": " + e.Note
	}
	if err := bp16Problem(e); err != nil {
		text += ": " + err.Error()
	}
	return text
}

// bp16Problem returns what an answer says went wrong, nil if nothing did.
func bp16Problem(e command.Entry) error {
	if e.State != command.Failed && e.State != command.FormatError {
		return nil
	}
	result, err := command.ParseResult(e.Result)
	if err != nil {
		return errors.New("the answer cannot be read")
	}
	return result.Err()
}
