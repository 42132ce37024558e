package storagetest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/presence"
	"github.com/gomdm/applemdm/push"
)

func presenceCases() []testCase {
	return []testCase{
		{name: "who is looked at",
			why: "presence.Store: enrolled device channels whose look is due, again when Finding.Next has come",
			run: lookDue},
		{name: "what is known of a device",
			why: "presence.Store: the times decide whether a device is missed; a wrong one closes a door to it, or leaves it open",
			run: lookSighting},
		{name: "a change leaves an event", why: "presence.Store: an event if the presence is another, none otherwise",
			run: lookChanges},
		{name: "a nudge", why: "presence.Store: a push if there is to be one; it is an intent like others, coalesced",
			run: lookNudges},
		{name: "a request brings a device back",
			why: "package presence: any accepted request makes it Active again, in the transaction of the request (best practices: until it responds)",
			run: requestRevives},
		{name: "a user's request brings his device back",
			why: "mdm.Enrollment: LastSeenAt of a device also of its users: who answers on a user channel has the MDM profile",
			run: userRevives},
		{name: "a check-in brings a device back", why: "package presence: any accepted request, of whatever kind",
			run: checkinRevives},
		{name: "a dead token and a request", why: "push.Store: Gone until its next accepted request; what was due then is not pushed, the device is there",
			run: goneAndBack},
		{name: "a dead token and a TokenUpdate", why: "push.Store: the intent stays and is due at the next TokenUpdate", run: goneAndToken},
		{name: "a dead token and a check-in that fetches no command",
			why: "push.Store: only a request for commands makes the push for them needless", run: goneAndCheckin},
		{name: "a dead token is tried again by hand",
			why: "push.Store: Wake tries those again that are Gone, if they are named; APNs, or the operator, may have been wrong",
			run: goneAndWoken},
		{name: "who is gone costs nothing", why: "push.Store: pushes of others are not held up by those of channels that cannot be pushed",
			run: goneIsPassedOver},
		{name: "the quick way out", why: "best practices: CheckOut is a single attempt, but where it comes the device is gone at once",
			run: checkOutIsGone},
		{name: "two watchers share the work", why: "presence.Store: callers on several replicas get different devices; each change is told once",
			run: watchersShare},
		{name: "a judge that panics", why: "presence.Store: all in one transaction; the store goes on",
			run: judgePanics},
		{name: "the roster of those who are missed", needs: needsRoster,
			why: "mdm.Filter: Presence; a paged query finds the few among many", run: missedRoster},
	}
}

// look looks at everybody who is due, and returns whom judge was asked about.
func (w *world) look(at time.Time, judge func(presence.Sighting) presence.Finding) map[mdm.EnrollmentID]presence.Sighting {
	w.Helper()
	seen := map[mdm.EnrollmentID]presence.Sighting{}
	for {
		n, err := w.Presence.Look(w.Context(), at, 100, func(s presence.Sighting) presence.Finding {
			seen[s.Enrollment.ID] = s
			return judge(s)
		})
		require.NoError(w, err)
		if n < 100 {
			return seen
		}
	}
}

// finds makes a judge that finds all the same.
func finds(p mdm.Presence, next time.Time) func(presence.Sighting) presence.Finding {
	return func(presence.Sighting) presence.Finding {
		return presence.Finding{Presence: p, Reason: "test", Next: next}
	}
}

// miss makes a device be missed.
func (w *world) miss(p mdm.Presence, devices ...*device) {
	w.Helper()
	w.look(w.now().Add(24*time.Hour), finds(p, w.now().Add(48*time.Hour)))
	for _, d := range devices {
		require.Equal(w, p, w.row(d.id).Presence)
	}
}

