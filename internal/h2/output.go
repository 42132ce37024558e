package h2

import (
	"bytes"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// output is what waits to be written, in the form that it has on the wire. Requests are encoded in the order in which
// they are written, as HPACK demands. It is guarded by the Conn's mutex.
type output struct {
	waiting []byte
	control int    // bytes of waiting that reply to control frames
	total   uint64 // bytes that there ever were
	handed  uint64 // bytes of them that were taken to be written
	hello   int    // bytes of the preface, with which they begin
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
}

func (o *output) init() {
	o.framer = http2.NewFramer(o, nil)
	o.encoder = hpack.NewEncoder(&o.block)
}

// Write is for the framer. It takes all.
func (o *output) Write(b []byte) (int, error) {
	o.waiting = append(o.waiting, b...)
	o.total += uint64(len(b))
	return len(b), nil
}

// take returns what is to be written and goes on with empty.
func (o *output) take(empty []byte) []byte {
	b := o.waiting
	o.waiting, o.control, o.handed = empty, 0, o.total
	return b
}

// discard drops what was not taken, so that it will not be written. Only whole frames are; the preface is none.
func (o *output) discard() {
	if o.handed > 0 {
		o.hello = 0
	}
	o.waiting, o.control = o.waiting[:o.hello], 0
}

// The framer's errors are about arguments that do not occur here.

func (o *output) preface() {
	_, _ = o.Write([]byte(http2.ClientPreface))
	_ = o.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList})
	_ = o.framer.WriteWindowUpdate(0, connWindow-(64<<10-1))
	o.hello = len(o.waiting)
}

func (o *output) headers(id uint32, fields []hpack.HeaderField, end bool, maxFrame int) {
	o.block.Reset()
	for _, f := range fields {
		_ = o.encoder.WriteField(f)
	}
	block := o.block.Bytes()
	n := min(len(block), maxFrame)
	_ = o.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block),
	})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), maxFrame)
		_ = o.framer.WriteContinuation(id, n == len(block), block[:n])
	}
}

func (o *output) data(id uint32, end bool, b []byte) { _ = o.framer.WriteData(id, end, b) }

func (o *output) reset(id uint32, code http2.ErrCode) { _ = o.framer.WriteRSTStream(id, code) }

func (o *output) ping() { _ = o.framer.WritePing(false, [8]byte{}) }

// goAway says that no stream of the peer's was processed, as it may have none.
func (o *output) goAway(code http2.ErrCode) { _ = o.framer.WriteGoAway(0, code, nil) }

// reply writes what the peer makes us write, and fails if it makes us write too much.
func (o *output) reply(write func(*http2.Framer) error) error {
	before := o.total
	_ = write(o.framer)
	o.control += int(o.total - before)
	if o.control > maxControl {
		return errFlood
	}
	return nil
}

// send writes what the windows allow of the body of s and reports whether that was all.
func (c *Conn) send(s *stream) bool {
	for len(s.pending) > 0 {
		n := int(min(int64(min(len(s.pending), c.peer.frame)), s.window, c.peer.window))
		if n <= 0 {
			return false
		}
		s.window -= int64(n)
		c.peer.window -= int64(n)
		c.out.data(s.id, n == len(s.pending), s.pending[:n])
		s.pending = s.pending[n:]
	}
	return true
}

// unblock goes on with bodies that waited for a window.
func (c *Conn) unblock() {
	still := c.blocked[:0]
	for _, s := range c.blocked {
		if s.blocked = !s.ended && !c.send(s); s.blocked {
			still = append(still, s)
		}
	}
	clear(c.blocked[len(still):])
	c.blocked, c.stale = still, 0
}
