package storagetest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

func feedbackCases() []testCase {
	return []testCase{
		{name: "what is done with",
			why: "push.Store: Feedback removes those that were delivered or can never be",
			run: feedbackDone},
		{name: "what is to be retried",
			why: "push.Store: puts off those to be retried until their Result.Retry",
			run: feedbackRetry},
		{name: "a push renewed while it was under way",
			why: "push.Store: an intent that was renewed since it was leased stays: the device may have connected before the new command",
			run: feedbackRenewed},
		{name: "a token that is dead",
			why: "push.Store: the channel is Gone, an EventPushFailed is left, no pushes to it until it speaks",
			run: feedbackInvalid},
		{name: "a token that was dead once",
			why: "push.Store: an Invalid result is acted upon only if its Since is not before the last TokenUpdate (Apple: APNs feedback)",
			run: feedbackStale},
		{name: "a dead token is one channel's",
			why: "MDM protocol, commands: push tokens differ per channel",
			run: feedbackOneChannel},
		{name: "what is known of the pushes to a channel",
			why: "push.Store: Feedback notes what became of them; LastPush returns what is known of the pushes to a channel",
			run: feedbackRecord},
		{name: "a push that was not tried",
			why: "push.Store: of an Unsent one nothing is noted; an outage or a restart is no failure of a channel",
			run: feedbackUnsent},
		{name: "rest between pushes",
			why: "push.Store: nothing is due to the channel before Result.Rest",
			run: feedbackRest},
		{name: "a result that comes too late", why: "push.Store: a result whose lease another has now is only noted: what that one does, or what was asked for since, counts",
			run: feedbackLate},
		{name: "feedback about nothing",
			why: "the enrollment may have ended, or the lease, while the push was under way",
			run: feedbackOfNothing},
	}
}

func feedbackDone(w *world) {
	d := w.enrolled("D")
	for _, outcome := range []push.Outcome{push.Delivered, push.Rejected} {
		w.drain()
		w.queued(security(), d)
		targets := w.due(w.now())
		require.Len(w, targets, 1)
		w.settle(targets, push.Result{Outcome: outcome})
		assert.Empty(w, w.due(w.now().Add(10*lease)), "%s", outcome)
		w.queued(security(), d)
		targets = w.due(w.now())
		assert.Len(w, targets, 1, "the next command is pushed again after %s", outcome)
		w.settle(targets, push.Result{Outcome: push.Delivered})
	}
	w.expectEvents(d.id, mdm.EventPushFailed, 0)
}

func feedbackRetry(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	retry := w.now().Add(time.Hour)
	w.settle(targets, push.Result{Outcome: push.Retry, Retry: retry})
	assert.Empty(w, w.due(retry.Add(-time.Second)), "neither when the lease would have ended, nor before Retry")
	assert.Len(w, w.due(retry), 1)
}

func feedbackRenewed(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	w.queued(profiles(), d)
	w.settle(targets, push.Result{Outcome: push.Delivered})
	targets = w.due(w.now().Add(lease))
	require.Len(w, targets, 1, "the second command is pushed, too")
	w.settle(targets, push.Result{Outcome: push.Delivered})
	assert.Empty(w, w.due(w.now().Add(10*lease)))
}

func feedbackInvalid(w *world) {
	d := w.enrolled("D")
	for _, since := range []time.Duration{0, time.Hour} {
		w.drain()
		w.queued(security(), d)
		targets := w.due(w.now())
		require.Len(w, targets, 1)
		events := w.count(d.id, mdm.EventPushFailed)
		w.settle(targets, push.Result{Outcome: push.Invalid, Reason: "Unregistered", Since: w.row(d.id).TokenUpdatedAt.Add(since)})
		e := w.row(d.id)
		assert.Equal(w, mdm.Gone, e.Presence)
		assert.Equal(w, mdm.Enrolled, e.State, "it is managed all the same")
		w.expectEvents(d.id, mdm.EventPushFailed, events+1)

		uuid := w.queued(profiles(), d)
		assert.Empty(w, w.due(w.now().Add(10*lease)), "nothing can reach it")
		d.newToken()
		require.NoError(w, d.tokenUpdate())
		targets = w.due(w.now())
		require.Len(w, targets, 1, "what was queued meanwhile is pushed once there is a token")
		assert.Equal(w, d.token, targets[0].Token)
		w.settle(targets, push.Result{Outcome: push.Delivered})
		assert.Contains(w, d.run(), uuid)
	}
}

