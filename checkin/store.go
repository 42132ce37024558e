package checkin

import (
	"context"
	"iter"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// Store applies check-in messages. What a message means is decided in this package, by a function that a store calls
// inside its transaction; the store loads, calls and writes. It is safe for concurrent use by many goroutines and,
// on a shared database, by many processes.
type Store interface {
	// Update applies one message in one transaction: it loads the situation of key, calls decide, and writes the plan
	// that decide returns, all of it or nothing. Two updates of channels of one device never overlap.
	//
	// If decide fails, nothing is written and its error is returned as it is. If the plan has a Refusal, the plan is
	// written and the Refusal is returned. A store that retries a transaction calls decide again, so decide must have
	// no side effects. If decide panics, nothing is written and the store goes on.
	Update(ctx context.Context, key Key, decide func(*Situation) (Plan, error)) error
}

// Escrow gives out what devices entrusted to the server. Every read leaves an EventSecretRead with its reason, in the
// transaction of the read; without that event no secret is returned.
type Escrow interface {
	// UnlockToken returns the token that clears the passcode of a device, a zero Secret if none is stored. Only the
	// current generation's token is given.
	UnlockToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error)
	// BootstrapToken returns a zero Secret and no error if none is stored.
	BootstrapToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error)
}

// Roster is the operator's view of the enrollments. Reads only.
type Roster interface {
	// Enrollment returns one enrollment, or a NotFound error.
	Enrollment(ctx context.Context, id mdm.EnrollmentID) (*mdm.Enrollment, error)
	// Enrollments yields what f selects in the order of device, then user. After a non-nil error it yields no more.
	Enrollments(ctx context.Context, f mdm.Filter) iter.Seq2[*mdm.Enrollment, error]
}

// Key names what a message is about: the channel and the certificate that came with it. The fingerprint is zero for an
// operator's action.
type Key struct {
	ID          mdm.EnrollmentID
	Fingerprint mdm.Fingerprint
}

// Situation is what the store knows when a message arrives.
type Situation struct {
	identity.Standing

	// ReplacementSent: an InstallProfile that holds an MDM payload was sent to the device in this generation and has no
	// final answer. Evidence for a renewal.
	ReplacementSent bool
	// EraseSent: an EraseDevice was sent to the device in this generation, and the device did not answer that it failed.
	// Evidence for a wipe.
	EraseSent bool
	// Users are the user channels of the device that are not ended. Filled in only when the key is a device channel.
	Users []mdm.EnrollmentID
}

// Plan is what is to be done about a message. The zero Plan changes nothing.
type Plan struct {
	// Refusal is returned to the caller after the rest of the plan was written.
	Refusal error

	// Enrollments are rows to write as they are, by their ID: the channel itself, and on a user channel perhaps its
	// device. LastSeenAt and Presence are not taken from them; the store keeps these. Who ends is Gone, who enrolls again
	// after that is Active; the change leaves an event.
	Enrollments []mdm.Enrollment
	// Certificates are records to write as they are, by their fingerprint.
	Certificates []mdm.Certificate

	// NewGeneration ends what belonged to the former generation of the device and all its user channels: open commands
	// are canceled (an EraseDevice that was sent and not answered is kept as presumed executed), unlock and bootstrap
	// tokens are archived, user channels are ended and lose their AuthToken.
	NewGeneration bool
	// End does the same because the management ended, and forgets pushes that are due.
	End bool

	UnlockToken    mdm.Secret  // stored if not zero; the former one is archived
	BootstrapToken *mdm.Secret // nil leaves it; zero archives and deletes; else stored, the former one archived
	AuthTokenHash  []byte      // of the channel, stored if not nil; empty and not nil deletes it

	Wake bool // leave a push for the channel
	// Seen: the request was accepted. LastSeenAt of the channel, and of a user's device, becomes At of the events' clock, which may
	// be written behind. If one of them is not Active it becomes so in this transaction, with an event, and pushes that waited for
	// it are due.
	Seen   bool
	Events []mdm.Event
}
