package storagetest

import (
	"bytes"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func queueCases() []testCase {
	return []testCase{
		{name: "an empty queue",
			why: "MDM protocol, commands: nothing to do is an empty answer, which ends the session",
			run: emptyQueue},
		{name: "priority, then the order of queuing",
			why: "command.Exchanger: the first by priority, then by sequence; never by the clock, whose steps are coarse",
			run: queueOrder},
		{name: "an urgent command overtakes",
			why: "lock and wipe must not wait behind inventory",
			run: urgentOvertakes},
		{name: "sending is not delivery",
			why: "MDM protocol, commands: a device that says Idle while a command is unanswered never got it; send it again, same CommandUUID",
			run: sendingIsNotDelivery},
		{name: "a final answer finishes a command",
			why: "MDM protocol, commands: Acknowledged, Error and CommandFormatError take a command off the queue; its raw result is kept",
			run: finalAnswers},
		{name: "a final answer again",
			why: "command.Exchanger: a report that equals the one that finished its command is a repetition and leaves nothing",
			run: finalAnswerAgain},
		{name: "channels have queues of their own",
			why: "MDM protocol, commands: device and user channels run independently; their commands never cross",
			run: channelsApart},
		{name: "one command on many queues",
			why: "MDM protocol, commands: a CommandUUID of another enrollment must not affect that enrollment",
			run: oneCommandManyQueues},
		{name: "who is not enrolled is offered nothing",
			why: "command.Exchanger: if a channel is not Enrolled, nothing is offered (mdm.State: Pending is not managed)",
			run: notEnrolled},
		{name: "a verdict's error is returned, and what it asks for is written",
			why: "command.Exchanger: if the verdict has an error, what it asks for is written and that error is returned; the report is not",
			run: verdictRefuses},
		{name: "a verdict changes the device before anything is offered",
			why: "identity.Verdict: the device row as it must become; a rolled back device is Enrolled from then on",
			run: verdictChanges},
		{name: "a verdict without a record",
			why: "a store never decides: a permissive policy may admit whom the store does not know",
			run: verdictOfAStranger},
		{name: "large and binary results",
			why: "MDM protocol, commands: the raw plist of every response is kept, whatever it holds",
			run: largeResult},
		{name: "a session of UserConfiguration",
			why: "MDM protocol, commands: a Mac in this phase takes only passcode policies, then DeviceConfigured; everything else waits",
			run: userConfiguration},
	}
}

func emptyQueue(w *world) {
	d := w.enrolled("D")
	for range 3 {
		d.expect(d.idle(), "")
	}
	assert.Empty(w, w.queue(d))
	assert.Empty(w, w.aside(""))
}

func queueOrder(w *world) {
	d := w.enrolled("D")
	want := map[command.Priority][]string{}
	classes := []command.Priority{command.Inventory, command.Normal, command.Security, command.Profiles, command.Renewal}
	for range 4 {
		for _, p := range classes {
			o := to(security(), d)
			o.Priority = p
			want[p] = append(want[p], w.enqueue(o).UUID)
		}
	}
	var all []string
	for _, p := range []command.Priority{command.Security, command.Renewal, command.Profiles, command.Normal, command.Inventory} {
		all = append(all, want[p]...)
	}
	assert.Equal(w, all, d.run())
	seq := int64(0)
	for _, e := range w.queue(d) {
		assert.Greater(w, e.Seq, seq, "Seq increases")
		seq = e.Seq
	}
}

func urgentOvertakes(w *world) {
	d := w.enrolled("D")
	first, second := w.queued(information("OSVersion"), d), w.queued(profiles(), d)
	d.expect(d.idle(), first)
	o := to(command.DeviceLock{}, d)
	o.Priority = command.Security
	lock := w.enqueue(o).UUID
	d.expect(d.answer("Acknowledged", first), lock)
	d.expect(d.answer("Acknowledged", lock), second)
	d.expect(d.answer("Acknowledged", second), "")
}

func sendingIsNotDelivery(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	assert.Equal(w, command.Queued, w.state(d, uuid))
	for sends := 1; sends <= 3; sends++ {
		d.expect(d.idle(), uuid)
		e := w.entry(d, uuid)
		assert.Equal(w, command.Sent, e.State)
		assert.Equal(w, sends, e.Sends)
		assert.False(w, e.SentAt.IsZero())
	}
	d.expect(d.answer("Acknowledged", uuid), "")
}

func finalAnswers(w *world) {
	d := w.enrolled("D")
	for status, want := range map[command.Status]struct {
		state command.State
		event mdm.EventType
		count int
	}{
		command.StatusAcknowledged:       {command.Acknowledged, mdm.EventCommandAcknowledged, 1},
		command.StatusError:              {command.Failed, mdm.EventCommandFailed, 0},
		command.StatusCommandFormatError: {command.FormatError, mdm.EventCommandFailed, 0},
	} {
		uuid, next := w.queued(security(), d), w.queued(profiles(), d)
		d.expect(d.idle(), uuid)
		at := w.now()
		d.expect(d.report(command.Request{Status: status, CommandUUID: uuid, Raw: []byte("raw " + status), At: at}), next)
		e := w.entry(d, uuid)
		assert.Equal(w, want.state, e.State)
		assert.Equal(w, "raw "+string(status), string(e.Result))
		assert.True(w, at.Equal(e.FinishedAt), "FinishedAt is the time of the report")
		d.expect(d.answer("Acknowledged", next), "")
		for _, event := range w.events(d.id) {
			if event.CommandUUID == uuid && event.Type == want.event {
				assert.Equal(w, string(status), event.Status)
				assert.Equal(w, "SecurityInfo", event.RequestType)
			}
		}
	}
	w.expectEvents(d.id, mdm.EventCommandFailed, 2)
	w.expectEvents(d.id, mdm.EventCommandAcknowledged, 4)
}

func finalAnswerAgain(w *world) {
	for _, status := range []command.Status{command.StatusAcknowledged, command.StatusError, command.StatusCommandFormatError} {
		d := w.enrolled("device-" + string(status))
		uuid, next := w.queued(security(), d), w.queued(profiles(), d)
		d.expect(d.idle(), uuid)
		d.expect(d.answer(status, uuid), next)
		before := len(w.events(d.id))
		finished := w.entry(d, uuid)
		d.expect(d.answer(status, uuid), next) // the reply was lost
		assert.Equal(w, finished, w.entry(d, uuid), "the first answer stays as it came")
		for _, e := range w.events(d.id)[min(before, len(w.events(d.id))):] {
			assert.Equal(w, mdm.EventCommandSent, e.Type, "nothing but the next command, sent again")
		}
	}
	assert.Empty(w, w.aside(""))
}

func channelsApart(w *world) {
	d := w.enrolled("D")
	u, v := d.user("anna"), d.user("bert")
	want := map[*device]string{d: w.queued(security(), d), u: w.queued(profiles(), u), v: w.queued(information("OSVersion"), v)}
	for channel, uuid := range want {
		assert.Equal(w, []string{uuid}, channel.run(), channel.id.String())
	}
}

func oneCommandManyQueues(w *world) {
	a, b, c := w.enrolled("A"), w.enrolled("B"), w.enrolled("C")
	uuid := w.queued(security(), a, b, c)
	for _, d := range []*device{a, b, c} {
		d.expect(d.idle(), uuid)
	}
	a.answer("Acknowledged", uuid)
	b.answer("Error", uuid)
	assert.Equal(w, command.Acknowledged, w.state(a, uuid))
	assert.Equal(w, command.Failed, w.state(b, uuid))
	assert.Equal(w, command.Sent, w.state(c, uuid))
	c.expect(c.idle(), uuid)
	c.expect(c.answer("Acknowledged", uuid), "")
	assert.Empty(w, w.aside(""))
}

func notEnrolled(w *world) {
	d := w.enrolled("D")
	w.queued(security(), d)
	for _, state := range []mdm.State{mdm.Pending, mdm.Ended} {
		row := *w.row(d.id)
		row.State = state
		w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}})
		offer, err := w.Command.Exchange(w.Context(), report(d, w.now()), admitted)
		require.NoError(w, err)
		assert.Nil(w, offer, "%s", state)
	}
}

