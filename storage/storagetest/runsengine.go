package storagetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

func runOutlived(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	e := w.engine(w.now)
	begun := func(key string, of *device) {
		_, fresh, err := e.Begin(w.Context(), "waits", of.id, key, nil)
		require.NoError(w, err)
		require.True(w, fresh)
	}
	begun("a", d)
	begun("b", other)
	require.NoError(w, e.Flush(w.Context()))
	d.reenroll()
	w.deliver(e)
	begun("c", d)
	require.NoError(w, e.Flush(w.Context()))
	statuses := map[string]workflow.Status{}
	for r, err := range w.Runs.Runs(w.Context(), workflow.Query{Workflow: "waits"}) {
		require.NoError(w, err)
		statuses[r.Key] = r.Status
	}
	assert.Equal(w, map[string]workflow.Status{"a": workflow.Canceled, "b": workflow.Open, "c": workflow.Open}, statuses)

	// A step that was begun before the generation ended changes nothing after it.
	begun("late", other)
	at := w.now()
	late := w.leaseRuns("slow", at, "waits")
	require.Len(w, late, 1)
	other.reenroll()
	_, err := w.Runs.SettleRun(w.Context(), late[0].ID, "slow", func(r *workflow.Run, e *mdm.Enrollment) workflow.Settlement {
		assert.NotEqual(w, r.Generation, e.Generation, "settle sees that it is over")
		return workflow.Settlement{}
	})
	require.NoError(w, err)
}

// engine returns an engine with two workflows: "waits" waits for ever, "asks" asks for a passcode when a device enrolls.
func (w *world) engine(clock func() time.Time) *workflow.Engine {
	w.Helper()
	type asking struct{ Asked, Fails int }
	asks := &workflow.Workflow[asking]{
		Name: "asks", Version: 1, First: "ask", Listens: []mdm.EventType{mdm.EventEnrolled, mdm.EventActive},
		Start: func(_ context.Context, e mdm.Event) (asking, string, bool, error) {
			return asking{}, "asks", e.Type == mdm.EventEnrolled, nil
		},
		Retry: workflow.Retry{Limit: 3},
		Steps: map[string]func(context.Context, *workflow.Turn, *asking) (workflow.Next, error){
			"ask": func(_ context.Context, _ *workflow.Turn, s *asking) (workflow.Next, error) {
				s.Asked++
				return workflow.Go("look").Send("info", command.Order{Command: command.SecurityInfo{}}).Answered("info").Note("asked"), nil
			},
			"look": func(_ context.Context, t *workflow.Turn, s *asking) (workflow.Next, error) {
				switch a, ok := t.Answer("info"); {
				case !ok:
					return workflow.Next{}, errors.New("woken without an answer")
				case a.State == command.Failed && s.Asked < 3:
					return workflow.Go("ask").At(t.Now.Add(time.Hour)), nil
				case a.State == command.Failed:
					return workflow.Go("break"), nil
				}
				return workflow.Finish("compliant"), nil
			},
			"break": func(_ context.Context, _ *workflow.Turn, s *asking) (workflow.Next, error) {
				s.Fails++
				if s.Asked < 100 {
					panic("broken")
				}
				return workflow.GiveUp("broken for good"), nil
			},
		},
	}
	waits := &workflow.Workflow[struct{}]{
		Name: "waits", First: "wait", Listens: []mdm.EventType{mdm.EventTokenUpdated},
		Steps: map[string]func(context.Context, *workflow.Turn, *struct{}) (workflow.Next, error){
			"wait": func(context.Context, *workflow.Turn, *struct{}) (workflow.Next, error) {
				return workflow.Go("end").On(mdm.EventTokenUpdated), nil
			},
			"end": func(context.Context, *workflow.Turn, *struct{}) (workflow.Next, error) {
				return workflow.Finish(""), nil
			},
		},
	}
	e, err := workflow.New(workflow.Config{Store: w.Runs, Commands: w.Command, Roster: w.Roster, Clock: clock}, asks, waits)
	require.NoError(w, err)
	return e
}

// deliver gives every event to an engine that it did not get yet.
func (w *world) deliver(e *workflow.Engine) {
	w.Helper()
	for {
		events, err := w.Events.Lease(w.Context(), "workflows", 100, time.Minute)
		require.NoError(w, err)
		if len(events) == 0 {
			return
		}
		for _, event := range events {
			require.NoError(w, e.Consume(w.Context(), event))
		}
		require.NoError(w, w.Events.Ack(w.Context(), "workflows", events))
	}
}

