package provisioning_test

import (
	"fmt"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile/provisioning"
)

// The profile of an in-house app ends in three weeks, and its successor is at hand.
func ExamplePlanner_Plan() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	app := map[string]any{"application-identifier": "A1B2C3D4E5.com.example.app"}
	old := &provisioning.Profile{ // as Parse returns it
		UUID: "aaaa", Name: "Example 2025", TeamIdentifiers: []string{"A1B2C3D4E5"}, Entitlements: app, ProvisionsAllDevices: true,
		ExpirationDate: now.AddDate(0, 0, 21),
	}
	next := &provisioning.Profile{
		UUID: "bbbb", Name: "Example 2026", TeamIdentifiers: []string{"A1B2C3D4E5"}, Entitlements: app, ProvisionsAllDevices: true,
		ExpirationDate: now.AddDate(1, 0, 0),
	}
	goal := provisioning.Goal{Profiles: []*provisioning.Profile{old, next}}

	var state provisioning.State // of one device, kept with it
	list := func(uuids ...string) {
		var answer command.ProvisioningProfileListResponse
		for _, uuid := range uuids {
			answer.ProvisioningProfileList = append(answer.ProvisioningProfileList, command.ProvisioningProfileListItem{UUID: uuid})
		}
		state.Listed(answer, now)
	}
	look := func() {
		p := provisioning.Planner{}.Plan(goal, state, now)
		for i, c := range p.Commands() { // queue them
			if i < len(p.Steps) {
				fmt.Println(c.RequestType(), p.Steps[i].UUID+":", p.Steps[i].Why)
			}
		}
		state.Sent(p, now)
		now = now.Add(time.Hour)
	}

	list("aaaa")
	look()
	look()                      // nothing: it is on its way
	state.Answered("bbbb", now) // the device has acknowledged
	now = now.Add(time.Minute)
	list("aaaa", "bbbb") // and listed it
	look()
	// Output:
	// InstallProvisioningProfile bbbb: it replaces aaaa, which ends on 2026-03-22
	// RemoveProvisioningProfile aaaa: bbbb has replaced it
}

func ExampleMissingRights() {
	granted := mdm.InspectProfiles | mdm.InstallProfiles | mdm.InspectProvisioning
	fmt.Println(provisioning.MissingRights(granted, schema.IOS))
	// Output: InstallProvisioning
}
