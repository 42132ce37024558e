package practice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile/provisioning"
)

// ProvisioningWorkflow is the name of the workflow of [Provisioning], the key of its runs, and the name of its cook.
const ProvisioningWorkflow = "provisioning"

// Provisioning keeps the provisioning profiles of in-house apps valid on each device (Apple, "MDM Best Practices": they can be
// installed and replaced by MDM, before they end). A run watches each enrollment as long as that lives: it has the device list what
// it has, once a day, installs what is missing, replaces what ends, and removes the old one after the device has listed the new one.
// Devices without a goal are left alone.
//
// It needs two rights, to inspect and to install provisioning profiles, 64 and 128. The run of a device that has not granted them
// fails when there is something to do, and its note says so: such a device has to enroll again. What it lacks is never added later.
//
// To remove a provisioning profile is no revocation: the app may run until the device is restarted, and the profile may come back
// out of a synchronization with a computer. Who must not use an app any more needs the app removed, or its certificate revoked.
//
// Goal and Roster are required. Give a server both [Provisioning.Workflows] and [Provisioning.Cooks]. Devices that enrolled before need
// [Provisioning.Sweep], once. For people, [provisioning.Expiry] tells which profiles have to be made anew.
type Provisioning struct {
	// Goal says what a device should have. It is asked again when a profile is about to be delivered.
	Goal    func(ctx context.Context, e *mdm.Enrollment) (provisioning.Goal, error)
	Roster  checkin.Roster       // of a store
	Planner provisioning.Planner // the zero value has defaults
	// Retry is when to go on after Goal has failed; 0: one hour.
	Retry time.Duration
}

// provisioningState is the state of a run.
type provisioningState struct {
	Device provisioning.State `json:"device"`
}

// Workflows returns the workflow "provisioning".
func (p *Provisioning) Workflows() []workflow.Any {
	begins := []mdm.EventType{mdm.EventEnrolled, mdm.EventReenrolled, mdm.EventAfterWipe, mdm.EventAdopted}
	return []workflow.Any{&workflow.Workflow[provisioningState]{
		Name: ProvisioningWorkflow, First: "watch", Listens: begins,
		Start: func(_ context.Context, e mdm.Event) (provisioningState, string, bool, error) {
			return provisioningState{}, ProvisioningWorkflow, !e.Enrollment.IsUser(), nil
		},
		Steps: map[string]func(context.Context, *workflow.Turn, *provisioningState) (workflow.Next, error){"watch": p.watch},
		Retry: renewalSetAside,
	}}
}

// Sweep begins the watch over all enrollments of a filter that have none, and returns of how many. It may be called at any time and
// again.
func (p *Provisioning) Sweep(ctx context.Context, engine *workflow.Engine, f mdm.Filter) (int, error) {
	return renewalBegin(ctx, p.Roster, engine, f, ProvisioningWorkflow, ProvisioningWorkflow, nil)
}

// watch takes in what was answered and does what the planner says.
func (p *Provisioning) watch(ctx context.Context, t *workflow.Turn, s *provisioningState) (workflow.Next, error) {
	if p.Goal == nil || p.Roster == nil {
		return workflow.Next{}, errors.New("practice: Provisioning.Goal and Roster are required")
	}
	waits := s.absorb(t)
	goal, err := p.Goal(ctx, t.Enrollment)
	if err != nil {
		return workflow.Go("watch").Answered(waits...).At(t.Now.Add(waitOr(p.Retry, time.Hour))).Note("the goal cannot be told now: " + err.Error()), nil
	}
	if len(goal.Profiles) == 0 && len(goal.Remove) == 0 {
		return workflow.Go("watch").Answered(waits...).At(t.Now.Add(p.every())).Note("nothing is wanted"), nil
	}
	platform := schema.PlatformOf(&t.Enrollment.Device)
	if missing := provisioning.MissingRights(t.Enrollment.Rights, platform); missing != 0 {
		return workflow.GiveUp(fmt.Sprintf("the profile of the device does not grant %s (%d of AccessRights): it has to enroll again by "+
			"a profile that does", missing, missing)), nil
	}
	plan := p.Planner.Plan(goal, s.Device, t.Now)
	s.Device.Sent(plan, t.Now)
	next := workflow.Go("watch")
	for _, step := range plan.Steps {
		name := provisioningOrder(step.Action, step.UUID)
		next, waits = next.Send(name, p.order(step, t.Now)), append(waits, name)
	}
	if plan.List {
		order := command.Order{Command: command.ProvisioningProfileList{}, Priority: command.Profiles} // after the steps
		next, waits = next.Send("list", order), append(waits, "list")
	}
	return next.Answered(waits...).At(p.next(s.Device, t.Now)).Note(provisioningNote(s.Device, plan)), nil
}

