package workflow_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

func TestOutlives(t *testing.T) {
	w := &workflow.Workflow[int]{Name: "w", First: "s", Outlives: true, Listens: []mdm.EventType{mdm.EventEnded}, Steps: steps[int]{
		"s": func(_ context.Context, turn *workflow.Turn, n *int) (workflow.Next, error) {
			assert.Equal(t, *n > 0, turn.Over())
			if *n++; *n == 1 {
				return workflow.Go("s").Send("one", command.Order{Command: command.SecurityInfo{}}).On(mdm.EventEnded), nil
			}
			return workflow.Go("end").Send("two", command.Order{Command: command.SecurityInfo{}}).Answered("two"), nil
		},
		"end": func(_ context.Context, turn *workflow.Turn, _ *int) (workflow.Next, error) {
			return workflow.Finish(turn.Refused("two")), nil
		},
	}}
	mortal := &workflow.Workflow[int]{Name: "mortal", First: "s", Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			return workflow.Go("s").At(time.Now().Add(10000 * time.Hour)), nil
		}}}
	b := newBench(t, w, mortal)
	r, other := b.begin("w", 0), b.begin("mortal", 0)
	b.flush()
	assert.NotNil(t, connect(b.stores.Command, b.device, command.StatusIdle, ""))
	service := checkin.Service{Store: b.stores.Checkin}
	require.NoError(t, service.End(t.Context(), b.device, 0, "x"))
	b.deliver()
	b.flush()
	assert.Equal(t, workflow.Canceled, b.run(other.ID).Status)
	got := b.run(r.ID)
	assert.Equal(t, workflow.Done, got.Status)
	assert.Equal(t, workflow.ErrOver.Error(), got.Note, "nothing reaches a queue any more")

	// It may begin on what has ended; the other one may not.
	r = b.begin("w", 1)
	b.flush()
	assert.Equal(t, workflow.Done, b.run(r.ID).Status)
	_, _, err := b.engine.Begin(t.Context(), "mortal", b.device, "", 0)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
}

func TestTell(t *testing.T) {
	var b *bench
	var heard [][]string
	during := ""
	w := &workflow.Workflow[int]{Name: "w", First: "s", Steps: steps[int]{
		"s": func(ctx context.Context, turn *workflow.Turn, _ *int) (workflow.Next, error) {
			names := []string{}
			for _, w := range turn.Words() {
				names = append(names, w.Name+" "+w.Actor)
				assert.Equal(t, b.now, w.At)
			}
			heard = append(heard, names)
			if during != "" {
				_, err := b.engine.Tell(ctx, "", turn.Run.ID, workflow.Word{Name: during})
				during = ""
				require.NoError(t, err)
			}
			return workflow.Go("s").At(b.now.Add(time.Hour)), nil
		}}}
	b = newBench(t, w)
	r := b.begin("w", 0)
	b.flush()
	for _, name := range []string{"a", "b"} {
		_, err := b.engine.Tell(t.Context(), "", r.ID, workflow.Word{Name: name, Actor: "ada", Reason: "x"})
		require.NoError(t, err)
	}
	during = "c"
	b.flush()
	assert.Equal(t, [][]string{{}, {"a ada", "b ada"}, {"c "}}, heard, "what is said during a step is heard by the next one")
	assert.Empty(t, b.run(r.ID).Words)

	_, err := b.engine.Tell(t.Context(), "", r.ID, workflow.Word{Name: "x", Reason: string(make([]byte, workflow.MaxWord+1))})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	_, err = b.engine.Tell(t.Context(), "", r.ID, workflow.Word{})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	for range workflow.MaxWords {
		_, err = b.engine.Tell(t.Context(), "", r.ID, workflow.Word{Name: "x"})
		require.NoError(t, err)
	}
	_, err = b.engine.Tell(t.Context(), "", r.ID, workflow.Word{Name: "x"})
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))
	_, err = b.engine.Cancel(t.Context(), "", r.ID, "x")
	require.NoError(t, err)
	_, err = b.engine.Tell(t.Context(), "", r.ID, workflow.Word{Name: "x"})
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
}
