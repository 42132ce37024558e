package storagetest

import (
	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func notNowCases() []testCase {
	return []testCase{
		{name: "a deferred command does not hold up the others",
			why: "MDM protocol, commands: after NotNow another command may be sent; one stuck command never blocks the rest",
			run: notNowInTheMiddle},
		{name: "a deferred command is not offered twice in a session",
			why: "MDM protocol, commands: never resend what got NotNow in this session: that is an endless loop",
			run: notNowLoop},
		{name: "a deferred command comes back in its place",
			why: "command.Exchanger: an Idle report begins a session; deferred commands become eligible again, in their old places",
			run: notNowComesBack},
		{name: "a NotNow again",
			why: "MDM protocol, commands: the same status may arrive twice; the second time is a no-op answered like the first",
			run: notNowAgain},
		{name: "a NotNow after the end changes nothing",
			why: "final states are monotonic: a late NotNow must not bring an acknowledged command back",
			run: notNowAfterFinal},
		{name: "a final answer to a deferred command",
			why: "MDM protocol, commands: a command leaves the queue with a final answer for its CommandUUID, whatever was said before",
			run: finalAfterNotNow},
		{name: "sessions of channels are independent",
			why: "MDM protocol, commands: device and user channels run independently, even concurrently",
			run: sessionsOfChannels},
		{name: "what is queued in a session is offered in it",
			why: "command.Exchanger: the first among those that are open and not deferred in this session",
			run: queuedInASession},
	}
}

func notNowInTheMiddle(w *world) {
	d := w.enrolled("D")
	a, b, c := w.queued(security(), d), w.queued(profiles(), d), w.queued(information("OSVersion"), d)
	d.expect(d.idle(), a)
	d.expect(d.answer("Acknowledged", a), b)
	at := w.now()
	d.expect(d.report(command.Request{Status: "NotNow", CommandUUID: b, At: at}), c)
	e := w.entry(d, b)
	assert.Equal(w, command.Deferred, e.State)
	assert.Equal(w, 1, e.Deferrals)
	assert.True(w, at.Equal(e.DeferredAt))
	d.expect(d.answer("Acknowledged", c), "")
	w.expectEvents(d.id, mdm.EventCommandNotNow, 1)
}

func notNowLoop(w *world) {
	d := w.enrolled("D")
	a, b := w.queued(security(), d), w.queued(profiles(), d)
	for range 3 {
		d.expect(d.idle(), a)
		d.expect(d.answer("NotNow", a), b)
		d.expect(d.answer("NotNow", b), "")
	}
	assert.Equal(w, 3, w.entry(d, a).Deferrals)
	assert.Equal(w, 3, w.entry(d, a).Sends)
}

func notNowComesBack(w *world) {
	d := w.enrolled("D")
	a, b, c := w.queued(security(), d), w.queued(profiles(), d), w.queued(information("OSVersion"), d)
	d.expect(d.idle(), a)
	d.expect(d.answer("NotNow", a), b)
	d.expect(d.answer("NotNow", b), c)
	d.expect(d.answer("NotNow", c), "")
	assert.Equal(w, []string{a, b, c}, d.run(), "in the order in which they were queued")
}

func notNowAgain(w *world) {
	d := w.enrolled("D")
	a, b := w.queued(security(), d), w.queued(profiles(), d)
	d.expect(d.idle(), a)
	d.expect(d.answer("NotNow", a), b)
	d.expect(d.answer("NotNow", a), b) // the reply was lost
	assert.Equal(w, 1, w.entry(d, a).Deferrals)
	w.expectEvents(d.id, mdm.EventCommandNotNow, 1)
	assert.Empty(w, w.aside(""))
}

func notNowAfterFinal(w *world) {
	for status, want := range map[command.Status]command.State{
		command.StatusAcknowledged: command.Acknowledged, command.StatusError: command.Failed, command.StatusCommandFormatError: command.FormatError,
	} {
		d := w.enrolled("device-" + string(status))
		uuid := w.queued(security(), d)
		d.expect(d.idle(), uuid)
		d.expect(d.answer(status, uuid), "")
		d.expect(d.answer("NotNow", uuid), "")
		e := w.entry(d, uuid)
		assert.Equal(w, want, e.State)
		assert.Zero(w, e.Deferrals)
		d.expect(d.idle(), "")
		w.expectEvents(d.id, mdm.EventReportAside, 1)
	}
	assert.Len(w, w.aside(""), 3)
}

func finalAfterNotNow(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	d.expect(d.answer("NotNow", uuid), "")
	d.expect(d.answer("Acknowledged", uuid), "")
	assert.Equal(w, command.Acknowledged, w.state(d, uuid))
	d.expect(d.idle(), "")
}

func sessionsOfChannels(w *world) {
	d := w.enrolled("D")
	u := d.user("anna")
	ofDevice, ofUser := w.queued(security(), d), w.queued(security(), u)
	d.expect(d.idle(), ofDevice)
	d.expect(d.answer("NotNow", ofDevice), "")
	u.expect(u.idle(), ofUser) // begins a session of its own, not one of the device
	assert.Equal(w, command.Deferred, w.state(d, ofDevice))
	d.expect(d.answer("Acknowledged", "never-queued"), "")
	u.expect(u.answer("Acknowledged", ofUser), "")
}

func queuedInASession(w *world) {
	d := w.enrolled("D")
	a := w.queued(security(), d)
	d.expect(d.idle(), a)
	b := w.queued(profiles(), d)
	d.expect(d.answer("NotNow", a), b)
	c := w.queued(information("OSVersion"), d)
	d.expect(d.answer("Acknowledged", b), c)
	d.expect(d.answer("Acknowledged", c), "")
}
