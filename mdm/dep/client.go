package dep

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// DefaultURL is where Apple's service is.
const DefaultURL = "https://mdmenrollment.apple.com"

// ProtocolVersion is the newest version of the protocol that this package was tested with.
const ProtocolVersion = 10

// Client makes the calls of Apple's web service for one server there. A literal with Token is ready for use; every other field
// has a safe default. It is safe for concurrent use and must not be copied or changed after its first use.
//
// Its session is made at the first call, in one place however many calls wait for it, and lives in memory. When Apple says that
// it has ended, a new one is made and the call repeated once. Redirections are not followed.
//
// The errors of calls are [*Error], but for what is wrong with an argument, which is a Malformed [mdm.Error] of ours, and for
// those of Token.
type Client struct {
	// Token is asked for the token at every call: see [StaticToken] and [StoredToken]. When it returns another one than
	// before, the session of the old one is dropped.
	Token func(ctx context.Context) (Token, error)

	BaseURL         string           // "": DefaultURL. Plain http only if it says so
	HTTP            *http.Client     // nil: http.DefaultClient
	UserAgent       string           // "": the name of this library. Apple refuses calls without one
	ProtocolVersion int              // 0: ProtocolVersion
	Limits          Limits           // how much a call may ask for, as Account told before; Account replaces them
	Timeout         time.Duration    // of one request; 0: 1 min
	MaxWait         time.Duration    // how long a call waits in all when Apple asks it to (Retry-After); longer waits are errors. 0: 10 s; negative: none
	MaxBody         int64            // of an answer, in bytes; 0: 16 MiB
	Clock           func() time.Time // nil: time.Now. Not for the signature of sessions: that takes the computer's time
	Logger          *slog.Logger     // of each request, at level Debug; nil: nothing is logged

	mu       sync.Mutex
	current  session
	renewing *renewal
	begun    uint64 // requests so far
	learned  Limits // from Account
	byPost   bool   // AssignProfile is known to want POST
}

// request is a call as it goes to Apple.
type request struct {
	method, path string // the path in BaseURL
	query        url.Values
	body         []byte // JSON; nil: none
}

func (r *request) name() string { return r.method + " " + r.path }

const (
	maxTries         = 3 // of a call that Apple puts off
	defaultUserAgent = "applemdm/1.0"
)

// do makes a call and reads its answer into out, unless that is nil. It waits if Apple asks for it and MaxWait allows.
func (c *Client) do(ctx context.Context, r request, out any) error {
	left := c.MaxWait
	if left == 0 {
		left = 10 * time.Second
	}
	for try := 1; ; try++ {
		err := c.attempt(ctx, &r, out)
		var e *Error
		if !errors.As(err, &e) || !e.asked || try == maxTries || e.RetryAfter > left || left < 0 ||
			e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable {
			return err
		}
		left -= e.RetryAfter
		if !sleep(ctx, e.RetryAfter) {
			given := *e
			given.Err = ctx.Err()
			return &given
		}
	}
}

// sleep reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// attempt makes a call, with a new session if Apple says that the one it had has ended.
func (c *Client) attempt(ctx context.Context, r *request, out any) error {
	if _, err := c.url(r); err != nil {
		return err
	}
	token, err := c.token(ctx)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		s, err := c.session(ctx, token)
		if err != nil {
			return err
		}
		e := c.once(ctx, r, s, out)
		if e == nil {
			return nil
		}
		if !e.ended() {
			return e
		}
		c.drop(s)
		if try == 2 {
			return e
		}
	}
}

// ended reports whether the session is why the call was refused.
func (e *Error) ended() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden && e.Code == ErrForbidden
}

// token returns the token for a call.
func (c *Client) token(ctx context.Context) (Token, error) {
	const op = "dep.Client"
	if c.Token == nil {
		return Token{}, mdm.Errorf(mdm.Internal, op, "Client.Token is required")
	}
	token, err := c.Token(ctx)
	if err != nil {
		return Token{}, err
	}
	if token.ConsumerKey == "" {
		return Token{}, mdm.Errorf(mdm.Forbidden, op, "%w", ErrNoToken)
	}
	return token, nil // whether it has expired is for Apple's clock to say
}

// url returns where a request goes to.
func (c *Client) url(r *request) (string, error) {
	base := c.BaseURL
	if base == "" {
		base = DefaultURL
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", mdm.Errorf(mdm.Internal, "dep.Client", "Client.BaseURL is not of the form https://host")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/")+r.path, ""
	u.RawQuery = r.query.Encode()
	return u.String(), nil
}

// http returns the client for requests. It follows no redirections: those would take sessions along.
func (c *Client) http() *http.Client {
	h := http.Client{}
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}

func (c *Client) header(r *request, s *session) http.Header {
	h := http.Header{}
	h.Set("User-Agent", c.UserAgent)
	if c.UserAgent == "" {
		h.Set("User-Agent", defaultUserAgent)
	}
	version := c.ProtocolVersion
	if version <= 0 {
		version = ProtocolVersion
	}
	h.Set("X-Server-Protocol-Version", strconv.Itoa(version))
	h.Set("Accept", "application/json;charset=UTF8")
	h.Set("Content-Type", "application/json;charset=UTF8")
	if s != nil {
		h.Set(sessionHeader, s.value)
	}
	return h
}

func (c *Client) now() time.Time {
	if c.Clock != nil {
		return c.Clock()
	}
	return time.Now()
}

// limit returns the most that a call may ask for.
func (c *Client) limit(method, path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.learned != nil {
		return c.learned.Max(method, path)
	}
	return c.Limits.Max(method, path)
}
