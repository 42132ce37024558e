package storagetest

import (
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func oddReportCases() []testCase {
	return []testCase{
		{name: "an unknown UUID",
			why: "MDM protocol, commands: never an error: a device repeats for ever what is refused, and its queue is jammed",
			run: unknownUUID},
		{name: "a UUID from another queue",
			why: "MDM protocol, commands: a CommandUUID of another enrollment must not affect that enrollment",
			run: foreignUUID},
		{name: "an unknown status",
			why: "MDM protocol, commands: anything else changes nothing, is logged and answered: forward compatible",
			run: unknownStatus},
		{name: "another final answer",
			why: "command.State: the others are final and never change again; a report that differs is kept aside",
			run: otherFinal},
		{name: "an odd report does not begin a session",
			why: "command.Exchanger: it is answered like an Idle report that does not begin a session, or deferred commands loop",
			run: oddIsNoSession},
		{name: "an answer to a canceled command",
			why: "command.Enqueuer: an answer that still comes is kept aside",
			run: answerToCanceled},
		{name: "an answer to a command that was not sent",
			why: "the answer counts for the CommandUUID: another replica, or a backup of the database, may have sent it",
			run: answerToUnsent},
		{name: "odd texts",
			why: "all input is hostile: whatever a device says is stored as data, or not at all",
			run: oddTexts},
	}
}

func unknownUUID(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	at := w.now()
	d.expect(d.report(command.Request{Status: "Acknowledged", CommandUUID: "never-queued", Raw: []byte("raw"), At: at}), uuid)
	aside := w.aside("")
	require.Len(w, aside, 1)
	a := aside[0]
	assert.Equal(w, d.id, a.Enrollment)
	assert.Equal(w, command.StatusAcknowledged, a.Status)
	assert.Equal(w, "never-queued", a.CommandUUID)
	assert.Equal(w, "raw", string(a.Raw))
	assert.True(w, at.Equal(a.At))
	assert.NotEmpty(w, a.Reason)
	assert.Positive(w, a.Number)
	w.expectEvents(d.id, mdm.EventReportAside, 1)
	assert.Len(w, w.queue(d), 1, "nothing comes into the queue by it")
}

func foreignUUID(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	u := d.user("anna")
	of := map[*device]string{other: w.queued(security(), other), u: w.queued(security(), u)}
	for owner, uuid := range of {
		owner.expect(owner.idle(), uuid)
		for _, status := range []command.Status{"Acknowledged", "Error", "NotNow"} {
			d.expect(d.answer(status, uuid), "")
		}
		assert.Equal(w, command.Sent, w.state(owner, uuid))
		assert.Empty(w, w.queue(d))
	}
	assert.Len(w, w.aside(""), 6)
}

func unknownStatus(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	d.expect(d.answer("Dancing", uuid), uuid)
	assert.Equal(w, command.Sent, w.state(d, uuid))
	d.expect(d.answer("Dancing", ""), uuid)
	assert.Len(w, w.aside(""), 2)
	d.expect(d.answer("Acknowledged", uuid), "")
}

func otherFinal(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	d.expect(d.answer("Acknowledged", uuid), "")
	d.expect(d.answer("Error", uuid), "")
	e := w.entry(d, uuid)
	assert.Equal(w, command.Acknowledged, e.State)
	assert.Contains(w, string(e.Result), "Acknowledged")
	assert.Len(w, w.aside(""), 1)
}

func oddIsNoSession(w *world) {
	d := w.enrolled("D")
	a := w.queued(security(), d)
	d.expect(d.idle(), a)
	d.expect(d.answer("NotNow", a), "")
	d.expect(d.answer("Acknowledged", "never-queued"), "")
	d.expect(d.answer("Dancing", a), "")
	assert.Equal(w, command.Deferred, w.state(d, a))
	d.expect(d.idle(), a)
}

func answerToCanceled(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	n, err := w.Command.Cancel(w.Context(), uuid, mdm.IDs(d.id))
	require.NoError(w, err)
	assert.Equal(w, 1, n)
	d.expect(d.answer("Acknowledged", uuid), "")
	assert.Equal(w, command.Canceled, w.state(d, uuid))
	assert.Len(w, w.aside(""), 1)
}

func answerToUnsent(w *world) {
	d := w.enrolled("D")
	a, b := w.queued(security(), d), w.queued(profiles(), d)
	d.expect(d.answer("Acknowledged", b), a)
	assert.Equal(w, command.Acknowledged, w.state(d, b))
	d.expect(d.answer("Acknowledged", a), "")
}

func oddTexts(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	for i, odd := range []string{"'; DELETE FROM queue; --", "%", "_", strings.Repeat("x", 255), "ü", strings.ToLower(uuid), " " + uuid} {
		d.expect(d.answer("Acknowledged", odd), uuid)
		aside := w.aside("")
		require.Len(w, aside, i+1)
		assert.Equal(w, odd, aside[i].CommandUUID)
	}
}
