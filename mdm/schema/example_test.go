package schema_test

import (
	"fmt"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// A rule can be overruled: the schema is not always right.
func ExampleFindings_Relaxed() {
	phone := schema.Target{Platform: schema.IOS, OSVersion: "18.0", Channel: mdm.DeviceChannel, Supervised: schema.False}
	found := command.Validate(command.ShutDownDevice{}, phone)
	fmt.Println(found.Err())
	fmt.Println(found.Relaxed(schema.RuleSupervised).Err())
	// Output:
	// supervised: needs a supervised device
	// <nil>
}

// The tables say what a type is made of, for a form or for documentation.
func ExampleObject() {
	lock := command.DeviceLock{}.Schema()
	for _, k := range lock.Keys {
		mac := k.Support.MacOS
		fmt.Println(k.Name, k.Kind, k.Secret, mac.Introduced)
	}
	// Output:
	// Message string false 10.14
	// PhoneNumber string false 11.5
	// PIN string true 10.8
}
