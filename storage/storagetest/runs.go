package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
)

func runCases() []testCase {
	return []testCase{
		{name: "begun once",
			why: "workflow.Store: BeginRun returns false and the run that is there, if there is one of that ID, or an open one with the same Key",
			run: runBegunOnce},
		{name: "for whom there is none",
			why: "workflow.Store: NotFound if the enrollment is unknown, Forbidden if it is not Enrolled",
			run: runForNobody},
		{name: "every field",
			why: "workflow.Run: what is written is read",
			run: runFields},
		{name: "leased to one",
			why: "workflow.Store: LeaseRuns gives runs whose step is due to one holder at a time",
			run: runLeases},
		{name: "workflows take turns",
			why: "workflow.Fair: no workflow waits for the many runs of another; LeaseRuns gives no run of a newer version",
			run: runFair},
		{name: "a step is one transaction",
			why: "workflow.Store: SettleRun writes commands, state and event of a step together",
			run: runSettled},
		{name: "a step that comes too late",
			why: "workflow.ErrLost: its lease ended and somebody else took the run, or the run is over; nothing of the step was written",
			run: runLost},
		{name: "what the queue does not take",
			why: "workflow.Settlement: Refused is called with the UUID of an order that the queue did not take, and why",
			run: runRefused},
		{name: "a step that settle gives up",
			why: "workflow.Store: if settle panics, nothing is written and the store goes on",
			run: runPanics},
		{name: "answers and events wake",
			why: "workflow.Run: any one of Waits is enough, and what happens while a step is taken is not missed",
			run: runWoken},
		{name: "ends with its generation",
			why: "workflow.Run: it does not outlive the generation of its enrollment",
			run: runOutlived},
		{name: "users end with their device",
			why: "workflow.Store: with users TellRuns tells the runs of a device's users, too; workflow.Run: it does not outlive the generation of its enrollment",
			run: runUsers},
		{name: "the whole of it",
			why: "package workflow: a step happened or did not, and the engine goes from one to the next",
			run: runWhole},
		{name: "many engines",
			why: "workflow.Engine: any number of processes on one Store; each step's commands go out once",
			run: runRace},
		{name: "listed and counted",
			why: "workflow.Store: Runs are ordered by ID, of one tenant, and counted by workflow, status and step",
			run: runsListed},
		{name: "changed by an operator",
			why: "workflow.Store: ChangeRun is NotFound for a run that is over or another tenant's",
			run: runChanged},
		{name: "canceled with its commands",
			why: "workflow.Engine: Cancel withdraws the commands of a run that have no answer, in the transaction that ends it",
			run: runCanceled},
		{name: "on another handle", needs: needsDurable,
			why: "package workflow: what was begun goes on after a restart",
			run: runAgain},
		{name: "not kept for ever", needs: needsSweep,
			why: "storage.Retention: runs that are over are kept as long as events, counted from their end",
			run: runsSwept},
	}
}

// aRun returns a run of device d, as an engine begins it.
func aRun(id string, d *device, at time.Time) workflow.Run {
	return workflow.Run{ID: id, Workflow: "test", Version: 1, Enrollment: d.id, Step: "first", State: json.RawMessage(`{"n":1}`),
		BegunAt: at, MovedAt: at, Due: at}
}

func (w *world) beginRun(r workflow.Run) (workflow.Run, bool) {
	w.Helper()
	out, fresh, err := w.Runs.BeginRun(w.Context(), r)
	require.NoError(w, err)
	return out, fresh
}

func (w *world) leaseRuns(holder string, at time.Time, workflows ...string) []workflow.Run {
	w.Helper()
	if workflows == nil {
		workflows = []string{"test"}
	}
	var known []workflow.Known
	for _, name := range workflows {
		known = append(known, workflow.Known{Workflow: name, Version: 1})
	}
	runs, err := w.Runs.LeaseRuns(w.Context(), known, holder, at, time.Minute, 10)
	require.NoError(w, err)
	return runs
}

func (w *world) runNow(id string) workflow.Run {
	w.Helper()
	r, err := w.Runs.Run(w.Context(), "", id)
	require.NoError(w, err)
	return r
}

func names(runs []workflow.Run) []string {
	out := []string{}
	for _, r := range runs {
		out = append(out, r.ID)
	}
	return out
}

