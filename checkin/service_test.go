package checkin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// No message tells the access rights: the server knows what it put into the profile.
func TestRights(t *testing.T) {
	k := newKit(t)
	granted := mdm.AllRights
	k.service.Rights = func(*checkin.Request) mdm.AccessRights { return granted }
	first := k.issued(mdm.PurposeEnroll, "")
	k.must(phone, first, authenticate())
	assert.Zero(t, k.rows[phone].Rights)
	k.must(phone, first, tokenUpdate("token"))
	assert.Equal(t, mdm.AllRights, k.rows[phone].Rights)
	granted = mdm.InspectProfiles
	renewed := k.issued(mdm.PurposeRenew, phone.Device)
	k.must(phone, renewed, authenticate())
	assert.Equal(t, mdm.AllRights, k.rows[phone].Rights, "the old profile is in place until the TokenUpdate")
	k.must(phone, renewed, tokenUpdate("token"))
	assert.Equal(t, mdm.InspectProfiles, k.rows[phone].Rights)
}

func TestEnrollment(t *testing.T) {
	k := newKit(t)
	cert := k.issued(mdm.PurposeEnroll, "")
	plan := k.must(phone, cert, authenticate())
	assert.Equal(t, []mdm.EventType{mdm.EventAuthenticated}, types(plan))
	assert.Equal(t, mdm.Pending, k.rows[phone].State, "after Authenticate it is not managed")
	assert.False(t, plan.Wake)
	assert.Equal(t, mdm.CertificatePending, k.certs[mdm.FingerprintOf(cert)].Status)

	plan = k.must(phone, cert, tokenUpdate("token"))
	assert.Equal(t, []mdm.EventType{mdm.EventEnrolled, mdm.EventCertificateBound}, types(plan))
	assert.Equal(t, mdm.Enrolled, k.rows[phone].State)
	assert.Equal(t, mdm.CertificateActive, k.certs[mdm.FingerprintOf(cert)].Status)
	assert.True(t, plan.Wake)
}

func TestRepetitionsAreHarmless(t *testing.T) {
	k := newKit(t)
	cert := k.issued(mdm.PurposeEnroll, "")
	k.must(phone, cert, authenticate())
	plan := k.must(phone, cert, authenticate())
	assert.Empty(t, plan.Events)
	assert.Equal(t, mdm.Generation(1), k.rows[phone].Generation)
	k.must(phone, cert, tokenUpdate("token"))
	plan = k.must(phone, cert, tokenUpdate("token"))
	assert.Empty(t, plan.Events)
	plan = k.must(phone, cert, authenticate())
	assert.Empty(t, plan.Events)
	assert.False(t, plan.NewGeneration)
	assert.Equal(t, mdm.Enrolled, k.rows[phone].State)
	plan = k.must(phone, cert, tokenUpdate("fresh"))
	assert.Equal(t, []mdm.EventType{mdm.EventTokenUpdated}, types(plan))
	assert.Equal(t, []byte("fresh"), k.rows[phone].PushToken)
}

func TestKindsOfAuthenticate(t *testing.T) {
	tests := map[string]struct {
		prepare func(k *kit)
		purpose mdm.Purpose // of the new certificate; 0: not on record
		kind    checkin.Kind
		event   mdm.EventType // at the TokenUpdate
	}{
		"issued as its renewal":                 {nil, mdm.PurposeRenew, checkin.Renewal, mdm.EventRenewed},
		"a fresh challenge":                     {nil, mdm.PurposeEnroll, checkin.Reenrollment, mdm.EventReenrolled},
		"a fresh challenge, a replacement sent": {func(k *kit) { k.now.ReplacementSent = true }, mdm.PurposeEnroll, checkin.Reenrollment, mdm.EventReenrolled},
		"a fresh challenge after an erase":      {func(k *kit) { k.now.EraseSent = true }, mdm.PurposeEnroll, checkin.AfterWipe, mdm.EventAfterWipe},
		"another CA, a replacement sent":        {func(k *kit) { k.now.ReplacementSent = true }, 0, checkin.Renewal, mdm.EventRenewed},
		"another CA, no evidence":               {nil, 0, checkin.Reenrollment, mdm.EventReenrolled},
		"another CA after an erase":             {func(k *kit) { k.now.EraseSent = true }, 0, checkin.AfterWipe, mdm.EventAfterWipe},
		"the enrollment ended":                  {func(k *kit) { k.rows[phone].State = mdm.Ended }, mdm.PurposeEnroll, checkin.Reenrollment, mdm.EventReenrolled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			old := k.enrolled()
			if tt.prepare != nil {
				tt.prepare(k)
			}
			cert := newCert(t, "external")
			if tt.purpose != 0 {
				cert = k.issued(tt.purpose, phone.Device)
			}
			before := *k.rows[phone]
			plan := k.must(phone, cert, authenticate())
			anew := tt.kind != checkin.Renewal
			assert.Equal(t, anew, plan.NewGeneration)
			assert.Contains(t, plan.Events[0].Reason, tt.kind.String())
			assert.Equal(t, mdm.CertificateActive, k.certs[mdm.FingerprintOf(old)].Status, "the old identity is valid until the first TokenUpdate")
			assert.Equal(t, before.PushToken, k.rows[phone].PushToken, "and so is the old push token")

			k.now = checkin.Situation{}
			plan = k.must(phone, cert, tokenUpdate("new"))
			assert.Equal(t, tt.event, plan.Events[0].Type)
			assert.Equal(t, mdm.CertificateRetired, k.certs[mdm.FingerprintOf(old)].Status)
			assert.Equal(t, mdm.CertificateActive, k.certs[mdm.FingerprintOf(cert)].Status)
			want := before.Generation
			if anew {
				want++
			}
			assert.Equal(t, want, k.rows[phone].Generation)
			assert.Equal(t, want, k.certs[mdm.FingerprintOf(cert)].Generation)
		})
	}
}

