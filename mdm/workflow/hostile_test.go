package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestALeaseThatEndsInTheMiddleOfAStep lets an engine take a run over from itself: the first step, which comes to its end when
// the second is under way, must not be written over it.
func TestALeaseThatEndsInTheMiddleOfAStep(t *testing.T) {
	began, goOn, second, end := make(chan bool), make(chan bool), make(chan bool), make(chan bool)
	var mu sync.Mutex
	taken := 0
	b := newBench(t, &workflow.Workflow[string]{Name: "w", First: "first", Steps: steps[string]{
		"first": func(_ context.Context, _ *workflow.Turn, s *string) (workflow.Next, error) {
			mu.Lock()
			taken++
			n := taken
			mu.Unlock()
			if n == 1 {
				close(began)
				<-goOn
			}
			*s = fmt.Sprint("attempt ", n)
			return workflow.Go("second").Send("info", command.Order{Command: command.SecurityInfo{}}), nil
		},
		"second": func(_ context.Context, _ *workflow.Turn, s *string) (workflow.Next, error) {
			close(second)
			<-end
			return workflow.Finish(*s), nil
		},
	}})
	r := b.begin("w", "")
	slow, quick := make(chan error), make(chan error)
	go func() { slow <- b.engine.Flush(context.Background()) }()
	<-began
	b.now = b.now.Add(2 * time.Minute)
	go func() { quick <- b.engine.Flush(context.Background()) }()
	<-second
	close(goOn)
	require.NoError(t, <-slow)
	close(end)
	require.NoError(t, <-quick)
	got := b.run(r.ID)
	assert.Equal(t, "attempt 2", got.Note)
	assert.Equal(t, 2, got.Turns)
	n := 0
	for _, err := range b.stores.Command.Entries(t.Context(), command.Query{}) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 1, n)
}

// hostile is a command that has no name.
type hostile struct{}

func (hostile) RequestType() string { panic("no name") }

// broken is a store that cannot write the orders of one run.
type broken struct {
	workflow.Store
	run string
}

func (s *broken) SettleRun(ctx context.Context, id, holder string, settle func(*workflow.Run, *mdm.Enrollment) workflow.Settlement) (workflow.Run, error) {
	var failed error
	out, err := s.Store.SettleRun(ctx, id, holder, func(r *workflow.Run, e *mdm.Enrollment) workflow.Settlement {
		before := r.Clone()
		settled := settle(r, e)
		if id == s.run && len(settled.Orders) > 0 {
			failed = errors.New("it does not fit")
			*r = before
			return workflow.Settlement{}
		}
		return settled
	})
	return out, errors.Join(err, failed)
}

// TestWhatCannotBeWritten: a step whose word cannot be written is set aside like one that fails, and holds up no other.
func TestWhatCannotBeWritten(t *testing.T) {
	b := newBench(t)
	store := &broken{Store: b.stores.Runs}
	engine, err := workflow.New(workflow.Config{Store: store, Commands: b.stores.Command, Roster: b.stores.Roster, Clock: func() time.Time { return b.now }},
		&workflow.Workflow[string]{Name: "w", First: "s", Retry: workflow.Retry{Limit: 2}, Steps: steps[string]{
			"s": func(_ context.Context, _ *workflow.Turn, s *string) (workflow.Next, error) {
				if *s == "hostile" {
					return workflow.Finish("").Send("x", command.Order{Command: hostile{}}), nil
				}
				return workflow.Finish("").Send("x", command.Order{Command: command.ProfileList{}}), nil
			}}})
	require.NoError(t, err)
	b.engine = engine
	bad, panics, good := b.begin("w", "bad"), b.begin("w", "hostile"), b.begin("w", "good")
	store.run = bad.ID
	b.flush()
	assert.Equal(t, workflow.Done, b.run(good.ID).Status)
	b.now = b.now.Add(time.Hour)
	b.flush()
	assert.Equal(t, workflow.Aside, b.run(bad.ID).Status)
	assert.Contains(t, b.run(bad.ID).Error, "does not fit")
	assert.Equal(t, workflow.Aside, b.run(panics.ID).Status)
	assert.Contains(t, b.run(panics.ID).Error, "no name")
}

// TestASlowStepHoldsUpNobody has one step wait until all the others, many more than are leased at once, are done.
func TestASlowStepHoldsUpNobody(t *testing.T) {
	const others = 100
	var group sync.WaitGroup
	group.Add(others)
	b := newBench(t, &workflow.Workflow[bool]{Name: "w", First: "s", Steps: steps[bool]{
		"s": func(_ context.Context, _ *workflow.Turn, slow *bool) (workflow.Next, error) {
			if *slow {
				group.Wait()
			} else {
				group.Done()
			}
			return workflow.Finish(""), nil
		}}})
	b.begin("w", true)
	b.now = b.now.Add(time.Second)
	for range others {
		b.begin("w", false)
	}
	b.flush()
	counts, err := b.stores.Runs.CountRuns(t.Context(), "", "")
	require.NoError(t, err)
	assert.Equal(t, []workflow.Count{{Workflow: "w", Status: workflow.Done, Step: "s", Runs: others + 1}}, counts)
}

// TestFlushByTheClock moves a clock: Flush takes what is due by it, and what follows, and nothing else.
func TestFlushByTheClock(t *testing.T) {
	b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "s", Steps: steps[int]{
		"s": func(_ context.Context, turn *workflow.Turn, n *int) (workflow.Next, error) {
			if *n++; *n%2 == 0 {
				return workflow.Go("s"), nil
			}
			return workflow.Go("s").At(turn.Now.Add(time.Hour)), nil
		}}})
	r := b.begin("w", 0)
	for _, test := range []struct {
		later time.Duration
		turns int
	}{{0, 1}, {time.Hour - time.Microsecond, 1}, {time.Microsecond, 3}, {0, 3}, {24 * time.Hour, 5}} {
		b.now = b.now.Add(test.later)
		b.flush()
		assert.Equal(t, test.turns, b.run(r.ID).Turns, test.later)
	}
}

// TestPoisonedUpgrade: a state that Upgrade cannot read is set aside, and the process lives.
func TestPoisonedUpgrade(t *testing.T) {
	b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "s", Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) { return workflow.Finish(""), nil }}})
	r := b.begin("w", 0)
	b.engine = b.another(&workflow.Workflow[int]{Name: "w", Version: 1, First: "s", Retry: workflow.Retry{Limit: 1},
		Upgrade: func(int, []byte) (int, error) { panic("poison") },
		Steps: steps[int]{
			"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) { return workflow.Finish(""), nil }}})
	b.flush()
	assert.Equal(t, workflow.Aside, b.run(r.ID).Status)
	assert.Contains(t, b.run(r.ID).Error, "poison")
}
