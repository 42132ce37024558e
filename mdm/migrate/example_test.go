package migrate_test

import (
	"context"
	"fmt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/migrate"
	"github.com/gomdm/applemdm/storage/memory"
)

// A source of your own needs two methods. Here it is a list; see fleet.
func ExampleRun() {
	source := &fleet{records: []migrate.Record{{
		Position: "1",
		Enrollment: mdm.Enrollment{
			ID: mdm.EnrollmentID{Device: "00008103-000A"}, Channel: mdm.DeviceChannel, State: mdm.Enrolled,
			Topic: "com.apple.mgmt.External.example", PushToken: []byte{1, 2, 3}, PushMagic: "7E2C9E9B",
		},
		UnlockToken: mdm.SecretString("a secret"),
	}}}
	stores := memory.New().Stores()

	for range 2 {
		report, err := migrate.Run(context.Background(), source, stores, migrate.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("devices:", report.Enrollments, "unchanged:", report.Unchanged, "without a certificate:", report.Unbound)
	}
	// Output:
	// devices: 1 unchanged: 0 without a certificate: 1
	// devices: 1 unchanged: 1 without a certificate: 1
}
