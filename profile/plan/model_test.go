package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/plan"
)

// world is a device as a plan sees it, and what is wanted of it.
type world struct {
	desired   []plan.Desired
	installed []plan.Installed
	options   plan.Options
}

// chooser returns a number below n.
type chooser func(n int) int

func seeded(seed uint64) chooser { return rand.New(rand.NewPCG(seed, 7)).IntN }

// pick reads its choices from fuzzed bytes; when they are used up, it chooses 0.
func pick(data []byte) chooser {
	return func(n int) int {
		if len(data) == 0 {
			return 0
		}
		c := int(data[0]) % n
		data = data[1:]
		return c
	}
}

const (
	domain    = "org.x"
	mdmOfOurs = "org.x.mdm"
)

// randomWorld makes one. Requirements point to lower numbers, so that there are no cycles. If it is open, everything may be
// touched: the goal can always be reached.
func randomWorld(c chooser, open bool) world {
	w := world{options: plan.Options{Owns: plan.Under(domain), Supervised: c(3) == 0, ManagedOnly: c(3) == 0}}
	if open {
		w.options.Supervised = true
	}
	n := c(9)
	for i := range n {
		d := plan.Desired{Identifier: fmt.Sprint(domain, ".p", i), UUID: "V2", Absent: c(4) == 0, Recreate: c(4) == 0,
			Weight: []plan.Weight{plan.Trust, plan.Restriction, 0, plan.Capability}[c(4)]}
		if c(5) == 0 && !d.Recreate {
			d.UUID = ""
		}
		for j := range i {
			if c(4) == 0 && (d.Absent || !w.desired[j].Absent) {
				d.Requires = append(d.Requires, w.desired[j].Identifier)
			}
		}
		w.desired = append(w.desired, d)
	}
	for i := range w.desired {
		for _, other := range []string{"org.x.old0", "org.x.old1", "com.other.0"} {
			if c(6) == 0 && !(open && other == "com.other.0") {
				w.desired[i].Conflicts = append(w.desired[i].Conflicts, other)
			}
		}
		for _, d := range w.desired {
			if d.Absent && c(6) == 0 && d.Identifier != w.desired[i].Identifier {
				w.desired[i].Conflicts = append(w.desired[i].Conflicts, d.Identifier)
			}
		}
		w.addInstalled(c, open, w.desired[i].Identifier)
	}
	for _, identifier := range []string{"org.x.old0", "org.x.old1", "com.other.0", "com.other.1"} {
		w.addInstalled(c, open, identifier)
	}
	if open || c(4) != 0 {
		w.installed = append(w.installed, plan.Installed{Identifier: mdmOfOurs, UUID: "M", Managed: mdm.Yes, Types: []string{profile.TypeMDM}})
	}
	return w
}

func (w *world) addInstalled(c chooser, open bool, identifier string) {
	if c(2) == 0 {
		return
	}
	i := plan.Installed{Identifier: identifier, UUID: fmt.Sprint("V", 1+c(2)), Managed: mdm.Yes, Types: []string{profile.TypeWiFi}}
	if !open {
		i.Managed = []mdm.Tristate{mdm.Yes, mdm.Yes, mdm.Unsaid, mdm.No}[c(4)]
		if c(8) == 0 {
			i.Source = plan.SourceDeclarative
		}
		if c(8) == 0 {
			i.Types = nil
		}
	}
	w.installed = append(w.installed, i)
}

// model is a device that does as Apple's documentation says, and fails where a plan breaks a rule.
type model struct {
	world
	has map[string]plan.Installed
	new map[string]bool // installed where there was none before
}

func (w world) device() *model {
	m := &model{world: w, has: map[string]plan.Installed{}, new: map[string]bool{}}
	for _, i := range w.installed {
		m.has[i.Identifier] = i
	}
	return m
}

func (m *model) list() []plan.Installed {
	var out []plan.Installed
	for _, identifier := range slices.Sorted(maps.Keys(m.has)) {
		out = append(out, m.has[identifier])
	}
	return out
}

func (m *model) wants(identifier string) *plan.Desired {
	for i, d := range m.desired {
		if d.Identifier == identifier {
			return &m.desired[i]
		}
	}
	return nil
}

