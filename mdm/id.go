package mdm

import (
	"fmt"
	"net/url"
	"strings"
)

// EnrollmentID names one channel of one enrollment. It is comparable and usable as a map key.
//
// Device is the UDID of a device enrollment or the EnrollmentID of a User Enrollment. User is empty on the device
// channel, else the UserID, the EnrollmentUserID, or on Shared iPad the UserShortName (the Managed Apple Account).
// All are opaque to us: their case and dashes are never changed. Tenant keeps customers of one server apart; it is
// empty on a server with one.
type EnrollmentID struct {
	Tenant string
	Device string
	User   string
}

// IsZero reports whether id names nothing.
func (id EnrollmentID) IsZero() bool { return id == EnrollmentID{} }

// IsUser reports whether id names a user channel.
func (id EnrollmentID) IsUser() bool { return id.User != "" }

// DeviceID returns the device channel that id belongs to; of a device channel, itself. Blocking or ending the device
// channel applies to all its users.
func (id EnrollmentID) DeviceID() EnrollmentID {
	id.User = ""
	return id
}

// String returns a text form that [ParseEnrollmentID] reads back: "device", "device/user", each with a leading
// "tenant~" if there is one. Bytes that would be ambiguous are escaped as in a URL path.
func (id EnrollmentID) String() string {
	var b strings.Builder
	if id.Tenant != "" {
		b.WriteString(escape(id.Tenant))
		b.WriteByte('~')
	}
	b.WriteString(escape(id.Device))
	if id.User != "" {
		b.WriteByte('/')
		b.WriteString(escape(id.User))
	}
	return b.String()
}

// MarshalText implements [encoding.TextMarshaler] with the form of String.
func (id EnrollmentID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; see [ParseEnrollmentID]. It also reads nothing at all, and "tenant~":
// some events are about a tenant and no device.
func (id *EnrollmentID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = EnrollmentID{}
		return nil
	}
	if alone, ok := strings.CutSuffix(string(text), "~"); ok {
		tenant, err := url.PathUnescape(alone)
		if err != nil || !plainID(tenant) {
			return Errorf(Malformed, "mdm.EnrollmentID", "not a tenant")
		}
		*id = EnrollmentID{Tenant: tenant}
		return nil
	}
	parsed, err := ParseEnrollmentID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// ParseEnrollmentID reads the text form that [EnrollmentID.String] writes. The error is a [Malformed] one.
func ParseEnrollmentID(s string) (EnrollmentID, error) {
	tenant, rest, found := strings.Cut(s, "~")
	if !found {
		tenant, rest = "", s
	}
	device, user, _ := strings.Cut(rest, "/")
	var id EnrollmentID
	for _, part := range []struct {
		to   *string
		text string
	}{{&id.Tenant, tenant}, {&id.Device, device}, {&id.User, user}} {
		text, err := url.PathUnescape(part.text)
		if err != nil || (text != "" && !plainID(text)) {
			return EnrollmentID{}, Errorf(Malformed, "mdm.ParseEnrollmentID", "not an enrollment id")
		}
		*part.to = text
	}
	if id.Device == "" || strings.Count(rest, "/") > 1 {
		return EnrollmentID{}, Errorf(Malformed, "mdm.ParseEnrollmentID", "not an enrollment id")
	}
	return id, nil
}

func escape(s string) string { return strings.ReplaceAll(url.PathEscape(s), "~", "%7E") }

// SharedIPadUserID is the UserID that every Shared iPad sends on its user channel; the user's name is in
// UserShortName. It must not be used as a key.
const SharedIPadUserID = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"

// Channel says which of Apple's kinds of connection an enrollment is.
type Channel uint8

// The channels. The zero value is none of them.
const (
	DeviceChannel         Channel = iota + 1 // UDID alone: Device Enrollment, Automated Device Enrollment
	UserChannel                              // UDID and UserID: a user of a Mac
	SharedIPadChannel                        // UDID, the constant UserID and UserShortName: a user of a Shared iPad
	UserEnrollmentChannel                    // EnrollmentID alone: User Enrollment
	UserEnrollmentUser                       // EnrollmentID and EnrollmentUserID: User Enrollment, user channel (macOS)
)

var channelNames = [...]string{"none", "device", "user", "shared-ipad-user", "user-enrollment", "user-enrollment-user"}

// String returns a short name for logs and tables.
func (c Channel) String() string {
	if int(c) < len(channelNames) {
		return channelNames[c]
	}
	return fmt.Sprintf("channel(%d)", uint8(c))
}

// IsUser reports whether c is a user channel.
func (c Channel) IsUser() bool {
	return c == UserChannel || c == SharedIPadChannel || c == UserEnrollmentUser
}

// IsUserEnrollment reports whether c belongs to a User Enrollment, which has no UDID and ignores access rights.
func (c Channel) IsUserEnrollment() bool {
	return c == UserEnrollmentChannel || c == UserEnrollmentUser
}
