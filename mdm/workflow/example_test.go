package workflow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage/memory"
)

// A workflow that asks a device until it has a passcode, and then locks it once.
func Example() {
	type state struct{ Asked int }
	w := &workflow.Workflow[state]{
		Name: "passcode", Version: 1, First: "ask",
		Steps: map[string]func(context.Context, *workflow.Turn, *state) (workflow.Next, error){
			"ask": func(_ context.Context, _ *workflow.Turn, s *state) (workflow.Next, error) {
				s.Asked++
				return workflow.Go("look").Send("info", command.Order{Command: command.SecurityInfo{}}).Answered("info"), nil
			},
			"look": func(_ context.Context, t *workflow.Turn, s *state) (workflow.Next, error) {
				answer, ok := t.Answer("info")
				if ok && answer.State == command.Acknowledged && s.Asked > 1 { // a real one reads answer.Result
					return workflow.Finish("it has a passcode"), nil
				}
				return workflow.Go("ask").At(t.Now.Add(time.Hour)).Note("no passcode yet"), nil
			},
		},
	}

	now := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	stores, device := memory.New().Stores(), mdm.EnrollmentID{Device: "8D4C3B2A"}
	enroll(stores.Checkin, device)
	engine, err := workflow.New(workflow.Config{Store: stores.Runs, Commands: stores.Command, Roster: stores.Roster,
		Clock: func() time.Time { return now }}, w)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	run, _, _ := engine.Begin(ctx, "passcode", device, "", state{})
	for range 2 {
		_ = engine.Flush(ctx) // it asks
		offer := connect(stores.Command, device, command.StatusIdle, "")
		connect(stores.Command, device, command.StatusAcknowledged, offer.UUID)
		events, _ := stores.Events.Lease(ctx, "workflows", 100, time.Minute)
		for _, e := range events {
			_ = engine.Consume(ctx, e)
		}
		_ = stores.Events.Ack(ctx, "workflows", events)
		_ = engine.Flush(ctx) // it looks
		run, _ = stores.Runs.Run(ctx, "", run.ID)
		fmt.Println(run.Status, run.Step, "–", run.Note)
		now = now.Add(time.Hour)
	}
	// Output:
	// open ask – no passcode yet
	// done look – it has a passcode
}

// enroll writes the row of an enrolled device, as a check-in does.
func enroll(store checkin.Store, id mdm.EnrollmentID) {
	_ = store.Update(context.Background(), checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Enrollments: []mdm.Enrollment{{ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1}}}, nil
	})
}
