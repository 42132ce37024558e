package practice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// RenewalWorkflow is the name of the workflow of [Renewal], and the key of its runs.
const RenewalWorkflow = "renewal"

// Names of steps, which are stored.
const (
	renewalWatch = "watch" // nothing is due
	renewalDue   = "due"   // it is, and no command is outstanding
	renewalAwait = "await" // a command is
)

// The defaults of a Renewal.
const (
	DefaultRenewalLook    = 7 * 24 * time.Hour
	DefaultRenewalTimeout = 24 * time.Hour
	DefaultRenewalRetry   = time.Hour
	DefaultRenewalProof   = time.Hour
)

// maxRenewalRetry bounds the time between two attempts.
const maxRenewalRetry = 24 * time.Hour

// Renewal replaces the enrollment profile of each device well before anything in it ends, its identity or a certificate by which
// it trusts the server, because the management is lost for good then (Apple, "MDM Best Practices"). When it is due, [enroll.RenewAt]
// says. A run watches each enrollment as long as that lives; one that is due is at the step "due" or "await".
//
// The profile is made when the device asks for it. It is done when the device has been seen with its new identity: an answer alone
// proves nothing, because a replacement that fails is rolled back on the device. NotNow, errors and silence leave it due. The
// queue, the push token and the secrets of the device stay.
//
// What a device has is taken for the profile of the recipe as it was when its run began, until the device has listed its profiles,
// for which a run asks once (it needs the right InspectProfiles, 1). A device whose profile is of another recipe is then known by the
// certificates in it: what ends in it is what ends in that, and if that is not known, the profile is replaced within Look, so that
// a fleet that was enrolled by another recipe is not replaced in one hour.
//
// A run is set aside when the device would refuse what the recipe makes for it, so a recipe that is wrong sets many aside. When it is
// mended, workflow.Engine.TryAgainMany has all runs of RenewalWorkflow go on.
//
// Recipe, Ends and Roster are required. Give a server both [Renewal.Workflows] and [Renewal.Cooks]. Devices that enrolled before
// need [Renewal.Sweep], once.
type Renewal struct {
	Recipe *enroll.Recipe
	Ends   Ends           // see [IdentityEnds]
	Roster checkin.Roster // of a store

	// Tailor changes for whom a profile is made, as EncryptTo, which a private key in the profile asks for. Nil: it stays as
	// enroll.Renewal returns it.
	Tailor func(ctx context.Context, e *mdm.Enrollment, f *enroll.For) error
	// Installed returns the profile that a device has, nil where that is not known: what replaces it is held against it before
	// anything is sent, see [profile.ValidateUpdate], and what ends in it is heard of when a run begins. Without, the profile is held
	// against what the run keeps of the recipe as it was when it began, with the PayloadIdentifier that the device lists. So a recipe
	// that was changed since is noticed. One that was changed between the making of a profile and the enrollment by it is not, but for
	// that identifier, because a device does not tell the addresses in its profile: such a replacement is refused by the device, which
	// keeps what it has, and is tried again. Topic and access rights that are on record are asked in any case.
	Installed func(ctx context.Context, e *mdm.Enrollment) (*profile.Profile, error)

	// Alarm is told that the deadline of a device is near and that its renewal is still not done, once for each of Stages. It may
	// be told twice, if it is killed; an error has it told again. Nil: only the note of the run tells.
	Alarm func(ctx context.Context, a RenewalAlarm) error
	// Stages are how long before the deadline, the longest first; 0 is the deadline itself. Nil: 14 days and 3 days. What lives
	// too shortly for that has them nearer to its deadline.
	Stages []time.Duration

	Look    time.Duration // how often a device is looked at while nothing is due, as for a recipe that changed; 0: DefaultRenewalLook
	Timeout time.Duration // a command that a device which is there has not answered for so long is given anew; 0: DefaultRenewalTimeout
	Retry   time.Duration // after the first failure; it doubles each time, up to a day; 0: DefaultRenewalRetry
	Proof   time.Duration // how long after Acknowledged the new identity may take to be seen; 0: DefaultRenewalProof
}

// RenewalAlarm tells of a device that may be lost.
type RenewalAlarm struct {
	Enrollment *mdm.Enrollment
	Plan       enroll.RenewalPlan // its Deadline is when it is lost
	Stage      time.Duration      // which of Renewal.Stages
	Why        string             // what stands in the way, in words
}

