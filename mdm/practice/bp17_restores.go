package practice

import (
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

// Restores says which devices may go on that come back from a backup with a TokenUpdate and without Authenticate (Apple, "MDM Best
// Practices": devices that are not actively managed should be rejected). Its zero value is that of package checkin:
//
//   - A device that is enrolled goes on, also if it was quiet or inactive, or if APNs called its old token dead; its token is updated.
//     Its certificate must be its own: the one in use, or one that was replaced since the backup.
//   - One whose enrollment ended is told to remove its management, and so is one that is known by its certificate only.
//   - One that is not known at all is refused, and keeps what it has: a store that lost its data must not end a fleet's management.
//   - Another device's certificate is refused, and an event tells of the conflict.
type Restores struct {
	// Within lets in a device again that checked out no longer ago than this, as one that was erased for a repair and got its backup
	// back. Its commands and secrets are gone. One that the server has ended is never let in. 0: none.
	Within time.Duration
	// Retired says of an enrolled device that it is not to come back, as one that is lost or was taken out of service. Its enrollment
	// ends then. It is quick and has no effects: it runs in a transaction of the store. Nil: there are none.
	Retired func(*mdm.Enrollment) bool
	Clock   func() time.Time // nil: time.Now
}

// Apply sets the hooks of a check-in service.
func (p Restores) Apply(s *checkin.Service) { s.Readopt, s.Restored = p.Readopt, p.Restored }

// Readopt is the Readopt of a checkin.Service.
func (p Restores) Readopt(ended *mdm.Enrollment) bool {
	clock := p.Clock
	if clock == nil {
		clock = time.Now
	}
	return p.Within > 0 && ended.EndReason == "CheckOut" && clock().Sub(ended.EndedAt) <= p.Within && p.Restored(ended)
}

// Restored is the Restored of a checkin.Service.
func (p Restores) Restored(e *mdm.Enrollment) bool { return p.Retired == nil || !p.Retired(e) }
