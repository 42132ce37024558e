package provisioning_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/profile/provisioning"
)

// listed is the state of a device that has just listed these.
func listed(now time.Time, installed ...provisioning.Installed) provisioning.State {
	return provisioning.State{ListedAt: now, Installed: installed}
}

func there(uuid string, end int) provisioning.Installed {
	return provisioning.Installed{UUID: uuid, Name: uuid, Expiry: day(end)}
}

func brief(p *provisioning.Plan) (out []string) {
	for _, s := range p.Steps {
		out = append(out, string(s.Action)+" "+s.UUID)
	}
	for _, w := range p.Warnings {
		out = append(out, "warning "+w.UUID)
	}
	if p.List {
		out = append(out, "list")
	}
	return out
}

func TestPlan(t *testing.T) {
	t.Parallel()
	type profiles = []*provisioning.Profile
	a, b, c := inHouse(t, "a", 0, 100), inHouse(t, "b", 60, 200), inHouse(t, "c", 59, 200)
	limited := change(b, func(p *provisioning.Profile) { p.ProvisionsAllDevices, p.ProvisionedDevices = false, []string{"UDID"} })
	debug := change(b, func(p *provisioning.Profile) {
		p.UUID = "debug"
		p.Entitlements = map[string]any{"application-identifier": "A1B2C3D4E5.com.example.app", "get-task-allow": true}
	})
	noDate := provisioning.Installed{UUID: "A"}
	for name, x := range map[string]struct {
		now   int
		goal  provisioning.Goal
		state []provisioning.Installed
		want  []string
	}{
		"missing":                        {0, provisioning.Goal{Profiles: profiles{a}}, nil, []string{"install a", "list"}},
		"there":                          {0, provisioning.Goal{Profiles: profiles{a}}, []provisioning.Installed{there("A", 100)}, nil},
		"the newest":                     {0, provisioning.Goal{Profiles: profiles{c, a, b, c}}, nil, []string{"install b", "list"}},
		"read twice":                     {0, provisioning.Goal{Profiles: profiles{a, inHouse(t, "A", 0, 100)}}, []provisioning.Installed{there("a", 100)}, nil},
		"an older one lasts":             {80, provisioning.Goal{Profiles: profiles{a, b, inHouse(t, "d", 60, 300)}}, []provisioning.Installed{there("a", 100), there("b", 200)}, nil},
		"removal wins, not there":        {0, provisioning.Goal{Profiles: profiles{a}, Remove: []string{"a"}}, nil, nil},
		"not yet":                        {69, provisioning.Goal{Profiles: profiles{a, b}}, []provisioning.Installed{there("a", 100)}, nil},
		"now":                            {70, provisioning.Goal{Profiles: profiles{a, b}}, []provisioning.Installed{there("a", 100)}, []string{"install b", "list"}},
		"the device does not say when":   {70, provisioning.Goal{Profiles: profiles{a, b}}, []provisioning.Installed{noDate}, []string{"install b", "list"}},
		"the device says something else": {50, provisioning.Goal{Profiles: profiles{a, b}}, []provisioning.Installed{there("a", 80)}, []string{"install b", "list"}},
		"expired":                        {150, provisioning.Goal{Profiles: profiles{a, b}}, []provisioning.Installed{there("a", 100)}, []string{"install b", "list"}},
		"no newer one":                   {70, provisioning.Goal{Profiles: profiles{a}}, []provisioning.Installed{there("a", 100)}, []string{"warning a"}},
		"none that is valid":             {100, provisioning.Goal{Profiles: profiles{a}}, []provisioning.Installed{there("a", 100)}, []string{"warning a"}},
		"none at all":                    {300, provisioning.Goal{Profiles: profiles{a, b}}, nil, []string{"warning b"}},
		"both are there":                 {10, provisioning.Goal{Profiles: profiles{a, b}}, []provisioning.Installed{there("A", 100), there("b", 200)}, []string{"remove A", "list"}},
		"others stay":                    {0, provisioning.Goal{Profiles: profiles{a}}, []provisioning.Installed{there("a", 100), there("x", 50)}, nil},
		"one to be removed":              {0, provisioning.Goal{Remove: []string{"X", "y"}}, []provisioning.Installed{there("x", 50)}, []string{"remove x", "list"}},
		"removal wins":                   {0, provisioning.Goal{Profiles: profiles{a}, Remove: []string{"a"}}, []provisioning.Installed{there("a", 100)}, []string{"remove a", "list"}},
		"its device":                     {60, provisioning.Goal{Profiles: profiles{limited}, UDID: "udid"}, nil, []string{"install b", "list"}},
		"another device":                 {60, provisioning.Goal{Profiles: profiles{limited}, UDID: "other"}, nil, []string{"warning b"}},
		"a device that is not known":     {60, provisioning.Goal{Profiles: profiles{limited}}, nil, []string{"install b", "list"}},
		"two that are not alike":         {60, provisioning.Goal{Profiles: profiles{a, debug}}, nil, []string{"install debug", "install a", "list"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := provisioning.Planner{}.Plan(x.goal, listed(day(x.now), x.state...), day(x.now))
			require.Equal(t, x.want, brief(p))
		})
	}
}

