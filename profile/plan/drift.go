package plan

import (
	"cmp"
	"slices"

	"github.com/gomdm/applemdm/mdm"
)

// Kind says how a device differs from what is desired.
type Kind string

// The kinds of drift.
const (
	Missing     Kind = "missing"     // desired, not installed
	Outdated    Kind = "outdated"    // desired, another version is installed
	Unexpected  Kind = "unexpected"  // managed, but not desired
	Unmanaged   Kind = "unmanaged"   // it is not known to be managed, so it can be neither replaced nor removed
	Foreign     Kind = "foreign"     // declarative management has installed it
	Protected   Kind = "protected"   // desired or unwanted, but never touched
	Conflicting Kind = "conflicting" // installed as desired, beside what it conflicts with
	Unmet       Kind = "unmet"       // installed as desired, without what it requires
	Duplicate   Kind = "duplicate"   // listed more than once
	Elsewhere   Kind = "elsewhere"   // installed on the other channel, too
)

// Drift is a difference between what is installed and what is desired.
type Drift struct {
	Kind       Kind
	Identifier string
	Planned    bool // the steps of the plan mend it
	Text       string
}

// drift lists the differences.
func (b *board) drift() []Drift {
	elsewhere := map[string]bool{}
	for _, i := range b.o.Elsewhere {
		elsewhere[i.Identifier] = true
	}
	var out []Drift
	for _, n := range b.order {
		if kind, text := b.difference(n); kind != "" {
			out = append(out, Drift{kind, n.Identifier, n.installs || n.removes, text})
		} else if n.satisfied() {
			out = append(out, n.company()...)
		}
		if len(n.versions) > 1 && n.role != stranger {
			out = append(out, Drift{Duplicate, n.Identifier, false, "the device lists it more than once"})
		}
		if n.role == wanted && elsewhere[n.Identifier] {
			out = append(out, Drift{Elsewhere, n.Identifier, false, "it is installed on the other channel, too"})
		}
	}
	slices.SortFunc(out, func(x, y Drift) int {
		return cmp.Or(cmp.Compare(x.Identifier, y.Identifier), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Text, y.Text))
	})
	return out
}

// company lists what is wrong around a profile that is itself as desired, and cannot be mended.
func (n *node) company() (out []Drift) {
	for _, r := range n.requires {
		if !r.satisfied() && r.why != "" {
			out = append(out, Drift{Unmet, n.Identifier, false, "it requires " + r.Identifier + ", which is not installed as desired, and cannot be"})
		}
	}
	for _, c := range n.conflicts {
		if c.have != nil && c.stays != "" {
			out = append(out, Drift{Conflicting, n.Identifier, false, "it conflicts with " + c.Identifier + ", which stays: " + c.stays})
		}
	}
	return out
}

// difference returns how one profile differs from what is wanted of it, if it does.
func (b *board) difference(n *node) (Kind, string) {
	switch {
	case n.role == stranger:
		if n.held == "" && (b.o.ManagedOnly || n.have.Managed == mdm.Yes) {
			return Unexpected, "it is not desired, and not this server's"
		}
		return "", ""
	case n.role == unwanted && n.have == nil, n.satisfied() && n.held != Foreign:
		return "", ""
	case n.held != "":
		return n.held, n.fixed
	case n.role == unwanted:
		return Unexpected, cmp.Or(n.why, n.because)
	case n.have == nil:
		return Missing, explain("it is not installed", n.why)
	}
	return Outdated, explain(n.outdatedText(), n.why)
}

func explain(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}
