package mdmtest

import (
	"sync"
	"time"
)

// each calls f for every open connection.
func (a *APNs) each(f func(*apnsConn)) {
	a.mu.Lock()
	open := make([]*apnsConn, 0, len(a.conns))
	for c := range a.conns {
		open = append(open, c)
	}
	a.mu.Unlock()
	for _, c := range open {
		f(c)
	}
}

// Freeze makes the connections that are open now fall silent, as when a router forgot them: nothing is refused, nothing
// is answered, not even a ping. New connections work. thaw lets the frozen ones go on.
func (a *APNs) Freeze() (thaw func()) {
	until := make(chan struct{})
	a.each(func(c *apnsConn) { c.socket.freeze(until) })
	return sync.OnceFunc(func() { close(until) })
}

// Hang makes the connections that are open now answer no push any more, as a front end whose back end hangs: pings and settings
// are answered, windows are given back, and pushes are not looked at. New connections work. resume has the pushes that
// wait looked at and answered, but those that the client has given up.
func (a *APNs) Hang() (resume func()) {
	var hung []*apnsConn
	a.each(func(c *apnsConn) {
		hung = append(hung, c)
		c.hang()
	})
	return sync.OnceFunc(func() {
		for _, c := range hung {
			c.resume()
		}
	})
}

// WithholdWindows makes the APNs send no WINDOW_UPDATE any more, so that a client runs out of what it may send: 64 KiB on
// new connections, up to 1 MiB on others. Or it ends that, and what is owed is given back.
func (a *APNs) WithholdWindows(withhold bool) {
	a.withheld.Store(withhold)
	if !withhold {
		a.each((*apnsConn).giveBackAll)
	}
}

// Disconnect breaks all open connections.
func (a *APNs) Disconnect() { a.each((*apnsConn).breakOff) }

// GoAwayAll tells all clients with GOAWAY to use their connections no more. Pushes that came before are answered; later
// ones on those connections are not looked at. Connections whose TLS handshake is not done yet are left alone. "" is Shutdown.
func (a *APNs) GoAwayAll(reason string) { a.GoAwayAllCode(0, reason) }

// GoAwayAllCode is GoAwayAll with an error code of HTTP/2 (RFC 9113, section 7), as 11 for ENHANCE_YOUR_CALM.
func (a *APNs) GoAwayAllCode(code uint32, reason string) {
	a.each(func(c *apnsConn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.goAway(code, reason)
		c.urgeLocked()
	})
}

// Latency makes every answer from now on come d after the request, besides its own Delay.
func (a *APNs) Latency(d time.Duration) { a.latency.Store(int64(max(d, 0))) }

// SetStreams changes how many streams a connection may have, of those that are open, too. Zero lets nobody push.
func (a *APNs) SetStreams(n int) {
	n = max(n, 0)
	a.mu.Lock()
	a.streams = n
	a.mu.Unlock()
	a.each(func(c *apnsConn) { c.setStreams(n) })
}

// Unavailable starts or ends an outage: open connections are broken, and new ones are reset as soon as they are made.
// (The port stays taken, so that nobody else gets it.)
func (a *APNs) Unavailable(down bool) {
	a.mu.Lock()
	a.down = down
	a.mu.Unlock()
	if down {
		a.Disconnect()
	}
}

// Silent makes the APNs accept new connections of TCP and say nothing on them, not even TLS, or ends that. Connections
// that were accepted in silence stay silent.
func (a *APNs) Silent(silent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = silent
}