// renewalState is the state of a run.
type renewalState struct {
	Held     []enroll.End `json:"held"` // of the profile on the device, as far as it is the recipe's
	Known    bool         `json:"known"`
	Deadline time.Time    `json:"deadline,omitzero"`
	Told     int          `json:"told,omitempty"` // stages of Deadline
	Why      string       `json:"why,omitempty"`  // what stands in the way
	// Kept were due when the profile had just been replaced: a replacement does not change them.
	Kept []enroll.End `json:"kept,omitempty"`
	// Coming are those of the recipe when the profile was sent that replaces it: which recipe the device got, is not known.
	Coming []enroll.End `json:"coming,omitempty"`
	// Made is the beginning of the identity that was seen last. With an older one, a device has its older profile, too.
	Made time.Time `json:"made,omitzero"`
	Anew bool      `json:"anew,omitempty"` // it has, so it is renewed at once
	// Form is what a replacement must keep of the profile on the device; nil: not known. ComingRights are those of what was sent.
	Form         *renewalForm     `json:"form,omitempty"`
	ComingRights mdm.AccessRights `json:"comingRights,omitempty"`
	Asked        bool             `json:"asked,omitempty"`  // the device was asked for its list
	AskAt        time.Time        `json:"askAt,omitzero"`   // when it is asked again, which did not answer
	Listed       bool             `json:"listed,omitempty"` // it has said what it has, or Installed did
	Older        time.Time        `json:"older,omitzero"`   // that is of another recipe, and renewed then
	replacing
}

// Workflows returns the workflow "renewal".
func (r *Renewal) Workflows() []workflow.Any {
	begins := []mdm.EventType{mdm.EventEnrolled, mdm.EventReenrolled, mdm.EventAfterWipe, mdm.EventAdopted}
	return []workflow.Any{&workflow.Workflow[renewalState]{
		Name: RenewalWorkflow, First: renewalWatch,
		Listens: append(begins, replacedEvents...),
		Start: func(_ context.Context, e mdm.Event) (s renewalState, key string, ok bool, err error) {
			for _, kind := range begins {
				ok = ok || kind == e.Type
			}
			return s, RenewalWorkflow, ok && !e.Enrollment.IsUser(), nil
		},
		Steps: map[string]func(context.Context, *workflow.Turn, *renewalState) (workflow.Next, error){
			renewalWatch: r.watch, renewalDue: r.watch, renewalAwait: r.await,
		},
		Retry: renewalSetAside,
	}}
}

// renewalSetAside is how often a step is tried that an operator has to see to: what passes by itself is waited for and is no error.
var renewalSetAside = workflow.Retry{Limit: 3, First: time.Minute}

// Sweep begins the renewal of all enrollments of a filter that have none, and returns of how many. It may be called at any time
// and again: for the devices that were there before, and for those whose run an operator has ended. Those whose profile turns out to
// have certificates that Recipe does not bring are renewed within Look; what else is in a profile is for Ends or Installed to tell.
func (r *Renewal) Sweep(ctx context.Context, engine *workflow.Engine, f mdm.Filter) (int, error) {
	return renewalBegin(ctx, r.Roster, engine, f, RenewalWorkflow, RenewalWorkflow, nil)
}

// renewalBegin begins a run on each managed device that f selects, unless it has an open one with the key: what became of earlier
// ones does not matter, so this is not Engine.BeginMany, with which a device has one for ever. Choose says with which state, or that
// a device needs none; nil: all, with the zero value of the state.
func renewalBegin(ctx context.Context, roster checkin.Roster, engine *workflow.Engine, f mdm.Filter, name, key string, choose renewalChoice) (begun int, err error) {
	f.States = []mdm.State{mdm.Enrolled}
	for e, err := range roster.Enrollments(ctx, f) {
		if err != nil {
			return begun, err
		}
		if e.ID.IsUser() {
			continue
		}
		var state any
		if choose != nil {
			wanted := false
			if state, wanted, err = choose(e); err != nil {
				return begun, err
			} else if !wanted {
				continue
			}
		}
		_, fresh, err := engine.Begin(ctx, name, e.ID, key, state)
		switch code := mdm.CodeOf(err); {
		case err == nil && fresh:
			begun++
		case err != nil && code != mdm.Forbidden && code != mdm.NotFound: // it may have ended meanwhile
			return begun, err
		}
	}
	return begun, nil
}

// renewalChoice says with which state a run begins on a device, and whether one does.
type renewalChoice func(e *mdm.Enrollment) (state any, wanted bool, err error)

