package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// failing is a workflow whose step fails as long as down says so.
func failing(down *atomic.Bool) *workflow.Workflow[int] {
	return &workflow.Workflow[int]{Name: "fails", First: "s", Retry: workflow.Retry{Limit: 1}, Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			if down.Load() {
				return workflow.Next{}, errors.New("down")
			}
			return workflow.Finish("done"), nil
		}}}
}

// setAside is a bench with runs that were set aside on as many devices and one more, and a run that waits.
func setAside(t *testing.T, devices int) (*bench, *atomic.Bool) {
	t.Helper()
	down := new(atomic.Bool)
	down.Store(true)
	b := newBench(t, waits, failing(down))
	b.enroll(devices)
	b.begin("w", nil)
	_, err := b.engine.BeginMany(t.Context(), "fails", mdm.Filter{}, "k", nil, nil)
	require.NoError(t, err)
	_, err = b.engine.BeginMany(t.Context(), "fails", mdm.Filter{Tenant: "red"}, "k", nil, nil)
	require.NoError(t, err)
	b.flush()
	return b, down
}

func (b *bench) statuses(name string) map[workflow.Status]int {
	n := map[workflow.Status]int{}
	for _, r := range b.runs() {
		if r.Workflow == name {
			n[r.Status]++
		}
	}
	return n
}

func TestTryAgainMany(t *testing.T) {
	const devices = 1_203 // and "D"
	b, down := setAside(t, devices)
	require.Equal(t, map[workflow.Status]int{workflow.Aside: devices + 1}, b.statuses("fails"))
	var told []workflow.Retried
	again := func(q workflow.Query) workflow.Retried {
		q.Workflow = "fails"
		told = nil
		n, err := b.engine.TryAgainMany(t.Context(), q, "it is up again", func(n workflow.Retried) { told = append(told, n) })
		require.NoError(t, err)
		return n
	}
	n := again(workflow.Query{})
	assert.Equal(t, []int{devices + 1, 0}, []int{n.Again, n.Left})
	require.Len(t, told, 3)
	assert.Equal(t, 500, told[0].Again)
	assert.Equal(t, n, told[2])
	assert.Equal(t, "it is up again", b.runs()[0].Note)
	b.flush()
	assert.Equal(t, map[workflow.Status]int{workflow.Aside: devices + 1}, b.statuses("fails"), "it is still down")
	down.Store(false)
	first := again(workflow.Query{Limit: 600})
	assert.Equal(t, 600, first.Again, "no more than Limit")
	b.flush()
	rest := again(workflow.Query{After: first.Last})
	assert.Equal(t, devices+1-600, rest.Again)
	b.flush()
	assert.Equal(t, map[workflow.Status]int{workflow.Done: devices + 1}, b.statuses("fails"))
	assert.Equal(t, workflow.Retried{}, again(workflow.Query{}))
	assert.Empty(t, told)
	red, err := b.engine.TryAgainMany(t.Context(), workflow.Query{Tenant: "red", Workflow: "fails"}, "", nil)
	require.NoError(t, err)
	assert.Equal(t, 1, red.Again, "that of another tenant was left alone")
}

func TestTryAgainManyLeavesOthersAlone(t *testing.T) {
	b, down := setAside(t, 2)
	waiting, err := b.engine.TryAgainMany(t.Context(), workflow.Query{Workflow: "w", Status: []workflow.Status{workflow.Open, workflow.Aside}}, "", nil)
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1}, []int{waiting.Again, waiting.Left}, "it waits for its device, not for another attempt")
	for _, q := range []workflow.Query{{}, {Workflow: "fails", Status: []workflow.Status{workflow.Done}}, {Workflow: "fails", Status: []workflow.Status{workflow.Aside, workflow.Canceled}}} {
		_, err := b.engine.TryAgainMany(t.Context(), q, "", nil)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
	down.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err := b.engine.TryAgainMany(ctx, workflow.Query{Workflow: "fails"}, "", nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, n.Again)
}

// TestTryAgainManyOfThoseThatWait asks for those whose next attempt is an hour away.
func TestTryAgainManyOfThoseThatWait(t *testing.T) {
	down := new(atomic.Bool)
	down.Store(true)
	w := failing(down)
	w.Retry = workflow.Retry{Limit: 3, First: time.Hour}
	b := newBench(t, w)
	run := b.begin("fails", nil)
	b.flush()
	down.Store(false)
	n, err := b.engine.TryAgainMany(t.Context(), workflow.Query{Workflow: "fails"}, "", nil)
	require.NoError(t, err)
	assert.Zero(t, n.Again, "it was not set aside")
	n, err = b.engine.TryAgainMany(t.Context(), workflow.Query{Workflow: "fails", Status: []workflow.Status{workflow.Open}}, "", nil)
	require.NoError(t, err)
	assert.Equal(t, workflow.Retried{Again: 1, Last: run.ID}, n)
	b.flush()
	assert.Equal(t, workflow.Done, b.run(run.ID).Status)
}
