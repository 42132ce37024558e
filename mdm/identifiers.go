package mdm

import (
	"unicode"
	"unicode/utf8"
)

// MaxIdentifier is the longest identifier, in bytes, that is accepted from a device. Apple's are at most 40; a
// Managed Apple Account may be as long as an email address.
const MaxIdentifier = 255

// Identifiers are the keys by which a message says from whom it comes, as they were sent. Check-in messages and
// command reports carry the same ones.
type Identifiers struct {
	UDID             string
	EnrollmentID     string
	UserID           string
	EnrollmentUserID string
	UserShortName    string
	UserLongName     string
}

// Resolve returns the enrollment that the identifiers name, and its channel. Exactly one of UDID and EnrollmentID
// must be present (Apple's schema marks both as required, but its User Enrollment flags exclude each other). Every
// identifier must be valid UTF-8, printable and at most [MaxIdentifier] bytes long. The error is a [Malformed] one.
func (ids Identifiers) Resolve(tenant string) (EnrollmentID, Channel, error) {
	const op = "mdm.Identifiers"
	for _, s := range []string{ids.UDID, ids.EnrollmentID, ids.UserID, ids.EnrollmentUserID, ids.UserShortName, ids.UserLongName} {
		if s != "" && !plainID(s) {
			return EnrollmentID{}, 0, Errorf(Malformed, op, "an identifier is too long or not printable")
		}
	}
	switch {
	case ids.UDID != "" && ids.EnrollmentID != "":
		return EnrollmentID{}, 0, Errorf(Malformed, op, "both UDID and EnrollmentID are present")
	case ids.UDID != "":
		return ids.resolveUDID(tenant)
	case ids.EnrollmentID != "":
		return ids.resolveUserEnrollment(tenant)
	default:
		return EnrollmentID{}, 0, Errorf(Malformed, op, "neither UDID nor EnrollmentID is present")
	}
}

func (ids Identifiers) resolveUDID(tenant string) (EnrollmentID, Channel, error) {
	id := EnrollmentID{Tenant: tenant, Device: ids.UDID}
	switch {
	case ids.EnrollmentUserID != "":
		return EnrollmentID{}, 0, Errorf(Malformed, "mdm.Identifiers", "EnrollmentUserID goes with EnrollmentID, not with UDID")
	case ids.UserID == "":
		return id, DeviceChannel, nil
	case ids.UserID != SharedIPadUserID:
		id.User = ids.UserID
		return id, UserChannel, nil
	case ids.UserShortName == "":
		return EnrollmentID{}, 0, Errorf(Malformed, "mdm.Identifiers", "a Shared iPad user channel without UserShortName")
	default:
		id.User = ids.UserShortName
		return id, SharedIPadChannel, nil
	}
}

func (ids Identifiers) resolveUserEnrollment(tenant string) (EnrollmentID, Channel, error) {
	id := EnrollmentID{Tenant: tenant, Device: ids.EnrollmentID}
	switch {
	case ids.EnrollmentUserID != "":
		id.User = ids.EnrollmentUserID
		return id, UserEnrollmentUser, nil
	case ids.UserID != "":
		return EnrollmentID{}, 0, Errorf(Malformed, "mdm.Identifiers", "UserID goes with UDID, not with EnrollmentID")
	default:
		return id, UserEnrollmentChannel, nil
	}
}

// plainID reports whether s may be an identifier: bounded, valid UTF-8 and printable.
func plainID(s string) bool {
	if len(s) > MaxIdentifier || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
