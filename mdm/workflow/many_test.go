package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// waits is a workflow that waits for its device.
var waits = &workflow.Workflow[string]{Name: "w", First: "wait", Listens: []mdm.EventType{mdm.EventActive}, Steps: steps[string]{
	"wait": func(context.Context, *workflow.Turn, *string) (workflow.Next, error) {
		return workflow.Go("end").On(mdm.EventActive), nil
	},
	"end": func(context.Context, *workflow.Turn, *string) (workflow.Next, error) {
		return workflow.Finish("done"), nil
	},
}}

func (b *bench) enroll(n int) {
	b.Helper()
	var plan checkin.Plan
	for i := range n {
		id := mdm.EnrollmentID{Device: fmt.Sprintf("E%05d", i)}
		plan.Enrollments = append(plan.Enrollments, mdm.Enrollment{ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1})
	}
	plan.Enrollments = append(plan.Enrollments, mdm.Enrollment{ID: mdm.EnrollmentID{Device: "ended"}, Channel: mdm.DeviceChannel, State: mdm.Ended, Generation: 1},
		mdm.Enrollment{ID: mdm.EnrollmentID{Tenant: "red", Device: "R"}, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1})
	require.NoError(b, b.stores.Checkin.Update(b.Context(), checkin.Key{ID: b.device}, func(*checkin.Situation) (checkin.Plan, error) { return plan, nil }))
}

func (b *bench) runs() (all []workflow.Run) {
	b.Helper()
	for r, err := range b.stores.Runs.Runs(b.Context(), workflow.Query{}) {
		require.NoError(b, err)
		all = append(all, r)
	}
	return all
}

func TestBeginMany(t *testing.T) {
	const devices = 1_203 // and "D"
	b := newBench(t, waits)
	b.enroll(devices)
	var told []workflow.Begun
	n, err := b.engine.BeginMany(t.Context(), "w", mdm.Filter{}, "spring", "state", func(n workflow.Begun) { told = append(told, n) })
	require.NoError(t, err)
	assert.Equal(t, workflow.Begun{Begun: devices + 1, Last: mdm.EnrollmentID{Device: "E01202"}}, n, "who has ended is not meant, nor another tenant")
	require.Len(t, told, 3)
	assert.Equal(t, 500, told[0].Begun)
	assert.Equal(t, n, told[2])
	for _, r := range b.runs() {
		require.Equal(t, `"state"`, string(r.State))
	}

	b.flush()
	require.NoError(t, b.engine.Consume(t.Context(), mdm.Event{Type: mdm.EventActive, Enrollment: b.device}))
	b.flush()
	n, err = b.engine.BeginMany(t.Context(), "w", mdm.Filter{}, "spring", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, workflow.Begun{There: devices + 1, Last: n.Last}, n, "one is over, and does not begin again")
	n, err = b.engine.BeginMany(t.Context(), "w", mdm.Filter{Device: "D"}, "summer", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, 1, n.Begun)
}

func TestBeginManyGoesOn(t *testing.T) {
	b := newBench(t, waits)
	b.enroll(700)
	ctx, cancel := context.WithCancel(t.Context())
	first, err := b.engine.BeginMany(ctx, "w", mdm.Filter{}, "k", nil, func(workflow.Begun) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 500, first.Begun)
	assert.Len(t, b.runs(), 500)
	rest, err := b.engine.BeginMany(t.Context(), "w", mdm.Filter{After: first.Last, Limit: 150}, "k", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, 150, rest.Begun, "no more than Limit")
	all, err := b.engine.BeginMany(t.Context(), "w", mdm.Filter{Limit: 600}, "k", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, 600, all.There, "a limit that is over a page")
	all, err = b.engine.BeginMany(t.Context(), "w", mdm.Filter{}, "k", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, []int{51, 650}, []int{all.Begun, all.There})
}

func TestBeginManyInANewGeneration(t *testing.T) {
	b := newBench(t, waits)
	begin := func() workflow.Begun {
		n, err := b.engine.BeginMany(t.Context(), "w", mdm.Filter{}, "k", nil, nil)
		require.NoError(t, err)
		return n
	}
	assert.Equal(t, 1, begin().Begun)
	require.NoError(t, b.stores.Checkin.Update(t.Context(), checkin.Key{ID: b.device}, func(s *checkin.Situation) (checkin.Plan, error) {
		e := mdm.Enrollment{ID: b.device, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 2}
		return checkin.Plan{Enrollments: []mdm.Enrollment{e}, NewGeneration: true, Events: []mdm.Event{{Type: mdm.EventReenrolled, Enrollment: b.device, Generation: 2}}}, nil
	}))
	b.deliver()
	assert.Equal(t, 1, begin().Begun)
	assert.Equal(t, 1, begin().There)
}

