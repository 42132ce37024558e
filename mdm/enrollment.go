package mdm

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Generation counts the enrollments of one device: a wipe or a new enrollment begins the next one, a renewal does
// not. Commands, results and secrets belong to one generation. The first is 1.
type Generation int64

// State is where an enrollment stands.
type State uint8

// The states. A device is managed only when it is Enrolled: after Authenticate other parts of its profile may still
// fail to install.
const (
	Pending  State = iota + 1 // Authenticate was accepted, the first TokenUpdate has not come
	Enrolled                  // managed
	Ended                     // checked out, or ended by the server
)

var stateNames = [...]string{"none", "pending", "enrolled", "ended"}

// String returns the state in a word.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Device is what a device says of itself in Authenticate. Every field may be empty: most are sent only if the access
// rights hold QueryDevice, and serial number, IMEI and MEID never in User Enrollment.
type Device struct {
	Name         string // DeviceName
	Model        string // as "MacBookPro18,3" or "iPhone"
	ModelName    string
	ProductName  string // as "iPhone15,2"
	SerialNumber string
	OSVersion    string
	BuildVersion string
	IMEI         string
	MEID         string

	// What its answers to DeviceInformation and SecurityInfo say, as far as such commands were sent.
	Supervised   Tristate // IsSupervised
	SharedIPad   Tristate // IsMultiUser
	Automated    Tristate // ManagementStatus.EnrolledViaDEP: Automated Device Enrollment
	UserApproved Tristate // ManagementStatus.UserApprovedEnrollment (macOS)
}

// Tristate is a truth that may not be known.
type Tristate uint8

// The values of Tristate.
const (
	Unsaid Tristate = iota
	No
	Yes
)

// Enrollment is one channel of a device as the server knows it.
type Enrollment struct {
	ID         EnrollmentID
	Channel    Channel
	State      State
	Generation Generation
	Topic      string       // the push topic, com.apple.mgmt.…
	Rights     AccessRights // of the installed MDM profile; 0 if not known
	Device     Device       // device channel only

	UserShortName string // user channels only
	UserLongName  string

	// Arrival is how the device came in this generation: EventEnrolled, EventReenrolled or EventAfterWipe. The first
	// TokenUpdate leaves that event. Of a device that was imported it is what the importer says.
	Arrival EventType

	// AwaitingConfiguration is true while the device waits in Setup Assistant for DeviceConfigured (on Shared iPad the
	// user for UserConfigured).
	AwaitingConfiguration bool

	PushToken []byte // APNs device token of this channel
	PushMagic string

	Presence      Presence  // whether it is still there; kept by the store
	PresenceSince time.Time // when that last changed; zero: it never did

	AuthenticatedAt time.Time // last Authenticate
	EnrolledAt      time.Time // first TokenUpdate of this generation
	TokenUpdatedAt  time.Time // last TokenUpdate; APNs feedback is judged against it
	LastSeenAt      time.Time // last accepted request, of a device also of its users; written behind, so that it may lag by seconds
	EndedAt         time.Time
	EndReason       string // "CheckOut", or what the operator gave
}

// KnowsUnrecognized reports whether the operating system of d knows the answer 403 com.apple.unrecognized.device: iOS
// and tvOS 17, macOS 14, visionOS 1.1, watchOS 10. It is false if d does not say enough.
func (d Device) KnowsUnrecognized() bool {
	kind := d.ProductName
	if kind == "" {
		kind = d.Model
	}
	major, minor := version(d.OSVersion)
	switch {
	case hasPrefix(kind, "iPhone", "iPad", "iPod", "AppleTV"):
		return major >= 17
	case hasPrefix(kind, "RealityDevice"):
		return major > 1 || major == 1 && minor >= 1
	case hasPrefix(kind, "Watch"):
		return major >= 10
	case strings.Contains(kind, "Mac"), hasPrefix(kind, "VirtualMac"):
		return major >= 14
	}
	return false
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// version returns the first two numbers of a version like "17.4.1"; what is no number is 0.
func version(s string) (major, minor int) {
	first, rest, _ := strings.Cut(s, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, _ = strconv.Atoi(first)
	minor, _ = strconv.Atoi(second)
	return major, minor
}
