package dep

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Code is why a call failed, in Apple's word or in one of ours. It is an error itself, so that errors.Is finds it:
//
//	errors.Is(err, dep.ErrTermsNotSigned)
type Code string

// Error returns the word.
func (c Code) Error() string { return "dep: " + string(c) }

// What Apple answers to calls of any kind.
const (
	ErrUnauthorized     Code = "UNAUTHORIZED"           // 401: the session ended; the client has tried with a new one
	ErrForbidden        Code = "FORBIDDEN"              // 403: the session is not valid; the client has tried with a new one
	ErrAccessDenied     Code = "ACCESS_DENIED"          // 403: the organization or the server may not call
	ErrTermsNotSigned   Code = "T_C_NOT_SIGNED"         // 403: new terms of Apple's have to be accepted
	ErrMalformedBody    Code = "MALFORMED_REQUEST_BODY" // 400
	ErrUserAgentMissing Code = "USER_AGENT_MISSING"     // 400
	ErrUserAgentInvalid Code = "USER_AGENT_INVALID"     // 400
	ErrNotFound         Code = "NOT_FOUND"              // 404 or 400: what was named is not there, and every other 404
)

// What Apple answers to FetchDevices and SyncDevices.
const (
	ErrCursorRequired  Code = "CURSOR_REQUIRED"
	ErrInvalidCursor   Code = "INVALID_CURSOR"   // all devices are to be fetched again
	ErrExpiredCursor   Code = "EXPIRED_CURSOR"   // it is older than 7 days: all devices are to be fetched again
	ErrExhaustedCursor Code = "EXHAUSTED_CURSOR" // everything was fetched: go on with SyncDevices and the same cursor
)

// What Apple answers to calls about devices and profiles.
const (
	ErrDeviceIDRequired     Code = "DEVICE_ID_REQUIRED"
	ErrDeviceNotFound       Code = "DEVICE_NOT_FOUND"
	ErrProfileUUIDRequired  Code = "PROFILE_UUID_REQUIRED"
	ErrProfileNameRequired  Code = "CONFIG_NAME_REQUIRED"
	ErrProfileNameInvalid   Code = "CONFIG_NAME_INVALID"
	ErrProfileURLRequired   Code = "CONFIG_URL_REQUIRED"
	ErrProfileURLInvalid    Code = "CONFIG_URL_INVALID"
	ErrDepartmentInvalid    Code = "DEPARTMENT_INVALID"
	ErrSupportPhoneInvalid  Code = "SUPPORT_PHONE_INVALID"
	ErrSupportEmailInvalid  Code = "SUPPORT_EMAIL_INVALID"
	ErrMagicInvalid         Code = "MAGIC_INVALID"
	ErrFlagsInvalid         Code = "FLAGS_INVALID"
	ErrLocaleInvalid        Code = "LOCALE_INVALID"
	ErrBetaTurnedOff        Code = "APPLE_SEED_FOR_IT_TURNED_OFF"
	ErrDiscoveryURLRequired Code = "MDM_SERVICE_DISCOVERY_URL_REQUIRED"
	ErrDiscoveryURLInvalid  Code = "MDM_SERVICE_DISCOVERY_URL_NOT_VALID"
	ErrOrgNotSupported      Code = "ORG_NOT_SUPPORTED"
)

// Words of ours.
const (
	ErrThrottled    Code = "THROTTLED"     // 429, or 503 with Retry-After: see Error.RetryAfter
	ErrUnavailable  Code = "UNAVAILABLE"   // Apple is not reached, has trouble, or answers with something else
	ErrTokenRefused Code = "TOKEN_REFUSED" // Apple gives no session for the token
	ErrTokenExpired Code = "TOKEN_EXPIRED" // the same, and the token's time is over
	ErrClockWrong   Code = "CLOCK_WRONG"   // the same, and our clock is not Apple's
	ErrNoToken      Code = "NO_TOKEN"      // none was imported yet

	codeOtherServer Code = "OTHER_SERVER" // of a Problem: ErrOtherServer
)

// Error is a call that failed: Apple refused it, or was not reached. errors.Is finds its words, and errors.As also an
// [mdm.Error] with its code. It never tells of tokens or sessions.
type Error struct {
	Call       string        // method and path, as "POST /devices/sync"
	Status     int           // of HTTP; 0: there was no answer
	Code       Code          // Apple's word; empty if there was none
	Reason     Code          // what we make of it, a word of ours; empty if there is nothing to add
	Text       string        // what Apple wrote instead of a word: printable, at most 200 bytes
	RetryAfter time.Duration // how long Apple wants us to wait, at most two days; 0 if it does not say
	Err        error         // why there was no answer, or none that can be read

	asked bool // Apple said how long to wait
}

