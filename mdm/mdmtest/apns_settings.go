package mdmtest

import "golang.org/x/net/http2"

// onSettings takes the client's settings, or its word that it has ours.
func (c *apnsConn) onSettings(f *http2.SettingsFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.IsAck() {
		if c.unacked == 0 {
			return apnsFault{http2.ErrCodeProtocol, "an acknowledgment of nothing"}
		}
		c.unacked--
		return nil
	}
	if err := f.ForeachSetting(c.onSetting); err != nil {
		return err
	}
	return c.writer.WriteSettingsAck()
}

// onSetting is called with c.mu held.
func (c *apnsConn) onSetting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingMaxFrameSize:
		c.frame = int(min(s.Val, 1<<20))
	case http2.SettingInitialWindowSize:
		delta := int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		for _, st := range c.streams {
			if st.window += delta; st.window > apnsMaxWindow {
				return apnsFault{http2.ErrCodeFlowControl, "the window of a stream is too large"}
			}
		}
		c.pumpAll()
	}
	return nil
}

// onWindowUpdate lets more of the answers be sent.
func (c *apnsConn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	if f.StreamID > c.highest {
		return apnsFault{http2.ErrCodeProtocol, "WINDOW_UPDATE on a stream that was not opened"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > apnsMaxWindow {
			return apnsFault{http2.ErrCodeFlowControl, "the window of the connection is too large"}
		}
		c.pumpAll()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil
	}
	if st.window += int64(f.Increment); st.window > apnsMaxWindow {
		_ = c.writer.WriteRSTStream(st.id, http2.ErrCodeFlowControl)
		c.cancel(st)
		c.finishIfDone()
		return nil
	}
	c.pump(st)
	return nil
}

// pumpAll is called with c.mu held.
func (c *apnsConn) pumpAll() {
	for _, st := range c.streams {
		c.pump(st)
	}
}
