package practice

import (
	"context"
	"errors"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// UpdateName is the name of the workflow of [Update].
const UpdateName = "os-update"

// UpdateDeclaration, UpdateSubscription and UpdateActivation are the identifiers of what [Update] declares.
const (
	UpdateDeclaration  = "os-update.enforcement"
	UpdateSubscription = "os-update.status"
	UpdateActivation   = "os-update.activation"
)

// UpdateGroup is the group that [Update] declares.
const UpdateGroup = "os-update"

// Update brings a device to a version of its system: by declaration where the system knows that (iOS 17, macOS 14, tvOS 18.4), else by
// command. It is done when the device reports the version, and not when it acknowledges. Each device has a run of its own, and none
// waits for another. An operator who cancels a run takes its declaration back.
//
// A system that has the declaration ignores the command, so a device is sent one or the other.
//
// Source: Apple, com.apple.configuration.softwareupdate.enforcement.specific; ScheduleOSUpdate; OSVersion of DeviceInformation.
type Update struct {
	Roster workflow.Roster // required by Begin

	// Declarer serves the declarations. What devices report then ends a run sooner, if [TellReport] tells of it. Nil: no
	// declarations are used.
	Declarer Declarer

	Check    time.Duration // between looks at the version; 0: 6 h
	Attempts int           // of the command, before it is given up; 0: 5
	Again    time.Duration // after the first; doubles up to a day; 0: 1 h
	Patience time.Duration // after the deadline, before it is given up; 0: 14 days
}

// UpdateOrder says what a device is to be brought to, and who wants it.
type UpdateOrder struct {
	Actor, Reason string // required
	Version       string // required, as "18.2"
	Build         string // where the version alone does not say it, as "22C152"
	// Deadline is enforced as the clock of the device shows it: the date and the time of day count, not the zone. Required.
	Deadline   time.Time
	DetailsURL string // what the user is shown; only with a declaration
}

type updateState struct {
	Order    UpdateOrder
	Declared bool
	Reached  bool   `json:",omitempty"` // it said so
	Invalid  string `json:",omitempty"` // what it has against the declaration
	Commands bool   `json:",omitempty"` // it does not know the declaration
	Attempts int
	Asked    time.Time // when the version was last asked for
	Reports  string    // the version that the device reported last
}

// Begin updates a device. It is refused (Malformed) if something is missing in the order, and (Forbidden) if an update is under way.
func (u *Update) Begin(ctx context.Context, e *workflow.Engine, id mdm.EnrollmentID, o UpdateOrder) (workflow.Run, error) {
	const op = "practice.Update"
	if err := machineAsked(op, o.Actor, o.Reason); err != nil {
		return workflow.Run{}, err
	}
	if o.Deadline.IsZero() || schema.CompareVersions(o.Version, "0") <= 0 || len(o.Version) > 32 {
		return workflow.Run{}, mdm.Errorf(mdm.Malformed, op, "a version and a deadline are required")
	}
	return machineBegin(ctx, e, u.Roster, UpdateName, id, updateState{Order: o}, func(e *mdm.Enrollment) error {
		if e.Channel.IsUserEnrollment() {
			return errors.New("the device belongs to its user: a User Enrollment is not updated")
		}
		return nil
	})
}

// Declarations returns what an order declares: the enforcement, a subscription to how far it is, and an activation of both. Their
// server tokens follow from what they say.
func (o UpdateOrder) Declarations() []ddm.Declaration {
	enforce := &ddm.SoftwareUpdateEnforcementSpecific{TargetOSVersion: o.Version, TargetBuildVersion: machineText(o.Build),
		TargetLocalDateTime: o.Deadline.Format("2006-01-02T15:04:05"), DetailsURL: machineText(o.DetailsURL)}
	list := []ddm.Declaration{
		{Identifier: UpdateDeclaration, Payload: enforce},
		{Identifier: UpdateSubscription, Payload: declaredSubscription(ddm.ItemDeviceOperatingSystemVersion,
			ddm.ItemDeviceOperatingSystemBuildVersion, ddm.ItemSoftwareUpdateInstallState)},
		{Identifier: UpdateActivation, Payload: &ddm.ActivationSimple{StandardConfigurations: []string{UpdateDeclaration, UpdateSubscription}}},
	}
	for i := range list {
		list[i].ServerToken, _ = ddm.ContentToken(list[i]) // of texts: cannot fail
	}
	return list
}

// Workflows returns the workflow.
func (u *Update) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[updateState]{Name: UpdateName, First: "ask", Retry: workflow.Retry{Limit: 100},
		Listens: []mdm.EventType{EventReported, mdm.EventRestored}, Canceled: "canceled",
		Steps: machineSteps[updateState]{"ask": u.ask, "look": u.look, "sent": u.sent, "withdraw": u.withdraw, "canceled": u.canceled}}}
}

