package mdm

import (
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error by what the device does when it is answered with it. The mapping to HTTP is in one place,
// mdm/server.
type Code uint8

// The codes. Do not reorder them: the zero value must stay the harmless one.
const (
	// Internal is our own fault, and the code of every unclassified error: 500. The device stays managed and repeats.
	Internal Code = iota
	// Unavailable is a passing overload or outage: 503 with Retry-After. The device stays managed and repeats.
	Unavailable
	// Malformed is a message that can never be accepted: 400. The device stays managed, nothing changes.
	Malformed
	// TooLarge is a message over a size limit: 413. As Malformed.
	TooLarge
	// Forbidden is a caller who may not speak for this enrollment: 403 without a code that devices know. As Malformed.
	Forbidden
	// NotFound is a missing declaration: 404. The device drops it.
	NotFound
	// UserDeclined says that this user is not managed in this login session: 410. The device asks again at next login.
	UserDeclined
	// Unmanaged ends the management: 401, or 403 com.apple.unrecognized.device for an OS that knows it. The device
	// REMOVES its MDM profile and everything that came with it. Return it only for a device that is known not to be
	// managed any more, never for a failure of ours.
	Unmanaged
)

var codeNames = [...]string{"internal", "unavailable", "malformed", "too large", "forbidden", "not found", "user declined", "unmanaged"}

// String returns the code in words.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// Error is an error with a [Code]. Find it with errors.As or [CodeOf]; its text is for logs and never reaches a device.
type Error struct {
	Code       Code
	Op         string       // what failed, as "checkin.TokenUpdate"
	Enrollment EnrollmentID // whose request it was, if known
	Err        error        // the cause; may be nil

	// KnowsUnrecognized goes with Unmanaged: the device's OS knows the 403 answer com.apple.unrecognized.device (iOS
	// and tvOS 17, macOS 14, visionOS 1.1, watchOS 10). Others are answered 401.
	KnowsUnrecognized bool
}

// Errorf returns an *Error whose cause is made as by fmt.Errorf, so %w works.
func Errorf(code Code, op, format string, args ...any) *Error {
	return &Error{Code: code, Op: op, Err: fmt.Errorf(format, args...)}
}

// Error describes the error for logs.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	b.WriteString(e.Code.String())
	if !e.Enrollment.IsZero() {
		fmt.Fprintf(&b, " (enrollment %q)", e.Enrollment.String())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain, Internal if there is none. Of nil it is Internal, too:
// ask only about errors.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
