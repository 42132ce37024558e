package h2

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2"
)

// What Start returns.
var (
	ErrFull     = errors.New("h2: the connection has no room for a request now") // Changed will be called
	ErrClosed   = errors.New("h2: the connection takes no more requests")
	ErrTooLarge = errors.New("h2: the request is too large") // header list and body; the peer may limit the former
	ErrNarrow   = errors.New("h2: the peer takes no request of a usual size")
)

// What a Receiver gets. They wrap the cause, where there is one.
var (
	ErrUntouched = errors.New("h2: the request was not processed")               // the peer says so, or it was never sent
	ErrLost      = errors.New("h2: the answer was lost")                         // the request may have been processed
	ErrMalformed = errors.New("h2: the answer is malformed")                     // and would be again
	ErrCanceled  = errors.New("h2: the request was canceled before its answer")  // by Cancel
	ErrSilent    = errors.New("h2: the peer is silent")                          // a cause: neither answers nor a reply to a ping
	errFlood     = errors.New("h2: the peer sends more than there is reason to") // a cause
)

// GoAwayError is that the peer ends the connection (RFC 9113, section 6.8).
type GoAwayError struct {
	LastStream uint32 // no stream above it was processed
	Code       http2.ErrCode
	Debug      []byte // what the peer has to say about it, up to 1 KB
}

// Error returns the code and the debug data, in quotes.
func (e *GoAwayError) Error() string {
	if len(e.Debug) == 0 {
		return fmt.Sprintf("h2: the peer goes away: %s", e.Code)
	}
	return fmt.Sprintf("h2: the peer goes away: %s, %q", e.Code, e.Debug)
}

func wrap(err, cause error) error {
	if cause == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
