package practice_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage/memory"
)

// A device that has enrolled gets its profiles stage by stage, and may then leave Setup Assistant. A server has all of this from
// server.Config.Workflows and Cooks; here the device is played by hand.
func Example() {
	ctx, stores := context.Background(), memory.New().Stores()
	setup := &practice.Setup{
		Roster: stores.Roster,
		Profiles: practice.ProfileFunc(func(_ context.Context, _ *mdm.Enrollment, name string) ([]byte, error) {
			return (&profile.Profile{Identifier: name, Payloads: []profile.Payload{&profile.WebClip{URL: "https://example.com", Label: name}}}).Encode()
		}),
		Stages: func(context.Context, *mdm.Enrollment) (practice.SetupStages, error) {
			return practice.SetupStages{Trust: []string{"com.example.ca"}, Capabilities: []string{"com.example.wifi", "com.example.mail"}}, nil
		},
	}
	engine, err := workflow.New(workflow.Config{Store: stores.Runs, Commands: stores.Command, Roster: stores.Roster}, setup.Workflows()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	device := mdm.EnrollmentID{Device: "8D4C3B2A"}
	_ = stores.Checkin.Update(ctx, checkin.Key{ID: device}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{
			Enrollments: []mdm.Enrollment{{ID: device, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, AwaitingConfiguration: true}},
			Events:      []mdm.Event{{Type: mdm.EventEnrolled, Enrollment: device, Generation: 1}},
		}, nil
	})
	deliver := func() {
		events, _ := stores.Events.Lease(ctx, "workflows", 100, time.Minute)
		for _, e := range events {
			_ = engine.Consume(ctx, e)
		}
		_ = stores.Events.Ack(ctx, "workflows", events)
		_ = engine.Flush(ctx)
	}
	say := func(status command.Status, uuid string) *command.Offer {
		offer, _ := stores.Command.Exchange(ctx, &command.Report{ID: device, Channel: mdm.DeviceChannel, Status: status, CommandUUID: uuid,
			Raw: []byte("<plist><dict/></plist>"), At: time.Now()}, func(*identity.Standing) identity.Verdict { return identity.Verdict{} })
		return offer
	}
	for range 3 {
		deliver()
		for offer := say(command.StatusIdle, ""); offer != nil; offer = say(command.StatusAcknowledged, offer.UUID) {
			recipe, _ := command.RecipeOf(offer.Body) // its cook makes the profile now
			fmt.Println(offer.RequestType, recipe.Args["profile"])
		}
	}
	// Output:
	// InstallProfile com.example.ca
	// InstallProfile com.example.wifi
	// InstallProfile com.example.mail
	// DeviceConfigured
}
