package enroll

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Session is one way in that takes more than one request: who began it, which device took it up, and how far it is.
// [Session.Prepared] says how much stores keep.
type Session struct {
	ID     string // of NewSessionID; it is in URLs and no secret
	Kind   string // which way in, as "ota"
	Tenant string
	User   string // who began it, in the words of the vendor; empty if nobody logged in
	// Secret is the SHA-256 of what the device has to show to take the session up.
	Secret [sha256.Size]byte

	State SessionState
	// Device is what the device said of itself, under Apple's names, as "UDID" and "SERIAL".
	Device   map[string]string
	BuiltIn  mdm.Fingerprint // of the device's built-in certificate; the session is this device's from Identified on
	Identity mdm.Fingerprint // of the certificate that the profile was last delivered for
	Runs     int             // how often the device went through it

	BegunAt     time.Time
	OpenUntil   time.Time // until then the device can take it up and go through it again
	DeliveredAt time.Time // the last time
	UpdateFrom  time.Time // from then on the device can go through it again; zero: never
	KeepUntil   time.Time // the record may be deleted then; zero: never
}

// SessionState is how far a Session is.
type SessionState uint8

// The states.
const (
	SessionOpen       SessionState = iota + 1 // begun by a user; no device has taken it up
	SessionIdentified                         // a device has proven who it is
	SessionDelivered                          // and got its profile
)

var sessionStateNames = [...]string{"none", "open", "identified", "delivered"}

// String returns the state in a word.
func (s SessionState) String() string {
	if int(s) < len(sessionStateNames) {
		return sessionStateNames[s]
	}
	return "unknown"
}

// NewSessionID returns a random ID for a session of a kind.
func NewSessionID(kind string) string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return kind + "-" + hex.EncodeToString(b)
}

// Sessions keeps sessions. It is safe for concurrent use by many goroutines and processes.
type Sessions interface {
	// CreateEnrollmentSession stores a new session, as [Session.Prepared] makes it. The error is Malformed if that fails, or if
	// there is a session of its ID, whatever its tenant is.
	CreateEnrollmentSession(ctx context.Context, s Session) error
	// EnrollmentSession returns a session, or a NotFound error. One whose KeepUntil has passed is there until a sweep.
	EnrollmentSession(ctx context.Context, id string) (Session, error)
	// ChangeEnrollmentSession loads a session, lets change decide what becomes of it, and writes that, in one step that no
	// other change comes between. If change fails nothing is written, and its error is returned as it is. change may run more
	// than once, after a lost connection even on what it made itself; it must have no effects of its own and must not call the
	// store. ID, Kind, Tenant and BegunAt cannot be changed: see [Session.Changed]. It returns the session as it was written, a
	// NotFound error if there is none, or a Malformed one if it cannot be kept as change left it.
	ChangeEnrollmentSession(ctx context.Context, id string, change func(*Session) error) (Session, error)
}
