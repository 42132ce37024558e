package profile_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// document is a profile made of its keys, and what every profile has.
func document(t testing.TB, keys map[string]any) []byte {
	t.Helper()
	top := map[string]any{"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "p", "PayloadUUID": "u"}
	for key, value := range keys {
		top[key] = value
		if value == nil {
			delete(top, key)
		}
	}
	data, err := plistx.Marshal(top)
	require.NoError(t, err)
	return data
}

// What says how long a profile stays, for whom it is and what its user is asked has the types of Apple's schema.
func TestHeaderHasTheTypesOfTheSchema(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 8, 9, 10, 11, 12, 0, time.FixedZone("", 7200))
	p := &profile.Profile{Identifier: "p", DisplayName: "N", Description: "D", Organization: "O", Scope: profile.ScopeSystem, TargetDeviceType: 5,
		RemovalDisallowed: true, HasRemovalPasscode: true, RemovalDate: at, ExpirationDate: at.Add(time.Hour), DurationUntilRemoval: 90 * time.Minute,
		ConsentText: map[string]string{"default": "Agree?", "de": "Ja & Amen?"}}
	data, err := p.Encode()
	require.NoError(t, err)
	var top map[string]any
	require.NoError(t, plistx.Unmarshal(data, &top))
	assert.Equal(t, map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": uint64(1), "PayloadIdentifier": "p", "PayloadUUID": profile.UUID("p"),
		"PayloadDisplayName": "N", "PayloadDescription": "D", "PayloadOrganization": "O", "PayloadScope": "System",
		"PayloadRemovalDisallowed": true, "HasRemovalPasscode": true, "TargetDeviceType": uint64(5), "PayloadContent": []any{},
		"RemovalDate": at.UTC(), "PayloadExpirationDate": at.Add(time.Hour).UTC(), "DurationUntilRemoval": 5400.0,
		"ConsentText": map[string]any{"default": "Agree?", "de": "Ja & Amen?"},
	}, top)
	assert.Contains(t, string(data), "<real>5400</real>")
	assert.Contains(t, string(data), "<date>2027-08-09T08:11:12Z</date>")
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	p.UUID, p.RemovalDate, p.ExpirationDate = profile.UUID("p"), p.RemovalDate.UTC(), p.ExpirationDate.UTC()
	assert.Equal(t, p, parsed.Profile)
	assert.Empty(t, parsed.Profile.Validate(schema.Target{}))
}

func TestDurationsAreTheSameAgain(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, time.Millisecond, 2300 * time.Millisecond, time.Second / 3, 100*24*time.Hour + time.Millisecond,
		time.Nanosecond, 600 * time.Microsecond, math.MaxInt64, -time.Second} {
		data, err := (&profile.Profile{Identifier: "p", DurationUntilRemoval: d}).Encode()
		require.NoError(t, err)
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		again, err := parsed.Profile.Encode()
		require.NoError(t, err)
		assert.Equal(t, string(data), string(again), d)
		assert.Equal(t, max(0, d).Truncate(time.Millisecond), parsed.Profile.DurationUntilRemoval, d)
	}
}

// What a field cannot hold is kept as it came.
func TestOddHeadersSurvive(t *testing.T) {
	t.Parallel()
	for key, values := range map[string][]any{
		"DurationUntilRemoval": {0, -5, 1e300, "soon", 0.0001, math.NaN(), math.Inf(1), uint64(math.MaxUint64)},
		"TargetDeviceType":     {-1, "5", uint64(math.MaxUint64)},
		"ConsentText":          {"text", map[string]any{"default": 5, "de": "x"}, map[string]any{}},
		"RemovalDate":          {"tomorrow"},
		"PayloadVersion":       {2, "1"},
		"PayloadScope":         {7},
		"HasRemovalPasscode":   {1},
	} {
		for _, value := range values {
			data := document(t, map[string]any{"PayloadContent": []any{}, key: value})
			parsed, err := profile.Parse(data)
			require.NoError(t, err, "%s %v", key, value)
			assert.Contains(t, parsed.Profile.Extra, key, "%v", value)
			again, err := parsed.Profile.Encode()
			require.NoError(t, err)
			assert.Equal(t, plain(t, data), plain(t, again), "%s %v", key, value)
		}
	}
}

// plain is a document without what tells its writers apart.
func plain(t testing.TB, data []byte) string {
	t.Helper()
	return strings.NewReplacer("\n", "", "\t", "").Replace(string(data))
}

