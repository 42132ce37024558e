package storagetest

import (
	"errors"
	"strconv"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

var (
	errDecided = errors.New("storagetest: the decision failed")
	errRefused = errors.New("storagetest: refused")
)

func checkinCases() []testCase {
	return []testCase{
		{name: "a plan is written wholly",
			why: "checkin.Store: Update writes the plan that decide returns, all of it or nothing",
			run: planIsWritten},
		{name: "an error of the decision writes nothing",
			why: "checkin.Store: if decide fails, nothing is written and its error is returned as it is",
			run: decisionFails},
		{name: "a panic of the decision writes nothing and releases the store",
			why: "a server turns a panic into status 500 and goes on; a store that keeps its lock then stops it for good",
			run: decisionPanics},
		{name: "a refusal is returned after the plan was written",
			why: "checkin.Store: if the plan has a Refusal, the plan is written and the Refusal is returned",
			run: refusalIsWritten},
		{name: "nothing is known of a stranger",
			why: "identity.Standing: a pointer is nil if the store has no record; a store never decides",
			run: strangerIsUnknown},
		{name: "what a decision is given is its own",
			why: "a decision that fails must not have changed what is stored, whatever it did to the situation",
			run: situationIsACopy},
		{name: "updates of one device never overlap",
			why: "checkin.Store: two updates of channels of one device never overlap, or one loses what the other wrote",
			run: updatesDoNotOverlap},
		{name: "updates and reports of one device never overlap",
			why: "command.Exchanger: one atomic step: the row in a verdict is made from the standing that was loaded in it",
			run: updatesAndReports},
		{name: "updates of many devices at once",
			why: "checkin.Store: safe for concurrent use by many goroutines",
			run: manyAtOnce},
		{name: "the users of a device",
			why: "checkin.Situation: Users are the user channels that are not ended, only when the key is a device channel",
			run: situationHasUsers},
		{name: "the AuthToken of a channel",
			why: "checkin.Plan: AuthTokenHash is stored if not nil, of the channel alone; empty and not nil deletes it",
			run: authToken},
		{name: "a message repeated is harmless",
			why: "MDM protocol, check-in: devices repeat what they could not deliver, the same message may arrive twice",
			run: repeatedMessages},
		{name: "a plan wakes its channel", needs: needsPush,
			why: "checkin.Plan: Wake leaves a push for the channel, in the transaction of the plan",
			run: planWakes},
		{name: "the evidence of commands sent",
			why: "checkin.Situation: ReplacementSent and EraseSent are what tells a renewal from a wipe",
			run: evidence},
	}
}

func planIsWritten(w *world) {
	id, at := mdm.EnrollmentID{Device: "D"}, w.now()
	user := mdm.EnrollmentID{Device: "D", User: "anna"}
	d := w.device(id)
	cert := mdm.NewCertificate("", d.cert)
	cert.Status, cert.Device, cert.BoundAt = mdm.CertificatePending, "D", at
	device, channel := enrollment(id, at), enrollment(user, at)
	channel.Channel = mdm.UserChannel
	secret := mdm.SecretString("bootstrap")
	w.update(id, checkin.Plan{
		Enrollments: []mdm.Enrollment{device, channel}, Certificates: []mdm.Certificate{cert},
		UnlockToken: mdm.SecretString("unlock"), BootstrapToken: &secret, AuthTokenHash: []byte("hash"),
		Events: []mdm.Event{{Type: mdm.EventAuthenticated, At: at, Enrollment: id}, {Type: mdm.EventEnrolled, At: at, Enrollment: id}},
	})
	s := w.situation(id, d.fingerprint())
	require.NotNil(w, s.Enrollment)
	assert.Equal(w, normal(device), normal(*s.Enrollment))
	assert.Same(w, s.Enrollment, s.Device, "on a device channel both are the same")
	require.NotNil(w, s.Certificate)
	assert.Equal(w, d.fingerprint(), s.Certificate.Fingerprint)
	require.NotNil(w, s.Pending)
	assert.Equal(w, d.fingerprint(), s.Pending.Fingerprint)
	assert.Nil(w, s.Active)
	assert.Equal(w, []byte("hash"), s.AuthTokenHash)
	assert.Equal(w, []mdm.EnrollmentID{user}, s.Users)
	if w.Escrow != nil {
		w.expectSecrets(id, "unlock", "bootstrap")
	}
	w.expectEvents(id, mdm.EventAuthenticated, 1)
	w.expectEvents(id, mdm.EventEnrolled, 1)
}

// everything is a plan that would change whatever can be changed.
func everything(w *world, d *device) checkin.Plan {
	device := enrollment(d.id, w.now())
	device.Topic = "com.apple.mgmt.changed"
	cert := mdm.NewCertificate("", w.device(d.id).cert)
	cert.Status, cert.Device = mdm.CertificatePending, d.id.Device
	secret := mdm.SecretString("changed")
	return checkin.Plan{Enrollments: []mdm.Enrollment{device}, Certificates: []mdm.Certificate{cert}, NewGeneration: true,
		UnlockToken: secret, BootstrapToken: &secret, AuthTokenHash: []byte("changed"), Wake: true, Seen: true,
		Events: []mdm.Event{{Type: mdm.EventEnrolled, At: w.now(), Enrollment: d.id, Reason: "changed"}}}
}

// snapshot is what tests compare before and after something that must change nothing.
type snapshot struct {
	device  mdm.Enrollment
	pending bool
	auth    string
	queue   []string
	aside   int
	events  int
}

func (w *world) snapshot(d *device) snapshot {
	w.Helper()
	s := w.situation(d.id, d.fingerprint())
	require.NotNil(w, s.Enrollment)
	out := snapshot{device: normal(*s.Enrollment), pending: s.Pending != nil, auth: string(s.AuthTokenHash),
		aside: len(w.aside(d.id.Tenant)), events: len(w.events(d.id))}
	for _, e := range w.queue(d) {
		out.queue = append(out.queue, e.UUID+" "+e.State.String()+" "+strconv.Itoa(e.Sends))
	}
	return out
}

func decisionFails(w *world) {
	d := w.enrolled("D")
	w.queued(security(), d)
	d.unlockToken("unlock")
	before := w.snapshot(d)
	err := w.Checkin.Update(w.Context(), checkin.Key{ID: d.id}, func(*checkin.Situation) (checkin.Plan, error) {
		return everything(w, d), errDecided
	})
	assert.True(w, err == errDecided, "the error is returned as it is, not wrapped: %v", err) //nolint:errorlint // identity is the contract
	assert.Equal(w, before, w.snapshot(d))
	if w.Escrow != nil {
		w.expectSecrets(d.id, "unlock", "")
	}
}

func decisionPanics(w *world) {
	d := w.enrolled("D")
	before := w.snapshot(d)
	assert.Panics(w, func() {
		_ = w.Checkin.Update(w.Context(), checkin.Key{ID: d.id}, func(*checkin.Situation) (checkin.Plan, error) { panic("a bug") })
	})
	assert.Panics(w, func() {
		_, _ = w.Command.Exchange(w.Context(), report(d, w.now()), func(*identity.Standing) identity.Verdict { panic("a bug") })
	})
	assert.Equal(w, before, w.snapshot(d))
	w.queued(security(), d)
	require.Len(w, d.run(), 1, "the store goes on")
}

func refusalIsWritten(w *world) {
	d := w.enrolled("D")
	device := *w.row(d.id)
	device.EndReason = "written"
	err := w.Checkin.Update(w.Context(), checkin.Key{ID: d.id}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Refusal: errRefused, Enrollments: []mdm.Enrollment{device},
			Events: []mdm.Event{{Type: mdm.EventConflict, At: w.now(), Enrollment: d.id}}}, nil
	})
	require.ErrorIs(w, err, errRefused)
	assert.Equal(w, "written", w.row(d.id).EndReason)
	w.expectEvents(d.id, mdm.EventConflict, 1)
}

