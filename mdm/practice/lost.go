package practice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// LostModeName is the name of the workflow of [LostMode], and the key of its runs: a device is lost while one is open, and for a
// [Guard] until the device was seen to be out of Lost Mode, or found.
const LostModeName = "lost-mode"

// What [LostMode.Tell] tells a run.
const (
	LostLocate = "locate" // where is it?
	LostSound  = "sound"  // let it be heard
	LostEnd    = "end"    // it was found: Lost Mode off
)

// LostMode keeps supervised iPhones and iPads in Lost Mode from an operator's word to another: it is switched on, asked whether it is
// on (that the command was acknowledged does not say so), and switched on again if it reports that it is off, until an operator
// ends it and the device reports that it is off. A device that is not heard of stays due for as long as it takes.
//
// Source: Apple, EnableLostMode, DisableLostMode, DeviceLocation, PlayLostModeSound; IsMDMLostModeEnabled of DeviceInformation.
type LostMode struct {
	Roster workflow.Roster // required by Begin

	// Located is told where a device is. It is personal data: nothing of it is in the run, its notes and events. The answer is kept
	// with the other results of the queue, as long as those are. It is called again after an error. Nil: no device is located.
	Located func(context.Context, Location) error
	Every   time.Duration // between locations that nobody asked for; 0: there are none

	Check time.Duration // between looks whether it is still on; 0: 12 h
	Again time.Duration // before the next attempt after the device refused; doubles up to 6 h; 0: 5 min
}

// Location is where a device was.
type Location struct {
	Enrollment mdm.EnrollmentID
	Run        string
	Key        string // the same if it is told again
	command.DeviceLocationResponse
}

// LostModeOrder says what a lost device shows, and who wants it. Message or PhoneNumber is required.
type LostModeOrder struct {
	Actor, Reason                  string // required
	Message, PhoneNumber, Footnote string // on the locked screen
}

// lostState is the state of a run.
type lostState struct {
	Order     LostModeOrder
	Ending    *workflow.Word `json:",omitempty"` // who ended it
	Confirmed bool           // the device said that it is on
	Failures  int            // since the last success
	Asked     time.Time      // when it was last asked whether it is on
	Sought    time.Time      // when it was last asked where it is
	Told      string         // the last location that Located was told, by its CommandUUID
}

// Begin puts a device into Lost Mode. It is refused, and nothing is queued, if the device is no supervised iPhone or iPad as far as
// is known (Forbidden), if it is lost already (Forbidden, with the run), or if something is missing in the order (Malformed).
func (l *LostMode) Begin(ctx context.Context, e *workflow.Engine, id mdm.EnrollmentID, o LostModeOrder) (workflow.Run, error) {
	const op = "practice.LostMode"
	if err := machineAsked(op, o.Actor, o.Reason); err != nil {
		return workflow.Run{}, err
	}
	if err := o.command().check(); err != nil {
		return workflow.Run{}, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return machineBegin(ctx, e, l.Roster, LostModeName, id, lostState{Order: o}, lostCapable)
}

// Tell tells a run [LostLocate], [LostSound] or [LostEnd], by whose wish and why.
func (l *LostMode) Tell(ctx context.Context, e *workflow.Engine, tenant, run, what, actor, reason string) error {
	const op = "practice.LostMode"
	if err := machineAsked(op, actor, reason); err != nil {
		return err
	}
	switch {
	case what != LostLocate && what != LostSound && what != LostEnd:
		return mdm.Errorf(mdm.Malformed, op, "it cannot be told %q", what)
	case what == LostLocate && l.Located == nil:
		return mdm.Errorf(mdm.Forbidden, op, "nobody is to be told where devices are")
	}
	_, err := e.Tell(ctx, tenant, run, workflow.Word{Name: what, Actor: actor, Reason: reason})
	return err
}

// lostCapable says why a device cannot be put into Lost Mode.
func lostCapable(e *mdm.Enrollment) error {
	if e.Channel.IsUserEnrollment() {
		return errors.New("the device belongs to its user: a User Enrollment is not put into Lost Mode")
	}
	if e.Device.Supervised == mdm.No {
		return errors.New("the device is not supervised, and Lost Mode is for supervised devices")
	}
	if p := schema.PlatformOf(&e.Device); p != "" && p != schema.IOS {
		return fmt.Errorf("there is no Lost Mode on %s", p)
	}
	return machineSupports(command.EnableLostMode{Message: new("x")}, e)
}

type lostCommand struct{ command.EnableLostMode }

func (o LostModeOrder) command() lostCommand {
	return lostCommand{command.EnableLostMode{Message: machineText(o.Message), PhoneNumber: machineText(o.PhoneNumber), Footnote: machineText(o.Footnote)}}
}

func (c lostCommand) check() error { return command.Validate(c.EnableLostMode, schema.Target{}).Err() }

// Workflows returns the workflow.
func (l *LostMode) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[lostState]{Name: LostModeName, First: "begin", Retry: workflow.Retry{Limit: 1000},
		Steps: machineSteps[lostState]{"begin": l.begin, "supervised": l.supervised, "enabled": l.enabled, "confirmed": l.confirmed, "wait": l.wait,
			"watch": l.watch, "disabled": l.disabled, "over": l.over, "disable": l.disable}}}
}

