package practice

import (
	"context"
	"errors"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// AccessName is the name of the workflow of [Inactive].
const AccessName = "access"

// Access is a system that decides what a device may reach, as a mail server or a VPN. Both methods may be called again for what
// they did already. e is the device as it is now; it is read only.
type Access interface {
	Limit(ctx context.Context, e *mdm.Enrollment) error
	Restore(ctx context.Context, e *mdm.Enrollment) error
}

// Inactive closes what a device may reach while it is inactive or gone, and opens it when it is back (Apple, "MDM Best Practices": a
// device that does not answer may have been wiped, or may have had its profile removed). What silence means is for the policy of
// package presence to say: a device of visionOS, which hears of pushes only while it is worn, may be silent three times as long
// (presence.Headsets, unless server.Config.PresenceFor says otherwise). Users of a device are not treated by themselves.
//
// A device has one run, from the first time that it is missed, and it stays open: so changes are passed on one after the other, and
// what is passed on is what holds when it is, not what held when it was noticed. While Access fails, it is tried again.
type Inactive struct {
	Access Access // required

	Most time.Duration // between attempts while Access fails; 0: 15 min
}

type accessState struct {
	Limited bool
	Known   bool // whether Limited is so
}

// Workflows returns the workflow.
func (p *Inactive) Workflows() []workflow.Any {
	changes := accessEvents()
	return []workflow.Any{&workflow.Workflow[accessState]{Name: AccessName, First: "apply", Outlives: true, Listens: changes,
		Start: p.start, Retry: workflow.Retry{Limit: 1 << 30, Most: waitOr(p.Most, 15*time.Minute)},
		Steps: machineSteps[accessState]{"apply": p.apply}}}
}

// accessEvents are the events after which another thing may hold.
func accessEvents() []mdm.EventType {
	return append(eraseEnds(), mdm.EventActive, mdm.EventInactive, mdm.EventGone, mdm.EventRestored, mdm.EventRolledBack)
}

// start begins the run of a device with whatever may close its access.
func (p *Inactive) start(_ context.Context, e mdm.Event) (accessState, string, bool, error) {
	switch e.Type {
	case mdm.EventInactive, mdm.EventGone, mdm.EventCheckedOut, mdm.EventEnded:
		return accessState{}, AccessName, !e.Enrollment.IsUser(), nil
	}
	return accessState{}, "", false, nil
}

// apply passes on what holds now. A device that is enrolling is as it was before: what it may reach is opened when it is managed.
func (p *Inactive) apply(ctx context.Context, t *workflow.Turn, s *accessState) (workflow.Next, error) {
	if p.Access == nil {
		return workflow.Next{}, errors.New("practice: Inactive.Access is required")
	}
	e := t.Enrollment
	limit := e.State != mdm.Enrolled || e.Presence == mdm.Inactive || e.Presence == mdm.Gone
	next := workflow.Go("apply").On(accessEvents()...)
	if s.Known && s.Limited == limit {
		return next, nil
	}
	call, note := p.Access.Restore, "open"
	if limit {
		is := e.Presence.String()
		if e.State != mdm.Enrolled { // how present it was when it ended says nothing
			is = e.State.String()
		}
		call, note = p.Access.Limit, "limited: the device is "+is
	}
	if err := call(ctx, e); err != nil {
		return workflow.Next{}, err
	}
	s.Known, s.Limited = true, limit
	return next.Note(note), nil
}