func runBegunOnce(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	first := aRun("a", d, w.now())
	first.Key = "key"
	r, fresh := w.beginRun(first)
	assert.True(w, fresh)
	assert.Equal(w, mdm.Generation(1), r.Generation)
	assert.Equal(w, workflow.Open, r.Status)
	_, fresh = w.beginRun(first)
	assert.False(w, fresh, "the same again")
	second := aRun("b", d, w.now())
	second.Key = "key"
	r, fresh = w.beginRun(second)
	assert.False(w, fresh)
	assert.Equal(w, "a", r.ID, "the key is taken")
	third := aRun("c", other, w.now())
	third.Key = "key"
	_, fresh = w.beginRun(third)
	assert.True(w, fresh, "of another enrollment")
	for _, id := range []string{"d", "e"} {
		_, fresh = w.beginRun(aRun(id, d, w.now()))
		assert.True(w, fresh, "without a key")
	}
	_, err := w.Runs.ChangeRun(w.Context(), "", "a", func(r *workflow.Run) ([]string, error) {
		r.Status, r.EndedAt = workflow.Done, w.now()
		return nil, nil
	})
	require.NoError(w, err)
	_, fresh = w.beginRun(second)
	assert.True(w, fresh, "the key is free again")
	_, fresh = w.beginRun(first)
	assert.False(w, fresh, "an ID never is")
	begun := 0
	for _, e := range w.events(d.id) {
		if e.Type == mdm.EventWorkflowBegun {
			begun++
			assert.Equal(w, "test", e.Subject)
		}
	}
	assert.Equal(w, 4, begun)

	var group sync.WaitGroup
	var mu sync.Mutex
	freshes := 0
	for i := range 8 {
		group.Go(func() {
			r := aRun(fmt.Sprint("race", i), other, w.now())
			r.Key = "race"
			_, fresh, err := w.Runs.BeginRun(w.Context(), r)
			assert.NoError(w, err)
			mu.Lock()
			defer mu.Unlock()
			if fresh {
				freshes++
			}
		})
	}
	group.Wait()
	assert.Equal(w, 1, freshes, "of many at once with one key")
}

func runForNobody(w *world) {
	d := w.device(mdm.EnrollmentID{Device: "D"})
	_, _, err := w.Runs.BeginRun(w.Context(), aRun("a", d, w.now()))
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
	d.enroll()
	d.checkOut()
	_, _, err = w.Runs.BeginRun(w.Context(), aRun("a", d, w.now()))
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(err))
	d.reenroll()
	for what, change := range map[string]func(*workflow.Run){
		"no ID":      func(r *workflow.Run) { r.ID = "" },
		"long key":   func(r *workflow.Run) { r.Key = strings.Repeat("k", 256) },
		"no name":    func(r *workflow.Run) { r.Workflow = "" },
		"long state": func(r *workflow.Run) { r.State = json.RawMessage(`"` + strings.Repeat("s", workflow.MaxState) + `"`) },
	} {
		r := aRun("a", d, w.now())
		change(&r)
		_, _, err = w.Runs.BeginRun(w.Context(), r)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), what)
	}
	_, err = w.Runs.Run(w.Context(), "", "a")
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "nothing was written")
}

func runFields(w *world) {
	d := w.enrolled("D")
	at := w.now().Add(123456 * time.Microsecond)
	want := aRun("a", d, at)
	want.Key, want.Note = "key ü", "where it stands"
	w.beginRun(want)
	_, err := w.Runs.ChangeRun(w.Context(), "", "a", func(r *workflow.Run) ([]string, error) {
		r.State = json.RawMessage(`{"text":"ü & <x>"}`)
		r.Sent = map[string]workflow.Sent{"one": {UUID: "u1"}, "two": {UUID: "u2", Refused: "why"}}
		r.Waits = workflow.Waits{Answers: []string{"one"}, Events: []mdm.EventType{mdm.EventActive}}
		r.Signal = &mdm.Event{Seq: 7, Type: mdm.EventActive, At: at, Enrollment: d.id}
		r.Missed = []mdm.Event{{Seq: 8, Type: mdm.EventQuiet, At: at, Enrollment: d.id}}
		r.Due, r.Turns, r.Attempts, r.Error = at.Add(time.Hour), 3, 2, "it failed"
		r.Holder, r.LeasedUntil, r.MovedAt, r.Step = "me", at.Add(time.Minute), at.Add(time.Second), "second"
		want = r.Clone()
		return nil, nil
	})
	require.NoError(w, err)
	got := w.runNow("a")
	assert.JSONEq(w, string(want.State), string(got.State))
	got.State = want.State
	for _, t := range []struct{ want, got *time.Time }{{&want.Due, &got.Due}, {&want.LeasedUntil, &got.LeasedUntil}, {&want.BegunAt, &got.BegunAt},
		{&want.MovedAt, &got.MovedAt}, {&want.EndedAt, &got.EndedAt}, {&want.Signal.At, &got.Signal.At}, {&want.Missed[0].At, &got.Missed[0].At}} {
		assert.True(w, t.want.Equal(*t.got), "%v %v", *t.want, *t.got)
		*t.got = *t.want
	}
	assert.Equal(w, want, got)
}