func feedbackStale(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	since := w.now()
	d.newToken()
	require.NoError(w, d.tokenUpdate())
	w.settle(targets, push.Result{Outcome: push.Invalid, Since: since})
	assert.Equal(w, d.token, w.row(d.id).PushToken)
	w.expectEvents(d.id, mdm.EventPushFailed, 0)
	targets = w.due(w.now().Add(lease))
	require.Len(w, targets, 1, "the device was not woken: the new token is tried")
	assert.Equal(w, d.token, targets[0].Token)
}

func feedbackOneChannel(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	w.drain()
	w.queued(security(), d, u)
	for _, target := range w.due(w.now()) {
		outcome := push.Delivered
		if target.Enrollment == u.id {
			outcome = push.Invalid
		}
		w.settle([]push.Target{target}, push.Result{Outcome: outcome, Since: w.now()})
	}
	assert.Equal(w, mdm.Gone, w.row(u.id).Presence)
	assert.Equal(w, mdm.Active, w.row(d.id).Presence)
	w.queued(security(), d, u)
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(w.now()))
}

func feedbackOfNothing(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	d.checkOut()
	stranger := targets[0]
	stranger.Enrollment.Device = "unknown"
	for _, outcome := range []push.Outcome{push.Delivered, push.Invalid, push.Retry, push.Rejected, push.BadCertificate} {
		w.settle([]push.Target{targets[0], stranger}, push.Result{Outcome: outcome, Since: w.now().Add(-time.Hour), Retry: w.now().Add(time.Minute)})
	}
	assert.Empty(w, w.due(w.now().Add(time.Hour)))
	assert.Nil(w, w.row(stranger.Enrollment))
	require.NoError(w, w.Push.Feedback(w.Context(), nil))
}

func feedbackRecord(w *world) {
	d := w.enrolled("D")
	w.drain()
	r, err := w.Push.LastPush(w.Context(), mdm.EnrollmentID{Device: "unknown"})
	require.NoError(w, err)
	assert.Zero(w, r.At)
	steps := []struct {
		push.Result
		failures int
	}{
		{push.Result{Outcome: push.Retry, Status: 429, Reason: "TooManyRequests"}, 1},
		{push.Result{Outcome: push.Retry}, 2},
		{push.Result{Outcome: push.Delivered, Status: 200, APNsID: "an-id"}, 0},
		{push.Result{Outcome: push.BadCertificate, Status: 403, Reason: "BadCertificate"}, 1},
		{push.Result{Outcome: push.Rejected, Status: 400, Reason: "BadTopic"}, 2},
		{push.Result{Outcome: push.Delivered, Status: 200, APNsID: "another-id"}, 0},
	}
	r, err = w.Push.LastPush(w.Context(), d.id)
	require.NoError(w, err)
	delivered, failed := r.Delivered, 0 // when it enrolled
	for _, step := range steps {
		w.queued(security(), d)
		at := w.now()
		targets := w.due(at)
		require.Len(w, targets, 1)
		assert.Equal(w, failed, targets[0].Failures, "what the next wait goes by")
		step.Target, step.At = targets[0], at
		if step.Outcome == push.Retry || step.Outcome == push.BadCertificate {
			step.Retry = at.Add(time.Second)
		}
		require.NoError(w, w.Push.Feedback(w.Context(), []push.Result{step.Result}))
		if failed = step.failures; step.Outcome == push.Delivered {
			delivered = at
		}
		r, err := w.Push.LastPush(w.Context(), d.id)
		require.NoError(w, err)
		assert.Equal(w, push.Record{Enrollment: d.id, At: r.At, Outcome: step.Outcome, Status: step.Status, Reason: step.Reason, APNsID: step.APNsID,
			Delivered: r.Delivered, Failures: failed, Due: r.Due}, r)
		assert.True(w, at.Equal(r.At))
		assert.True(w, delivered.Equal(r.Delivered), "%s, not %s", r.Delivered, delivered)
		assert.True(w, step.Retry.Equal(r.Due), "%s, not %s", r.Due, step.Retry)
		w.now() // the time of the retry
	}
}