// next is when to look again if no answer comes: when the next list is due.
func (p *Provisioning) next(s provisioning.State, now time.Time) time.Time {
	last := now
	if !s.Listing && !s.ListedAt.IsZero() {
		last = s.ListedAt
	}
	if !s.Listing && s.FailedAt.After(last) {
		last = s.FailedAt
	}
	if at := last.Add(p.every()); at.After(now) {
		return at
	}
	return now.Add(p.every())
}

// every is how often to look: no wait of the planner is shorter.
func (p *Provisioning) every() time.Duration {
	return min(waitOr(p.Planner.ListEvery, provisioning.DefaultListEvery), waitOr(p.Planner.Retry, provisioning.DefaultRetry))
}

// provisioningRemoveWithin is how long the order to remove a profile is good: later it may be wanted again.
const provisioningRemoveWithin = 7 * 24 * time.Hour

// order returns the order of a step. What is installed is looked up when the device asks for it.
func (p *Provisioning) order(step provisioning.Step, now time.Time) command.Order {
	o := command.Order{Priority: command.Profiles}
	if step.Action == provisioning.Remove {
		o.Command, o.NotAfter = command.RemoveProvisioningProfile{UUID: step.UUID}, now.Add(provisioningRemoveWithin)
		return o
	}
	o.Command = command.Recipe{Type: "InstallProvisioningProfile", Name: ProvisioningWorkflow, Args: map[string]string{"uuid": step.UUID}}
	return o
}

// provisioningOrder names a command in a run.
func provisioningOrder(action provisioning.Action, uuid string) string {
	return string(action) + " " + strings.ToLower(uuid)
}

// absorb takes in what was answered, and returns the names of what was not.
func (s *provisioningState) absorb(t *workflow.Turn) (waits []string) {
	for uuid, o := range s.Device.Orders {
		if !o.Answered.IsZero() {
			continue
		}
		name := provisioningOrder(o.Action, uuid)
		if at, over := provisioningOver(t, name); over {
			s.Device.Answered(uuid, at.Add(-1)) // a list of the same moment tells of it already: it was asked for after it
		} else {
			waits = append(waits, name)
		}
	}
	if !s.Device.Listing {
		return waits
	}
	at, over := provisioningOver(t, "list")
	if !over {
		return append(waits, "list")
	}
	_, answered := t.Answer("list")
	switch list := provisioningList(t); {
	case list != nil:
		s.Device.Listed(*list, at)
	case !answered && t.Refused("list") == "":
		s.Device.Listing = false // what it said is lost; it is asked again when the next list is due
	default:
		s.Device.ListFailed(at)
	}
	return waits
}

// provisioningOver returns when a command was over, if it is. One that is neither answered nor on the queue was deleted since, as by
// the retention of the store: it is over, and what came of it shows in the next list.
func provisioningOver(t *workflow.Turn, name string) (time.Time, bool) {
	if entry, ok := t.Answer(name); ok {
		return entry.FinishedAt, true
	}
	_, open := t.Waiting[name]
	return t.Now, !open
}

// provisioningList returns what a device has listed, nil if it has not.
func provisioningList(t *workflow.Turn) *command.ProvisioningProfileListResponse {
	entry, ok := t.Answer("list")
	if !ok || entry.State != command.Acknowledged {
		return nil
	}
	response, err := command.DecodeResponse(entry.RequestType, entry.Result)
	list, typed := response.(*command.ProvisioningProfileListResponse)
	if err != nil || !typed || list.ProvisioningProfileList == nil { // a list that is not there is no empty one
		return nil
	}
	return list
}

func provisioningNote(s provisioning.State, plan *provisioning.Plan) string {
	notes := []string{fmt.Sprintf("%d profiles are installed", len(s.Installed))}
	for _, step := range plan.Steps {
		notes = append(notes, fmt.Sprintf("%s %s: %s", step.Action, step.UUID, step.Why))
	}
	for _, warning := range plan.Warnings {
		notes = append(notes, warning.UUID+": "+warning.Text)
	}
	return strings.Join(notes, "; ")
}

// Cooks returns who looks up the profiles.
func (p *Provisioning) Cooks() map[string]command.Cook {
	return map[string]command.Cook{ProvisioningWorkflow: p.cook}
}

// cook returns the command to install a profile, if it is still wanted.
func (p *Provisioning) cook(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
	e, err := p.Roster.Enrollment(ctx, id)
	if err != nil {
		return nil, err
	}
	goal, err := p.Goal(ctx, e)
	if err != nil {
		return nil, err
	}
	for _, uuid := range goal.Remove {
		if strings.EqualFold(uuid, args["uuid"]) {
			return nil, command.ErrCalledOff
		}
	}
	for _, wanted := range goal.Profiles {
		if strings.EqualFold(wanted.UUID, args["uuid"]) {
			return command.InstallProvisioningProfile{ProvisioningProfile: wanted.Data}, nil
		}
	}
	return nil, command.ErrCalledOff
}
