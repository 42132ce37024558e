package enroll

import (
	"fmt"
	"time"
)

// RenewBefore is how long before anything in it ends a profile is replaced, at the latest.
const RenewBefore = 30 * day

// RenewalPlan says when the profile of a device is to be replaced.
type RenewalPlan struct {
	Due      time.Time // from then on
	What     End       // which makes it due
	Deadline time.Time // the first end: until then the device must have the new profile
	First    End       // which ends then
}

// IsDue reports whether the profile is to be replaced now.
func (p RenewalPlan) IsDue(now time.Time) bool { return !now.Before(p.Due) }

// IsLate reports whether something has ended already. The device may not be able to come back.
func (p RenewalPlan) IsLate(now time.Time) bool { return now.After(p.Deadline) }

// String says when and why.
func (p RenewalPlan) String() string {
	due, deadline := p.Due.UTC().Format(time.DateOnly), p.Deadline.UTC().Format(time.DateOnly)
	return fmt.Sprintf("due from %s because of %s; until %s because of %s", due, p.What, deadline, p.First)
}

// RenewAt plans the renewal of a device from what ends for it: its identity ([IdentityEnd]), those above it, what [Ends] says of
// the profile it has, and whatever else the profile has to be replaced for. The profile is due when a third of the identity's
// lifetime is left, or [RenewBefore] anything ends, whichever comes first; but never in the first half of a lifetime, so that
// what lives shortly is not due as soon as it is made. It reports false if nothing ends.
//
// A replacement only helps if what ended is not in it again: compare [Recipe.Ends] with Deadline before sending it to a fleet.
func RenewAt(ends []End) (RenewalPlan, bool) {
	var plan RenewalPlan
	for _, e := range ends {
		if e.NotAfter.IsZero() {
			continue
		}
		if plan.Deadline.IsZero() || e.NotAfter.Before(plan.Deadline) {
			plan.Deadline, plan.First = e.NotAfter, e
		}
		if due := e.renewAt(); plan.Due.IsZero() || due.Before(plan.Due) {
			plan.Due, plan.What = due, e
		}
	}
	return plan, !plan.Deadline.IsZero()
}

// renewAt returns when e alone makes a renewal due.
func (e End) renewAt() time.Time {
	before := RenewBefore
	if !e.NotBefore.IsZero() {
		lifetime := e.NotAfter.Sub(e.NotBefore)
		if e.Kind == EndIdentity {
			before = max(before, lifetime/3)
		}
		before = max(0, min(before, lifetime/2))
	}
	return e.NotAfter.Add(-before)
}