// Error describes the error for logs.
func (e *Error) Error() string {
	parts := []string{"dep: " + e.Call}
	if e.Status != 0 {
		parts = append(parts, fmt.Sprintf("status %d", e.Status))
	}
	if e.Code != "" {
		parts = append(parts, string(e.Code))
	}
	if e.Reason != "" && e.Reason != e.Code {
		parts = append(parts, strings.ToLower(strings.ReplaceAll(string(e.Reason), "_", " ")))
	}
	if e.Text != "" {
		parts = append(parts, fmt.Sprintf("%q", e.Text))
	}
	if e.RetryAfter > 0 {
		parts = append(parts, "retry after "+e.RetryAfter.String())
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Is reports whether target is Apple's word, or ours.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code != "" && (code == e.Code || code == e.Reason || code == ErrNotFound && e.Status == 404)
}

// Unwrap returns the same as an [mdm.Error], whose cause is Err.
func (e *Error) Unwrap() error {
	return &mdm.Error{Code: e.class(), Op: "dep." + e.Call, Err: e.Err}
}

// class is what a caller can do about the error.
func (e *Error) class() mdm.Code {
	switch {
	case e.Code == ErrTermsNotSigned, e.Status == 429, e.Status >= 500, e.Reason == ErrUnavailable, e.Reason == ErrThrottled:
		return mdm.Unavailable
	case e.Is(ErrNotFound), e.Code == ErrDeviceNotFound:
		return mdm.NotFound
	case e.Status == 401, e.Status == 403, e.Reason == ErrTokenRefused, e.Reason == ErrTokenExpired, e.Reason == ErrClockWrong:
		return mdm.Forbidden
	case e.Status >= 400:
		return mdm.Malformed
	}
	return mdm.Unavailable
}

// Help returns what has to be done, by whom and where; empty if nobody has to do anything.
func (e *Error) Help() string {
	if text := e.Reason.Help(); text != "" {
		return text
	}
	return e.Code.Help()
}

// Problem returns the error as one that is kept, if somebody has to do something about it. The caller sets its times.
func (e *Error) Problem() (*Problem, bool) {
	for _, code := range []Code{e.Reason, e.Code} {
		if text := code.Help(); text != "" {
			return &Problem{Code: string(code), Text: text}, true
		}
	}
	return nil, false
}

// AsProblem says whether an error is one that somebody has to do something about, and what. The caller sets its times.
func AsProblem(err error) (*Problem, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Problem()
	}
	var code Code
	if !errors.As(err, &code) && errors.Is(err, ErrOtherServer) {
		code = codeOtherServer
	}
	if code.Help() != "" {
		return &Problem{Code: string(code), Text: code.Help()}, true
	}
	return nil, false
}

// Help returns what has to be done, by whom and where; empty if nobody has to do anything, or a program is at fault.
func (c Code) Help() string {
	switch c {
	case ErrTermsNotSigned:
		return "Apple has new terms and conditions: a person with the role of administrator has to sign in to Apple Business Manager or Apple School Manager and accept them. Calls work again some minutes later."
	case ErrAccessDenied:
		return "Apple denies access to the organization or to this server: an administrator has to look in Apple Business Manager or Apple School Manager whether the organization is active and the server still exists."
	case ErrForbidden, ErrTokenRefused:
		return "Apple does not accept the server token: it was revoked by a newer download, or the server was deleted. An administrator has to download the token of this server in Apple Business Manager or Apple School Manager, which has to be imported here."
	case ErrTokenExpired:
		return "The server token has expired: an administrator has to download a new one of the same server in Apple Business Manager or Apple School Manager, which has to be imported here."
	case ErrNoToken:
		return "There is no server token yet: an administrator has to upload the certificate of this server in Apple Business Manager or Apple School Manager and download the token, which has to be imported here."
	case codeOtherServer:
		return "The server token is of another server at Apple than the devices that are known here: an administrator has to import the token of the right one, or say that the other one is meant."
	case ErrClockWrong:
		return "The clock of this computer differs from Apple's, who refuses what is signed at another time: it has to be set, best by a time service."
	case ErrUserAgentMissing, ErrUserAgentInvalid:
		return "Apple does not accept the User-Agent of this program: whoever runs it has to set a plain one, the name and the version of the product."
	case ErrBetaTurnedOff:
		return "Beta programs are turned off for the organization: an administrator has to turn on AppleSeed for IT in Apple Business Manager or Apple School Manager."
	}
	return ""
}
