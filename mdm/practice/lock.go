package practice

import (
	"context"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// LockName is the name of the workflow of [Lock].
const LockName = "device-lock"

// Lock locks a device now. A Mac gets a PIN of six digits, made for this lock and kept sealed before it is sent; neither the queue
// nor the run holds it, for the command is made when the Mac asks for it. Others have their passcode.
//
// A locked Mac restarts and is silent until somebody has typed the PIN, which nobody can ask it about; so the run ends well when the
// Mac has acknowledged and does not answer a question afterwards. An iPhone is asked whether it has a passcode: without one, a lock
// keeps nobody out.
//
// Source: Apple, DeviceLock.
type Lock struct {
	Roster  workflow.Roster                         // required
	Runs    MachineRuns                             // required: what is canceled is not locked, wherever the command is by then
	PINs    PINs                                    // required for Macs
	Guard   *Guard                                  // gives PINs out, as it does other secrets: on record, and within its limits
	Release func(context.Context, PINRequest) error // asked before a PIN is read; nil: Guard alone decides, and without it none is read

	Deadline time.Duration // how long the device may stay away; 0: 30 days
	Silence  time.Duration // how long a Mac does not answer before it is taken for locked; 0: 15 min
}

// LockOrder says what a locked device shows, and who wants it.
type LockOrder struct {
	Actor, Reason        string // required
	Message, PhoneNumber string // on the locked screen, where there is one
}

type lockState struct {
	Order LockOrder
	Until time.Time
	Said  string // what the device said of the message
}

// Begin locks a device. It is refused, and nothing is queued, if the device cannot be locked as far as is known, or is being locked
// (Forbidden), or if nobody says who asks for it and why (Malformed).
func (l *Lock) Begin(ctx context.Context, e *workflow.Engine, id mdm.EnrollmentID, o LockOrder) (workflow.Run, error) {
	if err := machineAsked("practice.Lock", o.Actor, o.Reason); err != nil {
		return workflow.Run{}, err
	}
	return machineBegin(ctx, e, l.Roster, LockName, id, lockState{Order: o}, func(e *mdm.Enrollment) error { return l.capable(e, o) })
}

// PIN reads the PIN of a run, as soon as it was made. Release is asked first, and then Guard, as [Guard.Release] says.
func (l *Lock) PIN(ctx context.Context, r PINRequest) (mdm.Secret, error) {
	return l.drawer().read(ctx, "practice.Lock", r)
}

func (l *Lock) drawer() pinDrawer {
	return pinDrawer{pins: l.PINs, kind: GuardDeviceLockPIN, prefix: "lock-pin", release: l.Release, guard: l.Guard}
}

// capable says why a device cannot be locked.
func (l *Lock) capable(e *mdm.Enrollment, o LockOrder) error {
	if l.Runs == nil {
		return mdm.Errorf(mdm.Internal, "practice.Lock", "Lock.Runs is required")
	}
	if machineIsMac(e) && l.PINs == nil {
		return mdm.Errorf(mdm.Forbidden, "practice.Lock", "there is nowhere to keep the PIN of a Mac")
	}
	return machineSupports(o.command(e), e)
}

// command is the command for a device, without a PIN.
func (o LockOrder) command(e *mdm.Enrollment) command.DeviceLock {
	if schema.PlatformOf(&e.Device) == schema.VisionOS { // it shows nothing
		return command.DeviceLock{}
	}
	return command.DeviceLock{Message: machineText(o.Message), PhoneNumber: machineText(o.PhoneNumber)}
}

// Workflows returns the workflow.
func (l *Lock) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[lockState]{Name: LockName, First: "begin",
		Steps: machineSteps[lockState]{"begin": l.begin, "sent": l.sent, "asked": l.asked}}}
}

// Cooks returns who makes the command.
func (l *Lock) Cooks() map[string]command.Cook { return map[string]command.Cook{LockName: l.cook} }

