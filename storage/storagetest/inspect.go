package storagetest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func inspectCases() []testCase {
	return []testCase{
		{name: "what an entry tells",
			why: "command.Entry: an operator sees what was asked for and what became of it",
			run: entryFields},
		{name: "entries in order",
			why: "command.Inspector: ordered by enrollment, then Seq: a list without a total order skips rows when it is paged",
			run: entryOrder},
		{name: "entries page by page",
			why: "command.Query: AfterEnrollment and AfterSeq page through the result",
			run: entryPages},
		{name: "selecting entries",
			why: "command.Query: every set field must match",
			run: entrySelection},
		{name: "bodies and results on demand",
			why: "command.Query: Body and Result come only when they are asked for: a list of thousands must stay small",
			run: entryBodies},
		{name: "breaking off",
			why: "a reader that stops must not leave a lock or a connection behind",
			run: entryBreak},
		{name: "writing while reading",
			why: "a reader that acts upon what it sees must not wait for itself",
			run: writeWhileReading},
		{name: "reports aside, page by page",
			why: "command.Inspector: ordered by their number, from after on",
			run: asidePages},
	}
}

func entryFields(w *world) {
	d := w.enrolled("D")
	o := to(security(), d)
	o.UUID, o.Priority, o.Collapse = "order-1", command.Security, "key"
	o.NotBefore = w.now()
	o.NotAfter = o.NotBefore.Add(time.Hour)
	w.enqueue(o)
	e := w.entry(d, "order-1")
	assert.Equal(w, d.id, e.Enrollment)
	assert.Equal(w, mdm.Generation(1), e.Generation)
	assert.Equal(w, "SecurityInfo", e.RequestType)
	assert.Equal(w, command.Queued, e.State)
	assert.Equal(w, command.Security, e.Priority)
	assert.Equal(w, "key", e.Collapse)
	assert.True(w, o.NotBefore.Equal(e.NotBefore) && o.NotAfter.Equal(e.NotAfter))
	assert.False(w, e.QueuedAt.IsZero())
	assert.True(w, e.SentAt.IsZero() && e.DeferredAt.IsZero() && e.FinishedAt.IsZero())
	assert.Zero(w, e.Sends+e.Deferrals)
	at := w.now()
	d.report(command.Request{Status: "Idle", At: at})
	e = w.entry(d, "order-1")
	assert.True(w, at.Equal(e.SentAt), "SentAt is the time of the report")
	assert.Equal(w, 1, e.Sends)
	assert.Nil(w, e.Result)
}

// fillQueues puts three commands on four queues and returns the channels in their order.
func fillQueues(w *world) []*device {
	b, a := w.enrolled("B"), w.enrolled("A")
	u, c := a.user("anna"), w.enrolled("C")
	all := []*device{a, u, b, c}
	for range 3 {
		w.queued(security(), c, u, a, b)
	}
	return all
}

func entryOrder(w *world) {
	all := fillQueues(w)
	entries := w.entries(command.Query{})
	require.Len(w, entries, 12)
	for i, e := range entries {
		assert.Equal(w, all[i/3].id, e.Enrollment)
		if i%3 > 0 {
			assert.Greater(w, e.Seq, entries[i-1].Seq)
		}
	}
}

func entryPages(w *world) {
	fillQueues(w)
	all := w.entries(command.Query{})
	for limit := 1; limit <= len(all)+1; limit++ {
		var paged []command.Entry
		q := command.Query{Limit: limit}
		for {
			page := w.entries(q)
			require.LessOrEqual(w, len(page), limit)
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			require.LessOrEqual(w, len(paged), len(all), "by %d: the pages do not end", limit)
			last := page[len(page)-1]
			q.AfterEnrollment, q.AfterSeq = last.Enrollment, last.Seq
		}
		require.Equal(w, all, paged, "by %d", limit)
	}
	page := w.entries(command.Query{AfterEnrollment: mdm.EnrollmentID{Device: "A", User: "zoe"}})
	assert.Len(w, page, 6, "after a channel that is not there")
}

func entrySelection(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	done, failed, open := w.queued(security(), a), w.queued(profiles(), a), w.queued(information("OSVersion"), a, b)
	a.expect(a.idle(), done)
	a.expect(a.answer("Acknowledged", done), failed)
	a.expect(a.answer("Error", failed), open)
	for _, tt := range []struct {
		q    command.Query
		want []string
	}{
		{command.Query{}, []string{done, failed, open, open}},
		{command.Query{From: a.id}, []string{done, failed, open}},
		{command.Query{From: b.id}, []string{open}},
		{command.Query{UUID: open}, []string{open, open}},
		{command.Query{UUID: done, From: b.id}, nil},
		{command.Query{States: []command.State{command.Acknowledged, command.Failed}}, []string{done, failed}},
		{command.Query{States: []command.State{command.Sent}, From: a.id}, []string{open}},
		{command.Query{States: []command.State{command.Expired}}, nil},
		{command.Query{From: mdm.EnrollmentID{Device: "unknown"}}, nil},
		{command.Query{Tenant: "other"}, nil},
	} {
		var got []string
		for _, e := range w.entries(tt.q) {
			got = append(got, e.UUID)
		}
		assert.Equal(w, tt.want, got, "%+v", tt.q)
	}
}

func entryBodies(w *world) {
	d := w.enrolled("D")
	done, open := w.queued(security(), d), w.queued(profiles(), d)
	offered := d.idle()
	d.expect(d.answer("Acknowledged", done), open)
	for _, with := range []bool{false, true} {
		entries := w.entries(command.Query{From: d.id, Bodies: with, Results: with})
		require.Len(w, entries, 2)
		if !with {
			assert.Nil(w, entries[0].Body)
			assert.Nil(w, entries[0].Result)
			continue
		}
		assert.Equal(w, string(offered.Body), string(entries[0].Body), "of a finished one, too")
		assert.Contains(w, string(entries[0].Result), "Acknowledged")
		assert.Contains(w, string(entries[1].Body), "ProfileList")
		assert.Nil(w, entries[1].Result)
	}
}

func entryBreak(w *world) {
	d := w.enrolled("D")
	for range 3 {
		w.queued(security(), d)
	}
	for range 20 {
		for range w.Command.Entries(w.Context(), command.Query{}) {
			break
		}
	}
	assert.Len(w, d.run(), 3)
}

func writeWhileReading(w *world) {
	d := w.enrolled("D")
	w.queued(security(), d)
	w.queued(profiles(), d)
	n := 0
	for e, err := range w.Command.Entries(w.Context(), command.Query{States: []command.State{command.Queued}}) {
		require.NoError(w, err)
		n += w.cancel(e.UUID, mdm.IDs(d.id))
	}
	assert.Equal(w, 2, n)
}

func asidePages(w *world) {
	d, e := w.enrolled("D"), w.enrolled("E")
	for i := range 6 {
		[]*device{d, e}[i%2].answer("Acknowledged", numbered("odd-", i))
	}
	all := w.aside("")
	require.Len(w, all, 6)
	for i, a := range all {
		assert.Equal(w, numbered("odd-", i), a.CommandUUID)
		if i > 0 {
			assert.Greater(w, a.Number, all[i-1].Number)
		}
	}
	var page []command.Aside
	for a, err := range w.Command.Aside(w.Context(), "", all[1].Number, 3) {
		require.NoError(w, err)
		page = append(page, a)
	}
	assert.Equal(w, all[2:5], page)
	assert.Empty(w, w.aside("other"))
}
