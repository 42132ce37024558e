package workflow_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestOutlived ends the generation of an enrollment under its runs: by an event that is heard, and seen by a step only.
func TestOutlived(t *testing.T) {
	for name, test := range map[string]struct {
		outlived func(*workflow.Run, mdm.Event) (workflow.Status, string)
		status   workflow.Status
		note     string
	}{
		"nothing said": {nil, workflow.Canceled, "the enrollment ended"},
		"its purpose": {func(r *workflow.Run, e mdm.Event) (workflow.Status, string) {
			return workflow.Done, r.Step + " " + string(e.Type) + " " + e.Reason
		}, workflow.Done, "end enrollment.ended sold"},
		"not done": {func(*workflow.Run, mdm.Event) (workflow.Status, string) { return workflow.Failed, "too early" }, workflow.Failed, "too early"},
		"no end":   {func(*workflow.Run, mdm.Event) (workflow.Status, string) { return workflow.Open, "" }, workflow.Canceled, "the enrollment ended"},
		"a bug":    {func(*workflow.Run, mdm.Event) (workflow.Status, string) { panic("bug") }, workflow.Canceled, "the enrollment ended, and Outlived panicked: bug"},
	} {
		for _, heard := range []bool{true, false} {
			b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "s", Outlived: test.outlived, Steps: steps[int]{
				"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
					return workflow.Go("end").On("never"), nil
				},
				"end": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
					t.Error("a step was taken")
					return workflow.Finish(""), nil
				},
			}})
			r := b.begin("w", 0)
			b.flush()
			service := checkin.Service{Store: b.stores.Checkin}
			if !heard {
				_, err := b.engine.Resume(t.Context(), "", r.ID)
				require.NoError(t, err)
			}
			require.NoError(t, service.End(t.Context(), b.device, 0, "sold"))
			if heard {
				b.deliver()
			} else {
				b.flush()
			}
			got := b.run(r.ID)
			assert.Equal(t, test.status, got.Status, name)
			assert.Equal(t, test.note, got.Note, name)
			assert.Equal(t, b.now, got.EndedAt)
		}
	}
}
