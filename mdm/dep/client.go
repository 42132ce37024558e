package dep

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// DefaultURL is where Apple's service is.
const DefaultURL = "https://mdmenrollment.apple.com"

// ProtocolVersion is the newest version of the protocol that this package was tested with.
const ProtocolVersion = 10

// Client makes the calls of Apple's web service for one server there. A literal with Token is ready for use; every other field
// has a safe default. It is safe for concurrent use and must not be copied or changed after its first use.
type Client struct {
	// Token is asked for the token at every call: see [StaticToken] and [StoredToken]. When it returns another one than
	// before, the session of the old one is dropped.
	Token func(ctx context.Context) (Token, error)

	BaseURL         string // "": DefaultURL. Plain http only if it says so
	HTTP            *http.Client
	UserAgent       string           // "": the name of this library. Apple refuses calls without one
	ProtocolVersion int              // 0: ProtocolVersion
	Limits          Limits           // how much a call may ask for, as Account told before; Account replaces them
	Timeout         time.Duration    // of one request; 0: 1 min
	MaxWait         time.Duration    // how long a call waits in all when Apple asks it to (Retry-After); longer waits are errors. 0: 10 s; negative: none
	MaxBody         int64            // of an answer; 0: 16 MiB
	Clock           func() time.Time // nil: time.Now
	Logger          *slog.Logger     // nil: nothing is logged
}

// StaticToken is a Token of a Client that never changes.
func StaticToken(t Token) func(context.Context) (Token, error) {
	return func(context.Context) (Token, error) { return t, nil }
}
