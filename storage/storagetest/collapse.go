package storagetest

import (
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func collapseCases() []testCase {
	return []testCase{
		{name: "one open command is enough",
			why: "command.Order: while a command with the Collapse key is open, another is not queued; refreshes pile up otherwise",
			run: collapses},
		{name: "the key is free again after the answer",
			why: "command.Order: Collapse is about open commands",
			run: collapseAfterAnswer},
		{name: "a deferred command is open",
			why: "command.State: Queued, Sent and Deferred are open",
			run: collapseDeferred},
		{name: "keys do not cross queues",
			why: "command.Order: one open command per enrollment is enough",
			run: collapsePerQueue},
		{name: "superseding",
			why: "command.Order: open commands with the key that were not sent yet are canceled, and this one is queued",
			run: supersedes},
		{name: "superseding what was sent",
			why: "command.Order: what was sent may be under way and stays",
			run: supersedesSent},
		{name: "many at once collapse to one",
			why: "command.Order: the check and the queuing are one step, or two of them both find nothing",
			run: collapseAtOnce},
		{name: "orders without a key",
			why: "command.Order: an empty key never collapses",
			run: noKey},
	}
}

func (w *world) keyed(c command.Command, key string, supersede bool, devices ...*device) command.Receipt {
	w.Helper()
	o := to(c, devices...)
	o.Collapse, o.Supersede = key, supersede
	return w.enqueue(o)
}

func collapses(w *world) {
	d := w.enrolled("D")
	first := w.keyed(security(), "refresh", false, d)
	assert.Equal(w, 1, first.Queued)
	for range 3 {
		again := w.keyed(profiles(), "refresh", false, d)
		assert.Zero(w, again.Queued)
		assert.Equal(w, 1, again.Collapsed)
		assert.Zero(w, again.RefusedAll)
	}
	other := w.keyed(profiles(), "other", false, d)
	assert.Equal(w, 1, other.Queued)
	assert.Equal(w, "refresh", w.entry(d, first.UUID).Collapse)
	assert.Equal(w, []string{first.UUID, other.UUID}, d.run())
}

func collapseAfterAnswer(w *world) {
	d := w.enrolled("D")
	first := w.keyed(security(), "refresh", false, d)
	d.expect(d.idle(), first.UUID)
	assert.Equal(w, 1, w.keyed(security(), "refresh", false, d).Collapsed, "it is sent, and still open")
	d.answer("Acknowledged", first.UUID)
	assert.Equal(w, 1, w.keyed(security(), "refresh", false, d).Queued)
}

func collapseDeferred(w *world) {
	d := w.enrolled("D")
	first := w.keyed(security(), "refresh", false, d)
	d.expect(d.idle(), first.UUID)
	d.expect(d.answer("NotNow", first.UUID), "")
	assert.Equal(w, 1, w.keyed(security(), "refresh", false, d).Collapsed)
	assert.Equal(w, []string{first.UUID}, d.run())
}

func collapsePerQueue(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	u := a.user("anna")
	w.keyed(security(), "refresh", false, a)
	receipt := w.keyed(profiles(), "refresh", false, a, b, u)
	assert.Equal(w, 2, receipt.Queued)
	assert.Equal(w, 1, receipt.Collapsed)
}

func supersedes(w *world) {
	d := w.enrolled("D")
	old, other := w.keyed(security(), "profile", false, d), w.keyed(profiles(), "other", false, d)
	next := w.keyed(information("OSVersion"), "profile", true, d)
	assert.Equal(w, 1, next.Queued)
	assert.Zero(w, next.Collapsed)
	e := w.entry(d, old.UUID)
	assert.Equal(w, command.Canceled, e.State)
	assert.NotEmpty(w, e.Note)
	w.expectEvents(d.id, mdm.EventCommandCanceled, 1)
	assert.Equal(w, []string{other.UUID, next.UUID}, d.run(), "it takes the place at the end")
}

func supersedesSent(w *world) {
	d := w.enrolled("D")
	old := w.keyed(security(), "profile", false, d)
	d.expect(d.idle(), old.UUID)
	next := w.keyed(profiles(), "profile", true, d)
	assert.Equal(w, 1, next.Queued)
	assert.Equal(w, command.Sent, w.state(d, old.UUID))
	d.expect(d.answer("Acknowledged", old.UUID), next.UUID)
}

func collapseAtOnce(w *world) {
	d := w.enrolled("D")
	const n = 16
	receipts := make([]command.Receipt, n)
	var group sync.WaitGroup
	for i := range receipts {
		group.Go(func() {
			o := to(security(), d)
			o.Collapse = "refresh"
			var err error
			receipts[i], err = w.Command.Enqueue(w.Context(), o)
			assert.NoError(w, err)
		})
	}
	group.Wait()
	queued, collapsed := 0, 0
	for _, r := range receipts {
		queued += r.Queued
		collapsed += r.Collapsed
	}
	assert.Equal(w, 1, queued)
	assert.Equal(w, n-1, collapsed)
	require.Len(w, w.queue(d), 1)
}

func noKey(w *world) {
	d := w.enrolled("D")
	want := []string{w.queued(security(), d), w.queued(security(), d)}
	assert.Equal(w, want, d.run())
}
