package storagetest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

func generationCases() []testCase {
	return []testCase{
		{name: "a new generation cancels the commands of the former",
			why: "MDM protocol, check-in: old commands must not run on a wiped device; they are canceled, not deleted",
			run: newGenerationCancels},
		{name: "an erase that was sent is presumed executed",
			why: "MDM protocol, commands: the answer of EraseDevice is sent once; an unanswered one is probably executed and must not run again",
			run: presumedErase},
		{name: "a new generation ends the user channels",
			why: "MDM protocol, check-in: re-enrollment disables all user channels of the device; checkin.Plan: they lose their AuthToken",
			run: newGenerationEndsUsers},
		{name: "a new generation archives the secrets", needs: needsEscrow,
			why: "MDM protocol, check-in: old secrets must not be used on a wiped device; checkin.Escrow: only the current generation's token is given",
			run: newGenerationArchives},
		{name: "a secret that comes with a new generation is kept", needs: needsEscrow,
			why: "MDM protocol, check-in: a wipe that looked like a renewal begins its generation at the TokenUpdate, which may bring an UnlockToken",
			run: secretOfTheNewGeneration},
		{name: "the old certificate lives until the TokenUpdate",
			why: "MDM protocol, check-in: a failed replacement restores the old profile, and the device goes on with it",
			run: oldCertificateLives},
		{name: "a renewal keeps everything",
			why: "MDM protocol, check-in: at a renewal queue, history, secrets and user channels stay",
			run: renewalKeeps},
		{name: "a wipe that looked like a renewal",
			why: "MDM protocol, check-in: AwaitingConfiguration after an assumed renewal begins the new generation there",
			run: lateGeneration},
		{name: "the end of an enrollment",
			why: "MDM protocol, check-in: CheckOut ends the device and its users, cancels the queue and keeps the history",
			run: endOfAnEnrollment},
		{name: "the end forgets pushes", needs: needsPush,
			why: "checkin.Plan: End forgets pushes that are due; a device that is not managed must not be pushed",
			run: endForgetsPushes},
		{name: "back after the end",
			why: "MDM protocol, check-in: who ended may enroll anew; what was before stays in the former generation",
			run: backAfterTheEnd},
	}
}

func newGenerationCancels(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	u := d.user("anna")
	done := w.queued(security(), d)
	require.Equal(w, []string{done}, d.run())
	open := []string{w.queued(security(), d), w.queued(profiles(), d)}
	d.expect(d.idle(), open[0]) // one was sent, the other not
	d.expect(d.answer("NotNow", open[0]), open[1])
	ofUser, ofOther := w.queued(security(), u), w.queued(security(), other)

	d.newIdentity()
	require.NoError(w, d.authenticate())
	for _, uuid := range open {
		e := w.entry(d, uuid)
		assert.Equal(w, command.Canceled, e.State, "canceled at Authenticate, before the device can ask for it")
		assert.Equal(w, mdm.Generation(1), e.Generation)
		assert.False(w, e.FinishedAt.IsZero())
		assert.NotEmpty(w, e.Note, "it says why")
	}
	assert.Equal(w, command.Canceled, w.state(u, ofUser))
	assert.Equal(w, command.Acknowledged, w.state(d, done), "history is history")
	assert.Equal(w, command.Queued, w.state(other, ofOther), "another device is not concerned")
	w.expectEvents(d.id, mdm.EventCommandCanceled, 2)
	w.expectEvents(u.id, mdm.EventCommandCanceled, 1)

	require.NoError(w, d.tokenUpdate())
	assert.Equal(w, mdm.Generation(2), w.row(d.id).Generation)
	d.expect(d.idle(), "")
	fresh := w.queued(security(), d)
	assert.Equal(w, mdm.Generation(2), w.entry(d, fresh).Generation)
	d.answer("Acknowledged", open[0])
	assert.Equal(w, command.Canceled, w.state(d, open[0]), "final states never change")
	assert.Len(w, w.aside(""), 1, "an answer that still comes is kept aside")
}