// ask asks for the version. What the device says is learned by the store, and so is what the device is.
func (u *Update) ask(ctx context.Context, t *workflow.Turn, s *updateState) (workflow.Next, error) {
	if next, unasked := machineUnasked(s.Order.Actor, s.Order.Reason); unasked {
		return next, nil
	}
	if word, ok := declaredHeard(t); ok && s.Declared {
		return u.heard(t, s, word), nil
	}
	if signal := t.Signal(); signal != nil && signal.Type == mdm.EventRestored && s.Declared && u.Declarer != nil {
		if err := u.Declarer.Declare(ctx, t.Run.Enrollment, u.group(t, s)); err != nil { // the backup may be older than the declaration
			return workflow.Next{}, err
		}
	}
	s.Asked = t.Now
	return workflow.Go("look").Send("info", updateInfo()).Answered("info").At(u.last(s)), nil
}

func updateInfo() command.Order {
	o := machineInfo(command.DeviceInformationQueryOSVersion, command.DeviceInformationQueryBuildVersion,
		command.DeviceInformationQueryProductName, command.DeviceInformationQueryIsSupervised)
	o.Priority = command.Inventory
	return o
}

// last is when it is given up.
func (u *Update) last(s *updateState) time.Time {
	return s.Order.Deadline.Add(waitOr(u.Patience, 14*24*time.Hour))
}

// look judges the version that a device reports, and goes on from there.
func (u *Update) look(ctx context.Context, t *workflow.Turn, s *updateState) (workflow.Next, error) {
	r, ok := machineAnswer(t, "info")
	version, build := t.Enrollment.Device.OSVersion, t.Enrollment.Device.BuildVersion
	if said := machineSaid(r); ok && said != nil {
		version, build = schema.Or(said.OSVersion, version), schema.Or(said.BuildVersion, build)
	}
	s.Reports = updateWord(version)
	switch {
	case ok && s.Order.reached(version, build):
		return u.end(s), nil
	case !t.Now.Before(u.last(s)) && s.Declared:
		return workflow.Go("withdraw"), nil
	case !t.Now.Before(u.last(s)):
		return workflow.GiveUp("not updated in time: it reports " + s.Reports).Drop("info").Drop("update"), nil
	case !ok:
		return workflow.Go("look").Answered("info").At(u.last(s)), nil
	case s.Declared:
		return u.later(t, s), nil
	}
	return u.way(ctx, t, s)
}

// way declares, or sends the command.
func (u *Update) way(ctx context.Context, t *workflow.Turn, s *updateState) (workflow.Next, error) {
	group := u.group(t, s)
	if u.Declarer != nil && !s.Commands && updateDeclares(group.Declarations[0], t.Enrollment) {
		if err := u.Declarer.Declare(ctx, t.Run.Enrollment, group); err != nil {
			return workflow.Next{}, err
		}
		s.Declared = true
		return u.later(t, s), nil
	}
	c := s.Order.command(t.Enrollment, t.Now)
	if err := machineSupports(c, t.Enrollment); err != nil {
		return workflow.GiveUp("the device can be updated in no way that is known: " + err.Error()), nil
	}
	return u.attempt(t, s, c), nil
}

func (u *Update) group(t *workflow.Turn, s *updateState) ddm.Group {
	return ddm.Group{Name: UpdateGroup, Generation: t.Enrollment.Generation, Declarations: s.Order.Declarations()}
}

// updateDeclares reports whether a device takes the declaration. What it is must be known: one that does not say is sent the command.
func updateDeclares(d ddm.Declaration, e *mdm.Enrollment) bool {
	return schema.PlatformOf(&e.Device) != "" && e.Device.OSVersion != "" && d.Validate(schema.TargetOf(e, e)).Err() == nil
}

// reached reports whether a device is where it should be. A build says something only about the same version.
func (o UpdateOrder) reached(version, build string) bool {
	if version == "" {
		return false
	}
	c := schema.CompareVersions(version, o.Version)
	return c > 0 || c == 0 && (o.Build == "" || o.Build == build)
}

func (o UpdateOrder) due() string { return o.Deadline.Format("2006-01-02 15:04") }

// updateWord keeps what a device says of its version from being anything else in a note.
func updateWord(version string) string {
	if version == "" || len(version) > 32 {
		return "no version"
	}
	for _, r := range version {
		if (r < '0' || r > '9') && r != '.' {
			return "no version"
		}
	}
	return version
}
