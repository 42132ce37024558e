package storagetest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/storage"
)

func retentionCases() []testCase {
	return []testCase{
		{name: "finished commands",
			why: "storage.Retention: what is finished goes after its time, by its kind; what is open never",
			run: sweptCommands},
		{name: "more than a batch",
			why: "storage.Sweeper: one Sweep deletes all that is over, in small transactions",
			run: sweptMany},
		{name: "an order after its sweep",
			why: "storage.Retention: an order that is repeated with its old UUID is a new one; its body must be there",
			run: orderAfterSweep},
		{name: "for ever",
			why: "storage.Retention: a negative duration is for ever",
			run: sweptNothing},
		{name: "reports kept aside",
			why: "storage.Retention: they are kept apart, and longer",
			run: sweptAsides},
		{name: "events", needs: needsEvents,
			why: "storage.Retention: an event is kept until every consumer has had it, but not for ever",
			run: sweptEvents},
		{name: "challenges", needs: needsSCEP,
			why: "storage.Retention: a challenge is of no use when it has expired",
			run: sweptChallenges},
	}
}

func workLeaseCases() []testCase {
	return []testCase{
		{name: "one at a time",
			why: "storage.Leases: a lease is its owner's until it ends or is given back",
			run: workLease},
		{name: "many at once",
			why: "storage.Leases: of many that ask one gets it",
			run: workLeaseRace},
	}
}

func (w *world) sweep(in time.Duration, r storage.Retention) storage.Swept {
	w.Helper()
	done, err := w.Sweep.Sweep(w.Context(), w.now().Add(in), r)
	require.NoError(w, err)
	return done
}

const week = 7 * 24 * time.Hour

func sweptCommands(w *world) {
	d := w.enrolled("D")
	answered, other := w.queued(security(), d), w.queued(profiles(), d)
	d.run()
	open := w.queued(security(), d)
	assert.Zero(w, w.sweep(week, storage.Retention{}).Commands, "younger than the default")
	done := w.sweep(2*week, storage.Retention{Commands: 3 * week, Kinds: map[string]time.Duration{"SecurityInfo": week, "EraseDevice": -1}})
	assert.Equal(w, storage.Swept{Commands: 1, Bodies: 1}, storage.Swept{Commands: done.Commands, Bodies: done.Bodies})
	assert.Empty(w, w.entries(command.Query{UUID: answered}))
	assert.Equal(w, command.Acknowledged, w.state(d, other))
	assert.Equal(w, command.Queued, w.state(d, open))
	done = w.sweep(100*week, storage.Retention{})
	assert.Equal(w, 1, done.Commands)
	assert.Equal(w, []string{open}, d.run(), "what is open is delivered however old it is")
	d.answer(command.StatusAcknowledged, answered) // comes again, and is kept aside
}

func sweptMany(w *world) {
	const n = 1200
	all := w.enrollMany(n)
	receipt := w.enqueue(command.Order{Command: security(), To: mdm.IDs(all...), NoPush: true})
	canceled, err := w.Command.Cancel(w.Context(), receipt.UUID, mdm.Targets{})
	require.NoError(w, err)
	require.Equal(w, n, canceled)
	done := w.sweep(20*week, storage.Retention{})
	assert.Equal(w, n, done.Commands)
	assert.Equal(w, 1, done.Bodies)
	assert.Equal(w, storage.Swept{}, w.sweep(20*week, storage.Retention{}), "there is nothing left")
}

func orderAfterSweep(w *world) {
	a, b := w.enrolled("A"), w.enrolled("B")
	o := to(security(), a, b)
	o.UUID = "order-1"
	w.enqueue(o)
	a.run()
	assert.Equal(w, 0, w.sweep(20*week, storage.Retention{}).Bodies, "it is still on a queue")
	b.run()
	w.sweep(20*week, storage.Retention{})
	w.enqueue(o)
	assert.Equal(w, []string{"order-1"}, a.run())
}

