package profile_test

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// identifiersOf returns the identifiers that Encode writes.
func identifiersOf(t testing.TB, p *profile.Profile) []string {
	t.Helper()
	return eachName(t, p, "PayloadIdentifier")
}

func eachName(t testing.TB, p *profile.Profile, key string) []string {
	t.Helper()
	filled, err := p.Filled()
	require.NoError(t, err)
	var out []string
	for _, payload := range filled.Payloads {
		dict := describe(payload)
		if raw, ok := payload.(*profile.Raw); ok {
			dict = raw.Values
		}
		out = append(out, dict.(map[string]any)[key].(string))
	}
	return out
}

func TestNamesDoNotDependOnOtherTypes(t *testing.T) {
	t.Parallel()
	mail, second, wifi := &profile.Mail{}, &profile.Mail{}, &profile.WiFi{SSIDStr: new("s")}
	p := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{mail, second}}
	want := []string{"com.example.com.apple.mail.managed", "com.example.com.apple.mail.managed.2"}
	assert.Equal(t, want, identifiersOf(t, p))
	p.Payloads = []profile.Payload{wifi, mail, &profile.Raw{Type: "com.apple.vpn.managed"}, second}
	assert.Equal(t, []string{"com.example.com.apple.wifi.managed", want[0], "com.example.com.apple.vpn.managed", want[1]}, identifiersOf(t, p))
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	raw := func(kind string, keys ...string) *profile.Raw {
		values := map[string]any{}
		for i := 0; i < len(keys); i += 2 {
			values[keys[i]] = keys[i+1]
		}
		return &profile.Raw{Type: kind, Values: values}
	}
	for name, tt := range map[string]struct {
		payloads []profile.Payload
		want     []string
	}{
		"given later":                  {[]profile.Payload{raw("x"), raw("y", "PayloadIdentifier", "p.x")}, []string{"p.x.2", "p.x"}},
		"given for a further one":      {[]profile.Payload{raw("x"), raw("x"), raw("y", "PayloadIdentifier", "p.x.2")}, []string{"p.x", "p.x.3", "p.x.2"}},
		"a type that ends in a number": {[]profile.Payload{raw("x"), raw("x"), raw("x.2")}, []string{"p.x", "p.x.3", "p.x.2"}},
		"the same in another order":    {[]profile.Payload{raw("x.2"), raw("x"), raw("x")}, []string{"p.x.2", "p.x", "p.x.3"}},
		"an empty one":                 {[]profile.Payload{raw("x", "PayloadIdentifier", "", "PayloadUUID", "")}, []string{"p.x"}},
		"a taken UUID":                 {[]profile.Payload{raw("x"), raw("y", "PayloadUUID", profile.UUID("p.x"))}, []string{"p.x", "p.y"}},
		"the profile's own name":       {[]profile.Payload{raw("x", "PayloadIdentifier", "p")}, []string{"p"}},
	} {
		p := &profile.Profile{Identifier: "p", Payloads: tt.payloads}
		assert.Equal(t, tt.want, identifiersOf(t, p), name)
		uuids := append(eachName(t, p, "PayloadUUID"), profile.UUID("p"))
		slices.Sort(uuids)
		assert.Equal(t, uuids, slices.Compact(slices.Clone(uuids)), name)
	}
	for name, payloads := range map[string][]profile.Payload{
		"identifier twice":      {raw("x", "PayloadIdentifier", "a"), raw("y", "PayloadIdentifier", "a")},
		"UUID twice":            {raw("x", "PayloadUUID", "a"), raw("y", "PayloadUUID", "a")},
		"an identifier of data": {&profile.Raw{Type: "x", Values: map[string]any{"PayloadIdentifier": []byte{1}}}},
		"a UUID of arrays":      {&profile.Raw{Type: "x", Values: map[string]any{"PayloadUUID": []any{}}}, raw("y")},
		"no payload":            {nil},
		"no payload of a type":  {(*profile.WiFi)(nil)},
		"no raw payload":        {(*profile.Raw)(nil)},
	} {
		p := &profile.Profile{Identifier: "p", Payloads: payloads}
		_, err := p.Filled()
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		require.Error(t, err, name)
		_, other := p.Encode()
		require.Error(t, other, name)
		_, other = p.Variables()
		assert.Equal(t, payloads[0] == nil || reflect.ValueOf(payloads[0]).IsNil(), other != nil, name)
	}
}

// own is a vendor's type that has a payload of this package in it; names one that has names of its own.
type own struct {
	*profile.WiFi
	Own string
}

func (own) PayloadType() string { return "com.example.own" }

type names struct {
	PayloadIdentifier string
	PayloadUUID       string `plist:",omitempty"`
	Own               string
}

func (names) PayloadType() string { return "com.example.names" }

