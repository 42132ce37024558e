package profile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

const (
	uuidA = "AAAAAAAA-0000-4000-8000-000000000001"
	uuidB = "BBBBBBBB-0000-4000-8000-000000000002"
	uuidC = "CCCCCCCC-0000-4000-8000-000000000003"
	uuidD = "DDDDDDDD-0000-4000-8000-000000000004"
	uuidE = "EEEEEEEE-0000-4000-8000-000000000005"
)

func common(identifier, uuid string) profile.Common {
	return profile.Common{PayloadIdentifier: identifier, PayloadUUID: uuid}
}

// office has two accounts that share a certificate, one of which has an identity, too; a network that uses the shared
// certificate; a passcode policy; and a lock.
func office() *profile.Profile {
	return &profile.Profile{
		Identifier: "com.example.office", UUID: uuidE, DisplayName: "Office", Scope: profile.ScopeUser, RemovalDisallowed: true,
		RemovalDate: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), DurationUntilRemoval: time.Hour, ExpirationDate: time.Date(2029, 1, 2, 3, 4, 5, 0, time.UTC),
		ConsentText: map[string]string{"default": "Agree?"}, TargetDeviceType: 1, Extra: map[string]any{"HasRemovalPasscode": true},
		Payloads: []profile.Payload{
			&profile.Passcode{Common: common("com.example.office.passcode", "")},
			&profile.PKCS12{Common: common("com.example.office.identity", uuidA), PayloadContent: []byte{1}},
			&profile.Certificate{Common: common("elsewhere.shared", uuidB), PayloadContent: []byte{2}},
			&profile.ExchangeActiveSync{Common: profile.Common{PayloadIdentifier: "com.example.office.work", PayloadUUID: uuidC, PayloadDisplayName: "Work"},
				PayloadCertificateUUID: new(uuidA), SMIMESigningCertificateUUID: new(strings.ToLower(uuidB)), Password: mdm.SecretString("one")},
			&profile.Mail{Common: common("com.example.office.team", uuidD), SMIMESigningCertificateUUID: new(uuidB)},
			&profile.WiFi{Common: common("com.example.office.wifi", ""), EAPClientConfiguration: &profile.WiFiEAPClientConfiguration{PayloadCertificateAnchorUUID: []string{uuidB}}},
			&profile.ProfileRemovalPassword{RemovalPassword: mdm.SecretString("lock")},
		},
	}
}

func typesIn(p *profile.Profile) []string {
	var out []string
	for _, payload := range p.Payloads {
		out = append(out, payload.PayloadType())
	}
	return out
}

func TestSplit(t *testing.T) {
	whole := office()
	before, err := whole.Encode()
	require.NoError(t, err)
	parts, err := profile.Split(whole)
	require.NoError(t, err)
	require.Len(t, parts, 3)
	rest, work, team := parts[0], parts[1], parts[2]

	assert.Equal(t, []string{"com.example.office", "com.example.office.account.work", "com.example.office.account.team"},
		[]string{rest.Identifier, work.Identifier, team.Identifier})
	assert.Equal(t, []string{uuidE, "", ""}, []string{rest.UUID, work.UUID, team.UUID})
	assert.Equal(t, []string{"Office", "Work", "Office"}, []string{rest.DisplayName, work.DisplayName, team.DisplayName})
	assert.Equal(t, []string{profile.TypePasscode, profile.TypeCertificate, profile.TypeWiFi, profile.TypeProfileRemovalPassword}, typesIn(rest),
		"the certificate is needed by the network, the identity by an account only")
	assert.Equal(t, []string{profile.TypePKCS12, profile.TypeCertificate, profile.TypeProfileRemovalPassword, profile.TypeExchangeActiveSync}, typesIn(work))
	assert.Equal(t, []string{profile.TypeCertificate, profile.TypeProfileRemovalPassword, profile.TypeMail}, typesIn(team))

	// The accounts are as they were, and name what is beside them.
	eas, mail := work.Payloads[3].(*profile.ExchangeActiveSync), team.Payloads[2].(*profile.Mail)
	assert.Equal(t, common("com.example.office.team", uuidD), mail.Common)
	assert.Equal(t, uuidC, eas.PayloadUUID)
	assert.Equal(t, "one", string(eas.Password.Reveal()))
	identity, shared, sharedToo := work.Payloads[0].(*profile.PKCS12), work.Payloads[1].(*profile.Certificate), team.Payloads[0].(*profile.Certificate)
	assert.Equal(t, identity.PayloadUUID, *eas.PayloadCertificateUUID)
	assert.Equal(t, shared.PayloadUUID, *eas.SMIMESigningCertificateUUID)
	assert.Equal(t, sharedToo.PayloadUUID, *mail.SMIMESigningCertificateUUID)
	assert.Equal(t, "com.example.office.account.work.identity", identity.PayloadIdentifier)
	assert.Equal(t, "com.example.office.account.work.elsewhere.shared", shared.PayloadIdentifier)
	assert.Equal(t, uuidB, rest.Payloads[1].(*profile.Certificate).PayloadUUID)
	assert.NotContains(t, []string{uuidB, shared.PayloadUUID}, sharedToo.PayloadUUID)

	for _, part := range parts {
		assert.Equal(t, profile.ScopeUser, part.Scope)
		assert.True(t, part.RemovalDisallowed)
		assert.Equal(t, whole.RemovalDate, part.RemovalDate)
		assert.Equal(t, whole.DurationUntilRemoval, part.DurationUntilRemoval)
		assert.Equal(t, whole.ExpirationDate, part.ExpirationDate)
		assert.Equal(t, whole.ConsentText, part.ConsentText)
		assert.Equal(t, whole.TargetDeviceType, part.TargetDeviceType)
		assert.Equal(t, whole.Extra, part.Extra)
		_, err := part.Encode()
		require.NoError(t, err)
	}

	// The whole is untouched, also by what is done to the parts.
	shared.PayloadContent, work.ConsentText["default"], *eas.PayloadCertificateUUID = nil, "changed", "changed"
	after, err := whole.Encode()
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
}

