package practice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// PasscodeDeclared is the part of [Passcode] for devices that watch their passcode themselves.
type PasscodeDeclared struct {
	Declarer Declarer // required
	// Policy returns the passcode policy of an enrollment. Required.
	Policy func(ctx context.Context, e *mdm.Enrollment) (ddm.PasscodeSettings, error)
	// Gated returns what waits: configurations, and the assets that they name. Required. None: the enrollment is asked, as others
	// are that cannot do better.
	Gated func(ctx context.Context, e *mdm.Enrollment) ([]ddm.Declaration, error)
	// Prefix begins the identifiers of the policy and of the activations; empty: "practice". See [PasscodeDeclarations].
	Prefix string
}

// PasscodeGroup is the group that [Passcode] declares.
const PasscodeGroup = "passcode"

// Steps of devices that are served by declaration.
const (
	passcodeDeclaredStep = "declared" // the device itself gives and takes what waits
	passcodeCanceled     = "canceled" // what is declared is withdrawn
)

// passcodeDeclaredState is what a run knows of its declarations.
type passcodeDeclaredState struct {
	Sum       string       `json:",omitempty"` // of what was declared last
	Policy    string       `json:",omitempty"` // the server token of its policy
	Gating    string       `json:",omitempty"` // the server token of its gate
	At        time.Time    `json:",omitzero"`  // when
	Heard     time.Time    `json:",omitzero"`  // when the device last said how it stands
	Known     bool         `json:",omitempty"` // it has named the policy since it was declared
	Gate      mdm.Tristate `json:",omitempty"` // whether the gate is open, as the device says
	Compliant mdm.Tristate `json:",omitempty"`
	Trouble   string       `json:",omitempty"`
	Off       string       `json:",omitempty"` // why the device is asked after all
}

// declares reports whether an enrollment is served by declaration.
func (p *Passcode) declares(e *mdm.Enrollment, s *passcodeState) bool {
	asked := s.Declared.Sum == "" && (s.Policy.Name != "" || len(s.Gate.Goods) > 0 || !s.Poll.AskedAt.IsZero())
	return p.Declared != nil && s.Declared.Off == "" && !asked && PasscodeWayFor(e) == PasscodeByDeclaration
}

// declared is a step of an enrollment that is served by declaration; false if it is to be asked.
func (p *Passcode) declared(ctx context.Context, t *workflow.Turn, s *passcodeState) (workflow.Next, bool, error) {
	group, err := p.group(ctx, t.Enrollment)
	if err != nil {
		return workflow.Next{}, true, err
	}
	d, times := &s.Declared, p.Times.filled()
	if len(group.Declarations) == 0 {
		return workflow.Next{}, false, p.undeclare(ctx, t, s, "")
	}
	p.heard(t, s, times)
	if d.Off != "" {
		return workflow.Next{}, false, p.undeclare(ctx, t, s, d.Off)
	}
	if err := p.publish(ctx, t, s, group, times); err != nil {
		return workflow.Next{}, true, err
	}
	a := &installAgenda{}
	if err := p.follow(ctx, t, s, a); err != nil {
		return workflow.Next{}, true, err
	}
	a.at(passcodeGraceAhead(t.Now, s.Grace))
	a.at(t.Now.Add(times.Recheck))
	return a.next(t, passcodeDeclaredStep, d.note(t.Now, s.Grace), EventReported, mdm.EventRestored), true, nil
}

// group is what is declared for an enrollment; nothing if nothing waits.
func (p *Passcode) group(ctx context.Context, e *mdm.Enrollment) (ddm.Group, error) {
	g := ddm.Group{Name: PasscodeGroup, Generation: e.Generation}
	gated, err := p.Declared.Gated(ctx, e)
	if err != nil || len(gated) == 0 {
		return g, err
	}
	policy, err := p.Declared.Policy(ctx, e)
	if err != nil {
		return g, err
	}
	var names []string
	for _, one := range gated {
		if one.Payload != nil && ddm.KindOf(one.Payload.DeclarationType()) == ddm.Configuration {
			names = append(names, one.Identifier)
		}
	}
	list, err := PasscodeDeclarations(p.prefix(), policy, names...)
	g.Declarations = append(list, gated...)
	return g, err
}

func (p *Passcode) prefix() string {
	if p.Declared.Prefix == "" {
		return "practice"
	}
	return p.Declared.Prefix
}

