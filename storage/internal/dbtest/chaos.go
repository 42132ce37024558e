package dbtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/event"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
)

// chaos is what a run of the workflow of [Chaos] remembers.
type chaos struct {
	Took  []string // the steps that counted
	Asked int
}

type chaosSteps = map[string]func(context.Context, *workflow.Turn, *chaos) (workflow.Next, error)

// chaosWorkflow asks until it is answered, sleeps, sends two commands, waits for the answer to one, for an event that comes at
// that moment, and for the other answer, which may be there by then.
func chaosWorkflow() *workflow.Workflow[chaos] {
	steps := chaosSteps{
		"ask": func(_ context.Context, _ *workflow.Turn, s *chaos) (workflow.Next, error) {
			s.Asked++
			return workflow.Go("check").Send("info", command.Order{Command: command.SecurityInfo{}}).Answered("info"), nil
		},
		"check": func(_ context.Context, t *workflow.Turn, _ *chaos) (workflow.Next, error) {
			switch a, ok := t.Answer("info"); {
			case !ok:
				return workflow.Next{}, errors.New("woken without an answer")
			case a.State == command.Failed:
				return workflow.Go("ask"), nil
			}
			return workflow.Go("send").At(t.Now.Add(100 * time.Millisecond)), nil
		},
		"send": func(_ context.Context, t *workflow.Turn, _ *chaos) (workflow.Next, error) {
			return workflow.Go("first").Send("one", command.Order{Command: command.ProfileList{}}).
				Send("two", command.Order{Command: command.CertificateList{}}).Answered("one"), nil
		},
		"first": func(_ context.Context, t *workflow.Turn, _ *chaos) (workflow.Next, error) {
			return workflow.Go("event").On(mdm.EventTokenUpdated), nil
		},
		"event": func(_ context.Context, t *workflow.Turn, _ *chaos) (workflow.Next, error) {
			return workflow.Go("second").Answered("two"), nil
		},
		"second": func(_ context.Context, t *workflow.Turn, _ *chaos) (workflow.Next, error) {
			if _, ok := t.Answer("two"); !ok {
				return workflow.Next{}, errors.New("woken without an answer")
			}
			return workflow.Finish("all of it"), nil
		},
	}
	for name, step := range steps {
		steps[name] = func(ctx context.Context, t *workflow.Turn, s *chaos) (workflow.Next, error) {
			if rand.IntN(20) == 0 {
				return workflow.Next{}, errors.New("now and then")
			}
			s.Took = append(s.Took, name)
			next, err := step(ctx, t, s)
			fmt.Println("step", t.Run.ID, t.Run.Turns, name)
			return next, err
		}
	}
	return &workflow.Workflow[chaos]{Name: "chaos", First: "ask", Listens: []mdm.EventType{mdm.EventTokenUpdated}, Steps: steps,
		Retry: workflow.Retry{Limit: 1000, First: 20 * time.Millisecond, Most: 200 * time.Millisecond}}
}

// took reports whether a run took the steps that it must have taken, each once.
func (s *chaos) took() bool {
	var want []string
	for range s.Asked {
		want = append(want, "ask", "check")
	}
	return s.Asked > 0 && slices.Equal(s.Took, append(want, "send", "first", "event", "second"))
}

// chaosLease is how long what a killed process had is nobody's.
const chaosLease = 2 * time.Second

func chaosEngine(stores storage.Stores) (*workflow.Engine, error) {
	return workflow.New(workflow.Config{Store: stores.Runs, Commands: stores.Command, Roster: stores.Roster, Interval: 20 * time.Millisecond,
		Lease: chaosLease}, chaosWorkflow())
}

// workOnRuns is a replica: it takes steps and delivers events, until it is killed or whoever began it is gone.
func workOnRuns(stores storage.Stores) error {
	engine, err := chaosEngine(stores)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with its parent, which holds the other end
		_, _ = os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	events := &event.Dispatcher{Log: stores.Events, Name: "workflows", Consumer: engine, Interval: 20 * time.Millisecond, Lease: chaosLease}
	go func() { _ = events.Run(ctx) }()
	return engine.Run(ctx)
}
