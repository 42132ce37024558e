package practice

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TrustChangeWorkflow is the name of the workflow of [TrustChange], and of its cook.
const TrustChangeWorkflow = "trust-change"

// TrustChange brings the certificates of another TLS chain to every device before the server changes to it: the enrollment
// profile with the old ones and the new ones first, then the wait for all, then the switch. [enroll.Overlap] says whether that is
// necessary and what the profile has to carry. A device that the server switches without can only be enrolled again.
//
//	change := enroll.Overlap(old, next)
//	recipe.Enrollment.Roots = …                                     // with change.Carry
//	trust := &practice.TrustChange{ID: "2027", Renewal: renewal, Carry: change.Carry, Since: …}
//	trust.Begin(ctx, server.Workflows(), mdm.Filter{})              // again for each tenant
//	standing, err := trust.Ready(ctx, stores.Runs, "")              // until standing.Ready()
//
// Give a server its Workflows and Cooks beside those of Renewal, and do so in all processes before Begin. There is one change at a
// time. How far it is, workflow.Store.CountRuns counts.
type TrustChange struct {
	ID      string   // of this change, as "2027"; required
	Renewal *Renewal // whose Recipe brings Carry; required
	Carry   []*x509.Certificate
	// Since says that what enrolled after it has Carry from the start: when the last profile without it was handed out, and a file
	// that waits in a mail counts. Zero: nobody has.
	Since time.Time
}

// trustState is the state of a run.
type trustState struct {
	ID string `json:"id"`
	// Made is the beginning of the identity with which it was done.
	Made time.Time `json:"made,omitzero"`
	// Form is what the profile must keep, as the renewal of the device knows it; nil: it does not.
	Form *renewalForm `json:"form,omitempty"`
	replacing
}

// Workflows returns the workflow "trust-change".
func (c *TrustChange) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[trustState]{
		Name: TrustChangeWorkflow, First: renewalDue, Listens: replacedEvents,
		Steps: map[string]func(context.Context, *workflow.Turn, *trustState) (workflow.Next, error){renewalDue: c.due, renewalAwait: c.await},
		Retry: renewalSetAside,
	}}
}

// Cooks returns who makes the profiles.
func (c *TrustChange) Cooks() map[string]command.Cook {
	return map[string]command.Cook{TrustChangeWorkflow: func(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
		if err := c.check(); err != nil { // it must not be made without them
			return nil, err
		}
		return c.Renewal.replacement(ctx, id, args)
	}}
}

// Begin begins the change on all enrollments of a filter that lack it by what Ready says and are not under way, and returns of how
// many. It may be called at any time and again: who has the certificates by this change is left alone, who came since, failed or was
// canceled gets the profile. A run that was set aside is under way: see workflow.Engine.TryAgainMany. The error is Malformed if the
// recipe does not bring all of Carry.
func (c *TrustChange) Begin(ctx context.Context, engine *workflow.Engine, f mdm.Filter) (int, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	done, err := c.done(ctx, engine, f.Tenant)
	if err != nil {
		return 0, err
	}
	return renewalBegin(ctx, c.Renewal.Roster, engine, f, TrustChangeWorkflow, c.key(), func(e *mdm.Enrollment) (any, bool, error) {
		has, err := c.has(ctx, e, done[e.ID])
		if has || err != nil {
			return nil, false, err
		}
		form, err := trustForm(ctx, engine, e)
		return trustState{ID: c.ID, Form: form}, true, err
	})
}

// trustForm returns what the renewal of a device knows of its profile.
func trustForm(ctx context.Context, engine *workflow.Engine, e *mdm.Enrollment) (*renewalForm, error) {
	open := []workflow.Status{workflow.Open, workflow.Aside}
	for run, err := range engine.Runs(ctx, workflow.Query{Tenant: e.ID.Tenant, Workflow: RenewalWorkflow, Enrollment: e.ID, Status: open}) {
		if err != nil {
			return nil, err
		}
		var s renewalState
		if run.Generation == e.Generation && json.Unmarshal(run.State, &s) == nil && s.Form != nil {
			return s.Form, nil
		}
	}
	return nil, nil
}

