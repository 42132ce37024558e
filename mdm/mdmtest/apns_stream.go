package mdmtest

import (
	"container/heap"
	"time"

	"golang.org/x/net/http2"
)

// apnsStream is a request and its answer.
type apnsStream struct {
	id   uint32
	head apnsHead

	// Of the reader, until the push is taken.
	body  []byte
	large bool // more than a body may be
	push  Push

	arrival uint64 // number of the push

	entered bool // of who settles it: the push was taken

	// Guarded by the mutex of the connection.
	done    bool // all of the request was read; the reader reads it without the mutex, being who sets it
	window  int64
	owed    int  // bytes of flow control to give back
	waiting bool // reply is known, and not sent
	sending bool // rest follows
	reply   apnsReply
	rest    []byte
	due     time.Time // of reply
	index   int       // among the delayed, from 1
}

// apnsReply is an answer to a stream.
type apnsReply struct {
	PushAnswer
	id    string
	taken bool // the push was
}

// reply answers st, now or later.
func (c *apnsConn) reply(st *apnsStream, r apnsReply) {
	delay := r.Delay + time.Duration(c.apns.latency.Load())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] != st || st.waiting || st.sending {
		if r.taken {
			c.apns.count.canceled.Add(1)
		}
		return
	}
	st.reply = r
	switch {
	case c.hung:
		st.waiting = true
		c.held = append(c.held, func() { c.replyHeld(st, r) })
	case r.Stall:
		st.waiting = true
	case delay > 0:
		st.waiting = true
		c.delay(st, time.Now().Add(delay))
	default:
		c.send(st)
	}
}

// send answers st. The caller holds c.mu.
func (c *apnsConn) send(st *apnsStream) {
	r := &st.reply
	count, status, body := &c.apns.count, r.status(), r.body()
	if r.taken {
		count.answered.Add(1)
	} else {
		count.malformed.Add(1)
	}
	count.status[status].Add(1)
	st.waiting, st.sending, st.rest = false, true, body
	var block [256]byte
	_ = c.writer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: st.id, EndHeaders: true, EndStream: len(body) == 0,
		BlockFragment: apnsAppendHead(block[:0], status, r.id, r.RetryAfter),
	})
	goAway, code, reason := r.GoAway, r.GoAwayCode, r.GoAwayReason
	if len(body) == 0 {
		c.close(st)
	} else {
		c.pump(st)
	}
	if goAway {
		c.goAway(code, reason)
	}
}

// pump sends as much of st's body as flow control lets. The caller holds c.mu.
func (c *apnsConn) pump(st *apnsStream) {
	for {
		n := int(min(int64(len(st.rest)), int64(c.frame), st.window, c.window))
		if n <= 0 {
			return
		}
		end := n == len(st.rest)
		_ = c.writer.WriteData(st.id, end, st.rest[:n])
		st.rest = st.rest[n:]
		st.window -= int64(n)
		c.window -= int64(n)
		if end {
			c.close(st)
			return
		}
	}
}

// close ends a stream that was answered. If the client has not sent all, it need not. The caller holds c.mu.
func (c *apnsConn) close(st *apnsStream) {
	if !st.done {
		_ = c.writer.WriteRSTStream(st.id, http2.ErrCodeNo)
	}
	delete(c.streams, st.id)
	c.finishIfDone()
}

// reset ends a stream without an answer, if it has not ended.
func (c *apnsConn) reset(st *apnsStream, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[st.id] == st {
		_ = c.writer.WriteRSTStream(st.id, code)
		c.cancel(st)
		c.finishIfDone()
	}
}

// cancel forgets a stream that ends without the answer that it waits for. The caller holds c.mu.
func (c *apnsConn) cancel(st *apnsStream) {
	if st.waiting && st.reply.taken {
		c.apns.count.canceled.Add(1)
	}
	st.waiting = false
	if st.index > 0 {
		heap.Remove(&c.delayed, st.index-1)
	}
	delete(c.streams, st.id)
}

// delay has st answered at due. The caller holds c.mu.
func (c *apnsConn) delay(st *apnsStream, due time.Time) {
	st.due = due
	heap.Push(&c.delayed, st)
	if st.index > 1 {
		return // the timer runs
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(due), c.sendDue)
	} else {
		c.timer.Reset(time.Until(due))
	}
}

// sendDue answers the streams whose time has come.
func (c *apnsConn) sendDue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for len(c.delayed) > 0 && !c.broken && !c.hung {
		first := c.delayed[0]
		if first.due.After(now) {
			c.timer.Reset(first.due.Sub(now))
			break
		}
		heap.Pop(&c.delayed)
		c.send(first)
	}
	c.urgeLocked()
}

// apnsDelayed is a heap, the earliest first.
type apnsDelayed []*apnsStream

func (d apnsDelayed) Len() int           { return len(d) }
func (d apnsDelayed) Less(i, j int) bool { return d[i].due.Before(d[j].due) }

func (d apnsDelayed) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i+1, j+1
}

func (d *apnsDelayed) Push(x any) {
	st := x.(*apnsStream)
	*d = append(*d, st)
	st.index = len(*d)
}

func (d *apnsDelayed) Pop() any {
	old := *d
	st := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	st.index = 0
	return st
}
