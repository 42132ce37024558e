package profile_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// enrolled is a profile with an MDM payload, as change makes it.
func enrolled(t *testing.T, change func(*profile.MDM)) *profile.Profile {
	t.Helper()
	p, err := recipe().Profile()
	require.NoError(t, err)
	if change != nil {
		change(p.Payloads[3].(*profile.MDM))
	}
	return p
}

func rulesOf(problems []profile.Problem) (rules, paths []string) {
	for _, p := range problems {
		rules, paths = append(rules, p.Rule), append(paths, p.Path)
	}
	return rules, paths
}

// What may not change may not change in either direction: set, cleared, or to another value.
func TestUpdateRefuses(t *testing.T) {
	type change = func(*profile.MDM)
	perUser := []profile.MDMServerCapability{profile.MDMServerCapabilityPerUserConnections}
	tests := map[string]struct {
		rule, path string
		a, b       change
	}{
		"topic":      {"update-topic", "Topic", func(m *profile.MDM) { m.Topic = "com.apple.mgmt.a" }, func(m *profile.MDM) { m.Topic = "com.apple.mgmt.b" }},
		"server":     {"update-server-url", "ServerURL", func(m *profile.MDM) { m.CheckInURL = new("https://c") }, func(m *profile.MDM) { m.CheckInURL, m.ServerURL = new("https://c"), "https://b" }},
		"check-in":   {"update-check-in-url", "CheckInURL", func(m *profile.MDM) {}, func(m *profile.MDM) { m.CheckInURL = new("https://b") }},
		"account":    {"update-apple-account", "AssignedManagedAppleID", func(m *profile.MDM) {}, func(m *profile.MDM) { m.AssignedManagedAppleID = new("a@example.com") }},
		"mode":       {"update-enrollment-mode", "EnrollmentMode", func(m *profile.MDM) {}, func(m *profile.MDM) { m.EnrollmentMode = new(profile.MDMEnrollmentModeADDE) }},
		"modes":      {"update-enrollment-mode", "EnrollmentMode", func(m *profile.MDM) { m.EnrollmentMode = new(profile.MDMEnrollmentModeBYOD) }, func(m *profile.MDM) { m.EnrollmentMode = new(profile.MDMEnrollmentModeADDE) }},
		"app":        {"update-app", "RequiredAppIDForMDM", func(m *profile.MDM) {}, func(m *profile.MDM) { m.RequiredAppIDForMDM = new(int64(1)) }},
		"user chans": {"update-user-channels", "ServerCapabilities", func(m *profile.MDM) { m.ServerCapabilities = nil }, func(m *profile.MDM) { m.ServerCapabilities = perUser }},
	}
	for name, tt := range tests {
		for _, way := range [][2]change{{tt.a, tt.b}, {tt.b, tt.a}} {
			rules, paths := rulesOf(profile.ValidateUpdate(enrolled(t, way[0]), enrolled(t, way[1])))
			assert.Equal(t, []string{tt.rule}, rules, name)
			assert.Equal(t, []string{"PayloadContent[3]." + tt.path}, paths, name)
		}
		for _, same := range []change{tt.a, tt.b} {
			assert.Empty(t, profile.ValidateUpdate(enrolled(t, same), enrolled(t, same)), name)
		}
	}
}

func TestUpdateOfRightsIsOneWay(t *testing.T) {
	rights := func(r mdm.AccessRights) func(*profile.MDM) {
		return func(m *profile.MDM) { m.AccessRights = new(int64(r)) }
	}
	few, many := rights(mdm.InspectProfiles), rights(mdm.InspectProfiles|mdm.Erase)
	assert.Empty(t, profile.ValidateUpdate(enrolled(t, many), enrolled(t, few)))
	rules, _ := rulesOf(profile.ValidateUpdate(enrolled(t, few), enrolled(t, many)))
	assert.Equal(t, []string{"update-rights"}, rules)
	// One bit for another is an addition.
	rules, _ = rulesOf(profile.ValidateUpdate(enrolled(t, rights(mdm.Erase)), enrolled(t, few)))
	assert.Equal(t, []string{"update-rights"}, rules)
}

func TestUpdateAllows(t *testing.T) {
	for name, change := range map[string]func(*profile.MDM){
		"a check-in URL that is the default": func(m *profile.MDM) { m.CheckInURL = new(m.ServerURL) },
		"SignMessage":                        func(m *profile.MDM) { m.SignMessage = new(true) },
		"another identity":                   func(m *profile.MDM) { m.IdentityCertificateUUID = "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF" },
		"CheckOutWhenRemoved":                func(m *profile.MDM) { m.CheckOutWhenRemoved = new(false) },
		"other capabilities":                 func(m *profile.MDM) { m.ServerCapabilities = m.ServerCapabilities[:1] },
		"pins":                               func(m *profile.MDM) { m.ServerURLPinningCertificateUUIDs = []string{"x"} },
	} {
		assert.Empty(t, profile.ValidateUpdate(enrolled(t, nil), enrolled(t, change)), name)
		assert.Empty(t, profile.ValidateUpdate(enrolled(t, change), enrolled(t, nil)), name)
	}
}

func TestUpdateOfTheWholeProfile(t *testing.T) {
	old := enrolled(t, nil)

	next := enrolled(t, nil)
	next.Identifier = "com.example.other"
	rules, paths := rulesOf(profile.ValidateUpdate(old, next))
	assert.Equal(t, []string{"update-identifier"}, rules)
	assert.Equal(t, []string{"PayloadIdentifier"}, paths)

	next = enrolled(t, nil)
	next.Payloads = next.Payloads[:3]
	rules, _ = rulesOf(profile.ValidateUpdate(old, next))
	assert.Equal(t, []string{"update-mdm"}, rules)

	next = enrolled(t, nil)
	second := *next.Payloads[3].(*profile.MDM)
	second.PayloadIdentifier = "second"
	next.Payloads = append(next.Payloads, &second)
	rules, paths = rulesOf(profile.ValidateUpdate(old, next))
	assert.Equal(t, []string{"update-one-mdm"}, rules)
	assert.Equal(t, []string{"PayloadContent[4]"}, paths)

	rules, _ = rulesOf(profile.ValidateUpdate(old, &profile.Profile{Identifier: old.Identifier, EncryptedContent: []byte{1}}))
	assert.Equal(t, []string{"update-encrypted"}, rules)

	// Of other profiles everything but the identifier may change; what is parsed is compared as what is built.
	plain := &profile.Profile{Identifier: "a", Payloads: []profile.Payload{&profile.WiFi{}}}
	assert.Empty(t, profile.ValidateUpdate(plain, &profile.Profile{Identifier: "a"}))
	raw := enrolled(t, nil)
	m := raw.Payloads[3].(*profile.MDM)
	raw.Payloads[3] = &profile.Raw{Type: profile.TypeMDM, Values: map[string]any{"Topic": "com.apple.mgmt.other", "ServerURL": m.ServerURL,
		"AccessRights": *m.AccessRights, "ServerCapabilities": []any{"com.apple.mdm.per-user-connections"}}}
	rules, _ = rulesOf(profile.ValidateUpdate(old, raw))
	assert.Equal(t, []string{"update-topic"}, rules)
}