func TestPlannerOptions(t *testing.T) {
	t.Parallel()
	a, b := inHouse(t, "a", 0, 100), inHouse(t, "b", 60, 200)
	goal := provisioning.Goal{Profiles: []*provisioning.Profile{a, b}}
	week := provisioning.Planner{Lead: 7 * 24 * time.Hour, ListEvery: 7 * 24 * time.Hour}
	require.Empty(t, brief(week.Plan(goal, listed(day(92), there("a", 100)), day(92))))
	require.Equal(t, []string{"install b", "list"}, brief(week.Plan(goal, listed(day(93), there("a", 100)), day(93))))
	require.Empty(t, brief(week.Plan(goal, listed(day(0), there("a", 100)), day(6))))
	require.Equal(t, []string{"list"}, brief(week.Plan(goal, listed(day(0), there("a", 100)), day(7))))
}

// TestOrders follows one order through what may become of it.
func TestOrders(t *testing.T) {
	t.Parallel()
	a := inHouse(t, "A", 0, 364)
	goal := provisioning.Goal{Profiles: []*provisioning.Profile{a}}
	at := func(hours int) time.Time { return begin.Add(time.Duration(hours) * time.Hour) }
	var s provisioning.State
	step := func(hour int, want ...string) {
		t.Helper()
		p := provisioning.Planner{}.Plan(goal, s, at(hour))
		require.Equal(t, want, brief(p))
		s.Sent(p, at(hour))
	}
	empty := command.ProvisioningProfileListResponse{}
	full := command.ProvisioningProfileListResponse{ProvisioningProfileList: []command.ProvisioningProfileListItem{{UUID: "a", Name: "A"}}}

	step(0, "list")
	step(100) // it is asked for
	s.ListFailed(at(100))
	step(101) // not at once
	step(124, "list")
	s.Listed(empty, at(125))
	step(125, "install A", "list")
	step(500) // the device is away
	s.Answered("nobody's", at(500))
	s.Answered("a", at(501))
	s.Answered("a", at(502))
	require.Equal(t, at(501), s.Orders["a"].Answered, "the first answer counts")
	step(502)
	s.Listed(empty, at(503)) // it did not come to anything; a day has gone by since the command
	step(503, "install A", "list")
	s.Listed(empty, at(504)) // this list was made before
	step(504)
	s.Answered("A", at(505))
	step(506, "list")
	s.Listed(empty, at(507))
	step(508) // not again within a day
	step(527, "install A", "list")
	s.Answered("A", at(528))
	s.Listed(full, at(529))
	require.Empty(t, s.Orders)
	step(530)

	goal = provisioning.Goal{Remove: []string{"A"}}
	step(531, "remove a", "list")
	s.Answered("a", at(532))
	step(532)               // the list is asked for
	s.Listed(full, at(533)) // still there
	step(540)               // not again within a day
	step(555, "remove a", "list")
	s.Answered("a", at(556))
	s.Listed(empty, at(557))
	step(558)
	require.Empty(t, s.Orders)
}

