package profile_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// lines returns the difference of two profiles as text.
func lines(t testing.TB, a, b *profile.Profile) []string {
	t.Helper()
	changes, err := profile.Diff(a, b)
	require.NoError(t, err)
	out := []string{}
	for _, c := range changes {
		out = append(out, c.String())
	}
	same, err := profile.Equal(a, b)
	require.NoError(t, err)
	assert.Equal(t, len(out) == 0, same)
	return out
}

// holding is a profile of raw payloads of an unknown type, with these keys.
func holding(values ...map[string]any) *profile.Profile {
	p := &profile.Profile{Identifier: "p"}
	for i, v := range values {
		p.Payloads = append(p.Payloads, &profile.Raw{Type: fmt.Sprintf("t%d", i), Values: v})
	}
	return p
}

func TestDiffOfValues(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct {
		a, b any // nil: absent
		want []string
	}{
		"the same":                 {"x", "x", nil},
		"another string":           {"x", "y\n", []string{`changed p.t0 K: "x" -> "y\n"`}},
		"integers":                 {int64(5), uint64(5), nil},
		"a real and an integer":    {5.0, 5, nil},
		"another number":           {5.5, 5, []string{"changed p.t0 K: 5.5 -> 5"}},
		"large numbers":            {uint64(1<<63 + 1), float64(1 << 63), []string{"changed p.t0 K: 9223372036854775809 -> 9.223372036854776e+18"}},
		"negative":                 {-5, 5, []string{"changed p.t0 K: -5 -> 5"}},
		"no numbers":               {math.NaN(), math.NaN(), nil},
		"a number now":             {math.NaN(), 5, []string{"changed p.t0 K: NaN -> 5"}},
		"a truth and a number":     {true, 1, []string{"changed p.t0 K: true -> 1"}},
		"a truth":                  {true, false, []string{"changed p.t0 K: true -> false"}},
		"a number and its text":    {5, "5", []string{`changed p.t0 K: 5 -> "5"`}},
		"dates":                    {at, at.In(time.FixedZone("", 3600)), nil},
		"another date":             {at, at.Add(time.Second), []string{"changed p.t0 K: 2030-01-02T03:04:05Z -> 2030-01-02T03:04:06Z"}},
		"data":                     {[]byte{1}, []byte{1}, nil},
		"other data":               {[]byte("hidden"), []byte("h"), []string{"changed p.t0 K: 6 bytes -> 1 bytes"}},
		"something new":            {nil, 5, []string{"added p.t0 K: 5"}},
		"something gone":           {"x", nil, []string{`removed p.t0 K: "x"`}},
		"an empty array":           {nil, []any{}, []string{"added p.t0 K: an empty array"}},
		"an empty dictionary":      {map[string]any{}, nil, []string{"removed p.t0 K: an empty dictionary"}},
		"a filled dictionary":      {map[string]any{}, map[string]any{"a": 1}, []string{"added p.t0 K.a: 1"}},
		"empty, of another kind":   {map[string]any{}, []any{}, []string{"removed p.t0 K: an empty dictionary", "added p.t0 K: an empty array"}},
		"a new dictionary":         {nil, map[string]any{"b": []any{1, map[string]any{"c": true}}, "a": "x"}, []string{`added p.t0 K.a: "x"`, "added p.t0 K.b[0]: 1", "added p.t0 K.b[1].c: true"}},
		"a dictionary for text":    {"x", map[string]any{"a": 1}, []string{`removed p.t0 K: "x"`, "added p.t0 K.a: 1"}},
		"an array for a number":    {[]any{1}, 1, []string{"removed p.t0 K[0]: 1", "added p.t0 K: 1"}},
		"within":                   {map[string]any{"a": 1, "b": 2}, map[string]any{"b": 3, "c": 4}, []string{"removed p.t0 K.a: 1", "changed p.t0 K.b: 2 -> 3", "added p.t0 K.c: 4"}},
		"put into an array":        {[]any{"a", "b"}, []any{"a", "x", "b"}, []string{`added p.t0 K[1]: "x"`}},
		"put before an array":      {[]any{"a", "b"}, []any{"x", "a", "b"}, []string{`added p.t0 K[0]: "x"`}},
		"taken out of an array":    {[]any{"a", "b", "c"}, []any{"a", "c"}, []string{`removed p.t0 K[1]: "b"`}},
		"repeated in an array":     {[]any{"a", "a"}, []any{"a", "a", "a"}, []string{`added p.t0 K[2]: "a"`}},
		"changed in an array":      {[]any{"a", "b", "c"}, []any{"a", "x", "c"}, []string{`changed p.t0 K[1]: "b" -> "x"`}},
		"changed deep in an array": {[]any{map[string]any{"a": 1, "b": []any{1}}}, []any{map[string]any{"a": 1, "b": []any{2}}}, []string{"changed p.t0 K[0].b[0]: 1 -> 2"}},
		"a long text":              {strings.Repeat("ä", 50), "", []string{`changed p.t0 K: "` + strings.Repeat("ä", 30) + `"… -> ""`}},
	} {
		values := func(v any) map[string]any {
			if v == nil {
				return map[string]any{}
			}
			return map[string]any{"K": v}
		}
		assert.Equal(t, append([]string{}, tt.want...), lines(t, holding(values(tt.a)), holding(values(tt.b))), name)
	}
}