// begin finds out first whether the device is supervised, if it never said.
func (l *LostMode) begin(_ context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	if next, unasked := machineUnasked(s.Order.Actor, s.Order.Reason); unasked {
		return next, nil
	}
	if next, ok := l.told(t, s); ok {
		return next, nil
	}
	if t.Enrollment.Device.Supervised == mdm.Unsaid {
		o := machineInfo(command.DeviceInformationQueryIsSupervised, command.DeviceInformationQueryProductName)
		o.Priority = command.Security
		return workflow.Go("supervised").Send("info", o).Answered("info").Note("asked whether it is supervised"), nil
	}
	return l.enable(t, s)
}

func (l *LostMode) supervised(_ context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	if next, ok := l.told(t, s); ok {
		return next, nil
	}
	if _, ok := machineAnswer(t, "info"); !ok {
		return workflow.Go("supervised").Answered("info"), nil
	}
	return l.enable(t, s)
}

// enable sends the command, if the device can have it.
func (l *LostMode) enable(t *workflow.Turn, s *lostState) (workflow.Next, error) {
	if err := lostCapable(t.Enrollment); err != nil {
		return workflow.GiveUp(err.Error()), nil
	}
	s.Confirmed = false
	return workflow.Go("enabled").Send("enable", command.Order{Command: s.Order.command().EnableLostMode, Priority: command.Security}).
		Answered("enable").Note("to be switched on"), nil
}

func (l *LostMode) enabled(_ context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	if next, ok := l.told(t, s); ok {
		return next.Drop("enable"), nil
	}
	r, ok := machineAnswer(t, "enable")
	switch {
	case !ok:
		return workflow.Go("enabled").Answered("enable"), nil
	case command.Advise("EnableLostMode", r.Err) == command.GiveUp:
		return workflow.GiveUp("it cannot be switched on: " + r.Err.Error()), nil
	case r.Err != nil && command.Advise("EnableLostMode", r.Err) != command.Done:
		return l.again(t, s, "it could not be switched on: "+r.Err.Error()), nil
	}
	return l.ask(t, s, "confirmed").Note("acknowledged; asked whether it is on"), nil
}

// ask asks whether Lost Mode is on.
func (l *LostMode) ask(t *workflow.Turn, s *lostState, step string) workflow.Next {
	s.Asked = t.Now
	o := machineInfo(command.DeviceInformationQueryIsMDMLostModeEnabled)
	o.Priority = command.Security
	return workflow.Go(step).Send("check", o).Answered("check")
}

// again waits, and then enables once more.
func (l *LostMode) again(t *workflow.Turn, s *lostState, why string) workflow.Next {
	s.Failures++
	return workflow.Go("wait").At(t.Now.Add(doubled(waitOr(l.Again, 5*time.Minute), 6*time.Hour, s.Failures, machineDoublings))).Note(why)
}

func (l *LostMode) wait(_ context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	if next, ok := l.told(t, s); ok {
		return next, nil
	}
	return l.enable(t, s)
}

// confirmed looks at what the device says after it acknowledged.
func (l *LostMode) confirmed(_ context.Context, t *workflow.Turn, s *lostState) (workflow.Next, error) {
	if next, ok := l.told(t, s); ok {
		return next, nil
	}
	r, ok := machineAnswer(t, "check")
	if !ok {
		return workflow.Go("confirmed").Answered("check"), nil
	}
	on, known := lostOn(r)
	switch {
	case !known:
		return l.again(t, s, "it does not say whether it is on"), nil
	case !on:
		return l.again(t, s, "it acknowledged, and reports that it is off"), nil
	}
	s.Confirmed, s.Failures = true, 0
	return workflow.Go("watch").Note("on"), nil
}

// lostOn reads whether Lost Mode is on; known is false if the device does not say.
func lostOn(r machineResult) (on, known bool) {
	said := machineSaid(r)
	if said == nil || said.IsMDMLostModeEnabled == nil {
		return false, false
	}
	return *said.IsMDMLostModeEnabled, true
}