func lookDue(w *world) {
	a, b, ended, pending := w.enrolled("A"), w.enrolled("B"), w.enrolled("E"), w.device(mdm.EnrollmentID{Device: "P"})
	u := a.user("anna")
	ended.checkOut()
	require.NoError(w, pending.authenticate())
	at := w.now()
	got := w.look(at, finds(mdm.Active, at.Add(time.Hour)))
	assert.Len(w, got, 2, "neither users, nor who is not enrolled")
	assert.Contains(w, got, a.id)
	assert.Contains(w, got, b.id)
	assert.NotContains(w, got, u.id)
	assert.Empty(w, w.look(at.Add(time.Hour-time.Second), finds(mdm.Active, at)), "not before Next")
	assert.Len(w, w.look(at.Add(time.Hour), finds(mdm.Active, at.Add(5*time.Hour))), 2)

	require.NoError(w, pending.tokenUpdate())
	ended.reenroll()
	got = w.look(w.now(), finds(mdm.Active, at.Add(5*time.Hour)))
	assert.Len(w, got, 2, "who enrolls is looked at")
	a.reenroll()
	assert.Contains(w, w.look(w.now(), finds(mdm.Active, at.Add(5*time.Hour))), a.id)
}

func lookSighting(w *world) {
	d := w.enrolled("D")
	w.drain()
	row := w.row(d.id)
	s := w.look(w.now(), finds(mdm.Active, w.now()))[d.id]
	assert.Equal(w, mdm.Enrolled, s.Enrollment.State)
	assert.Equal(w, mdm.Active, s.Enrollment.Presence)
	assert.Equal(w, topic, s.Enrollment.Topic)
	assert.Equal(w, "MacBookPro18,3", s.Enrollment.Device.ProductName)
	assert.True(w, row.TokenUpdatedAt.Equal(s.Enrollment.TokenUpdatedAt))
	assert.True(w, row.EnrolledAt.Equal(s.Enrollment.EnrolledAt))
	assert.False(w, s.Waiting)
	assert.False(w, s.Wanted)
	assert.False(w, s.Enrollment.LastSeenAt.IsZero(), "its requests are known at once on this handle")

	w.queued(security(), d)
	assert.True(w, w.look(w.now().Add(time.Hour), finds(mdm.Active, w.now()))[d.id].Wanted)
	at := w.now()
	w.settle(w.due(at), push.Result{Outcome: push.Delivered})
	last, err := w.Push.LastPush(w.Context(), d.id)
	require.NoError(w, err)
	s = w.look(w.now().Add(time.Hour), finds(mdm.Active, w.now()))[d.id]
	assert.True(w, s.Waiting)
	assert.False(w, s.Wanted)
	assert.True(w, s.Pushed.Equal(last.Delivered) && s.Tried.Equal(last.At) && !s.Pushed.Before(at), "%s", s.Pushed)
	d.run()
	s = w.look(w.now().Add(time.Hour), finds(mdm.Active, w.now()))[d.id]
	assert.False(w, s.Waiting)
	assert.False(w, s.Heard().Before(at), "its session was a sign of life")
}

func lookChanges(w *world) {
	d := w.enrolled("D")
	at := w.now()
	for i, p := range []mdm.Presence{mdm.Quiet, mdm.Quiet, mdm.Inactive, mdm.Quiet, mdm.Active} {
		at = at.Add(time.Hour)
		require.Contains(w, w.look(at, finds(p, at.Add(time.Minute))), d.id)
		row := w.row(d.id)
		assert.Equal(w, p, row.Presence)
		if i != 1 {
			assert.True(w, at.Equal(row.PresenceSince), "%s, not %s", row.PresenceSince, at)
		}
	}
	w.expectEvents(d.id, mdm.EventQuiet, 2)
	w.expectEvents(d.id, mdm.EventInactive, 1)
	w.expectEvents(d.id, mdm.EventActive, 1)
	for _, e := range w.events(d.id) {
		if e.Type == mdm.EventInactive {
			assert.Equal(w, "test", e.Reason)
			assert.Equal(w, w.row(d.id).Generation, e.Generation)
		}
	}
	assert.Equal(w, mdm.Enrolled, w.row(d.id).State, "it is a finding, not a verdict")
}

