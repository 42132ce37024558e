package storagetest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func enqueueCases() []testCase {
	return []testCase{
		{name: "a refused target does not hinder the others",
			why: "command.Enqueuer: targets that cannot have it (unknown, not enrolled) are refused one by one",
			run: refusedTargets},
		{name: "the list of refusals is bounded",
			why: "command.Receipt: Refused has at most MaxRefusals, RefusedAll has the count",
			run: manyRefused},
		{name: "five thousand targets",
			why: "a large order must not pass a limit of the database, nor fail as a whole",
			run: manyTargets},
		{name: "the same order again",
			why: "command.Enqueuer: an order with a known UUID is not queued twice; its Receipt counts the targets that have it",
			run: sameOrderAgain},
		{name: "the same order after it was answered",
			why: "command.Enqueuer: a caller may repeat an Enqueue whose answer it lost, however late; the command must not run twice",
			run: sameOrderLate},
		{name: "a UUID with another body",
			why: "command.Enqueuer: refused as Malformed, and nothing is queued anywhere",
			run: otherBody},
		{name: "a target named twice",
			why: "a command is on a queue once: the device would answer the second as a repetition",
			run: targetTwice},
		{name: "nobody",
			why: "mdm.Targets: the zero value is nobody, not everybody",
			run: nobody},
		{name: "whom a filter matches",
			why: "mdm.Matching: every enrollment that the filter selects at the time of the call",
			run: matching},
		{name: "an order that is no order",
			why: "command.Prepare: Malformed; nothing is queued",
			run: malformedOrder},
		{name: "each target has its events", needs: needsEvents,
			why: "mdm.Event: written in the transaction of the change; a refused target has none",
			run: queuedEvents},
		{name: "a new generation does not get the old order again",
			why: "command.Enqueuer: not queued twice; what was canceled with its generation stays so",
			run: oldOrderNewGeneration},
	}
}

func refusedTargets(w *world) {
	d, ended, pending := w.enrolled("D"), w.enrolled("E"), w.device(mdm.EnrollmentID{Device: "P"})
	ended.checkOut()
	require.NoError(w, pending.authenticate())
	unknown := w.device(mdm.EnrollmentID{Device: "X"})
	receipt := w.enqueue(to(security(), unknown, ended, d, pending))
	assert.Equal(w, 1, receipt.Queued)
	assert.Equal(w, 3, receipt.RefusedAll)
	require.Len(w, receipt.Refused, 3)
	var refused []mdm.EnrollmentID
	for _, r := range receipt.Refused {
		refused = append(refused, r.Enrollment)
		require.Error(w, r.Err)
		assert.NotEqual(w, mdm.Unmanaged, mdm.CodeOf(r.Err))
	}
	assert.ElementsMatch(w, []mdm.EnrollmentID{unknown.id, ended.id, pending.id}, refused)
	assert.Equal(w, []string{receipt.UUID}, d.run())
	require.NoError(w, pending.tokenUpdate())
	pending.expect(pending.idle(), "")
}

func manyRefused(w *world) {
	d := w.enrolled("D")
	all := []mdm.EnrollmentID{d.id}
	for i := range command.MaxRefusals + 500 {
		all = append(all, mdm.EnrollmentID{Device: numbered("unknown-", i)})
	}
	receipt := w.enqueue(command.Order{Command: security(), To: mdm.IDs(all...)})
	assert.Equal(w, 1, receipt.Queued)
	assert.Len(w, receipt.Refused, command.MaxRefusals)
	assert.Equal(w, command.MaxRefusals+500, receipt.RefusedAll)
}

func manyTargets(w *world) {
	n := 5000
	if testing.Short() {
		n = 600
	}
	all := w.enrollMany(n)
	for name, targets := range map[string]mdm.Targets{"listed": mdm.IDs(all...), "matched": mdm.Matching(mdm.Filter{Topic: topic})} {
		receipt := w.enqueue(command.Order{Command: security(), To: targets, UUID: "to-all-" + name})
		require.Equal(w, n, receipt.Queued, name)
		require.Zero(w, receipt.RefusedAll)
		entries := w.entries(command.Query{UUID: receipt.UUID})
		require.Len(w, entries, n)
		for i, e := range entries {
			require.Equal(w, all[i], e.Enrollment, "in the order of the enrollments")
		}
	}
	if w.Push != nil {
		require.Len(w, w.due(w.now()), n, "each is woken, once for both commands")
	}
}

func sameOrderAgain(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	o := to(security(), a, b)
	o.UUID = "order-1"
	for range 3 {
		receipt := w.enqueue(o)
		assert.Equal(w, "order-1", receipt.UUID)
		assert.Equal(w, 2, receipt.Queued)
	}
	for _, d := range []*device{a, b} {
		assert.Len(w, w.queue(d), 1)
		w.expectEvents(d.id, mdm.EventCommandQueued, 1)
		assert.Equal(w, []string{"order-1"}, d.run())
	}
	o.Collapse, o.Supersede = "key", true
	assert.Equal(w, 2, w.enqueue(o).Queued, "whatever else the order says")
}

