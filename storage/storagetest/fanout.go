package storagetest

import (
	"context"
	"fmt"
	"strconv"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func fanOutCases() []testCase {
	return []testCase{
		{name: "what became of each",
			why: "command.Order: Each is told of each target once, Progress how far the order is, when it is committed",
			run: eachOutcome},
		{name: "a caller who gives up",
			why: "command.Enqueuer: an order for many that has begun is carried out, by somebody; nobody gets it twice",
			run: givingUp},
		{name: "canceled on its way",
			why: "command.Enqueuer: Cancel of every queue ends an order that is being carried out",
			run: canceledOnItsWay},
		{name: "repeated while it waits",
			why: "command.Enqueuer: an order with a UUID that the store knows is not queued twice, though its first call is carried out later",
			run: repeatedWhileItWaits},
		{name: "a body that is another's",
			why: "command.Enqueuer: a UUID with another body is refused as Malformed, and nothing is queued anywhere",
			run: otherBodyForMany},
		{name: "users among many",
			why: "command.Enqueuer: every channel that the filter selects has its own queue",
			run: usersAmongMany},
	}
}

// crowd enrolls more than one transaction is for, and returns their ids in order.
func (w *world) crowd() []mdm.EnrollmentID {
	w.Helper()
	return w.enrollMany(command.OneTransaction + 300)
}

func everybody() mdm.Targets { return mdm.Matching(mdm.Filter{States: []mdm.State{mdm.Enrolled}}) }

func eachOutcome(w *world) {
	all := w.crowd()
	listed := append([]mdm.EnrollmentID{{Device: "nobody"}, all[5]}, all...)
	for name, to := range map[string]mdm.Targets{"listed": mdm.IDs(listed...), "matched": everybody()} {
		var receipt command.Receipt
		outcomes := map[mdm.EnrollmentID]command.OutcomeState{}
		got := w.enqueue(command.Order{Command: security(), To: to, Collapse: name, Priority: command.Inventory, NoPush: true,
			Each: func(o command.Outcome) {
				assert.Zero(w, outcomes[o.Enrollment], "told twice")
				assert.Equal(w, o.State == command.OutcomeRefused, o.Err != nil)
				outcomes[o.Enrollment] = o.State
			},
			Progress: func(r command.Receipt) {
				assert.GreaterOrEqual(w, r.Queued, receipt.Queued)
				assert.Equal(w, len(outcomes), r.Queued+r.Collapsed+r.RefusedAll)
				receipt = r
			}})
		assert.Equal(w, got, receipt, "the last Progress is the whole")
		assert.Equal(w, len(all), receipt.Queued)
		for _, id := range all {
			require.Equal(w, command.OutcomeQueued, outcomes[id])
		}
		if name == "listed" {
			assert.Equal(w, command.OutcomeRefused, outcomes[mdm.EnrollmentID{Device: "nobody"}])
			assert.Equal(w, 1, receipt.RefusedAll)
		}
		for e, err := range w.Command.Entries(w.Context(), command.Query{UUID: receipt.UUID, Limit: 3}) {
			require.NoError(w, err)
			assert.Equal(w, command.Inventory, e.Priority)
			assert.Equal(w, name, e.Collapse)
		}
	}
	if w.Push != nil {
		assert.Empty(w, w.due(w.now()))
	}
}

// brokenOff begins an order for many and gives up after the first chunk of it.
func (w *world) brokenOff(o command.Order) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	o.Progress = func(command.Receipt) { cancel() }
	receipt, err := w.Command.Enqueue(ctx, o)
	if w.FanOuts == nil { // it was one step
		require.NoError(w, err)
		return
	}
	require.ErrorIs(w, err, context.Canceled)
	assert.Positive(w, receipt.Queued)
	assert.LessOrEqual(w, receipt.Queued, command.OneTransaction)
	under, err := w.FanOuts.FanOuts(w.Context(), "")
	require.NoError(w, err)
	require.Len(w, under, 1)
	assert.Equal(w, o.UUID, under[0].Done.UUID)
	assert.Equal(w, receipt.Queued, under[0].Done.Queued)
	assert.Equal(w, "SecurityInfo", under[0].RequestType)
}

