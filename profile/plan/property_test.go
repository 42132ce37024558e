package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/profile/plan"
)

// worlds is how many of them a test makes.
func worlds() uint64 {
	if testing.Short() {
		return 500
	}
	return 3000
}

// TestReachesTheGoal shows that a plan brings a device to what is desired wherever everything may be touched.
func TestReachesTheGoal(t *testing.T) {
	t.Parallel()
	steps, moved := uint64(0), uint64(0)
	for seed := range worlds() {
		w := randomWorld(seeded(seed), true)
		m, p := w.device(), mustMake(t, w)
		require.NoError(t, m.run(p.Steps, -1), "seed %d: %+v", seed, p.Steps)
		require.Empty(t, m.missing(), "seed %d", seed)
		for _, d := range p.Drift {
			require.True(t, d.Planned || d.Kind == plan.Unexpected && !m.options.Owns(d.Identifier), "seed %d: %+v", seed, d)
		}
		steps += uint64(len(p.Steps))
		for _, s := range p.Steps {
			if s.Action == plan.Remove && slices.ContainsFunc(p.Steps, func(o plan.Step) bool { return o.Action == plan.Install && o.Identifier == s.Identifier }) {
				moved++
			}
		}
	}
	require.Greater(t, steps, worlds(), "the worlds must give work")
	require.Greater(t, moved, worlds()/20, "some of it removals for a new installation")
}

// TestHolds checks, in worlds of all sorts, what always holds.
func TestHolds(t *testing.T) {
	t.Parallel()
	kinds := map[plan.Kind]int{}
	for seed := range worlds() {
		for _, d := range holds(t, randomWorld(seeded(seed), seed%2 == 0), fmt.Sprint("seed ", seed)).Drift {
			kinds[d.Kind]++
		}
	}
	for _, kind := range []plan.Kind{plan.Missing, plan.Outdated, plan.Unexpected, plan.Unmanaged, plan.Foreign, plan.Conflicting, plan.Unmet} {
		require.Positive(t, kinds[kind], kind)
	}
}

// holds checks one world: no rule is broken on the way, nothing is done for nothing, nothing is left that could be done, and
// everything that is not as desired is told.
func holds(t *testing.T, w world, about string) *plan.Plan {
	t.Helper()
	p := mustMake(t, w)
	m := w.device()
	require.NoError(t, m.run(p.Steps, -1), "%s: %+v", about, p.Steps)

	// What remains is told, and a second plan has nothing to do.
	after := w
	after.installed = m.list()
	again := mustMake(t, after)
	require.Empty(t, again.Steps, about)
	for _, d := range w.desired {
		if d.Absent != m.good(d.Identifier) {
			continue
		}
		if _, there := m.has[d.Identifier]; d.Absent && !there {
			continue
		}
		told := slices.ContainsFunc(again.Drift, func(x plan.Drift) bool { return x.Identifier == d.Identifier && !x.Planned })
		require.True(t, told, "%s: %s is not as desired, and nothing says so", about, d.Identifier)
	}
	for _, d := range again.Drift {
		require.False(t, d.Planned, "%s: %+v", about, d)
	}
	require.Equal(t, len(p.Steps) > 0, slices.ContainsFunc(p.Drift, func(d plan.Drift) bool { return d.Planned }), about)

	// Each step is needed: without it a later one breaks a rule, or the device ends up in another state.
	seen := map[string]bool{}
	for i, s := range p.Steps {
		key := string(s.Action) + " " + s.Identifier
		require.False(t, seen[key], "%s: twice %s", about, key)
		seen[key] = true
		without := w.device()
		if without.run(p.Steps, i) == nil {
			require.False(t, fmt.Sprint(without.has) == fmt.Sprint(m.has) && fmt.Sprint(without.new) == fmt.Sprint(m.new),
				"%s: %s is not needed", about, key)
		}
	}
	exhausted(t, m, about)
	blocks(t, w, p, about)
	require.Equal(t, p, mustMake(t, shuffled(w)), "%s: the order of the arguments matters", about)
	return p
}

// exhausted shows that no single step more is possible on a device after its plan.
func exhausted(t *testing.T, m *model, about string) {
	t.Helper()
	for identifier := range m.has {
		d := m.wants(identifier)
		if d != nil && d.Absent || d == nil && m.options.Owns(identifier) {
			require.Error(t, m.remove(plan.Step{Identifier: identifier}), "%s: %s could be removed", about, identifier)
		}
	}
	for _, d := range m.desired {
		_, there := m.has[d.Identifier]
		if !d.Absent && !m.good(d.Identifier) && !(there && d.Recreate) {
			require.Error(t, m.install(plan.Step{Identifier: d.Identifier, UUID: d.UUID}), "%s: %s could be installed", about, d.Identifier)
		}
	}
}

// blocks lets each step fail in turn, with all that it blocks: the others break no rule.
func blocks(t *testing.T, w world, p *plan.Plan, about string) {
	t.Helper()
	for failed := range p.Steps {
		skip := map[int]bool{failed: true}
		m := w.device()
		for i, s := range p.Steps {
			if !skip[i] {
				require.NoError(t, m.do(s), "%s: step %d, after %d had failed", about, i, failed)
				continue
			}
			for _, later := range s.Blocks {
				require.Greater(t, later, i, about)
				skip[later] = true
			}
		}
	}
}

func shuffled(w world) world {
	r := rand.New(rand.NewPCG(1, uint64(len(w.installed))))
	w.desired, w.installed = slices.Clone(w.desired), slices.Clone(w.installed)
	for i, d := range w.desired {
		d.Requires, d.Conflicts = slices.Clone(d.Requires), slices.Clone(d.Conflicts)
		r.Shuffle(len(d.Requires), func(i, j int) { d.Requires[i], d.Requires[j] = d.Requires[j], d.Requires[i] })
		r.Shuffle(len(d.Conflicts), func(i, j int) { d.Conflicts[i], d.Conflicts[j] = d.Conflicts[j], d.Conflicts[i] })
		w.desired[i] = d
	}
	r.Shuffle(len(w.desired), func(i, j int) { w.desired[i], w.desired[j] = w.desired[j], w.desired[i] })
	r.Shuffle(len(w.installed), func(i, j int) { w.installed[i], w.installed[j] = w.installed[j], w.installed[i] })
	return w
}

func FuzzMake(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add([]byte("\x03\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08"), false)
	f.Add([]byte("some bytes to choose by, enough for a world of several profiles that require each other"), false)
	f.Fuzz(func(t *testing.T, data []byte, open bool) {
		holds(t, randomWorld(pick(data), open), "fuzz")
	})
}
