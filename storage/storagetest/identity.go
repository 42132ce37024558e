package storagetest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func identityCases() []testCase {
	return []testCase{
		{name: "from pending to active to retired",
			why: "mdm.CertificateStatus: a device has at most one Active and one Pending certificate; Standing has both",
			run: certificateLife},
		{name: "a certificate that moves to another device",
			why: "identity.Policy: OnConflict may move a certificate; the former device has it no longer",
			run: certificateMoves},
		{name: "a user channel stands on its device's certificate",
			why: "MDM protocol, check-in: a user channel always shares the client certificate of its device channel",
			run: userStanding},
		{name: "resolving a certificate", needs: needsIdentity,
			why: "identity.Resolver: the device of an active or pending identity, else NotFound",
			run: resolve},
		{name: "resolving who ended", needs: needsIdentity,
			why: "identity.Resolver: NotFound if the certificate is no device's identity; who is not managed gets nothing",
			run: resolveEnded},
		{name: "a denied device", needs: needsDeny,
			why: "identity.DenyList: a denied caller stays enrolled, but gets nothing; it is checked in the same transaction",
			run: denyDevice},
		{name: "a denied certificate", needs: needsDeny,
			why: "identity.DenyList: names a device or a certificate",
			run: denyCertificate},
		{name: "a denial without a reason", needs: needsDeny,
			why: "identity.Standing: an empty Denied is no denial, so a store must say something",
			run: denyWithoutReason},
		{name: "the deny list", needs: needsDeny,
			why: "identity.DenyList: Denials returns devices first, in order; Deny replaces the reason; Allow of nothing is no error",
			run: denials},
		{name: "a denial of nothing", needs: needsDeny,
			why: "identity.Denial: exactly one of device and certificate",
			run: denyNothing},
		{name: "resolving who is denied", needs: needsDeny | needsIdentity,
			why: "identity.DenyList: a denied caller gets nothing, outside the protocol either",
			run: resolveDenied},
	}
}

// certify writes a certificate of a device with a status.
func (d *device) certify(status mdm.CertificateStatus) mdm.Certificate {
	d.w.Helper()
	cert := mdm.NewCertificate(d.id.Tenant, d.cert)
	cert.Device, cert.Status, cert.Generation = d.id.Device, status, 1
	d.w.update(d.id, checkin.Plan{Certificates: []mdm.Certificate{cert}})
	return cert
}

func certificateLife(w *world) {
	first := w.enrolled("D")
	second := *first
	second.newIdentity()
	second.certify(mdm.CertificatePending)
	s := w.situation(first.id, second.fingerprint())
	require.NotNil(w, s.Pending)
	require.NotNil(w, s.Active)
	assert.Equal(w, second.fingerprint(), s.Pending.Fingerprint)
	assert.Equal(w, first.fingerprint(), s.Active.Fingerprint)
	assert.Equal(w, mdm.CertificatePending, s.Certificate.Status)
	w.update(first.id, checkin.Plan{Certificates: identity.Promote(&s.Standing, *s.Certificate, w.now())})
	s = w.situation(first.id, first.fingerprint())
	require.NotNil(w, s.Active)
	assert.Equal(w, second.fingerprint(), s.Active.Fingerprint)
	assert.Nil(w, s.Pending)
	assert.Equal(w, mdm.CertificateRetired, s.Certificate.Status)
	assert.False(w, s.Certificate.RetiredAt.IsZero())
	second.certify(mdm.CertificateRevoked)
	s = w.situation(first.id, second.fingerprint())
	assert.Nil(w, s.Active)
	assert.Equal(w, mdm.CertificateRevoked, s.Certificate.Status)
}

func certificateMoves(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	cert := *w.situation(a.id, a.fingerprint()).Certificate
	cert.Device = "B"
	retired := *w.situation(b.id, b.fingerprint()).Certificate
	retired.Status = mdm.CertificateRetired
	w.update(b.id, checkin.Plan{Certificates: []mdm.Certificate{retired, cert}})
	assert.Nil(w, w.situation(a.id, mdm.Fingerprint{}).Active)
	s := w.situation(b.id, a.fingerprint())
	require.NotNil(w, s.Active)
	assert.Equal(w, a.fingerprint(), s.Active.Fingerprint)
	assert.Equal(w, "B", s.Certificate.Device)
}

func userStanding(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	s := w.situation(u.id, d.fingerprint())
	require.NotNil(w, s.Enrollment)
	require.NotNil(w, s.Device)
	assert.Equal(w, u.id, s.Enrollment.ID)
	assert.Equal(w, d.id, s.Device.ID)
	require.NotNil(w, s.Active)
	assert.Equal(w, d.fingerprint(), s.Active.Fingerprint)
	assert.Equal(w, "D", s.Certificate.Device)
	u.expect(u.idle(), "")
}

func (w *world) resolve(fp mdm.Fingerprint) (mdm.EnrollmentID, mdm.Code) {
	w.Helper()
	id, err := w.Identity.Resolve(w.Context(), "", fp)
	if err == nil {
		return id, 0
	}
	assert.Zero(w, id)
	return id, mdm.CodeOf(err)
}