func verdictRefuses(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	before := w.snapshot(d)
	r := report(d, w.now())
	r.Status, r.CommandUUID = command.StatusAcknowledged, uuid
	other := w.device(d.id)
	cert := mdm.NewCertificate("", other.cert)
	cert.Status, cert.Device = mdm.CertificatePending, "D"
	offer, err := w.Command.Exchange(w.Context(), r, func(s *identity.Standing) identity.Verdict {
		row := *s.Device
		row.EndReason = "written"
		return identity.Verdict{Err: errRefused, Device: &row, Certificates: []mdm.Certificate{cert},
			Events: []mdm.Event{{Type: mdm.EventConflict, At: r.At, Enrollment: d.id}}}
	})
	require.ErrorIs(w, err, errRefused)
	assert.Nil(w, offer)
	assert.Equal(w, command.Sent, w.state(d, uuid), "the report is not recorded")
	after := w.snapshot(d)
	assert.Equal(w, "written", after.device.EndReason)
	assert.True(w, after.pending)
	assert.Equal(w, before.queue, after.queue)
	w.expectEvents(d.id, mdm.EventConflict, 1)
	w.expectEvents(d.id, mdm.EventCommandAcknowledged, 0)
}

func verdictChanges(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	row := *w.row(d.id)
	pending := row
	pending.State = mdm.Pending
	w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{pending}})
	offer, err := w.Command.Exchange(w.Context(), report(d, w.now()), func(*identity.Standing) identity.Verdict {
		return identity.Verdict{Device: &row}
	})
	require.NoError(w, err)
	d.expect(offer, uuid)
}