// mayTouch says what may be replaced: managed profiles, on a supervised device all of them.
func (m *model) mayTouch(i plan.Installed) bool {
	known := i.Managed == mdm.Yes || i.Managed == mdm.Unsaid && m.options.ManagedOnly || m.options.Supervised
	if d := m.wants(i.Identifier); d != nil && !d.Absent && d.UUID == i.UUID && i.Managed == mdm.Unsaid {
		known = true
	}
	return known && i.Source == "" && !slices.Contains(i.Types, profile.TypeMDM)
}

// good reports whether the profile is as desired and can be relied on.
func (m *model) good(identifier string) bool {
	i, ok := m.has[identifier]
	d := m.wants(identifier)
	return ok && (d.UUID == "" || d.UUID == i.UUID) && (i.Managed != mdm.No || m.options.Supervised)
}

func (m *model) do(s plan.Step) error {
	if s.Action == plan.Remove {
		return m.remove(s)
	}
	return m.install(s)
}

func (m *model) remove(s plan.Step) error {
	i, ok := m.has[s.Identifier]
	d := m.wants(s.Identifier)
	switch {
	case !ok:
		return fmt.Errorf("%s is not installed", s.Identifier)
	case !m.mayTouch(i):
		return fmt.Errorf("%s may not be removed", s.Identifier)
	case d == nil && !m.options.Owns(s.Identifier):
		return fmt.Errorf("%s is not ours", s.Identifier)
	case len(i.Types) == 0 && !m.knowsManagement():
		return fmt.Errorf("%s may be the management", s.Identifier)
	}
	for _, other := range m.desired {
		if _, there := m.has[other.Identifier]; there && slices.Contains(other.Requires, s.Identifier) {
			return fmt.Errorf("%s is still there and requires %s", other.Identifier, s.Identifier)
		}
	}
	delete(m.has, s.Identifier)
	return nil
}

func (m *model) knowsManagement() bool {
	return slices.ContainsFunc(m.installed, func(i plan.Installed) bool { return slices.Contains(i.Types, profile.TypeMDM) })
}

func (m *model) install(s plan.Step) error {
	d := m.wants(s.Identifier)
	old, replaces := m.has[s.Identifier]
	switch {
	case d == nil || d.Absent || d.UUID != s.UUID:
		return fmt.Errorf("%s is not wanted so", s.Identifier)
	case replaces && !m.mayTouch(old):
		return fmt.Errorf("%s may not be replaced", s.Identifier)
	case replaces && m.good(s.Identifier):
		return fmt.Errorf("%s is current", s.Identifier)
	}
	for _, r := range d.Requires {
		if !m.good(r) {
			return fmt.Errorf("%s lacks %s", s.Identifier, r)
		}
	}
	for _, other := range slices.Sorted(maps.Keys(m.has)) {
		o := m.wants(other)
		if slices.Contains(d.Conflicts, other) || o != nil && slices.Contains(o.Conflicts, s.Identifier) {
			return fmt.Errorf("%s conflicts with %s", s.Identifier, other)
		}
	}
	uuid := d.UUID
	if uuid == "" {
		uuid = "any"
	}
	m.has[s.Identifier] = plan.Installed{Identifier: s.Identifier, UUID: uuid, Managed: mdm.Yes, Types: []string{profile.TypeWiFi}}
	m.new[s.Identifier] = !replaces
	return nil
}

// run does all steps but one; a skip of -1 skips none.
func (m *model) run(steps []plan.Step, skip int) error {
	for i, s := range steps {
		if i == skip {
			continue
		}
		if err := m.do(s); err != nil {
			return err
		}
	}
	return nil
}

// missing says what keeps the device from being as desired; only what must be so in an open world.
func (m *model) missing() []string {
	var out []string
	started := m.world.device()
	for _, d := range m.desired {
		before, was := started.has[d.Identifier]
		_, is := m.has[d.Identifier]
		switch {
		case d.Absent && is:
			out = append(out, d.Identifier+" is there")
		case !d.Absent && !m.good(d.Identifier):
			out = append(out, d.Identifier+" is not as desired")
		case !d.Absent && d.Recreate && was && before.UUID != d.UUID && !m.new[d.Identifier]:
			out = append(out, d.Identifier+" was not made anew")
		}
	}
	for identifier := range m.has {
		if m.wants(identifier) == nil && identifier != mdmOfOurs && m.options.Owns(identifier) {
			out = append(out, identifier+" is there")
		}
	}
	return out
}

func mustMake(t testing.TB, w world) *plan.Plan {
	t.Helper()
	p, err := plan.Make(w.desired, w.installed, w.options)
	require.NoError(t, err)
	return p
}