func TestDiffOfPayloads(t *testing.T) {
	t.Parallel()
	wifi, vpn, mail := &profile.WiFi{SSIDStr: new("s")}, &profile.Raw{Type: "com.apple.vpn.managed"}, &profile.Mail{}
	base := &profile.Profile{Identifier: "p", DisplayName: "A", Payloads: []profile.Payload{wifi, vpn}}
	with := func(name string, payloads ...profile.Payload) *profile.Profile {
		return &profile.Profile{Identifier: "p", UUID: "another", DisplayName: name, Scope: profile.ScopeUser, Payloads: payloads}
	}
	assert.Equal(t, []string{`changed PayloadDisplayName: "A" -> "B"`, `added PayloadScope: "User"`}, lines(t, base, with("B", wifi, vpn)))
	assert.Equal(t, []string{`added PayloadScope: "User"`, "removed p.com.apple.vpn.managed (com.apple.vpn.managed)",
		"added p.com.apple.mail.managed (com.apple.mail.managed)"}, lines(t, base, with("A", mail, wifi)))
	changed, err := profile.Diff(base, with("A", mail, vpn, wifi))
	require.NoError(t, err)
	assert.Equal(t, profile.Change{Kind: profile.Reordered, Path: "PayloadContent", Old: []string{"p.com.apple.wifi.managed", "p.com.apple.vpn.managed"},
		New: []string{"p.com.apple.vpn.managed", "p.com.apple.wifi.managed"}}, changed[2])
	assert.Equal(t, "reordered PayloadContent", changed[2].String())

	same := &profile.WiFi{Common: profile.Common{PayloadIdentifier: "p.com.apple.wifi.managed", PayloadUUID: "u"}, SSIDStr: new("s")}
	assert.Empty(t, lines(t, base, &profile.Profile{Identifier: "p", DisplayName: "A", Payloads: []profile.Payload{same, vpn}}), "filled in or given")
	other := &profile.Raw{Type: "com.example", Values: map[string]any{"PayloadIdentifier": "p.com.apple.wifi.managed", "SSID_STR": "s"}}
	assert.Equal(t, []string{"removed p.com.apple.wifi.managed (com.apple.wifi.managed)", "added p.com.apple.wifi.managed (com.example)"},
		lines(t, base, &profile.Profile{Identifier: "p", DisplayName: "A", Payloads: []profile.Payload{vpn, other}}), "a payload of another type is another one")

	sealed := &profile.Profile{Identifier: "p", DisplayName: "A", EncryptedContent: []byte("sealed")}
	assert.Equal(t, []string{"added EncryptedPayloadContent: 6 bytes", "removed p.com.apple.wifi.managed (com.apple.wifi.managed)",
		"removed p.com.apple.vpn.managed (com.apple.vpn.managed)"}, lines(t, base, sealed))
	_, err = profile.Diff(base, nil)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	_, err = profile.Diff(&profile.Profile{}, base)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	_, err = profile.Equal(&profile.Profile{}, base)
	require.Error(t, err)
}

