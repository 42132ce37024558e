package mdmtest

// hang holds everything back that belongs to pushes.
func (c *apnsConn) hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hung = !c.broken
}

// hold keeps a request that was read to its end until the connection goes on, if it hangs.
func (c *apnsConn) hold(st *apnsStream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hung {
		return false
	}
	c.held = append(c.held, func() {
		if c.stream(st.id) == st { // else the client has given it up
			c.complete(st)
		}
	})
	return true
}

// replyHeld answers st as reply was to do.
func (c *apnsConn) replyHeld(st *apnsStream, r apnsReply) {
	c.mu.Lock()
	waits := c.streams[st.id] == st // else it was counted when it was canceled
	st.waiting = false
	c.mu.Unlock()
	if waits {
		c.reply(st, r)
	}
}

// resume does what was held back, in order.
func (c *apnsConn) resume() {
	c.mu.Lock()
	held := c.held
	c.hung, c.held = false, nil
	c.mu.Unlock()
	for _, do := range held {
		do()
	}
	c.sendDue()
}
