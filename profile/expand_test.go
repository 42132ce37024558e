package profile_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// hostile is text that would break out of XML.
const hostile = "</string><true/>&amp;<![CDATA[x]]> \"'\n\t\r ${other} $${x} ]]>"

func TestExpandTypedPayloads(t *testing.T) {
	t.Parallel()
	wifi := &profile.WiFi{SSIDStr: new("${ssid}"), Password: mdm.SecretString("${password}"),
		EAPClientConfiguration: &profile.WiFiEAPClientConfiguration{UserName: new("${user}@example.com"), UserPassword: mdm.SecretString("a${password}b")},
		Extra:                  map[string]any{"HIDDEN_NETWORK": "${hidden}"}}
	p := &profile.Profile{Identifier: "com.example.${user}", DisplayName: "For ${user}", ConsentText: map[string]string{"default": "Agree, ${user}?"},
		Extra: map[string]any{"TargetDeviceType": "${kind}", "RemovalDate": "${end}"}, Payloads: []profile.Payload{wifi, profile.WiFi{SSIDStr: new("${ssid}")}}}
	before, err := p.Encode()
	require.NoError(t, err)
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	out, err := p.Expand(map[string]any{"ssid": hostile, "password": mdm.SecretString("s<>&"), "user": "jo", "hidden": true, "kind": 5, "end": end, "unused": 1})
	require.NoError(t, err)
	got := out.Payloads[0].(*profile.WiFi)
	assert.Equal(t, hostile, *got.SSIDStr, "and it is not expanded again")
	assert.Equal(t, "s<>&", string(got.Password.Reveal()))
	assert.Equal(t, "as<>&b", string(got.EAPClientConfiguration.UserPassword.Reveal()))
	assert.Equal(t, "jo@example.com", *got.EAPClientConfiguration.UserName)
	assert.True(t, *got.HiddenNetwork, "into its field")
	assert.Empty(t, got.Extra)
	assert.Equal(t, hostile, *out.Payloads[1].(profile.WiFi).SSIDStr)
	assert.Equal(t, &profile.Profile{Identifier: "com.example.jo", DisplayName: "For jo", ConsentText: map[string]string{"default": "Agree, jo?"},
		TargetDeviceType: 5, RemovalDate: end, Payloads: out.Payloads}, out)

	after, err := p.Encode()
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after), "the template stays as it is")
	data, err := out.Encode()
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	assert.Equal(t, hostile, *parsed.Profile.Payloads[0].(*profile.WiFi).SSIDStr)
	assert.Equal(t, profile.UUID("com.example.jo"), parsed.Profile.UUID, "it follows from the new identifier")
	assert.Equal(t, "com.example.jo.com.apple.wifi.managed", parsed.Profile.Payloads[0].(*profile.WiFi).PayloadIdentifier)
}

func TestExpandEveryTypeOfValue(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	type word string
	for name, tt := range map[string]struct{ value, want any }{
		"string":        {"${x}", "${x}"},
		"named string":  {word("w"), "w"},
		"true":          {true, true},
		"int":           {7, uint64(7)},
		"negative":      {int8(-7), int64(-7)},
		"uint16":        {uint16(7), uint64(7)},
		"large":         {uint64(math.MaxUint64), uint64(math.MaxUint64)},
		"float32":       {float32(0.5), 0.5},
		"float64":       {1e300, 1e300},
		"data":          {[]byte{0, 1}, []byte{0, 1}},
		"empty data":    {[]byte{}, []byte{}},
		"named data":    {[3]byte{}, nil},
		"time":          {at, at.UTC()},
		"pointer":       {new("p"), "p"},
		"strings":       {[]string{"a", "${x}"}, []any{"a", "${x}"}},
		"array":         {[]any{1, []any{}}, []any{uint64(1), []any{}}},
		"dictionary":    {map[string]any{"${k}": "${x}", "n": map[word]int{"a": 1}}, map[string]any{"${k}": "${x}", "n": map[string]any{"a": uint64(1)}}},
		"nil":           {nil, nil},
		"nil pointer":   {(*string)(nil), nil},
		"struct":        {struct{}{}, nil},
		"func":          {func() {}, nil},
		"numbered keys": {map[int]any{1: 1}, nil},
		"nil inside":    {[]any{nil}, nil},
		"late":          {time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), nil},
	} {
		p := &profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: "x", Values: map[string]any{"Key": "${v}"}}}}
		out, err := p.Expand(map[string]any{"v": tt.value})
		if tt.want == nil {
			var wrong profile.VariableErrors
			require.ErrorAs(t, err, &wrong, name)
			assert.Equal(t, "v", wrong[0].Name, name)
			assert.Equal(t, profile.VariableType, wrong[0].Rule, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, tt.want, out.Payloads[0].(*profile.Raw).Values["Key"], name)
		data, err := out.Encode()
		require.NoError(t, err, name)
		_, err = profile.Parse(data)
		require.NoError(t, err, name)
	}
}

