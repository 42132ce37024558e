package dbtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
)

type countingSteps = map[string]func(context.Context, *workflow.Turn, *int) (workflow.Next, error)

// StepBudget holds workflows to their number of statements, however many runs there are.
func StepBudget(t *testing.T, stores storage.Stores, statements func() int64, stepMost, sendMost int64) {
	t.Helper()
	const n = 64
	crowd(t, stores, 3*n)
	clock := time.Now()
	engine, err := workflow.New(workflow.Config{Store: stores.Runs, Commands: stores.Command, Roster: stores.Roster, Workers: n / 4,
		Clock: func() time.Time { return clock }},
		&workflow.Workflow[int]{Name: "steps", First: "wait", Listens: []mdm.EventType{mdm.EventActive}, Steps: countingSteps{
			"wait": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
				return workflow.Go("send").On(mdm.EventActive), nil
			},
			"send": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
				return workflow.Go("end").Send("info", command.Order{Command: command.SecurityInfo{}, NoPush: true}).Answered("info"), nil
			},
			"end": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) { return workflow.Finish(""), nil },
		}})
	require.NoError(t, err)
	count := func(f func()) int64 {
		before := statements()
		f()
		return statements() - before
	}
	flush := func() { require.NoError(t, engine.Flush(t.Context())) }
	happens := func(id mdm.EnrollmentID, kind mdm.EventType) {
		require.NoError(t, engine.Consume(t.Context(), mdm.Event{Type: kind, Enrollment: id}))
	}
	ids := func(from int) (out []mdm.EnrollmentID) {
		for e, err := range stores.Roster.Enrollments(t.Context(), mdm.Filter{}) {
			require.NoError(t, err)
			out = append(out, e.ID)
		}
		return out[from*n : (from+1)*n]
	}
	round := func(of int) []int64 {
		devices := ids(of)
		assert.Equal(t, int64(1), count(flush), "a look")
		assert.Equal(t, int64(1), count(func() { happens(devices[0], mdm.EventActive) }), "an event for nobody")
		assert.Zero(t, count(func() { happens(devices[0], mdm.EventCommandSent) }), "an event that nobody listens to")
		for _, id := range devices {
			_, _, err := engine.Begin(t.Context(), "steps", id, "", nil)
			require.NoError(t, err)
		}
		step := count(flush)
		assert.Equal(t, int64(1), count(func() { happens(devices[0], mdm.EventCommandAcknowledged) }), "an event for another")
		for _, id := range devices {
			happens(id, mdm.EventActive)
		}
		return []int64{step / n, count(flush) / n}
	}
	first := round(0)
	round(1)
	assert.Equal(t, first, round(2), "the cost must not grow with the runs")
	assert.LessOrEqual(t, first[0], stepMost, "a step")
	assert.LessOrEqual(t, first[1], sendMost, "a step with a command")
	t.Logf("statements: a step %d, one that sends %d", first[0], first[1])
}
