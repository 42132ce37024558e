package practice

import (
	"context"
	"errors"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// EndingName is the name of the workflow of [Ending].
const EndingName = "ending"

// Ending ends the management of a device (Apple, "MDM Best Practices": terminating management). The device is told to remove its MDM
// profile, which it does whatever rights the server has. It then checks out, or answers, or does neither: so after a while the
// server ends the enrollment by itself. From then on it refuses the device, which makes it remove the profile. The store forgets the
// push token and cancels the queue with that, and archives the unlock and bootstrap tokens.
//
// It outlives the generation that it ends, and cleans up behind it. What it does it may do twice.
type Ending struct {
	Roster workflow.Roster // required by Begin

	// Profile returns the PayloadIdentifier of the MDM profile. Required.
	Profile func(*mdm.Enrollment) string
	// End ends a generation of an enrollment: the End of checkin.Service. Required.
	End func(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error

	// Inventory and Revoke, the Revoke of checkin.Service, are how the certificates of the enrollment are revoked once it has ended;
	// not before, because the device proves with them who is told to remove its profile, and is told so after that, too. What a later
	// enrollment goes on with is left to it. A device whose certificate is revoked is not let in again out of a backup
	// (checkin.Service: Readopt). Nil: none are revoked.
	Inventory identity.Inventory
	Revoke    func(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, fp mdm.Fingerprint, reason string) (bool, error)
	// Deny, if not nil, gets them besides, if the device has checked out. A denied one is refused as a stranger's: a device that has
	// its profile back, as from a backup, would not be told to remove it. So it is for where the list is used outside of the protocol.
	Deny identity.DenyList

	// Access is closed when the ending begins, as far as it answers then, and again at the end, until it does. Nil: there is none.
	Access Access
	// CleanUp is called once the enrollment has ended and its certificates are revoked, as to put these on the list of their CA. Do
	// not put a device on the deny list that did not check out: it would be refused as a stranger, and not be told to remove its
	// profile.
	CleanUp func(context.Context, Ended) error

	Wait  time.Duration // for the device, until it is ended all the same; 0: 7 days
	Grace time.Duration // for the CheckOut, after the device has answered; 0: 10 min
}

// Ended tells of an enrollment that has ended.
type Ended struct {
	Enrollment *mdm.Enrollment // as it is now; it may have enrolled anew
	Generation mdm.Generation  // the one that ended
	CheckedOut bool            // the device said that its profile is gone
	Actor      string
	Reason     string
	Revoked    []mdm.Certificate // those of the enrollment; none without Ending.Inventory and Revoke
}

// EndingOrder says who wants a device to be managed no more.
type EndingOrder struct{ Actor, Reason string }

type endingState struct {
	Order      EndingOrder
	Until      time.Time
	CheckedOut bool
	Said       string // what the device, or the queue, had against the command
}

// Begin ends the management of a device. It is refused if it is ending already (Forbidden), and if nobody says who asks for it and why
// (Malformed).
func (p *Ending) Begin(ctx context.Context, e *workflow.Engine, id mdm.EnrollmentID, o EndingOrder) (workflow.Run, error) {
	if err := machineAsked("practice.Ending", o.Actor, o.Reason); err != nil {
		return workflow.Run{}, err
	}
	return machineBegin(ctx, e, p.Roster, EndingName, id, endingState{Order: o}, func(*mdm.Enrollment) error {
		switch {
		case p.Profile == nil || p.End == nil:
			return errors.New("Ending.Profile and End are required")
		case (p.Inventory == nil) != (p.Revoke == nil) || p.Deny != nil && p.Revoke == nil:
			return errors.New("Ending.Inventory and Revoke go together, and with Deny")
		}
		return nil
	})
}

// Workflows returns the workflow.
func (p *Ending) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[endingState]{Name: EndingName, First: "remove", Outlives: true, Listens: eraseEnds(),
		Retry: workflow.Retry{Limit: 1000}, Steps: machineSteps[endingState]{"remove": p.remove, "removed": p.removed, "end": p.end, "clean": p.clean}}}
}

// remove sends RemoveProfile. The right to remove profiles is not needed for this one.
func (p *Ending) remove(ctx context.Context, t *workflow.Turn, s *endingState) (workflow.Next, error) {
	if next, unasked := machineUnasked(s.Order.Actor, s.Order.Reason); unasked {
		return next, nil
	}
	s.Until = t.Now.Add(waitOr(p.Wait, 7*24*time.Hour))
	if t.Over() {
		return p.over(t, s), nil
	}
	if p.Access != nil {
		if err := p.Access.Limit(ctx, t.Enrollment); err != nil {
			s.Said = "access could not be closed yet; " // it is closed at the end; that must not keep the device
		}
	}
	o := command.Order{Command: command.RemoveProfile{Identifier: p.Profile(t.Enrollment)}, Priority: command.Security, Relax: schema.RuleRights}
	return p.wait(s).Send("remove", o).Note(s.Said + "told to remove its profile, for " + s.Order.Actor), nil
}

