package h2

import (
	"time"
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
	limit := c.config.PingTimeout
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
	heard := c.born.Add(time.Duration(c.heard.Load()))
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if !c.pinged.IsZero() && heard.After(c.pinged) {
		c.pinged = time.Time{}
	}
	silent := false
	switch {
	case !c.pinged.IsZero():
		if silent = now.Sub(c.pinged) >= c.config.PingTimeout; !silent {
			c.timer.Reset(c.config.PingTimeout - now.Sub(c.pinged))
		}
	case now.Sub(heard) >= c.config.PingInterval:
		c.pinged = now
		c.out.ping()
		c.timer.Reset(c.config.PingTimeout)
	default:
		c.timer.Reset(c.config.PingInterval - now.Sub(heard))
	}
	c.mu.Unlock()
	if silent {
		c.fail(ErrSilent)
		return
	}
	c.signal()
}
