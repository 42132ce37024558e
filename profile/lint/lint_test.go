package lint_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/lint"
)

// now is when the fixtures are looked at.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// expectation is the file "want" of a rule: how the linter is set, and where the bad fixtures are bad.
type expectation struct {
	linter lint.Linter
	paths  map[string]string // fixture → path; "-" is the whole
}

func readWant(t *testing.T, rule string) expectation {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", rule, "want"))
	require.NoError(t, err, "the rule %s has no fixtures", rule)
	e := expectation{linter: lint.Linter{Now: now}, paths: map[string]string{}}
	to := &e.linter.Target
	yes := map[string]schema.Bool{"yes": schema.True, "no": schema.False}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, ok, line)
		switch key {
		case "platform":
			to.Platform = schema.Platform(value)
		case "os":
			to.OSVersion = value
		case "supervised":
			to.Supervised = yes[value]
		case "approved":
			to.UserApproved = yes[value]
		case "shared":
			to.SharedIPad = yes[value]
		case "channel":
			to.Channel = map[string]mdm.Channel{"device": mdm.DeviceChannel, "user-enrollment": mdm.UserEnrollmentChannel}[value]
		case "topic":
			e.linter.Topic = value
		case "proxy":
			e.linter.Proxies = []string{value}
		default:
			e.paths[key] = value
		}
	}
	return e
}

func parseFile(t *testing.T, name string) *profile.Profile {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err, name)
	return parsed.Profile
}

func parseDir(t *testing.T, dir string) []*profile.Profile {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.mobileconfig"))
	require.NoError(t, err)
	require.NotEmpty(t, files, dir)
	var out []*profile.Profile
	for _, name := range files {
		out = append(out, parseFile(t, name))
	}
	return out
}

// examine checks a fixture in the way that fits its rule.
func examine(t *testing.T, l lint.Linter, rule lint.Rule, name string) lint.Findings {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	if !info.IsDir() {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		return l.CheckBytes(data)
	}
	switch rule.Scope {
	case lint.ScopeUpdate:
		return l.CheckUpdate(parseFile(t, filepath.Join(name, "old.mobileconfig")), parseFile(t, filepath.Join(name, "new.mobileconfig")))
	case lint.ScopeFleet:
		devices := map[string][]*profile.Profile{}
		dirs, err := os.ReadDir(name)
		require.NoError(t, err)
		for _, dir := range dirs {
			devices[dir.Name()] = parseDir(t, filepath.Join(name, dir.Name()))
		}
		return l.CheckFleet(devices)
	}
	return l.CheckSet(parseDir(t, name)...)
}

// Every rule has a fixture that breaks it, where it says, and one that does not; and can be switched off.
func TestEveryRuleHasItsFixtures(t *testing.T) {
	for _, rule := range lint.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			want := readWant(t, rule.Name)
			entries, err := os.ReadDir(filepath.Join("testdata", rule.Name))
			require.NoError(t, err)
			seen := map[bool]int{}
			for _, entry := range entries {
				if entry.Name() == "want" {
					continue
				}
				isBad := strings.HasPrefix(entry.Name(), "bad")
				require.True(t, isBad || strings.HasPrefix(entry.Name(), "good"), entry.Name())
				seen[isBad]++
				name := filepath.Join("testdata", rule.Name, entry.Name())
				var paths []string
				for _, f := range examine(t, want.linter, rule, name) {
					if f.Rule == rule.Name {
						paths = append(paths, f.Path)
						assert.NotEmpty(t, f.Text)
						assert.LessOrEqual(t, f.Severity, rule.Severity)
						assert.Equal(t, []string{rule.Why, rule.Fix}, []string{f.Why, f.Fix})
					}
				}
				if !isBad {
					assert.Empty(t, paths, name)
					assert.NotContains(t, want.paths, entry.Name())
					continue
				}
				require.Contains(t, want.paths, entry.Name())
				assert.Contains(t, paths, strings.TrimPrefix(want.paths[entry.Name()], "-"), name)
				off := want.linter
				off.Disable = []string{rule.Name}
				for _, f := range examine(t, off, rule, name) {
					assert.NotEqual(t, rule.Name, f.Rule)
				}
				only := want.linter
				only.Only = []string{rule.Name}
				only.Severity = map[string]lint.Severity{rule.Name: lint.Info}
				for _, f := range examine(t, only, rule, name) {
					assert.Equal(t, rule.Name, f.Rule)
					assert.Equal(t, lint.Info, f.Severity)
				}
			}
			assert.Positive(t, seen[true], "no fixture breaks the rule")
			assert.Positive(t, seen[false], "no fixture keeps the rule")
			assert.Len(t, want.paths, seen[true])
		})
	}
}

func TestRulesAreDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range lint.Rules() {
		assert.False(t, seen[r.Name], r.Name)
		seen[r.Name] = true
		for _, text := range []string{r.Title, r.Why, r.Fix} {
			assert.True(t, strings.HasSuffix(text, "."), "%s: %q is no sentence", r.Name, text)
		}
		assert.NotEmpty(t, r.Source, r.Name)
		assert.NotZero(t, r.Severity, r.Name)
		assert.Contains(t, []lint.Scope{lint.ScopeFile, lint.ScopeProfile, lint.ScopeSet, lint.ScopeFleet, lint.ScopeUpdate}, r.Scope)
		found, ok := lint.RuleNamed(r.Name)
		assert.True(t, ok)
		assert.Equal(t, r, found)
	}
	_, ok := lint.RuleNamed("no-such-rule")
	assert.False(t, ok)
	dirs, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, dir := range dirs {
		if dir.Name() != "fuzz" {
			assert.True(t, seen[dir.Name()], "fixtures of a rule that is not: %s", dir.Name())
		}
	}
}

// A rule of the schema that profiles can break is in the catalogue. Access rights are asked of commands only.
func TestEveryRuleOfTheSchemaIsInTheCatalogue(t *testing.T) {
	for bit := schema.Rules(1); bit <= schema.AllRules; bit <<= 1 {
		_, ok := lint.RuleNamed("schema-" + bit.String())
		assert.Equal(t, bit != schema.RuleRights, ok, bit.String())
	}
	for _, kind := range profile.PayloadTypes() {
		for _, p := range profile.New(kind) {
			support := p.(interface{ Schema() *schema.Object }).Schema().Support
			for _, platform := range schema.Platforms() {
				if os := support.On(platform); os != nil {
					assert.Zero(t, schema.Right(os.Rights), kind)
				}
			}
		}
	}
}

// ruleLiteral is the name of a rule, as the second argument of a call.
var ruleLiteral = regexp.MustCompile(`, "([a-z0-9-]+)"`)

// What package profile says is wrong has the name of a rule here.
func TestEveryProblemIsInTheCatalogue(t *testing.T) {
	for _, file := range []string{"../validate.go", "../update.go"} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		names := 0
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, ".add(") && !strings.Contains(line, ".same(") {
				continue
			}
			if m := ruleLiteral.FindStringSubmatch(line); m != nil {
				_, ok := lint.RuleNamed(m[1])
				assert.True(t, ok, "%s says %q", file, m[1])
				names++
			}
		}
		assert.Greater(t, names, 8, file)
	}
}

// What the library builds has nothing to be warned of.
func TestGoodProfilesAreClean(t *testing.T) {
	l := lint.Linter{Now: now, Only: nil}
	for _, name := range []string{"topic/good.mobileconfig", "pairing/good.mobileconfig", "signature/good.mobileconfig"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		for _, f := range l.CheckBytes(data) {
			assert.Equal(t, lint.Info, f.Severity, "%s: %s", name, f)
		}
	}
}