func TestExpandDoesNotShareValues(t *testing.T) {
	t.Parallel()
	list, data, dict := []any{"a"}, []byte{1}, map[string]any{"a": "a"}
	p := &profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: "x", Values: map[string]any{"L": "${l}", "B": "${b}", "D": "${d}"}}}}
	out, err := p.Expand(map[string]any{"l": list, "b": data, "d": dict})
	require.NoError(t, err)
	list[0], data[0], dict["a"] = "b", 2, "b"
	assert.Equal(t, map[string]any{"L": []any{"a"}, "B": []byte{1}, "D": map[string]any{"a": "a"}}, out.Payloads[0].(*profile.Raw).Values)
}

func TestExpandStrings(t *testing.T) {
	t.Parallel()
	values := map[string]any{"a": "A", "n": -5, "u": uint8(6), "a.b-c_d9": "long", "nested": "${a}", "dollar": "$", "empty": ""}
	for in, want := range map[string]string{
		"":                "",
		"$":               "$",
		"$a {a} a}":       "$a {a} a}",
		"${a}":            "A",
		"<${a}>${a}":      "<A>A",
		"${n}/${u}":       "-5/6",
		"${a.b-c_d9}":     "long",
		"${nested}":       "${a}",
		" ${nested}":      " ${a}",
		"$${a}":           "${a}",
		"$${":             "${",
		"x$${a}${a}":      "x${a}A",
		"$$${a}":          "$${a}",
		"${dollar}{a}":    "${a}",
		"${dollar}${a}":   "$A",
		"${empty}":        "",
		"${empty}${n}":    "-5",
		"$${a} and $${b}": "${a} and ${b}",
		"$${${a}}":        "${A}",
	} {
		p := &profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: "x", Values: map[string]any{"Key": []string{in}}}}}
		out, err := p.Expand(values)
		require.NoError(t, err, in)
		assert.Equal(t, []any{want}, out.Payloads[0].(*profile.Raw).Values["Key"], in)
	}
	for _, in := range []string{"${", "${}", "${a", "a${a b}", "${1a}", "${-a}", "${.a}", "${ä}", "${a}${", "${" + strings.Repeat("a", 65) + "}", "${a:-b}", "${${a}}"} {
		p := &profile.Profile{Identifier: "p", DisplayName: in}
		_, err := p.Expand(values)
		var wrong profile.VariableErrors
		require.ErrorAs(t, err, &wrong, in)
		assert.Equal(t, profile.VariableError{Path: "PayloadDisplayName", Rule: profile.VariableSyntax, Text: wrong[0].Text}, wrong[0])
		_, err = p.Variables()
		require.ErrorAs(t, err, &wrong, in)
	}
}

// template has a variable wherever there may be one.
func template() *profile.Profile {
	return &profile.Profile{Identifier: "${id}", DisplayName: "${name} of ${name}", Payloads: []profile.Payload{
		&profile.Mail{EmailAddress: new("${mail}"), IncomingPassword: mdm.SecretString("${password}"), Extra: map[string]any{"New": map[string]any{"${key}": []any{"", "${new}"}}}},
		&profile.Raw{Type: "${type}", Values: map[string]any{"PayloadType": "${type}", "PayloadIdentifier": "${id}.raw", "Deep": map[string]any{"PayloadType": "${deep}"}}},
	}}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	got, err := template().Variables()
	require.NoError(t, err)
	assert.Equal(t, []profile.Variable{
		{Name: "deep", Paths: []string{"PayloadContent[1].Deep.PayloadType"}},
		{Name: "id", Paths: []string{"PayloadIdentifier", "PayloadContent[1].PayloadIdentifier"}},
		{Name: "mail", Paths: []string{"PayloadContent[0].EmailAddress"}},
		{Name: "name", Paths: []string{"PayloadDisplayName"}},
		{Name: "new", Paths: []string{"PayloadContent[0].New.${key}[1]"}},
		{Name: "password", Paths: []string{"PayloadContent[0].IncomingPassword"}},
	}, got)
	got, err = (&profile.Profile{Identifier: "p"}).Variables()
	require.NoError(t, err)
	assert.Empty(t, got)
}

