package mdmtest

import (
	"time"

	"golang.org/x/net/http2"
)

const (
	apnsMaxOut   = 1 << 20  // bytes that wait to be written before no more is read
	apnsSpareOut = 64 << 10 // bytes of a buffer that is kept
)

// write writes what is queued until the connection is broken or finished.
func (c *apnsConn) write() {
	var spare []byte
	for {
		c.mu.Lock()
		for !c.urgent && !c.broken {
			c.changed.Wait()
		}
		if c.broken {
			c.mu.Unlock()
			return
		}
		out, finished := c.out.b, c.finished
		c.out.b, c.urgent = spare, false
		c.changed.Broadcast()
		c.mu.Unlock()
		if _, err := c.tls.Write(out); err != nil {
			c.breakOff()
			return
		}
		if finished {
			_ = c.tls.CloseWrite()
			c.socket.end()
			return
		}
		if spare = out[:0]; cap(spare) > apnsSpareOut {
			spare = nil
		}
	}
}

// urge has everything written that is queued.
func (c *apnsConn) urge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.urgeLocked()
}

// urgeLocked is called with c.mu held.
func (c *apnsConn) urgeLocked() {
	if len(c.out.b) > 0 && !c.urgent {
		c.urgent = true
		c.changed.Broadcast()
	}
}

// ebb waits until there is not too much to be written.
func (c *apnsConn) ebb() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out.b) > apnsMaxOut && !c.broken && !c.finished {
		c.changed.Wait()
	}
}

// announce sends the limit of streams if it has changed. The caller holds c.mu.
func (c *apnsConn) announce() {
	limit := c.max
	if !c.trusted {
		limit = min(limit, c.apns.config.FirstStreams)
	}
	settings := []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: uint32(limit)}}
	switch {
	case c.unacked == 0 && c.limit == 0 && !c.trusted: // the first
		settings = append(settings, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: apnsMaxHeaders})
	case limit == c.limit:
		return
	}
	c.limit = limit
	c.unacked++
	_ = c.writer.WriteSettings(settings...) // to a buffer
}

// trust raises the limit of streams after the first push.
func (c *apnsConn) trust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.trusted && !c.broken {
		c.trusted = true
		c.announce()
	}
}

// setStreams changes the limit of streams.
func (c *apnsConn) setStreams(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max = n
	if c.started && !c.broken {
		c.announce()
		c.urgeLocked()
	}
}

// goAway lets what was begun be answered, and nothing else. The caller holds c.mu.
func (c *apnsConn) goAway(code uint32, reason string) {
	if c.away || c.broken || !c.started {
		return
	}
	if reason == "" {
		reason = "Shutdown"
	}
	c.away = true
	_ = c.writer.WriteGoAway(c.last, http2.ErrCode(code), apnsReason(reason, time.Now()))
	c.finishIfDone()
}

// finishIfDone closes a connection that was sent away when its last stream is done. The caller holds c.mu.
func (c *apnsConn) finishIfDone() {
	if c.away && len(c.streams) == 0 {
		c.finish()
	}
}

func (c *apnsConn) finish() {
	c.finished, c.urgent = true, true
	c.changed.Broadcast()
}

// fail ends the connection for an error of the client.
func (c *apnsConn) fail(code http2.ErrCode, why string) {
	c.apns.violate("HTTP/2: " + code.String() + ": " + why)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken || c.finished {
		return
	}
	c.abandon()
	_ = c.writer.WriteGoAway(c.last, code, []byte(why))
	c.away = true
	c.finish()
}
