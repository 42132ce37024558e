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
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

// connect reports for a device that nobody doubts.
func connect(store command.Exchanger, id mdm.EnrollmentID, status command.Status, uuid string) *command.Offer {
	offer, err := store.Exchange(context.Background(), &command.Report{ID: id, Channel: mdm.DeviceChannel, Status: status, CommandUUID: uuid,
		Raw: []byte(status), At: time.Now().Add(time.Hour)}, func(*identity.Standing) identity.Verdict { return identity.Verdict{} })
	if err != nil {
		panic(err)
	}
	return offer
}

type steps[S any] = map[string]func(context.Context, *workflow.Turn, *S) (workflow.Next, error)

// bench is an engine with one device and a clock.
type bench struct {
	*testing.T
	stores storage.Stores
	device mdm.EnrollmentID
	now    time.Time
	engine *workflow.Engine
}

func newBench(t *testing.T, list ...workflow.Any) *bench {
	t.Helper()
	b := &bench{T: t, stores: memory.New().Stores(), device: mdm.EnrollmentID{Device: "D"}, now: time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)}
	enroll(b.stores.Checkin, b.device)
	b.engine = b.another(list...)
	return b
}

func (b *bench) another(list ...workflow.Any) *workflow.Engine {
	b.Helper()
	e, err := workflow.New(workflow.Config{Store: b.stores.Runs, Commands: b.stores.Command, Roster: b.stores.Roster,
		Clock: func() time.Time { return b.now }}, list...)
	require.NoError(b, err)
	return e
}

func (b *bench) begin(name string, state any) workflow.Run {
	b.Helper()
	r, _, err := b.engine.Begin(b.Context(), name, b.device, "", state)
	require.NoError(b, err)
	return r
}

func (b *bench) flush() {
	b.Helper()
	require.NoError(b, b.engine.Flush(b.Context()))
}

func (b *bench) deliver() {
	b.Helper()
	events, err := b.stores.Events.Lease(b.Context(), "w", 1000, time.Minute)
	require.NoError(b, err)
	for _, e := range events {
		require.NoError(b, b.engine.Consume(b.Context(), e))
	}
	require.NoError(b, b.stores.Events.Ack(b.Context(), "w", events))
}

func (b *bench) run(id string) workflow.Run {
	b.Helper()
	r, err := b.stores.Runs.Run(b.Context(), "", id)
	require.NoError(b, err)
	return r
}

func TestNew(t *testing.T) {
	good := &workflow.Workflow[int]{Name: "w", First: "s", Steps: steps[int]{"s": nil}}
	_, err := workflow.New(workflow.Config{}, good)
	require.ErrorContains(t, err, "required")
	stores := memory.New().Stores()
	cfg := workflow.Config{Store: stores.Runs, Commands: stores.Command, Roster: stores.Roster}
	_, err = workflow.New(cfg, good)
	require.ErrorContains(t, err, "no step")
	good.Steps["s"] = func(context.Context, *workflow.Turn, *int) (workflow.Next, error) { return workflow.Finish(""), nil }
	_, err = workflow.New(cfg, good, good)
	require.ErrorContains(t, err, "two of the name")
	_, err = workflow.New(cfg, &workflow.Workflow[int]{Name: "ü", First: "s", Steps: good.Steps})
	require.ErrorContains(t, err, "no name")
	e, err := workflow.New(cfg, good)
	require.NoError(t, err)
	_, _, err = e.Begin(t.Context(), "other", mdm.EnrollmentID{Device: "D"}, "", 1)
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
	_, _, err = e.Begin(t.Context(), "w", mdm.EnrollmentID{Device: "D"}, "", "text")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "a state of another type")
}

func TestRetriesAndWhatAStepMustNot(t *testing.T) {
	type state struct{ Secret any }
	what := ""
	b := newBench(t, &workflow.Workflow[state]{Name: "w", First: "s", Retry: workflow.Retry{Limit: 4, First: time.Minute, Most: 2 * time.Minute},
		Steps: steps[state]{"s": func(_ context.Context, _ *workflow.Turn, s *state) (workflow.Next, error) {
			switch what {
			case "error":
				return workflow.Next{}, errors.New("down")
			case "panic":
				panic("bug")
			case "secret":
				s.Secret = mdm.SecretString("x")
				return workflow.Finish(""), nil
			}
			return workflow.Go("nowhere"), nil
		}}})
	r := b.begin("w", nil)
	waits := []time.Duration{0, time.Minute, 2 * time.Minute, 2 * time.Minute}
	for n, text := range []string{"error", "panic", "secret", "step"} {
		what = text
		b.now = b.now.Add(waits[n] - time.Second)
		b.flush()
		if n > 0 {
			assert.Equal(t, n, b.run(r.ID).Attempts, "not before its time")
		}
		b.now = b.now.Add(time.Second)
		b.flush()
		got := b.run(r.ID)
		assert.Equal(t, n+1, got.Attempts)
		assert.NotEmpty(t, got.Error)
		assert.NotContains(t, got.Error, `"x"`)
	}
	assert.Equal(t, workflow.Aside, b.run(r.ID).Status)
	b.now = b.now.Add(1000 * time.Hour)
	b.flush()
	assert.Equal(t, 4, b.run(r.ID).Attempts, "nobody tries again by himself")
}