func TestExpandNamesAllThatIsUnknown(t *testing.T) {
	t.Parallel()
	_, err := template().Expand(map[string]any{"id": "VALUE", "name": []byte("VALUE"), "mail": mdm.SecretString("VALUE")})
	require.Error(t, err)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.NotContains(t, err.Error(), "VALUE")
	var wrong profile.VariableErrors
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, []string{"deep", "new", "password"}, wrong.Unknown())
	rules := map[string]string{}
	for _, one := range wrong {
		rules[one.Path+" "+one.Name] = one.Rule
	}
	assert.Equal(t, map[string]string{
		"PayloadContent[0].EmailAddress mail":         profile.VariableSecret,
		"PayloadContent[0].IncomingPassword password": profile.VariableUnknown,
		"PayloadContent[0].New.${key}[1] new":         profile.VariableUnknown,
		"PayloadContent[1].Deep.PayloadType deep":     profile.VariableUnknown,
		"PayloadDisplayName name":                     profile.VariableType,
	}, rules)
	many := &profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: "x", Values: map[string]any{"L": strings.Split(strings.Repeat("${a},", 30), ",")}}}}
	_, err = many.Expand(nil)
	require.ErrorContains(t, err, "and 20 more")
}

// A secret stays one, or is refused.
func TestExpandKeepsSecrets(t *testing.T) {
	t.Parallel()
	values := map[string]any{"s": mdm.SecretString("SESAME"), "d": map[string]any{"Inner": mdm.SecretString("SESAME"), "Plain": 1}}
	for name, tt := range map[string]struct {
		payload profile.Payload
		want    any // what a device reads at Key; nil: refused
	}{
		"a secret field":          {&profile.WiFi{Password: mdm.SecretString("${s}")}, "SESAME"},
		"data that is secret":     {&profile.VPN{IPSec: &profile.VPNIPSec{Extra: map[string]any{"SharedSecret": "${s}"}}}, []byte("SESAME")},
		"a raw secret":            {&profile.Raw{Type: profile.TypeWiFi, Values: map[string]any{"Password": "<${s}>"}}, "<SESAME>"},
		"a raw payload":           {&profile.Raw{Type: "com.example", Values: map[string]any{"Key": "${s}"}}, "SESAME"},
		"in a list":               {&profile.Raw{Type: "com.example", Values: map[string]any{"Key": []any{"${s}", "x"}}}, "SESAME"},
		"in a value":              {&profile.Raw{Type: "com.example", Values: map[string]any{"Key": "${d}"}}, "SESAME"},
		"an unknown key":          {&profile.WiFi{Extra: map[string]any{"Key": "${s}!"}}, "SESAME!"},
		"a key of any type":       {&profile.GlobalPreferences{Extra: map[string]any{"Key": "${s}"}}, "SESAME"},
		"a template that hides":   {&profile.WiFi{Extra: map[string]any{"Key": mdm.SecretString("${s}")}}, "SESAME"},
		"hidden in a known key":   {&profile.WiFi{Extra: map[string]any{"SSID_STR": mdm.SecretString("${s}")}}, "SESAME"},
		"a vendor's type":         {&webClip{Label: "x", URL: "${s}"}, nil},
		"a known key":             {&profile.WiFi{SSIDStr: new("${s}")}, nil},
		"within a known key":      {&profile.WiFi{SSIDStr: new("a ${s}")}, nil},
		"a raw payload's name":    {&profile.Raw{Type: "com.example", Values: map[string]any{"PayloadDisplayName": "${s}"}}, nil},
		"a known key of raw":      {&profile.Raw{Type: profile.TypeWiFi, Values: map[string]any{"SSID_STR": "${s}"}}, nil},
		"a dictionary in a field": {&profile.WiFi{Extra: map[string]any{"EAPClientConfiguration": map[string]any{"UserName": "${s}"}}}, nil},
	} {
		out, err := (&profile.Profile{Identifier: "p", Payloads: []profile.Payload{tt.payload}}).Expand(values)
		if tt.want == nil {
			var wrong profile.VariableErrors
			require.ErrorAs(t, err, &wrong, name)
			assert.Equal(t, profile.VariableSecret, wrong[0].Rule, name)
			assert.Equal(t, "s", wrong[0].Name, name)
			continue
		}
		require.NoError(t, err, name)
		if text, isText := tt.want.(string); isText {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
				assert.NotContains(t, fmt.Sprintf(verb, out.Payloads[0]), "SESAME", name)
			}
			data, err := out.Encode()
			require.NoError(t, err, name)
			assert.Contains(t, strings.NewReplacer("&lt;", "<", "&gt;", ">").Replace(string(data)), text, name)
			inJSON, err := profile.EncodeJSON(out.Payloads[0])
			require.NoError(t, err, name)
			assert.Contains(t, string(inJSON), "SESAME", name)
		} else {
			assert.Equal(t, tt.want, out.Payloads[0].(*profile.VPN).IPSec.SharedSecret.Reveal(), name)
		}
		assert.NoError(t, out.Validate(schema.Target{}).Of(schema.RuleType).Err(), name)
	}
	_, err := (&profile.Profile{Identifier: "p", Description: "${s}"}).Expand(values)
	require.Error(t, err)
	out, err := (&profile.Profile{Identifier: "p", Extra: map[string]any{"Key": "${s}"}}).Expand(values)
	require.NoError(t, err)
	assert.NotContains(t, fmt.Sprintf("%#v", out.Extra), "SESAME")
	data, err := out.Encode()
	require.NoError(t, err)
	assert.Contains(t, string(data), "SESAME")
}

