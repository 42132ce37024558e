package practice

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// EraseName is the name of the workflow of [Erase].
const EraseName = "erase"

// Erase erases a device. Whether it may be erased is asked when it is begun and again when the device takes the command, which may be
// weeks later. A Mac gets a PIN of six digits, as in [Lock].
//
// A device answers an EraseDevice once, if at all, and then it is gone. So the run ends well when the device enrolls again after the
// erase, and else when it was given the command and is silent for so long: presumed, then. It outlives the generation that it erases.
//
// Source: Apple, EraseDevice.
type Erase struct {
	Roster  workflow.Roster                         // required
	Runs    MachineRuns                             // required: what is canceled is not erased, wherever the command is by then
	PINs    PINs                                    // required for Macs
	Guard   *Guard                                  // gives PINs out, as it does other secrets: on record, and within its limits
	Release func(context.Context, PINRequest) error // asked before a PIN is read; nil: Guard alone decides, and without it none is read

	// Confirm has the last word: an error of it refuses. Of what it refuses when the device asks, the command is called off. It may
	// be called again. Nil: who says who he is and why may.
	Confirm func(context.Context, *mdm.Enrollment, EraseOrder) error
	// Return says how a device returns to service: made when the device takes the command, because it may hold secrets. Required
	// where an order asks for it.
	Return func(context.Context, *mdm.Enrollment) (command.EraseDeviceReturnToService, error)

	Deadline time.Duration // how long the device may stay away; 0: 30 days
	Silence  time.Duration // after which a device that was given the command is presumed erased; 0: 24 h
}

// EraseOrder says how to erase, and who wants it. What a platform does not know refuses the order.
type EraseOrder struct {
	Actor, Reason string // required

	PreserveDataPlan       bool                                    // iOS
	DisallowProximitySetup bool                                    // iOS
	Obliteration           command.EraseDeviceObliterationBehavior // macOS
	ReturnToService        bool                                    // iOS 17, tvOS 18
}

type eraseState struct {
	Order      EraseOrder
	Until      time.Time
	Sent       time.Time // when the device was given it last
	AnsweredAt time.Time
}

// Begin erases a device. It is refused, and nothing is queued, in a User Enrollment, and if the device cannot be erased so as far as
// is known, is being erased, or Confirm refuses (Forbidden).
func (p *Erase) Begin(ctx context.Context, e *workflow.Engine, id mdm.EnrollmentID, o EraseOrder) (workflow.Run, error) {
	if err := machineAsked("practice.Erase", o.Actor, o.Reason); err != nil {
		return workflow.Run{}, err
	}
	return machineBegin(ctx, e, p.Roster, EraseName, id, eraseState{Order: o}, func(e *mdm.Enrollment) error { return p.allowed(ctx, e, o) })
}

// PIN reads the PIN of a run, as soon as it was made. Release is asked first, and then Guard, as [Guard.Release] says.
func (p *Erase) PIN(ctx context.Context, r PINRequest) (mdm.Secret, error) {
	return p.drawer().read(ctx, "practice.Erase", r)
}

func (p *Erase) drawer() pinDrawer {
	return pinDrawer{pins: p.PINs, kind: GuardErasePIN, prefix: "erase-pin", release: p.Release, guard: p.Guard}
}

// allowed says why a device is not to be erased.
func (p *Erase) allowed(ctx context.Context, e *mdm.Enrollment, o EraseOrder) error {
	switch {
	case p.Runs == nil:
		return errors.New("Erase.Runs is required")
	case e.Channel.IsUserEnrollment():
		return errors.New("the device belongs to its user: a User Enrollment is not erased")
	case o.ReturnToService && p.Return == nil:
		return errors.New("nobody says how it is to return to service")
	case machineIsMac(e) && p.PINs == nil:
		return errors.New("there is nowhere to keep the PIN of a Mac")
	}
	if err := machineSupports(o.command(), e); err != nil {
		return err
	}
	if p.Confirm == nil {
		return nil
	}
	return p.Confirm(ctx, e, o)
}

