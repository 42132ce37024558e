package mdmtest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// apnsListener numbers connections and makes them breakable.
type apnsListener struct {
	net.Listener
	apns *APNs
}

func (l apnsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	a := l.apns
	a.mu.Lock()
	defer a.mu.Unlock()
	a.connected++
	c := &apnsConn{Conn: conn, apns: a, number: a.connected, gone: make(chan struct{})}
	a.conns[c] = struct{}{}
	return c, nil
}

// apnsConn is a connection that can fall silent.
type apnsConn struct {
	net.Conn
	apns   *APNs
	number int
	once   sync.Once
	gone   chan struct{}

	mu     sync.Mutex
	frozen chan struct{} // closed when it thaws; nil: not frozen
}

// Read gives nothing while the connection is frozen, not even a ping.
func (c *apnsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	frozen := c.frozen
	c.mu.Unlock()
	if frozen != nil {
		select {
		case <-frozen:
		case <-c.gone:
		}
	}
	return n, err
}

func (c *apnsConn) Close() error {
	c.once.Do(func() {
		close(c.gone)
		c.apns.mu.Lock()
		defer c.apns.mu.Unlock()
		delete(c.apns.conns, c)
	})
	return c.Conn.Close()
}

// Freeze makes the connections that are open now fall silent, as when a router forgot them: nothing is refused, nothing
// is answered, not even a ping. New connections work. thaw lets the frozen ones go on.
func (a *APNs) Freeze() (thaw func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	until := make(chan struct{})
	for c := range a.conns {
		c.mu.Lock()
		c.frozen = until
		c.mu.Unlock()
	}
	return sync.OnceFunc(func() { close(until) })
}

// Disconnect breaks all open connections.
func (a *APNs) Disconnect() {
	a.mu.Lock()
	open := make([]*apnsConn, 0, len(a.conns))
	for c := range a.conns {
		open = append(open, c)
	}
	a.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

type apnsConnKey struct{}

func apnsConnContext(ctx context.Context, conn net.Conn) context.Context {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	return context.WithValue(ctx, apnsConnKey{}, conn)
}

func apnsConnOf(r *http.Request) *apnsConn {
	c, _ := r.Context().Value(apnsConnKey{}).(*apnsConn)
	return c
}
