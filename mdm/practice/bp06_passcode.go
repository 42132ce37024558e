package practice

import (
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// Passcode keeps profiles from a device until its passcode keeps the policy, and takes them back when it does not any more
// (Apple, "MDM Best Practices": passcode compliance). It sends the policy, asks the device by SecurityInfo, at once and then
// in growing waits, and when the device is compliant it sends what waits, once and in order. From then on it asks now and
// then; when compliance is lost, and the device's grace is over, the profiles are removed, until it is back.
//
// With Declared, a device that can is not asked: the policy and what waits are declared to it, it gives and takes them itself, and
// reports what it did (see [PasscodeWayFor]).
//
// A run lasts as long as its enrollment. If an operator cancels it, profiles stay as they are, and what was declared is withdrawn:
// nobody would mend it any more. Enrollments of macOS say nothing about passcodes: see CannotAsk.
type Passcode struct {
	Roster   workflow.Roster // required
	Profiles ProfileSource   // required
	// Waiting returns the PayloadIdentifiers of the profiles that wait, in order. Required, unless all are served by declaration:
	// those that are not have nothing that waits then. None at first: the run ends. It is
	// asked again at each step, so within a day, or at once by Engine.Resume: what it adds waits from then on, and what it leaves
	// out is withdrawn as when compliance is lost. It is not sent any more, and it is removed from a device that has it, unless Keep
	// says otherwise. So Waiting must return an error, not an empty list, when it does not know.
	Waiting func(ctx context.Context, e *mdm.Enrollment) ([]string, error)
	// Policy is the PayloadIdentifier of the profile with the passcode policy, which is sent first. Empty: it is there.
	Policy string

	// Declared serves devices by declaration that can do that, from the beginning of their runs. Nil: all are asked. To stop serving
	// devices so, have its Gated return nothing for them: with nil nobody withdraws what is declared.
	Declared *PasscodeDeclared

	Times ComplianceTimes
	// Fresh is how old the device's word may be when it takes a profile that waits; after it the device is asked again.
	// 0: Times.Recheck.
	Fresh time.Duration
	// Again says how a profile is sent again that the device refused; the zero value is after 1 minute, doubling up to 6
	// hours, 10 times, and then when the gate opens the next time.
	Again workflow.Retry

	// Keep leaves the profiles on a device that is not compliant any more, or for which Waiting leaves them out. Changed tells of
	// the former.
	Keep    bool
	Changed GateChanged // nil: nobody is told
	// CannotAsk decides about enrollments that do not say whether they are compliant (macOS): true sends what waits when the
	// policy is there. Nil or false: the run fails, and its note says that the policy and the rest belong into one profile
	// ([profile.Pair]).
	CannotAsk func(e *mdm.Enrollment) bool
	// ByHand leaves it to Engine.Begin (with the key [PasscodeWorkflow]) to begin a run. False: each enrollment of a device does.
	ByHand bool
}

// PasscodeWorkflow is the name of the workflow of [Passcode], and the key of its runs.
const PasscodeWorkflow = "passcode"

const passcodeCook = "passcode.install"

// Steps of the workflow.
const (
	passcodePolicy = "policy" // it waits for the policy
	passcodeShut   = "shut"   // it waits for a compliant passcode
	passcodeOpen   = "open"   // what waited is sent
)

const passcodeUnsaid = "a Mac does not say whether its passcode is compliant: put the policy and what waits for it into one profile"

type passcodeState struct {
	Policy installParcel  `json:",omitzero"`
	Poll   compliancePoll `json:",omitzero"`
	Gate   passcodeGate   `json:",omitzero"`
	Grace  time.Time      `json:",omitzero"` // its end
	Until  time.Time      `json:",omitzero"` // when the next step is due if nothing happens

	Declared passcodeDeclaredState `json:",omitzero"`
}

// Workflows returns what belongs into server.Config.Workflows.
func (p *Passcode) Workflows() []workflow.Any {
	w := &workflow.Workflow[passcodeState]{Name: PasscodeWorkflow, Version: 1, First: passcodePolicy, Start: p.start, Retry: gateRetry,
		Steps: map[string]func(context.Context, *workflow.Turn, *passcodeState) (workflow.Next, error){
			passcodePolicy: p.step, passcodeShut: p.step, passcodeOpen: p.step, passcodeDeclaredStep: p.step,
			passcodeCanceled: p.canceled,
		}, Canceled: passcodeCanceled}
	w.Listens = []mdm.EventType{mdm.EventRestored, EventReported}
	if !p.ByHand {
		w.Listens = append(w.Listens, installArrivals()...)
	}
	return []workflow.Any{w}
}

// Cooks returns what belongs into server.Config.Cooks.
func (p *Passcode) Cooks() map[string]command.Cook {
	return map[string]command.Cook{passcodeCook: InstallCook(p.Roster, p.Profiles, func(ctx context.Context, e *mdm.Enrollment, name string) error {
		if name == p.Policy {
			return nil
		}
		names, err := p.waiting(ctx, e)
		return installListed(names, err, name)
	})}
}

func (p *Passcode) waiting(ctx context.Context, e *mdm.Enrollment) ([]string, error) {
	if p.Waiting == nil {
		return nil, nil
	}
	return p.Waiting(ctx, e)
}

// installArrivals are the events with which the management of an enrollment begins.
func installArrivals() []mdm.EventType {
	return []mdm.EventType{mdm.EventEnrolled, mdm.EventReenrolled, mdm.EventAfterWipe}
}

func (p *Passcode) start(_ context.Context, event mdm.Event) (passcodeState, string, bool, error) {
	return passcodeState{}, PasscodeWorkflow, !p.ByHand && !event.Enrollment.IsUser() && slices.Contains(installArrivals(), event.Type), nil
}

func (p *Passcode) step(ctx context.Context, t *workflow.Turn, s *passcodeState) (workflow.Next, error) {
	if p.declares(t.Enrollment, s) {
		if next, ok, err := p.declared(ctx, t, s); ok || err != nil {
			return next, err
		}
	} else if p.Declared != nil {
		if err := p.undeclare(ctx, t, s, "the device is one that does not watch its passcode by declaration"); err != nil {
			return workflow.Next{}, err
		}
	}
	waiting, err := p.waiting(ctx, t.Enrollment)
	if err != nil {
		return workflow.Next{}, err
	}
	if len(waiting) == 0 && len(s.Gate.Goods) == 0 && (t.Run.Turns == 0 || s.Declared.Off != "") {
		if s.Declared.Off != "" {
			return workflow.GiveUp(s.Declared.Off), nil
		}
		return workflow.Finish("nothing waits"), nil
	}
	asks := PasscodeWayFor(t.Enrollment) != PasscodeInOneProfile
	if !asks && (p.CannotAsk == nil || !p.CannotAsk(t.Enrollment)) {
		return workflow.GiveUp(passcodeUnsaid), nil
	}
	again, a := installRetry(p.Again), &installAgenda{}
	s.Gate.take(t, a, waiting, again, p.Keep)
	if signal := t.Signal(); signal != nil && signal.Type == mdm.EventRestored {
		p.restored(t, s, a)
	}
	if next, ready := p.policy(ctx, t, s, a, again); !ready {
		return next, nil
	}
	return p.gate(ctx, t, s, a, asks)
}

// restored begins anew with a device that came back from a backup: it may be older than the policy and the passcode, and what the
// device said before is nothing. It keeps what it has until it says something else.
func (p *Passcode) restored(t *workflow.Turn, s *passcodeState, a *installAgenda) {
	a.drop(&s.Poll.Ask, complianceAsk)
	s.Poll = compliancePoll{}
	if p.Policy != "" {
		a.drop(&s.Policy.Install, s.Policy.install())
		s.Policy = installParcel{Name: p.Policy, Install: installErrand{Due: t.Now}}
	}
	for i := range s.Gate.Goods { // what is on its way waits again
		if g := &s.Gate.Goods[i]; g.Install.Out {
			a.drop(&g.Install, g.install())
			g.Install.Due = t.Now
		}
	}
}

// policy sends the policy, and is true when it is there.
func (p *Passcode) policy(ctx context.Context, t *workflow.Turn, s *passcodeState, a *installAgenda, again workflow.Retry) (workflow.Next, bool) {
	if p.Policy == "" || s.Policy.Here {
		return workflow.Next{}, true
	}
	if s.Policy.Name == "" {
		s.Policy = installParcel{Name: p.Policy, Install: installErrand{Due: t.Now}}
	}
	if answer, ok := s.Policy.take(t, again); ok && s.Policy.Here {
		s.Grace = answer.FinishedAt.Add(p.Times.filled().Grace)
		return workflow.Next{}, true
	}
	if s.Policy.over(again) && (s.Gate.Open || !s.Gate.cleared()) { // the policy was there once
		s.Gate.shut(ctx, t, a, p.Changed, p.Keep, "the passcode policy is not installed any more")
		s.Gate.serve(t, a, passcodeCook, 0, again)
		return a.next(t, passcodePolicy, "what waited for the policy is removed"+s.Gate.Goods.trouble()), false
	}
	if s.Policy.over(again) {
		return workflow.GiveUp("the passcode policy is not installed, so nothing waits for it" + installParcels{s.Policy}.trouble()), false
	}
	s.Policy.serve(a, t.Now, passcodeCook, time.Time{}, again)
	s.Policy.await(a, again)
	return a.next(t, passcodePolicy, "waits for the policy"+installParcels{s.Policy}.trouble(), mdm.EventRestored), false
}

// gate asks, and opens and shuts the gate.
func (p *Passcode) gate(ctx context.Context, t *workflow.Turn, s *passcodeState, a *installAgenda, asks bool) (workflow.Next, error) {
	times, again := p.Times.filled(), installRetry(p.Again)
	if asks {
		s.Poll.take(t, times, func(r command.SecurityInfoResponse) (mdm.Tristate, string) {
			verdict := PasscodeCompliance(r, t.Enrollment.Channel.IsUserEnrollment())
			return verdict, map[mdm.Tristate]string{mdm.No: "the passcode is not compliant", mdm.Unsaid: "it does not say whether the passcode is compliant"}[verdict]
		})
		s.Gate.Proof = s.Poll.Checked
	} else {
		s.Poll.Verdict, s.Gate.Proof = mdm.Yes, t.Now
	}
	if err := s.Poll.decide(ctx, t, &s.Gate, a, s.Grace, p.Changed, p.Keep); err != nil {
		return workflow.Next{}, err
	}
	stale := s.Gate.serve(t, a, passcodeCook, complianceFresh(p.Fresh, times), again)
	if asks {
		s.Poll.serve(a, t.Now, times, stale && s.Poll.Errors == 0 || installResumed(t, s.Until) || s.Poll.graceOver(t.Now, s.Grace))
	}
	step := passcodeShut
	if s.Gate.Open {
		step = passcodeOpen
	}
	a.at(passcodeGraceAhead(t.Now, s.Grace))
	next := a.next(t, step, s.Poll.note(t.Now, s.Gate.Open, s.Grace)+s.Gate.Goods.trouble(), mdm.EventRestored)
	s.Until = a.until
	return next, nil
}

func complianceFresh(fresh time.Duration, times ComplianceTimes) time.Duration {
	if fresh <= 0 {
		return times.Recheck
	}
	return fresh
}

// decide opens the gate if the device is compliant. It shuts it if the device said after the grace that it is not.
func (c *compliancePoll) decide(ctx context.Context, t *workflow.Turn, g *passcodeGate, a *installAgenda, grace time.Time, changed GateChanged, keep bool) error {
	switch {
	case c.Verdict == mdm.Yes:
		return g.open(ctx, t, a, changed)
	case !c.Checked.IsZero() && !c.Checked.Before(grace) && (g.Open || !grace.IsZero()):
		g.shut(ctx, t, a, changed, keep, c.Text)
	default:
		g.settle(ctx, t, a, changed)
	}
	return nil
}

// graceOver is true if the device was not asked since the grace ended.
func (c *compliancePoll) graceOver(now, grace time.Time) bool {
	return !grace.IsZero() && c.Verdict != mdm.Yes && !now.Before(grace) && c.AskedAt.Before(grace)
}

// passcodeGraceAhead is the end of the grace, as long as it has not come.
func passcodeGraceAhead(now, grace time.Time) time.Time {
	if now.Before(grace) {
		return grace
	}
	return time.Time{}
}

// note says how it stands.
func (c *compliancePoll) note(now time.Time, open bool, grace time.Time) string {
	switch {
	case open && c.Verdict == mdm.Yes:
		return "compliant"
	case c.Checked.IsZero():
		return "waits for the device's word"
	case now.Before(grace):
		return c.Text + "; the device lets its user put that off until " + grace.UTC().Format(time.RFC3339)
	}
	return c.Text
}
