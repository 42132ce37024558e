package ddm_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/storage/memory"
)

// A declaration is checked for the devices that it is meant for, and then written as they read it.
func Example() {
	d := ddm.Declaration{Identifier: "passcode", ServerToken: "1", Payload: &ddm.PasscodeSettings{RequirePasscode: new(true), MinimumLength: new(int64(6))}}
	tv := schema.Target{Platform: schema.TvOS, OSVersion: "18.0", Channel: mdm.DeviceChannel}
	fmt.Println(d.Validate(tv).Err())
	wire, err := json.Marshal(d)
	fmt.Println(string(wire), err)
	// Output:
	// Payload: platform: not on tvOS
	// {"Identifier":"passcode","Payload":{"MinimumLength":6,"RequirePasscode":true},"ServerToken":"1","Type":"com.apple.configuration.passcode.settings"} <nil>
}

// What a device reports is nested by the dots in the names of status items.
func ExampleParseStatusReport() {
	_, items, err := ddm.ParseStatusReport([]byte(`{"StatusItems": {"device": {"operating-system": {"version": "18.1"}}}, "Errors": []}`))
	fmt.Println(*items.Device.OperatingSystem.Version, items.Passcode == nil, err)
	// Output: 18.1 true <nil>
}

// A set is checked before it is published: here an activation names what is not there.
func ExampleCheck() {
	on := ddm.Declaration{Identifier: "on", Payload: &ddm.ActivationSimple{StandardConfigurations: []string{"passcode"}}}
	fmt.Println(ddm.Check([]ddm.Declaration{on}))
	passcode := ddm.Declaration{Identifier: "passcode", Payload: &ddm.PasscodeSettings{RequirePasscode: new(true)}}
	fmt.Println(ddm.Check([]ddm.Declaration{on, passcode}))
	// Output:
	// ddm: "on": it names what is not there: "passcode"
	// <nil>
}

// everyone gives every enrollment the same.
type everyone []ddm.Declaration

func (e everyone) Declarations(context.Context, mdm.EnrollmentID) ([]ddm.Declaration, error) {
	return e, nil
}

func (everyone) Status(_ context.Context, id mdm.EnrollmentID, r ddm.StatusReport) error {
	items, _ := ddm.StatusItemsOf(r)
	fmt.Println(id, "runs", *items.Device.OperatingSystem.Version)
	return nil
}

// A responder is the Declarative of a checkin.Service. These are the answers to two requests of a device.
func ExampleResponder() {
	r := &ddm.Responder{Backend: everyone{{Identifier: "who", Payload: &ddm.ManagementOrganizationInfo{Name: "Example"}}}}
	id := mdm.EnrollmentID{Device: "D"}
	reply, err := r.Declare(context.Background(), id, "declaration/management/who", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(reply.Body))
	_, err = r.Declare(context.Background(), id, "status", []byte(`{"StatusItems":{"device":{"operating-system":{"version":"18.1"}}},"Errors":[]}`))
	fmt.Println(err)
	// Output:
	// {"Identifier":"who","Payload":{"Name":"Example"},"ServerToken":"eb7ad6b53f545cedbe32aed27034d322","Type":"com.apple.management.organization-info"}
	// D runs 18.1
	// <nil>
}

// Parts of a server declare groups, each its own. The device is told to synchronize, once for all changes that it has not heard of.
func ExampleGroups() {
	ctx, id, stores := context.Background(), mdm.EnrollmentID{Device: "D"}, memory.New().Stores()
	_ = stores.Checkin.Update(ctx, checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Enrollments: []mdm.Enrollment{{ID: id, State: mdm.Enrolled, Generation: 1}}}, nil
	})
	groups := &ddm.Groups{Store: stores.Declarations, Commands: stores.Command}
	for name, list := range map[string][]ddm.Declaration{
		"about": {{Identifier: "about", Payload: &ddm.ManagementOrganizationInfo{Name: "Example"}}},
		"code": {{Identifier: "code", Payload: &ddm.PasscodeSettings{MinimumLength: new(int64(8))}},
			{Identifier: "code.on", Payload: &ddm.ActivationSimple{StandardConfigurations: []string{"code"}}}},
	} {
		if err := groups.Declare(ctx, id, ddm.Group{Name: name, Declarations: list}); err != nil {
			fmt.Println(err)
		}
	}
	s, err := (&ddm.Responder{Backend: groups}).Set(ctx, id)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range s.Declarations() {
		fmt.Println(d.Identifier, ddm.KindOf(d.Payload.DeclarationType()))
	}
	for e := range stores.Command.Entries(ctx, command.Query{From: id}) {
		fmt.Println(e.RequestType, e.State)
	}
	// Output:
	// about management
	// code configuration
	// code.on activation
	// DeclarativeManagement canceled
	// DeclarativeManagement queued
}