func TestAnotherAttemptIsTheSameGeneration(t *testing.T) {
	k := newKit(t)
	for range 3 { // the installation fails on the device each time
		k.must(phone, k.issued(mdm.PurposeEnroll, ""), authenticate())
		assert.Equal(t, mdm.Generation(1), k.rows[phone].Generation)
	}
	k.must(phone, k.issued(mdm.PurposeEnroll, ""), authenticate())
	k = newKit(t)
	k.enrolled()
	for range 3 {
		k.must(phone, k.issued(mdm.PurposeEnroll, ""), authenticate())
	}
	last := k.issued(mdm.PurposeEnroll, "")
	k.must(phone, last, authenticate())
	plan := k.must(phone, last, tokenUpdate("new"))
	assert.Equal(t, mdm.Generation(2), k.rows[phone].Generation)
	assert.Equal(t, mdm.EventReenrolled, plan.Events[0].Type)
}

func TestSameIdentityAfterAnErase(t *testing.T) {
	k := newKit(t)
	cert := k.enrolled()
	k.now.EraseSent = true
	assert.True(t, k.must(phone, cert, authenticate()).NewGeneration, "with PKCS#12 an erased device may come back with the same identity")
	k.now = checkin.Situation{}
	plan := k.must(phone, cert, tokenUpdate("new"))
	assert.Equal(t, mdm.EventAfterWipe, plan.Events[0].Type)
	assert.Equal(t, mdm.Enrolled, k.rows[phone].State)
}

func TestSetupAssistantCorrectsAnAssumedRenewal(t *testing.T) {
	k := newKit(t)
	k.enrolled()
	cert := k.issued(mdm.PurposeRenew, phone.Device)
	k.must(phone, cert, authenticate())
	m := tokenUpdate("new")
	m.AwaitingConfiguration = truth(true)
	plan := k.must(phone, cert, m)
	assert.True(t, plan.NewGeneration)
	assert.Equal(t, mdm.EventAfterWipe, plan.Events[0].Type)
	assert.Equal(t, mdm.Generation(2), k.rows[phone].Generation)
	assert.Equal(t, mdm.Generation(2), k.certs[mdm.FingerprintOf(cert)].Generation)
}

func TestFailedReplacement(t *testing.T) {
	k := newKit(t)
	old := k.enrolled()
	k.must(phone, k.issued(mdm.PurposeEnroll, ""), authenticate()) // a new generation, which then fails on the device
	assert.Equal(t, mdm.Pending, k.rows[phone].State)
	plan := k.must(phone, old, &checkin.GetBootstrapToken{})
	assert.Contains(t, types(plan), mdm.EventRolledBack)
	assert.Equal(t, mdm.Enrolled, k.rows[phone].State, "the old identity goes on")
}