func feedbackLate(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	at := w.now()
	late := w.due(at)
	require.Len(w, late, 1)
	assert.False(w, late[0].Lease.IsZero())
	mine := w.due(at.Add(2 * lease))
	require.Len(w, mine, 1, "the lease is over: another has it")
	for _, r := range []push.Result{{Outcome: push.Unsent, Retry: at}, {Outcome: push.Retry, Retry: at}, {Outcome: push.Delivered}, {Outcome: push.Rejected}} {
		w.settle(late, r)
		assert.Empty(w, w.due(at.Add(2*lease+time.Second)), "%s does not free what another has", r.Outcome)
	}
	w.settle(mine, push.Result{Outcome: push.Delivered})
	w.queued(profiles(), d)
	w.settle(late, push.Result{Outcome: push.Delivered, Rest: at.Add(100 * time.Hour)})
	w.settle([]push.Target{{Enrollment: d.id}}, push.Result{Outcome: push.Delivered})
	targets := w.due(w.now())
	require.Len(w, targets, 1, "a push that was asked for since is not lost")
	d.checkOut()
	d.reenroll()
	w.settle(targets, push.Result{Outcome: push.Delivered})
	assert.Len(w, w.due(w.now()), 1, "nor is that of another enrollment")
}

func feedbackUnsent(w *world) {
	d := w.enrolled("D")
	w.drain()
	before, err := w.Push.LastPush(w.Context(), d.id)
	require.NoError(w, err)
	w.queued(security(), d)
	retry := w.now().Add(time.Minute)
	w.settle(w.due(w.now()), push.Result{Outcome: push.Unsent, Retry: retry})
	last, err := w.Push.LastPush(w.Context(), d.id)
	require.NoError(w, err)
	assert.True(w, last.Due.Equal(retry))
	last.Due = time.Time{}
	assert.Equal(w, before, last, "it was not tried")
	assert.Empty(w, w.due(retry.Add(-time.Second)))
	targets := w.due(retry)
	require.Len(w, targets, 1)
	assert.Zero(w, targets[0].Failures)
}

func feedbackRest(w *world) {
	d := w.enrolled("D")
	w.drain()
	w.queued(security(), d)
	at := w.now()
	targets := w.due(at)
	rest := at.Add(time.Minute)
	w.settle(targets, push.Result{Outcome: push.Delivered, Rest: rest})
	w.queued(profiles(), d)
	assert.Empty(w, w.due(rest.Add(-time.Second)), "asked for after it was sent")
	targets = w.due(rest)
	require.Len(w, targets, 1)
	w.queued(security(), d) // while it is under way
	rest = rest.Add(time.Minute)
	w.settle(targets, push.Result{Outcome: push.Delivered, Rest: rest})
	assert.Empty(w, w.due(rest.Add(-time.Second)), "asked for while it was sent")
	targets = w.due(rest)
	require.Len(w, targets, 1)
	rest = rest.Add(time.Hour)
	w.settle(targets, push.Result{Outcome: push.Retry, Retry: rest, Rest: rest})
	w.queued(profiles(), d)
	assert.Empty(w, w.due(rest.Add(-time.Second)), "APNs has said how long to wait")
	assert.Len(w, w.due(rest), 1)
}