func TestExtraDoesNotSayWhatAProfileIs(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"PayloadType", "PayloadContent", "IsEncrypted", "EncryptedPayloadContent"} {
		_, err := (&profile.Profile{Identifier: "p", Extra: map[string]any{key: "x"}}).Encode()
		require.ErrorContains(t, err, key)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
	for name, extra := range map[string]any{"no value": nil, "no form": struct{ C chan int }{}} {
		_, err := (&profile.Profile{Identifier: "p", Extra: map[string]any{"Key": extra}}).Encode()
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

// Encrypted or not: a profile must not leave that open.
func TestEncryptedOrNot(t *testing.T) {
	t.Parallel()
	sealed, none := []byte{0x30}, []any{}
	for name, tt := range map[string]struct {
		keys map[string]any
		want string // part of the error; empty: it is read
	}{
		"plain":                    {map[string]any{"PayloadContent": none}, ""},
		"plain, and says so":       {map[string]any{"PayloadContent": none, "IsEncrypted": false}, ""},
		"encrypted":                {map[string]any{"EncryptedPayloadContent": sealed, "IsEncrypted": true}, ""},
		"encrypted, not said":      {map[string]any{"EncryptedPayloadContent": sealed}, ""},
		"both":                     {map[string]any{"EncryptedPayloadContent": sealed, "IsEncrypted": true, "PayloadContent": none}, "both"},
		"both, not said":           {map[string]any{"EncryptedPayloadContent": sealed, "PayloadContent": none}, "both"},
		"encrypted, denied":        {map[string]any{"EncryptedPayloadContent": sealed, "IsEncrypted": false}, "is false"},
		"both, denied":             {map[string]any{"EncryptedPayloadContent": sealed, "IsEncrypted": false, "PayloadContent": none}, "is false"},
		"said, without content":    {map[string]any{"IsEncrypted": true}, "missing"},
		"said, with plain content": {map[string]any{"IsEncrypted": true, "PayloadContent": none}, "missing"},
		"said with a number":       {map[string]any{"IsEncrypted": 1, "PayloadContent": none}, "no boolean"},
		"encrypted text":           {map[string]any{"EncryptedPayloadContent": "MA==", "IsEncrypted": true}, "no data"},
		"empty":                    {map[string]any{"EncryptedPayloadContent": []byte{}, "IsEncrypted": true}, "empty"},
		"neither":                  {nil, "no array"},
	} {
		parsed, err := profile.Parse(document(t, tt.keys))
		if tt.want != "" {
			require.ErrorContains(t, err, tt.want, name)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
			continue
		}
		require.NoError(t, err, name)
		assert.Empty(t, parsed.Profile.Extra, name)
		assert.Equal(t, tt.keys["EncryptedPayloadContent"] != nil, parsed.Profile.EncryptedContent != nil, name)
	}
	_, err := (&profile.Profile{Identifier: "p", EncryptedContent: sealed, Payloads: []profile.Payload{&profile.WiFi{}}}).Encode()
	require.ErrorContains(t, err, "too")
}

func TestRemovalPassword(t *testing.T) {
	t.Parallel()
	wifi := &profile.WiFi{SSIDStr: new("s")}
	list := []profile.Payload{wifi}
	p := &profile.Profile{Identifier: "p", Payloads: list}
	assert.True(t, p.RemovalPassword().IsZero())
	p.SetRemovalPassword(mdm.SecretString("first"))
	p.SetRemovalPassword(mdm.SecretString("sesame"))
	require.Len(t, p.Payloads, 2)
	assert.True(t, p.RemovalDisallowed)
	assert.True(t, p.HasRemovalPasscode)
	assert.Empty(t, p.Validate(schema.Target{}))

	data, err := p.Encode()
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	again := parsed.Profile
	assert.Equal(t, "sesame", string(again.RemovalPassword().Reveal()))
	assert.True(t, again.RemovalDisallowed)
	assert.True(t, again.HasRemovalPasscode)
	before := again.Payloads
	again.SetRemovalPassword(mdm.SecretString("other"))
	assert.Equal(t, "sesame", string(before[1].(*profile.ProfileRemovalPassword).RemovalPassword.Reveal()), "shared payloads do not change")
	assert.Equal(t, "p.com.apple.profileRemovalPassword", again.Payloads[1].(*profile.ProfileRemovalPassword).PayloadIdentifier)

	again.RemovalDisallowed = false
	found := again.Validate(schema.Target{})
	require.Len(t, found, 1)
	assert.True(t, found[0].Warning)
	assert.Equal(t, "PayloadContent[1]", found[0].Path)

	again.SetRemovalPassword(mdm.Secret{})
	assert.Len(t, again.Payloads, 1)
	assert.False(t, again.HasRemovalPasscode)
	raw := &profile.Profile{Payloads: []profile.Payload{&profile.Raw{Type: profile.TypeProfileRemovalPassword, Values: map[string]any{"RemovalPassword": "raw"}}}}
	assert.Equal(t, "raw", string(raw.RemovalPassword().Reveal()))
	raw.SetRemovalPassword(mdm.SecretString("typed"))
	assert.Equal(t, "typed", string(raw.RemovalPassword().Reveal()))
	broken := &profile.Profile{Identifier: "p", Payloads: []profile.Payload{nil, (*profile.ProfileRemovalPassword)(nil), (*profile.ProfileRemovalPassword)(nil)}}
	assert.True(t, broken.RemovalPassword().IsZero())
	assert.Len(t, broken.Validate(schema.Target{Platform: schema.IOS}), 3, "none of them is a payload")
	assert.Equal(t, []profile.Payload{wifi}, list)
}