func sweptNothing(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.run()
	assert.Equal(w, storage.Swept{}, w.sweep(1000*week, storage.Retention{Commands: -1, Asides: -1, Events: -1, Challenges: -1}))
	assert.Equal(w, command.Acknowledged, w.state(d, uuid))
}

func sweptAsides(w *world) {
	d := w.enrolled("D")
	d.answer(command.StatusAcknowledged, "nobody-knows-this")
	count := func() (n int) {
		for _, err := range w.Command.Aside(w.Context(), "", 0, 0) {
			require.NoError(w, err)
			n++
		}
		return n
	}
	assert.Zero(w, w.sweep(20*week, storage.Retention{}).Asides)
	assert.Equal(w, 1, count())
	assert.Equal(w, 1, w.sweep(30*week, storage.Retention{}).Asides)
	assert.Zero(w, count())
}

func sweptEvents(w *world) {
	d := w.enrolled("D")
	w.queued(security(), d)
	d.run()
	all, err := w.Events.Events(w.Context(), "", 0, 0)
	require.NoError(w, err)
	require.NotEmpty(w, all)
	leased, err := w.Events.Lease(w.Context(), "audit", 1, time.Hour)
	require.NoError(w, err)
	require.Len(w, leased, 1)
	assert.Zero(w, w.sweep(20*week, storage.Retention{}).Events, "the consumer has not had them")
	require.NoError(w, w.Events.Ack(w.Context(), "audit", leased))
	assert.Equal(w, 1, w.sweep(20*week, storage.Retention{}).Events)
	rest, err := w.Events.Events(w.Context(), "", 0, 0)
	require.NoError(w, err)
	assert.Equal(w, all[1:], rest)
	leased, err = w.Events.Lease(w.Context(), "audit", 100, time.Hour)
	require.NoError(w, err)
	assert.NotEmpty(w, leased, "it goes on where it was")
	assert.Equal(w, len(rest), w.sweep(60*week, storage.Retention{}).Events, "the consumer is gone")
	w.queued(security(), d)
	events, err := w.Events.Events(w.Context(), "", rest[len(rest)-1].Seq, 0)
	require.NoError(w, err)
	assert.NotEmpty(w, events, "numbers are not used twice")
}

func sweptChallenges(w *world) {
	text, err := scep.NewChallenge(w.Context(), w.SCEP, scep.Challenge{ExpiresAt: w.now().Add(time.Hour)})
	require.NoError(w, err)
	require.NotEmpty(w, text)
	assert.Zero(w, w.sweep(2*week, storage.Retention{}).Challenges)
	assert.Equal(w, 1, w.sweep(6*week, storage.Retention{}).Challenges)
}

func workLease(w *world) {
	ctx, l := w.Context(), w.Leases
	acquire := func(name, owner string, d time.Duration) bool {
		ok, err := l.Acquire(ctx, name, owner, d)
		require.NoError(w, err)
		return ok
	}
	assert.True(w, acquire("sweep", "a", time.Hour))
	assert.True(w, acquire("sweep", "a", time.Hour), "renewed")
	assert.False(w, acquire("sweep", "b", time.Hour))
	assert.True(w, acquire("other", "b", time.Hour))
	require.NoError(w, l.Release(ctx, "sweep", "b"))
	assert.False(w, acquire("sweep", "b", time.Hour), "only its owner gives it back")
	require.NoError(w, l.Release(ctx, "sweep", "a"))
	assert.True(w, acquire("sweep", "b", time.Millisecond))
	time.Sleep(5 * time.Millisecond)
	assert.True(w, acquire("sweep", "a", time.Hour), "the lease has ended")
}

func workLeaseRace(w *world) {
	other := w.cfg.Open(w.TB, w.name)
	got := make(chan bool)
	for i := range 16 {
		go func() {
			l := []storage.Leases{w.Leases, other.Leases}[i%2]
			ok, err := l.Acquire(w.Context(), "sweep", fmt.Sprint(i), time.Hour)
			got <- assert.NoError(w, err) && ok
		}()
	}
	n := 0
	for range 16 {
		if <-got {
			n++
		}
	}
	assert.Equal(w, 1, n)
}
