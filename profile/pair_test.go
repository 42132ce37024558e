package profile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

func policy() *profile.Profile {
	return &profile.Profile{Identifier: "com.example.policy", Payloads: []profile.Payload{&profile.Passcode{ForcePIN: new(true)}}}
}

func network() *profile.Profile {
	return &profile.Profile{Identifier: "com.example.wifi", DisplayName: "Network", Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new("Office")}}}
}

func TestPair(t *testing.T) {
	r, c := policy(), network()
	day := func(d int) time.Time { return time.Date(2030, 1, d, 0, 0, 0, 0, time.UTC) }
	r.RemovalDisallowed, r.Scope, r.ExpirationDate, r.DurationUntilRemoval = true, profile.ScopeSystem, day(3), time.Hour
	c.RemovalDate, c.ExpirationDate, c.TargetDeviceType, c.DurationUntilRemoval = day(1), day(2), 5, time.Minute
	r.ConsentText = map[string]string{"default": "A passcode.", "de": "Ein Code."}
	c.ConsentText = map[string]string{"default": "A network."}
	p, err := profile.Pair(r, c)
	require.NoError(t, err)
	assert.Equal(t, "com.example.wifi", p.Identifier)
	assert.Equal(t, "Network", p.DisplayName)
	assert.Equal(t, []string{profile.TypePasscode, profile.TypeWiFi}, typesIn(p))
	assert.True(t, p.RemovalDisallowed)
	assert.Equal(t, profile.ScopeSystem, p.Scope)
	assert.Equal(t, []time.Time{day(1), day(2)}, []time.Time{p.RemovalDate, p.ExpirationDate})
	assert.Equal(t, time.Minute, p.DurationUntilRemoval)
	assert.Equal(t, int64(5), p.TargetDeviceType)
	assert.Equal(t, map[string]string{"default": "A passcode.\n\nA network.", "de": "Ein Code.\n\nA network."}, p.ConsentText)
	// The payloads are the same to a device as they were, although their places changed.
	assert.Equal(t, c.PayloadIDs()[0].UUID, p.PayloadIDs()[1].UUID)
}

func TestPairRefuses(t *testing.T) {
	scoped := func(p *profile.Profile, s profile.Scope, device int64) *profile.Profile {
		p.Scope, p.TargetDeviceType = s, device
		return p
	}
	twin := network()
	twin.Payloads[0].(*profile.WiFi).Common = common("x", uuidA)
	other := policy()
	other.Payloads[0].(*profile.Passcode).Common = common("x", uuidB)
	for want, pair := range map[string][2]*profile.Profile{
		"holds no restriction":    {network(), network()},
		"holds no capability":     {policy(), policy()},
		"scopes differ":           {scoped(policy(), profile.ScopeUser, 0), scoped(network(), profile.ScopeSystem, 0)},
		"kinds of devices":        {scoped(policy(), "", 1), scoped(network(), "", 5)},
		"used twice":              {other, twin},
		"encrypted":               {&profile.Profile{EncryptedContent: []byte{1}}, network()},
		"the profile with the co": {policy(), {Identifier: "a", Payloads: []profile.Payload{&profile.WiFi{}, &profile.MDM{}}}},
	} {
		_, err := profile.Pair(pair[0], pair[1])
		require.ErrorContains(t, err, want)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
}

func TestSequence(t *testing.T) {
	r, c := policy(), network()
	s, err := profile.NewSequence(r, c)
	require.NoError(t, err)
	assert.True(t, s.Restriction.RemovalDisallowed)
	assert.False(t, r.RemovalDisallowed, "the caller's profile is untouched")
	assert.Same(t, c, s.Capability)
	assert.Equal(t, profile.Gate{Before: c.Identifier, Installed: []string{r.Identifier}, Compliant: []profile.Compliance{profile.CompliantPasscode}}, s.Gate)

	r.Payloads = []profile.Payload{&profile.Firewall{}, &profile.FileVault{}, &profile.Restrictions{}, &profile.Firewall{}}
	s, err = profile.NewSequence(r, c)
	require.NoError(t, err)
	assert.Equal(t, []profile.Compliance{profile.CompliantFirewall, profile.CompliantFileVault}, s.Gate.Compliant)

	r.Identifier = c.Identifier
	_, err = profile.NewSequence(r, c)
	require.ErrorContains(t, err, "would replace the other")
	_, err = profile.NewSequence(c, r)
	require.ErrorContains(t, err, "holds no restriction")
}

// The network comes with the passcode policy, and goes with it.
func ExamplePair() {
	policy := &profile.Profile{Identifier: "com.example.policy", Payloads: []profile.Payload{&profile.Passcode{ForcePIN: new(true)}}}
	network := &profile.Profile{Identifier: "com.example.network", Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new("Office")}}}
	p, err := profile.Pair(policy, network)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Identifier)
	for _, payload := range p.Payloads {
		fmt.Println(payload.PayloadType())
	}
	// Output:
	// com.example.network
	// com.apple.mobiledevice.passwordpolicy
	// com.apple.wifi.managed
}

// The network waits for the passcode.
func ExampleNewSequence() {
	policy := &profile.Profile{Identifier: "com.example.policy", Payloads: []profile.Payload{&profile.Passcode{ForcePIN: new(true)}}}
	network := &profile.Profile{Identifier: "com.example.network", Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new("Office")}}}
	s, err := profile.NewSequence(policy, network)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Gate.Before, "after", s.Gate.Installed, "and", s.Gate.Compliant)
	// Output: com.example.network after [com.example.policy] and [passcode]
}
