package practice

import (
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/plan"
)

// Pairing gives a capability to those who have the restriction, in two profiles (Apple, "MDM Best Practices": pair
// restrictions with capabilities). It installs the restriction and waits until the device lists it, which Acknowledged does
// not prove; then, if the gate asks for it, until the device is compliant; then it installs the capability. From then on it
// looks now and then. When the restriction has gone or compliance is lost, it removes the capability, installs the restriction
// again, and begins anew.
//
// There is one Pairing for each pair. [profile.NewSequence] makes the gate; [profile.Pair] is the way that needs no Pairing.
type Pairing struct {
	// Name is of the workflow, and the key of its runs; empty: [PairingWorkflow]. Pairs on one server need different ones.
	Name     string
	Roster   workflow.Roster // required
	Profiles ProfileSource   // required; it has those of the gate, by their PayloadIdentifiers
	Gate     profile.Gate    // required
	// For says which enrollments get the pair; nil: every device. What it says is heard when an enrollment begins, and when a
	// device asks for a profile.
	For func(ctx context.Context, e *mdm.Enrollment) (bool, error)

	// Look is the time between two looks at the profiles of a device; 0: a day.
	Look  time.Duration
	Times ComplianceTimes // when it is asked whether it is compliant
	// Fresh is how old the device's word may be when it takes the capability; 0: Look.
	Fresh time.Duration
	Again workflow.Retry // of what the device refuses, as that of [Passcode]

	// AllowRemovable lets the restriction be one that the user of a device can remove, which is noticed at the next look only. False:
	// one without PayloadRemovalDisallowed is not sent to a device on which that holds, or may, as supervised ones and Macs; the note
	// of the run says so, and it is tried again. [profile.NewSequence] sets it.
	AllowRemovable bool

	Keep    bool        // leave the capability on a device without the restriction; Changed tells of it
	Changed GateChanged // nil: nobody is told
	ByHand  bool        // only Engine.Begin begins a run, with Name as the key
}

// PairingWorkflow is the name of the workflow of a [Pairing] without another.
const PairingWorkflow = "pairing"

// Steps of the workflow.
const (
	pairingRestrict = "restrict" // the restriction is on its way
	pairingComply   = "comply"   // it is there, and the device is not compliant yet
	pairingOpen     = "open"     // the capability is sent
)

type pairingState struct {
	Restrictions installParcels `json:",omitempty"`
	List         installErrand  `json:",omitzero"`
	Shown        bool           `json:",omitempty"` // the device listed all restrictions
	ShownAt      time.Time      `json:",omitzero"`
	Missing      int            `json:",omitempty"` // lists in a row without them
	Poll         compliancePoll `json:",omitzero"`
	Gate         passcodeGate   `json:",omitzero"`
	Grace        time.Time      `json:",omitzero"`
	Until        time.Time      `json:",omitzero"` // when the next step is due if nothing happens
}

const pairingList = "list"

// pairingTells are the events after which the profiles of a device are looked at.
var pairingTells = []mdm.EventType{mdm.EventRestored, mdm.EventActive}

func (p *Pairing) name() string {
	if p.Name == "" {
		return PairingWorkflow
	}
	return p.Name
}

func (p *Pairing) cook() string { return p.name() + ".install" }

// Workflows returns what belongs into server.Config.Workflows.
func (p *Pairing) Workflows() []workflow.Any {
	w := &workflow.Workflow[pairingState]{Name: p.name(), Version: 1, First: pairingRestrict, Retry: gateRetry, Listens: slices.Clone(pairingTells),
		Start: func(_ context.Context, e mdm.Event) (pairingState, string, bool, error) {
			return pairingState{}, p.name(), !p.ByHand && !e.Enrollment.IsUser() && slices.Contains(installArrivals(), e.Type), nil
		},
		Steps: map[string]func(context.Context, *workflow.Turn, *pairingState) (workflow.Next, error){
			pairingRestrict: p.step, pairingComply: p.step, pairingOpen: p.step,
		}}
	if !p.ByHand {
		w.Listens = append(w.Listens, installArrivals()...)
	}
	return []workflow.Any{w}
}