// What an account's profile is does not depend on what is beside the account, so that a change elsewhere does not touch it.
func TestSplitIsStable(t *testing.T) {
	encoded := func(p *profile.Profile, identifier string) string {
		parts, err := profile.Split(p)
		require.NoError(t, err)
		i := slices.IndexFunc(parts, func(part *profile.Profile) bool { return part.Identifier == identifier })
		require.GreaterOrEqual(t, i, 0)
		data, err := parts[i].Encode()
		require.NoError(t, err)
		return string(data)
	}
	const work = "com.example.office.account.work"
	want := encoded(office(), work)
	assert.Equal(t, want, encoded(office(), work))

	changed := office()
	changed.Payloads = slices.Delete(changed.Payloads, 5, 6) // nobody but the accounts needs the certificate now
	changed.Payloads = append(changed.Payloads, &profile.Mail{Common: common("com.example.office.new", ""), SMIMESigningCertificateUUID: new(uuidA)})
	assert.Equal(t, want, encoded(changed, work))

	// A new identity makes a new payload, so that the device fetches it.
	renewed := office()
	renewed.Payloads[1].(*profile.PKCS12).PayloadUUID = uuidE
	renewed.Payloads[3].(*profile.ExchangeActiveSync).PayloadCertificateUUID = new(uuidE)
	assert.NotEqual(t, want, encoded(renewed, work))
	assert.Equal(t, encoded(office(), "com.example.office.account.team"), encoded(renewed, "com.example.office.account.team"))

	// What was read from a file is split as what was built.
	data, err := office().Encode()
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	parsed.Profile.Payloads[3] = raw(t, parsed.Profile.Payloads[3])
	assert.Equal(t, want, encoded(parsed.Profile, work))
}

// raw is a payload without its type's struct.
func raw(t *testing.T, p profile.Payload) profile.Payload {
	t.Helper()
	keys, err := profile.Keys(p)
	require.NoError(t, err)
	return &profile.Raw{Type: p.PayloadType(), Values: keys}
}

func TestSplitFollowsReferences(t *testing.T) {
	p := &profile.Profile{Identifier: "a", Payloads: []profile.Payload{
		&profile.Mail{Common: common("a.one", uuidA)},
		&profile.Raw{Type: "com.example.mail-helper", Values: map[string]any{"PayloadIdentifier": "helper", "PayloadUUID": uuidB, "Deep": []any{map[string]any{"certificate": uuidC, "back": uuidD}}}},
		&profile.Certificate{Common: common("", uuidC)},
		&profile.Mail{Common: common("a.two", uuidD), Extra: map[string]any{"Helper": uuidB}},
	}}
	parts, err := profile.Split(p)
	require.NoError(t, err)
	require.Len(t, parts, 2, "nothing is left for the rest")
	assert.Equal(t, []string{profile.TypeMail}, typesIn(parts[0]))
	assert.Equal(t, []string{"com.example.mail-helper", profile.TypeCertificate, profile.TypeMail}, typesIn(parts[1]))
	deep := parts[1].Payloads[0].(*profile.Raw).Values["Deep"].([]any)[0].(map[string]any)
	assert.Equal(t, parts[1].Payloads[1].(*profile.Certificate).PayloadUUID, deep["certificate"])
	assert.Equal(t, uuidD, deep["back"], "an account keeps its UUID")
	assert.Equal(t, "a.account.two.com.apple.security.pkcs1."+uuidC, parts[1].Payloads[1].(*profile.Certificate).PayloadIdentifier)
}

