package storagetest

import (
	"bytes"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
)

func scepCases() []testCase {
	return []testCase{
		{name: "a challenge is good once",
			why: "capabilities L27: a challenge has one use; scep.Store: spent on another key is Forbidden",
			run: challengeOnce},
		{name: "the same key is answered again",
			why: "scep.Store: a device that lost the answer repeats its request with the same key, and gets the same certificate",
			run: sameKeyAgain},
		{name: "another key before the challenge is spent",
			why: "scep.Store: a device that never got its answer may have made a new key; the earlier certificate is revoked",
			run: otherKeyBeforeSpend},
		{name: "an unknown challenge",
			why: "scep.Store: Forbidden if there is none",
			run: unknownChallenge},
		{name: "an expired challenge",
			why: "scep.Store: Forbidden if it has expired; an answer is sent again nonetheless",
			run: expiredChallenge},
		{name: "what a challenge says",
			why: "scep.Challenge: bound to what is known of the device that will use it",
			run: challengeFields},
		{name: "the ledger",
			why: "scep.Store: Record writes the certificate into the ledger and leaves an EventCertificateIssued",
			run: ledger},
		{name: "a renewal has no challenge",
			why: "scep.Issue: Challenge is zero for a RenewalReq; nothing is revoked by it",
			run: recordWithoutChallenge},
		{name: "recorded too late",
			why: "scep.Store: if the challenge was spent on another key meanwhile, Record changes nothing and returns Forbidden",
			run: recordTooLate},
		{name: "a certificate in use is not issued again",
			why: "scep.Store: one challenge never gives two living certificates",
			run: recordAfterUse},
		{name: "two keys at once",
			why: "scep.Store: one challenge never gives two living certificates, whatever is concurrent",
			run: twoKeysAtOnce},
		{name: "an issued certificate enrolls",
			why: "mdm.Certificate: the ledger and the binding are one record; for what it was issued is the evidence at Authenticate",
			run: issuedEnrolls},
	}
}