func (p *Ending) wait(s *endingState) workflow.Next {
	return workflow.Go("removed").Answered("remove").On(eraseEnds()...).At(s.Until)
}

// over goes on when the generation is over, by the device or by somebody else.
func (p *Ending) over(t *workflow.Turn, s *endingState) workflow.Next {
	s.CheckedOut = t.Enrollment.State == mdm.Ended && t.Enrollment.Generation == t.Run.Generation && t.Enrollment.EndReason == "CheckOut"
	return workflow.Go("clean")
}

// removed waits for the CheckOut: shortly after an answer, long without.
func (p *Ending) removed(_ context.Context, t *workflow.Turn, s *endingState) (workflow.Next, error) {
	if t.Over() {
		return p.over(t, s), nil
	}
	r, answered := machineAnswer(t, "remove")
	switch {
	case !t.Now.Before(s.Until):
		return workflow.Go("end"), nil
	case answered && r.Err != nil && command.Advise("RemoveProfile", r.Err) != command.Done:
		s.Said = r.Err.Error()
		return workflow.Go("end").Note("it does not remove its profile: " + s.Said), nil
	case answered:
		if soon := t.Now.Add(waitOr(p.Grace, 10*time.Minute)); soon.Before(s.Until) {
			s.Until = soon
		}
		return workflow.Go("removed").On(eraseEnds()...).At(s.Until).Note("it removes its profile"), nil
	}
	return p.wait(s), nil
}

// end ends the enrollment, unless the device has enrolled anew since: that is another one.
func (p *Ending) end(ctx context.Context, t *workflow.Turn, s *endingState) (workflow.Next, error) {
	if t.Over() {
		return p.over(t, s), nil
	}
	if err := p.End(ctx, t.Run.Enrollment, t.Run.Generation, s.Order.Reason); err != nil {
		return workflow.Next{}, err
	}
	return workflow.Go("clean").Note("ended by the server"), nil
}

// clean does what is left to do, again and again until it is done. To a device that has enrolled anew access is opened again.
func (p *Ending) clean(ctx context.Context, t *workflow.Turn, s *endingState) (workflow.Next, error) {
	anew := t.Enrollment.Generation != t.Run.Generation
	if anew && t.Enrollment.State == mdm.Pending { // on its way
		return workflow.Go("clean").On(eraseEnds()...).At(t.Now.Add(time.Hour)), nil
	}
	if p.Access != nil {
		set := p.Access.Limit
		if anew && t.Enrollment.State == mdm.Enrolled {
			set = p.Access.Restore
		}
		if err := set(ctx, t.Enrollment); err != nil {
			return workflow.Next{}, err
		}
	}
	revoked, err := p.revoke(ctx, t, s)
	if err != nil {
		return workflow.Next{}, err
	}
	if p.CleanUp != nil {
		ended := Ended{Revoked: revoked, Enrollment: t.Enrollment, Generation: t.Run.Generation, CheckedOut: s.CheckedOut, Actor: s.Order.Actor, Reason: s.Order.Reason}
		if err := p.CleanUp(ctx, ended); err != nil {
			return workflow.Next{}, err
		}
	}
	switch {
	case anew:
		return workflow.Finish("ended; the device has enrolled anew since"), nil
	case s.CheckedOut:
		return workflow.Finish("ended: the device checked out"), nil
	case s.Said != "":
		return workflow.Finish("ended by the server: " + s.Said), nil
	}
	return workflow.Finish("ended by the server"), nil
}

// revoke revokes the certificates of the enrollment that ended, and returns them. Of each it is decided in one transaction with what
// the device is by then, so that one that enrolls anew meanwhile keeps its own.
func (p *Ending) revoke(ctx context.Context, t *workflow.Turn, s *endingState) (revoked []mdm.Certificate, err error) {
	if p.Inventory == nil || p.Revoke == nil {
		return nil, nil
	}
	all, err := p.Inventory.Certificates(ctx, t.Run.Enrollment)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		gone, err := p.Revoke(ctx, t.Run.Enrollment, t.Run.Generation, c.Fingerprint, s.Order.Reason)
		if err != nil {
			return nil, err
		}
		if !gone {
			continue
		}
		revoked = append(revoked, c)
		if p.Deny != nil && s.CheckedOut {
			if err := p.Deny.Deny(ctx, identity.Denial{Tenant: c.Tenant, Fingerprint: c.Fingerprint, Reason: s.Order.Reason}); err != nil {
				return nil, err
			}
		}
	}
	return revoked, nil
}