// What a rebuilt profile says through its UUIDs is the same.
func TestDiffFollowsReferences(t *testing.T) {
	t.Parallel()
	build := func(uuid func(string) string, identity string) *profile.Profile {
		scep := &profile.SCEP{Common: profile.Common{PayloadUUID: uuid("scep")}, PayloadContent: profile.SCEPContent{URL: "https://example.com"}}
		pkcs12 := &profile.PKCS12{Common: profile.Common{PayloadUUID: uuid("p12")}, PayloadContent: []byte{1}}
		root := &profile.RootCertificate{Common: profile.Common{PayloadUUID: uuid("root")}, PayloadContent: []byte{1}}
		return &profile.Profile{Identifier: "p", UUID: uuid("p"), Payloads: []profile.Payload{root, scep, pkcs12,
			&profile.WiFi{SSIDStr: new("s"), PayloadCertificateUUID: new(strings.ToLower(uuid(identity))),
				EAPClientConfiguration: &profile.WiFiEAPClientConfiguration{PayloadCertificateAnchorUUID: []string{uuid("root"), "elsewhere"}}},
			&profile.MDM{IdentityCertificateUUID: uuid(identity), ServerURLPinningCertificateUUIDs: []string{uuid("root")}},
			&profile.Raw{Type: "x", Values: map[string]any{"Any": map[string]any{"Deep": []any{uuid(identity), uuid("p12")}}}},
		}}
	}
	one := func(s string) string { return profile.UUID("one " + s) }
	two := func(s string) string { return profile.UUID("two " + s) }
	assert.Empty(t, lines(t, build(one, "scep"), build(two, "scep")))
	const scep, p12 = "the payload p.com.apple.security.scep", "the payload p.com.apple.security.pkcs12"
	assert.Equal(t, []string{
		"changed p.com.apple.wifi.managed PayloadCertificateUUID: " + scep + " -> " + p12,
		"changed p.com.apple.mdm IdentityCertificateUUID: " + scep + " -> " + p12,
		"changed p.x Any.Deep[0]: " + scep + " -> " + p12,
	}, lines(t, build(one, "scep"), build(two, "p12")))
	changes, err := profile.Diff(build(one, "scep"), build(two, "nobody"))
	require.NoError(t, err)
	assert.Equal(t, profile.Change{Kind: profile.Changed, Payload: "p.com.apple.mdm", PayloadType: profile.TypeMDM, Path: "IdentityCertificateUUID",
		Old: profile.Reference("p.com.apple.security.scep"), New: two("nobody")}, changes[1])
}

// No secret comes into the text, whatever the payload, the verb and the change.
func TestDiffHidesSecrets(t *testing.T) {
	t.Parallel()
	n := 0
	for _, form := range forms(t) {
		full := synth.Full(form.Schema())
		n += plantSecrets(form.Schema().Keys, full, "SESAME-ONE")
		other := synth.Full(form.Schema())
		plantSecrets(form.Schema().Keys, other, "SESAME-TWO")
		for _, raw := range []bool{false, true} {
			profiles := []*profile.Profile{{Identifier: "p", Payloads: []profile.Payload{&profile.Raw{Type: form.PayloadType(), Values: map[string]any{}}}}}
			for _, keys := range []map[string]any{full, other} {
				var payload profile.Payload = &profile.Raw{Type: form.PayloadType(), Values: keys}
				if !raw {
					payload = reflect.New(reflect.TypeOf(form).Elem()).Interface().(profile.Payload)
					schema.Decode(keys, payload)
				}
				profiles = append(profiles, &profile.Profile{Identifier: "p", Payloads: []profile.Payload{payload}})
			}
			for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
				changes, err := profile.Diff(profiles[pair[0]], profiles[pair[1]])
				require.NoError(t, err)
				require.NotContains(t, fmt.Sprintf("%v %+v %#v", changes, changes, changes), "SESAME", form.PayloadType())
				if pair == [2]int{1, 2} {
					assert.Len(t, changes, strings.Count(fmt.Sprint(changes), "[secret] -> [secret]"), form.PayloadType())
				}
			}
		}
	}
	assert.GreaterOrEqual(t, n, 40)
}

