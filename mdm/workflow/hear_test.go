package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

var heard = []mdm.EventType{mdm.EventActive, mdm.EventQuiet}

// collector waits for two events and remembers by what it was woken.
func collector(fail func() error) *workflow.Workflow[[]string] {
	return &workflow.Workflow[[]string]{Name: "w", First: "begin", Listens: heard, Steps: steps[[]string]{
		"begin": func(context.Context, *workflow.Turn, *[]string) (workflow.Next, error) {
			return workflow.Go("collect").On(heard...), nil
		},
		"collect": func(_ context.Context, turn *workflow.Turn, s *[]string) (workflow.Next, error) {
			if fail != nil {
				if err := fail(); err != nil {
					return workflow.Next{}, err
				}
			}
			word := "nothing"
			if e := turn.Signal(); e != nil {
				word = fmt.Sprint(e.Seq)
			}
			*s = append(*s, word)
			return workflow.Go("collect").Note(fmt.Sprint(*s)).On(heard...), nil
		},
	}}
}

// happens delivers an event to an engine.
func (b *bench) happens(e *workflow.Engine, kind mdm.EventType, seq int64) {
	b.Helper()
	require.NoError(b, e.Consume(b.Context(), mdm.Event{Seq: seq, Type: kind, Enrollment: b.device}))
}

func TestEventsBeforeAStepAreNotLost(t *testing.T) {
	b := newBench(t, collector(nil))
	r := b.begin("w", nil)
	b.happens(b.engine, mdm.EventActive, 1) // before the first step
	b.flush()
	assert.Equal(t, "[1]", b.run(r.ID).Note)
	b.happens(b.engine, mdm.EventActive, 2)
	b.happens(b.engine, mdm.EventQuiet, 3) // it is woken, and has not taken the step
	b.happens(b.engine, mdm.EventActive, 4)
	b.flush()
	assert.Equal(t, "[1 2 3 4]", b.run(r.ID).Note, "each was waited for")
	b.happens(b.engine, mdm.EventActive, 4)
	b.flush()
	assert.Equal(t, "[1 2 3 4]", b.run(r.ID).Note, "an event that is delivered again wakes nobody")
}

func TestEventsDuringRetriesWaitTheirTurn(t *testing.T) {
	fails := true
	b := newBench(t, collector(func() error {
		if fails {
			return errors.New("down")
		}
		return nil
	}))
	r := b.begin("w", nil)
	b.flush()
	b.happens(b.engine, mdm.EventActive, 1)
	b.flush()
	b.happens(b.engine, mdm.EventQuiet, 2)
	b.flush()
	assert.Equal(t, 1, b.run(r.ID).Attempts, "an event does not hurry a step that waits for its next attempt")
	for range 9 {
		b.now = b.now.Add(time.Hour)
		b.flush()
	}
	require.Equal(t, workflow.Aside, b.run(r.ID).Status)
	b.happens(b.engine, mdm.EventQuiet, 3)
	fails = false
	_, err := b.engine.Resume(t.Context(), "", r.ID)
	require.NoError(t, err)
	b.flush()
	assert.Equal(t, "[1 2 3]", b.run(r.ID).Note, "nor does it take the place of the one that woke it")
}

func TestClocksThatDiffer(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, time.Hour} {
		var b *bench
		var other *workflow.Engine
		during := func() error { return nil }
		b = newBench(t, collector(func() error { return during() }))
		r := b.begin("w", nil)
		b.now = b.now.Add(ahead) // the clock of the process that has the other engine
		other = b.another(collector(nil))
		tell := func(kind mdm.EventType, seq int64) {
			b.now = b.now.Add(ahead)
			b.happens(other, kind, seq)
			b.now = b.now.Add(-ahead)
		}
		b.now = b.now.Add(-ahead)
		tell(mdm.EventActive, 1)
		b.flush()
		b.now = b.now.Add(2 * time.Hour)
		b.flush()
		assert.Equal(t, "[1]", b.run(r.ID).Note, "before the first step, %s", ahead)
		tell(mdm.EventActive, 2)
		during = func() error {
			during = func() error { return nil }
			tell(mdm.EventQuiet, 3)
			return nil
		}
		b.now = b.now.Add(2 * time.Hour)
		b.flush()
		b.now = b.now.Add(2 * time.Hour)
		b.flush()
		assert.Equal(t, "[1 2 3]", b.run(r.ID).Note, "in the middle of a step, %s", ahead)
	}
}

