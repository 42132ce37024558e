package plan

import (
	"slices"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// sequence is the order of steps in the making.
type sequence struct {
	steps    []Step
	installs map[*node]int // indexes of steps
	removals map[*node]int
}

// steps puts what was chosen in order. Installations go by rank; what has to give way goes immediately before, so that as
// little as possible is missing meanwhile. What only has to go is removed in the end, because what replaces it, a network say,
// may have to be there first.
func (b *board) steps() []Step {
	s := &sequence{installs: map[*node]int{}, removals: map[*node]int{}}
	for _, n := range b.order {
		if !n.installs {
			continue
		}
		var before []int
		if n.removes {
			before = append(before, s.remove(n))
		}
		for _, c := range n.conflicts {
			if c.removes {
				before = append(before, s.remove(c))
			}
		}
		for _, r := range n.requires {
			if i, ok := s.installs[r]; ok {
				before = append(before, i)
			}
		}
		s.installs[n] = s.add(Step{Action: Install, Identifier: n.Identifier, UUID: n.UUID, Why: n.because}, before)
	}
	for _, n := range slices.Backward(b.order) {
		if n.removes {
			s.remove(n)
		}
	}
	return s.steps
}

// remove adds the removal of n, after those of what requires it, and returns its index.
func (s *sequence) remove(n *node) int {
	if i, ok := s.removals[n]; ok {
		return i
	}
	var before []int
	for _, d := range slices.Backward(n.dependents) {
		if d.removes {
			before = append(before, s.remove(d))
		}
	}
	i := s.add(Step{Action: Remove, Identifier: n.Identifier, Why: n.because}, before)
	s.removals[n] = i
	return i
}

func (s *sequence) add(step Step, before []int) int {
	at := len(s.steps)
	s.steps = append(s.steps, step)
	for _, i := range before {
		s.steps[i].Blocks = append(s.steps[i].Blocks, at)
	}
	return at
}

// Commands returns the command of each step. build returns a profile as it goes to the device: plain, signed or encrypted. It is
// read again here, because a plan never comes to an end with a profile that is not the one it was made for.
//
// The error is that of build; Malformed if a profile cannot be read or has another identifier or UUID than the step; or
// Forbidden if it holds a com.apple.mdm payload, or a step is about a protected profile, whoever added it to the plan.
func (p *Plan) Commands(build func(identifier string) ([]byte, error)) ([]command.Command, error) {
	out := make([]command.Command, 0, len(p.Steps))
	for _, s := range p.Steps {
		if slices.Contains(p.Protected, s.Identifier) {
			return nil, mdm.Errorf(mdm.Forbidden, opCommands, "%s is protected", s.Identifier)
		}
		if s.Action == Remove {
			out = append(out, command.RemoveProfile{Identifier: s.Identifier})
			continue
		}
		data, err := build(s.Identifier)
		if err != nil {
			return nil, mdm.Errorf(mdm.CodeOf(err), opCommands, "%s: %w", s.Identifier, err)
		}
		if err := s.check(data); err != nil {
			return nil, err
		}
		out = append(out, command.InstallProfile{Payload: data})
	}
	return out, nil
}

const opCommands = "plan.Commands"

// check checks whether data is the profile of the step.
func (s Step) check(data []byte) error {
	parsed, err := profile.Parse(data)
	if err != nil {
		return mdm.Errorf(mdm.Malformed, opCommands, "%s: %w", s.Identifier, err)
	}
	got := Of(parsed.Profile)
	if got.Identifier != s.Identifier {
		return mdm.Errorf(mdm.Malformed, opCommands, "%s: the profile is %s", s.Identifier, got.Identifier)
	}
	if want := (&node{Desired: Desired{UUID: s.UUID}, versions: []string{got.UUID}}); !want.current() {
		return mdm.Errorf(mdm.Malformed, opCommands, "%s: the profile is version %s, not %s", s.Identifier, got.UUID, s.UUID)
	}
	for _, payload := range parsed.Profile.Payloads {
		if payload.PayloadType() == profile.TypeMDM {
			return mdm.Errorf(mdm.Forbidden, opCommands, "%s: the profile of the management is not a plan's to replace", s.Identifier)
		}
	}
	return nil
}
