// Package apns wakes devices through the Apple Push Notification service.
//
// A [Client] is a [push.Pusher]. It speaks HTTP/2 with long-lived connections for each push certificate, takes a renewed
// certificate without a restart, and tells what became of each push in the terms of package push: APNs' reasons are
// turned into outcomes in one table, [Reason.Outcome].
//
// Sources: Apple, "Sending notification requests to APNs" and "Handling notification responses from APNs"; for MDM's
// payload, Apple's MDM Protocol Reference, "MDM Push Notifications".
package apns

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// The hosts of APNs. The ones with a port are the same services, for networks that let port 443 go through a proxy
// only. MDM devices use production unless their MDM payload says UseDevelopmentAPNS.
const (
	Production     = "https://api.push.apple.com"
	ProductionAlt  = "https://api.push.apple.com:2197"
	Development    = "https://api.sandbox.push.apple.com"
	DevelopmentAlt = "https://api.sandbox.push.apple.com:2197"
)

// Client pushes through APNs. A literal with Certificates is ready for use; every other field has a safe default. It is
// safe for concurrent use and must not be copied or changed after its first use.
//
// A push that APNs has not looked at, by its own word or because it was never sent, is repeated, up to 5 attempts in
// all. One whose connection was lost before the answer is repeated once: a device that is pushed to twice connects once.
// Attempts have the same apns-id, and take another connection if there is one. Other failures are left to the caller,
// with the outcome Retry, timeouts among them, or with Unsent if there was no attempt at all.
//
// When APNs is in trouble no pushes are sent for a while, see [ErrPaused]: after a connection that could not be made,
// broke without an answer or was ended for another reason than that APNs wants to, for 1 s, and after 10 failures in a row
// of pushes (no answer in time, a status of 500 or above, a connection that broke, a stream that was reset or refused), for
// 5 s; each time twice as long, up to 1 min, and a random quarter more. Then one push is tried alone. A 503 with
// Retry-After pauses them for that time, up to 1 h.
//
// A connection on which APNs answers no pushes, or takes none, is replaced, though it lives. For a topic Connections and
// 8 more may be made at once, then one a second.
type Client struct {
	// Certificates is asked for the certificate of each topic at every Push. When it returns another one than before,
	// new pushes take a new connection, and the old one is closed once its pushes are answered.
	Certificates push.Certificates

	Host         string                                // "": Production
	Expiration   time.Duration                         // how long APNs keeps a push for a device that is off; 0: 7 days, Apple allows up to 30
	Concurrency  int                                   // pushes in flight, of all calls together, about 1 KB of memory each; 0: 1000
	Timeout      time.Duration                         // of one push, its repetition included; 0: 30 s
	PingInterval time.Duration                         // how long a connection may be silent while pushes wait on it before it is probed; it is given up after 10 s more, or as long if that is less; 0: 15 s
	Proxy        func(*http.Request) (*url.URL, error) // schemes http, https, socks5 and socks5h; nil: http.ProxyFromEnvironment
	RootCAs      *x509.CertPool                        // whom to trust as APNs; nil: the system's roots
	ProxyRootCAs *x509.CertPool                        // whom to trust as an https proxy; nil: the system's roots
	Clock        func() time.Time                      // nil: time.Now

	// Connections is how many connections there may be for a topic. A further one is made only when pushes wait although
	// every stream that APNs allows is in use, one at a time, and closes after it was idle for IdleTimeout; the first
	// one stays. Apple allows about 1000 streams per connection, so that there is one unless Concurrency is raised.
	// 0: 8, which carry more than 100,000 pushes a second if answers take 50 ms.
	Connections int
	IdleTimeout time.Duration // 0: 1 min

	// CertificatePause is how long nothing is sent with a certificate that APNs refused; pushes in that time share the
	// BadCertificate result. A new certificate ends it. 0: 1 min.
	CertificatePause time.Duration
	// Settle is how long after a TokenUpdate a refusal of its token is doubted, since APNs may not know a token yet that
	// a device has sent already: until then Invalid becomes Retry, due at the end of that time. 0: 5 min; negative:
	// never doubt.
	Settle time.Duration

	once  sync.Once
	slots slots
	asked atomic.Uint64 // for certificates, how often
	mu    sync.Mutex
	links map[string]*link // by topic
}

var _ push.Pusher = (*Client)(nil)

// Push implements [push.Pusher]. Failures of single pushes and of certificates are results; what is not answered when
// ctx ends has the outcome Retry, what was not sent Unsent. The error is for a Client that is configured wrongly.
func (c *Client) Push(ctx context.Context, targets []push.Target) ([]push.Result, error) {
	to, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	routes := routes{}
	defer routes.release()
	c.find(ctx, routes, to, targets)
	c.once.Do(func() { c.slots.free = orDefault(c.Concurrency, 1000) })
	return c.newCall(routes, targets).run(ctx), nil
}

// CloseIdleConnections closes the connections that no push waits on, and the others when their pushes are answered. The
// Client stays usable.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, l := range c.links {
		delete(c.links, topic)
		l.retire()
	}
}

// endpoint is where APNs is.
type endpoint struct {
	addr string // host:port
	host string // as in the URL
	name string // in the certificate
}

func (c *Client) endpoint() (endpoint, error) {
	const op = "apns.Client.Push"
	if c.Certificates == nil {
		return endpoint{}, mdm.Errorf(mdm.Internal, op, "Client.Certificates is required")
	}
	host := c.Host
	if host == "" {
		host = Production
	}
	u, err := url.Parse(host)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || !bare(u) {
		return endpoint{}, mdm.Errorf(mdm.Internal, op, "Client.Host is not of the form https://host")
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return endpoint{addr: net.JoinHostPort(u.Hostname(), port), host: u.Host, name: u.Hostname()}, nil
}

// bare reports whether u names a host and nothing in it.
func bare(u *url.URL) bool {
	return (u.Path == "" || u.Path == "/") && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
}

// doubt puts off the verdict on a token that is new.
func (c *Client) doubt(r push.Result) push.Result {
	settled := r.Target.TokenUpdatedAt.Add(c.settle())
	if r.Outcome == push.Invalid && r.At.Before(settled) {
		r.Outcome, r.Since, r.Retry = push.Retry, time.Time{}, settled
	}
	return r
}

func (c *Client) settle() time.Duration {
	if c.Settle < 0 {
		return 0
	}
	return orDefault(c.Settle, 5*time.Minute)
}

// failure is the result of a push that was not answered.
func (c *Client) failure(t push.Target, o push.Outcome, err error) push.Result {
	return push.Result{Target: t, Outcome: o, At: c.steadyNow(), Err: err}
}

func (c *Client) now() time.Time {
	if c.Clock != nil {
		return c.Clock()
	}
	return time.Now()
}

// steadyNow is for the inner workings, where nobody could be told of a panic of Clock.
func (c *Client) steadyNow() (now time.Time) {
	defer func() {
		if recover() != nil {
			now = time.Now()
		}
	}()
	return c.now()
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
