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

// Disconnect breaks all open connections.
func (a *APNs) Disconnect() { a.each((*apnsConn).breakOff) }

// GoAwayAll tells all clients with GOAWAY to use their connections no more. Pushes that came before are answered; later
// ones on those connections are not looked at. "" is Shutdown.
func (a *APNs) GoAwayAll(reason string) {
	a.each(func(c *apnsConn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.goAway(reason)
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