func TestSplitLeavesAlone(t *testing.T) {
	for _, p := range []*profile.Profile{
		{Identifier: "a"},
		{Identifier: "a", Payloads: []profile.Payload{&profile.Mail{}, &profile.Passcode{}}},
	} {
		parts, err := profile.Split(p)
		require.NoError(t, err)
		require.Len(t, parts, 1)
		assert.Same(t, p, parts[0])
	}
	// A lock alone is no rest.
	parts, err := profile.Split(&profile.Profile{Identifier: "a", Payloads: []profile.Payload{&profile.ProfileRemovalPassword{},
		&profile.Mail{Common: common("a.x", "")}, &profile.Mail{Common: common("a.y", "")}}})
	require.NoError(t, err)
	assert.Len(t, parts, 2)
}

func TestSplitRefuses(t *testing.T) {
	for want, p := range map[string]*profile.Profile{
		"encrypted":                 {Identifier: "a", EncryptedContent: []byte{1}},
		"needs a PayloadIdentifier": {Identifier: "a", Payloads: []profile.Payload{&profile.Mail{Common: common("a.x", "")}, &profile.Mail{}}},
		"profiles of one name":      {Identifier: "a", Payloads: []profile.Payload{&profile.Mail{Common: common("a.x", "")}, &profile.Mail{Common: common("x", "")}}},
		"PayloadContent[0]":         {Identifier: "a", Payloads: []profile.Payload{nil}},
		"used twice": {Identifier: "a", Payloads: []profile.Payload{&profile.Mail{Common: common("a.x", "")}, &profile.Mail{Common: common("a.y", "")},
			&profile.Dock{Common: common("same", "")}, &profile.Dock{Common: common("same", "")}}},
	} {
		_, err := profile.Split(p)
		require.ErrorContains(t, err, want)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
}

// Each account gets copies of what it names, at any distance; a profile can be made so that this is more than memory holds.
func TestSplitIsBounded(t *testing.T) {
	p := &profile.Profile{Identifier: "a"}
	id := func(i int) string { return fmt.Sprintf("AAAAAAAA-0000-4000-8000-%012d", i) }
	for i := range 200 {
		p.Payloads = append(p.Payloads, &profile.Raw{Type: "com.example.link", Values: map[string]any{"PayloadIdentifier": fmt.Sprint("link", i), "PayloadUUID": id(i), "next": id(i + 1)}})
	}
	for i := range 100 {
		p.Payloads = append(p.Payloads, &profile.Mail{Common: common(fmt.Sprint("a.", i), ""), SMIMESigningCertificateUUID: new(id(0))})
	}
	_, err := profile.Split(p)
	require.ErrorContains(t, err, "10000 payloads")
	p.Payloads = p.Payloads[:240]
	parts, err := profile.Split(p)
	require.NoError(t, err)
	assert.Len(t, parts, 40)
}

// A profile that grew is cut into one for each account; a new password then touches one of them.
func ExampleSplit() {
	parts, err := profile.Split(&profile.Profile{Identifier: "com.example.office", Payloads: []profile.Payload{
		&profile.Passcode{ForcePIN: new(true)},
		&profile.CalDAV{Common: profile.Common{PayloadIdentifier: "com.example.office.calendar"}, CalDAVHostName: "cal.example.com"},
		&profile.LDAP{Common: profile.Common{PayloadIdentifier: "com.example.office.directory"}, LDAPAccountHostName: "ldap.example.com"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, part := range parts {
		fmt.Println(part.Identifier)
	}
	changed, err := profile.ReplaceCredential(parts[1], profile.Credential{Password: mdm.SecretString("new")})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("install", changed.Identifier)
	// Output:
	// com.example.office
	// com.example.office.account.calendar
	// com.example.office.account.directory
	// install com.example.office.account.calendar
}
