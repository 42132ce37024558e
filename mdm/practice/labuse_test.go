package practice_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestLab shows how the lab is used.
func TestLab(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		type state struct{}
		l.serve(nil, &workflow.Workflow[state]{
			Name: "hello", First: "ask", Listens: []mdm.EventType{mdm.EventEnrolled},
			Start: func(context.Context, mdm.Event) (state, string, bool, error) { return state{}, "hello", true, nil },
			Steps: map[string]func(context.Context, *workflow.Turn, *state) (workflow.Next, error){
				"ask": func(context.Context, *workflow.Turn, *state) (workflow.Next, error) {
					return workflow.Go("later").Send("list", command.Order{Command: command.ProfileList{}}).Answered("list"), nil
				},
				"later": func(_ context.Context, turn *workflow.Turn, _ *state) (workflow.Next, error) {
					return workflow.Go("end").At(turn.Now.Add(90 * time.Minute)), nil
				},
				"end": func(context.Context, *workflow.Turn, *state) (workflow.Next, error) {
					return workflow.Finish("hello"), nil
				},
			},
		})
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		assert.Equal(t, []string{"ProfileList"}, took(d))
		assert.Equal(t, workflow.Open, l.runs("hello")[0].Status)
		l.advance(2*time.Hour, d)
		assert.Equal(t, workflow.Done, l.runs("hello")[0].Status)
		assert.Equal(t, 1, len(l.queue(d)))
		assert.NotEmpty(t, l.events(d))
	})
}