func givingUp(w *world) {
	all := w.crowd()
	for name, to := range map[string]mdm.Targets{"listed": mdm.IDs(all...), "matched": everybody(),
		"some": mdm.Matching(mdm.Filter{Limit: command.OneTransaction + 100})} {
		w.brokenOff(command.Order{Command: security(), UUID: name, To: to, Priority: command.Security})
		if w.FanOuts != nil {
			other := w.cfg.Open(w.TB, w.name) // another replica
			done, err := other.FanOuts.Resume(w.Context())
			require.NoError(w, err)
			assert.True(w, done)
			done, err = w.FanOuts.Resume(w.Context())
			require.NoError(w, err)
			assert.False(w, done, "there is nothing left")
			under, err := w.FanOuts.FanOuts(w.Context(), "")
			require.NoError(w, err)
			assert.Empty(w, under)
		}
		entries := w.entries(command.Query{UUID: name})
		want := len(all)
		if name == "some" {
			want = command.OneTransaction + 100
		}
		require.Len(w, entries, want)
		for i, e := range entries {
			require.Equal(w, all[i], e.Enrollment, "each once")
			require.Equal(w, command.Security, e.Priority)
		}
		if w.Events != nil {
			assert.Zero(w, w.count(all[0], mdm.EventCommandQueued), "the order tells of itself as a whole")
			var told []mdm.Event
			for _, e := range w.events(mdm.EnrollmentID{}) {
				if e.CommandUUID == name {
					told = append(told, e)
				}
			}
			require.Len(w, told, 2)
			assert.Equal(w, []mdm.EventType{mdm.EventOrderBegun, mdm.EventOrderDone}, []mdm.EventType{told[0].Type, told[1].Type})
			assert.Equal(w, fmt.Sprintf("queued %d, collapsed 0, refused 0", want), told[1].Reason)
			assert.Equal(w, "SecurityInfo", told[1].RequestType)
		}
	}
}

func repeatedWhileItWaits(w *world) {
	w.enrollMany(command.OneTransaction)
	last := []*device{w.enrolled("z1"), w.enrolled("z2")} // a chunk of their own
	o := command.Order{Command: security(), UUID: "order", To: everybody()}
	w.brokenOff(o)
	assert.Equal(w, command.OneTransaction+len(last), w.enqueue(o).Queued)
	for _, d := range last {
		assert.Equal(w, []string{"order"}, d.run())
	}
	if w.FanOuts != nil {
		done, err := w.FanOuts.Resume(w.Context())
		require.NoError(w, err)
		assert.True(w, done)
	}
	for _, d := range last {
		assert.Empty(w, d.run(), "it is done")
	}
	assert.Len(w, w.entries(command.Query{UUID: "order"}), command.OneTransaction+len(last))
}

func canceledOnItsWay(w *world) {
	all := w.crowd()
	o := command.Order{Command: security(), UUID: "order", To: everybody()}
	first := true
	o.Progress = func(command.Receipt) {
		if first && w.FanOuts != nil {
			n, err := w.Command.Cancel(w.Context(), "order", mdm.Matching(mdm.Filter{}))
			require.NoError(w, err)
			assert.Positive(w, n)
		}
		first = false
	}
	_, err := w.Command.Enqueue(w.Context(), o)
	if w.FanOuts == nil {
		n, err := w.Command.Cancel(w.Context(), "order", mdm.Targets{})
		require.NoError(w, err)
		assert.Equal(w, len(all), n)
	} else {
		require.ErrorIs(w, err, command.ErrNotOurs)
	}
	if w.Events != nil && w.FanOuts != nil {
		done := w.events(mdm.EnrollmentID{})
		require.NotEmpty(w, done)
		assert.Equal(w, mdm.EventOrderDone, done[len(done)-1].Type)
		assert.Contains(w, done[len(done)-1].Reason, "canceled")
	}
	open := w.entries(command.Query{UUID: "order", States: []command.State{command.Queued, command.Sent, command.Deferred}})
	assert.Empty(w, open)
}

func otherBodyForMany(w *world) {
	all := w.crowd()
	w.enqueue(command.Order{Command: profiles(), UUID: "order", To: mdm.IDs(all[1])})
	for _, to := range []mdm.Targets{everybody(), mdm.IDs(all...)} {
		_, err := w.Command.Enqueue(w.Context(), command.Order{Command: security(), UUID: "order", To: to})
		require.Error(w, err)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err))
	}
	assert.Len(w, w.entries(command.Query{UUID: "order"}), 1)
	receipt := w.enqueue(command.Order{Command: profiles(), UUID: "order", To: everybody()})
	assert.Equal(w, len(all), receipt.Queued, "one has it already")
	assert.Len(w, w.entries(command.Query{UUID: "order"}), len(all))
}

func usersAmongMany(w *world) {
	all := w.crowd()
	d := w.enrolled("E")
	users := []*device{d.user("anna"), d.user("bert")}
	receipt := w.enqueue(command.Order{Command: profiles(), To: everybody()})
	assert.Equal(w, len(all)+1+len(users), receipt.Queued, strconv.Itoa(receipt.RefusedAll))
	for _, u := range append(users, d) {
		assert.Equal(w, []string{receipt.UUID}, u.run())
	}
}