func TestMoreEventsThanAreRemembered(t *testing.T) {
	b := newBench(t, collector(nil))
	r := b.begin("w", nil)
	b.flush()
	for seq := range int64(100) {
		b.happens(b.engine, mdm.EventActive, seq+1)
	}
	assert.Len(t, b.run(r.ID).Missed, 64)
	b.happens(b.engine, mdm.EventRolledBack, 101)
	b.flush()
	got := b.run(r.ID)
	assert.Equal(t, 1+65+1, got.Turns, "each that was remembered, and once for the rest")
	assert.Regexp(t, `65 nothing\]$`, got.Note)
	assert.Empty(t, got.Missed)
	assert.False(t, got.More)
}

func TestAProgramThatDoesNotKnowTheWorkflow(t *testing.T) {
	b := newBench(t, collector(nil))
	r := b.begin("w", nil)
	b.flush()
	stranger := b.another()
	b.happens(stranger, mdm.EventActive, 1)
	b.happens(stranger, mdm.EventQuiet, 2)
	require.NoError(t, stranger.Flush(t.Context()))
	b.flush()
	assert.Equal(t, "[1 2]", b.run(r.ID).Note)
	_, err := stranger.Cancel(t.Context(), "", r.ID, "of the past")
	require.NoError(t, err)
}

// TestWhatCanNeverHappen has steps that wait for nothing.
func TestWhatCanNeverHappen(t *testing.T) {
	for name, wait := range map[string]func(workflow.Next) workflow.Next{
		"no event":   func(n workflow.Next) workflow.Next { return n.On() },
		"no command": func(n workflow.Next) workflow.Next { return n.Answered("other") },
	} {
		b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "s", Steps: steps[int]{
			"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) { return wait(workflow.Go("s")), nil }}})
		r := b.begin("w", 0)
		b.flush()
		assert.Contains(t, b.run(r.ID).Error, "nothing that can happen", name)
	}
}

// TestAnswersThatCameTogether reads one answer and then waits for another that was there already.
func TestAnswersThatCameTogether(t *testing.T) {
	b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "send", Steps: steps[int]{
		"send": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			return workflow.Go("one").Send("one", command.Order{Command: command.SecurityInfo{}}).
				Send("two", command.Order{Command: command.ProfileList{}}).Answered("one"), nil
		},
		"one": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			return workflow.Go("two").Answered("two"), nil
		},
		"two": func(_ context.Context, turn *workflow.Turn, _ *int) (workflow.Next, error) {
			_, ok := turn.Answer("two")
			return workflow.Finish(fmt.Sprint(ok)), nil
		},
	}})
	r := b.begin("w", 0)
	b.flush()
	for offer := connect(b.stores.Command, b.device, command.StatusIdle, ""); offer != nil; {
		offer = connect(b.stores.Command, b.device, command.StatusAcknowledged, offer.UUID)
	}
	b.deliver()
	b.flush()
	assert.Equal(t, "true", b.run(r.ID).Note)
}

// TestLimitsOfAStep has a step grow without end.
func TestLimitsOfAStep(t *testing.T) {
	b := newBench(t, &workflow.Workflow[string]{Name: "w", First: "s", Steps: steps[string]{
		"s": func(_ context.Context, turn *workflow.Turn, s *string) (workflow.Next, error) {
			if *s != "" {
				*s += string(slices.Repeat([]byte("x"), workflow.MaxState))
			}
			return workflow.Go("s").Send(fmt.Sprint(turn.Run.Turns), command.Order{Command: command.SecurityInfo{}}), nil
		}}})
	long, many := b.begin("w", "x"), b.begin("w", "")
	b.flush()
	assert.Contains(t, b.run(long.ID).Error, "over the limit")
	assert.Contains(t, b.run(many.ID).Error, "more than 256 names")
	assert.Equal(t, 256, b.run(many.ID).Turns)
}
