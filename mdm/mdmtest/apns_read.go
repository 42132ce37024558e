package mdmtest

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/uuid"
	"golang.org/x/net/http2"
)

// apnsFault is an error of the client that ends the connection.
type apnsFault struct {
	code http2.ErrCode
	why  string
}

func (f apnsFault) Error() string { return f.why }

// read reads until the connection ends.
func (c *apnsConn) read() {
	err := c.readPreface()
	for err == nil {
		err = c.readFrame()
	}
	fault, ok := c.faultOf(err)
	if !ok {
		return // the client or we have closed it
	}
	c.fail(fault.code, fault.why)
	c.socket.drain()
}

func (c *apnsConn) readPreface() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.in, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return apnsFault{http2.ErrCodeProtocol, "no preface"}
	}
	frame, err := c.reader.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return apnsFault{http2.ErrCodeProtocol, "the first frame is not SETTINGS"}
	}
	return c.onSettings(settings)
}

func (c *apnsConn) readFrame() error {
	header, err := c.reader.ReadFrameHeader()
	if err != nil {
		return err
	}
	frame, err := c.reader.ReadFrameForHeader(header)
	if err == nil {
		return c.onFrame(frame)
	}
	var stream http2.StreamError
	if errors.As(err, &stream) && header.Type != http2.FrameHeaders { // those would leave HPACK in disorder
		return c.onReset(header.StreamID, &stream.Code)
	}
	return err
}

// faultOf turns an error of the Framer or of ours into what the client is told. There is nothing to tell of others.
func (c *apnsConn) faultOf(err error) (apnsFault, bool) {
	var fault apnsFault
	var conn http2.ConnectionError
	var stream http2.StreamError
	switch {
	case errors.As(err, &fault):
		return fault, true
	case errors.As(err, &conn):
		why := err
		if detail := c.reader.ErrorDetail(); detail != nil {
			why = detail
		}
		return apnsFault{http2.ErrCode(conn), why.Error()}, true
	case errors.As(err, &stream):
		return apnsFault{stream.Code, "a bad HEADERS frame"}, true
	case errors.Is(err, http2.ErrFrameTooLarge):
		return apnsFault{http2.ErrCodeFrameSize, "a frame is too large"}, true
	case errors.Is(err, io.ErrUnexpectedEOF) && c.inErr == nil:
		return apnsFault{http2.ErrCodeFrameSize, "a frame is too short"}, true
	}
	return apnsFault{}, false
}

func (c *apnsConn) onFrame(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.DataFrame:
		return c.onData(f)
	case *http2.HeadersFrame:
		return c.onHeaders(f)
	case *http2.ContinuationFrame:
		return c.onBlock(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.RSTStreamFrame:
		return c.onReset(f.StreamID, nil)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.WindowUpdateFrame:
		return c.onWindowUpdate(f)
	case *http2.PingFrame:
		c.onPing(f)
	case *http2.PushPromiseFrame:
		return apnsFault{http2.ErrCodeProtocol, "PUSH_PROMISE of a client"}
	}
	return nil // PRIORITY, GOAWAY and what is unknown
}

func (c *apnsConn) onPing(f *http2.PingFrame) {
	if f.IsAck() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writer.WritePing(true, f.Data)
}

// onHeaders begins a request, or ends it with trailers.
func (c *apnsConn) onHeaders(f *http2.HeadersFrame) error {
	st := c.stream(f.StreamID)
	switch {
	case st != nil && !st.done && f.StreamEnded(): // trailers
		c.endRequest(st)
		c.opening, c.block = &apnsStream{}, 0 // its header is read and forgotten
		if err := c.onBlock(f.HeaderBlockFragment(), f.HeadersEnded()); err != nil {
			return err
		}
		if !st.large {
			c.complete(st)
		}
		return nil
	case st != nil:
		return apnsFault{http2.ErrCodeProtocol, "HEADERS in the middle of a request"}
	case f.StreamID%2 == 0:
		return apnsFault{http2.ErrCodeProtocol, "a stream with an even number"}
	case f.StreamID <= c.highest:
		return apnsFault{http2.ErrCodeStreamClosed, "HEADERS on a stream that has ended"}
	}
	c.highest = f.StreamID
	c.opening = &apnsStream{id: f.StreamID, done: f.StreamEnded()}
	c.block = 0
	return c.onBlock(f.HeaderBlockFragment(), f.HeadersEnded())
}

// onBlock reads a part of a header.
func (c *apnsConn) onBlock(block []byte, ended bool) error {
	if c.block += len(block); c.block > apnsMaxBlock {
		return apnsFault{http2.ErrCodeEnhanceYourCalm, "an endless header"}
	}
	if _, err := c.hpack.Write(block); err != nil {
		return apnsFault{http2.ErrCodeCompression, err.Error()}
	}
	if !ended {
		return nil
	}
	if err := c.hpack.Close(); err != nil {
		return apnsFault{http2.ErrCodeCompression, err.Error()}
	}
	if st := c.opening; st.id != 0 && c.open(st) && st.done {
		c.complete(st)
	}
	return nil
}

