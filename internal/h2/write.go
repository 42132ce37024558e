package h2

import (
	"time"

	"golang.org/x/net/http2"
)

const (
	lastWrite = time.Second // for the GOAWAY of a connection that is given up
	lastRead  = time.Second // for the reason why the peer does not take what is written, as a TLS alert
	keep      = 64 << 10    // capacity of a buffer that is used again
)

// signal wakes the writer.
func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// writeLoop writes what there is, all that came during one write with the next one. It closes the connection in the end.
func (c *Conn) writeLoop() {
	defer func() { _ = c.nc.Close() }()
	var spare []byte
	for {
		select {
		case <-c.wake:
		case <-c.dead:
		}
		c.mu.Lock()
		b := c.out.take(spare[:0])
		over, changed := c.err != nil, c.waiters
		c.waiters = false
		c.mu.Unlock()
		if changed {
			c.config.Changed()
		}
		if err := c.write(b, over); err != nil {
			c.stuck(err)
			return
		}
		if over {
			return
		}
		if spare = b; cap(spare) > keep {
			spare = nil
		}
	}
}

func (c *Conn) write(b []byte, over bool) error {
	if len(b) == 0 {
		return nil
	}
	limit := c.config.WriteTimeout
	if over {
		limit = min(limit, lastWrite)
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(limit))
	_, err := c.nc.Write(b)
	return err
}

// stuck waits until the reader has found out why the connection broke.
func (c *Conn) stuck(err error) {
	c.mu.Lock()
	c.broken = err
	c.mu.Unlock()
	_ = c.nc.SetReadDeadline(time.Now().Add(lastRead))
	<-c.dead
}

// tick looks whether the peer is alive.
func (c *Conn) tick() {
	c.frames.Store(0)
	now := time.Now()
	heard := c.lastHeard()
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	changed := c.resetMuted()
	if !c.pinged.IsZero() && heard.After(c.pinged) {
		c.pinged = time.Time{}
	}
	silent := false
	switch {
	case !c.pinged.IsZero():
		if silent = now.Sub(c.pinged) >= c.config.PingTimeout; !silent {
			c.timer.Reset(c.config.PingTimeout - now.Sub(c.pinged))
		}
	case now.Sub(heard) >= c.patience():
		c.ask(now)
	default:
		c.timer.Reset(min(c.config.PingInterval, c.patience()-now.Sub(heard)))
	}
	c.mu.Unlock()
	if silent {
		c.fail(ErrSilent)
		return
	}
	c.signal()
	if changed {
		c.config.Changed()
	}
}

func (c *Conn) lastHeard() time.Time { return c.born.Add(time.Duration(c.heard.Load())) }

// patience is how long the peer may be silent. This and the following are called with c.mu held.
func (c *Conn) patience() time.Duration {
	if len(c.streams) == 0 {
		return max(idlePing, c.config.PingInterval)
	}
	return c.config.PingInterval
}

// ask asks the peer for a sign of life.
func (c *Conn) ask(now time.Time) {
	c.pinged = now
	c.out.ping()
	c.timer.Reset(c.config.PingTimeout)
}

// probe asks a peer that was silent while nothing waited, before something does.
func (c *Conn) probe() {
	now := time.Now()
	if c.pinged.IsZero() && now.Sub(c.lastHeard()) >= c.config.PingInterval {
		c.ask(now)
	}
}

// resetMuted tells the peer of streams that were given up, some at a time, and reports whether there were any.
func (c *Conn) resetMuted() bool {
	c.resets = 0
	if c.muted == 0 {
		return false
	}
	for _, s := range c.streams {
		if s.muted && c.resets < maxResets {
			c.resets++
			c.remove(s)
			c.out.reset(s.id, http2.ErrCodeCancel)
		}
	}
	return true
}
