package storagetest

import (
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
)

func eventCases() []testCase {
	return []testCase{
		{name: "the life of a command",
			why: "mdm.Event: one event for each change, written in its transaction, in order within an enrollment",
			run: lifeOfACommand},
		{name: "Seq is unique and increases",
			why: "mdm.Event: Seq increases within an enrollment; consumers remember the last one they saw",
			run: seqIncreases},
		{name: "looking on",
			why: "event.Log: Events returns up to limit events with a Seq greater than after, and changes nothing",
			run: lookingOn},
		{name: "an event holds no secret",
			why: "mdm.Event: events go to webhooks and logs",
			run: eventsHoldNoSecret},
		{name: "a watcher is told of events", needs: needsWatch,
			why: "storage.Watcher: fn is called after each commit that left something",
			run: watcherOfEvents},
	}
}

func (w *world) types(id mdm.EnrollmentID) []mdm.EventType {
	w.Helper()
	var out []mdm.EventType
	for _, e := range w.events(id) {
		out = append(out, e.Type)
	}
	return out
}

func lifeOfACommand(w *world) {
	d := w.enrolled("D")
	before := len(w.events(d.id))
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	d.expect(d.answer("NotNow", uuid), "")
	d.expect(d.idle(), uuid)
	d.expect(d.answer("Acknowledged", uuid), "")
	assert.Equal(w, []mdm.EventType{mdm.EventCommandQueued, mdm.EventCommandSent, mdm.EventCommandNotNow, mdm.EventCommandSent,
		mdm.EventCommandAcknowledged}, w.types(d.id)[before:])
	for _, e := range w.events(d.id)[before:] {
		assert.Equal(w, uuid, e.CommandUUID)
		assert.Equal(w, "SecurityInfo", e.RequestType)
		assert.Equal(w, mdm.Generation(1), e.Generation)
		assert.False(w, e.At.IsZero())
	}
}

func seqIncreases(w *world) {
	const n = 12
	devices := make([]*device, n)
	var group sync.WaitGroup
	for i := range devices {
		devices[i] = w.enrolled(numbered("device-", i))
		group.Go(func() {
			for range 3 {
				_, err := w.Command.Enqueue(w.Context(), to(security(), devices[i]))
				assert.NoError(w, err)
			}
		})
	}
	group.Wait()
	all, err := w.Events.Events(w.Context(), "", 0, 100_000)
	require.NoError(w, err)
	last := int64(0)
	for _, e := range all {
		require.Greater(w, e.Seq, last, "in the order of Seq, each once")
		last = e.Seq
	}
}

func lookingOn(w *world) {
	for i := range 5 {
		w.enrolled(numbered("device-", i))
	}
	all, err := w.Events.Events(w.Context(), "", 0, 100_000)
	require.NoError(w, err)
	require.NotEmpty(w, all)
	var paged []mdm.Event
	for after := int64(0); ; {
		page, err := w.Events.Events(w.Context(), "", after, 2)
		require.NoError(w, err)
		require.LessOrEqual(w, len(page), 2)
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		require.LessOrEqual(w, len(paged), len(all), "the pages do not end")
		after = page[len(page)-1].Seq
	}
	assert.Equal(w, all, paged)
	leased, err := w.Events.Lease(w.Context(), "consumer", 100_000, lease)
	require.NoError(w, err)
	assert.Len(w, leased, len(all), "looking took nothing away")
	again, err := w.Events.Events(w.Context(), "", 0, 100_000)
	require.NoError(w, err)
	assert.Equal(w, all, again, "nor does leasing")
}

func eventsHoldNoSecret(w *world) {
	d := w.enrolled("D")
	d.unlockToken("hunter2-unlock")
	d.bootstrapToken("hunter2-bootstrap")
	if w.Escrow != nil {
		w.expectSecrets(d.id, "hunter2-unlock", "hunter2-bootstrap")
	}
	for _, e := range w.events(d.id) {
		assert.NotContains(w, e.Reason+e.Subject+e.Status+e.Claimed, "hunter2")
	}
}

func watcherOfEvents(w *world) {
	told := make(chan bool, 100)
	stop := w.Watch.Watch(func(c storage.Change) { told <- c.Events })
	defer stop()
	w.enrolled("D")
	events := 0
	for len(told) > 0 {
		if <-told {
			events++
		}
	}
	assert.Equal(w, 2, events, "Authenticate and TokenUpdate are a commit each")
}