// Cooks returns what belongs into server.Config.Cooks.
func (p *Pairing) Cooks() map[string]command.Cook {
	return map[string]command.Cook{p.cook(): InstallCook(p.Roster, ProfileFunc(p.profile), func(ctx context.Context, e *mdm.Enrollment, name string) error {
		is, err := p.is(ctx, e)
		if is && err == nil {
			return nil
		}
		return installListed(nil, err, name)
	})}
}

func (p *Pairing) is(ctx context.Context, e *mdm.Enrollment) (bool, error) {
	if p.For == nil {
		return true, nil
	}
	return p.For(ctx, e)
}

func (p *Pairing) step(ctx context.Context, t *workflow.Turn, s *pairingState) (workflow.Next, error) {
	if t.Run.Turns == 0 {
		if is, err := p.is(ctx, t.Enrollment); !is || err != nil {
			return workflow.Finish("it is not for this enrollment"), err
		}
	}
	if slices.Contains(p.Gate.Compliant, profile.CompliantPasscode) && PasscodeWayFor(t.Enrollment) == PasscodeInOneProfile {
		return workflow.GiveUp(passcodeUnsaid), nil
	}
	again, a := installRetry(p.Again), &installAgenda{}
	s.Restrictions.want(p.Gate.Installed, t.Now)
	s.Gate.take(t, a, []string{p.Gate.Before}, again, p.Keep)
	told := installResumed(t, s.Until) || t.Signal() != nil && slices.Contains(pairingTells, t.Signal().Type)
	p.restrict(t, s, told, again)
	if slices.ContainsFunc(s.Restrictions, func(r installParcel) bool { return r.Off }) && !s.Gate.Open && s.Gate.cleared() {
		return workflow.GiveUp("the restriction is withdrawn, so nothing is given for it"), nil
	}
	if err := p.decide(ctx, t, s, a); err != nil {
		return workflow.Next{}, err
	}
	next := p.send(ctx, t, s, a, again, told)
	s.Until = a.until
	return next, nil
}

// restrict takes in what became of the restriction, and whether the device lists it.
func (p *Pairing) restrict(t *workflow.Turn, s *pairingState, told bool, again workflow.Retry) {
	for i := range s.Restrictions {
		if answer, ok := s.Restrictions[i].take(t, again); ok && answer.State == command.Acknowledged {
			s.List.Due = t.Now // after what was asked before
			s.Grace = answer.FinishedAt.Add(p.Times.filled().Grace)
		}
	}
	if told && !s.List.Out {
		s.List.Due = t.Now
	}
	answer, ok := s.List.take(t, pairingList, again)
	if !ok || answer.State != command.Acknowledged {
		if ok && s.List.Due.IsZero() { // somebody canceled it
			s.List.Due = t.Now.Add(again.First)
		}
		if ok && s.List.Tries >= again.Limit { // it does not tell, for long
			s.Shown = false
		}
		return
	}
	s.Shown, s.ShownAt = p.shown(answer), answer.FinishedAt
	if s.Shown {
		s.Missing, s.List.Due = 0, t.Now.Add(p.look())
		return
	}
	p.reinstall(t, s, again)
}

// shown reports whether a ProfileList has all restrictions. One that a user has put there under the same name is none.
func (p *Pairing) shown(answer command.Entry) bool {
	var said command.ProfileListResponse
	if err := command.DecodeResult(answer.Result, &said); err != nil && len(said.ProfileList) == 0 {
		return false
	}
	installed := plan.FromProfileList(said)
	for _, name := range p.Gate.Installed {
		if !slices.ContainsFunc(installed, func(i plan.Installed) bool { return i.Identifier == name && i.Managed != mdm.No }) {
			return false
		}
	}
	return true
}

// reinstall has the restriction installed again: at once the first time, then with growing waits.
func (p *Pairing) reinstall(t *workflow.Turn, s *pairingState, again workflow.Retry) {
	due := t.Now
	if s.Missing > 0 {
		due = due.Add(doubled(again.First, again.Most, s.Missing, installDoublings))
	}
	s.Missing++
	for i := range s.Restrictions {
		if r := &s.Restrictions[i]; !r.Install.Out {
			r.Here, r.Install = false, installErrand{Due: due}
		}
	}
}