// renewalView is how a device stands.
type renewalView struct {
	plan     enroll.RenewalPlan // of what a replacement changes
	planned  bool               // there is one
	identity enroll.End
	ends     []enroll.End // of the device
	brings   []enroll.End // of the recipe now
	again    []enroll.End // what a replacement would bring again
	older    bool         // the identity is older than the one before
}

// look finds out how the device stands.
func (r *Renewal) look(ctx context.Context, t *workflow.Turn, s *renewalState) (renewalView, error) {
	var v renewalView
	if err := r.check(); err != nil {
		return v, err
	}
	ends, err := r.Ends.Ends(ctx, t.Enrollment)
	if err != nil {
		return v, err
	}
	if v.brings, err = r.Recipe.Ends(); err != nil {
		return v, err
	}
	if err := r.begin(ctx, t.Enrollment, s, v.brings); err != nil {
		return v, err
	}
	r.listed(ctx, t, s, v.brings)
	v.identity, v.ends = endsIdentity(ends), ends
	if made := v.identity.NotBefore; !made.IsZero() {
		v.older, s.Made = made.Before(s.Made), made
		s.Anew = s.Anew || v.older
	}
	stale := endsWithout(s.Held, v.brings)
	v.again = append(endsWithout(s.Held, stale), s.Kept...)
	v.plan, v.planned = enroll.RenewAt(append(endsWithout(ends, s.Kept), stale...))
	if !v.plan.Deadline.Equal(s.Deadline) {
		s.Deadline, s.Told = v.plan.Deadline, 0
	}
	return v, nil
}

// watch waits until the renewal is due, and sends the profile then.
func (r *Renewal) watch(ctx context.Context, t *workflow.Turn, s *renewalState) (workflow.Next, error) {
	v, err := r.look(ctx, t, s)
	if err != nil {
		return r.unknown(t, err), nil
	}
	if !v.planned || !v.plan.IsDue(t.Now) && !s.Anew && !s.older(t.Now) {
		s.replacing, s.Why = replacing{}, ""
		return s.ask(t, r.idle(t, v)), nil
	}
	if t.Now.Before(s.NextAt) {
		return r.wait(ctx, t, s, v, workflow.Go(renewalDue), s.NextAt), nil
	}
	coming, breach, err := r.breach(ctx, t.Enrollment, s.Form)
	switch {
	case err != nil:
		return r.unknown(t, err), nil
	case breach != nil:
		return workflow.Next{}, breach
	}
	next := s.send(t, workflow.Go(renewalAwait), replaceCook, v.identity, s.Form)
	s.Coming, s.ComingRights = v.brings, coming.Rights
	return r.wait(ctx, t, s, v, next, t.Now.Add(r.timeout())), nil
}

// idle waits while nothing is due.
func (r *Renewal) idle(t *workflow.Turn, v renewalView) workflow.Next {
	next := workflow.Go(renewalWatch).On(replacedEvents...).At(t.Now.Add(r.every()))
	note := "nothing ends"
	if v.planned {
		next, note = next.At(v.plan.Due), v.plan.String()
	}
	if plan, ok := enroll.RenewAt(v.again); ok && plan.IsDue(t.Now) {
		note += fmt.Sprintf("; a replacement would bring %s again, which ends on %s", plan.First, plan.Deadline.UTC().Format(time.DateOnly))
	}
	return next.Note(note)
}

// unknown waits for what cannot be told now, as a database that is away.
func (r *Renewal) unknown(t *workflow.Turn, err error) workflow.Next {
	next := workflow.Go(t.Run.Step).On(replacedEvents...).At(t.Now.Add(r.retry()))
	if t.Run.Step == renewalAwait {
		next = next.Answered(replaceCommand)
	}
	return next.Note("it cannot be told now: " + err.Error())
}

// await looks what became of the profile that was sent.
func (r *Renewal) await(ctx context.Context, t *workflow.Turn, s *renewalState) (workflow.Next, error) {
	v, err := r.look(ctx, t, s)
	if err != nil {
		return r.unknown(t, err), nil
	}
	if signal := t.Signal(); v.older && signal != nil && signal.Type == mdm.EventRestored {
		s.Was = v.identity.Fingerprint // that is not the new one; what is on the queue is called off
	}
	switch came, why := s.judge(t, v.identity, r.proof(), r.timeout()); came {
	case replaceDone:
		*s = r.renewed(v, s, t.Now)
		return workflow.Go(renewalWatch).Note("renewed"), nil
	case replaceSilent:
		s.Why = why
		return workflow.Go(renewalDue).Drop(replaceCommand), nil
	case replaceBroken:
		s.Why = why
		s.putOff(t.Now, r.retry())
		return workflow.Go(renewalDue), nil
	}
	return r.wait(ctx, t, s, v, s.waiting(t, workflow.Go(renewalAwait), r.proof()), t.Now.Add(r.timeout())), nil
}

