package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/plan"
)

// brief returns steps and drift in a line: "+" installs, "-" removes, "!" is drift that is not planned.
func brief(p *plan.Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, map[plan.Action]string{plan.Install: "+", plan.Remove: "-"}[s.Action]+s.Identifier)
	}
	for _, d := range p.Drift {
		if !d.Planned {
			out = append(out, fmt.Sprintf("!%s:%s", d.Identifier, d.Kind))
		}
	}
	return strings.Join(out, " ")
}

var management = plan.Installed{Identifier: "mdm", UUID: "M", Managed: mdm.Yes, Types: []string{profile.TypeSCEP, profile.TypeMDM}}

func has(identifier, uuid string) plan.Installed {
	return plan.Installed{Identifier: identifier, UUID: uuid, Managed: mdm.Yes, Types: []string{profile.TypeWiFi}}
}

func with(i plan.Installed, change func(*plan.Installed)) plan.Installed {
	change(&i)
	return i
}

func list(i ...plan.Installed) []plan.Installed { return i }

func unmanaged(i *plan.Installed)   { i.Managed = mdm.No }
func unsaid(i *plan.Installed)      { i.Managed = mdm.Unsaid }
func declarative(i *plan.Installed) { i.Source = plan.SourceDeclarative }
func unlisted(i *plan.Installed)    { i.Types = nil }

func all(string) bool { return true }