// begin makes the PIN before anything else, so that no device is ever locked with one that is lost.
func (l *Lock) begin(ctx context.Context, t *workflow.Turn, s *lockState) (workflow.Next, error) {
	if next, unasked := machineUnasked(s.Order.Actor, s.Order.Reason); unasked {
		return next, nil
	}
	if err := l.capable(t.Enrollment, s.Order); err != nil {
		return workflow.GiveUp(err.Error()), nil
	}
	if machineIsMac(t.Enrollment) {
		if _, err := l.drawer().make(ctx, t.Run.Enrollment, t.Run.ID); err != nil {
			return workflow.Next{}, err
		}
	}
	s.Until = t.Now.Add(waitOr(l.Deadline, 30*24*time.Hour))
	recipe := command.Recipe{Type: "DeviceLock", Name: LockName,
		Args: map[string]string{"run": t.Run.ID, "message": s.Order.Message, "phone": s.Order.PhoneNumber}}
	return workflow.Go("sent").Send("lock", command.Order{Command: recipe, Priority: command.Security, NotAfter: s.Until}).
		Answered("lock").At(s.Until).Note("to be locked"), nil
}

func (l *Lock) cook(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
	e, err := machineCooked(ctx, l.Runs, l.Roster, LockName, id, args["run"])
	if err != nil {
		return nil, err
	}
	o := LockOrder{Message: args["message"], PhoneNumber: args["phone"]}
	if l.capable(e, o) != nil {
		return nil, command.ErrCalledOff
	}
	c := o.command(e)
	if machineIsMac(e) {
		c.PIN, err = l.drawer().make(ctx, id, args["run"])
	}
	return c, err
}

func (l *Lock) sent(_ context.Context, t *workflow.Turn, s *lockState) (workflow.Next, error) {
	r, ok := machineAnswer(t, "lock")
	switch {
	case !ok && t.Now.Before(s.Until):
		return workflow.Go("sent").Answered("lock").At(s.Until), nil
	case !ok:
		return workflow.GiveUp("not locked: the device did not take it in time").Drop("lock"), nil
	case r.Err != nil:
		return workflow.GiveUp("not locked: " + r.Err.Error()), nil
	}
	response, err := command.DecodeResponse("DeviceLock", r.Entry.Result)
	if said, ok := response.(*command.DeviceLockResponse); ok && err == nil {
		s.Said = lockWord(schema.Or(said.MessageResult, ""))
	}
	s.Until = t.Now.Add(waitOr(l.Silence, 15*time.Minute))
	if machineIsMac(t.Enrollment) {
		o := machineInfo(command.DeviceInformationQueryOSVersion)
		o.Priority, o.NotAfter = command.Security, s.Until
		return workflow.Go("asked").Send("ask", o).Answered("ask").At(s.Until).Note("acknowledged; asked whether it still answers"), nil
	}
	s.Until = t.Now.Add(waitOr(l.Deadline, 30*24*time.Hour))
	o := command.Order{Command: command.SecurityInfo{}, Priority: command.Security, NotAfter: s.Until}
	return workflow.Go("asked").Send("ask", o).Answered("ask").At(s.Until).Note("acknowledged; asked whether it has a passcode"), nil
}

// lockWord returns the device's word for what became of the message, if it looks like one.
func lockWord(s string) string {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	if len(s) > 40 || strings.ContainsFunc(s, odd) {
		return ""
	}
	return s
}

func (l *Lock) asked(_ context.Context, t *workflow.Turn, s *lockState) (workflow.Next, error) {
	suffix := ""
	if s.Said != "" && s.Said != "Success" {
		suffix = " (of the message the device says: " + s.Said + ")"
	}
	r, ok := machineAnswer(t, "ask")
	answered := ok && r.Entry.State == command.Acknowledged
	if !ok && t.Now.Before(s.Until) {
		return workflow.Go("asked").Answered("ask").At(s.Until), nil
	}
	if machineIsMac(t.Enrollment) {
		if answered {
			return workflow.Finish("acknowledged, but it answers: it is unlocked again, or was not locked" + suffix), nil
		}
		return workflow.Finish("locked: it acknowledged, and is silent" + suffix).Drop("ask"), nil
	}
	if answered && lockBare(r) {
		return workflow.GiveUp("the screen was locked, but the device has no passcode" + suffix), nil
	}
	if answered {
		return workflow.Finish("locked: it acknowledged, and has a passcode" + suffix), nil
	}
	return workflow.Finish("acknowledged; whether it has a passcode is not known" + suffix).Drop("ask"), nil
}

// lockBare reports whether a device says that it has no passcode.
func lockBare(r machineResult) bool {
	response, err := command.DecodeResponse("SecurityInfo", r.Entry.Result)
	said, ok := response.(*command.SecurityInfoResponse)
	return ok && err == nil && !schema.Or(said.SecurityInfo.PasscodePresent, true)
}
