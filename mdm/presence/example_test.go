package presence_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/presence"
)

// A device that was silent for a week, and did not answer yesterday's push, is inactive.
func ExamplePolicy_Judge() {
	now := time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)
	finding := presence.Policy{}.Judge(presence.Sighting{
		Enrollment: mdm.Enrollment{
			LastSeenAt: now.AddDate(0, 0, -8),
			Presence:   mdm.Quiet, PresenceSince: now.AddDate(0, 0, -7),
		},
		Pushed: now.Add(-20 * time.Hour),
	}, now, 0)
	fmt.Println(finding.Presence)
	fmt.Println(finding.Reason)
	fmt.Println("look again at", finding.Next.Format(time.DateTime))
	// Output:
	// inactive
	// silent since 2026-03-01T12:00:00Z, and the push of 2026-03-08T16:00:00Z is not answered
	// look again at 2026-03-09 16:00:00
}

// Who grants access consumes the changes; server.Config.Consumers takes the result.
func ExampleChanges() {
	access := presence.Changes(func(_ context.Context, c presence.Change) error {
		allowed := c.Presence == mdm.Active || c.Presence == mdm.Quiet
		fmt.Println(c.Enrollment.Device, "is", c.Presence, "- access:", allowed)
		return nil
	})
	for _, kind := range []mdm.EventType{mdm.EventQuiet, mdm.EventInactive, mdm.EventActive} {
		_ = access.Consume(context.Background(), mdm.Event{Type: kind, Enrollment: mdm.EnrollmentID{Device: "C02XL0GYJGH5"}})
	}
	// Output:
	// C02XL0GYJGH5 is quiet - access: true
	// C02XL0GYJGH5 is inactive - access: false
	// C02XL0GYJGH5 is active - access: true
}
