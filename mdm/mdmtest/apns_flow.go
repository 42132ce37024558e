package mdmtest

import "golang.org/x/net/http2"

// Windows, in bytes.
const (
	apnsWindow       = 1 << 20 // that the client may send on all streams before it hears from us
	apnsStreamWindow = 65535   // and on one
	apnsMaxWindow    = 1<<31 - 1
)

// apnsSpent is what the bytes that came on a stream mean.
type apnsSpent struct {
	stream *apnsStream // nil: it is over
	full   bool        // that was too much for the stream
	due    bool        // windows are to be given back
}

// spend notes that n bytes came on a stream.
func (c *apnsConn) spend(id uint32, n int) (s apnsSpent, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed += n; c.owed > apnsWindow {
		return s, apnsFault{http2.ErrCodeFlowControl, "more than the window of the connection"}
	}
	s.due = c.owed >= apnsWindow/2
	if s.stream = c.streams[id]; s.stream != nil {
		s.stream.owed += n
		s.full = s.stream.owed > apnsStreamWindow
		s.due = s.due || s.stream.owed > apnsStreamWindow/2
	}
	return s, nil
}

// giveBack lets the client send more, in bulk.
func (c *apnsConn) giveBack(st *apnsStream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st != nil {
		c.giveBackOf(st)
	}
	c.giveBackLocked()
}

// giveBackAll is called when windows are not withheld any more.
func (c *apnsConn) giveBackAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started || c.broken || c.finished {
		return
	}
	for _, st := range c.streams {
		c.giveBackOf(st)
	}
	c.giveBackLocked()
	c.urgeLocked()
}

// giveBackOf is called with c.mu held.
func (c *apnsConn) giveBackOf(st *apnsStream) {
	if st.owed > apnsStreamWindow/2 && c.streams[st.id] == st && !c.apns.withheld.Load() {
		_ = c.writer.WriteWindowUpdate(st.id, uint32(st.owed))
		st.owed = 0
	}
}

// giveBackLocked is called with c.mu held.
func (c *apnsConn) giveBackLocked() {
	if c.owed >= apnsWindow/2 && !c.apns.withheld.Load() {
		_ = c.writer.WriteWindowUpdate(0, uint32(c.owed))
		c.owed = 0
	}
}