func TestMake(t *testing.T) {
	t.Parallel()
	type desired = []plan.Desired
	owns := plan.Options{Owns: all}
	for name, c := range map[string]struct {
		desired   desired
		installed []plan.Installed
		options   plan.Options
		want      string
	}{
		"nothing":                  {},
		"missing":                  {desired{{Identifier: "a"}}, nil, plan.Options{}, "+a"},
		"current":                  {desired{{Identifier: "a", UUID: "ab-c"}}, list(has("a", "AB-C")), plan.Options{}, ""},
		"any version":              {desired{{Identifier: "a"}}, list(has("a", "1")), plan.Options{}, ""},
		"outdated":                 {desired{{Identifier: "a", UUID: "2"}}, list(has("a", "1")), plan.Options{}, "+a"},
		"outdated, anew":           {desired{{Identifier: "a", UUID: "2", Recreate: true}}, list(has("a", "1")), plan.Options{}, "-a +a"},
		"anew takes others along":  {desired{{Identifier: "a", UUID: "2", Recreate: true}, {Identifier: "b", UUID: "1", Requires: []string{"a"}}}, list(has("a", "1"), has("b", "1")), plan.Options{}, "-b -a +a +b"},
		"current is not made anew": {desired{{Identifier: "a", UUID: "2", Recreate: true}}, list(has("a", "2")), plan.Options{}, ""},
		"trust, restrictions, capabilities": {desired{{Identifier: "a", Weight: plan.Capability}, {Identifier: "b"}, {Identifier: "d", Weight: plan.Restriction},
			{Identifier: "e", Weight: plan.Trust}, {Identifier: "c", Weight: plan.Restriction}}, nil, plan.Options{}, "+e +c +d +b +a"},
		"what is required goes first":        {desired{{Identifier: "a", Requires: []string{"c"}}, {Identifier: "b"}, {Identifier: "c", Weight: plan.Capability}}, nil, plan.Options{}, "+c +a +b"},
		"what is required goes by weight":    {desired{{Identifier: "a", Weight: -1, Requires: []string{"b", "c"}}, {Identifier: "b", Weight: plan.Capability}, {Identifier: "c"}}, nil, plan.Options{}, "+c +b +a"},
		"a conflict told from both ends":     {desired{{Identifier: "a", Conflicts: []string{"b"}}, {Identifier: "b", Absent: true, Conflicts: []string{"a"}}}, list(has("a", "1"), with(has("b", "1"), unmanaged)), plan.Options{}, "!a:conflicting !b:unmanaged"},
		"unsaid, any version":                {desired{{Identifier: "a", UUID: "2", Recreate: true}, {Identifier: "b", Requires: []string{"a"}}}, list(has("a", "1"), with(has("b", "1"), unsaid)), plan.Options{}, "!a:outdated !b:unmet"},
		"removals in reverse":                {desired{{Identifier: "account", Absent: true, Requires: []string{"passcode"}}, {Identifier: "passcode", Absent: true}}, list(has("account", "1"), has("passcode", "1")), plan.Options{}, "-account -passcode"},
		"what goes, goes last":               {desired{{Identifier: "new"}}, list(has("old", "1")), owns, "+new -old"},
		"a conflict goes first":              {desired{{Identifier: "new", Conflicts: []string{"old"}}, {Identifier: "x"}}, list(has("old", "1")), owns, "-old +new +x"},
		"a conflict that is absent":          {desired{{Identifier: "new", Conflicts: []string{"old"}}, {Identifier: "old", Absent: true}}, list(has("old", "1")), plan.Options{}, "-old +new"},
		"a conflict told from the other end": {desired{{Identifier: "new"}, {Identifier: "old", Absent: true, Conflicts: []string{"new"}}}, list(has("old", "1")), plan.Options{}, "-old +new"},
		"a conflict of somebody else": {desired{{Identifier: "a", Conflicts: []string{"b"}}, {Identifier: "c", Requires: []string{"a"}}}, list(has("b", "1")), plan.Options{},
			"!a:missing !b:unexpected !c:missing"},
		"a conflict that is there": {desired{{Identifier: "a", Conflicts: []string{"b"}}}, list(has("a", "1"), has("b", "1")), plan.Options{}, "!a:conflicting !b:unexpected"},
		"nobody's":                 {nil, list(has("a", "1")), plan.Options{}, "!a:unexpected"},
		"ours":                     {nil, list(has("a", "1")), owns, "-a"},
		"under our domain":         {nil, list(has("org.x", "1"), has("org.x.a", "1"), has("org.xy", "1")), plan.Options{Owns: plan.Under("", "org.x")}, "-org.x.a -org.x !org.xy:unexpected"},
		"the user's own":           {nil, list(with(has("a", "1"), unmanaged), with(has("b", "1"), unsaid)), plan.Options{}, ""},
		"absent wins over Owns":    {desired{{Identifier: "a", Absent: true}}, list(has("a", "1")), plan.Options{}, "-a"},
		"absent and not there":     {desired{{Identifier: "a", Absent: true}}, nil, plan.Options{}, ""},

		"unmanaged is not replaced": {desired{{Identifier: "a", UUID: "2"}}, list(with(has("a", "1"), unmanaged)), plan.Options{}, "!a:unmanaged"},
		"unmanaged is not removed":  {nil, list(with(has("a", "1"), unmanaged)), owns, "!a:unmanaged"},
		"unmanaged cannot be relied on": {desired{{Identifier: "a", UUID: "1"}, {Identifier: "b", Requires: []string{"a"}}}, list(with(has("a", "1"), unmanaged)), plan.Options{},
			"!a:unmanaged !b:missing"},
		"unmet": {desired{{Identifier: "a", UUID: "1"}, {Identifier: "b", Requires: []string{"a"}}}, list(with(has("a", "1"), unmanaged), has("b", "1")), plan.Options{},
			"!a:unmanaged !b:unmet"},
		"unmanaged but supervised":    {desired{{Identifier: "a", UUID: "2"}}, list(with(has("a", "1"), unmanaged), with(has("b", "1"), unmanaged)), plan.Options{Supervised: true, Owns: all}, "+a -b"},
		"unsaid is not replaced":      {desired{{Identifier: "a", UUID: "2"}}, list(with(has("a", "1"), unsaid)), plan.Options{}, "!a:unmanaged"},
		"unsaid but supervised":       {desired{{Identifier: "a", UUID: "2"}}, list(with(has("a", "1"), unsaid)), plan.Options{Supervised: true}, "+a"},
		"unsaid in a list of managed": {desired{{Identifier: "a", UUID: "2"}}, list(with(has("a", "1"), unsaid), with(has("b", "1"), unsaid)), plan.Options{ManagedOnly: true}, "+a !b:unexpected"},
		"unsaid but current":          {desired{{Identifier: "a", UUID: "2"}, {Identifier: "b", Requires: []string{"a"}}}, list(with(has("a", "2"), unsaid)), plan.Options{}, "+b"},
		"declarative is not replaced": {desired{{Identifier: "a", UUID: "2"}}, list(with(has("a", "1"), declarative)), plan.Options{Supervised: true}, "!a:foreign"},
		"declarative will do":         {desired{{Identifier: "a"}, {Identifier: "b", Requires: []string{"a"}}}, list(with(has("a", "1"), declarative)), plan.Options{}, "+b !a:foreign"},
		"declarative is not removed":  {desired{{Identifier: "a", Absent: true}}, list(with(has("a", "1"), declarative), with(has("b", "1"), declarative)), owns, "!a:foreign"},

		"the management stays":             {desired{{Identifier: "mdm", Absent: true}}, nil, plan.Options{Owns: all, Supervised: true}, "!mdm:protected"},
		"the management is no drift":       {nil, nil, plan.Options{Owns: all, Supervised: true}, ""},
		"the management is not replaced":   {desired{{Identifier: "mdm", UUID: "2", Recreate: true}}, nil, plan.Options{Supervised: true}, "!mdm:protected"},
		"the management is not installed":  {desired{{Identifier: "p"}}, nil, plan.Options{Protected: []string{"p"}}, "!p:protected"},
		"protected by name":                {nil, list(has("p", "1")), plan.Options{Owns: all, Protected: []string{"p"}}, ""},
		"protected gives way to nobody":    {desired{{Identifier: "a", Conflicts: []string{"mdm"}}}, nil, owns, "!a:missing"},
		"listed without its payloads":      {nil, list(with(has("a", "1"), unlisted)), owns, "-a"},
		"twice, in the version wanted":     {desired{{Identifier: "a", UUID: "2"}}, list(has("a", "1"), has("a", "2")), plan.Options{}, "!a:duplicate"},
		"twice, one unmanaged":             {nil, list(has("a", "1"), with(has("a", "2"), unmanaged)), owns, "!a:duplicate !a:unmanaged"},
		"twice, the first unmanaged":       {nil, list(with(has("a", "1"), unmanaged), has("a", "2")), owns, "!a:duplicate !a:unmanaged"},
		"twice, one unsaid":                {nil, list(has("a", "1"), with(has("a", "2"), unsaid)), owns, "!a:duplicate !a:unmanaged"},
		"twice, one unmanaged, one unsaid": {nil, list(with(has("a", "1"), unsaid), with(has("a", "2"), unmanaged)), plan.Options{Owns: all, ManagedOnly: true}, "!a:duplicate !a:unmanaged"},
		"twice, one declarative":           {desired{{Identifier: "a", UUID: "2"}}, list(has("a", "1"), with(has("a", "3"), declarative)), owns, "!a:duplicate !a:foreign"},
		"twice, one with the management":   {nil, list(has("a", "1"), with(management, func(i *plan.Installed) { i.Identifier = "a" })), owns, ""},
		"elsewhere":                        {desired{{Identifier: "a"}}, list(has("a", "1")), plan.Options{Elsewhere: list(has("a", "1"), has("b", "1"))}, "!a:elsewhere"},
		"an item without an identifier":    {nil, list(has("", "1")), owns, ""},
		"removal held up by what requires": {desired{{Identifier: "a", Absent: true}, {Identifier: "b", Absent: true, Requires: []string{"a"}}}, list(has("a", "1"), with(has("b", "1"), unmanaged)), plan.Options{}, "!a:unexpected !b:unmanaged"},
		"anew held up by what requires":    {desired{{Identifier: "a", UUID: "2", Recreate: true}, {Identifier: "b", Requires: []string{"a"}}}, list(has("a", "1"), with(has("b", "1"), declarative)), plan.Options{}, "!a:outdated !b:foreign"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := plan.Make(c.desired, append(c.installed, management), c.options)
			require.NoError(t, err)
			assert.Equal(t, c.want, brief(p))
		})
	}
}

