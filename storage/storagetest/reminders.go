package storagetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/storage"
)

func reminderCases() []testCase {
	return []testCase{
		{name: "each stage once",
			why: "expiry.Store: if this stage or a more urgent one was told, Remind returns false and nothing is changed",
			run: remindOnce},
		{name: "whose note it is",
			why: "expiry.Store: a note belongs to kind, tenant, name and end together; a renewed credential begins anew",
			run: remindApart},
		{name: "many at once", why: "expiry.Store: of several that are called at once with the same arguments, one returns true",
			run: remindAtOnce},
		{name: "told on one handle, asked on another", needs: needsDurable,
			why: "package expiry: each is told once, whatever is started again",
			run: remindAgain},
		{name: "notes are not kept for ever", needs: needsSweep,
			why: "expiry.Store: a note may be removed once its NotAfter is more than KeepNotes ago, not before",
			run: remindSwept},
	}
}

// ending returns the event of a credential's end.
func ending(tenant, name string, notAfter time.Time) mdm.Event {
	return mdm.Event{Type: mdm.EventExpiring, At: notAfter.AddDate(0, 0, -30), Enrollment: mdm.EnrollmentID{Tenant: tenant}, Subject: "push-certificate",
		Name: name, NotAfter: notAfter, Reason: "it ends"}
}

func (w *world) remind(e mdm.Event, stage expiry.Stage) bool {
	w.Helper()
	told, err := w.Expiry.Remind(w.Context(), e, stage)
	require.NoError(w, err)
	return told
}

var endOfJuly = time.Date(2027, 7, 31, 12, 0, 0, 0, time.UTC)

func remindOnce(w *world) {
	e := ending("", "topic", endOfJuly)
	for _, step := range []struct {
		stage expiry.Stage
		told  bool
	}{{60, true}, {60, false}, {7, true}, {60, false}, {30, false}, {7, false}, {expiry.Expired, true}, {expiry.Expired, false}, {1, false}} {
		assert.Equal(w, step.told, w.remind(e, step.stage), "stage %d", step.stage)
	}
	events := w.events(mdm.EnrollmentID{})
	require.Len(w, events, 3, "an event for each that was told")
	e.Seq = events[0].Seq
	assert.True(w, e.NotAfter.Equal(events[0].NotAfter) && e.At.Equal(events[0].At))
	events[0].NotAfter, events[0].At = e.NotAfter, e.At
	assert.Equal(w, e, events[0])
}

func remindApart(w *world) {
	assert.True(w, w.remind(ending("", "topic", endOfJuly), 7))
	assert.True(w, w.remind(ending("", "topic 2", endOfJuly), 7))
	assert.True(w, w.remind(ending("tenant", "topic", endOfJuly), 7))
	assert.True(w, w.remind(ending("", "topic", endOfJuly.AddDate(1, 0, 0)), 30), "it was renewed")
	assert.False(w, w.remind(ending("", "topic", endOfJuly), 7), "another proxy shows the former one")
	other := ending("", "topic", endOfJuly)
	other.Subject = "tls-server"
	assert.True(w, w.remind(other, 7))
	assert.Len(w, w.events(mdm.EnrollmentID{Tenant: "tenant"}), 1)
}

func remindAtOnce(w *world) {
	var told atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			ok, err := w.Expiry.Remind(w.Context(), ending("", "topic", endOfJuly), 30)
			assert.NoError(w, err)
			if ok {
				told.Add(1)
			}
		})
	}
	group.Wait()
	assert.Equal(w, int64(1), told.Load())
	assert.Len(w, w.events(mdm.EnrollmentID{}), 1)
}

func remindAgain(w *world) {
	w.session(needsExpiry, func(w *world) { assert.True(w, w.remind(ending("", "topic", endOfJuly), 30)) })
	w.session(needsExpiry, func(w *world) { assert.False(w, w.remind(ending("", "topic", endOfJuly), 30)) })
}

func remindSwept(w *world) {
	require.True(w, w.remind(ending("", "topic", endOfJuly), 30))
	sweep := func(at time.Time) {
		_, err := w.Sweep.Sweep(w.Context(), at, storage.Retention{})
		require.NoError(w, err)
	}
	sweep(endOfJuly.Add(expiry.KeepNotes - time.Hour))
	assert.False(w, w.remind(ending("", "topic", endOfJuly), 30))
	sweep(endOfJuly.Add(expiry.KeepNotes + time.Hour))
	assert.True(w, w.remind(ending("", "topic", endOfJuly), 30))
}
