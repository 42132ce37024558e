package identity_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

var (
	phone = mdm.EnrollmentID{Device: "UDID"}
	anna  = mdm.EnrollmentID{Device: "UDID", User: "anna"}
)

func row(id mdm.EnrollmentID, state mdm.State) *mdm.Enrollment {
	return &mdm.Enrollment{ID: id, State: state, Generation: 3, PushToken: []byte{1}, Device: mdm.Device{ProductName: "iPhone15,2", OSVersion: "18.0"}}
}

func cert(owner string, status mdm.CertificateStatus) *mdm.Certificate {
	return &mdm.Certificate{Fingerprint: mdm.FingerprintOf(device().cert), Device: owner, Status: status}
}

func claim(id mdm.EnrollmentID, message string) identity.Claim {
	return identity.Claim{ID: id, Message: message, At: now, Certificate: device().cert, Fingerprint: mdm.FingerprintOf(device().cert)}
}

func standing(e *mdm.Enrollment, c *mdm.Certificate) identity.Standing {
	return identity.Standing{Enrollment: e, Device: e, Certificate: c}
}

// TestAdmit goes through the table of who may speak for a device.
func TestAdmit(t *testing.T) {
	enrolled, ended := row(phone, mdm.Enrolled), row(phone, mdm.Ended)
	pending := row(phone, mdm.Pending)
	denied := standing(enrolled, cert("UDID", mdm.CertificateActive))
	denied.Denied = "stolen"
	deniedEnded := standing(ended, cert("UDID", mdm.CertificateActive))
	deniedEnded.Denied = "stolen"
	replaced := standing(pending, cert("UDID", mdm.CertificateActive))
	replaced.Pending = &mdm.Certificate{Fingerprint: mdm.Fingerprint{9}}
	tokenless := row(phone, mdm.Pending)
	tokenless.PushToken = nil
	first := standing(tokenless, cert("UDID", mdm.CertificateActive))
	first.Pending = replaced.Pending
	renewed := cert("UDID", mdm.CertificateIssued)
	renewed.Purpose = mdm.PurposeRenew
	enroll := cert("UDID", mdm.CertificateIssued)
	enroll.Purpose = mdm.PurposeEnroll
	tenants := cert("UDID", mdm.CertificateActive)
	tenants.Tenant = "other"
	const none = mdm.EventType("")
	tests := map[string]struct {
		standing identity.Standing
		message  string
		ok       bool
		code     mdm.Code
		event    mdm.EventType
	}{
		"its active certificate":        {standing(enrolled, cert("UDID", mdm.CertificateActive)), "", true, 0, none},
		"its pending certificate":       {standing(enrolled, cert("UDID", mdm.CertificatePending)), "TokenUpdate", true, 0, none},
		"the old one after a rollback":  {replaced, "", true, 0, mdm.EventRolledBack},
		"the same one for the new":      {standing(pending, cert("UDID", mdm.CertificateActive)), "TokenUpdate", true, 0, none},
		"the old one, never pushed":     {first, "", true, 0, none},
		"renewed, before Authenticate":  {standing(enrolled, renewed), "", true, 0, mdm.EventRenewed},
		"issued, before Authenticate":   {standing(enrolled, cert("UDID", mdm.CertificateIssued)), "", false, mdm.Forbidden, none},
		"issued to enroll":              {standing(enrolled, enroll), "TokenUpdate", false, mdm.Forbidden, none},
		"no status":                     {standing(enrolled, cert("UDID", 0)), "", false, mdm.Forbidden, none},
		"retired, while enrolling":      {standing(pending, cert("UDID", mdm.CertificateRetired)), "TokenUpdate", false, mdm.Forbidden, none},
		"retired":                       {standing(enrolled, cert("UDID", mdm.CertificateRetired)), "", false, mdm.Forbidden, none},
		"retired, TokenUpdate":          {standing(enrolled, cert("UDID", mdm.CertificateRetired)), "TokenUpdate", true, 0, none},
		"revoked":                       {standing(enrolled, cert("UDID", mdm.CertificateRevoked)), "TokenUpdate", false, mdm.Forbidden, none},
		"another device's":              {standing(enrolled, cert("OTHER", mdm.CertificateActive)), "", false, mdm.Forbidden, mdm.EventConflict},
		"another tenant's":              {standing(enrolled, tenants), "", false, mdm.Forbidden, mdm.EventConflict},
		"another device's, TokenUpdate": {standing(enrolled, cert("OTHER", mdm.CertificatePending)), "TokenUpdate", false, mdm.Forbidden, mdm.EventConflict},
		"nobody's":                      {standing(enrolled, cert("", mdm.CertificateIssued)), "", false, mdm.Forbidden, mdm.EventConflict},
		"not on record":                 {standing(enrolled, nil), "", false, mdm.Forbidden, mdm.EventConflict},
		"ended":                         {standing(ended, cert("UDID", mdm.CertificateActive)), "", false, mdm.Unmanaged, mdm.EventRefused},
		"ended, TokenUpdate":            {standing(ended, cert("UDID", mdm.CertificateRetired)), "TokenUpdate", false, mdm.Unmanaged, mdm.EventRefused},
		"ended, another's certificate":  {standing(ended, cert("OTHER", mdm.CertificateActive)), "", false, mdm.Forbidden, mdm.EventConflict},
		"ended, not on record":          {standing(ended, nil), "", false, mdm.Forbidden, mdm.EventConflict},
		"no such device, known cert":    {standing(nil, cert("UDID", mdm.CertificateActive)), "", false, mdm.Unmanaged, mdm.EventRefused},
		"no such device, issued cert":   {standing(nil, cert("", mdm.CertificateIssued)), "", false, mdm.Unmanaged, mdm.EventRefused},
		"no such device, another's":     {standing(nil, cert("OTHER", mdm.CertificateActive)), "", false, mdm.Forbidden, mdm.EventConflict},
		"no such device, revoked":       {standing(nil, cert("UDID", mdm.CertificateRevoked)), "", false, mdm.Forbidden, none},
		"no such device, never bound":   {standing(nil, cert("", mdm.CertificateRevoked)), "", false, mdm.Forbidden, none},
		"no such device, of a tenant":   {standing(nil, tenants), "", false, mdm.Forbidden, mdm.EventConflict},
		"nothing known at all":          {standing(nil, nil), "", false, mdm.Forbidden, none},
		"denied":                        {denied, "", false, mdm.Forbidden, none},
		"denied and ended":              {deniedEnded, "", false, mdm.Forbidden, none},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := identity.Policy{}.Admit(&tt.standing, claim(phone, tt.message))
			if tt.ok {
				require.NoError(t, v.Err)
			} else {
				require.Error(t, v.Err)
				assert.Equal(t, tt.code, mdm.CodeOf(v.Err))
			}
			if tt.event == none {
				assert.Empty(t, v.Events)
			} else {
				require.Len(t, v.Events, 1)
				assert.Equal(t, tt.event, v.Events[0].Type)
			}
		})
	}
}