// TestUnknownManagement: where no profile is known as that of the management, any whose payloads are not listed may be it.
func TestUnknownManagement(t *testing.T) {
	t.Parallel()
	installed := list(with(has("a", "1"), unlisted), has("b", "1"))
	p, err := plan.Make(nil, installed, plan.Options{Owns: all, Supervised: true})
	require.NoError(t, err)
	require.Equal(t, "-b !a:unexpected", brief(p))
	p, err = plan.Make(nil, list(has("a", "1"), with(has("a", "1"), unlisted)), plan.Options{Owns: all})
	require.NoError(t, err)
	require.Equal(t, "!a:duplicate !a:unexpected", brief(p))
	p, err = plan.Make([]plan.Desired{{Identifier: "a", UUID: "2", Recreate: true}}, installed, plan.Options{})
	require.NoError(t, err)
	require.Equal(t, "!a:outdated !b:unexpected", brief(p))
	p, err = plan.Make(nil, installed, plan.Options{Owns: all, Protected: []string{"mdm"}})
	require.NoError(t, err)
	require.Equal(t, "-b -a", brief(p))
	p, err = plan.Make(nil, append(installed, has("vpn", "1")), plan.Options{Owns: all, Protected: []string{"vpn"}})
	require.NoError(t, err)
	require.Equal(t, "-b !a:unexpected", brief(p), "what is protected is seen not to be the management")
}