func TestBeginManyWithAnOpenRunOfTheKey(t *testing.T) {
	b := newBench(t, waits)
	_, fresh, err := b.engine.Begin(t.Context(), "w", b.device, "k", nil)
	require.NoError(t, err)
	require.True(t, fresh)
	n, err := b.engine.BeginMany(t.Context(), "w", mdm.Filter{}, "k", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, 1, n.There)
}

// rosters that lie or fail.
type (
	stale      struct{ workflow.Roster }
	unreadable struct{ workflow.Roster }
)

func (stale) Enrollments(context.Context, mdm.Filter) iter.Seq2[*mdm.Enrollment, error] {
	return func(yield func(*mdm.Enrollment, error) bool) {
		_ = yield(&mdm.Enrollment{ID: mdm.EnrollmentID{Device: "gone"}}, nil) && yield(&mdm.Enrollment{ID: mdm.EnrollmentID{Device: "D"}}, nil)
	}
}

func (unreadable) Enrollments(context.Context, mdm.Filter) iter.Seq2[*mdm.Enrollment, error] {
	return func(yield func(*mdm.Enrollment, error) bool) { yield(nil, errors.New("disk full")) }
}

func TestBeginManyThatIsRefused(t *testing.T) {
	b := newBench(t, waits)
	with := func(r workflow.Roster) *workflow.Engine {
		e, err := workflow.New(workflow.Config{Store: b.stores.Runs, Commands: b.stores.Command, Roster: r, Clock: func() time.Time { return b.now }}, waits)
		require.NoError(t, err)
		return e
	}
	n, err := with(stale{b.stores.Roster}).BeginMany(t.Context(), "w", mdm.Filter{}, "k", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 1}, []int{n.Begun, n.Refused}, "one does not hinder the others")
	_, err = with(unreadable{b.stores.Roster}).BeginMany(t.Context(), "w", mdm.Filter{}, "k", nil, nil)
	require.ErrorContains(t, err, "disk full")
	_, err = with(struct{ workflow.Roster }{b.stores.Roster}).BeginMany(t.Context(), "w", mdm.Filter{}, "k", nil, nil)
	require.ErrorContains(t, err, "cannot list")
	for name, want := range map[string]mdm.Code{"other": mdm.NotFound, "w": mdm.Malformed} {
		_, err = b.engine.BeginMany(t.Context(), name, mdm.Filter{}, "", nil, nil)
		assert.Equal(t, want, mdm.CodeOf(err))
	}
	_, err = b.engine.BeginMany(t.Context(), "w", mdm.Filter{}, "k", 7, nil)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "a state of another type")
}

func TestTryAgain(t *testing.T) {
	fail := true
	b := newBench(t, waits, &workflow.Workflow[int]{Name: "fails", First: "s", Retry: workflow.Retry{Limit: 2, First: time.Minute}, Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			if fail {
				return workflow.Next{}, errors.New("down")
			}
			return workflow.Finish("done"), nil
		}}})
	waiting, failing := b.begin("w", nil), b.begin("fails", nil)
	b.flush()
	_, err := b.engine.TryAgain(t.Context(), "", waiting.ID, "")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "it waits for its device, not for another attempt")
	assert.True(t, b.run(waiting.ID).Due.IsZero())
	r, err := b.engine.TryAgain(t.Context(), "", failing.ID, "the network is back")
	require.NoError(t, err)
	assert.Equal(t, "the network is back", r.Note)
	for range 2 {
		b.flush()
		b.now = b.now.Add(time.Minute)
	}
	require.Equal(t, workflow.Aside, b.run(failing.ID).Status)
	fail = false
	_, err = b.engine.TryAgain(t.Context(), "", failing.ID, "")
	require.NoError(t, err)
	b.flush()
	assert.Equal(t, workflow.Done, b.run(failing.ID).Status)
	_, err = b.engine.TryAgain(t.Context(), "", failing.ID, "")
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
}
