package storagetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/workflow"
)

// benchmarkSteps takes steps of workflows, b.N of them, while others wait.
func benchmarkSteps(b *testing.B, open Opener, waiting int) {
	w := benchmarkWorld(b, open)
	ids := w.enrollMany(64)
	var left atomic.Int64
	e, err := workflow.New(workflow.Config{Store: w.Runs, Commands: w.Command, Roster: w.Roster}, &workflow.Workflow[int]{
		Name: "steps", First: "step", Steps: map[string]func(context.Context, *workflow.Turn, *int) (workflow.Next, error){
			"step": func(_ context.Context, _ *workflow.Turn, n *int) (workflow.Next, error) {
				if *n++; left.Add(-1) <= 0 {
					return workflow.Finish(""), nil
				}
				return workflow.Go("step"), nil
			},
		}}, &workflow.Workflow[int]{
		Name: "waits", First: "step", Steps: map[string]func(context.Context, *workflow.Turn, *int) (workflow.Next, error){
			"step": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
				return workflow.Go("step").On("never"), nil
			},
		}})
	require.NoError(b, err)
	for i := range waiting {
		_, _, err := e.Begin(b.Context(), "waits", ids[i%len(ids)], fmt.Sprint(i), nil)
		require.NoError(b, err)
	}
	require.NoError(b, e.Flush(b.Context()))
	for _, id := range ids {
		_, _, err := e.Begin(b.Context(), "steps", id, "", nil)
		require.NoError(b, err)
	}
	left.Store(int64(b.N))
	b.ResetTimer()
	require.NoError(b, e.Flush(b.Context()))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}
