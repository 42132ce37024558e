package ddm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
)

// echo is a configuration.
func echo(identifier, text string) ddm.Declaration {
	return ddm.Declaration{Identifier: identifier, Payload: &ddm.ManagementTest{Echo: text}}
}

func activates(identifier string, configurations ...string) ddm.Declaration {
	return ddm.Declaration{Identifier: identifier, Payload: &ddm.ActivationSimple{StandardConfigurations: configurations}}
}

func set(t *testing.T, list ...ddm.Declaration) *ddm.Set {
	t.Helper()
	s, err := ddm.NewSet(list)
	require.NoError(t, err)
	return s
}

// TestTokens: a token is another one exactly when a device has to do something.
func TestTokens(t *testing.T) {
	base := []ddm.Declaration{echo("a", "1"), echo("b", "2"), activates("on", "a", "b")}
	token := set(t, base...).Token()
	backwards := slices.Clone(base)
	slices.Reverse(backwards)
	assert.Equal(t, token, set(t, backwards...).Token(), "the order says nothing")
	assert.NotEmpty(t, set(t).Token())
	assert.LessOrEqual(t, len(token), 256, "Apple's limit")
	seen := map[string]string{token: "base", set(t).Token(): "empty"}
	for name, list := range map[string][]ddm.Declaration{
		"content":    {echo("a", "1"), echo("b", "3"), activates("on", "a", "b")},
		"identifier": {echo("a", "1"), echo("c", "2"), activates("on", "a", "c")},
		"one less":   {echo("a", "1"), activates("on", "a")},
		"predicate":  {echo("a", "1"), echo("b", "2"), {Identifier: "on", Payload: &ddm.ActivationSimple{StandardConfigurations: []string{"a", "b"}, Predicate: new("FALSEPREDICATE")}}},
		"own token":  {{Identifier: "a", ServerToken: "mine", Payload: &ddm.ManagementTest{Echo: "1"}}, echo("b", "2"), activates("on", "a", "b")},
		"extra":      {{Identifier: "a", Payload: &ddm.ManagementTest{Echo: "1"}, Extra: map[string]any{"X": "y"}}, echo("b", "2"), activates("on", "a", "b")},
		"joined":     {{Identifier: "ab", ServerToken: "c", Payload: &ddm.ManagementTest{Echo: "1"}}},
		"split":      {{Identifier: "a", ServerToken: "bc", Payload: &ddm.ManagementTest{Echo: "1"}}},
	} {
		s := set(t, list...)
		assert.Empty(t, seen[s.Token()], name)
		seen[s.Token()] = name
		assert.Equal(t, s.Token(), set(t, s.Declarations()...).Token(), "%s: it is the same with its server tokens", name)
	}
	typed := set(t, echo("a", "1"))
	raw := set(t, ddm.Declaration{Identifier: "a", Payload: &ddm.Raw{Type: ddm.TypeManagementTest, Values: map[string]any{"Echo": "1"}}})
	assert.Equal(t, typed.Token(), raw.Token(), "what counts is what the device reads")
	a, b := set(t, echo("a", "1")).Declarations()[0], set(t, echo("b", "1")).Declarations()[0]
	assert.Equal(t, a.ServerToken, b.ServerToken)
	assert.LessOrEqual(t, len(a.ServerToken), ddm.MaxIdentifier)
}

func TestItems(t *testing.T) {
	s := set(t, activates("on", "c"), echo("c", "1"),
		ddm.Declaration{Identifier: "who", Payload: &ddm.ManagementOrganizationInfo{Name: "Example"}},
		ddm.Declaration{Identifier: "file", Payload: &ddm.AssetData{Reference: ddm.AssetDataReference{DataURL: "https://example.com/x"}}})
	items := s.Items()
	for kind, list := range map[string][]ddm.DeclarationItemsResponseDeclarationItem{"on": items.Declarations.Activations, "c": items.Declarations.Configurations,
		"who": items.Declarations.Management, "file": items.Declarations.Assets} {
		require.Len(t, list, 1, kind)
		assert.Equal(t, kind, list[0].Identifier)
	}
	assert.Equal(t, s.Token(), items.DeclarationsToken)
	empty, err := json.Marshal(set(t).Items())
	require.NoError(t, err)
	assert.Contains(t, string(empty), `"Declarations":{"Activations":[],"Assets":[],"Configurations":[],"Management":[]}`)
}