func (c *TrustChange) key() string { return TrustChangeWorkflow + "/" + c.ID }

func (c *TrustChange) check() error {
	const op = "practice.TrustChange"
	if c.ID == "" || c.Renewal == nil || len(c.Carry) == 0 {
		return mdm.Errorf(mdm.Malformed, op, "ID, Renewal and Carry are required")
	}
	if err := c.Renewal.check(); err != nil {
		return err
	}
	e := c.Renewal.Recipe.Enrollment
	for _, cert := range c.Carry {
		if !slices.ContainsFunc(slices.Concat(e.Roots, e.Intermediates), cert.Equal) {
			return mdm.Errorf(mdm.Malformed, op, "the recipe does not bring %s", cert.Subject)
		}
	}
	return nil
}

// due sends the profile.
func (c *TrustChange) due(ctx context.Context, t *workflow.Turn, s *trustState) (workflow.Next, error) {
	if s.ID != c.ID {
		return workflow.GiveUp("another change has taken its place"), nil
	}
	if err := c.check(); err != nil {
		return workflow.Next{}, err
	}
	if t.Now.Before(s.NextAt) {
		return workflow.Go(renewalDue).At(s.NextAt), nil
	}
	identity, err := c.identity(ctx, t)
	if err != nil {
		return c.later(t, s, err), nil
	}
	_, breach, err := c.Renewal.breach(ctx, t.Enrollment, s.Form)
	switch {
	case err != nil:
		return c.later(t, s, err), nil
	case breach != nil:
		return workflow.Next{}, breach
	}
	next := s.send(t, workflow.Go(renewalAwait), TrustChangeWorkflow, identity, s.Form)
	return next.On(replacedEvents...).At(t.Now.Add(c.Renewal.timeout())).Note("the profile with the old and the new certificates is on its way"), nil
}

func (c *TrustChange) later(t *workflow.Turn, s *trustState, err error) workflow.Next {
	next := workflow.Go(t.Run.Step).At(t.Now.Add(c.Renewal.retry()))
	if t.Run.Step == renewalAwait {
		next = s.waiting(t, next, c.Renewal.proof())
	}
	return next.Note("it cannot be told now: " + err.Error())
}

func (c *TrustChange) identity(ctx context.Context, t *workflow.Turn) (enroll.End, error) {
	ends, err := c.Renewal.Ends.Ends(ctx, t.Enrollment)
	return endsIdentity(ends), err
}

// await waits for the device to have used the new profile.
func (c *TrustChange) await(ctx context.Context, t *workflow.Turn, s *trustState) (workflow.Next, error) {
	identity, err := c.identity(ctx, t)
	if err != nil {
		return c.later(t, s, err), nil
	}
	r := c.Renewal
	came, why := s.judge(t, identity, r.proof(), r.timeout())
	if came == replaceDone {
		came, why = c.ours(t, s)
	}
	switch came {
	case replaceDone:
		s.Made = identity.NotBefore
		return workflow.Finish("the device has the old and the new certificates"), nil
	case replaceSilent:
		return workflow.Go(renewalDue).Drop(replaceCommand).Note(why), nil
	case replaceBroken:
		s.putOff(t.Now, r.retry())
		return workflow.Go(renewalDue).Note(why), nil
	}
	return s.waiting(t, workflow.Go(renewalAwait), r.proof()).On(replacedEvents...).At(t.Now.Add(r.timeout())), nil
}

// ours judges whether it was this profile by which a device got its new identity: another one, on its way since before, may be
// without the new certificates.
func (c *TrustChange) ours(t *workflow.Turn, s *trustState) (replaceOutcome, string) {
	entry, answered := t.Answer(replaceCommand)
	switch {
	case answered && entry.State == command.Acknowledged:
		return replaceDone, ""
	case answered || t.Refused(replaceCommand) != "":
		return replaceBroken, "the device has another profile meanwhile; it is sent anew"
	case !t.Now.Before(s.SentAt.Add(c.Renewal.timeout())):
		return replaceSilent, "the device has another profile meanwhile; it is sent anew"
	}
	return replacePending, ""
}