func runWhole(w *world) {
	at := w.now()
	e := w.engine(func() time.Time { return at })
	step := func() {
		w.Helper()
		w.deliver(e)
		require.NoError(w, e.Flush(w.Context()))
	}
	d, broken := w.enrolled("D"), w.enrolled("E")
	step()
	require.Len(w, d.run(), 1, "its question came, and was answered")
	for n := range 3 {
		broken.answer(command.StatusError, broken.idle().UUID)
		step()
		if n < 2 {
			broken.expect(broken.idle(), "")
			at = at.Add(time.Hour)
			step()
		}
	}
	for range 5 {
		at = at.Add(time.Hour)
		step()
	}
	done := map[string]workflow.Run{}
	for r, err := range w.Runs.Runs(w.Context(), workflow.Query{Workflow: "asks"}) {
		require.NoError(w, err)
		done[r.Enrollment.Device] = r
	}
	assert.Equal(w, workflow.Done, done["D"].Status)
	assert.Equal(w, "compliant", done["D"].Note)
	assert.Equal(w, workflow.Aside, done["E"].Status)
	assert.Equal(w, 3, done["E"].Attempts)
	assert.Contains(w, done["E"].Error, "broken")
	assert.JSONEq(w, `{"Asked":3,"Fails":0}`, string(done["E"].State), "a step that fails changes nothing")
	_, err := e.Resume(w.Context(), "", done["E"].ID)
	require.NoError(w, err)
	step()
	assert.Equal(w, 1, w.runNow(done["E"].ID).Attempts)
	_, err = e.Cancel(w.Context(), "", done["E"].ID, "enough")
	require.NoError(w, err)
	kinds := []mdm.EventType{}
	for _, event := range w.events(broken.id) {
		if strings.HasPrefix(string(event.Type), "workflow.") {
			kinds = append(kinds, event.Type)
		}
	}
	assert.Equal(w, []mdm.EventType{mdm.EventWorkflowBegun, mdm.EventWorkflowAside, mdm.EventWorkflowCanceled}, kinds)
}

func runRace(w *world) {
	const devices, engines = 30, 4
	all := w.enrollMany(devices)
	at := w.now()
	var list []*workflow.Engine
	for range engines {
		list = append(list, w.engine(func() time.Time { return at }))
	}
	for _, id := range all {
		_, _, err := list[0].Begin(w.Context(), "asks", id, "", nil)
		require.NoError(w, err)
	}
	var group sync.WaitGroup
	for _, e := range list {
		group.Go(func() { assert.NoError(w, e.Flush(w.Context())) })
	}
	group.Wait()
	for _, id := range all {
		entries := w.entries(command.Query{From: id})
		assert.Len(w, entries, 1, "%s was asked once", id)
	}
	counts, err := w.Runs.CountRuns(w.Context(), "", "asks")
	require.NoError(w, err)
	assert.Equal(w, []workflow.Count{{Workflow: "asks", Status: workflow.Open, Step: "look", Runs: devices}}, counts)
}

func runAgain(w *world) {
	var d *device
	w.session(needsRuns, func(w *world) {
		d = w.enrolled("D")
		e := w.engine(w.now)
		w.deliver(e)
		require.NoError(w, e.Flush(w.Context()))
	})
	w.session(needsRuns, func(w *world) {
		d.w = w
		e := w.engine(w.now)
		require.Len(w, d.run(), 1)
		w.deliver(e)
		require.NoError(w, e.Flush(w.Context()))
		counts, err := w.Runs.CountRuns(w.Context(), "", "asks")
		require.NoError(w, err)
		assert.Equal(w, []workflow.Count{{Workflow: "asks", Status: workflow.Done, Step: "look", Runs: 1}}, counts)
	})
}

func runCanceled(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	e := w.engine(w.now)
	theirs := w.queued(command.ProfileList{}, d, other)
	var runs []workflow.Run
	for _, of := range []*device{d, d, other} {
		r, _, err := e.Begin(w.Context(), "asks", of.id, "", nil)
		require.NoError(w, err)
		runs = append(runs, r)
	}
	require.NoError(w, e.Flush(w.Context()))
	sent := func(n int) string { return w.runNow(runs[n].ID).Sent["info"].UUID }
	d.ack(d.ack(d.idle())) // of theirs, and of a first question
	answered, open := sent(0), sent(1)
	if w.state(d, open) == command.Acknowledged {
		answered, open = open, answered
	}
	require.Equal(w, command.Sent, w.state(d, open), "a device that was given it may answer still")

	no := errors.New("no")
	_, err := w.Runs.ChangeRun(w.Context(), "", runs[0].ID, func(*workflow.Run) ([]string, error) { return []string{open, theirs}, no })
	require.ErrorIs(w, err, no)
	assert.Equal(w, command.Sent, w.state(d, open), "a change that fails withdraws nothing")
	for _, r := range runs[:2] {
		_, err := e.Cancel(w.Context(), "", r.ID, "enough")
		require.NoError(w, err)
	}
	assert.Equal(w, command.Canceled, w.state(d, open))
	assert.Equal(w, workflow.Dropped, w.entry(d, open).Note)
	assert.Equal(w, command.Acknowledged, w.state(d, answered), "what has an answer keeps it")
	d.expect(d.answer("Acknowledged", open), "")
	assert.Equal(w, []string{theirs, sent(2)}, other.run(), "what is nobody's, and another device's, goes on")
	_, err = e.Cancel(w.Context(), "", runs[1].ID, "again")
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
}