func presumedErase(w *world) {
	for name, sent := range map[string]bool{"SENT": true, "UNSENT": false} {
		d := w.enrolled(name)
		uuid := w.queued(erase(), d)
		want := command.Canceled
		if sent {
			d.expect(d.idle(), uuid)
			want = command.Presumed
		}
		d.reenroll()
		assert.Equal(w, want, w.state(d, uuid), name)
		d.expect(d.idle(), "")
	}
}

func newGenerationEndsUsers(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	u, stays := d.user("anna"), other.user("anna")
	w.update(u.id, checkin.Plan{AuthTokenHash: []byte("hash")})
	d.reenroll()
	s := w.situation(u.id, mdm.Fingerprint{})
	require.NotNil(w, s.Enrollment)
	assert.Equal(w, mdm.Ended, s.Enrollment.State)
	assert.False(w, s.Enrollment.EndedAt.IsZero())
	assert.Nil(w, s.AuthTokenHash)
	assert.Empty(w, w.situation(d.id, mdm.Fingerprint{}).Users)
	assert.Equal(w, mdm.Enrolled, w.row(stays.id).State)
	receipt := w.enqueue(to(security(), u))
	assert.Zero(w, receipt.Queued)
	u.cert, u.token = d.cert, d.token
	require.NoError(w, u.tokenUpdate(), "the user logs in to the device of the new generation")
	assert.Equal(w, mdm.Enrolled, w.row(u.id).State)
	assert.Equal(w, mdm.Generation(2), w.row(u.id).Generation)
}

func newGenerationArchives(w *world) {
	d := w.enrolled("D")
	d.unlockToken("unlock")
	d.bootstrapToken("bootstrap")
	w.expectSecrets(d.id, "unlock", "bootstrap")
	d.newIdentity()
	require.NoError(w, d.authenticate())
	w.expectSecrets(d.id, "", "")
	require.NoError(w, d.tokenUpdate())
	w.expectSecrets(d.id, "", "")
	d.unlockToken("unlock 2")
	d.bootstrapToken("bootstrap 2")
	w.expectSecrets(d.id, "unlock 2", "bootstrap 2")
}

func secretOfTheNewGeneration(w *world) {
	d := w.enrolled("D")
	d.unlockToken("old")
	d.bootstrapToken("old")
	device := *w.row(d.id)
	device.Generation++
	w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{device}, NewGeneration: true, UnlockToken: mdm.SecretString("new")})
	w.expectSecrets(d.id, "new", "")
}

func oldCertificateLives(w *world) {
	d := w.enrolled("D")
	old := *d
	d.newIdentity()
	require.NoError(w, d.authenticate())
	s := w.situation(d.id, d.fingerprint())
	require.NotNil(w, s.Active)
	require.NotNil(w, s.Pending)
	assert.Equal(w, old.fingerprint(), s.Active.Fingerprint)
	assert.Equal(w, d.fingerprint(), s.Pending.Fingerprint)
	assert.Equal(w, old.token, s.Device.PushToken, "the old push token, too")
	assert.Equal(w, mdm.Pending, s.Device.State)

	old.expect(old.idle(), "") // the replacement failed on the device
	assert.Equal(w, mdm.Enrolled, w.row(d.id).State, "rolled back by a report with the old certificate")
	uuid := w.queued(security(), &old)
	assert.Equal(w, []string{uuid}, old.run())

	require.NoError(w, d.tokenUpdate(), "the new one was installed after all")
	s = w.situation(d.id, old.fingerprint())
	require.NotNil(w, s.Active)
	assert.Equal(w, d.fingerprint(), s.Active.Fingerprint)
	assert.Nil(w, s.Pending)
	require.NotNil(w, s.Certificate)
	assert.Equal(w, mdm.CertificateRetired, s.Certificate.Status)
}