func TestWhatHappensDuringAStepIsNotMissed(t *testing.T) {
	var b *bench
	b = newBench(t, &workflow.Workflow[int]{Name: "w", First: "s", Listens: []mdm.EventType{mdm.EventActive}, Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			assert.NoError(t, b.engine.Consume(t.Context(), mdm.Event{Seq: 9, Type: mdm.EventActive, Enrollment: b.device}))
			return workflow.Go("end").On(mdm.EventActive), nil
		},
		"end": func(_ context.Context, turn *workflow.Turn, _ *int) (workflow.Next, error) {
			if turn.Signal() == nil || turn.Signal().Seq != 9 {
				return workflow.Next{}, errors.New("woken by something else")
			}
			return workflow.Finish("heard"), nil
		},
	}})
	r := b.begin("w", 0)
	b.flush()
	assert.Equal(t, workflow.Done, b.run(r.ID).Status)
	assert.Equal(t, 2, b.run(r.ID).Turns)
}

func TestUpgradeAndOlderPrograms(t *testing.T) {
	v1 := &workflow.Workflow[int]{Name: "w", Version: 1, First: "s", Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			return workflow.Go("s").On("never"), nil
		}}}
	b := newBench(t, v1)
	r := b.begin("w", 7)
	b.flush()
	v2 := &workflow.Workflow[string]{Name: "w", Version: 2, First: "s",
		Upgrade: func(version int, state []byte) (string, error) { return fmt.Sprintf("v%d %s", version, state), nil },
		Steps: steps[string]{"s": func(_ context.Context, _ *workflow.Turn, s *string) (workflow.Next, error) {
			return workflow.Go("s").Note(*s).On("never"), nil
		}}}
	older := b.engine
	b.engine = b.another(v2)
	for range 2 {
		_, err := b.engine.Resume(t.Context(), "", r.ID)
		require.NoError(t, err)
		b.flush()
	}
	assert.Equal(t, "v1 7", b.run(r.ID).Note)
	assert.Equal(t, 2, b.run(r.ID).Version)
	_, err := older.Resume(t.Context(), "", r.ID)
	require.NoError(t, err)
	require.NoError(t, older.Flush(t.Context()))
	got := b.run(r.ID)
	assert.Equal(t, 3, got.Turns, "an older program leaves it alone")
	b.now = b.now.Add(2 * time.Minute)
	b.flush()
	assert.Equal(t, 4, b.run(r.ID).Turns)
}

func TestSendDropAndRefused(t *testing.T) {
	b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "send", Steps: steps[int]{
		"send": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			return workflow.Go("drop").Send("one", command.Order{Command: command.SecurityInfo{}}).
				Send("bad", command.Order{Command: command.InstallProfile{}}).Answered("bad"), nil
		},
		"drop": func(_ context.Context, turn *workflow.Turn, _ *int) (workflow.Next, error) {
			_, answered := turn.Answer("bad")
			assert.False(t, answered)
			assert.Contains(t, turn.Refused("bad"), "Payload")
			assert.Empty(t, turn.Refused("one"))
			return workflow.Go("end").Drop("one").Drop("bad").Drop("never sent").Answered("one"), nil
		},
		"end": func(_ context.Context, turn *workflow.Turn, _ *int) (workflow.Next, error) {
			answer, ok := turn.Answer("one")
			assert.True(t, ok)
			return workflow.GiveUp(answer.State.String()), nil
		},
	}})
	r := b.begin("w", 0)
	for range 3 {
		b.flush()
		b.deliver()
	}
	assert.Equal(t, workflow.Failed, b.run(r.ID).Status)
	assert.Equal(t, "canceled", b.run(r.ID).Note)
	assert.Nil(t, connect(b.stores.Command, b.device, command.StatusIdle, ""))
}

func TestAStepThatIsRepeatedSendsTheSame(t *testing.T) {
	taken := 0
	b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "s", Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			taken++
			return workflow.Finish("").Send("one", command.Order{Command: command.SecurityInfo{}}), nil
		}}})
	b.begin("w", 0)
	// Its process dies in the middle of the step: another one has taken it, and is never heard of again.
	_, err := b.stores.Runs.LeaseRuns(t.Context(), []workflow.Known{{Workflow: "w"}}, "dead", b.now, time.Minute, 1)
	require.NoError(t, err)
	b.flush()
	assert.Zero(t, taken)
	b.now = b.now.Add(time.Minute)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { assert.NoError(t, b.engine.Flush(context.Background())) })
	}
	group.Wait()
	assert.Equal(t, 1, taken)
	n := 0
	for _, err := range b.stores.Command.Entries(t.Context(), command.Query{}) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 1, n)
}

func TestRunUntilTheEnd(t *testing.T) {
	done := make(chan struct{})
	b := newBench(t, &workflow.Workflow[int]{Name: "w", First: "s", Steps: steps[int]{
		"s": func(context.Context, *workflow.Turn, *int) (workflow.Next, error) {
			defer close(done)
			return workflow.Finish(""), nil
		}}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.engine.Run(ctx) }()
	b.begin("w", 0) // Begin wakes it
	<-done
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}