func lookNudges(w *world) {
	w.enrolled("D")
	w.drain()
	at := w.now()
	nudge := func(presence.Sighting) presence.Finding {
		return presence.Finding{Presence: mdm.Quiet, Next: at.Add(time.Minute), Nudge: at.Add(time.Hour)}
	}
	w.look(at, nudge)
	w.look(at.Add(2*time.Minute), nudge)
	assert.Empty(w, w.due(at.Add(time.Hour-time.Second)))
	targets := w.due(at.Add(time.Hour))
	require.Len(w, targets, 1, "two are one")
	w.settle(targets, push.Result{Outcome: push.Delivered})
	assert.Empty(w, w.due(at.Add(100*time.Hour)))
}

func requestRevives(w *world) {
	for _, p := range []mdm.Presence{mdm.Quiet, mdm.Inactive} {
		d := w.enrolled("D" + p.String())
		w.miss(p, d)
		d.expect(d.idle(), "") // the poll that has nothing to do
		row := w.row(d.id)
		assert.Equal(w, mdm.Active, row.Presence)
		assert.False(w, row.PresenceSince.IsZero())
		w.expectEvents(d.id, mdm.EventActive, 1)
		d.expect(d.idle(), "")
		w.expectEvents(d.id, mdm.EventActive, 1)
		assert.Contains(w, w.look(w.now(), finds(mdm.Active, w.now().Add(100*time.Hour))), d.id, "it is looked at as if it were new")
	}
}

func userRevives(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	w.miss(mdm.Inactive, d)
	before := w.row(d.id).LastSeenAt
	u.expect(u.idle(), "")
	assert.Equal(w, mdm.Active, w.row(d.id).Presence)
	w.expectEvents(d.id, mdm.EventActive, 1)
	w.expectEvents(u.id, mdm.EventActive, 0)
	s := w.look(w.now(), finds(mdm.Active, w.now()))[d.id]
	assert.True(w, s.Enrollment.LastSeenAt.After(before))
}

func checkinRevives(w *world) {
	for i, checkin := range []func(*device){
		func(d *device) { require.NoError(w, d.tokenUpdate()) },
		func(d *device) { d.bootstrapToken("secret") },
		func(d *device) { d.reenroll() },
	} {
		d := w.enrolled(numbered("D", i))
		w.miss(mdm.Quiet, d)
		checkin(d)
		assert.Equal(w, mdm.Active, w.row(d.id).Presence, "check-in %d", i)
		w.expectEvents(d.id, mdm.EventActive, 1)
	}
}

// kill makes APNs call the token of d dead.
func (w *world) kill(d *device) {
	w.Helper()
	_, err := w.Push.Wake(w.Context(), mdm.IDs(d.id), w.now())
	require.NoError(w, err)
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	w.settle(targets, push.Result{Outcome: push.Invalid, Status: 410, Reason: "Unregistered", Since: w.now()})
	require.Equal(w, mdm.Gone, w.row(d.id).Presence)
}

func goneAndBack(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.kill(d)
	w.expectEvents(d.id, mdm.EventGone, 1)
	assert.NotContains(w, w.look(w.now().Add(1000*time.Hour), finds(mdm.Active, w.now())), d.id, "nobody to look for")
	uuid := w.queued(security(), d)
	later := w.now().Add(time.Hour)
	assert.Empty(w, w.due(w.now()), "it is not pushed")
	last, err := w.Push.LastPush(w.Context(), d.id)
	require.NoError(w, err)
	assert.True(w, last.Held)
	assert.False(w, last.Due.IsZero())

	d.expect(d.idle(), uuid)
	assert.Equal(w, mdm.Active, w.row(d.id).Presence, "it speaks, so its profile is there")
	w.expectEvents(d.id, mdm.EventActive, 1)
	assert.Empty(w, w.due(w.now()), "it is here already")
	d.expect(d.answer("Acknowledged", uuid), "")
	n, err := w.Push.Wake(w.Context(), mdm.IDs(d.id), later)
	require.NoError(w, err)
	assert.Equal(w, 1, n)
	targets := w.due(later)
	require.Len(w, targets, 1, "its token is tried again")
	assert.Equal(w, d.token, targets[0].Token)
}