func runLeases(w *world) {
	d := w.enrolled("D")
	at := w.now()
	later := aRun("later", d, at)
	later.Due = at.Add(time.Hour)
	told := aRun("told", d, at)
	told.Due = time.Time{}
	other := aRun("other", d, at)
	other.Workflow = "other"
	earlier := aRun("earlier", d, at)
	earlier.Due = at.Add(-time.Hour)
	for _, r := range []workflow.Run{aRun("a", d, at), later, told, other, earlier} {
		w.beginRun(r)
	}
	assert.Equal(w, []string{"earlier", "a"}, names(w.leaseRuns("one", at)), "what is due longest comes first")
	assert.Empty(w, w.leaseRuns("two", at.Add(59*time.Second)))
	got := w.leaseRuns("two", at.Add(61*time.Second))
	assert.ElementsMatch(w, []string{"earlier", "a"}, names(got), "a lease ends")
	assert.Equal(w, "two", got[0].Holder)
	assert.Equal(w, []string{"later"}, names(w.leaseRuns("two", at.Add(time.Hour+time.Second), "test"))[2:])
	assert.Equal(w, []string{"other"}, names(w.leaseRuns("two", at, "other", "unknown")))
	none, err := w.Runs.LeaseRuns(w.Context(), nil, "x", at.Add(time.Hour), time.Minute, 10)
	require.NoError(w, err)
	assert.Empty(w, none)
}

func runSettled(w *world) {
	d := w.enrolled("D")
	at := w.now()
	w.beginRun(aRun("a", d, at))
	before := w.queued(command.ProfileList{}, d)
	require.Len(w, w.leaseRuns("me", at), 1)
	out, err := w.Runs.SettleRun(w.Context(), "a", "me", func(r *workflow.Run, e *mdm.Enrollment) workflow.Settlement {
		assert.Equal(w, d.id, e.ID)
		r.Step, r.Holder, r.LeasedUntil, r.Due = "second", "", time.Time{}, time.Time{}
		r.Status, r.EndedAt, r.Note, r.MovedAt = workflow.Done, at, "done with it", at
		return workflow.Settlement{Orders: []command.Order{{Command: command.SecurityInfo{}, UUID: "mine", To: mdm.IDs(d.id)}}, Drops: []string{before, "unknown"}}
	})
	require.NoError(w, err)
	assert.Equal(w, "second", out.Step)
	assert.Equal(w, "second", w.runNow("a").Step)
	entries := w.queue(d)
	states := map[string]command.State{}
	for _, e := range entries {
		states[e.UUID] = e.State
	}
	assert.Equal(w, map[string]command.State{"mine": command.Queued, before: command.Canceled}, states)
	last := w.events(d.id)
	assert.Equal(w, mdm.EventWorkflowDone, last[len(last)-1].Type)
	assert.Equal(w, "done with it", last[len(last)-1].Reason)
	assert.Equal(w, "a", last[len(last)-1].Name)
	d.expect(d.idle(), "mine")
}

