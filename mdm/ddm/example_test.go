package ddm_test

import (
	"encoding/json"
	"fmt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
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