func strangerIsUnknown(w *world) {
	w.enrolled("D")
	for _, id := range []mdm.EnrollmentID{{Device: "X"}, {Device: "X", User: "anna"}} {
		s := w.situation(id, mdm.Fingerprint{1})
		assert.Nil(w, s.Enrollment)
		assert.Nil(w, s.Device)
		assert.Nil(w, s.Certificate)
		assert.Nil(w, s.Active)
		assert.Nil(w, s.Pending)
		assert.Empty(w, s.Denied)
		assert.Nil(w, s.AuthTokenHash)
		assert.Empty(w, s.Users)
		assert.False(w, s.EraseSent || s.ReplacementSent)
	}
	s := w.situation(mdm.EnrollmentID{Device: "D", User: "nobody"}, mdm.Fingerprint{})
	assert.Nil(w, s.Enrollment, "the device of an unknown user is known, the user is not")
	assert.NotNil(w, s.Device)
	assert.Nil(w, s.Certificate, "an operator's action has no certificate")
	assert.NotNil(w, s.Active)
}

func situationIsACopy(w *world) {
	d := w.enrolled("D")
	w.update(d.id, checkin.Plan{AuthTokenHash: []byte("hash")})
	before := w.snapshot(d)
	fp := w.situation(d.id, d.fingerprint()).Active.Fingerprint
	err := w.Checkin.Update(w.Context(), checkin.Key{ID: d.id, Fingerprint: d.fingerprint()}, func(s *checkin.Situation) (checkin.Plan, error) {
		s.Device.State, s.Device.Topic, s.Device.PushToken[0] = mdm.Ended, "changed", 'X'
		s.Active.Status, s.Certificate.Device, s.AuthTokenHash[0] = mdm.CertificateRevoked, "changed", 'X'
		return checkin.Plan{}, errDecided
	})
	require.ErrorIs(w, err, errDecided)
	assert.Equal(w, before, w.snapshot(d))
	s := w.situation(d.id, d.fingerprint())
	assert.Equal(w, d.token, s.Device.PushToken)
	assert.Equal(w, "hash", string(s.AuthTokenHash))
	require.NotNil(w, s.Active)
	assert.Equal(w, fp, s.Active.Fingerprint)
	assert.Equal(w, "D", s.Certificate.Device)
}