func TestFilledKeepsTypes(t *testing.T) {
	t.Parallel()
	wifi := &profile.WiFi{SSIDStr: new("s"), Extra: map[string]any{"Key": mdm.SecretString("x")}}
	p := &profile.Profile{Identifier: "p", Scope: profile.ScopeUser, Payloads: []profile.Payload{
		wifi, profile.WiFi{SSIDStr: new("t")}, &webClip{URL: "u"}, webClip{URL: "v"}, &profile.Raw{Type: "x"},
		names{PayloadIdentifier: "n", PayloadUUID: "u", Own: "o"}, names{Own: "o"},
	}}
	data, err := p.Encode()
	require.NoError(t, err)
	filled, err := p.Filled()
	require.NoError(t, err)
	for i, payload := range filled.Payloads[:6] {
		assert.IsType(t, p.Payloads[i], payload)
	}
	assert.IsType(t, &profile.Raw{}, filled.Payloads[6], "there is no field for what is filled in")
	assert.Equal(t, "p.com.apple.wifi.managed", filled.Payloads[0].(*profile.WiFi).PayloadIdentifier)
	assert.Equal(t, "p.com.apple.webClip.managed.2", filled.Payloads[3].(webClip).PayloadIdentifier)
	assert.Equal(t, profile.UUID("p"), filled.UUID)
	assert.Empty(t, wifi.PayloadIdentifier, "the original stays as it is")
	assert.Equal(t, wifi.Extra, filled.Payloads[0].(*profile.WiFi).Extra)
	again, err := filled.Encode()
	require.NoError(t, err)
	assert.Equal(t, string(data), string(again))

	sealed, err := (&profile.Profile{Identifier: "p", EncryptedContent: []byte{0x30}}).Filled()
	require.NoError(t, err)
	assert.Equal(t, []byte{0x30}, sealed.EncryptedContent)
	_, err = (&profile.Profile{}).Filled()
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

// An embedded pointer is shared with the original, so nothing may be written behind it.
func TestFilledDoesNotReachThroughPointers(t *testing.T) {
	t.Parallel()
	shared := &profile.WiFi{SSIDStr: new("s")}
	_, err := (&profile.Profile{Identifier: "p", Payloads: []profile.Payload{own{WiFi: shared}}}).Filled()
	require.NoError(t, err)
	assert.Empty(t, shared.PayloadIdentifier)
}

// random makes profiles of payloads of all types, the same ones for the same seed.
type random struct {
	*rand.Rand
	forms []described
}

func newRandom(t testing.TB, seed uint64) random {
	return random{rand.New(rand.NewPCG(seed, 1)), forms(t)}
}

// keys returns a map with the same keys, put in in another order.
func (r random) keys(dict map[string]any) map[string]any {
	names := slices.Sorted(maps.Keys(dict))
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	out := map[string]any{}
	for _, name := range names {
		value := dict[name]
		if inner, ok := value.(map[string]any); ok {
			value = r.keys(inner)
		}
		out[name] = value
	}
	return out
}

func (r random) payload() profile.Payload {
	form := r.forms[r.IntN(len(r.forms))]
	keys := synth.Minimal(form.Schema())
	if r.IntN(2) == 0 {
		keys = synth.Full(form.Schema())
	}
	if r.IntN(4) == 0 {
		return &profile.Raw{Type: form.PayloadType(), Values: keys}
	}
	v := reflect.New(reflect.TypeOf(form).Elem()).Interface().(profile.Payload)
	schema.Decode(keys, v)
	return v
}

func (r random) profile() *profile.Profile {
	p := &profile.Profile{Identifier: "com.example.random", DisplayName: "<&>\"\n", ConsentText: map[string]string{"default": "?", "de": "ä", "fr": ""},
		Extra: map[string]any{"New": map[string]any{"b": int64(1), "a": []any{true}}}}
	for range r.IntN(6) {
		p.Payloads = append(p.Payloads, r.payload())
	}
	return p
}

func TestRebuiltProfilesAreTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := newRandom(t, seed)
		p, again := r.profile(), newRandom(t, seed).profile()
		for i, payload := range again.Payloads {
			if raw, ok := payload.(*profile.Raw); ok {
				again.Payloads[i] = &profile.Raw{Type: raw.Type, Values: r.keys(raw.Values)}
			}
		}
		again.Extra = r.keys(again.Extra)
		data, err := p.Encode()
		require.NoError(t, err)
		for what, other := range map[string]*profile.Profile{"the same": p, "rebuilt": again} {
			second, err := other.Encode()
			require.NoError(t, err)
			require.Equal(t, string(data), string(second), "%s, seed %d", what, seed)
		}
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		second, err := parsed.Profile.Encode()
		require.NoError(t, err)
		require.Equal(t, string(data), string(second), "parsed, seed %d", seed)
		same, err := profile.Equal(p, parsed.Profile)
		require.NoError(t, err)
		require.True(t, same, "seed %d", seed)
	}
}

// Payloads of one type keep their order among themselves; else every order gives them the same names.
func TestOrderOfTypesDoesNotName(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := newRandom(t, seed)
		p := &profile.Profile{Identifier: "p"}
		for range 2 + r.IntN(8) {
			kind := []string{"x", "x.2", "x.3", "y", "com.apple.wifi.managed"}[r.IntN(5)]
			p.Payloads = append(p.Payloads, &profile.Raw{Type: kind, Values: map[string]any{}})
		}
		before := map[profile.Payload]string{}
		for i, id := range identifiersOf(t, p) {
			before[p.Payloads[i]] = id
		}
		byType := map[string][]profile.Payload{}
		for _, payload := range p.Payloads {
			byType[payload.PayloadType()] = append(byType[payload.PayloadType()], payload)
		}
		r.Shuffle(len(p.Payloads), func(i, j int) { p.Payloads[i], p.Payloads[j] = p.Payloads[j], p.Payloads[i] })
		for i, payload := range p.Payloads { // each type again in its own order
			kind := payload.PayloadType()
			p.Payloads[i], byType[kind] = byType[kind][0], byType[kind][1:]
		}
		for i, id := range identifiersOf(t, p) {
			require.Equal(t, before[p.Payloads[i]], id, "seed %d", seed)
		}
	}
}