func runLost(w *world) {
	d := w.enrolled("D")
	at := w.now()
	w.beginRun(aRun("a", d, at))
	settle := func(holder string) error {
		_, err := w.Runs.SettleRun(w.Context(), "a", holder, func(r *workflow.Run, _ *mdm.Enrollment) workflow.Settlement {
			r.Step = "taken by " + holder
			return workflow.Settlement{Orders: []command.Order{{Command: command.SecurityInfo{}, UUID: holder, To: mdm.IDs(d.id)}}}
		})
		return err
	}
	assert.ErrorIs(w, settle("nobody"), workflow.ErrLost)
	require.Len(w, w.leaseRuns("one", at), 1)
	require.Len(w, w.leaseRuns("two", at.Add(2*time.Minute)), 1)
	assert.ErrorIs(w, settle("one"), workflow.ErrLost)
	require.NoError(w, settle("two"))
	assert.Equal(w, "taken by two", w.runNow("a").Step)
	_, err := w.Runs.ChangeRun(w.Context(), "", "a", func(r *workflow.Run) ([]string, error) {
		r.Status, r.EndedAt = workflow.Canceled, at
		return nil, nil
	})
	require.NoError(w, err)
	assert.ErrorIs(w, settle("two"), workflow.ErrLost, "it is over")
	_, err = w.Runs.SettleRun(w.Context(), "unknown", "one", nil)
	assert.ErrorIs(w, err, workflow.ErrLost)
	require.Len(w, w.queue(d), 1)
}

func runRefused(w *world) {
	d := w.enrolled("D") // a Mac
	at := w.now()
	w.beginRun(aRun("a", d, at))
	w.enqueue(command.Order{Command: command.ProfileList{}, To: mdm.IDs(d.id), Collapse: "list"})
	require.Len(w, w.leaseRuns("me", at), 1)
	refused := map[string]error{}
	_, err := w.Runs.SettleRun(w.Context(), "a", "me", func(r *workflow.Run, _ *mdm.Enrollment) workflow.Settlement {
		r.Note = "refused: "
		return workflow.Settlement{
			Orders: []command.Order{
				{Command: command.EnableLostMode{Message: new("m")}, UUID: "phones only", To: mdm.IDs(d.id)},
				{Command: command.SecurityInfo{}, UUID: "fine", To: mdm.IDs(d.id)},
				{Command: command.InstallProfile{}, UUID: "malformed", To: mdm.IDs(d.id)},
				{Command: command.ProfileList{}, UUID: "collapsed", To: mdm.IDs(d.id), Collapse: "list"},
			},
			Refused: func(uuid string, err error) { refused[uuid] = err; r.Note += uuid + ", " },
		}
	})
	require.NoError(w, err)
	assert.Len(w, refused, 3)
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(refused["phones only"]))
	assert.Equal(w, mdm.Malformed, mdm.CodeOf(refused["malformed"]))
	assert.ErrorIs(w, refused["collapsed"], workflow.ErrCollapsed)
	assert.Contains(w, w.runNow("a").Note, "phones only, ", "what Refused makes of the run is written")
	require.Len(w, w.queue(d), 2)
}

func runPanics(w *world) {
	d := w.enrolled("D")
	w.beginRun(aRun("a", d, w.now()))
	w.leaseRuns("me", w.now())
	assert.Panics(w, func() {
		_, _ = w.Runs.SettleRun(w.Context(), "a", "me", func(r *workflow.Run, _ *mdm.Enrollment) workflow.Settlement {
			r.Step = "never"
			panic("bug")
		})
	})
	assert.Equal(w, "first", w.runNow("a").Step)
}

func runWoken(w *world) {
	d := w.enrolled("D")
	at := w.now()
	r := aRun("a", d, at)
	r.Due = time.Time{}
	w.beginRun(r)
	_, err := w.Runs.ChangeRun(w.Context(), "", "a", func(r *workflow.Run) ([]string, error) {
		r.Waits = workflow.Waits{Answers: []string{"mine"}, Events: []mdm.EventType{mdm.EventActive}}
		r.Sent = map[string]workflow.Sent{"mine": {UUID: "u"}}
		return nil, nil
	})
	require.NoError(w, err)
	tell := func(e mdm.Event) {
		w.Helper()
		e.Enrollment = d.id
		require.NoError(w, w.Runs.TellRuns(w.Context(), d.id, false, func(r *workflow.Run) bool { return r.Hear(e, at) }))
	}
	tell(mdm.Event{Seq: 1, Type: mdm.EventCommandAcknowledged, CommandUUID: "another"})
	tell(mdm.Event{Seq: 2, Type: mdm.EventQuiet})
	assert.Empty(w, w.leaseRuns("me", at))
	tell(mdm.Event{Seq: 3, Type: mdm.EventCommandFailed, CommandUUID: "u"})
	got := w.leaseRuns("me", at)
	require.Len(w, got, 1)
	require.NotNil(w, got[0].Signal)
	assert.Equal(w, int64(3), got[0].Signal.Seq)
	tell(mdm.Event{Seq: 4, Type: mdm.EventActive}) // in the middle of the step
	assert.Equal(w, int64(4), w.runNow("a").Missed[0].Seq)
}

