package storagetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func concurrencyCases() []testCase {
	return []testCase{
		{name: "twenty devices and eight senders",
			why: "command.Store: safe for concurrent use; every command ends exactly once, none is lost, none is doubled",
			run: func(w *world) { traffic(w, w) }},
		{name: "one answer from many connections",
			why: "MDM protocol, commands: a device that repeats its answer on a second connection must not finish the command twice",
			run: oneAnswerManyTimes},
		{name: "fifty at one queue",
			why: "a device on two networks, a burst of orders and an operator at once: one enrollment is everybody's row, and nobody may be refused for it",
			run: fiftyAtOne},
		{name: "enrolling anew while commands come in",
			why: "checkin.Plan: a command is of one generation: what is queued around a re-enrollment is canceled with the old or runs in the new",
			run: reenrollUnderLoad},
	}
}

// traffic lets devices work while senders queue. Devices and senders alternate between the handles.
func traffic(w *world, handles ...*world) {
	w.Helper()
	fleet, senders, orders := 20, 8, 5
	if testing.Short() {
		fleet, senders, orders = 8, 4, 3
	}
	devices := make([]*device, fleet)
	for i := range devices {
		devices[i] = w.enrolled(numbered("device-", i))
		devices[i].w = handles[i%len(handles)]
	}
	all, total := mdm.IDs(ids(devices)...), senders*orders
	var sent, working sync.WaitGroup
	var done atomic.Bool
	for s := range senders {
		sent.Go(func() {
			for i := range orders {
				o := command.Order{Command: security(), To: all, UUID: fmt.Sprintf("order-%d-%d", s, i), Priority: command.Priority(i%3) * 10}
				for range 1 + i%2 { // some are sent again, as if the answer had been lost
					receipt, err := handles[s%len(handles)].Command.Enqueue(w.Context(), o)
					assert.NoError(w, err)
					assert.Equal(w, fleet, receipt.Queued)
				}
			}
		})
	}
	for i, d := range devices {
		working.Go(func() {
			for n := 0; ; n++ {
				last := done.Load()
				answered, err := d.session(n+i, total, handles[(n+i)%len(handles)])
				if !assert.NoError(w, err) || last && answered == 0 {
					return
				}
			}
		})
	}
	sent.Wait()
	done.Store(true)
	working.Wait()
	for _, d := range devices {
		entries := w.queue(d)
		seen := map[string]bool{}
		for _, e := range entries {
			assert.Equal(w, command.Acknowledged, e.State, "%s on %s", e.UUID, d.id)
			seen[e.UUID] = true
		}
		assert.Len(w, entries, total, "none is lost, none is doubled")
		assert.Len(w, seen, total)
		w.expectEvents(d.id, mdm.EventCommandAcknowledged, total)
		w.expectEvents(d.id, mdm.EventCommandQueued, total)
	}
	assert.Empty(w, w.aside(""))
}

// session answers what is offered over one handle: with a NotNow every now and then. It returns how many got an answer,
// and an error if there are more than there can be.
func (d *device) session(n, limit int, over *world) (int, error) {
	me := *d
	me.w = over
	offer, err := me.try(command.Request{Status: command.StatusIdle})
	answered := 0
	for ; offer != nil && err == nil; n++ {
		status := command.StatusAcknowledged
		if n%5 == 4 {
			status = command.StatusNotNow
		}
		if answered++; answered > limit {
			return answered, fmt.Errorf("the session of %s does not end", d.id)
		}
		offer, err = me.try(command.Request{Status: status, CommandUUID: offer.UUID})
	}
	return answered, err
}

func oneAnswerManyTimes(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			offer, err := d.try(command.Request{Status: command.StatusAcknowledged, CommandUUID: uuid})
			assert.NoError(w, err)
			assert.Nil(w, offer)
		})
	}
	group.Wait()
	assert.Equal(w, command.Acknowledged, w.state(d, uuid))
	assert.Empty(w, w.aside(""), "the same report is a repetition")
	w.expectEvents(d.id, mdm.EventCommandAcknowledged, 1)
}

func reenrollUnderLoad(w *world) {
	d := w.enrolled("D")
	const orders = 30
	var group sync.WaitGroup
	var refused atomic.Int32
	group.Go(func() {
		for i := range orders {
			receipt, err := w.Command.Enqueue(w.Context(), command.Order{Command: security(), To: mdm.IDs(d.id), UUID: numbered("order-", i)})
			assert.NoError(w, err)
			refused.Add(int32(receipt.RefusedAll))
		}
	})
	group.Go(func() {
		for range 3 {
			d.newIdentity()
			assert.NoError(w, d.authenticate())
			assert.NoError(w, d.tokenUpdate())
		}
	})
	group.Wait()
	require.Equal(w, mdm.Generation(4), w.row(d.id).Generation)
	d.run()
	entries := w.queue(d)
	assert.Len(w, entries, orders-int(refused.Load()))
	for _, e := range entries {
		want := command.Canceled
		if e.Generation == 4 {
			want = command.Acknowledged
		}
		assert.Equal(w, want, e.State, "%s of generation %d", e.UUID, e.Generation)
	}
}

