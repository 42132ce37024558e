package ade_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/mdm/scep"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	session := enroll.Session{Tenant: "t", User: "ada", Device: map[string]string{"UDID": "U", "SERIAL": "S"}}
	assert.Equal(t, enroll.For{Tenant: "t", Device: "U", DeviceSerial: "S", User: "ada"}, ade.For(session))
	message := func(tenant, udid, serial string) (*checkin.Request, *checkin.Authenticate) {
		m := &checkin.Authenticate{Device: mdm.Device{SerialNumber: serial}}
		return &checkin.Request{ID: mdm.EnrollmentID{Tenant: tenant, Device: udid}, Message: m}, m
	}
	matches := func(s enroll.Session, tenant, udid, serial string) error {
		r, m := message(tenant, udid, serial)
		return ade.Matches(s, r, m)
	}
	require.NoError(t, matches(session, "t", "U", "S"))
	require.NoError(t, matches(enroll.Session{}, "", "U", "S"), "the session knows nothing")
	require.NoError(t, matches(enroll.Session{Device: map[string]string{"SERIAL": "S"}}, "", "other", "S"))
	for name, err := range map[string]error{
		"tenant": matches(session, "x", "U", "S"), "UDID": matches(session, "t", "V", "S"), "serial number": matches(session, "t", "U", "X"),
		"no serial number": matches(session, "t", "U", ""),
	} {
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
		require.Error(t, err, name)
	}
}

// ledger has one certificate.
type ledger struct {
	scep.Store
	record mdm.Certificate
	err    error
}

func (l *ledger) Certificate(context.Context, string, mdm.Fingerprint) (mdm.Certificate, error) {
	return l.record, l.err
}

func TestGuard(t *testing.T) {
	t.Parallel()
	issued := mdm.Certificate{Device: "U", DeviceSerial: "S", Status: mdm.CertificateIssued, Purpose: mdm.PurposeEnroll}
	change := func(f func(*mdm.Certificate)) *ledger { l := &ledger{record: issued}; f(&l.record); return l }
	for name, tt := range map[string]struct {
		ledger *ledger
		serial string
		want   error // nil: let through
	}{
		"its own":                  {&ledger{record: issued}, "S", nil},
		"another serial number":    {&ledger{record: issued}, "X", mdm.Errorf(mdm.Forbidden, "", "")},
		"no serial number":         {&ledger{record: issued}, "", mdm.Errorf(mdm.Forbidden, "", "")},
		"another device":           {change(func(c *mdm.Certificate) { c.Device = "V" }), "S", mdm.Errorf(mdm.Forbidden, "", "")},
		"made for nobody":          {change(func(c *mdm.Certificate) { c.Device, c.DeviceSerial = "", "" }), "S", mdm.Errorf(mdm.Forbidden, "", "")},
		"another tenant":           {change(func(c *mdm.Certificate) { c.Tenant = "x" }), "S", mdm.Errorf(mdm.Forbidden, "", "")},
		"a renewal":                {change(func(c *mdm.Certificate) { c.Purpose = mdm.PurposeRenew }), "", nil},
		"in use":                   {change(func(c *mdm.Certificate) { c.Status = mdm.CertificateActive }), "", nil},
		"not ours":                 {&ledger{err: mdm.Errorf(mdm.NotFound, "", "")}, "S", mdm.Errorf(mdm.Forbidden, "", "")},
		"the ledger does not work": {&ledger{err: mdm.Errorf(mdm.Unavailable, "", "")}, "S", mdm.Errorf(mdm.Unavailable, "", "")},
	} {
		through := false
		h := ade.Guard(tt.ledger, checkin.HandlerFunc(func(context.Context, *checkin.Request) (*checkin.Reply, error) {
			through = true
			return nil, nil
		}))
		r := &checkin.Request{ID: mdm.EnrollmentID{Device: "U"}, Message: &checkin.Authenticate{Device: mdm.Device{SerialNumber: tt.serial}}}
		_, err := h.Checkin(t.Context(), r)
		assert.Equal(t, tt.want == nil, through, name)
		if tt.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.Error(t, err, name)
		assert.Equal(t, mdm.CodeOf(tt.want), mdm.CodeOf(err), name)
		through = false
		r.Message = &checkin.TokenUpdate{}
		_, err = h.Checkin(t.Context(), r)
		require.NoError(t, err)
		assert.True(t, through, "other messages are left alone")
	}
}