func runsListed(w *world) {
	d, theirs := w.enrolled("D"), w.enrolledID(mdm.EnrollmentID{Tenant: "t", Device: "D"})
	user := d.user("U")
	for i, of := range []*device{d, user, theirs, d} {
		r := aRun(fmt.Sprint("run", i), of, w.now())
		if i == 3 {
			r.Step = "second"
		}
		w.beginRun(r)
	}
	list := func(q workflow.Query) []string {
		w.Helper()
		var out []workflow.Run
		for r, err := range w.Runs.Runs(w.Context(), q) {
			require.NoError(w, err)
			out = append(out, r)
		}
		return names(out)
	}
	assert.Equal(w, []string{"run0", "run1", "run3"}, list(workflow.Query{}))
	assert.Equal(w, []string{"run2"}, list(workflow.Query{Tenant: "t"}))
	assert.Equal(w, []string{"run1"}, list(workflow.Query{Enrollment: user.id}))
	assert.Equal(w, []string{"run1"}, list(workflow.Query{After: "run0", Limit: 1}))
	assert.Equal(w, []string{"run3"}, list(workflow.Query{Step: "second", Workflow: "test", Status: []workflow.Status{workflow.Open, workflow.Done}}))
	assert.Empty(w, list(workflow.Query{Workflow: "other"}))
	assert.Empty(w, list(workflow.Query{Status: []workflow.Status{workflow.Done}}))
	counts, err := w.Runs.CountRuns(w.Context(), "", "")
	require.NoError(w, err)
	assert.Equal(w, []workflow.Count{{Workflow: "test", Status: workflow.Open, Step: "first", Runs: 2}, {Workflow: "test", Status: workflow.Open, Step: "second", Runs: 1}}, counts)
	for _, err := range w.Runs.Runs(w.Context(), workflow.Query{}) {
		require.NoError(w, err)
		break // a reader that stops early holds nothing up
	}
	_, fresh := w.beginRun(aRun("after", d, w.now()))
	assert.True(w, fresh)
}

func runChanged(w *world) {
	d := w.enrolled("D")
	w.beginRun(aRun("a", d, w.now()))
	nothing := func(*workflow.Run) ([]string, error) { return nil, nil }
	for _, key := range [][2]string{{"", "b"}, {"t", "a"}} {
		_, err := w.Runs.ChangeRun(w.Context(), key[0], key[1], nothing)
		assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
		_, err = w.Runs.Run(w.Context(), key[0], key[1])
		assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
	}
	no := errors.New("no")
	_, err := w.Runs.ChangeRun(w.Context(), "", "a", func(r *workflow.Run) ([]string, error) { r.Note = "changed"; return nil, no })
	assert.ErrorIs(w, err, no)
	assert.Empty(w, w.runNow("a").Note)
	e := w.engine(w.now)
	r, err := e.Cancel(w.Context(), "", "a", "the operator's wish")
	require.NoError(w, err)
	assert.Equal(w, workflow.Canceled, r.Status)
	_, err = w.Runs.ChangeRun(w.Context(), "", "a", nothing)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "it is over")
	assert.Empty(w, w.leaseRuns("me", w.now().Add(time.Hour)))
}

func runsSwept(w *world) {
	d := w.enrolled("D")
	at := w.now()
	for _, id := range []string{"old", "new", "open"} {
		w.beginRun(aRun(id, d, at))
	}
	for id, ended := range map[string]time.Time{"old": at.Add(-2 * time.Hour), "new": at} {
		_, err := w.Runs.ChangeRun(w.Context(), "", id, func(r *workflow.Run) ([]string, error) {
			r.Status, r.EndedAt = workflow.Done, ended
			return nil, nil
		})
		require.NoError(w, err)
	}
	swept, err := w.Sweep.Sweep(w.Context(), at, storage.Retention{Events: time.Hour})
	require.NoError(w, err)
	assert.Equal(w, 1, swept.Runs)
	var left []workflow.Run
	for r, err := range w.Runs.Runs(w.Context(), workflow.Query{}) {
		require.NoError(w, err)
		left = append(left, r)
	}
	assert.Equal(w, []string{"new", "open"}, names(left))
	assert.True(w, slices.IsSorted(names(left)))
}
