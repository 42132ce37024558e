package profile_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

func tree(t testing.TB, dict map[string]any) map[string]any {
	t.Helper()
	data, err := plistx.Marshal(dict)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, plistx.Unmarshal(data, &out))
	return synth.Normal(out).(map[string]any)
}

func describe(v any) any {
	dict, err := schema.Encode(v)
	if err != nil {
		return err
	}
	return synth.Normal(dict)
}

// described are the generated types.
type described interface {
	profile.Payload
	Schema() *schema.Object
}

// forms yields every form of every payload.
func forms(t testing.TB) []described {
	var all []described
	for _, kind := range profile.PayloadTypes() {
		for _, p := range profile.New(kind) {
			require.Equal(t, kind, p.PayloadType())
			all = append(all, p.(described))
		}
	}
	require.GreaterOrEqual(t, len(all), 126)
	return all
}

// named are the keys that Encode fills in, given.
func named(keys map[string]any) map[string]any {
	out := maps.Clone(keys)
	maps.Copy(out, map[string]any{"PayloadIdentifier": "com.example.payload", "PayloadUUID": "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF",
		"PayloadDisplayName": "Display", "PayloadDescription": "Description", "PayloadOrganization": "Organization"})
	return out
}

// Every payload, as the schema describes it: into a profile and out again, and through JSON.
func TestEveryPayload(t *testing.T) {
	t.Parallel()
	for _, form := range forms(t) {
		for name, instance := range map[string]map[string]any{"full": synth.Full(form.Schema()), "minimal": synth.Minimal(form.Schema())} {
			t.Run(form.PayloadType()+" "+name, func(t *testing.T) {
				t.Parallel()
				want := tree(t, named(instance))
				raw := &profile.Raw{Type: form.PayloadType(), Values: want}
				data, err := (&profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{raw}}).Encode()
				require.NoError(t, err)
				parsed, err := profile.Parse(data)
				require.NoError(t, err)
				typed := parsed.Profile.Payloads[0]
				if name == "full" {
					assert.IsType(t, form, typed, "of several forms the one that fits")
				}
				if !form.Schema().Free {
					assert.Empty(t, synth.Extras(typed))
				}
				assert.Equal(t, want, describe(typed))
				again, err := parsed.Profile.Encode()
				require.NoError(t, err)
				assert.Equal(t, string(data), string(again))

				text, err := profile.EncodeJSON(typed)
				require.NoError(t, err)
				fromJSON, err := profile.DecodeJSON(text)
				require.NoError(t, err)
				assert.Equal(t, want, describe(fromJSON))
				fromRaw, err := profile.EncodeJSON(raw)
				require.NoError(t, err)
				assert.JSONEq(t, string(text), string(fromRaw))
				found := profile.Validate(typed, schema.Target{}).Of(^schema.RuleCombination)
				assert.NoError(t, found.Err())
			})
		}
	}
}

// The forms of a type are told apart by their keys.
func TestFormsOfAType(t *testing.T) {
	t.Parallel()
	for _, p := range []profile.Payload{
		&profile.MCXWiFi{}, &profile.MCXTimeServer{}, &profile.MCXEnergySaver{}, &profile.MCXAccounts{}, &profile.MCXMobility{}, &profile.MCXFileVaultOptions{},
		&profile.ExtensibleSSOKerberos{}, &profile.ExtensibleSSO{},
	} {
		keys := tree(t, named(synth.Full(p.(described).Schema())))
		data, err := (&profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{&profile.Raw{Type: p.PayloadType(), Values: keys}}}).Encode()
		require.NoError(t, err)
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		assert.IsType(t, p, parsed.Profile.Payloads[0])
	}
}

func TestWrongTypesInPayloads(t *testing.T) {
	t.Parallel()
	for _, form := range forms(t) {
		if form.Schema().Free || len(profile.New(form.PayloadType())) > 1 {
			continue
		}
		for path, instance := range synth.Wrong(form.Schema()) {
			typed := profile.New(form.PayloadType())[0]
			want := synth.Normal(instance).(map[string]any) // no property list: it would take several times as long
			wrong := schema.Decode(want, typed)
			require.NotEmpty(t, wrong, "%s: %s", form.PayloadType(), path)
			assert.Equal(t, path, wrong[0].Path, form.PayloadType())
			require.Equal(t, want, describe(typed), "%s: %s", form.PayloadType(), path)
			found := profile.Validate(typed, schema.Target{}).Of(schema.RuleType)
			require.NotEmpty(t, found, "%s: %s", form.PayloadType(), path)
			assert.Equal(t, path, found[0].Path)
		}
	}
}

