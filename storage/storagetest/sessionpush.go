package storagetest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

func sessionPushCases() []testCase {
	return []testCase{
		{name: "after a session that ended with something else than NotNow",
			why: "MDM protocol, commands: the device polls by itself only if NotNow was the last thing it said: push after DeferredPush",
			run: deferredPush},
		{name: "after a session that ended with NotNow",
			why: "MDM protocol, commands: the device polls by itself; a slow push after SafetyPush, in case that it does not",
			run: safetyPush},
		{name: "after a session without NotNow",
			why: "command.Exchanger: a push is left when the session ends with deferred commands, not otherwise",
			run: noSessionPush},
		{name: "a session goes on while something is offered",
			why: "command.Exchanger: the session ends when nothing is offered",
			run: sessionGoesOn},
		{name: "the push of a session while another is under way",
			why: "push.Store: an intent that was renewed since it was leased stays; the delivered one is over",
			run: sessionPushWhileLeased},
		{name: "when there is something for later",
			why: "command.Order: a device that called before NotBefore would otherwise never learn of the command",
			run: pushForLater},
	}
}

func deferredPush(w *world) {
	d := w.enrolled("D")
	a, b := w.queued(security(), d), w.queued(profiles(), d)
	w.drain()
	d.expect(d.idle(), a)
	d.expect(d.answer("NotNow", a), b)
	at := w.now()
	d.expect(d.report(command.Request{Status: "Acknowledged", CommandUUID: b, At: at}), "")
	assert.Empty(w, w.due(at.Add(command.DeferredPush-time.Second)))
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(at.Add(command.DeferredPush+time.Second)))
}

func safetyPush(w *world) {
	d := w.enrolled("D")
	a := w.queued(security(), d)
	w.drain()
	d.expect(d.idle(), a)
	at := w.now()
	d.expect(d.report(command.Request{Status: "NotNow", CommandUUID: a, At: at}), "")
	assert.Empty(w, w.due(at.Add(command.SafetyPush-time.Second)))
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(at.Add(command.SafetyPush+time.Second)))
}

func noSessionPush(w *world) {
	d := w.enrolled("D")
	w.queued(security(), d)
	w.drain()
	assert.Len(w, d.run(), 1)
	d.expect(d.idle(), "")
	assert.Empty(w, w.due(w.now().Add(24*time.Hour)))
}

func sessionGoesOn(w *world) {
	d := w.enrolled("D")
	a, b := w.queued(security(), d), w.queued(profiles(), d)
	w.drain()
	d.expect(d.idle(), a)
	d.expect(d.answer("NotNow", a), b)
	assert.Empty(w, w.due(w.now().Add(24*time.Hour)))
}

func sessionPushWhileLeased(w *world) {
	d := w.enrolled("D")
	w.drain()
	a := w.queued(security(), d)
	targets := w.due(w.now())
	require.Len(w, targets, 1)
	d.expect(d.idle(), a)
	at := w.now()
	d.expect(d.report(command.Request{Status: "NotNow", CommandUUID: a, At: at}), "")
	w.settle(targets, push.Result{Outcome: push.Delivered})
	assert.Empty(w, w.due(at.Add(command.SafetyPush-time.Second)), "the one that was under way is delivered")
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(at.Add(command.SafetyPush+time.Second)), "the new one is not lost")
}

func pushForLater(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.NotBefore = w.now().Add(time.Hour)
	later, normal := w.enqueue(o).UUID, w.queued(profiles(), d)
	w.drain()
	assert.Equal(w, []string{normal}, d.run())
	assert.Empty(w, w.due(o.NotBefore.Add(-time.Second)))
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(o.NotBefore.Add(time.Second)))
	d.expect(d.report(command.Request{Status: "Idle", At: o.NotBefore.Add(time.Second)}), later)
}
