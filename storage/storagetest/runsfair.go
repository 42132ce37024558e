package storagetest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

func runFair(w *world) {
	d := w.enrolled("D")
	at := w.now()
	for i := range 30 {
		r := aRun(fmt.Sprintf("many%02d", i), d, at.Add(-time.Hour))
		r.Workflow = "many"
		w.beginRun(r)
	}
	w.beginRun(aRun("few1", d, at))
	w.beginRun(aRun("few2", d, at))
	newer := aRun("newer", d, at.Add(-2*time.Hour))
	newer.Version = 2
	w.beginRun(newer)
	lease := func(holder string, at time.Time, max int) []string {
		w.Helper()
		known := []workflow.Known{{Workflow: "many", Version: 1}, {Workflow: "test", Version: 1}, {Workflow: "none", Version: 1}}
		runs, err := w.Runs.LeaseRuns(w.Context(), known, holder, at, time.Minute, max)
		require.NoError(w, err)
		return names(runs)
	}
	assert.Equal(w, []string{"many00", "few1"}, lease("one", at, 2))
	assert.Equal(w, []string{"many01", "few2", "many02"}, lease("two", at, 3))
	assert.Len(w, lease("three", at, 100), 27, "all but those of a newer version")
	assert.Empty(w, lease("four", at, 100))
	assert.Len(w, lease("four", at.Add(time.Minute), 100), 32, "the leases ended")
	runs, err := w.Runs.LeaseRuns(w.Context(), []workflow.Known{{Workflow: "test", Version: 2}}, "newer", at, time.Minute, 100)
	require.NoError(w, err)
	assert.Equal(w, []string{"newer"}, names(runs))
}

func runUsers(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	users := []*device{d.user("U"), d.user("V"), other.user("U")}
	e := w.engine(w.now)
	var runs []workflow.Run
	for _, u := range users {
		r, _, err := e.Begin(w.Context(), "waits", u.id, "", nil)
		require.NoError(w, err)
		runs = append(runs, r)
	}
	require.NoError(w, e.Flush(w.Context()))
	require.NoError(w, e.Consume(w.Context(), mdm.Event{Seq: 1 << 40, Type: mdm.EventTokenUpdated, Enrollment: d.id}))
	require.NoError(w, e.Flush(w.Context()))
	assert.Equal(w, workflow.Open, w.runNow(runs[0].ID).Status, "an event of the device wakes no user")
	d.checkOut()
	w.deliver(e)
	for i, want := range []workflow.Status{workflow.Canceled, workflow.Canceled, workflow.Open} {
		assert.Equal(w, want, w.runNow(runs[i].ID).Status, "%s", users[i].id)
	}
}