// command is the command without what is made late.
func (o EraseOrder) command() command.EraseDevice {
	var c command.EraseDevice
	if o.PreserveDataPlan {
		c.PreserveDataPlan = new(true)
	}
	if o.DisallowProximitySetup {
		c.DisallowProximitySetup = new(true)
	}
	if o.Obliteration != "" {
		c.ObliterationBehavior = new(o.Obliteration)
	}
	if o.ReturnToService {
		c.ReturnToService = &command.EraseDeviceReturnToService{Enabled: true}
	}
	return c
}

func (o EraseOrder) args(run string) map[string]string {
	return map[string]string{"run": run, "actor": o.Actor, "reason": o.Reason, "dataplan": strconv.FormatBool(o.PreserveDataPlan),
		"proximity": strconv.FormatBool(o.DisallowProximitySetup), "obliteration": string(o.Obliteration), "return": strconv.FormatBool(o.ReturnToService)}
}

func eraseOrder(args map[string]string) EraseOrder {
	return EraseOrder{Actor: args["actor"], Reason: args["reason"], PreserveDataPlan: args["dataplan"] == "true",
		DisallowProximitySetup: args["proximity"] == "true", Obliteration: command.EraseDeviceObliterationBehavior(args["obliteration"]),
		ReturnToService: args["return"] == "true"}
}

// Cooks returns who makes the command.
func (p *Erase) Cooks() map[string]command.Cook { return map[string]command.Cook{EraseName: p.cook} }

func (p *Erase) cook(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
	e, err := machineCooked(ctx, p.Runs, p.Roster, EraseName, id, args["run"])
	if err != nil {
		return nil, err
	}
	o := eraseOrder(args)
	if p.allowed(ctx, e, o) != nil {
		return nil, command.ErrCalledOff
	}
	c := o.command()
	if machineIsMac(e) {
		if c.PIN, err = p.drawer().make(ctx, id, args["run"]); err != nil {
			return nil, err
		}
	}
	if o.ReturnToService {
		back, err := p.Return(ctx, e)
		if err != nil {
			return nil, err
		}
		back.Enabled = true
		c.ReturnToService = &back
	}
	return c, nil
}

// Workflows returns the workflow.
func (p *Erase) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[eraseState]{Name: EraseName, First: "begin", Outlives: true,
		Listens: append(eraseEnds(), mdm.EventCommandSent, mdm.EventCommandNotNow),
		Steps:   machineSteps[eraseState]{"begin": p.begin, "sent": p.sent}}}
}

// eraseEnds are the events that end or begin a generation.
func eraseEnds() []mdm.EventType {
	return []mdm.EventType{mdm.EventAfterWipe, mdm.EventReenrolled, mdm.EventEnrolled, mdm.EventCheckedOut, mdm.EventEnded}
}

// begin makes the PIN before anything else, so that no Mac is ever erased with one that is lost.
func (p *Erase) begin(ctx context.Context, t *workflow.Turn, s *eraseState) (workflow.Next, error) {
	if next, unasked := machineUnasked(s.Order.Actor, s.Order.Reason); unasked {
		return next, nil
	}
	if t.Over() {
		return workflow.GiveUp("not erased: the enrollment ended before"), nil
	}
	if err := p.allowed(ctx, t.Enrollment, s.Order); err != nil {
		return workflow.GiveUp("not erased: " + err.Error()), nil
	}
	if machineIsMac(t.Enrollment) {
		if _, err := p.drawer().make(ctx, t.Run.Enrollment, t.Run.ID); err != nil {
			return workflow.Next{}, err
		}
	}
	s.Until = t.Now.Add(waitOr(p.Deadline, 30*24*time.Hour))
	recipe := command.Recipe{Type: "EraseDevice", Name: EraseName, Args: s.Order.args(t.Run.ID), Traits: command.Erases}
	return p.wait(t, s).Send("erase", command.Order{Command: recipe, Priority: command.Security, NotAfter: s.Until}).
		Note("to be erased, for " + s.Order.Actor), nil
}

