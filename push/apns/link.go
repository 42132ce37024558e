package apns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gomdm/applemdm/push"
)

const (
	dialTimeout      = 10 * time.Second
	dialPause        = time.Second // after a failure to connect; Apple takes quick reconnecting for an attack
	firstAlone       = time.Second // how long the first push on a connection may hold up the others
	maxAnswerHeaders = 16 << 10
)

// link is the way to APNs with one certificate: one connection, made when it is needed and made again when it is lost.
// Calls of Push hold the link that they use; one that was replaced closes when nobody holds it.
//
// It manages the connection itself: the pool of http.Transport dials again as soon as a connection has no room for
// another stream, and hangs if it is told not to (golang.org/issue/70809).
type link struct {
	cert      push.Certificate
	addr      string
	transport *http.Transport
	clock     func() time.Time
	changed   signal // room, an end or a new connection

	mu      sync.Mutex
	holders int
	retired bool
	session *session // nil: none
	dialing *dialing // nil: not
	failed  error    // why there was no connection
	pause   time.Time

	refused      push.Result // what pushes share until refusedUntil
	refusedUntil time.Time
}

// dialing is an attempt to connect that any number of pushes wait for.
type dialing struct {
	done chan struct{}
	err  error // set before done is closed
}

func (c *Client) newLink(cert push.Certificate, addr string) *link {
	proxy := c.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	ping := orDefault(c.PingInterval, 15*time.Second)
	l := &link{cert: cert, addr: addr, clock: c.now, transport: &http.Transport{
		Proxy:       proxy,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{cert.TLS},
			RootCAs:      c.RootCAs,
			MinVersion:   tls.VersionTLS12,
		},
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswerHeaders,
		Protocols:              new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  ping,
			PingTimeout:      min(ping, 10*time.Second),
			WriteByteTimeout: min(ping, 10*time.Second),
		},
	}}
	l.transport.Protocols.SetHTTP2(true)
	return l
}

// acquire waits for a stream of the connection. Who gets a session releases it.
func (l *link) acquire(ctx context.Context) (*session, error) {
	for {
		changed := l.changed.wait()
		s, dialing, err := l.try()
		if s != nil || err != nil {
			return s, err
		}
		var dialed chan struct{}
		if dialing != nil {
			dialed = dialing.done
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		case <-dialed:
			if dialing.err != nil {
				return nil, dialing.err
			}
		}
	}
}

// try takes a stream if there is one, else says what to wait for: the end of a dialing, or a change if it is nil.
func (l *link) try() (*session, *dialing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.session; s != nil && !s.usable() {
		l.drop(s)
	}
	switch {
	case l.session != nil && l.session.reserve():
		return l.session, nil, nil
	case l.session != nil:
		return nil, nil, nil
	case l.dialing == nil && time.Now().Before(l.pause):
		return nil, nil, l.failed
	case l.dialing == nil:
		l.dialing = &dialing{done: make(chan struct{})}
		go l.dial(l.dialing)
	}
	return nil, l.dialing, nil
}

// dial connects on behalf of all who wait, so it does not end with one of them.
func (l *link) dial(d *dialing) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*dialTimeout)
	defer cancel()
	conn, err := l.connect(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialing, d.err = nil, err
	if err != nil {
		l.fail(err)
	} else {
		s := newSession(conn, l.clock())
		l.session = s
		conn.SetStateHook(func(*http.ClientConn) { l.changed.wake() })
		time.AfterFunc(firstAlone, func() { l.open(s) })
		l.closeUnheld()
	}
	close(d.done)
}

// open lets other pushes on s although the first is not answered.
func (l *link) open(s *session) {
	l.mu.Lock()
	s.open = true
	l.mu.Unlock()
	l.changed.wake()
}

// connect contains panics of Client.Proxy, which would end the whole program here.
func (l *link) connect(ctx context.Context) (conn *http.ClientConn, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return l.transport.NewClientConn(ctx, "https", l.addr)
}

var errLost = errors.New("the connection was lost before APNs answered on it")

// release gives back a stream; answered tells whether APNs answered on it.
func (l *link) release(s *session, answered bool) {
	l.mu.Lock()
	s.users--
	if answered {
		s.proven, s.open = true, true
	}
	if !s.proven && s.conn.Err() != nil {
		l.fail(errLost)
	}
	if s.retired && s.users == 0 {
		_ = s.conn.Close()
	}
	l.mu.Unlock()
	l.changed.wake()
}

// fail keeps l from connecting for a while. The caller holds l.mu.
func (l *link) fail(err error) { l.failed, l.pause = err, time.Now().Add(dialPause) }

// drop gives up s: nobody gets a stream of it any more, and it closes after the last one. The caller holds l.mu.
func (l *link) drop(s *session) {
	if l.session == s {
		l.session = nil
	}
	if !s.proven && s.users == 0 {
		l.fail(errLost)
	}
	s.retired = true
	if s.users == 0 {
		_ = s.conn.Close()
	}
}

// renew gives up s if it is older than age.
func (l *link) renew(s *session, age time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == s && l.clock().Sub(s.born) >= age {
		l.drop(s)
	}
}

func (l *link) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders++
}

func (l *link) unhold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders--
	l.closeUnheld()
}

// retire closes the link's connection as soon as nobody holds it. Nobody may take hold of it any more.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	l.closeUnheld()
}

// closeUnheld is called with l.mu held.
func (l *link) closeUnheld() {
	if l.retired && l.holders == 0 && l.session != nil {
		l.drop(l.session)
	}
}

// refuse makes refusal return r until the time given.
func (l *link) refuse(r push.Result, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused, l.refusedUntil = r, until
}

// refusal returns what is known of a certificate that APNs refused a short while ago.
func (l *link) refusal(now time.Time) (push.Result, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused, now.Before(l.refusedUntil)
}
