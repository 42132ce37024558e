package storagetest

import (
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

func leaseCases() []testCase {
	return []testCase{
		{name: "leased in order, acknowledged once",
			why: "event.Log: events of one enrollment in the order of Seq; acknowledged ones never come again",
			run: leaseAndAck},
		{name: "a lease that ended",
			why: "event.Log: events whose lease ended without an Ack are handed out again: at least once, whoever dies",
			run: leaseEnds},
		{name: "an Ack that comes too late",
			why: "event.Log: an event whose lease ended is left to its next holder",
			run: lateAck},
		{name: "later events of an enrollment wait",
			why: "event.Log: none of an enrollment of which an earlier event is leased to somebody",
			run: laterEventsWait},
		{name: "later events wait for one that failed",
			why: "event.Log: none of an enrollment of which an earlier event waits to be leased again",
			run: laterEventsWaitForFailed},
		{name: "a stuck enrollment does not hold up the others",
			why: "event.Consumer: after an error those of the same enrollment wait; poison must not stop the rest (capabilities L23)",
			run: stuckEnrollment},
		{name: "consumers are independent",
			why: "event.Log: consumers are told apart by name; a new one starts with the oldest event that is kept",
			run: independentConsumers},
		{name: "many takers",
			why: "event.Log: safe for use by many processes: each event once, in order within its enrollment",
			run: manyTakers},
		{name: "acknowledging nothing",
			why: "it is not an error to acknowledge what is not leased",
			run: ackNothing},
	}
}

// logged leaves n events each of some enrollments, one enrollment after the other in every round.
func (w *world) logged(n int, devices ...string) {
	w.Helper()
	for i := range n {
		for _, name := range devices {
			id := mdm.EnrollmentID{Device: name}
			w.update(id, checkin.Plan{Events: []mdm.Event{{Type: mdm.EventTokenUpdated, At: w.now(), Enrollment: id, Reason: numbered(name+" ", i)}}})
		}
	}
}

func (w *world) lease(consumer string, n int, d time.Duration) []mdm.Event {
	w.Helper()
	events, err := w.Events.Lease(w.Context(), consumer, n, d)
	require.NoError(w, err)
	require.LessOrEqual(w, len(events), n)
	return events
}

func (w *world) ack(consumer string, events ...mdm.Event) {
	w.Helper()
	require.NoError(w, w.Events.Ack(w.Context(), consumer, events))
}

// leaseAgain leases until something comes: the former lease may end by a clock that is coarse.
func (w *world) leaseAgain(consumer string, n int, d time.Duration) []mdm.Event {
	w.Helper()
	var events []mdm.Event
	require.Eventually(w, func() bool { events = w.lease(consumer, n, d); return len(events) > 0 }, 10*time.Second, time.Millisecond)
	return events
}

func reasons(events []mdm.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Reason)
	}
	return out
}

func leaseAndAck(w *world) {
	w.logged(4, "A")
	first := w.lease("c", 2, lease)
	assert.Equal(w, []string{"A 00000", "A 00001"}, reasons(first))
	w.ack("c", first...)
	second := w.lease("c", 10, lease)
	assert.Equal(w, []string{"A 00002", "A 00003"}, reasons(second))
	w.ack("c", second...)
	assert.Empty(w, w.lease("c", 10, lease))
	w.logged(1, "A")
	assert.Len(w, w.lease("c", 10, lease), 1)
}

func leaseEnds(w *world) {
	w.logged(2, "A")
	first := w.lease("c", 10, time.Nanosecond)
	require.Len(w, first, 2)
	assert.Equal(w, first, w.leaseAgain("c", 10, time.Nanosecond))
	assert.Equal(w, first, w.leaseAgain("c", 10, lease))
	assert.Empty(w, w.lease("c", 10, lease))
}

func lateAck(w *world) {
	w.logged(2, "A")
	lost := w.lease("c", 10, time.Nanosecond)
	require.Len(w, lost, 2)
	w.logged(1, "B") // by now a nanosecond has passed
	w.ack("c", lost...)
	again := w.leaseAgain("c", 10, lease)
	require.Len(w, again, 3)
	assert.Equal(w, lost, again[:2], "they come again")
}

func laterEventsWait(w *world) {
	w.logged(3, "A")
	w.logged(1, "B")
	first := w.lease("c", 1, lease)
	assert.Equal(w, []string{"A 00000"}, reasons(first))
	assert.Equal(w, []string{"B 00000"}, reasons(w.lease("c", 10, lease)), "those of A wait, that of B does not")
	assert.Empty(w, w.lease("c", 10, lease))
	w.ack("c", first...)
	assert.Equal(w, []string{"A 00001", "A 00002"}, reasons(w.lease("c", 10, lease)))
}

func laterEventsWaitForFailed(w *world) {
	w.logged(3, "A")
	all := w.lease("c", 3, lease)
	require.Len(w, all, 3)
	w.ack("c", all[0], all[2]) // the one in the middle failed
	w.logged(1, "A")
	assert.Empty(w, w.lease("c", 10, lease), "the new one comes after the one that failed")

	w.logged(2, "B")
	failed := w.lease("c", 1, time.Nanosecond)
	assert.Equal(w, []string{"B 00000"}, reasons(failed))
	assert.Equal(w, []string{"B 00000", "B 00001"}, reasons(w.leaseAgain("c", 10, lease)), "in order, from the one that failed on")
}

func stuckEnrollment(w *world) {
	w.logged(1, "A", "B", "C")
	all := w.lease("c", 10, lease)
	require.Len(w, all, 3)
	w.ack("c", all[1:]...) // A fails
	for range 3 {
		w.logged(20, "A") // and goes on to happen
		w.logged(1, "B")
		events := w.lease("c", 5, lease)
		assert.Equal(w, []string{"B 00000"}, reasons(events))
		w.ack("c", events...)
	}
}

func independentConsumers(w *world) {
	w.logged(3, "A", "B")
	first := w.lease("one", 100, lease)
	require.Len(w, first, 6)
	w.ack("one", first...)
	assert.Equal(w, first, w.lease("two", 100, lease), "from the oldest on")
	assert.Empty(w, w.lease("one", 100, lease))
}

func manyTakers(w *world) {
	const devices, each, takers = 6, 8, 5
	names := make([]string, devices)
	for i := range names {
		names[i] = numbered("device-", i)
	}
	w.logged(each, names...)
	var mu sync.Mutex
	taken := map[mdm.EnrollmentID][]int64{}
	total := 0
	var group sync.WaitGroup
	for range takers {
		group.Go(func() {
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
				events, err := w.Events.Lease(w.Context(), "c", 7, time.Hour)
				if !assert.NoError(w, err) {
					return
				}
				mu.Lock()
				for _, e := range events {
					taken[e.Enrollment] = append(taken[e.Enrollment], e.Seq)
				}
				total += len(events)
				done := total >= devices*each
				mu.Unlock()
				if !assert.NoError(w, w.Events.Ack(w.Context(), "c", events)) || done {
					return
				}
			}
		})
	}
	group.Wait()
	assert.Equal(w, devices*each, total)
	for id, seqs := range taken {
		assert.Len(w, seqs, each)
		assert.True(w, slices.IsSorted(seqs), "%s: %v", id, seqs)
	}
}

func ackNothing(w *world) {
	w.ack("nobody")
	w.ack("nobody", mdm.Event{Seq: 1})
	w.logged(1, "A")
	w.ack("c", mdm.Event{Seq: 1 << 40}, mdm.Event{})
	assert.Len(w, w.lease("c", 10, lease), 1)
}
