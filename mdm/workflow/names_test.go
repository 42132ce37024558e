package workflow_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestARunOfYears sends by ever new names. What is over makes room; a run that failed for that would never be woken again.
func TestARunOfYears(t *testing.T) {
	w := &workflow.Workflow[int]{Name: "w", First: "ask", Steps: steps[int]{}}
	w.Steps["ask"] = func(_ context.Context, turn *workflow.Turn, n *int) (workflow.Next, error) {
		if *n > 0 {
			if _, ok := turn.Answer(fmt.Sprint("ask ", *n)); !ok {
				return workflow.Next{}, fmt.Errorf("there is no answer to %d", *n)
			}
		}
		*n++
		name := fmt.Sprint("ask ", *n)
		next := workflow.Go("ask").Send(name, command.Order{Command: command.SecurityInfo{}}).Answered(name)
		return next, nil
	}
	b := newBench(t, w)
	r := b.begin("w", 0)
	b.flush()
	for range 300 {
		if offer := connect(b.stores.Command, b.device, command.StatusIdle, ""); offer != nil {
			connect(b.stores.Command, b.device, command.StatusAcknowledged, offer.UUID)
		}
		b.deliver()
		b.flush()
	}
	got := b.run(r.ID)
	assert.Empty(t, got.Error)
	assert.Equal(t, 301, got.Turns)
	assert.LessOrEqual(t, len(got.Sent), 256)
}
