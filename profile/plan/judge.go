package plan

import (
	"cmp"
	"slices"

	"github.com/gomdm/applemdm/mdm"
)

// judge finds out what can be done with each profile. What cannot be installed drags along what requires it, and what cannot be
// taken away keeps in place what it requires; so it goes over the board until nothing changes any more. Reasons are only added,
// so that comes to an end.
func (b *board) judge() {
	for _, n := range b.order {
		n.loose = n.have != nil && n.have.Managed == mdm.No && !b.o.Supervised
		n.held, n.fixed = b.hold(n)
		if n.role == wanted && n.held != "" {
			n.why = n.fixed
		}
		if n.fixed == "" && n.have != nil && len(n.have.Types) == 0 && !b.located {
			n.fixed = "its payloads are not listed, so that it may be the profile of the management"
		}
	}
	for changed := true; changed; {
		changed = false
		for _, n := range slices.Backward(b.order) {
			n.stays = stays(n)
			if n.role == unwanted {
				n.why = n.stays
			}
		}
		for _, n := range b.order {
			if n.role == wanted && n.why == "" {
				n.why = hindered(n)
				changed = changed || n.why != ""
			}
		}
	}
}

// hold says whether a profile may not be touched at all, and why.
func (b *board) hold(n *node) (Kind, string) {
	if b.protected[n.Identifier] {
		return Protected, "it is protected, as the profile of the management is"
	}
	switch i := n.have; {
	case i == nil:
	case i.Source == SourceDeclarative:
		return Foreign, "declarative management has installed it"
	case b.o.Supervised:
	case i.Managed == mdm.No:
		return Unmanaged, "it is not managed"
	case i.Managed == mdm.Unsaid && !b.o.ManagedOnly && (n.role != wanted || n.UUID == "" || !n.current()):
		// but one in the very version that is wanted is ours
		return Unmanaged, "it is not known to be managed"
	}
	return "", ""
}

// stays says why an installed profile cannot be taken away now, for whatever is to come after.
func stays(n *node) string {
	switch {
	case n.have == nil:
		return ""
	case n.fixed != "":
		return n.fixed
	case n.role == stranger:
		return "it is not this server's"
	case n.role == wanted && n.why != "":
		return "it could not be installed again"
	}
	for _, d := range n.dependents {
		if d.have != nil && d.stays != "" {
			return d.Identifier + ", which requires it, stays"
		}
	}
	return ""
}

// hindered says why a wanted profile cannot be installed.
func hindered(n *node) string {
	for _, r := range n.requires {
		if !r.satisfied() && r.why != "" {
			return "it requires " + r.Identifier + ", which cannot be installed"
		}
	}
	for _, c := range n.conflicts {
		if c.have != nil && c.stays != "" {
			return "it conflicts with " + c.Identifier + ", which stays: " + c.stays
		}
	}
	if n.outdated() && n.Recreate && n.stays != "" {
		return "it must be removed before, and cannot be: " + n.stays
	}
	return ""
}

// choose decides what is installed and what is removed.
func (b *board) choose() {
	for _, n := range b.order {
		switch {
		case n.why != "":
		case n.role == unwanted && n.have != nil:
			n.removes = true
			n.because = cmp.Or(n.because, "it is not wanted")
		case n.role == wanted && !n.satisfied():
			n.installs = true
			if n.have == nil {
				n.because = "it is not installed"
				continue
			}
			n.because = n.outdatedText()
			if n.Recreate {
				n.because += "; it is to be made anew"
				takeAway(n)
			}
		}
	}
}

// takeAway removes a profile, with all that requires it. What of that is wanted comes back after it.
func takeAway(n *node) {
	n.removes = true
	for _, d := range n.dependents {
		if d.have == nil || d.removes {
			continue
		}
		if d.role == wanted {
			d.installs = true
			d.because = cmp.Or(d.because, "it requires "+n.Identifier+", which is made anew")
		}
		takeAway(d)
	}
}