func renewalKeeps(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	d.unlockToken("unlock")
	d.bootstrapToken("bootstrap")
	renewal := w.queued(installProfile("com.apple.mdm"), d)
	waiting, ofUser := w.queued(security(), d), w.queued(security(), u)
	d.expect(d.idle(), renewal)
	d.newIdentity()
	d.enroll()
	assert.Equal(w, mdm.Generation(1), w.row(d.id).Generation)
	assert.Equal(w, mdm.Enrolled, w.row(u.id).State)
	d.expect(d.answer("Acknowledged", renewal), waiting)
	u.cert = d.cert
	u.expect(u.idle(), ofUser)
	if w.Escrow != nil {
		w.expectSecrets(d.id, "unlock", "bootstrap")
	}
	w.expectEvents(d.id, mdm.EventRenewed, 1)
	w.expectEvents(d.id, mdm.EventCommandCanceled, 0)
}

func lateGeneration(w *world) {
	d := w.enrolled("D")
	renewal, waiting := w.queued(installProfile("com.apple.mdm"), d), w.queued(security(), d)
	d.expect(d.idle(), renewal)
	d.newIdentity()
	require.NoError(w, d.authenticate())
	yes := true
	require.NoError(w, d.checkin(&checkin.TokenUpdate{Topic: topic, Token: d.token, PushMagic: d.magic, AwaitingConfiguration: &yes}))
	e := w.row(d.id)
	assert.Equal(w, mdm.Generation(2), e.Generation)
	assert.Equal(w, mdm.Enrolled, e.State)
	assert.True(w, e.AwaitingConfiguration)
	assert.Equal(w, command.Canceled, w.state(d, waiting))
	d.expect(d.idle(), "")
}

func endOfAnEnrollment(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	w.update(u.id, checkin.Plan{AuthTokenHash: []byte("hash")})
	d.unlockToken("unlock")
	d.bootstrapToken("bootstrap")
	done := w.queued(security(), d)
	d.run()
	open, ofUser := w.queued(security(), d), w.queued(security(), u)
	d.checkOut()
	assert.Equal(w, mdm.Ended, w.row(d.id).State)
	s := w.situation(u.id, mdm.Fingerprint{})
	assert.Equal(w, mdm.Ended, s.Enrollment.State)
	assert.Nil(w, s.AuthTokenHash)
	assert.Equal(w, command.Acknowledged, w.state(d, done))
	assert.Equal(w, command.Canceled, w.state(d, open))
	assert.Equal(w, command.Canceled, w.state(u, ofUser))
	if w.Escrow != nil {
		w.expectSecrets(d.id, "", "")
	}
	w.expectEvents(d.id, mdm.EventCheckedOut, 1)
	_, err := d.try(command.Request{Status: command.StatusIdle})
	assert.Equal(w, mdm.Unmanaged, mdm.CodeOf(err), "who ended is told so")
	receipt := w.enqueue(to(security(), d, u))
	assert.Zero(w, receipt.Queued)
	assert.Equal(w, 2, receipt.RefusedAll)
	d.checkOut() // the second time it is not an error
}

func endForgetsPushes(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	u := d.user("anna")
	w.queued(security(), d, u, other)
	d.checkOut()
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	assert.Equal(w, other.id, targets[0].Enrollment)
	w.settle(targets, push.Result{Outcome: push.Delivered})
	row := *w.row(d.id)
	row.State, row.PushToken = mdm.Enrolled, d.token
	w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}})
	assert.Empty(w, w.due(w.now().Add(10*lease)), "they are forgotten, not only left out")
}

func backAfterTheEnd(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	before := w.queued(security(), d)
	d.checkOut()
	d.reenroll()
	e := w.row(d.id)
	assert.Equal(w, mdm.Enrolled, e.State)
	assert.Equal(w, mdm.Generation(2), e.Generation)
	assert.Equal(w, mdm.Ended, w.row(u.id).State, "users come back one by one")
	assert.Equal(w, command.Canceled, w.state(d, before))
	after := w.queued(security(), d)
	assert.Equal(w, []string{after}, d.run())
}