func TestAbsentIsNotFalse(t *testing.T) {
	k := newKit(t)
	cert := k.issued(mdm.PurposeEnroll, "")
	k.must(phone, cert, authenticate())
	m := tokenUpdate("token")
	m.AwaitingConfiguration = truth(true)
	m.UnlockToken = mdm.SecretString("unlock")
	plan := k.must(phone, cert, m)
	assert.Equal(t, "unlock", string(plan.UnlockToken.Reveal()))
	plan = k.must(phone, cert, tokenUpdate("fresh"))
	assert.True(t, k.rows[phone].AwaitingConfiguration, "an absent key leaves what is stored")
	assert.True(t, plan.UnlockToken.IsZero())
	m = tokenUpdate("fresh")
	m.AwaitingConfiguration = truth(false)
	k.must(phone, cert, m)
	assert.False(t, k.rows[phone].AwaitingConfiguration)
}

func TestRestore(t *testing.T) {
	k := newKit(t)
	old := k.enrolled()
	m := tokenUpdate("token")
	m.PushMagic = "another"
	assert.Equal(t, []mdm.EventType{mdm.EventRestored}, types(k.must(phone, old, m)))

	renewed := k.issued(mdm.PurposeRenew, phone.Device)
	k.must(phone, renewed, authenticate())
	k.must(phone, renewed, m)
	plan := k.must(phone, old, m) // a backup from before the renewal
	assert.Contains(t, types(plan), mdm.EventRestored)
	assert.Equal(t, mdm.CertificateActive, k.certs[mdm.FingerprintOf(old)].Status)
	assert.Equal(t, mdm.CertificateRetired, k.certs[mdm.FingerprintOf(renewed)].Status)
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		prepare func(k *kit)
		cert    func(k *kit) mdm.Certificate // changes to an issued one
		code    mdm.Code
	}{
		"denied":             {func(k *kit) { k.now.Denied = "stolen" }, nil, mdm.Forbidden},
		"topic":              {func(k *kit) { k.service.Topics = func(string) bool { return false } }, nil, mdm.Forbidden},
		"revoked":            {nil, func(*kit) mdm.Certificate { return mdm.Certificate{Status: mdm.CertificateRevoked} }, mdm.Forbidden},
		"another device's":   {nil, func(*kit) mdm.Certificate { return mdm.Certificate{Status: mdm.CertificateActive, Device: "OTHER"} }, mdm.Forbidden},
		"issued for another": {nil, func(*kit) mdm.Certificate { return mdm.Certificate{Status: mdm.CertificateIssued, Device: "OTHER"} }, mdm.Forbidden},
		"of a delivery": {nil, func(*kit) mdm.Certificate {
			return mdm.Certificate{Status: mdm.CertificateIssued, Device: "UDID", Purpose: mdm.PurposeProfile}
		}, mdm.Forbidden},
		"another serial":        {nil, func(*kit) mdm.Certificate { return mdm.Certificate{Status: mdm.CertificateIssued, DeviceSerial: "F17"} }, mdm.Forbidden},
		"the store is down":     {func(k *kit) { k.err = errors.New("disk full") }, nil, mdm.Internal},
		"the store is too busy": {func(k *kit) { k.err = mdm.Errorf(mdm.Unavailable, "store", "busy") }, nil, mdm.Unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			cert := k.issued(mdm.PurposeEnroll, "")
			if tt.cert != nil {
				change := tt.cert(k)
				record := k.certs[mdm.FingerprintOf(cert)]
				record.Status, record.Device, record.DeviceSerial, record.Purpose = change.Status, change.Device, change.DeviceSerial, change.Purpose
			}
			if tt.prepare != nil {
				tt.prepare(k)
			}
			_, _, err := k.say(phone, cert, authenticate())
			require.Error(t, err)
			assert.Equal(t, tt.code, mdm.CodeOf(err), "never Unmanaged")
			assert.Empty(t, k.rows, "nothing is enrolled")
		})
	}
}

func TestConflictsLeaveAnEventAndMayBeDecided(t *testing.T) {
	k := newKit(t)
	cert := k.issued(mdm.PurposeEnroll, "OTHER")
	plan, _, err := k.say(phone, cert, authenticate())
	require.Error(t, err)
	require.Equal(t, []mdm.EventType{mdm.EventConflict}, types(plan))
	assert.Equal(t, "OTHER", plan.Events[0].Enrollment.Device)
	assert.Equal(t, "UDID", plan.Events[0].Claimed)
	k.service.Identity.OnConflict = func(c identity.Conflict) bool { return c.Standing.Certificate.Device == "OTHER" }
	k.must(phone, cert, authenticate())
	assert.Equal(t, "UDID", k.certs[mdm.FingerprintOf(cert)].Device)
}

