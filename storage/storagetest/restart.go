package storagetest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/push"
)

func restartCases() []testCase {
	return []testCase{
		{name: "enrollments and queues",
			why: "what a closed handle acknowledged is there for the next: a device sends its TokenUpdate perhaps never again",
			run: restartQueues},
		{name: "a session goes on",
			why: "a server is restarted in the middle of the day; NotNow and Sent are state like any other",
			run: restartSession},
		{name: "secrets", needs: needsEscrow,
			why: "checkin.Escrow: what devices entrust to the server outlives the server, sealed or not",
			run: restartSecrets},
		{name: "everything else",
			why: "pushes, events, leases, denials, challenges and the vault are state like any other",
			run: restartRest},
	}
}

func restartQueues(w *world) {
	var d, u device
	var done, open, ofUser string
	w.session(0, func(w *world) {
		d = *w.enrolled("D")
		u = *d.user("anna")
		done = w.queued(security(), &d)
		d.run()
		open, ofUser = w.queued(profiles(), &d), w.queued(profiles(), &u)
		d.answer("Acknowledged", "never-queued")
	})
	for range 2 {
		w.session(0, func(w *world) {
			d.w, u.w = w, w
			s := w.situation(d.id, d.fingerprint())
			require.NotNil(w, s.Enrollment)
			assert.Equal(w, mdm.Enrolled, s.Enrollment.State)
			assert.Equal(w, d.token, s.Enrollment.PushToken)
			require.NotNil(w, s.Active)
			assert.Equal(w, []mdm.EnrollmentID{u.id}, s.Users)
			e := w.entry(&d, done)
			assert.Equal(w, command.Acknowledged, e.State)
			assert.Contains(w, string(e.Result), done)
			assert.True(w, w.state(&d, open).Open())
			assert.Len(w, w.aside(""), 1)
			d.expect(d.idle(), open)
			u.expect(u.idle(), ofUser)
		})
	}
	w.session(0, func(w *world) {
		d.w = w
		d.expect(d.answer("Acknowledged", open), "")
	})
	w.session(0, func(w *world) {
		d.w = w
		assert.Equal(w, command.Acknowledged, w.state(&d, open))
		next := w.queued(security(), &d)
		entries := w.queue(&d)
		assert.Equal(w, next, entries[len(entries)-1].UUID, "Seq goes on")
	})
}

func restartSession(w *world) {
	var d device
	var a, b string
	w.session(0, func(w *world) {
		d = *w.enrolled("D")
		a, b = w.queued(security(), &d), w.queued(profiles(), &d)
		d.expect(d.idle(), a)
		d.expect(d.answer("NotNow", a), b)
	})
	w.session(0, func(w *world) {
		d.w = w
		d.expect(d.answer("Acknowledged", b), "")
		assert.Equal(w, command.Deferred, w.state(&d, a))
		d.expect(d.idle(), a)
	})
}

func restartSecrets(w *world) {
	var d device
	w.session(needsEscrow, func(w *world) {
		d = *w.enrolled("D")
		d.unlockToken("unlock")
		d.bootstrapToken("bootstrap")
	})
	w.session(needsEscrow, func(w *world) { w.expectSecrets(d.id, "unlock", "bootstrap") })
}

func restartRest(w *world) {
	const need = needsPush | needsEvents | needsDeny | needsSCEP | needsVault | needsPushCertificates
	var d device
	var cert push.Certificate
	c := scep.HashChallenge("secret")
	w.session(need, func(w *world) {
		d = *w.enrolled("D")
		w.drain()
		w.queued(security(), &d)
		leased := w.lease("c", 2, time.Hour)
		require.Len(w, leased, 2)
		w.ack("c", leased[0])
		w.deny(identity.Denial{Device: "X", Reason: "stolen"})
		w.challenge("secret")
		w.record(w.issue(c, hash("key"), "der"))
		require.NoError(w, w.Vault.PutSecret(w.Context(), "a", mdm.SecretString("one")))
		cert = w.pushCertificate(topic, w.now().AddDate(1, 0, 0))
		require.NoError(w, w.PushCertificates.SavePushCertificate(w.Context(), cert))
	})
	w.session(need, func(w *world) {
		d.w = w
		targets := w.due(w.now())
		require.Len(w, targets, 1)
		assert.Equal(w, d.token, targets[0].Token)
		for _, e := range w.lease("c", 100, lease) {
			assert.NotEqual(w, d.id, e.Enrollment, "one event of the device is still leased, the others wait for it")
		}
		denials, err := w.Deny.Denials(w.Context(), "")
		require.NoError(w, err)
		assert.Equal(w, []identity.Denial{{Device: "X", Reason: "stolen"}}, denials)
		der, code := w.redeem(c, hash("key"), w.now())
		assert.Zero(w, code)
		assert.Equal(w, "der", der)
		assert.Equal(w, "one", w.secret("a"))
		got, err := w.PushCertificates.PushCertificate(w.Context(), topic)
		require.NoError(w, err)
		assert.Equal(w, cert.TLS.Certificate, got.Certificate)
		assert.Empty(w, w.due(w.now()), "the lease of a push outlives the process, too")
	})
}