func updatesDoNotOverlap(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	const workers, each = 8, 10
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			key := checkin.Key{ID: d.id}
			if i%2 == 1 {
				key.ID = u.id
			}
			for range each {
				assert.NoError(w, w.Checkin.Update(w.Context(), key, count))
			}
		})
	}
	group.Wait()
	assert.Equal(w, strconv.Itoa(workers*each), w.row(d.id).Device.BuildVersion)
}

// counted returns the row of the device with a counter in it one higher: a read and a write that lose if they interleave.
func counted(s identity.Standing) mdm.Enrollment {
	device := *s.Device
	n, _ := strconv.Atoi(device.Device.BuildVersion) // "" is the first
	device.Device.BuildVersion = strconv.Itoa(n + 1)
	return device
}

func count(s *checkin.Situation) (checkin.Plan, error) {
	return checkin.Plan{Enrollments: []mdm.Enrollment{counted(s.Standing)}}, nil
}

func updatesAndReports(w *world) {
	d := w.enrolled("D")
	const workers, each = 6, 10
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			for range each {
				if i%2 == 0 {
					assert.NoError(w, w.Checkin.Update(w.Context(), checkin.Key{ID: d.id}, count))
					continue
				}
				_, err := w.Command.Exchange(w.Context(), report(d, w.now()), func(s *identity.Standing) identity.Verdict {
					row := counted(*s)
					return identity.Verdict{Device: &row}
				})
				assert.NoError(w, err)
			}
		})
	}
	group.Wait()
	assert.Equal(w, strconv.Itoa(workers*each), w.row(d.id).Device.BuildVersion)
}