func sameOrderLate(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.UUID = "order-1"
	w.enqueue(o)
	d.run()
	receipt := w.enqueue(o)
	assert.Equal(w, 1, receipt.Queued)
	assert.Empty(w, d.run())
	assert.Equal(w, command.Acknowledged, w.state(d, "order-1"))
}

func otherBody(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	o := to(security(), a)
	o.UUID = "order-1"
	w.enqueue(o)
	other := to(profiles(), b, a)
	other.UUID = "order-1"
	_, err := w.Command.Enqueue(w.Context(), other)
	require.Error(w, err)
	assert.Equal(w, mdm.Malformed, mdm.CodeOf(err))
	assert.Empty(w, w.queue(b))
	offer := a.idle()
	a.expect(offer, "order-1")
	assert.Equal(w, "SecurityInfo", offer.RequestType)
}

func targetTwice(w *world) {
	d := w.enrolled("D")
	receipt := w.enqueue(to(security(), d, d))
	assert.Equal(w, 1, receipt.Queued)
	assert.Len(w, w.queue(d), 1)
}

func nobody(w *world) {
	d := w.enrolled("D")
	for _, targets := range []mdm.Targets{{}, mdm.IDs(), mdm.Matching(mdm.Filter{Device: "nobody"})} {
		receipt := w.enqueue(command.Order{Command: security(), To: targets})
		assert.NotEmpty(w, receipt.UUID)
		assert.Zero(w, receipt.Queued+receipt.Collapsed+receipt.RefusedAll)
	}
	assert.Empty(w, w.queue(d))
}

func matching(w *world) {
	a, b, ended := w.enrolled("A"), w.enrolled("B"), w.enrolled("E")
	u := a.user("anna")
	ended.checkOut()
	o := command.Order{Command: security(), To: mdm.Matching(mdm.Filter{States: []mdm.State{mdm.Enrolled}, Channels: []mdm.Channel{mdm.DeviceChannel}})}
	receipt := w.enqueue(o)
	assert.Equal(w, 2, receipt.Queued)
	assert.Zero(w, receipt.RefusedAll)
	late := w.enrolled("L")
	for d, n := range map[*device]int{a: 1, b: 1, u: 0, ended: 0, late: 0} {
		assert.Len(w, w.queue(d), n, d.id.String())
	}
	receipt = w.enqueue(command.Order{Command: security(), To: mdm.Matching(mdm.Filter{Device: "A"})})
	assert.Equal(w, 2, receipt.Queued, "all channels of the device")
	receipt = w.enqueue(command.Order{Command: profiles(), To: mdm.Matching(mdm.Filter{SerialNumber: "SNB"})})
	assert.Equal(w, 1, receipt.Queued)
	assert.Len(w, w.queue(b), 2)
}

func malformedOrder(w *world) {
	d := w.enrolled("D")
	at := w.now()
	for name, o := range map[string]command.Order{
		"no command":           {},
		"no plist":             {Command: command.Raw("hello")},
		"no RequestType":       {Command: command.Raw(`<plist version="1.0"><dict><key>A</key><string>B</string></dict></plist>`)},
		"deadline before":      {Command: security(), NotBefore: at, NotAfter: at.Add(-1)},
		"supersede of nothing": {Command: security(), Supersede: true},
	} {
		o.To = mdm.IDs(d.id)
		_, err := w.Command.Enqueue(w.Context(), o)
		require.Error(w, err, name)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), name)
	}
	assert.Empty(w, w.queue(d))
}

func queuedEvents(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	b.checkOut()
	receipt := w.enqueue(to(security(), a, b))
	for d, n := range map[*device]int{a: 1, b: 0} {
		assert.Equal(w, n, w.count(d.id, mdm.EventCommandQueued))
	}
	for _, e := range w.events(a.id) {
		if e.Type == mdm.EventCommandQueued {
			assert.Equal(w, receipt.UUID, e.CommandUUID)
			assert.Equal(w, "SecurityInfo", e.RequestType)
			assert.Equal(w, mdm.Generation(1), e.Generation)
			assert.False(w, e.At.IsZero())
		}
	}
}

func oldOrderNewGeneration(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.UUID = "order-1"
	w.enqueue(o)
	row := *w.row(d.id)
	row.Generation++
	w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}, NewGeneration: true})
	assert.Equal(w, 1, w.enqueue(o).Queued)
	assert.Equal(w, command.Canceled, w.state(d, "order-1"))
	d.expect(d.idle(), "")
}