func resolve(w *world) {
	d := w.enrolled("D")
	id, code := w.resolve(d.fingerprint())
	assert.Equal(w, d.id, id)
	assert.Zero(w, code)
	_, code = w.resolve(mdm.Fingerprint{1, 2, 3})
	assert.Equal(w, mdm.NotFound, code)
	other := w.device(d.id)
	for status, want := range map[mdm.CertificateStatus]mdm.Code{
		mdm.CertificateIssued: mdm.NotFound, mdm.CertificatePending: 0, mdm.CertificateRetired: mdm.NotFound, mdm.CertificateRevoked: mdm.NotFound,
	} {
		other.certify(status)
		id, code := w.resolve(other.fingerprint())
		assert.Equal(w, want, code, "%s", status)
		if want == 0 {
			assert.Equal(w, d.id, id)
		}
	}
}

func resolveEnded(w *world) {
	d := w.enrolled("D")
	d.checkOut()
	_, code := w.resolve(d.fingerprint())
	assert.Equal(w, mdm.NotFound, code)
}

func (w *world) deny(d identity.Denial) {
	w.Helper()
	require.NoError(w, w.Deny.Deny(w.Context(), d))
}

func denyDevice(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	uuid := w.queued(security(), d)
	w.deny(identity.Denial{Device: "D", Reason: "stolen"})
	for _, channel := range []*device{d, u} {
		assert.Equal(w, "stolen", w.situation(channel.id, d.fingerprint()).Denied)
		_, err := channel.try(command.Request{Status: "Acknowledged", CommandUUID: uuid})
		require.Error(w, err)
		assert.Equal(w, mdm.Forbidden, mdm.CodeOf(err))
		assert.Equal(w, mdm.Forbidden, mdm.CodeOf(channel.tokenUpdate()))
	}
	assert.Equal(w, mdm.Enrolled, w.row(d.id).State)
	assert.Equal(w, command.Queued, w.state(d, uuid))
	require.NoError(w, w.Deny.Allow(w.Context(), identity.Denial{Device: "D"}))
	assert.Equal(w, []string{uuid}, d.run())
}

func denyCertificate(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	w.deny(identity.Denial{Fingerprint: d.fingerprint(), Reason: "leaked"})
	assert.Equal(w, "leaked", w.situation(d.id, d.fingerprint()).Denied)
	assert.Empty(w, w.situation(d.id, other.fingerprint()).Denied)
	assert.Empty(w, w.situation(d.id, mdm.Fingerprint{}).Denied, "an operator's action has no certificate")
	_, err := d.try(command.Request{Status: "Idle"})
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(err))
	other.expect(other.idle(), "")
}

func denyWithoutReason(w *world) {
	d := w.enrolled("D")
	w.deny(identity.Denial{Device: "D"})
	assert.NotEmpty(w, w.situation(d.id, d.fingerprint()).Denied)
	_, err := d.try(command.Request{Status: "Idle"})
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(err))
}

func denials(w *world) {
	fps := []mdm.Fingerprint{{1}, {2}, {0xff}}
	w.deny(identity.Denial{Fingerprint: fps[2], Reason: "c"})
	w.deny(identity.Denial{Device: "B", Reason: "former"})
	w.deny(identity.Denial{Fingerprint: fps[0], Reason: "c"})
	w.deny(identity.Denial{Device: "A", Reason: "a"})
	w.deny(identity.Denial{Device: "B", Reason: "b"})
	w.deny(identity.Denial{Tenant: "other", Device: "A", Reason: "a"})
	require.NoError(w, w.Deny.Allow(w.Context(), identity.Denial{Device: "nobody"}))
	require.NoError(w, w.Deny.Allow(w.Context(), identity.Denial{Fingerprint: fps[1]}))
	got, err := w.Deny.Denials(w.Context(), "")
	require.NoError(w, err)
	assert.Equal(w, []identity.Denial{{Device: "A", Reason: "a"}, {Device: "B", Reason: "b"},
		{Fingerprint: fps[0], Reason: "c"}, {Fingerprint: fps[2], Reason: "c"}}, got)
	require.NoError(w, w.Deny.Allow(w.Context(), identity.Denial{Device: "A"}))
	got, err = w.Deny.Denials(w.Context(), "")
	require.NoError(w, err)
	assert.Len(w, got, 3)
}

func denyNothing(w *world) {
	for _, d := range []identity.Denial{{Reason: "x"}, {Device: "D", Fingerprint: mdm.Fingerprint{1}}} {
		err := w.Deny.Deny(w.Context(), d)
		require.Error(w, err)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err))
	}
	assert.Empty(w, w.situation(mdm.EnrollmentID{Device: "D"}, mdm.Fingerprint{1}).Denied)
}

func resolveDenied(w *world) {
	d := w.enrolled("D")
	for _, denial := range []identity.Denial{{Device: "D"}, {Fingerprint: d.fingerprint()}} {
		w.deny(denial)
		_, err := w.Identity.Resolve(w.Context(), "", d.fingerprint())
		require.Error(w, err)
		assert.NotEqual(w, mdm.Unmanaged, mdm.CodeOf(err))
		require.NoError(w, w.Deny.Allow(w.Context(), denial))
		id, code := w.resolve(d.fingerprint())
		assert.Equal(w, d.id, id)
		assert.Zero(w, code)
	}
}
