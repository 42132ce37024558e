package storagetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// world is one database under test and a clock.
type world struct {
	testing.TB
	storage.Stores

	cfg  Config
	name string
	mu   sync.Mutex
	at   time.Time
	n    int // certificates and tokens made
}

// require skips the test if the store lacks something that it needs.
func (w *world) require(need feature) {
	w.Helper()
	if lacks := missing(w.Stores, need); lacks != "" {
		w.Skipf("the store has no Stores.%s", lacks)
	}
}

// again returns a world on another handle of the same data.
func (w *world) again() *world {
	w.Helper()
	return &world{TB: w.TB, Stores: w.cfg.Open(w.TB, w.name), cfg: w.cfg, name: w.name, at: w.now(), n: w.number() * 1_000_000}
}

// session runs f with a handle that is closed when f returns. Of a world that needs durability no other is open.
func (w *world) session(need feature, f func(w *world)) {
	w.Helper()
	t, ok := w.TB.(*testing.T)
	require.True(w, ok)
	t.Run("handle", func(t *testing.T) {
		other := &world{TB: t, Stores: w.cfg.Open(t, w.name), cfg: w.cfg, name: w.name, at: w.now(), n: w.number() * 1_000_000}
		other.require(need)
		f(other)
	})
	if w.Failed() {
		w.FailNow()
	}
}

// now returns whole seconds that only grow, and are later than the store's clock: so what the store dated itself is due.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := time.Now().UTC().Truncate(time.Second).Add(time.Second)
	if !t.After(w.at) {
		t = w.at.Add(time.Second)
	}
	w.at = t
	return t
}

func (w *world) number() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return w.n
}

// update carries out a plan as it is.
func (w *world) update(id mdm.EnrollmentID, plan checkin.Plan) {
	w.Helper()
	require.NoError(w, w.Checkin.Update(w.Context(), checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil }))
}

// situation returns what a store knows, and changes nothing.
func (w *world) situation(id mdm.EnrollmentID, fp mdm.Fingerprint) checkin.Situation {
	w.Helper()
	var out checkin.Situation
	err := w.Checkin.Update(w.Context(), checkin.Key{ID: id, Fingerprint: fp}, func(s *checkin.Situation) (checkin.Plan, error) {
		out = *s
		return checkin.Plan{}, nil
	})
	require.NoError(w, err)
	return out
}

// row returns the stored row of a channel, nil if there is none.
func (w *world) row(id mdm.EnrollmentID) *mdm.Enrollment {
	w.Helper()
	return w.situation(id, mdm.Fingerprint{}).Enrollment
}

func (w *world) enqueue(o command.Order) command.Receipt {
	w.Helper()
	receipt, err := w.Command.Enqueue(w.Context(), o)
	require.NoError(w, err)
	return receipt
}

// queued puts a command on the queues of channels and returns its UUID.
func (w *world) queued(c command.Command, to ...*device) string {
	w.Helper()
	receipt := w.enqueue(command.Order{Command: c, To: mdm.IDs(ids(to)...)})
	require.Equal(w, len(to), receipt.Queued, "every enrolled target gets the command")
	return receipt.UUID
}

func ids(devices []*device) []mdm.EnrollmentID {
	out := make([]mdm.EnrollmentID, len(devices))
	for i, d := range devices {
		out[i] = d.id
	}
	return out
}

func (w *world) entries(q command.Query) []command.Entry {
	w.Helper()
	var out []command.Entry
	for e, err := range w.Command.Entries(w.Context(), q) {
		require.NoError(w, err)
		out = append(out, e)
	}
	return out
}

// queue returns the queue of a channel, open and finished.
func (w *world) queue(d *device, states ...command.State) []command.Entry {
	w.Helper()
	return w.entries(command.Query{Tenant: d.id.Tenant, From: d.id, States: states, Results: true})
}

// entry returns a command on the queue of a channel; it must be there once.
func (w *world) entry(d *device, uuid string) command.Entry {
	w.Helper()
	found := w.entries(command.Query{Tenant: d.id.Tenant, From: d.id, UUID: uuid, Results: true})
	require.Len(w, found, 1, "entries of %s on the queue of %s", uuid, d.id)
	return found[0]
}

func (w *world) state(d *device, uuid string) command.State {
	w.Helper()
	return w.entry(d, uuid).State
}

func (w *world) aside(tenant string) []command.Aside {
	w.Helper()
	var out []command.Aside
	for a, err := range w.Command.Aside(w.Context(), tenant, 0, 0) {
		require.NoError(w, err)
		out = append(out, a)
	}
	return out
}

// events returns what the log holds of a channel, nil if the store has no log.
func (w *world) events(id mdm.EnrollmentID) []mdm.Event {
	w.Helper()
	if w.Events == nil {
		return nil
	}
	all, err := w.Events.Events(w.Context(), id.Tenant, 0, 1_000_000)
	require.NoError(w, err)
	var out []mdm.Event
	for _, e := range all {
		if e.Enrollment == id {
			out = append(out, e)
		}
	}
	return out
}

// count returns how many events of a type the log holds of a channel.
func (w *world) count(id mdm.EnrollmentID, t mdm.EventType) int {
	w.Helper()
	n := 0
	for _, e := range w.events(id) {
		if e.Type == t {
			n++
		}
	}
	return n
}

// expectEvents checks the number of events of a type, where the store has a log.
func (w *world) expectEvents(id mdm.EnrollmentID, t mdm.EventType, n int) {
	w.Helper()
	if w.Events != nil {
		require.Equal(w, n, w.count(id, t), "events %s of %s", t, id)
	}
}

const lease = time.Minute

// due takes the pushes that are due.
func (w *world) due(at time.Time) []push.Target {
	w.Helper()
	targets, err := w.Push.DuePushes(w.Context(), at, 10_000, lease)
	require.NoError(w, err)
	return targets
}

// woken returns the channels of pushes that are due.
func (w *world) woken(at time.Time) []mdm.EnrollmentID {
	w.Helper()
	var out []mdm.EnrollmentID
	for _, t := range w.due(at) {
		out = append(out, t.Enrollment)
	}
	return out
}

// drain delivers every push that is due, so that a test begins with none.
func (w *world) drain() {
	w.Helper()
	w.settle(w.due(w.now()), push.Result{Outcome: push.Delivered})
	require.Empty(w, w.due(w.now().Add(2*lease)), "a push that was delivered is done")
}

// settle gives the same result for every target.
func (w *world) settle(targets []push.Target, r push.Result) {
	w.Helper()
	results := make([]push.Result, len(targets))
	for i, t := range targets {
		results[i] = r
		results[i].Target, results[i].At = t, w.now()
	}
	require.NoError(w, w.Push.Feedback(w.Context(), results))
}

// canceled returns a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func numbered(prefix string, n int) string { return fmt.Sprintf("%s%05d", prefix, n) }