func TestUnknownIsUnmanaged(t *testing.T) {
	delivery := cert("UDID", mdm.CertificateIssued)
	delivery.Purpose = mdm.PurposeProfile
	for name, tt := range map[string]struct {
		certificate *mdm.Certificate
		want        mdm.Code
	}{
		"nothing known": {nil, mdm.Unmanaged},
		"another's":     {cert("OTHER", mdm.CertificateActive), mdm.Forbidden},
		"revoked":       {cert("UDID", mdm.CertificateRevoked), mdm.Forbidden},
		"of a delivery": {delivery, mdm.Forbidden}, // it is good for no claim, not even its own
	} {
		s := standing(nil, tt.certificate)
		v := identity.Policy{UnknownIsUnmanaged: true}.Admit(&s, claim(phone, ""))
		require.Error(t, v.Err, name)
		assert.Equal(t, tt.want, mdm.CodeOf(v.Err), name)
	}
	s := standing(nil, nil)
	s.Denied = "stolen"
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(identity.Policy{UnknownIsUnmanaged: true}.Admit(&s, claim(phone, "")).Err))
}

// TestConflictEvent: the event belongs to the owner of the certificate, and names whom it claimed to be.
func TestConflictEvent(t *testing.T) {
	for owner, record := range map[string]*mdm.Certificate{
		"OTHER": cert("OTHER", mdm.CertificateActive), "UDID": nil,
	} {
		s := standing(row(phone, mdm.Enrolled), record)
		v := identity.Policy{}.Admit(&s, claim(anna, ""))
		require.Len(t, v.Events, 1)
		assert.Equal(t, mdm.EnrollmentID{Device: owner}, v.Events[0].Enrollment)
		assert.Equal(t, "UDID", v.Events[0].Claimed)
		assert.Equal(t, mdm.FingerprintOf(device().cert).String(), v.Events[0].Fingerprint)
		assert.Equal(t, now, v.Events[0].At)
		assert.Empty(t, v.Certificates)
		assert.Nil(t, v.Device)
		var e *mdm.Error
		require.ErrorAs(t, v.Err, &e)
		assert.Equal(t, anna, e.Enrollment)
	}
}