func replicaCases() []testCase {
	return []testCase{
		{name: "what one has acknowledged, the other sees",
			why: "reads that decide a write go to the primary (capabilities L6)",
			run: replicasSee},
		{name: "a session over two replicas",
			why: "command.Store: on a shared database safe for many processes; a load balancer sends each request anywhere",
			run: replicasSession},
		{name: "traffic over two replicas",
			why: "command.Store: every command ends exactly once, none is lost, none is doubled",
			run: func(w *world) { traffic(w, w, w.again()) }},
		{name: "Seq over two replicas", needs: needsEvents,
			why: "mdm.Event: Seq increases within an enrollment, whoever writes",
			run: replicasSeq},
		{name: "the same order from two replicas",
			why: "command.Enqueuer: an order with a known UUID is not queued twice; a caller may repeat it anywhere",
			run: replicasEnqueue},
		{name: "an empty database opened by many",
			why: "replicas start together: each finds no tables, and one makes them",
			run: replicasStart},
	}
}

func replicasSee(w *world) {
	other := w.again()
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	assert.Equal(w, mdm.Enrolled, other.row(d.id).State)
	assert.Equal(w, command.Queued, other.state(d, uuid))
	if other.Push != nil {
		assert.Len(w, other.due(other.now()), 1)
	}
	if other.Deny != nil {
		w.deny(identity.Denial{Device: "D"})
		assert.NotEmpty(w, other.situation(d.id, mdm.Fingerprint{}).Denied)
	}
}

func replicasSession(w *world) {
	d := w.enrolled("D")
	replica := *d
	replica.w = w.again()
	a, b, c := w.queued(security(), d), w.queued(profiles(), d), w.queued(information("OSVersion"), d)
	d.expect(d.idle(), a)
	replica.expect(replica.answer("NotNow", a), b)
	d.expect(d.answer("Acknowledged", b), c)
	replica.expect(replica.answer("Acknowledged", c), "")
	assert.Equal(w, []string{a}, d.run())
}

func replicasSeq(w *world) {
	handles := []*world{w, w.again()}
	d := w.enrolled("D")
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for range 5 {
				_, err := handles[i%2].Command.Enqueue(w.Context(), to(security(), d))
				assert.NoError(w, err)
			}
		})
	}
	group.Wait()
	seqs := map[int64]bool{}
	for _, e := range w.events(d.id) {
		seqs[e.Seq] = true
	}
	assert.Len(w, seqs, len(w.events(d.id)), "each event has a Seq of its own")
	entries := map[int64]bool{}
	for _, e := range w.queue(d) {
		entries[e.Seq] = true
	}
	assert.Len(w, entries, 20, "each entry has one, too")
}

func replicasEnqueue(w *world) {
	handles := []*world{w, w.again()}
	d := w.enrolled("D")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			receipt, err := handles[i%2].Command.Enqueue(w.Context(), command.Order{Command: security(), To: mdm.IDs(d.id), UUID: "order-1"})
			assert.NoError(w, err)
			assert.Equal(w, 1, receipt.Queued)
		})
	}
	group.Wait()
	assert.Equal(w, []string{"order-1"}, d.run())
	w.expectEvents(d.id, mdm.EventCommandQueued, 1)
}

func replicasStart(w *world) {
	for round := range 8 { // whatever goes wrong here goes wrong seldom
		fresh := numbered(w.name+"-", round)
		worlds := make([]*world, 6)
		var group sync.WaitGroup
		for i := range worlds {
			group.Go(func() {
				worlds[i] = &world{TB: w.TB, Stores: w.cfg.Open(w.TB, fresh), cfg: w.cfg, name: fresh, n: i * 1000}
			})
		}
		group.Wait()
		for i, other := range worlds {
			require.NotNil(w, other, "it did not open")
			d := other.enrolled(numbered("device-", i))
			assert.Equal(w, mdm.Enrolled, worlds[0].row(d.id).State)
		}
	}
}

// fiftyAtOne lets senders, a canceling operator and connections of one device work on one queue, from two handles.
func fiftyAtOne(w *world) {
	w.Helper()
	d := w.enrolled("D")
	other := w.again()
	handles := []*world{w, other}
	var all sync.WaitGroup
	var mu sync.Mutex
	queued := map[string]bool{}
	for n := range 50 {
		h := handles[n%2]
		all.Go(func() {
			switch n % 5 {
			case 0, 1: // a sender
				receipt, err := h.Command.Enqueue(w.Context(), command.Order{Command: security(), To: mdm.IDs(d.id)})
				if assert.NoError(w, err) && assert.Equal(w, 1, receipt.Queued) {
					mu.Lock()
					defer mu.Unlock()
					queued[receipt.UUID] = true
				}
			case 2: // a sender who takes it back
				uuid := fmt.Sprint("canceled-", n)
				_, err := h.Command.Enqueue(w.Context(), command.Order{Command: security(), To: mdm.IDs(d.id), UUID: uuid})
				assert.NoError(w, err)
				_, err = h.Command.Cancel(w.Context(), uuid, mdm.Targets{})
				assert.NoError(w, err)
			default: // a connection of the device
				one := *d
				one.w = h
				_, err := one.session(n, 200, h)
				assert.NoError(w, err)
			}
		})
	}
	all.Wait()
	for range 50 { // what the sessions left open
		if n, err := d.session(0, 200, w); !assert.NoError(w, err) || n == 0 {
			break
		}
	}
	seen := map[string]bool{}
	for _, e := range w.queue(d) {
		assert.False(w, seen[e.UUID], "%s twice", e.UUID)
		seen[e.UUID] = true
		if queued[e.UUID] {
			assert.Equal(w, command.Acknowledged, e.State, e.UUID)
		}
	}
	for uuid := range queued {
		assert.True(w, seen[uuid], "%s is lost", uuid)
	}
}
