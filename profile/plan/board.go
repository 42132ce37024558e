package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// role is what is wanted of a profile.
type role uint8

const (
	stranger role = iota // installed; nobody desires it, and it is not ours
	wanted
	unwanted
)

// node is one profile, desired or installed or both.
type node struct {
	Desired
	role role

	have     *Installed // nil: not installed
	versions []string   // the UUIDs that are installed: more than one if it is listed twice

	requires, dependents, conflicts []*node // by rank, once the board is sorted
	rank                            int

	// What judge finds. A reason is empty if there is none.
	loose bool   // the user may have installed it, and may remove it: nothing can rely on it
	held  Kind   // what sort of profile it is that may not be touched
	fixed string // why it cannot be removed
	why   string // why it cannot be brought to what is wanted of it
	stays string // why it cannot be taken away for another one's sake

	// What choose decides.
	installs, removes bool
	because           string
}

// satisfied reports whether it is installed in the version wanted, in a way that can be relied on.
func (n *node) satisfied() bool {
	return n.role == wanted && n.have != nil && n.current() && !n.loose
}

// current reports whether the version wanted is listed. One listed twice, in two versions, is not installed for ever again.
func (n *node) current() bool {
	return n.UUID == "" || slices.ContainsFunc(n.versions, func(v string) bool { return strings.EqualFold(v, n.UUID) })
}

// outdated reports whether another version is installed, one that a new one would replace.
func (n *node) outdated() bool { return n.role == wanted && n.have != nil && !n.satisfied() }

func (n *node) outdatedText() string {
	return "version " + n.versions[0] + " is installed, " + n.UUID + " is wanted"
}

// board holds all profiles while a plan is made.
type board struct {
	o         Options
	protected map[string]bool
	located   bool // we know which profile holds the management
	nodes     map[string]*node
	order     []*node // each after those that it requires
}

func newBoard(installed []Installed, o Options) *board {
	b := &board{o: o, protected: map[string]bool{}, nodes: map[string]*node{}}
	for _, identifier := range o.Protected {
		b.protected[identifier] = true
	}
	for _, i := range installed {
		if i.Identifier == "" {
			continue // no command could name it
		}
		if i.holdsManagement() {
			b.protected[i.Identifier] = true
		}
		n := b.nodes[i.Identifier]
		if n == nil {
			n = &node{Desired: Desired{Identifier: i.Identifier}, have: &i}
			b.nodes[i.Identifier] = n
		} else {
			*n.have = merge(*n.have, i)
		}
		n.versions = append(n.versions, i.UUID)
	}
	for identifier := range b.protected {
		n := b.nodes[identifier] // one whose payloads are listed, without com.apple.mdm, is protected for another reason
		b.located = b.located || n == nil || len(n.have.Types) == 0 || n.have.holdsManagement()
	}
	for identifier, n := range b.nodes {
		slices.Sort(n.versions)
		// What declarative management has is its own affair, and that of the management is always there.
		if o.Owns != nil && !b.protected[identifier] && n.have.Source != SourceDeclarative && o.Owns(identifier) {
			n.role = unwanted
		}
	}
	return b
}

// want adds what is desired, and ties together what belongs together.
func (b *board) want(desired []Desired) error {
	listed := map[string]bool{}
	for _, d := range desired {
		switch {
		case d.Identifier == "":
			return mdm.Errorf(mdm.Malformed, op, "a profile without an identifier is desired")
		case listed[d.Identifier]:
			return mdm.Errorf(mdm.Malformed, op, "%s is desired twice", d.Identifier)
		}
		listed[d.Identifier] = true
		n := b.nodes[d.Identifier]
		if n == nil {
			n = &node{}
			b.nodes[d.Identifier] = n
		}
		n.Desired, n.role = d, wanted
		if d.Absent {
			n.role = unwanted
		}
	}
	for _, n := range b.sorted() {
		if err := b.tie(n, listed); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns the nodes by weight and identifier.
func (b *board) sorted() []*node {
	return slices.SortedFunc(maps.Values(b.nodes), func(x, y *node) int {
		return cmp.Or(cmp.Compare(x.Weight, y.Weight), cmp.Compare(x.Identifier, y.Identifier))
	})
}

func (b *board) tie(n *node, listed map[string]bool) error {
	for _, identifier := range distinct(n.Requires) {
		if !listed[identifier] {
			return mdm.Errorf(mdm.Malformed, op, "%s requires %s, which is not in the list", n.Identifier, identifier)
		}
		r := b.nodes[identifier]
		if n.role == wanted && r.role == unwanted {
			return mdm.Errorf(mdm.Malformed, op, "%s requires %s, which must be absent", n.Identifier, identifier)
		}
		n.requires, r.dependents = append(n.requires, r), append(r.dependents, n)
	}
	for _, identifier := range distinct(n.Conflicts) {
		c := b.nodes[identifier]
		if c == nil {
			continue // neither desired nor installed
		}
		if c == n {
			return mdm.Errorf(mdm.Malformed, op, "%s conflicts with itself", n.Identifier)
		}
		if n.role == wanted && c.role == wanted {
			return mdm.Errorf(mdm.Malformed, op, "%s conflicts with %s, and both are desired", n.Identifier, identifier)
		}
		n.conflicts, c.conflicts = append(n.conflicts, c), append(c.conflicts, n)
	}
	return nil
}

func distinct(identifiers []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(identifiers)))
}

// sort puts the nodes in order: each after those that it requires, then by weight and identifier.
func (b *board) sort() error {
	var path []string
	open := map[*node]bool{}
	var visit func(n *node) error
	visit = func(n *node) error {
		if n.rank > 0 {
			return nil
		}
		path = append(path, n.Identifier)
		if open[n] {
			from := slices.Index(path, n.Identifier)
			return mdm.Errorf(mdm.Malformed, op, "profiles require each other: %s", strings.Join(path[from:], " → "))
		}
		open[n] = true
		byWeight(n.requires)
		for _, r := range n.requires {
			if err := visit(r); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		b.order = append(b.order, n)
		n.rank = len(b.order)
		return nil
	}
	for _, n := range b.sorted() {
		if err := visit(n); err != nil {
			return err
		}
	}
	for _, n := range b.order {
		byRank := func(x, y *node) int { return cmp.Compare(x.rank, y.rank) }
		slices.SortFunc(n.requires, byRank)
		slices.SortFunc(n.dependents, byRank)
		slices.SortFunc(n.conflicts, byRank)
		n.conflicts = slices.Compact(n.conflicts) // either may have named the other
	}
	return nil
}

func byWeight(nodes []*node) {
	slices.SortFunc(nodes, func(x, y *node) int {
		return cmp.Or(cmp.Compare(x.Weight, y.Weight), cmp.Compare(x.Identifier, y.Identifier))
	})
}