func TestModernDevicesAreToldInTheirWay(t *testing.T) {
	ended := row(phone, mdm.Ended)
	s := standing(ended, cert("UDID", mdm.CertificateActive))
	var e *mdm.Error
	require.ErrorAs(t, identity.Policy{}.Admit(&s, claim(phone, "")).Err, &e)
	assert.True(t, e.KnowsUnrecognized)
	ended.Device.OSVersion = "16.0"
	require.ErrorAs(t, identity.Policy{}.Admit(&s, claim(phone, "")).Err, &e)
	assert.False(t, e.KnowsUnrecognized)
}

func TestRollback(t *testing.T) {
	s := standing(row(phone, mdm.Pending), cert("UDID", mdm.CertificateActive))
	s.Pending = &mdm.Certificate{Fingerprint: mdm.Fingerprint{9}}
	v := identity.Policy{}.Admit(&s, claim(phone, ""))
	require.NotNil(t, v.Device)
	assert.Equal(t, mdm.Enrolled, v.Device.State)
	assert.Equal(t, mdm.Pending, s.Device.State, "the standing itself is not changed")
}

func TestPromotion(t *testing.T) {
	renewed := cert("UDID", mdm.CertificateIssued)
	renewed.Purpose = mdm.PurposeRenew
	s := standing(row(phone, mdm.Enrolled), renewed)
	s.Active = &mdm.Certificate{Fingerprint: mdm.Fingerprint{1}, Status: mdm.CertificateActive}
	v := identity.Policy{}.Admit(&s, claim(phone, ""))
	require.NoError(t, v.Err)
	require.Len(t, v.Certificates, 2)
	assert.Equal(t, mdm.CertificateRetired, v.Certificates[0].Status)
	assert.Equal(t, mdm.CertificateActive, v.Certificates[1].Status)
	assert.Equal(t, mdm.Generation(3), v.Certificates[1].Generation)
}