func TestKindAndExceptions(t *testing.T) {
	p := parseFile(t, "testdata/topic/good.mobileconfig")
	p.Payloads = slices.Insert(p.Payloads, 0, profile.Payload(&profile.WiFi{SSIDStr: new("Office")}))
	rules := func(l lint.Linter, p *profile.Profile) (out []string) {
		l.Now = now
		for _, f := range l.Check(p) {
			out = append(out, f.Rule)
		}
		return out
	}
	assert.Contains(t, rules(lint.Linter{}, p), "basics-only")
	assert.NotContains(t, rules(lint.Linter{InitialAlso: []string{profile.TypeWiFi}}, p), "basics-only")
	assert.NotContains(t, rules(lint.Linter{Kind: lint.Managed}, p), "basics-only")
	plain := managed(wifi())
	assert.NotContains(t, rules(lint.Linter{}, plain), "one-mdm")
	assert.Contains(t, rules(lint.Linter{Kind: lint.Initial}, plain), "one-mdm")

	secret := managed(&profile.PKCS12{PayloadContent: []byte{1}, Password: mdm.SecretString("s3cret")})
	assert.Contains(t, rules(lint.Linter{}, secret), "password-clear")
	assert.NotContains(t, rules(lint.Linter{Encrypted: true}, secret), "password-clear")
}

func TestPayloadsThatCannotBeEncoded(t *testing.T) {
	var nothing *profile.MDM
	for _, payload := range []profile.Payload{nil, nothing, &profile.Raw{}} {
		found := lint.Linter{}.CheckSet(managed(payload), managed(wifi()))
		if _, isRaw := payload.(*profile.Raw); !isRaw {
			require.NotEmpty(t, found)
			assert.Equal(t, "malformed", found[0].Rule)
			assert.Equal(t, "PayloadContent[0]", found[0].Path)
		}
		lint.Linter{}.CheckUpdate(managed(payload), managed(payload))
		lint.Linter{}.CheckFleet(map[string][]*profile.Profile{"a": {managed(payload)}})
	}
}

func TestFindingsHoldNoSecrets(t *testing.T) {
	const secret = "Tr0ub4dor${x}"
	s := mdm.SecretString(secret)
	p := managed(&profile.PKCS12{Password: s}, &profile.ProfileRemovalPassword{RemovalPassword: s}, &profile.Mail{IncomingPassword: s, OutgoingPassword: s},
		&profile.SCEP{PayloadContent: profile.SCEPContent{Challenge: s}}, &profile.CalDAV{CalDAVPassword: s}, &profile.Raw{Type: profile.TypeWiFi, Values: map[string]any{"Password": 1, "x": secret}})
	found := lint.Linter{}.Check(p)
	found = append(found, lint.Linter{}.CheckFleet(map[string][]*profile.Profile{"a": {p}, "b": {p}})...)
	assert.Greater(t, len(found), 10)
	for _, f := range found {
		for _, text := range []string{f.Text, f.Path, f.String()} {
			assert.NotContains(t, text, "Tr0ub4dor")
		}
	}
	assert.Equal(t, lint.Error, found.Worst())
	assert.Zero(t, lint.Findings(nil).Worst())
}

func TestSeverityText(t *testing.T) {
	var s lint.Severity
	require.NoError(t, s.UnmarshalText([]byte("warning")))
	assert.Equal(t, lint.Warning, s)
	require.Error(t, s.UnmarshalText([]byte("bad")))
	assert.Equal(t, "none", lint.Severity(77).String())
}

func FuzzCheckBytes(f *testing.F) {
	names, err := filepath.Glob("testdata/*/*.mobileconfig")
	require.NoError(f, err)
	require.NotEmpty(f, names)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	l := lint.Linter{Now: now, Target: schema.Target{Platform: schema.IOS, OSVersion: "18.0"}}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, finding := range l.CheckBytes(data) {
			rule, ok := lint.RuleNamed(finding.Rule)
			require.True(t, ok, finding.Rule)
			require.LessOrEqual(t, finding.Severity, rule.Severity)
		}
		if parsed, err := profile.Parse(data); err == nil {
			l.CheckUpdate(parsed.Profile, parsed.Profile)
			if parts, err := profile.Split(parsed.Profile); err == nil {
				for _, part := range parts {
					_, _ = part.Encode()
				}
			}
		}
	})
}