// open makes room for a stream, or refuses it.
func (c *apnsConn) open(st *apnsStream) bool {
	c.mu.Lock()
	known := c.unacked == 0
	limit := c.limit
	switch {
	case c.away || c.broken:
		c.mu.Unlock()
		return false
	case len(c.streams) < limit && c.jobs.Load() <= int64(2*c.max+100):
		st.window = c.initial
		c.streams[st.id] = st
		c.last = st.id
		c.mu.Unlock()
		return true
	}
	known = known && len(c.streams) >= limit
	_ = c.writer.WriteRSTStream(st.id, http2.ErrCodeRefusedStream)
	c.mu.Unlock()
	c.apns.count.refused.Add(1)
	if known {
		c.apns.violate(fmt.Sprintf("HTTP/2: more than the %d streams that were announced", limit))
	}
	return false
}

// stream returns an open stream.
func (c *apnsConn) stream(id uint32) *apnsStream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

func (c *apnsConn) onData(f *http2.DataFrame) error {
	if f.StreamID > c.highest {
		return apnsFault{http2.ErrCodeProtocol, "DATA on a stream that was not opened"}
	}
	spent, err := c.spend(f.StreamID, int(f.Length))
	if err != nil {
		return err
	}
	switch st := spent.stream; {
	case st == nil: // it is over
	case st.done:
		c.apns.violate("HTTP/2: DATA after the end of a request")
		c.reset(st, http2.ErrCodeStreamClosed)
	case spent.full:
		c.reset(st, http2.ErrCodeFlowControl)
	default:
		c.onBody(st, f)
	}
	if spent.due {
		c.giveBack(spent.stream)
	}
	return nil
}

// onBody takes a part of a body. A stream that has had its answer may go on for a while.
func (c *apnsConn) onBody(st *apnsStream, f *http2.DataFrame) {
	if f.StreamEnded() {
		c.endRequest(st)
	}
	switch {
	case st.large:
	case len(st.body)+len(f.Data()) > apnsMaxPayload:
		st.large = true // and answered; the rest is read and forgotten
		c.refuse(st, apnsRefuse(http.StatusRequestEntityTooLarge, "PayloadTooLarge", "more than %d bytes", apnsMaxPayload))
	default:
		st.body = append(st.body, f.Data()...)
		if st.done {
			c.complete(st)
		}
	}
}

// endRequest notes that the client has sent all of a request.
func (c *apnsConn) endRequest(st *apnsStream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.done = true
}

// complete answers a request that was read to its end, or has it taken.
func (c *apnsConn) complete(st *apnsStream) {
	if c.hold(st) {
		return
	}
	if st.head.size > apnsMaxHeaders {
		c.refuse(st, apnsRefuse(http.StatusRequestHeaderFieldsTooLarge, "BadHeaders", "more than %d bytes of headers", apnsMaxHeaders))
		return
	}
	if flaw := st.head.flaw(len(st.body)); flaw != "" {
		c.apns.violate("HTTP/2: " + flaw)
		c.reset(st, http2.ErrCodeProtocol)
		return
	}
	p := &st.push
	if refused := p.readPush(&st.head, st.body, c.topic); refused != nil {
		c.refuse(st, refused)
		return
	}
	p.ID, p.At, p.Conn = st.answerID(), c.apns.config.Clock(), c.number
	st.arrival = c.apns.arrived.Add(1)
	if !c.apns.config.Lenient {
		if unwise := p.unwise(&st.head); unwise != "" {
			c.apns.violate("unwise: " + unwise)
		}
	}
	c.take(st)
}

// refuse answers a request that breaks Apple's rules.
func (c *apnsConn) refuse(st *apnsStream, refused *apnsRefusal) {
	c.apns.violate(refused.Error())
	c.reply(st, apnsReply{PushAnswer: RefusePush(refused.status, refused.reason), id: st.answerID()})
}

// answerID returns the apns-id of the answer.
func (st *apnsStream) answerID() string {
	if id := st.head.id; id != "" && len(id) <= apnsMaxID {
		return id
	}
	return uuid.NewString()
}

// onReset ends a stream, because the client says so or, with a code, because of an error of the client.
func (c *apnsConn) onReset(id uint32, code *http2.ErrCode) error {
	if id > c.highest {
		return apnsFault{http2.ErrCodeProtocol, "a frame for a stream that was not opened"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		if code != nil {
			_ = c.writer.WriteRSTStream(id, *code)
		}
		c.cancel(st)
		c.finishIfDone()
	}
	return nil
}