// TestGoalChanges: what is on its way is waited for, also when something newer turns up, or nothing is wanted any more.
func TestGoalChanges(t *testing.T) {
	t.Parallel()
	a, b := inHouse(t, "a", 0, 100), inHouse(t, "b", 0, 200)
	s := listed(begin)
	s.Sent(provisioning.Planner{}.Plan(provisioning.Goal{Profiles: []*provisioning.Profile{a}}, s, begin), begin)
	both := provisioning.Goal{Profiles: []*provisioning.Profile{a, b}}
	require.Empty(t, brief(provisioning.Planner{}.Plan(both, s, begin)))
	s.Answered("a", day(1))
	s.Listed(command.ProvisioningProfileListResponse{}, day(2))
	require.Equal(t, []string{"install b", "list"}, brief(provisioning.Planner{}.Plan(both, s, day(2))))

	s = listed(begin, there("a", 100))
	s.Orders = map[string]provisioning.Order{"a": {Action: provisioning.Install, Sent: begin}}
	gone := provisioning.Goal{Remove: []string{"a"}}
	require.Empty(t, brief(provisioning.Planner{}.Plan(gone, s, begin)))
	s.Answered("a", begin.Add(time.Hour))
	s.ListedAt = begin.Add(2 * time.Hour)
	require.Equal(t, []string{"remove a", "list"}, brief(provisioning.Planner{}.Plan(gone, s, s.ListedAt)))

	s = listed(begin, there("a", 100)) // the old one is being removed, and the new one has vanished
	s.Orders = map[string]provisioning.Order{"a": {Action: provisioning.Remove, Sent: begin}}
	require.Equal(t, []string{"install b", "list"}, brief(provisioning.Planner{}.Plan(both, s, day(70))))
}

func TestListAfterFailure(t *testing.T) {
	t.Parallel()
	var s provisioning.State
	s.ListFailed(begin)
	require.Empty(t, brief(provisioning.Planner{}.Plan(provisioning.Goal{}, s, begin.Add(time.Hour))))
	s.Listed(command.ProvisioningProfileListResponse{}, begin.Add(2*time.Hour)) // somebody else asked
	goal := provisioning.Goal{Profiles: []*provisioning.Profile{inHouse(t, "a", 0, 100)}}
	require.Equal(t, []string{"install a", "list"}, brief(provisioning.Planner{}.Plan(goal, s, begin.Add(3*time.Hour))))
}

func TestReinstallOfTheSame(t *testing.T) {
	t.Parallel()
	a := inHouse(t, "a", 0, 364)
	d := &device{t: t, has: map[string]*provisioning.Profile{"a": a}}
	s := listed(begin) // the list came before the profile, which came another way
	p := provisioning.Planner{}.Plan(provisioning.Goal{Profiles: []*provisioning.Profile{a}}, s, begin)
	d.queue = p.Commands()
	s.Sent(p, begin)
	d.answer(&s, day(1))
	d.answer(&s, day(2))
	require.Equal(t, []string{"a"}, d.installs)
	require.Empty(t, s.Orders)
	require.Empty(t, brief(provisioning.Planner{}.Plan(provisioning.Goal{Profiles: []*provisioning.Profile{a}}, s, day(2))))
}

func TestWhyAndCommands(t *testing.T) {
	t.Parallel()
	a, b := inHouse(t, "a", 0, 20), inHouse(t, "b", 0, 200)
	goal := provisioning.Goal{Profiles: []*provisioning.Profile{a, b}, Remove: []string{"x"}}
	p := provisioning.Planner{}.Plan(goal, listed(begin, there("a", 20), there("x", 1)), begin)
	require.Equal(t, []provisioning.Step{
		{Action: provisioning.Remove, UUID: "x", Why: "it must not be installed"},
		{Action: provisioning.Install, UUID: "b", Profile: b, Why: "it replaces a, which ends on 2026-03-21"},
	}, p.Steps)
	require.Equal(t, []command.Command{command.RemoveProvisioningProfile{UUID: "x"},
		command.InstallProvisioningProfile{ProvisioningProfile: b.Data}, command.ProvisioningProfileList{}}, p.Commands())
	require.Empty(t, (&provisioning.Plan{}).Commands())
	p = provisioning.Planner{}.Plan(goal, listed(begin, there("a", 20), there("b", 1)), begin)
	require.Equal(t, []provisioning.Warning{{UUID: "b", Text: "it ends on 2026-03-02, and none that is newer is at hand"}}, p.Warnings)
}

func TestStateAsJSON(t *testing.T) {
	t.Parallel()
	s := listed(begin, there("a", 20), provisioning.Installed{UUID: "b"})
	s.Sent(&provisioning.Plan{Steps: []provisioning.Step{{Action: provisioning.Install, UUID: "C"}}, List: true}, day(1))
	s.ListFailed(day(2))
	data, err := json.Marshal(s)
	require.NoError(t, err)
	var back provisioning.State
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, s, back)
}