func verdictOfAStranger(w *world) {
	stranger := w.device(mdm.EnrollmentID{Device: "X"})
	r := report(stranger, w.now())
	offer, err := w.Command.Exchange(w.Context(), r, admitted)
	require.NoError(w, err)
	assert.Nil(w, offer)
	r.Status, r.CommandUUID = command.StatusAcknowledged, "never-queued"
	offer, err = w.Command.Exchange(w.Context(), r, admitted)
	require.NoError(w, err)
	assert.Nil(w, offer)
	assert.Len(w, w.aside(""), 1)
}

func largeResult(w *world) {
	d := w.enrolled("D")
	raw := bytes.Repeat([]byte{0, 0xff, '\'', '\n', 0x80}, 200_000)
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	d.report(command.Request{Status: command.StatusAcknowledged, CommandUUID: uuid, Raw: raw})
	assert.True(w, bytes.Equal(raw, w.entry(d, uuid).Result))
}

func userConfiguration(w *world) {
	d := w.enrolled("D")
	ordinary := w.queued(installProfile("com.apple.wifi.managed"), d)
	passcode := w.queued(installProfile("com.apple.mobiledevice.passwordpolicy"), d)
	configured := w.queued(command.DeviceConfigured{}, d)
	setup := func(status command.Status, uuid string) *command.Offer {
		return d.report(command.Request{Status: status, CommandUUID: uuid, UserConfiguration: true})
	}
	d.expect(setup("Idle", ""), passcode)
	d.expect(setup("Acknowledged", passcode), configured)
	d.expect(setup("Acknowledged", configured), "")
	assert.Equal(w, command.Queued, w.state(d, ordinary), "it was not offered")
	assert.Equal(w, []string{ordinary}, d.run(), "it is, once the account is there")
}
