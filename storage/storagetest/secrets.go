package storagetest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

func secretCases() []testCase {
	return []testCase{
		{name: "stored and read",
			why: "checkin.Escrow: what devices entrust to the server; a zero Secret if there is none",
			run: secretsStored},
		{name: "every read leaves an event", needs: needsEvents,
			why: "checkin.Escrow: every read leaves an EventSecretRead with its reason; without that event no secret is returned",
			run: secretReadEvent},
		{name: "an absent UnlockToken keeps the stored one",
			why: "MDM protocol, check-in: its absence or emptiness does not invalidate the stored one",
			run: unlockTokenKept},
		{name: "a new token replaces the old one",
			why: "checkin.Plan: UnlockToken is stored if not zero, the former one archived",
			run: secretReplaced},
		{name: "a bootstrap token deleted",
			why: "MDM protocol, check-in: SetBootstrapToken with a missing or empty token deletes the stored one",
			run: bootstrapDeleted},
		{name: "secrets of one device are not another's",
			why: "checkin.Escrow: by enrollment",
			run: secretsApart},
		{name: "binary and large secrets",
			why: "MDM protocol, check-in: an UnlockToken is data of up to 8 KiB",
			run: secretBytes},
	}
}

// expectSecrets reads both tokens of a device; empty is none.
func (w *world) expectSecrets(id mdm.EnrollmentID, unlock, bootstrap string) {
	w.Helper()
	got, err := w.Escrow.UnlockToken(w.Context(), id, "the test asks")
	require.NoError(w, err)
	require.Equal(w, unlock, string(got.Reveal()), "UnlockToken of %s", id)
	got, err = w.Escrow.BootstrapToken(w.Context(), id, "the test asks")
	require.NoError(w, err)
	require.Equal(w, bootstrap, string(got.Reveal()), "bootstrap token of %s", id)
}

func secretsStored(w *world) {
	d := w.enrolled("D")
	w.expectSecrets(d.id, "", "")
	d.unlockToken("unlock")
	w.expectSecrets(d.id, "unlock", "")
	d.bootstrapToken("bootstrap")
	w.expectSecrets(d.id, "unlock", "bootstrap")
	w.expectSecrets(mdm.EnrollmentID{Device: "unknown"}, "", "")
}

func secretReadEvent(w *world) {
	d := w.enrolled("D")
	d.unlockToken("unlock")
	d.bootstrapToken("bootstrap")
	before := len(w.events(d.id))
	_, err := w.Escrow.UnlockToken(w.Context(), d.id, "ticket 4711")
	require.NoError(w, err)
	_, err = w.Escrow.BootstrapToken(w.Context(), d.id, "ticket 4712")
	require.NoError(w, err)
	events := w.events(d.id)[before:]
	require.Len(w, events, 2)
	for i, want := range []mdm.Event{{Subject: "UnlockToken", Reason: "ticket 4711"}, {Subject: "BootstrapToken", Reason: "ticket 4712"}} {
		assert.Equal(w, mdm.EventSecretRead, events[i].Type)
		assert.Equal(w, want.Subject, events[i].Subject)
		assert.Equal(w, want.Reason, events[i].Reason)
		assert.Equal(w, mdm.Generation(1), events[i].Generation)
		assert.False(w, events[i].At.IsZero())
	}
}

func unlockTokenKept(w *world) {
	d := w.enrolled("D")
	d.unlockToken("unlock")
	require.NoError(w, d.tokenUpdate())
	d.unlockToken("")
	w.update(d.id, checkin.Plan{Seen: true})
	w.expectSecrets(d.id, "unlock", "")
}

func secretReplaced(w *world) {
	d := w.enrolled("D")
	for _, secret := range []string{"one", "two", "two", "three"} {
		d.unlockToken("unlock " + secret)
		d.bootstrapToken("bootstrap " + secret)
		w.expectSecrets(d.id, "unlock "+secret, "bootstrap "+secret)
	}
}

func bootstrapDeleted(w *world) {
	d := w.enrolled("D")
	d.unlockToken("unlock")
	d.bootstrapToken("bootstrap")
	d.bootstrapToken("")
	w.expectSecrets(d.id, "unlock", "")
	d.bootstrapToken("")
	d.bootstrapToken("again")
	w.expectSecrets(d.id, "unlock", "again")
}

func secretsApart(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	a.unlockToken("of A")
	b.bootstrapToken("of B")
	w.expectSecrets(a.id, "of A", "")
	w.expectSecrets(b.id, "", "of B")
}

func secretBytes(w *world) {
	d := w.enrolled("D")
	b := make([]byte, 8<<10)
	for i := range b {
		b[i] = byte(i * 7)
	}
	d.unlockToken(string(b))
	w.expectSecrets(d.id, string(b), "")
}