func manyAtOnce(w *world) {
	const devices = 24
	all := make([]*device, devices)
	var group sync.WaitGroup
	for i := range all {
		all[i] = w.device(mdm.EnrollmentID{Device: numbered("device-", i)})
		group.Go(func() {
			assert.NoError(w, all[i].authenticate())
			assert.NoError(w, all[i].tokenUpdate())
		})
	}
	group.Wait()
	for _, d := range all {
		s := w.situation(d.id, d.fingerprint())
		require.NotNil(w, s.Enrollment)
		assert.Equal(w, mdm.Enrolled, s.Enrollment.State)
		require.NotNil(w, s.Active)
		assert.Equal(w, d.fingerprint(), s.Active.Fingerprint)
	}
}

func situationHasUsers(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	b, a := d.user("bert"), d.user("anna")
	other.user("carl")
	assert.Equal(w, []mdm.EnrollmentID{a.id, b.id}, w.situation(d.id, mdm.Fingerprint{}).Users)
	assert.Empty(w, w.situation(a.id, mdm.Fingerprint{}).Users, "not on a user channel")
	ended := *w.row(b.id)
	ended.State = mdm.Ended
	w.update(b.id, checkin.Plan{Enrollments: []mdm.Enrollment{ended}})
	assert.Equal(w, []mdm.EnrollmentID{a.id}, w.situation(d.id, mdm.Fingerprint{}).Users)
}

func authToken(w *world) {
	d := w.enrolled("D")
	u, other := d.user("anna"), d.user("bert")
	hash := func(id mdm.EnrollmentID) []byte { return w.situation(id, mdm.Fingerprint{}).AuthTokenHash }
	w.update(u.id, checkin.Plan{AuthTokenHash: []byte("one")})
	w.update(u.id, checkin.Plan{})
	assert.Equal(w, []byte("one"), hash(u.id), "nil leaves it")
	assert.Nil(w, hash(d.id))
	assert.Nil(w, hash(other.id))
	w.update(u.id, checkin.Plan{AuthTokenHash: []byte("two")})
	assert.Equal(w, []byte("two"), hash(u.id))
	w.update(u.id, checkin.Plan{AuthTokenHash: []byte{}})
	assert.Nil(w, hash(u.id))
}

func repeatedMessages(w *world) {
	d := w.device(mdm.EnrollmentID{Device: "D"})
	for range 2 {
		require.NoError(w, d.authenticate())
	}
	for range 2 {
		require.NoError(w, d.tokenUpdate())
	}
	assert.Equal(w, mdm.Enrolled, w.row(d.id).State)
	assert.Equal(w, mdm.Generation(1), w.row(d.id).Generation)
	w.expectEvents(d.id, mdm.EventEnrolled, 1)
}

func planWakes(w *world) {
	d := w.enrolled("D") // whose plan wakes
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(w.now()))
}

func evidence(w *world) {
	d := w.enrolled("D")
	see := func(erase, replacement bool, when string) {
		w.Helper()
		s := w.situation(d.id, d.fingerprint())
		require.Equal(w, erase, s.EraseSent, "EraseSent %s", when)
		require.Equal(w, replacement, s.ReplacementSent, "ReplacementSent %s", when)
	}
	replacement := w.queued(installProfile("com.apple.mdm"), d)
	first := w.queued(erase(), d)
	other := w.queued(installProfile("com.apple.wifi.managed"), d)
	see(false, false, "before anything is sent")
	d.expect(d.idle(), replacement)
	see(false, true, "after the replacement was sent")
	d.expect(d.answer("Acknowledged", replacement), first)
	see(true, false, "after the replacement was answered and the erase was sent")
	d.expect(d.answer("Acknowledged", first), other)
	see(true, false, "after the erase was answered, and an ordinary profile was sent")
	d.reenroll()
	see(false, false, "in the next generation")

	failed := w.queued(erase(), d)
	d.expect(d.idle(), failed)
	see(true, false, "after an erase was sent")
	d.expect(d.answer("Error", failed), "")
	see(false, false, "after the device said that the erase failed")
}
