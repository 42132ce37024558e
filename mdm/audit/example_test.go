package audit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/storage/memory"
)

func Example() {
	ctx := context.Background()
	log := memory.New().Stores().Audit // or that of another store
	for _, device := range []string{"D1", "D2", "D3"} {
		_, err := log.Append(ctx, audit.Entry{Actor: "anna@example.com", Action: "device.erased", Reason: "ticket 4711", Enrollment: mdm.EnrollmentID{Device: device}})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	head, err := audit.Verify(log.Entries(ctx, "", 0, 0), audit.Head{})
	fmt.Println(head.Number, err) // remember the head elsewhere

	cutOff := log.Entries(ctx, "", 0, 2) // a log that lost its last entry
	_, err = audit.Verify(cutOff, head)
	var broken *audit.Broken
	fmt.Println(errors.As(err, &broken), broken.Number)
	// Output:
	// 3 <nil>
	// true 3
}