func TestAdoption(t *testing.T) {
	migrated := standing(row(phone, mdm.Enrolled), nil)
	open := identity.Policy{AdoptUntil: now.Add(time.Hour)}
	v := open.Admit(&migrated, claim(phone, ""))
	require.NoError(t, v.Err)
	assert.Equal(t, mdm.EventAdopted, v.Events[0].Type)
	require.Len(t, v.Certificates, 1)
	assert.Equal(t, mdm.CertificateActive, v.Certificates[0].Status)
	assert.Equal(t, "UDID", v.Certificates[0].Device)
	for name, refused := range map[string]struct {
		policy   identity.Policy
		standing identity.Standing
	}{
		"off by default":               {identity.Policy{}, migrated},
		"over":                         {identity.Policy{AdoptUntil: now.Add(-time.Second)}, migrated},
		"it has a certificate":         {open, identity.Standing{Device: migrated.Device, Active: cert("UDID", mdm.CertificateActive)}},
		"it is being enrolled":         {open, identity.Standing{Device: migrated.Device, Pending: cert("UDID", mdm.CertificatePending)}},
		"the certificate is nobody's":  {open, standing(migrated.Device, cert("", mdm.CertificateIssued))},
		"the certificate is another's": {open, standing(migrated.Device, cert("OTHER", mdm.CertificateActive))},
		"it ended":                     {open, standing(row(phone, mdm.Ended), nil)},
	} {
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(refused.policy.Admit(&refused.standing, claim(phone, "")).Err), name)
	}
}

func TestOnConflict(t *testing.T) {
	s := standing(row(phone, mdm.Enrolled), cert("OTHER", mdm.CertificateActive))
	asked := 0
	p := identity.Policy{OnConflict: func(c identity.Conflict) bool {
		asked++
		return c.Claim.ID == phone && c.Standing.Certificate.Device == "OTHER"
	}}
	v := p.Admit(&s, claim(phone, ""))
	require.NoError(t, v.Err)
	assert.Equal(t, 1, asked)
	assert.Equal(t, "UDID", v.Certificates[len(v.Certificates)-1].Device)
	assert.Equal(t, mdm.CertificateActive, v.Certificates[len(v.Certificates)-1].Status)
	for name, s := range map[string]identity.Standing{
		"nobody moves into an enrollment that ended": standing(row(phone, mdm.Ended), cert("OTHER", mdm.CertificateActive)),
		"nobody moves with a revoked certificate":    standing(row(phone, mdm.Enrolled), cert("OTHER", mdm.CertificateRevoked)),
	} {
		v := p.Admit(&s, claim(phone, ""))
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(v.Err), name)
		assert.Empty(t, v.Certificates, name)
		require.Len(t, v.Events, 1, name)
		assert.Equal(t, mdm.EventConflict, v.Events[0].Type, name)
	}
	assert.Equal(t, 1, asked, "the policy is not asked about what may not be")

	s.Active = &mdm.Certificate{Fingerprint: mdm.Fingerprint{1}, Status: mdm.CertificateActive}
	v = p.Admit(&s, claim(phone, ""))
	require.NoError(t, v.Err)
	require.Len(t, v.Certificates, 2)
	assert.Equal(t, mdm.CertificateRetired, v.Certificates[0].Status, "the one that it replaces")
	v = identity.Policy{OnConflict: func(identity.Conflict) bool { return false }}.Admit(&s, claim(phone, ""))
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(v.Err))
	require.Error(t, v.Err)
}

