package storagetest

import (
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func deadlineCases() []testCase {
	return []testCase{
		{name: "not before",
			why: "command.Order: NotBefore is not offered earlier, and does not hold up what is behind it",
			run: notBefore},
		{name: "not after",
			why: "command.Order: NotAfter is not offered later, and expired then",
			run: notAfter},
		{name: "a deadline is the last moment",
			why: "command.Order: offered until NotAfter, from NotBefore on",
			run: deadlineEdges},
		{name: "an answer in time for its question",
			why: "MDM protocol, commands: the device has done it; that the deadline passed while it worked changes nothing",
			run: answerAfterDeadline},
		{name: "a deferred command expires",
			why: "commands have a deadline however often they are deferred (capabilities L8)",
			run: deferredExpires},
		{name: "what expired does not hold up its successor",
			why: "command.Order: Collapse is about commands that a device may still get",
			run: expiredDoesNotCollapse},
	}
}

func notBefore(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.NotBefore, o.Priority = w.now().Add(time.Hour), command.Security
	later, normal := w.enqueue(o).UUID, w.queued(profiles(), d)
	d.expect(d.idle(), normal)
	d.expect(d.answer("Acknowledged", normal), "")
	d.expect(d.report(command.Request{Status: "Idle", At: o.NotBefore.Add(time.Second)}), later)
	e := w.entry(d, later)
	assert.True(w, o.NotBefore.Equal(e.NotBefore))
	assert.True(w, e.NotAfter.IsZero())
}

func notAfter(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.NotAfter = w.now().Add(time.Hour)
	short, long := w.enqueue(o).UUID, w.queued(profiles(), d)
	late := o.NotAfter.Add(time.Second)
	d.expect(d.report(command.Request{Status: "Idle", At: late}), long)
	e := w.entry(d, short)
	assert.Equal(w, command.Expired, e.State)
	assert.False(w, e.FinishedAt.IsZero())
	w.expectEvents(d.id, mdm.EventCommandExpired, 1)
	d.expect(d.report(command.Request{Status: "Acknowledged", CommandUUID: long, At: late}), "")
	w.expectEvents(d.id, mdm.EventCommandExpired, 1)
}

func deadlineEdges(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.NotBefore = w.now().Add(time.Hour)
	o.NotAfter = o.NotBefore.Add(time.Hour)
	uuid := w.enqueue(o).UUID
	d.expect(d.report(command.Request{Status: "Idle", At: o.NotBefore.Add(-time.Second)}), "")
	d.expect(d.report(command.Request{Status: "Idle", At: o.NotBefore}), uuid)
	d.expect(d.report(command.Request{Status: "Idle", At: o.NotAfter}), uuid)
	d.expect(d.report(command.Request{Status: "Idle", At: o.NotAfter.Add(time.Second)}), "")
	assert.Equal(w, command.Expired, w.state(d, uuid))
}

func answerAfterDeadline(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.NotAfter = w.now().Add(time.Hour)
	uuid := w.enqueue(o).UUID
	d.expect(d.idle(), uuid)
	d.expect(d.report(command.Request{Status: "Acknowledged", CommandUUID: uuid, At: o.NotAfter.Add(time.Hour)}), "")
	assert.Equal(w, command.Acknowledged, w.state(d, uuid))
	w.expectEvents(d.id, mdm.EventCommandExpired, 0)
}

func deferredExpires(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.NotAfter = w.now().Add(time.Hour)
	uuid := w.enqueue(o).UUID
	d.expect(d.idle(), uuid)
	d.expect(d.answer("NotNow", uuid), "")
	d.expect(d.report(command.Request{Status: "Idle", At: o.NotAfter.Add(time.Second)}), "")
	assert.Equal(w, command.Expired, w.state(d, uuid))
}

func expiredDoesNotCollapse(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.Collapse, o.NotAfter = "refresh", time.Now().Add(-time.Hour)
	dead := w.enqueue(o)
	assert.Equal(w, 1, dead.Queued)
	o.NotAfter = time.Time{}
	fresh := w.enqueue(o)
	assert.Equal(w, 1, fresh.Queued)
	assert.Zero(w, fresh.Collapsed)
	assert.Equal(w, []string{fresh.UUID}, d.run())
	assert.Equal(w, command.Expired, w.state(d, dead.UUID))
}