func TestMakeRefuses(t *testing.T) {
	t.Parallel()
	for want, desired := range map[string][]plan.Desired{
		"without an identifier":                    {{}},
		"a is desired twice":                       {{Identifier: "a"}, {Identifier: "a", Absent: true}},
		"a requires b, which is not in the list":   {{Identifier: "a", Requires: []string{"b"}}},
		"a requires b, which must be absent":       {{Identifier: "a", Requires: []string{"b"}}, {Identifier: "b", Absent: true}},
		"a conflicts with b, and both are desired": {{Identifier: "a", Conflicts: []string{"b"}}, {Identifier: "b"}},
		"a conflicts with itself":                  {{Identifier: "a", Conflicts: []string{"a"}}},
		"require each other: a → a":                {{Identifier: "a", Requires: []string{"a"}}},
		"require each other: b → c → d → b": {{Identifier: "a", Requires: []string{"b"}}, {Identifier: "b", Requires: []string{"c"}},
			{Identifier: "c", Requires: []string{"d", "e"}}, {Identifier: "d", Requires: []string{"b"}}, {Identifier: "e"}},
		"more than": make([]plan.Desired, plan.Max+1),
	} {
		_, err := plan.Make(desired, nil, plan.Options{})
		require.ErrorContains(t, err, want)
		require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
	_, err := plan.Make(nil, make([]plan.Installed, plan.Max+1), plan.Options{})
	require.ErrorContains(t, err, "more than")
}

func TestTexts(t *testing.T) {
	t.Parallel()
	p, err := plan.Make([]plan.Desired{
		{Identifier: "a", UUID: "2", Recreate: true},
		{Identifier: "b", UUID: "1", Requires: []string{"a"}},
		{Identifier: "c", Conflicts: []string{"x"}},
		{Identifier: "d", Requires: []string{"c"}},
		{Identifier: "e", Conflicts: []string{"y"}},
	}, list(has("a", "1"), has("b", "1"), has("x", "1"), has("y", "1"), management), plan.Options{Owns: plan.Under("y")})
	require.NoError(t, err)
	require.Equal(t, []plan.Step{
		{Action: plan.Remove, Identifier: "b", Why: "it requires a, which is made anew", Blocks: []int{1, 3}},
		{Action: plan.Remove, Identifier: "a", Why: "version 1 is installed, 2 is wanted; it is to be made anew", Blocks: []int{2}},
		{Action: plan.Install, Identifier: "a", UUID: "2", Why: "version 1 is installed, 2 is wanted; it is to be made anew", Blocks: []int{3}},
		{Action: plan.Install, Identifier: "b", UUID: "1", Why: "it requires a, which is made anew"},
		{Action: plan.Remove, Identifier: "y", Why: "it is not wanted", Blocks: []int{5}},
		{Action: plan.Install, Identifier: "e", Why: "it is not installed"},
	}, p.Steps)
	require.Equal(t, []plan.Drift{
		{plan.Outdated, "a", true, "version 1 is installed, 2 is wanted"},
		{plan.Missing, "c", false, "it is not installed: it conflicts with x, which stays: it is not this server's"},
		{plan.Missing, "d", false, "it is not installed: it requires c, which cannot be installed"},
		{plan.Missing, "e", true, "it is not installed"},
		{plan.Unexpected, "x", false, "it is not desired, and not this server's"},
		{plan.Unexpected, "y", true, "it is not wanted"},
	}, p.Drift)
}

// BenchmarkMake plans a thousand profiles: half of them outdated or missing, a quarter to be removed.
func BenchmarkMake(b *testing.B) {
	var desired []plan.Desired
	installed := list(management)
	for i := range 1000 {
		d := plan.Desired{Identifier: fmt.Sprint("org.x.", i), UUID: "2", Absent: i%4 == 3, Recreate: i%10 == 0}
		for j := i - 4; j >= 0 && j > i-40; j -= 4 {
			if j%4 != 3 || d.Absent {
				d.Requires = append(d.Requires, fmt.Sprint("org.x.", j))
			}
		}
		desired = append(desired, d)
		if i%3 > 0 {
			installed = append(installed, has(d.Identifier, fmt.Sprint(i%3)))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if p, err := plan.Make(desired, installed, plan.Options{}); err != nil || len(p.Steps) < 500 {
			b.Fatal(err)
		}
	}
}