func (p *Pairing) look() time.Duration {
	if p.Look <= 0 {
		return 24 * time.Hour
	}
	return p.Look
}

// decide opens and shuts the gate.
func (p *Pairing) decide(ctx context.Context, t *workflow.Turn, s *pairingState, a *installAgenda) error {
	times := p.Times.filled()
	if p.asks() && s.Shown {
		s.Poll.take(t, times, func(r command.SecurityInfoResponse) (mdm.Tristate, string) {
			return GateCompliance(p.Gate.Compliant, r, t.Enrollment.Channel.IsUserEnrollment())
		})
	}
	s.Gate.Proof = s.ShownAt
	if p.asks() && s.Poll.Checked.Before(s.ShownAt) {
		s.Gate.Proof = s.Poll.Checked
	}
	switch {
	case s.Shown && p.asks():
		return s.Poll.decide(ctx, t, &s.Gate, a, s.Grace, p.Changed, p.Keep)
	case s.Shown:
		return s.Gate.open(ctx, t, a, p.Changed)
	}
	a.drop(&s.Poll.Ask, complianceAsk)
	s.Poll = compliancePoll{} // what it says before the restriction is back is nothing
	if s.Gate.Open {
		s.Gate.shut(ctx, t, a, p.Changed, p.Keep, "the restriction is not installed any more")
		return nil
	}
	s.Gate.settle(ctx, t, a, p.Changed)
	return nil
}

func (p *Pairing) asks() bool { return len(p.Gate.Compliant) > 0 }

// send sends what is due, and says what is waited for.
func (p *Pairing) send(ctx context.Context, t *workflow.Turn, s *pairingState, a *installAgenda, again workflow.Retry, told bool) workflow.Next {
	times, fresh := p.Times.filled(), p.Fresh
	if fresh <= 0 {
		fresh = p.look()
	}
	stale := s.Gate.serve(t, a, p.cook(), fresh, again)
	endless := again
	endless.Limit = 1 << 30 // a restriction is never given up
	for i := range s.Restrictions {
		r := &s.Restrictions[i]
		if r.Install.due(t.Now) {
			if why := p.unlocked(ctx, t.Enrollment, r.Name); why != "" {
				r.Install.fail(why, t.Now, endless)
			}
		}
		r.serve(a, t.Now, p.cook(), time.Time{}, endless)
		r.await(a, endless)
	}
	here := !slices.ContainsFunc(s.Restrictions, func(r installParcel) bool { return !r.Here })
	if stale && !s.List.Out && s.List.Tries == 0 { // after an error the waits count
		s.List.Due = t.Now
	}
	if here && s.List.due(t.Now) {
		a.send(&s.List, pairingList, command.Order{Command: command.ProfileList{}, Priority: command.Profiles})
	}
	if here || s.List.Out {
		a.await(&s.List, pairingList)
	}
	if s.Shown && p.asks() {
		s.Poll.serve(a, t.Now, times, told || stale && s.Poll.Errors == 0 || s.Poll.graceOver(t.Now, s.Grace))
		a.at(passcodeGraceAhead(t.Now, s.Grace))
	}
	step, note := p.stands(t, s)
	return a.next(t, step, note+s.Restrictions.trouble()+s.Gate.Goods.trouble(), pairingTells...)
}

// stands says how it stands.
func (p *Pairing) stands(t *workflow.Turn, s *pairingState) (step, note string) {
	switch {
	case s.Gate.Open && !p.asks():
		return pairingOpen, "the restriction is installed"
	case s.Gate.Open:
		return pairingOpen, s.Poll.note(t.Now, true, s.Grace)
	case s.Shown:
		return pairingComply, s.Poll.note(t.Now, false, s.Grace)
	case s.Missing > 0:
		return pairingRestrict, "the device does not have the restriction; it is sent again"
	}
	return pairingRestrict, "waits until the device lists the restriction"
}
