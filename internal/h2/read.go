package h2

import (
	"errors"
	"net"
	"time"

	"golang.org/x/net/http2"
)

// source reads for the framer's buffer: whenever it is asked, all frames that were there are dealt with.
type source struct{ c *Conn }

func (r source) Read(b []byte) (int, error) {
	c := r.c
	c.changed()
	if c.block > maxBlock {
		return 0, errFlood
	}
	n, err := c.nc.Read(b)
	if n > 0 {
		c.block += n
		c.heard.Store(int64(time.Since(c.born)))
	}
	return n, err
}

// changed tells of the changes since it was last called.
func (c *Conn) changed() {
	if c.dirty {
		c.dirty, c.ended = false, 0
		c.config.Changed()
	}
}

func (c *Conn) readLoop() {
	err := c.read()
	c.changed()
	c.mu.Lock()
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && c.broken != nil {
		err = c.broken
	}
	c.mu.Unlock()
	c.fail(err)
}

func (c *Conn) read() error {
	for {
		c.block = 0
		frame, err := c.framer.ReadFrame()
		if c.frames.Add(1) > maxFrames {
			return errFlood
		}
		if bad, ok := errors.AsType[http2.StreamError](err); ok {
			err = c.malformed(bad)
		} else if err == nil {
			err = c.handle(frame)
		}
		if err != nil {
			return err
		}
	}
}

func (c *Conn) handle(frame http2.Frame) error {
	if settings, ok := frame.(*http2.SettingsFrame); ok {
		return c.settings(settings)
	}
	if !c.settled() {
		return http2.ConnectionError(http2.ErrCodeProtocol) // the preface is missing (RFC 9113, section 3.4)
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.RSTStreamFrame:
		return c.reset(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.GoAwayFrame:
		return c.goAway(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // we forbid it
	}
	return nil // unknown frames are ignored (RFC 9113, section 5.5)
}

func (c *Conn) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.settled
}

// lookup returns the stream of a frame, nil if it has ended already. The caller holds c.mu.
func (c *Conn) lookup(id uint32) (*stream, error) {
	if id%2 == 0 || id >= c.next {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol) // of a stream that we have not started
	}
	return c.streams[id], nil
}

// drop ends s, whose answer is over or of no interest any more. The caller holds c.mu.
func (c *Conn) drop(s *stream, code http2.ErrCode) {
	unsent := len(s.pending) > 0
	c.remove(s)
	if code == http2.ErrCodeNo && unsent {
		code = http2.ErrCodeCancel // the peer has answered already
	}
	if code != http2.ErrCodeNo {
		c.out.reset(s.id, code)
		c.signal()
	}
	c.finish()
}

// tell ends s for its receiver, with nothing locked.
func (c *Conn) tell(s *stream, err error) {
	if s == nil {
		return
	}
	c.dirty = true
	c.frames.Store(0)
	s.end(err)
	if c.ended++; c.ended >= maxEnded {
		c.changed() // others may start before all that was read is dealt with
	}
}

// malformed deals with a frame that is wrong for one stream only.
func (c *Conn) malformed(bad http2.StreamError) error {
	c.mu.Lock()
	s, err := c.lookup(bad.StreamID)
	if s != nil {
		c.drop(s, bad.Code)
	}
	c.mu.Unlock()
	c.tell(s, wrap(ErrMalformed, bad))
	return err
}

func (c *Conn) headers(f *http2.MetaHeadersFrame) error {
	c.mu.Lock()
	s, err := c.lookup(f.StreamID)
	if s == nil {
		c.mu.Unlock()
		return err
	}
	over, err := s.headers(f)
	switch {
	case err != nil:
		c.drop(s, http2.ErrCodeProtocol)
	case over:
		c.drop(s, http2.ErrCodeNo)
	}
	c.mu.Unlock()
	if err != nil || over {
		c.tell(s, err)
	}
	return nil
}

var (
	errList     = errors.New("the header list is too long")
	errTrailers = errors.New("odd trailers")
	errStatus   = errors.New("odd status")
	errBody     = errors.New("a body without a header")
)

// headers reports whether the answer is complete.
func (s *stream) headers(f *http2.MetaHeadersFrame) (over bool, err error) {
	switch {
	case f.Truncated:
		return false, wrap(ErrMalformed, errList)
	case s.answer.Status != 0: // trailers
		if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
			return false, wrap(ErrMalformed, errTrailers)
		}
		return true, nil
	}
	status := statusOf(f.PseudoValue("status"))
	switch {
	case status < 100 || status == 101 || status < 200 && f.StreamEnded():
		return false, wrap(ErrMalformed, errStatus)
	case status < 200:
		return false, nil // informational
	}
	s.answer.Status, s.answer.Header = status, f.RegularFields()
	return f.StreamEnded(), nil
}

// statusOf returns 0 for what is not three digits.
func statusOf(s string) int {
	if len(s) != 3 {
		return 0
	}
	n := 0
	for i := range 3 {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = 10*n + int(s[i]-'0')
	}
	return n
}

// data keeps the beginning of a body, and gives back what it took of the connection's window.
func (c *Conn) data(f *http2.DataFrame) error {
	c.mu.Lock()
	s, err := c.lookup(f.StreamID)
	if err == nil {
		err = c.give(int(f.Length))
	}
	if s == nil || err != nil {
		c.mu.Unlock()
		return err
	}
	s.read += int(f.Length)
	over := true
	switch room := maxBody - len(s.answer.Body); {
	case s.answer.Status == 0:
		err = wrap(ErrMalformed, errBody)
		c.drop(s, http2.ErrCodeProtocol)
	case s.read > streamWindow:
		c.drop(s, http2.ErrCodeFlowControl)
	case len(f.Data()) > room:
		s.answer.Body = append(s.answer.Body, f.Data()[:room]...)
		c.drop(s, http2.ErrCodeCancel) // the rest is of no interest
	default:
		s.answer.Body = append(s.answer.Body, f.Data()...)
		if over = f.StreamEnded(); over {
			c.drop(s, http2.ErrCodeNo)
		}
	}
	c.mu.Unlock()
	if over {
		c.tell(s, err)
	}
	return nil
}

// give gives back n bytes of the connection's window, not in small change. The caller holds c.mu.
func (c *Conn) give(n int) error {
	if c.window -= n; c.window < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if c.owed += n; c.owed < connWindow/4 {
		return nil
	}
	owed := c.owed
	c.window, c.owed = c.window+owed, 0
	c.signal()
	return c.out.reply(func(w *http2.Framer) error { return w.WriteWindowUpdate(0, uint32(owed)) })
}

func (c *Conn) reset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	s, err := c.lookup(f.StreamID)
	if s != nil {
		c.remove(s)
		c.finish()
	}
	c.mu.Unlock()
	cause := http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode}
	if f.ErrCode == http2.ErrCodeRefusedStream {
		c.tell(s, wrap(ErrUntouched, cause))
	} else {
		c.tell(s, wrap(ErrLost, cause))
	}
	return err
}
