package storagetest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func cancelCases() []testCase {
	return []testCase{
		{name: "from every queue",
			why: "command.Enqueuer: an empty from means every queue; Cancel returns from how many it withdrew the command",
			run: cancelEverywhere},
		{name: "from some queues",
			why: "command.Enqueuer: Cancel withdraws from the queues of from",
			run: cancelSome},
		{name: "from the queues of those who are missed", needs: needsPresence | needsPush,
			why: "mdm.Filter: every set field must match, Presence among them, wherever a filter is applied",
			run: cancelMissed},
		{name: "what is answered stays answered",
			why: "command.State: final states never change",
			run: cancelFinal},
		{name: "in every open state",
			why: "command.Enqueuer: Cancel withdraws where there is no final answer",
			run: cancelOpen},
		{name: "twice, or nothing",
			why: "it is not an error to withdraw what is not there",
			run: cancelNothing},
	}
}

func (w *world) cancel(uuid string, from mdm.Targets) int {
	w.Helper()
	n, err := w.Command.Cancel(w.Context(), uuid, from)
	require.NoError(w, err)
	return n
}

func cancelEverywhere(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	u := a.user("anna")
	uuid, other := w.queued(security(), a, b, u), w.queued(profiles(), a, b, u)
	assert.Equal(w, 3, w.cancel(uuid, mdm.Targets{}))
	for _, d := range []*device{a, b, u} {
		e := w.entry(d, uuid)
		assert.Equal(w, command.Canceled, e.State)
		assert.False(w, e.FinishedAt.IsZero())
		w.expectEvents(d.id, mdm.EventCommandCanceled, 1)
		assert.Equal(w, []string{other}, d.run())
	}
}

func cancelSome(w *world) {
	a, b, c := w.enrolled("A"), w.enrolled("B"), w.enrolled("C")
	uuid := w.queued(security(), a, b, c)
	assert.Equal(w, 1, w.cancel(uuid, mdm.IDs(a.id, mdm.EnrollmentID{Device: "unknown"})))
	assert.Equal(w, command.Canceled, w.state(a, uuid))
	assert.Equal(w, command.Queued, w.state(b, uuid))
	assert.Equal(w, 1, w.cancel(uuid, mdm.Matching(mdm.Filter{Device: "B"})))
	assert.Equal(w, command.Canceled, w.state(b, uuid))
	assert.Equal(w, 0, w.cancel(uuid, mdm.Matching(mdm.Filter{Device: "nobody"})), "a filter that matches nobody is not every queue")
	assert.Equal(w, []string{uuid}, c.run())
}

func cancelMissed(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	w.miss(mdm.Inactive, a, b)
	b.expect(b.idle(), "")
	uuid := w.queued(security(), a, b)
	assert.Zero(w, w.cancel(uuid, mdm.Matching(mdm.Filter{Presence: []mdm.Presence{mdm.Gone}})))
	assert.Equal(w, 1, w.cancel(uuid, mdm.Matching(mdm.Filter{Presence: []mdm.Presence{mdm.Quiet, mdm.Inactive}})))
	assert.Equal(w, command.Canceled, w.state(a, uuid))
	assert.Equal(w, command.Queued, w.state(b, uuid))
}

func cancelFinal(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	uuid := w.queued(security(), a, b)
	a.run()
	assert.Equal(w, 1, w.cancel(uuid, mdm.Targets{}))
	assert.Equal(w, command.Acknowledged, w.state(a, uuid))
	assert.Equal(w, command.Canceled, w.state(b, uuid))
}

func cancelOpen(w *world) {
	d := w.enrolled("D")
	deferred, sent, queued := w.queued(security(), d), w.queued(profiles(), d), w.queued(information("OSVersion"), d)
	d.expect(d.idle(), deferred)
	d.expect(d.answer("NotNow", deferred), sent)
	for _, uuid := range []string{deferred, sent, queued} {
		assert.Equal(w, 1, w.cancel(uuid, mdm.IDs(d.id)))
		assert.Equal(w, command.Canceled, w.state(d, uuid))
	}
	d.expect(d.idle(), "")
}

func cancelNothing(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	assert.Equal(w, 1, w.cancel(uuid, mdm.IDs(d.id)))
	assert.Equal(w, 0, w.cancel(uuid, mdm.IDs(d.id)))
	assert.Equal(w, 0, w.cancel("never-queued", mdm.Targets{}))
	w.expectEvents(d.id, mdm.EventCommandCanceled, 1)
}