func TestCheck(t *testing.T) {
	asset := func(id string, p ddm.Payload) ddm.Declaration { return ddm.Declaration{Identifier: id, Payload: p} }
	data := &ddm.AssetData{Reference: ddm.AssetDataReference{DataURL: "https://example.com/x"}}
	mail := func(password string) ddm.Declaration {
		return ddm.Declaration{Identifier: "cal", Payload: &ddm.AccountCalDAV{HostName: "h", AuthenticationCredentialsAssetReference: new(password)}}
	}
	password := &ddm.AssetCredentialUserPassword{Reference: ddm.AssetCredentialUserPasswordReference{DataURL: "https://example.com/p"}}
	long := strings.Repeat("x", ddm.MaxIdentifier)
	for name, tt := range map[string]struct {
		list []ddm.Declaration
		want string // rule identifier>reference
	}{
		"nothing":                  {nil, ""},
		"activation":               {[]ddm.Declaration{echo("c", ""), activates("a", "c")}, ""},
		"longest":                  {[]ddm.Declaration{{Identifier: long, ServerToken: long, Payload: &ddm.ManagementTest{}}}, ""},
		"missing configuration":    {[]ddm.Declaration{echo("c", ""), activates("a", "c", "d")}, "missing a>d"},
		"activates an activation":  {[]ddm.Declaration{activates("a", "b"), activates("b")}, "kind a>b"},
		"asset":                    {[]ddm.Declaration{mail("p"), asset("p", password)}, ""},
		"empty asset":              {[]ddm.Declaration{mail("")}, ""},
		"missing asset":            {[]ddm.Declaration{mail("p")}, "missing cal>p"},
		"asset of another type":    {[]ddm.Declaration{mail("p"), asset("p", data)}, "kind cal>p"},
		"asset not of this schema": {[]ddm.Declaration{mail("p"), asset("p", &ddm.Raw{Type: "com.apple.asset.credential.new"})}, ""},
		"a configuration as asset": {[]ddm.Declaration{mail("p"), echo("p", "")}, "kind cal>p"},
		"list of assets": {[]ddm.Declaration{{Identifier: "w", Payload: &ddm.WatchEnrollment{EnrollmentProfileURL: "https://example.com",
			AnchorCertificateAssetReferences: []string{"root"}}}}, "missing w>root"},
		"asset deep inside": {[]ddm.Declaration{{Identifier: "r", Payload: &ddm.Raw{Type: "com.apple.configuration.new",
			Values: map[string]any{"List": []any{map[string]any{"In": map[string]any{"NewAssetReference": "deep"}}}}}}}, "missing r>deep"},
		"twice":                 {[]ddm.Declaration{echo("c", ""), echo("c", "")}, "twice c>"},
		"twice, another kind":   {[]ddm.Declaration{echo("c", ""), activates("c", "c"), echo("c", "")}, "twice c>"},
		"no identifier":         {[]ddm.Declaration{echo("", "")}, "identifier >"},
		"long identifier":       {[]ddm.Declaration{echo(long+"x", "")}, "identifier " + long + "x>"},
		"slash":                 {[]ddm.Declaration{echo("a/b", "")}, "identifier a/b>"},
		"space":                 {[]ddm.Declaration{echo("a b", "")}, "identifier a b>"},
		"not ASCII":             {[]ddm.Declaration{echo("ä", "")}, "identifier ä>"},
		"long token":            {[]ddm.Declaration{{Identifier: "c", ServerToken: long + "x", Payload: &ddm.ManagementTest{}}}, "identifier c>"},
		"no payload":            {[]ddm.Declaration{{Identifier: "c"}}, "payload c>"},
		"nil payload":           {[]ddm.Declaration{{Identifier: "c", Payload: (*ddm.ManagementTest)(nil)}}, "payload c>"},
		"unwritable":            {[]ddm.Declaration{{Identifier: "c", Payload: &ddm.Raw{Type: ddm.TypeManagementTest, Values: map[string]any{"f": func() {}}}}}, "payload c>"},
		"no kind":               {[]ddm.Declaration{{Identifier: "c", Payload: &ddm.Raw{Type: "com.apple.thing.x"}}}, "type c>"},
		"somebody else's type":  {[]ddm.Declaration{{Identifier: "c", Payload: &ddm.Raw{Type: "com.example.configuration.x"}}}, "type c>"},
		"a declaration of 2 MB": {[]ddm.Declaration{echo("c", strings.Repeat("x", 2<<20))}, "too-large c>"},
		"too many":              {make([]ddm.Declaration, ddm.MaxDeclarations+1), "too-many >"},
	} {
		err := ddm.Check(tt.list)
		if tt.want == "" {
			assert.NoError(t, err, name)
			continue
		}
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		var wrong *ddm.SetError
		if assert.True(t, errors.As(err, &wrong), name) && assert.Len(t, wrong.Problems, 1, name) {
			p := wrong.Problems[0]
			assert.Equal(t, tt.want, fmt.Sprintf("%s %s>%s", p.Rule, p.Identifier, p.Reference), name)
			assert.NotEmpty(t, p.String())
		}
	}
	var big []ddm.Declaration
	for i := range 12 {
		big = append(big, echo(fmt.Sprint("c", i), strings.Repeat("x", 1000_000)))
	}
	assert.ErrorContains(t, ddm.Check(big), "too large")
	assert.ErrorContains(t, ddm.Check([]ddm.Declaration{activates("a", "1", "2", "3", "4", "5", "6", "7")}), "and 2 more")
}

func TestKindOf(t *testing.T) {
	for _, declarationType := range ddm.Types() {
		assert.NotEmpty(t, ddm.KindOf(declarationType), declarationType)
	}
	for _, none := range []string{"", "com.apple.", "com.apple.configuration", "com.apple.configuration.", "com.apple.Asset.x", "configuration.x"} {
		assert.Empty(t, ddm.KindOf(none), none)
	}
}