// plantSecrets puts text into all keys that are secrets, and returns how many.
func plantSecrets(keys []schema.Key, dict map[string]any, text string) int {
	n := 0
	var inside func(k *schema.Key, v any, set func(any))
	inside = func(k *schema.Key, v any, set func(any)) {
		if k.Secret {
			n++
			if set(text); k.Kind == schema.Data {
				set([]byte(text))
			}
		}
		if dict, ok := v.(map[string]any); ok {
			n += plantSecrets(k.Keys, dict, text)
		}
		if list, ok := v.([]any); ok && k.Item != nil {
			for i := range list {
				inside(k.Item, list[i], func(x any) { list[i] = x })
			}
		}
	}
	for i := range keys {
		if v, ok := dict[keys[i].Name]; ok {
			inside(&keys[i], v, func(x any) { dict[keys[i].Name] = x })
		}
	}
	return n
}

// Where the schema says nothing, names tell.
func TestDiffHidesWhatSoundsSecret(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"MyPassword", "client_secret", "APIKEY", "Pin", "enrollmentToken"} {
		for name, value := range map[string]any{"text": "SESAME", "data": []byte("SESAME"), "number": 123456, "deep": map[string]any{"a": []any{"SESAME"}}} {
			changes, err := profile.Diff(holding(map[string]any{}), holding(map[string]any{key: value}))
			require.NoError(t, err)
			require.Len(t, changes, 1)
			text := fmt.Sprintf("%v %+v %#v", changes, changes[0], changes[0])
			assert.NotContains(t, text, "SESAME", "%s %s", key, name)
			assert.NotContains(t, text, "123456", "%s %s", key, name)
			_, err = json.Marshal(changes)
			require.ErrorIs(t, err, mdm.ErrSecret)
		}
	}
	assert.Equal(t, []string{"added p.t0 AllowPasswordSharing: true"}, lines(t, holding(map[string]any{}), holding(map[string]any{"AllowPasswordSharing": true})))
	assert.Equal(t, []string{`added p.t0 Spinner: "x"`}, lines(t, holding(map[string]any{}), holding(map[string]any{"Spinner": "x"})))
}

// What was put in as a secret is one on both sides.
func TestDiffHidesWhatWasASecret(t *testing.T) {
	t.Parallel()
	a := holding(map[string]any{"Key": []any{map[string]any{"License": mdm.SecretString("SESAME-ONE")}}})
	b := holding(map[string]any{"Key": []any{map[string]any{"License": "SESAME-TWO"}}})
	a.Extra, b.Extra = map[string]any{"New": "SESAME-THREE"}, map[string]any{"New": mdm.SecretString("SESAME-FOUR")}
	assert.Equal(t, []string{"changed New: [secret] -> [secret]", "changed p.t0 Key[0].License: [secret] -> [secret]"}, lines(t, a, b))
	assert.Empty(t, lines(t, a, a))
}

func TestDiffOfRandomProfiles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := newRandom(t, seed)
		a, b := r.profile(), r.profile()
		assert.Empty(t, lines(t, a, a))
		there, back := lines(t, a, b), lines(t, b, a)
		assert.Len(t, back, len(there), "seed %d", seed)
		added := strings.Count(strings.Join(there, "\n"), "added ")
		assert.Equal(t, added, strings.Count(strings.Join(back, "\n"), "removed "), "seed %d", seed)
	}
}