func TestUserChannels(t *testing.T) {
	device, active := row(phone, mdm.Enrolled), cert("UDID", mdm.CertificateActive)
	managed := identity.Standing{Device: device, Certificate: active, Enrollment: row(anna, mdm.Enrolled)}
	gone := identity.Standing{Device: device, Certificate: active, Enrollment: row(anna, mdm.Ended)}
	fresh := identity.Standing{Device: device, Certificate: active}
	admit := func(s identity.Standing, message, token string) error {
		c := claim(anna, message)
		c.AuthToken = token
		return identity.Policy{}.Admit(&s, c).Err
	}
	require.NoError(t, admit(managed, "", ""))
	for _, s := range []identity.Standing{gone, fresh} {
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(admit(s, "", "")), "an unmanaged user ends nobody's management")
		require.NoError(t, admit(s, "TokenUpdate", ""))
		require.NoError(t, admit(s, "UserAuthenticate", ""))
	}
	ended := identity.Standing{Device: row(phone, mdm.Ended), Certificate: active}
	assert.Equal(t, mdm.Unmanaged, mdm.CodeOf(admit(ended, "", "")), "its device is not managed")

	managed.AuthTokenHash = identity.HashAuthToken("token")
	require.NoError(t, admit(managed, "", "token"))
	for _, wrong := range []string{"", "Token", "stale"} {
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(admit(managed, "", wrong)))
	}
	require.NoError(t, admit(managed, "UserAuthenticate", ""), "that is how one gets a new one")
	require.Error(t, admit(managed, "TokenUpdate", ""), "it is in every message of the user")
	require.NoError(t, admit(managed, "TokenUpdate", "token"))

	onDevice := identity.Standing{Device: device, Enrollment: device, Certificate: active, AuthTokenHash: managed.AuthTokenHash}
	require.NoError(t, identity.Policy{}.Admit(&onDevice, claim(phone, "")).Err, "and in none of the device")
	notTheirs := identity.Standing{Device: device, Enrollment: managed.Enrollment, Certificate: cert("OTHER", mdm.CertificateActive),
		AuthTokenHash: managed.AuthTokenHash}
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(admit(notTheirs, "", "token")), "it does not replace the certificate")
}

// TestUserRefusedButDeviceKnown: what the certificate proves of the device holds, whatever is wrong with the user.
func TestUserRefusedButDeviceKnown(t *testing.T) {
	s := identity.Standing{Device: row(phone, mdm.Pending), Enrollment: row(anna, mdm.Enrolled), Certificate: cert("UDID", mdm.CertificateActive),
		Pending: &mdm.Certificate{Fingerprint: mdm.Fingerprint{9}}, AuthTokenHash: identity.HashAuthToken("token")}
	v := identity.Policy{}.Admit(&s, claim(anna, ""))
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(v.Err))
	require.NotNil(t, v.Device)
	assert.Equal(t, phone, v.Device.ID)
	assert.Equal(t, mdm.Enrolled, v.Device.State)
}

// TestPromote retires whatever else the device has, and not the certificate itself.
func TestPromote(t *testing.T) {
	own := cert("UDID", mdm.CertificatePending)
	own.RetiredAt = now
	old := &mdm.Certificate{Fingerprint: mdm.Fingerprint{1}, Status: mdm.CertificateActive}
	for name, tt := range map[string]struct {
		standing identity.Standing
		retired  int
	}{
		"the first":          {identity.Standing{}, 0},
		"it was pending":     {identity.Standing{Pending: own}, 0},
		"it was active":      {identity.Standing{Active: own}, 0},
		"it replaces one":    {identity.Standing{Active: old, Pending: own}, 1},
		"it replaces a pair": {identity.Standing{Active: old, Pending: &mdm.Certificate{Fingerprint: mdm.Fingerprint{2}}}, 2},
	} {
		out := identity.Promote(&tt.standing, *own, now)
		require.Len(t, out, tt.retired+1, name)
		for _, c := range out[:tt.retired] {
			assert.Equal(t, mdm.CertificateRetired, c.Status, name)
			assert.Equal(t, now, c.RetiredAt, name)
		}
		last := out[tt.retired]
		assert.Equal(t, own.Fingerprint, last.Fingerprint, name)
		assert.Equal(t, mdm.CertificateActive, last.Status, name)
		assert.True(t, last.RetiredAt.IsZero(), name)
	}
	assert.Equal(t, mdm.CertificateActive, old.Status, "the standing itself is not changed")
}

func ExamplePolicy_Admit() {
	standing := identity.Standing{ // what a store has loaded
		Device:      &mdm.Enrollment{ID: phone, State: mdm.Enrolled},
		Certificate: &mdm.Certificate{Device: "ANOTHER", Status: mdm.CertificateActive},
	}
	verdict := identity.Policy{}.Admit(&standing, identity.Claim{ID: phone})
	fmt.Println(mdm.CodeOf(verdict.Err), verdict.Events[0].Type)
	// Output: forbidden identity.conflict
}