func goneAndToken(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.kill(d)
	require.NoError(w, d.tokenUpdate()) // the same token: it is registered again
	assert.Equal(w, mdm.Active, w.row(d.id).Presence)
	w.expectEvents(d.id, mdm.EventActive, 1)
	targets := w.due(w.now())
	require.Len(w, targets, 1, "what it could not be woken for")
	w.settle(targets, push.Result{Outcome: push.Delivered})

	w.kill(d)
	d.reenroll()
	assert.Equal(w, mdm.Active, w.row(d.id).Presence)
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(w.now()))
}

func goneAndCheckin(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.kill(d)
	w.queued(security(), d)
	d.bootstrapToken("secret")
	assert.Equal(w, mdm.Active, w.row(d.id).Presence)
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(w.now()), "the command still waits")
}

func goneAndWoken(w *world) {
	d, u := w.enrolled("D"), w.enrolled("U").user("anna")
	w.drain()
	w.kill(d)
	w.kill(u)
	for _, to := range []mdm.Targets{mdm.Matching(mdm.Filter{}), mdm.Matching(mdm.Filter{Presence: []mdm.Presence{mdm.Active}})} {
		_, err := w.Push.Wake(w.Context(), to, w.now())
		require.NoError(w, err)
		assert.Equal(w, mdm.Gone, w.row(d.id).Presence, "not with all others")
	}
	w.settle(w.due(w.now()), push.Result{Outcome: push.Delivered})
	_, err := w.Push.Wake(w.Context(), mdm.IDs(u.id), w.now())
	require.NoError(w, err)
	n, err := w.Push.Wake(w.Context(), mdm.Matching(mdm.Filter{Presence: []mdm.Presence{mdm.Gone}, Device: "D"}), w.now())
	require.NoError(w, err)
	assert.Equal(w, 1, n)
	assert.ElementsMatch(w, []mdm.EnrollmentID{d.id, u.id}, w.woken(w.now()))
	for _, id := range []mdm.EnrollmentID{d.id, u.id} {
		assert.Equal(w, mdm.Quiet, w.row(id).Presence)
		w.expectEvents(id, mdm.EventQuiet, 1)
	}
	assert.Contains(w, w.look(w.now(), finds(mdm.Quiet, w.now())), d.id)
}

func goneIsPassedOver(w *world) {
	all := w.enrollMany(40)
	w.drain()
	at := w.now()
	_, err := w.Push.Wake(w.Context(), mdm.IDs(all...), at)
	require.NoError(w, err)
	w.settle(w.due(w.now()), push.Result{Outcome: push.Invalid, Reason: "Unregistered", Since: w.now()})
	_, err = w.Push.Wake(w.Context(), mdm.Matching(mdm.Filter{}), w.now())
	require.NoError(w, err)
	d := w.enrolled("Z")
	w.queued(security(), d)
	targets, err := w.Push.DuePushes(w.Context(), w.now(), 10, lease)
	require.NoError(w, err)
	require.Len(w, targets, 1, "behind those who cannot be pushed")
	assert.Equal(w, d.id, targets[0].Enrollment)
}

func checkOutIsGone(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	d.checkOut()
	assert.Equal(w, mdm.Gone, w.row(d.id).Presence)
	assert.Equal(w, mdm.Gone, w.row(u.id).Presence)
	w.expectEvents(d.id, mdm.EventGone, 1)
	assert.Empty(w, w.look(w.now().Add(1000*time.Hour), finds(mdm.Inactive, w.now())))
	d.reenroll()
	assert.Equal(w, mdm.Active, w.row(d.id).Presence)
	w.expectEvents(d.id, mdm.EventActive, 1)
	w.expectEvents(d.id, mdm.EventInactive, 0)
}