// publish declares what is new. A policy that the device has not named is declared again each Recheck: it may have missed it. So it
// is when it came back from a backup, which may be older.
func (p *Passcode) publish(ctx context.Context, t *workflow.Turn, s *passcodeState, g ddm.Group, times ComplianceTimes) error {
	d := &s.Declared
	body, err := g.Encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	text := hex.EncodeToString(sum[:16])
	signal := t.Signal()
	restored := signal != nil && signal.Type == mdm.EventRestored
	unheard := !d.Known && !t.Now.Before(d.At.Add(times.Recheck))
	if text == d.Sum && !restored && !unheard {
		return nil
	}
	if err := p.Declared.Declarer.Declare(ctx, t.Run.Enrollment, g); err != nil {
		return err
	}
	if policy := g.Declarations[0].ServerToken; policy != d.Policy { // the grace begins anew when the device has it
		d.Policy, s.Grace = policy, time.Time{}
	}
	d.Sum, d.At, d.Known = text, t.Now, false
	for _, one := range g.Declarations {
		if one.Identifier == p.prefix()+passcodeSuffix+passcodeGateSuffix {
			d.Gating = one.ServerToken
		}
	}
	return nil
}

// heard takes in a report.
func (p *Passcode) heard(t *workflow.Turn, s *passcodeState, times ComplianceTimes) {
	word, ok := declaredHeard(t)
	if !ok {
		return
	}
	d := &s.Declared
	if word.Compliant != nil {
		d.Heard, d.Compliant = t.Now, complianceOf(word.Compliant)
	}
	name := p.prefix() + passcodeSuffix
	if policy := word.Stands[name]; policy.Token == d.Policy && d.Policy != "" {
		d.Heard, d.Known, d.Trouble = t.Now, true, policy.trouble()
		if policy.Active && s.Grace.IsZero() {
			s.Grace = t.Now.Add(times.Grace)
		}
		if policy.unsupported() {
			d.Off = policy.trouble()
		}
	}
	if gate := word.Stands[name+passcodeGateSuffix]; gate.Token == d.Gating && d.Gating != "" { // else it is of what was declared before
		d.Gate = complianceOf(&gate.Active)
		if gate.unsupported() {
			d.Off = gate.trouble()
		}
		if d.Trouble == "" {
			d.Trouble = gate.trouble()
		}
	}
}

// follow tells what the device has done: it opens and shuts the gate itself. Until the grace is over, a gate that is shut is none of
// which is told.
func (p *Passcode) follow(ctx context.Context, t *workflow.Turn, s *passcodeState, a *installAgenda) error {
	d := &s.Declared
	switch {
	case d.Gate == mdm.Yes:
		return s.Gate.open(ctx, t, a, p.Changed)
	case d.Gate == mdm.No && !s.Grace.IsZero() && !t.Now.Before(s.Grace) && (s.Gate.Open || s.Gate.Told == ""):
		s.Gate.shut(ctx, t, a, p.Changed, true, "the passcode is not compliant")
	default:
		s.Gate.settle(ctx, t, a, p.Changed)
	}
	return nil
}

// undeclare takes back what was declared, and has the device asked from now on if there is a reason for that.
func (p *Passcode) undeclare(ctx context.Context, t *workflow.Turn, s *passcodeState, off string) error {
	if s.Declared.Sum == "" {
		return nil
	}
	if err := p.Declared.Declarer.Withdraw(ctx, t.Run.Enrollment, t.Run.Generation, PasscodeGroup); err != nil {
		return err
	}
	s.Declared, s.Grace = passcodeDeclaredState{Off: off}, time.Time{}
	return nil
}

// canceled withdraws what is declared, also if the run did not come to write that it is.
func (p *Passcode) canceled(ctx context.Context, t *workflow.Turn, s *passcodeState) (workflow.Next, error) {
	if p.Declared != nil && (s.Declared.Sum != "" || p.declares(t.Enrollment, s)) {
		if err := p.Declared.Declarer.Withdraw(ctx, t.Run.Enrollment, t.Run.Generation, PasscodeGroup); err != nil {
			return workflow.Next{}, err
		}
	}
	return workflow.GiveUp("canceled"), nil
}

// note says how it stands.
func (d *passcodeDeclaredState) note(now, grace time.Time) string {
	text := "declared; "
	switch {
	case d.Trouble != "":
		return text + d.Trouble
	case d.Heard.IsZero():
		return text + "waits for the device's word"
	case d.Gate == mdm.Yes:
		return text + "compliant"
	case now.Before(grace):
		return text + "not compliant; the device lets its user put that off until " + grace.UTC().Format(time.RFC3339)
	}
	return text + "not compliant"
}
