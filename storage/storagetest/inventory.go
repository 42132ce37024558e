package storagetest

import (
	"bytes"
	"slices"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

func inventoryCases() []testCase {
	return []testCase{
		{name: "all of a device",
			why: "identity.Inventory: the certificates that are bound to a device or were issued for it, whatever became of them, and no other's",
			run: inventory},
		{name: "none",
			why: "identity.Inventory: none if there are none",
			run: inventoryOfNobody},
		{name: "revoked after the end",
			why: "checkin.Service: Revoke revokes what an enrollment had that is over, which is told to remove its profile nonetheless",
			run: revokeEnded},
		{name: "another enrollment's is not revoked",
			why: "checkin.Service: Revoke revokes no certificate that an enrollment goes on with",
			run: revokeAnew},
		{name: "an end of one generation",
			why: "checkin.Service: End with a generation ends that one alone, whatever comes at once",
			run: endGeneration},
	}
}

// inventoryOf returns what is listed, by fingerprint.
func (w *world) inventoryOf(id mdm.EnrollmentID) map[mdm.Fingerprint]mdm.Certificate {
	w.Helper()
	found, err := w.Inventory.Certificates(w.Context(), id)
	require.NoError(w, err)
	assert.True(w, slices.IsSortedFunc(found, func(a, b mdm.Certificate) int { return bytes.Compare(a.Fingerprint[:], b.Fingerprint[:]) }))
	out := map[mdm.Fingerprint]mdm.Certificate{}
	for _, c := range found {
		out[c.Fingerprint] = c
	}
	assert.Len(w, out, len(found))
	return out
}

func inventory(w *world) {
	twins := w.twins()
	w.enrolled("E")
	d := w.device(twins[0].id)
	want := map[mdm.Fingerprint]mdm.Certificate{twins[0].fingerprint(): *w.situation(twins[0].id, twins[0].fingerprint()).Certificate}
	for _, status := range []mdm.CertificateStatus{mdm.CertificateIssued, mdm.CertificatePending, mdm.CertificateRetired, mdm.CertificateRevoked} {
		c := d.certify(status)
		want[c.Fingerprint] = c
	}
	assert.Equal(w, want, w.inventoryOf(twins[0].id), "every field, as it was written")
	assert.Len(w, w.inventoryOf(twins[0].user("anna").id), len(want), "a user means the device")
	assert.Len(w, w.inventoryOf(twins[1].id), 1, "of one tenant")
}

func inventoryOfNobody(w *world) {
	w.enrolled("D")
	assert.Empty(w, w.inventoryOf(mdm.EnrollmentID{Device: "nobody"}))
	assert.Empty(w, w.inventoryOf(mdm.EnrollmentID{Device: "d"}), "names are compared as they are")
}

func (w *world) service() *checkin.Service { return &checkin.Service{Store: w.Checkin, Clock: w.now} }

func (w *world) revoke(d *device, g mdm.Generation, fp mdm.Fingerprint) bool {
	w.Helper()
	revoked, err := w.service().Revoke(w.Context(), d.id, g, fp, "ended")
	require.NoError(w, err)
	return revoked
}

func revokeEnded(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	first := d.fingerprint()
	d.reenroll()
	assert.False(w, w.revoke(d, 2, d.fingerprint()), "it is managed")
	require.NoError(w, w.service().End(w.Context(), d.id, 2, "sold"))
	assert.False(w, w.revoke(d, 2, other.fingerprint()), "another device's")
	assert.False(w, w.revoke(d, 2, mdm.Fingerprint{1}), "not known")
	assert.False(w, w.revoke(d, 1, d.fingerprint()), "a later generation's")
	for range 2 {
		assert.True(w, w.revoke(d, 2, d.fingerprint()))
		assert.True(w, w.revoke(d, 2, first))
	}
	for _, c := range w.inventoryOf(d.id) {
		assert.Equal(w, mdm.CertificateRevoked, c.Status)
		assert.False(w, c.RetiredAt.IsZero())
	}
	if w.Events != nil {
		w.expectEvents(d.id, mdm.EventCertificateRevoked, 2)
	}
	assert.Equal(w, mdm.CertificateActive, w.inventoryOf(other.id)[other.fingerprint()].Status)
	assert.Equal(w, mdm.Unmanaged, mdm.CodeOf(d.tokenUpdate()), "it is known, and told")
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(d.authenticate()), "but does not enroll with it again")
	d.reenroll()
	assert.Equal(w, mdm.Enrolled, w.row(d.id).State)
	_, err := w.service().Revoke(w.Context(), mdm.EnrollmentID{Device: "nobody"}, 1, first, "")
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
}

func revokeAnew(w *world) {
	d := w.enrolled("D")
	first := d.fingerprint()
	require.NoError(w, w.service().End(w.Context(), d.id, 0, "sold"))
	d.enroll() // with the same certificate
	assert.False(w, w.revoke(d, 1, first), "the next enrollment has it")
	d.newIdentity()
	require.NoError(w, d.authenticate())
	assert.False(w, w.revoke(d, 1, first), "nor while that is renewed")
	require.NoError(w, d.tokenUpdate())
	assert.False(w, w.revoke(d, 1, d.fingerprint()))
	assert.Equal(w, mdm.CertificateActive, w.inventoryOf(d.id)[d.fingerprint()].Status)
	d.expect(d.idle(), "")

	e := w.enrolled("E")
	first = e.fingerprint()
	require.NoError(w, w.service().End(w.Context(), e.id, 0, "sold"))
	e.reenroll()
	assert.True(w, w.revoke(e, 1, first), "its own is of no use to the next one")
	assert.False(w, w.revoke(e, 1, e.fingerprint()))
	e.expect(e.idle(), "")
	second := e.fingerprint()
	e.reenroll()
	assert.False(w, w.revoke(e, 1, second), "it was a later one's")
	assert.True(w, w.revoke(e, 2, second))
}

func endGeneration(w *world) {
	d := w.enrolled("D")
	d.reenroll()
	require.NoError(w, w.service().End(w.Context(), d.id, 1, "late"))
	assert.Equal(w, mdm.Enrolled, w.row(d.id).State, "the one before is over already")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { assert.NoError(w, w.service().End(w.Context(), d.id, 2, "sold")) })
	}
	group.Go(func() { _ = d.checkin(&checkin.Authenticate{Topic: topic, Device: mdm.Device{SerialNumber: "SND"}}) })
	group.Wait()
	if row := w.row(d.id); row.State != mdm.Ended { // it was enrolling anew when the end came, or behind it
		assert.Equal(w, mdm.Generation(3), row.Generation)
		assert.Equal(w, mdm.Pending, row.State)
	}
	require.NoError(w, w.service().End(w.Context(), d.id, 0, "whatever is there"))
	assert.Equal(w, mdm.Ended, w.row(d.id).State)
}
