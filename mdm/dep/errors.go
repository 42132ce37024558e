package dep

import (
	"errors"
	"fmt"
	"time"
)

// Code is why Apple refused a call, in Apple's word; errors.Is finds it in an [Error].
type Code string

// Error returns the word.
func (c Code) Error() string { return "dep: " + string(c) }

// What Apple answers, in calls of any kind.
const (
	ErrUnauthorized     Code = "UNAUTHORIZED"
	ErrForbidden        Code = "FORBIDDEN"
	ErrAccessDenied     Code = "ACCESS_DENIED"
	ErrTermsNotSigned   Code = "T_C_NOT_SIGNED"
	ErrMalformedBody    Code = "MALFORMED_REQUEST_BODY"
	ErrUserAgentMissing Code = "USER_AGENT_MISSING"
	ErrUserAgentInvalid Code = "USER_AGENT_INVALID"

	ErrCursorRequired  Code = "CURSOR_REQUIRED"
	ErrInvalidCursor   Code = "INVALID_CURSOR"
	ErrExpiredCursor   Code = "EXPIRED_CURSOR"
	ErrExhaustedCursor Code = "EXHAUSTED_CURSOR"

	ErrNotFound            Code = "NOT_FOUND"
	ErrDeviceIDRequired    Code = "DEVICE_ID_REQUIRED"
	ErrDeviceNotFound      Code = "DEVICE_NOT_FOUND"
	ErrProfileUUIDRequired Code = "PROFILE_UUID_REQUIRED"
)

// Words of ours.
const (
	ErrThrottled    Code = "throttled"     // 429, or 503 with Retry-After: see Error.RetryAfter
	ErrUnavailable  Code = "unavailable"   // Apple is not reached, or not well
	ErrTokenRefused Code = "token refused" // Apple knows the token not, or not any more
	ErrTokenExpired Code = "token expired"
	ErrNoToken      Code = "no token" // none was imported yet
	ErrClockWrong   Code = "clock wrong"
)

// Error is a call that failed: Apple refused it, or was not reached.
type Error struct {
	Call       string        // method and path, as "POST /devices/sync"
	Status     int           // of HTTP; 0: there was no answer
	Code       Code          // Apple's word, or as much of its text as is printable; may be empty
	RetryAfter time.Duration // how long Apple wants us to wait; 0 if it does not say
	Err        error         // the cause, if there was no answer
}

// Error describes the error for logs.
func (e *Error) Error() string { return fmt.Sprintf("%s: %d %s", e.Call, e.Status, e.Code) }

// AsProblem says whether an error is one that somebody has to do something about, and what. The caller sets its times.
func AsProblem(err error) (*Problem, bool) { return nil, false }

var errTodo = errors.New("not built yet")
