package h2

import (
	"errors"
	"slices"

	"golang.org/x/net/http2"
)

// codeOf returns what to tell the peer about the end of the connection, if anything.
func codeOf(err error) (http2.ErrCode, bool) {
	if code, ok := errors.AsType[http2.ConnectionError](err); ok {
		return http2.ErrCode(code), true
	}
	switch {
	case errors.Is(err, http2.ErrFrameTooLarge):
		return http2.ErrCodeFrameSize, true
	case errors.Is(err, errFlood):
		return http2.ErrCodeEnhanceYourCalm, true
	case errors.Is(err, ErrSilent):
		return http2.ErrCodeNo, true
	}
	return 0, false
}

func (c *Conn) settings(f *http2.SettingsFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.IsAck() {
		if !c.peer.settled {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil
	}
	if !c.peer.settled {
		c.peer.settled, c.peer.streams = true, maxStream // unless told otherwise
	}
	if err := f.ForeachSetting(c.set); err != nil {
		return err
	}
	c.unblock()
	c.dirty = true
	c.signal()
	return c.out.reply((*http2.Framer).WriteSettingsAck)
}

// set takes one setting; those that are unknown are ignored. The caller holds c.mu.
func (c *Conn) set(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingMaxConcurrentStreams:
		c.peer.streams = int(min(s.Val, maxStream))
	case http2.SettingMaxFrameSize:
		c.peer.frame = int(s.Val)
	case http2.SettingMaxHeaderListSize:
		c.peer.list = s.Val
	case http2.SettingHeaderTableSize:
		size := min(s.Val, tableSize)
		c.out.encoder.SetMaxDynamicTableSizeLimit(size)
		c.out.encoder.SetMaxDynamicTableSize(size)
	case http2.SettingInitialWindowSize:
		return c.setWindow(int64(s.Val))
	}
	return nil
}

// setWindow changes the windows of all streams by what the initial one changes, even to less than nothing.
func (c *Conn) setWindow(initial int64) error {
	delta := initial - c.peer.initial
	c.peer.initial = initial
	for _, s := range c.streams {
		if s.window += delta; s.window > maxStream {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
	}
	return nil
}

func (c *Conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.peer.window += int64(f.Increment); c.peer.window > maxStream {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.dirty = true
	} else {
		s, err := c.lookup(f.StreamID)
		if s == nil {
			return err
		}
		if s.window += int64(f.Increment); s.window > maxStream {
			return http2.ConnectionError(http2.ErrCodeFlowControl) // a stream error would do, but who does that?
		}
	}
	if len(c.blocked) > 0 {
		c.unblock()
		c.signal()
	}
	return nil
}

func (c *Conn) ping(f *http2.PingFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signal()
	return c.out.reply(func(w *http2.Framer) error { return w.WritePing(true, f.Data) })
}

// goAway ends the streams that the peer will not process. Those below may still be answered. A graceful peer names the
// highest stream that there can be first, and the real one later.
func (c *Conn) goAway(f *http2.GoAwayFrame) error {
	debug := f.DebugData()
	away := &GoAwayError{
		LastStream: f.LastStreamID, Code: f.ErrCode, Debug: slices.Clone(debug[:min(len(debug), maxDebug)]),
	}
	c.mu.Lock()
	if c.away != nil {
		away.LastStream = min(away.LastStream, c.away.LastStream) // it may not grow
	}
	c.away = away
	var ended []*stream
	for id, s := range c.streams {
		if id > away.LastStream {
			c.remove(s)
			ended = append(ended, s)
		}
	}
	c.finish()
	c.mu.Unlock()
	c.dirty = true
	for _, s := range ended {
		c.tell(s, wrap(ErrUntouched, away))
	}
	c.signal()
	return nil
}
