package command_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// exchanger is a store that has one device and asks who it is, as the contract says.
type exchanger struct {
	standing *identity.Standing
	offer    *command.Offer
	err      error

	ctx     context.Context
	reports []*command.Report
	verdict identity.Verdict
}

func (x *exchanger) Exchange(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	x.ctx = ctx
	x.reports = append(x.reports, r)
	x.verdict = admit(x.standing)
	if x.verdict.Err != nil {
		return nil, x.verdict.Err
	}
	return x.offer, x.err
}

var phone = mdm.EnrollmentID{Tenant: "t", Device: "D"}

// enrolled is a store that knows the sender of the request.
func enrolled(t *testing.T) (*exchanger, *command.Request) {
	t.Helper()
	cert, _ := signer(t)
	record := mdm.NewCertificate("t", cert)
	record.Device, record.Status = "D", mdm.CertificateActive
	device := &mdm.Enrollment{ID: phone, Channel: mdm.DeviceChannel, State: mdm.Enrolled}
	x := &exchanger{standing: &identity.Standing{Enrollment: device, Device: device, Certificate: &record, Active: &record}}
	return x, &command.Request{ID: phone, Channel: mdm.DeviceChannel, Certificate: cert, Fingerprint: mdm.FingerprintOf(cert),
		Status: command.StatusAcknowledged, CommandUUID: "u", UserConfiguration: true, Raw: []byte("not even a property list"),
		At: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
}

type ctxKey struct{}

func TestReport(t *testing.T) {
	t.Parallel()
	x, r := enrolled(t)
	x.offer = &command.Offer{UUID: "next"}
	s := command.Service{Store: x}
	offer, err := s.Report(context.WithValue(t.Context(), ctxKey{}, "mine"), r)
	require.NoError(t, err)
	assert.Same(t, x.offer, offer)
	assert.Equal(t, "mine", x.ctx.Value(ctxKey{}))
	require.Len(t, x.reports, 1)
	assert.Equal(t, command.Report{ID: phone, Channel: mdm.DeviceChannel, Fingerprint: r.Fingerprint, Status: "Acknowledged", CommandUUID: "u",
		Raw: r.Raw, UserConfiguration: true, At: r.At}, *x.reports[0])

	x.offer = nil
	offer, err = s.Report(t.Context(), r)
	require.NoError(t, err)
	assert.Nil(t, offer)
}

func TestReportWithoutStatus(t *testing.T) {
	t.Parallel()
	x, r := enrolled(t)
	r.Status = ""
	_, err := (&command.Service{Store: x}).Report(t.Context(), r)
	require.Error(t, err)
	var e *mdm.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, mdm.Malformed, e.Code)
	assert.Equal(t, phone, e.Enrollment)
	assert.Empty(t, x.reports, "the store is not asked")
}

func TestReportOfStrangers(t *testing.T) {
	t.Parallel()
	x, r := enrolled(t)
	other, _ := signer(t)
	r.Certificate, r.Fingerprint = other, mdm.FingerprintOf(other)
	x.standing.Certificate = nil
	_, err := (&command.Service{Store: x}).Report(t.Context(), r)
	require.Error(t, err)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "a stranger is refused, not unenrolled")

	var asked identity.Claim
	s := command.Service{Store: x, Policy: identity.Policy{OnConflict: func(c identity.Conflict) bool {
		asked = c.Claim
		return true
	}}}
	_, err = s.Report(t.Context(), r)
	require.NoError(t, err, "the policy decides")
	assert.Equal(t, identity.Claim{ID: phone, Channel: mdm.DeviceChannel, At: r.At, Certificate: other, Fingerprint: r.Fingerprint}, asked)
	assert.NotEmpty(t, x.verdict.Certificates)
}

func TestReportOfUsers(t *testing.T) {
	t.Parallel()
	x, r := enrolled(t)
	r.ID.User, r.Channel = "anna", mdm.UserChannel
	x.standing.Enrollment = &mdm.Enrollment{ID: r.ID, Channel: mdm.UserChannel, State: mdm.Enrolled}
	x.standing.AuthTokenHash = identity.HashAuthToken("token")
	s := command.Service{Store: x}
	_, err := s.Report(t.Context(), r)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	require.Error(t, err)
	r.AuthToken = "token"
	_, err = s.Report(t.Context(), r)
	require.NoError(t, err)
}

func TestReportStoreFails(t *testing.T) {
	t.Parallel()
	x, r := enrolled(t)
	x.err = errors.New("disk full")
	_, err := (&command.Service{Store: x}).Report(t.Context(), r)
	require.ErrorIs(t, err, x.err)
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err), "the device repeats")
}

// A text that is too long is no error: a device would repeat it for ever.
func TestReportLongTexts(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"ascii": strings.Repeat("x", 256), "much": strings.Repeat("x", 1<<20), "utf-8": strings.Repeat("x", 251) + strings.Repeat("ü", 9),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, r := enrolled(t)
			r.Status, r.CommandUUID, r.Raw = command.Status(text), text, []byte(text)
			_, err := (&command.Service{Store: x}).Report(t.Context(), r)
			require.NoError(t, err)
			got := x.reports[0]
			for _, clipped := range []string{got.CommandUUID, string(got.Status)} {
				assert.LessOrEqual(t, len(clipped), 255)
				assert.True(t, utf8.ValidString(clipped))
				assert.True(t, strings.HasSuffix(clipped, "…"))
				_, err := command.Prepare(command.Order{Command: command.ProfileList{}, UUID: clipped})
				require.Error(t, err, "no command of ours has this UUID")
			}
			assert.Equal(t, text, string(got.Raw), "nothing is lost")
			assert.Equal(t, text, r.CommandUUID, "the request is not changed")
		})
	}
	x, r := enrolled(t)
	r.CommandUUID = strings.Repeat("x", 255)
	_, err := (&command.Service{Store: x}).Report(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, r.CommandUUID, x.reports[0].CommandUUID)
}