// renewed is the state after a renewal. What is due again at once would be so for ever.
func (r *Renewal) renewed(v renewalView, was *renewalState, now time.Time) renewalState {
	s := renewalState{Held: append(endsWithout(was.Coming, v.brings), v.brings...), Known: true, Made: v.identity.NotBefore, Form: was.Form,
		Asked: was.Asked, AskAt: was.AskAt, Listed: was.Listed}
	if s.Form != nil && was.ComingRights != 0 {
		s.Form.Rights = was.ComingRights
	}
	for _, e := range v.ends {
		plan, ok := enroll.RenewAt([]enroll.End{e})
		switch {
		case !ok || !plan.IsDue(now):
		case e.Kind == enroll.EndIdentity: // it lives for less than it is dated back
			s.NextAt = now.Add(min(r.retry(), e.NotAfter.Sub(now)/2))
		default:
			s.Kept = append(s.Kept, e)
		}
	}
	return s
}

// wait has the run wait until a time at most, and raises the alarms that are due.
func (r *Renewal) wait(ctx context.Context, t *workflow.Turn, s *renewalState, v renewalView, next workflow.Next, until time.Time) workflow.Next {
	stages := r.stages(v.plan)
	reached := s.Told
	for reached < len(stages) && !t.Now.Before(v.plan.Deadline.Add(-stages[reached])) {
		reached++
	}
	note := "the renewal is " + v.plan.String()
	if s.Anew {
		note += "; the device came back with an earlier identity, and perhaps with an earlier profile"
	}
	if s.older(t.Now) {
		note += "; the profile of the device has certificates that the recipe does not know"
	}
	if s.Why != "" {
		note += "; " + s.Why
	}
	if v.plan.IsLate(t.Now) {
		note += "; the deadline is over"
	}
	next = next.On(replacedEvents...).At(until)
	if reached > s.Told {
		err := r.alarm(ctx, RenewalAlarm{Enrollment: t.Enrollment, Plan: v.plan, Stage: r.stage(reached - 1), Why: cmp.Or(s.Why, "the device stays away")})
		if err != nil {
			return next.At(t.Now.Add(r.retry())).Note(note + "; the alarm could not be raised: " + err.Error())
		}
		s.Told = reached
	}
	if s.Told < len(stages) {
		next = next.At(v.plan.Deadline.Add(-stages[s.Told]))
	}
	return next.Note(note)
}

func (r *Renewal) alarm(ctx context.Context, a RenewalAlarm) error {
	if r.Alarm == nil {
		return nil
	}
	_, err := setupGuard(func() (struct{}, error) { return struct{}{}, r.Alarm(ctx, a) }) // the profile goes out in any case
	return err
}

var renewalStages = []time.Duration{14 * 24 * time.Hour, 3 * 24 * time.Hour}

// stages returns how long before the deadline the alarms are, each in the half of what is left after the one before.
func (r *Renewal) stages(p enroll.RenewalPlan) []time.Duration {
	all := r.Stages
	if all == nil {
		all = renewalStages
	}
	out, left := make([]time.Duration, len(all)), p.Deadline.Sub(p.Due)
	for i, stage := range all {
		left /= 2
		out[i] = min(stage, left)
	}
	return out
}

// stage returns a stage as it was asked for.
func (r *Renewal) stage(i int) time.Duration {
	if r.Stages == nil {
		return renewalStages[i]
	}
	return r.Stages[i]
}

func (r *Renewal) every() time.Duration   { return waitOr(r.Look, DefaultRenewalLook) }
func (r *Renewal) timeout() time.Duration { return waitOr(r.Timeout, DefaultRenewalTimeout) }
func (r *Renewal) retry() time.Duration   { return waitOr(r.Retry, DefaultRenewalRetry) }
func (r *Renewal) proof() time.Duration   { return waitOr(r.Proof, DefaultRenewalProof) }

// check reports what is missing.
func (r *Renewal) check() error {
	if r.Recipe == nil || r.Ends == nil || r.Roster == nil {
		return errors.New("practice: Renewal.Recipe, Ends and Roster are required")
	}
	return nil
}
