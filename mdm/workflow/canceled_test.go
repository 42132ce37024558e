package workflow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// lasting is a workflow with an effect outside of its run.
type lasting struct {
	there  bool
	during func() // while a step is taken, after its effect
	fails  error
	undone int
}

func (l *lasting) workflow() *workflow.Workflow[int] {
	return &workflow.Workflow[int]{Name: "w", First: "do", Canceled: "undo", Listens: []mdm.EventType{"x"}, Retry: workflow.Retry{Limit: 2, First: time.Minute}, Steps: steps[int]{
		"do": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			l.there = true
			if l.during != nil {
				l.during()
			}
			return workflow.Go("do").On("x").Note("done"), nil
		},
		"undo": func(_ context.Context, t *workflow.Turn, _ *int) (workflow.Next, error) {
			if l.fails != nil {
				return workflow.Next{}, l.fails
			}
			l.there = false
			l.undone++
			return workflow.Finish("undone"), nil
		},
	}}
}

func TestCancelTakesBack(t *testing.T) {
	l := &lasting{}
	b := newBench(t, l.workflow())
	r, _, err := b.engine.Begin(t.Context(), "w", b.device, "key", nil)
	require.NoError(t, err)
	b.flush()
	require.True(t, l.there)
	out, err := b.engine.Cancel(t.Context(), "", r.ID, "not this one")
	require.NoError(t, err)
	assert.Equal(t, workflow.Open, out.Status)
	assert.True(t, out.Canceling)
	_, fresh, err := b.engine.Begin(t.Context(), "w", b.device, "key", nil)
	require.NoError(t, err)
	assert.False(t, fresh, "what the next one does would be taken back, too")
	b.flush()
	assert.False(t, l.there)
	run := b.run(r.ID)
	assert.Equal(t, workflow.Canceled, run.Status, "however the step ends it")
	assert.Equal(t, "not this one", run.Note)
	assert.False(t, run.EndedAt.IsZero())
	_, err = b.engine.Cancel(t.Context(), "", r.ID, "again")
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))

	stranger := b.another()
	r = b.begin("w", nil)
	_, err = stranger.Cancel(t.Context(), "", r.ID, "who does not know the workflow")
	require.NoError(t, err)
	assert.Equal(t, workflow.Canceled, b.run(r.ID).Status)

	_, err = workflow.New(workflow.Config{Store: b.stores.Runs, Commands: b.stores.Command, Roster: b.stores.Roster},
		&workflow.Workflow[int]{Name: "w", First: "do", Canceled: "none", Steps: l.workflow().Steps})
	require.ErrorContains(t, err, "to be canceled with")
}

// TestCancelWhileAStepIsTaken: what that did is taken back after it, and not before.
func TestCancelWhileAStepIsTaken(t *testing.T) {
	l := &lasting{}
	b := newBench(t, l.workflow())
	r := b.begin("w", nil)
	l.during = func() {
		l.during = nil
		_, err := b.engine.Cancel(t.Context(), "", r.ID, "now")
		require.NoError(t, err)
		require.NoError(t, b.another(l.workflow()).Flush(t.Context()), "another process has nothing to do yet")
		require.Zero(t, l.undone)
	}
	b.flush()
	assert.False(t, l.there)
	assert.Equal(t, workflow.Canceled, b.run(r.ID).Status)
}

// TestCancelThatCannotTakeBack: it is set aside, and can be tried again, or ended as it is.
func TestCancelThatCannotTakeBack(t *testing.T) {
	l := &lasting{fails: errors.New("the database is away")}
	b := newBench(t, l.workflow())
	runs := []string{b.begin("w", nil).ID, b.begin("w", nil).ID}
	b.flush()
	for _, id := range runs {
		_, err := b.engine.Cancel(t.Context(), "", id, "no")
		require.NoError(t, err)
	}
	b.flush()
	b.now = b.now.Add(2 * time.Minute)
	b.flush()
	for _, id := range runs {
		require.Equal(t, workflow.Aside, b.run(id).Status)
	}
	_, err := b.engine.Cancel(t.Context(), "", runs[0], "as it is")
	require.NoError(t, err)
	assert.Equal(t, workflow.Canceled, b.run(runs[0]).Status)
	assert.True(t, l.there)
	l.fails = nil
	_, err = b.engine.TryAgain(t.Context(), "", runs[1], "")
	require.NoError(t, err)
	b.flush()
	assert.False(t, l.there)
	assert.Equal(t, workflow.Canceled, b.run(runs[1]).Status)
	assert.Equal(t, "no", b.run(runs[1]).Note)
}