// wait waits for whatever tells of the erase.
func (p *Erase) wait(t *workflow.Turn, s *eraseState) workflow.Next {
	next := workflow.Go("sent").On(eraseEnds()...)
	if s.AnsweredAt.IsZero() {
		next = next.Answered("erase").On(mdm.EventCommandSent, mdm.EventCommandNotNow)
	}
	if at := p.presumed(t, s); !at.IsZero() {
		return next.At(at)
	}
	return next.At(s.Until)
}

// presumed is when the device has been silent for long enough since it was given the command; zero: it was not.
func (p *Erase) presumed(t *workflow.Turn, s *eraseState) time.Time {
	since := s.Sent
	if s.AnsweredAt.After(since) {
		since = s.AnsweredAt
	}
	if since.IsZero() {
		return since
	}
	if seen := t.Enrollment.LastSeenAt; s.AnsweredAt.IsZero() && seen.After(since) {
		since = seen
	}
	return since.Add(waitOr(p.Silence, 24*time.Hour))
}

func (p *Erase) sent(_ context.Context, t *workflow.Turn, s *eraseState) (workflow.Next, error) {
	if waiting, ok := t.Waiting["erase"]; ok {
		s.Sent = time.Time{}
		if waiting.State == command.Sent { // not if it answered NotNow
			s.Sent = waiting.SentAt
		}
	}
	r, answered := machineAnswer(t, "erase")
	switch {
	case answered && r.Err == nil && s.AnsweredAt.IsZero():
		s.AnsweredAt = t.Now
	case answered && r.Entry.State == command.Presumed:
		s.Sent = r.Entry.SentAt
	case answered && r.Err != nil && !(t.Over() && r.Entry.State == command.Canceled):
		return workflow.GiveUp("not erased: " + r.Err.Error()), nil
	}
	if t.Over() {
		return p.gone(t, s), nil
	}
	presumed := p.presumed(t, s)
	switch {
	case !presumed.IsZero() && !t.Now.Before(presumed):
		return p.silent(t, s), nil
	case presumed.IsZero() && !t.Now.Before(s.Until):
		return workflow.GiveUp("not erased: the device did not take it in time").Drop("erase"), nil
	case !s.AnsweredAt.IsZero():
		return p.wait(t, s).Note("acknowledged; it should enroll again, or be silent"), nil
	case !s.Sent.IsZero():
		return p.wait(t, s).Note("given to the device at " + machineStamp(s.Sent)), nil
	}
	return p.wait(t, s), nil
}

// gone judges a generation that is over.
func (p *Erase) gone(t *workflow.Turn, s *eraseState) workflow.Next {
	given := !s.AnsweredAt.IsZero() || !s.Sent.IsZero()
	switch {
	case t.Enrollment.Generation > t.Run.Generation && t.Enrollment.Arrival == mdm.EventAfterWipe:
		return workflow.Finish("erased: it enrolled again")
	case given && t.Enrollment.Generation > t.Run.Generation:
		return workflow.Finish("presumed erased: it was given the command, and enrolled anew")
	case given && s.AnsweredAt.IsZero():
		return workflow.Finish("presumed erased: it was given the command before its enrollment ended")
	case given:
		return workflow.Finish("presumed erased: it acknowledged before its enrollment ended")
	}
	return workflow.GiveUp("not erased: the enrollment ended before")
}

// silent judges a device that was given the command, at the end of the time in which it should be silent.
func (p *Erase) silent(t *workflow.Turn, s *eraseState) workflow.Next {
	const lag = 10 * time.Minute // of LastSeenAt, and of what a device says while it shuts down
	switch {
	case s.AnsweredAt.IsZero():
		return workflow.Finish("presumed erased: it was given the command at " + machineStamp(s.Sent) + ", and is silent")
	case t.Enrollment.LastSeenAt.After(s.AnsweredAt.Add(lag)):
		return workflow.GiveUp("not erased: it acknowledged, and goes on as before")
	}
	return workflow.Finish("presumed erased: it acknowledged, and is silent")
}