// What is left out, empty or zero, at the end of a range or another value of a list stays what it is, and nothing is said
// against it.
func TestVariantsOfPayloads(t *testing.T) {
	t.Parallel()
	n := 0
	for _, form := range forms(t) {
		for what, instance := range synth.Variants(form.Schema()) {
			what = form.PayloadType() + ": " + what
			v, again := reflect.New(reflect.TypeOf(form).Elem()).Interface(), reflect.New(reflect.TypeOf(form).Elem()).Interface()
			require.Empty(t, schema.Decode(instance, v), what)
			require.Empty(t, synth.Extras(v), what)
			require.Equal(t, instance, describe(v), what)
			require.Empty(t, schema.Check(form.Schema(), instance, schema.Target{}), what)
			n++
			if strings.HasSuffix(what, "left out") {
				continue // JSON has nothing to say of it
			}
			text, err := schema.EncodeJSON(v)
			require.NoError(t, err, what)
			wrong, err := schema.DecodeJSON(text, again)
			require.NoError(t, err, what)
			require.Empty(t, wrong, what)
			require.Equal(t, instance, describe(again), "%s, through JSON", what)
		}
	}
	assert.Greater(t, n, 2000)
}

func TestUnknownKeysOfPayloadsSurvive(t *testing.T) {
	t.Parallel()
	for _, form := range forms(t) {
		instance := tree(t, synth.Full(form.Schema()))
		synth.Plant(instance)
		schema.Decode(instance, form) // where any key may be, the planted one may be of the wrong type
		assert.Equal(t, instance, describe(form), form.PayloadType())
	}
}

// Every key of the profile itself is a field, and what is not is kept.
func TestEveryKeyOfAProfile(t *testing.T) {
	t.Parallel()
	p := &profile.Profile{Identifier: "com.example", TargetDeviceType: 5, Scope: profile.ScopeUser, RemovalDisallowed: true,
		ConsentText: map[string]string{"default": "Agree?"}, Extra: map[string]any{"NewKey": "x"}, Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new("s")}}}
	data, err := p.Encode()
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	assert.Equal(t, p.Extra, parsed.Profile.Extra)
	assert.Equal(t, p.TargetDeviceType, parsed.Profile.TargetDeviceType)
	assert.Len(t, parsed.Profile.Validate(schema.Target{}).Of(schema.RuleUnknown), 1)
	require.NoError(t, parsed.Profile.Validate(schema.Target{}).Err())

	encrypted := &profile.Profile{Identifier: "com.example", EncryptedContent: []byte{0x30, 1, 2}}
	data, err = encrypted.Encode()
	require.NoError(t, err)
	parsed, err = profile.Parse(data)
	require.NoError(t, err)
	assert.Equal(t, encrypted.EncryptedContent, parsed.Profile.EncryptedContent)
	assert.Empty(t, parsed.Profile.Payloads)
}

// A payload with a password does not end in a log.
func TestPayloadSecrets(t *testing.T) {
	t.Parallel()
	p := &profile.WiFi{SSIDStr: new("Guests"), Password: mdm.SecretString("TOP-SECRET")}
	_, err := json.Marshal(p)
	require.ErrorIs(t, err, mdm.ErrSecret)
	text, err := profile.EncodeJSON(p)
	require.NoError(t, err)
	assert.Contains(t, string(text), "TOP-SECRET", "asked for by name, it is there")
	_, err = profile.DecodeJSON([]byte(`{"PayloadType":"com.apple.wifi.managed","SSID_STR":1}`))
	var wrong schema.Mismatches
	assert.ErrorAs(t, err, &wrong)
	_, err = profile.DecodeJSON([]byte(`{}`))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	other, err := profile.DecodeJSON([]byte(`{"PayloadType":"com.example.own","Data":{"$data":"AAE="}}`))
	require.NoError(t, err)
	assert.Equal(t, &profile.Raw{Type: "com.example.own", Values: map[string]any{"Data": []byte{0, 1}}}, other)
	text, err = profile.EncodeJSON(other)
	require.NoError(t, err)
	assert.JSONEq(t, `{"PayloadType":"com.example.own","Data":{"$data":"AAE="}}`, string(text))
}

func FuzzPayload(f *testing.F) {
	for _, form := range forms(f) {
		data, err := (&profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{
			&profile.Raw{Type: form.PayloadType(), Values: synth.Full(form.Schema())}}}).Encode()
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := profile.Parse(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		_ = parsed.Profile.Validate(schema.Target{Platform: schema.MacOS, OSVersion: "15.0", Channel: mdm.UserChannel})
		encoded, err := parsed.Profile.Encode()
		if err != nil { // two payloads of one name
			return
		}
		again, err := profile.Parse(encoded)
		require.NoError(t, err)
		second, err := again.Profile.Encode()
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(second))
	})
}

func FuzzPayloadJSON(f *testing.F) {
	for _, form := range forms(f) {
		schema.Decode(synth.Full(form.Schema()), form)
		text, err := profile.EncodeJSON(form)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := profile.DecodeJSON(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		text, err := profile.EncodeJSON(p)
		if err != nil {
			return
		}
		again, err := profile.DecodeJSON(text)
		require.NoError(t, err)
		second, err := profile.EncodeJSON(again)
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(second))
	})
}