// TrustStanding is how far a change is.
type TrustStanding struct {
	Have, Lack int                // devices
	Lacking    []mdm.EnrollmentID // of those that lack it, 100 at most
}

// trustMaxLacking bounds the list of a TrustStanding.
const trustMaxLacking = 100

// Ready reports whether the server may switch.
func (s TrustStanding) Ready() bool { return s.Lack == 0 }

// String says so in words.
func (s TrustStanding) String() string {
	if s.Ready() {
		return fmt.Sprintf("all %d devices have the new certificates: the server may switch", s.Have)
	}
	return fmt.Sprintf("%d devices have the new certificates and %d lack them: do not switch", s.Have, s.Lack)
}

// Ready counts the devices of a tenant that have the new certificates, and those that have not. A run that is not there any more,
// because it was over long ago, is no proof, and neither is one of a device that has an earlier identity again since, as out of a
// backup: begin the change on it once more. It reads all enrollments and runs, and asks Renewal.Ends of each that is done.
func (c *TrustChange) Ready(ctx context.Context, runs Runs, tenant string) (TrustStanding, error) {
	if err := c.check(); err != nil {
		return TrustStanding{}, err
	}
	done, err := c.done(ctx, runs, tenant)
	if err != nil {
		return TrustStanding{}, err
	}
	var s TrustStanding
	for e, err := range c.Renewal.Roster.Enrollments(ctx, mdm.Filter{Tenant: tenant, States: []mdm.State{mdm.Enrolled}}) {
		if err != nil {
			return TrustStanding{}, err
		}
		has, err := c.has(ctx, e, done[e.ID])
		switch {
		case err != nil:
			return TrustStanding{}, err
		case e.ID.IsUser():
		case has:
			s.Have++
		default:
			if s.Lack++; len(s.Lacking) < trustMaxLacking {
				s.Lacking = append(s.Lacking, e.ID)
			}
		}
	}
	return s, nil
}

// done returns the newest run of each device that is done.
func (c *TrustChange) done(ctx context.Context, runs Runs, tenant string) (map[mdm.EnrollmentID]trustDone, error) {
	done := map[mdm.EnrollmentID]trustDone{}
	for run, err := range runs.Runs(ctx, workflow.Query{Tenant: tenant, Workflow: TrustChangeWorkflow, Status: []workflow.Status{workflow.Done}}) {
		if err != nil {
			return nil, err
		}
		if run.Key == c.key() {
			done[run.Enrollment] = done[run.Enrollment].or(run)
		}
	}
	return done, nil
}

// trustDone is the newest run of a device that is done.
type trustDone struct {
	generation mdm.Generation
	ended      time.Time
	made       time.Time
}

// or returns the newer of d and a run.
func (d trustDone) or(run workflow.Run) trustDone {
	if run.Generation < d.generation || run.Generation == d.generation && run.EndedAt.Before(d.ended) {
		return d
	}
	var s trustState
	_ = json.Unmarshal(run.State, &s) // what cannot be read says nothing of the identity
	return trustDone{run.Generation, run.EndedAt, s.Made}
}

// has reports whether a device still has what it got, or came with it.
func (c *TrustChange) has(ctx context.Context, e *mdm.Enrollment, d trustDone) (bool, error) {
	switch {
	case e.ID.IsUser():
		return false, nil
	case !c.Since.IsZero() && e.EnrolledAt.After(c.Since):
		return true, nil
	case d.generation == 0 || d.generation != e.Generation:
		return false, nil
	}
	ends, err := c.Renewal.Ends.Ends(ctx, e)
	identity := endsIdentity(ends)
	return identity.NotBefore.IsZero() || !identity.NotBefore.Before(d.made), err
}