func TestExpandIsBounded(t *testing.T) {
	t.Parallel()
	self := map[string]any{}
	self["self"] = self
	loop := []any{nil}
	loop[0] = loop
	large := strings.Repeat("x", profile.MaxSize/2)
	for name, tt := range map[string]struct {
		value  any
		number int
	}{
		"a map in itself":     {self, 1},
		"an array in itself":  {loop, 1},
		"large":               {large, 3},
		"large data":          {[]byte(large), 3},
		"a large secret":      {mdm.SecretString(large), 3},
		"large keys":          {map[string]any{large: 1}, 3},
		"many parts":          {make([]string, 1000), 1000},
		"many empty parts":    {make([][]any, 1000), 1000},
		"large within longer": {large, -3},
	} {
		values := map[string]any{}
		for i := range max(1, tt.number) {
			values[fmt.Sprint(i)] = "${v}"
		}
		if tt.number < 0 {
			values["0"] = strings.Repeat("${v} ", -tt.number)
		}
		_, err := (&profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: "x", Values: values}}}).Expand(map[string]any{"v": tt.value})
		var wrong profile.VariableErrors
		require.ErrorAs(t, err, &wrong, name)
		assert.Len(t, wrong, 1, name)
		assert.Equal(t, profile.VariableSize, wrong[0].Rule, name)
	}
	out, err := (&profile.Profile{Identifier: "p", DisplayName: "${v}${v}"}).Expand(map[string]any{"v": large})
	require.NoError(t, err)
	assert.Len(t, out.DisplayName, profile.MaxSize)
}

func TestExpandRefuses(t *testing.T) {
	t.Parallel()
	_, err := (&profile.Profile{Identifier: "p", EncryptedContent: []byte{1}}).Expand(nil)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	require.ErrorContains(t, err, "encrypted")
	_, err = (&profile.Profile{Identifier: "${e}"}).Expand(map[string]any{"e": ""})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	require.ErrorContains(t, err, "PayloadIdentifier")
	_, err = (&profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: "x", Values: map[string]any{"K": nil}}}}).Expand(nil)
	require.ErrorContains(t, err, "PayloadContent[0].K")
}

// Without variables, expanding changes nothing, whatever the payload.
func TestExpandOfEveryPayload(t *testing.T) {
	t.Parallel()
	for _, form := range forms(t) {
		full := synth.Full(form.Schema())
		schema.Decode(full, form)
		p := &profile.Profile{Identifier: "p", Payloads: []profile.Payload{form, &profile.Raw{Type: form.PayloadType(), Values: full}}}
		out, err := p.Expand(nil)
		require.NoError(t, err, form.PayloadType())
		assert.IsType(t, form, out.Payloads[0])
		assert.IsType(t, &profile.Raw{}, out.Payloads[1])
		want, err := p.Encode()
		require.NoError(t, err)
		got, err := out.Encode()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), form.PayloadType())
	}
}

// A variable in every string of every payload comes to the same as its values would.
func TestExpandEveryString(t *testing.T) {
	t.Parallel()
	for _, form := range forms(t) {
		want := tree(t, synth.Full(form.Schema()))
		values := map[string]any{}
		keys := variablesFor(want, values).(map[string]any)
		data, err := (&profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: form.PayloadType(), Values: keys}}}).Encode()
		require.NoError(t, err)
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		out, err := parsed.Profile.Expand(values)
		require.NoError(t, err, form.PayloadType())
		got := tree(t, mustKeys(t, out))
		delete(got, "PayloadIdentifier")
		delete(got, "PayloadUUID")
		assert.Equal(t, want, got, form.PayloadType())
	}
}

// mustKeys returns the keys of the first payload, as they are written.
func mustKeys(t testing.TB, p *profile.Profile) map[string]any {
	t.Helper()
	data, err := p.Encode()
	require.NoError(t, err)
	var top map[string]any
	require.NoError(t, plistx.Unmarshal(data, &top))
	dict := top["PayloadContent"].([]any)[0].(map[string]any)
	delete(dict, "PayloadType")
	delete(dict, "PayloadVersion")
	return dict
}

// variablesFor puts a variable in place of every value that is no container and notes its value.
func variablesFor(v any, values map[string]any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = variablesFor(value, values)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = variablesFor(value, values)
		}
		return out
	}
	name := fmt.Sprintf("v%d", len(values))
	values[name] = v
	return "${" + name + "}"
}