func TestCheckOut(t *testing.T) {
	k := newKit(t)
	cert := k.enrolled()
	plan := k.must(phone, cert, &checkin.CheckOut{})
	assert.True(t, plan.End)
	assert.Equal(t, []mdm.EventType{mdm.EventCheckedOut}, types(plan))
	assert.Equal(t, mdm.Ended, k.rows[phone].State)
	assert.Empty(t, k.rows[phone].PushToken)
	assert.Empty(t, k.must(phone, cert, &checkin.CheckOut{}).Events, "twice is harmless")
	assert.Empty(t, k.must(mdm.EnrollmentID{Device: "unknown"}, cert, &checkin.CheckOut{}).Events, "so is one for nobody")

	_, _, err := k.say(phone, cert, tokenUpdate("token"))
	assert.Equal(t, mdm.Unmanaged, mdm.CodeOf(err))
	k.service.Readopt = func(*mdm.Enrollment) bool { return true }
	plan = k.must(phone, cert, tokenUpdate("token"))
	assert.Equal(t, []mdm.EventType{mdm.EventRestored}, types(plan))
	assert.Equal(t, mdm.Enrolled, k.rows[phone].State)
}

func TestCheckOutOfAnEarlierProfileEndsNothing(t *testing.T) {
	k := newKit(t)
	old := k.enrolled()
	cert := k.issued(mdm.PurposeEnroll, "")
	k.must(phone, cert, authenticate())
	k.must(phone, cert, tokenUpdate("new"))
	assert.False(t, k.must(phone, old, &checkin.CheckOut{}).End)
	assert.False(t, k.must(phone, k.issued(mdm.PurposeEnroll, ""), &checkin.CheckOut{}).End, "nor does one by a stranger")
	assert.Equal(t, mdm.Enrolled, k.rows[phone].State)
}

func TestEnd(t *testing.T) {
	k := newKit(t)
	cert := k.enrolled()
	k.service.Clock = func() time.Time { return start.Add(time.Hour) }
	require.NoError(t, k.service.End(context.Background(), phone, 2, "another generation"))
	assert.Equal(t, mdm.Enrolled, k.rows[phone].State)
	require.NoError(t, k.service.End(context.Background(), anna, 1, "retired"))
	assert.Equal(t, start.Add(time.Hour), k.rows[phone].EndedAt)
	assert.Equal(t, "retired", k.rows[phone].EndReason)
	require.NoError(t, k.service.End(context.Background(), phone, 0, "again"))
	assert.Equal(t, "retired", k.rows[phone].EndReason)
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(k.service.End(context.Background(), mdm.EnrollmentID{Device: "unknown"}, 0, "")))
	_, _, err := k.say(phone, cert, &checkin.GetBootstrapToken{})
	assert.Equal(t, mdm.Unmanaged, mdm.CodeOf(err))
	var e *mdm.Error
	require.ErrorAs(t, err, &e)
	assert.True(t, e.KnowsUnrecognized, "iOS 18 knows the newer answer")
}

func TestUserChannels(t *testing.T) {
	k := newKit(t)
	cert := k.issued(mdm.PurposeEnroll, "")
	k.must(phone, cert, authenticate())
	_, _, err := k.say(anna, cert, tokenUpdate("of anna"))
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err), "before its device is managed a user's message is repeated")
	k.must(phone, cert, tokenUpdate("token"))
	plan := k.must(anna, cert, tokenUpdate("of anna"))
	assert.Equal(t, []mdm.EventType{mdm.EventEnrolled}, types(plan))
	assert.Equal(t, mdm.Generation(1), k.rows[anna].Generation)
	assert.Equal(t, "anna", k.rows[anna].UserShortName)
	assert.Equal(t, []byte("token"), k.rows[phone].PushToken, "the device's own token is another")
	assert.Empty(t, k.must(anna, cert, tokenUpdate("of anna")).Events)

	k.service.Users = func(mdm.EnrollmentID, mdm.Identifiers) bool { return false }
	_, _, err = k.say(anna, cert, tokenUpdate("of anna"))
	assert.Equal(t, mdm.UserDeclined, mdm.CodeOf(err))
	_, _, err = k.say(anna, cert, authenticate())
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func TestBootstrapToken(t *testing.T) {
	k := newKit(t)
	cert := k.enrolled()
	_, reply, err := k.say(phone, cert, &checkin.GetBootstrapToken{})
	require.NoError(t, err)
	assert.NotContains(t, string(reply.Body), "BootstrapToken", "none stored: a valid empty dictionary")
	assert.Contains(t, string(reply.Body), "<dict>")
	plan := k.must(phone, cert, &checkin.SetBootstrapToken{BootstrapToken: mdm.SecretString("token")})
	assert.Equal(t, []mdm.EventType{mdm.EventSecretStored}, types(plan))
	_, reply, err = k.say(phone, cert, &checkin.GetBootstrapToken{})
	require.NoError(t, err)
	assert.Contains(t, string(reply.Body), "dG9rZW4=")
	plan = k.must(phone, cert, &checkin.SetBootstrapToken{})
	require.NotNil(t, plan.BootstrapToken)
	assert.True(t, plan.BootstrapToken.IsZero(), "an empty one deletes")
}