func hash(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

// challenge stores one and returns its hash.
func (w *world) challenge(text string) [sha256.Size]byte {
	w.Helper()
	h := scep.HashChallenge(text)
	require.NoError(w, w.SCEP.AddChallenge(w.Context(), scep.Challenge{Hash: h, Purpose: mdm.PurposeEnroll, ExpiresAt: w.now().Add(time.Hour)}))
	return h
}

// issue is a certificate for a key; its DER encoding is the text.
func (w *world) issue(challenge, key [sha256.Size]byte, der string) scep.Issue {
	return scep.Issue{DER: []byte(der), Challenge: challenge, Key: key, At: w.now(), Certificate: mdm.Certificate{
		Fingerprint: sha256.Sum256([]byte(der)), Status: mdm.CertificateIssued, Purpose: mdm.PurposeEnroll, IssuedAt: w.now(), SerialNumber: "1f"}}
}

func (w *world) record(i scep.Issue) {
	w.Helper()
	require.NoError(w, w.SCEP.Record(w.Context(), i))
}

// redeem returns the DER encoding and the error's code.
func (w *world) redeem(challenge, key [sha256.Size]byte, at time.Time) (string, mdm.Code) {
	w.Helper()
	_, der, err := w.SCEP.Redeem(w.Context(), challenge, key, at)
	if err != nil {
		assert.Nil(w, der)
		return "", mdm.CodeOf(err)
	}
	return string(der), 0
}

func (w *world) status(i scep.Issue) mdm.CertificateStatus {
	w.Helper()
	cert, err := w.SCEP.Certificate(w.Context(), i.Certificate.Tenant, i.Certificate.Fingerprint)
	if mdm.CodeOf(err) == mdm.NotFound {
		return 0
	}
	require.NoError(w, err)
	return cert.Status
}

func challengeOnce(w *world) {
	c := w.challenge("secret")
	der, code := w.redeem(c, hash("key"), w.now())
	assert.Zero(w, code)
	assert.Empty(w, der, "not answered yet")
	w.record(w.issue(c, hash("key"), "der"))
	require.NoError(w, w.SCEP.Spend(w.Context(), c, hash("key")))
	_, code = w.redeem(c, hash("other key"), w.now())
	assert.Equal(w, mdm.Forbidden, code)
	require.NoError(w, w.SCEP.Spend(w.Context(), c, hash("key")), "twice by the same key is harmless")
}

func sameKeyAgain(w *world) {
	c := w.challenge("secret")
	w.record(w.issue(c, hash("key"), "der"))
	for range 2 {
		der, code := w.redeem(c, hash("key"), w.now())
		assert.Zero(w, code)
		assert.Equal(w, "der", der)
	}
	require.NoError(w, w.SCEP.Spend(w.Context(), c, hash("key")))
	der, code := w.redeem(c, hash("key"), w.now())
	assert.Zero(w, code, "after it was spent, too")
	assert.Equal(w, "der", der)
}

func otherKeyBeforeSpend(w *world) {
	c := w.challenge("secret")
	first := w.issue(c, hash("key 1"), "der 1")
	w.record(first)
	der, code := w.redeem(c, hash("key 2"), w.now())
	assert.Zero(w, code)
	assert.Empty(w, der, "the answer to another key is not given out")
	second := w.issue(c, hash("key 2"), "der 2")
	w.record(second)
	assert.Equal(w, mdm.CertificateRevoked, w.status(first))
	assert.Equal(w, mdm.CertificateIssued, w.status(second))
	der, code = w.redeem(c, hash("key 2"), w.now())
	assert.Zero(w, code)
	assert.Equal(w, "der 2", der)
}

func unknownChallenge(w *world) {
	w.challenge("secret")
	_, code := w.redeem(hash("guess"), hash("key"), w.now())
	assert.Equal(w, mdm.Forbidden, code)
	_, code = w.redeem([sha256.Size]byte{}, hash("key"), w.now())
	assert.Equal(w, mdm.Forbidden, code)
	err := w.SCEP.Record(w.Context(), w.issue(hash("guess"), hash("key"), "der"))
	require.Error(w, err, "a certificate for a challenge that is not there")
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(err))
}

func expiredChallenge(w *world) {
	unused, answered := w.challenge("unused"), w.challenge("answered")
	w.record(w.issue(answered, hash("key"), "der"))
	late := w.now().Add(2 * time.Hour)
	_, code := w.redeem(unused, hash("key"), late)
	assert.Equal(w, mdm.Forbidden, code)
	der, code := w.redeem(answered, hash("key"), late)
	assert.Zero(w, code)
	assert.Equal(w, "der", der)
	_, code = w.redeem(answered, hash("other key"), late)
	assert.Equal(w, mdm.Forbidden, code)
}

func challengeFields(w *world) {
	want := scep.Challenge{Hash: hash("x"), Tenant: "acme", Purpose: mdm.PurposeRenew, Device: "D", DeviceSerial: "SN", ExpiresAt: w.now().Add(time.Hour)}
	require.NoError(w, w.SCEP.AddChallenge(w.Context(), want))
	got, der, err := w.SCEP.Redeem(w.Context(), want.Hash, hash("key"), w.now())
	require.NoError(w, err)
	assert.Nil(w, der)
	got.ExpiresAt = got.ExpiresAt.UTC()
	assert.Equal(w, want, got)
}

func ledger(w *world) {
	c := w.challenge("secret")
	i := w.issue(c, hash("key"), "der")
	i.Certificate.Device, i.Certificate.DeviceSerial, i.Certificate.Subject = "D", "SN", "CN=x"
	i.Certificate.NotBefore, i.Certificate.NotAfter = w.now(), w.now().AddDate(1, 0, 0)
	w.record(i)
	got, err := w.SCEP.Certificate(w.Context(), "", i.Certificate.Fingerprint)
	require.NoError(w, err)
	assert.Equal(w, i.Certificate, normalCertificate(got))
	id := mdm.EnrollmentID{Device: "D"}
	w.expectEvents(id, mdm.EventCertificateIssued, 1)
	for _, e := range w.events(id) {
		assert.Equal(w, i.Certificate.Fingerprint.String(), e.Fingerprint)
	}
	_, err = w.SCEP.Certificate(w.Context(), "", mdm.Fingerprint{9})
	require.Error(w, err)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
	s := w.situation(id, i.Certificate.Fingerprint)
	assert.Nil(w, s.Active)
	assert.Nil(w, s.Pending)
	require.NotNil(w, s.Certificate)
	assert.Equal(w, mdm.CertificateIssued, s.Certificate.Status)
}

