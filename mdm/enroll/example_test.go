package enroll_test

import (
	"encoding/json"
	"fmt"

	"github.com/gomdm/applemdm/mdm/enroll"
)

// A device that is too old is told to update before it enrolls: the body of a 403.
func Example() {
	body, err := json.Marshal(enroll.ErrorSoftwareUpdateRequired{
		Code:    enroll.ErrorSoftwareUpdateRequiredCode,
		Details: enroll.ErrorSoftwareUpdateRequiredDetails{OSVersion: "18.1"},
	})
	fmt.Println(string(body), err)
	// Output: {"code":"com.apple.softwareupdate.required","details":{"OSVersion":"18.1"}} <nil>
}