// hooks answers everything that a service can be given.
type hooks struct{}

func (hooks) Declare(_ context.Context, _ mdm.EnrollmentID, endpoint string, _ []byte) (*checkin.Reply, error) {
	return &checkin.Reply{ContentType: "application/json", Body: []byte(endpoint)}, nil
}

func (hooks) Token(context.Context, mdm.EnrollmentID, map[string]any) (mdm.Secret, error) {
	return mdm.SecretString("jwt"), nil
}

func (hooks) ReturnToService(context.Context, mdm.EnrollmentID) (checkin.ReturnToServiceReply, error) {
	return checkin.ReturnToServiceReply{Enabled: true, WiFiProfile: []byte("wifi"), RetryEnrollment: truth(true), PreserveDataPlan: truth(false)}, nil
}

func TestHooks(t *testing.T) {
	k := newKit(t)
	cert := k.enrolled()
	declare, get := &checkin.DeclarativeManagement{Endpoint: "tokens"}, &checkin.GetToken{TokenServiceType: "com.apple.maid"}
	for _, m := range []checkin.Message{declare, get, &checkin.Unknown{Type: "Frobnicate"}} {
		_, _, err := k.say(phone, cert, m)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "%s: not served", m.MessageType())
	}
	_, reply, err := k.say(phone, cert, &checkin.ReturnToService{})
	require.NoError(t, err)
	assert.Contains(t, string(reply.Body), "<false")

	k.service.Declarative, k.service.Returns = hooks{}, hooks{}
	k.service.Tokens = map[string]checkin.TokenSource{"com.apple.maid": hooks{}}
	for want, m := range map[string]checkin.Message{"tokens": declare, "and0": get, "d2lmaQ==": &checkin.ReturnToService{}} {
		_, reply, err := k.say(phone, cert, m)
		require.NoError(t, err)
		assert.Contains(t, string(reply.Body), want)
	}
	stranger := k.issued(mdm.PurposeEnroll, "")
	for _, m := range []checkin.Message{declare, get, &checkin.ReturnToService{}, &checkin.GetBootstrapToken{}} {
		_, reply, err := k.say(phone, stranger, m)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), m.MessageType())
		assert.Nil(t, reply, "a stranger learns nothing")
	}
}

func TestDefaultClassifierNames(t *testing.T) {
	for kind, name := range map[checkin.Kind]string{checkin.New: "new", checkin.Renewal: "renewal", 99: "kind(99)"} {
		assert.Equal(t, name, kind.String())
	}
}

func ExampleService() {
	k := newKit(&testing.T{})
	service := checkin.Service{
		Store: k, // yours: storage.Stores.Checkin
		Users: func(id mdm.EnrollmentID, who mdm.Identifiers) bool {
			return strings.HasSuffix(who.UserShortName, "@example.com")
		},
	}
	cert := k.issued(mdm.PurposeEnroll, "")
	_, err := service.Checkin(context.Background(), &checkin.Request{ID: phone, Channel: mdm.DeviceChannel, Certificate: cert,
		Fingerprint: mdm.FingerprintOf(cert), Message: &checkin.Authenticate{Topic: "com.apple.mgmt.x"}, At: start})
	fmt.Println(err, k.rows[phone].State)
	// Output: <nil> pending
}

func ExampleHandlerFunc() {
	// A decorator that counts messages, whatever Apple adds.
	seen := map[string]int{}
	count := func(next checkin.Handler) checkin.Handler {
		return checkin.HandlerFunc(func(ctx context.Context, r *checkin.Request) (*checkin.Reply, error) {
			seen[r.Message.MessageType()]++
			return next.Checkin(ctx, r)
		})
	}
	handler := count(checkin.HandlerFunc(func(context.Context, *checkin.Request) (*checkin.Reply, error) { return nil, nil }))
	_, _ = handler.Checkin(context.Background(), &checkin.Request{Message: &checkin.CheckOut{}})
	fmt.Println(seen)
	// Output: map[CheckOut:1]
}