func recordWithoutChallenge(w *world) {
	first, second := w.issue([sha256.Size]byte{}, hash("key 1"), "der 1"), w.issue([sha256.Size]byte{}, hash("key 2"), "der 2")
	w.record(first)
	w.record(second)
	assert.Equal(w, mdm.CertificateIssued, w.status(first))
	assert.Equal(w, mdm.CertificateIssued, w.status(second))
}

func recordTooLate(w *world) {
	c := w.challenge("secret")
	first, late := w.issue(c, hash("key 1"), "der 1"), w.issue(c, hash("key 2"), "der 2")
	w.record(first)
	require.NoError(w, w.SCEP.Spend(w.Context(), c, hash("key 1")))
	err := w.SCEP.Record(w.Context(), late)
	require.Error(w, err)
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(err))
	assert.Equal(w, mdm.CertificateIssued, w.status(first))
	assert.Zero(w, w.status(late))
	w.expectEvents(mdm.EnrollmentID{}, mdm.EventCertificateIssued, 1)
	der, code := w.redeem(c, hash("key 1"), w.now())
	assert.Zero(w, code)
	assert.Equal(w, "der 1", der)
}

func recordAfterUse(w *world) {
	c := w.challenge("secret")
	d := w.device(mdm.EnrollmentID{Device: "D"})
	first := w.issue(c, hash("key 1"), string(d.cert.Raw))
	w.record(first)
	d.enroll() // the answer had arrived; that it did, did not
	assert.Equal(w, mdm.CertificateActive, w.status(first))
	late := w.issue(c, hash("key 2"), "der 2")
	err := w.SCEP.Record(w.Context(), late)
	require.Error(w, err)
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(err))
	assert.Equal(w, mdm.CertificateActive, w.status(first), "a living identity is not revoked by whoever has its old challenge")
	assert.Zero(w, w.status(late))
}

func twoKeysAtOnce(w *world) {
	for round := range 5 {
		c := w.challenge(numbered("secret ", round))
		issues := make([]scep.Issue, 6)
		var group sync.WaitGroup
		for i := range issues {
			key := hash(numbered("key ", i))
			issues[i] = w.issue(c, key, numbered(numbered("der ", round), i))
			group.Go(func() {
				_, der, err := w.SCEP.Redeem(w.Context(), c, key, w.now())
				if err != nil || der != nil {
					return
				}
				if w.SCEP.Record(w.Context(), issues[i]) == nil {
					_ = w.SCEP.Spend(w.Context(), c, key)
				}
			})
		}
		group.Wait()
		living := 0
		for _, i := range issues {
			if w.status(i) == mdm.CertificateIssued {
				living++
			}
		}
		assert.LessOrEqual(w, living, 1)
	}
}

func issuedEnrolls(w *world) {
	c := w.challenge("secret")
	d := w.device(mdm.EnrollmentID{Device: "D"})
	w.record(w.issue(c, hash("key"), string(d.cert.Raw)))
	d.enroll()
	s := w.situation(d.id, d.fingerprint())
	require.NotNil(w, s.Active)
	assert.Equal(w, "D", s.Active.Device)
	assert.Equal(w, mdm.PurposeEnroll, s.Active.Purpose)
	assert.False(w, s.Active.IssuedAt.IsZero(), "what the ledger knew is kept")
	_, der, err := w.SCEP.Redeem(w.Context(), c, hash("key"), w.now())
	require.NoError(w, err)
	assert.True(w, bytes.Equal(d.cert.Raw, der))
}
