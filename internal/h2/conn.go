package h2

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Conn is a connection. It is safe for concurrent use.
type Conn struct {
	nc     net.Conn
	config Config
	wake   chan struct{} // there is something to write
	dead   chan struct{} // closed when err is set
	framer *http2.Framer // reads
	born   time.Time
	heard  atomic.Int64 // when something was read, in nanoseconds since born
	frames atomic.Int64 // read since the last answer
	block  int          // bytes read for the frame under way; the reader's
	dirty  bool         // Changed is to be called; the reader's
	ended  int          // requests since it was called; the reader's

	mu      sync.Mutex
	streams map[uint32]*stream
	next    uint32    // stream
	blocked []*stream // whose body waits for a window, in order
	stale   int       // of them, those that have ended
	muted   int       // streams that nobody waits for, and that the peer was not told of yet
	resets  int       // of requests that were given up, in the time of PingInterval
	lost    int       // requests that may have been processed when the connection ended
	out     output
	peer    peer
	owed    int // bytes of the peer's window to give back
	window  int // what the peer may send

	away    *GoAwayError
	closing bool  // by us
	broken  error // of a write; the reader may find a better reason
	err     error // the end
	waiters bool  // a request was refused for want of room in out
	pinged  time.Time
	timer   *time.Timer
}

// peer is what the peer lets us do.
type peer struct {
	settled bool
	streams int
	window  int64 // of the connection
	initial int64 // window of a stream
	frame   int   // bytes
	list    uint32
}

type stream struct {
	id      uint32
	to      Receiver
	start   uint64 // where it begins in all that is written
	window  int64
	pending []byte // of the body, not written yet
	blocked bool   // in Conn.blocked
	muted   bool
	read    int // bytes of DATA frames
	answer  Answer
	ended   bool
}

// New starts the connection over nc, which is the Conn's from now on, and sends the client's preface.
func New(nc net.Conn, config Config) *Conn {
	config.Streams = orDefault(config.Streams, 1000)
	config.PingInterval = orDefault(config.PingInterval, 15*time.Second)
	config.PingTimeout = orDefault(config.PingTimeout, 10*time.Second)
	config.WriteTimeout = orDefault(config.WriteTimeout, 10*time.Second)
	if config.Changed == nil {
		config.Changed = func() {}
	}
	c := &Conn{
		nc: nc, config: config, wake: make(chan struct{}, 1), dead: make(chan struct{}), born: time.Now(),
		streams: map[uint32]*stream{}, next: 1, window: connWindow,
		peer: peer{streams: 1, window: 64<<10 - 1, initial: 64<<10 - 1, frame: 16 << 10, list: 1<<32 - 1},
	}
	c.framer = http2.NewFramer(nil, bufio.NewReaderSize(source{c}, 32<<10))
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(readFrame)
	c.framer.MaxHeaderListSize = maxHeaderList
	c.framer.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	c.out.init()
	c.out.preface()
	c.mu.Lock()
	c.timer = time.AfterFunc(config.PingInterval, c.tick)
	c.mu.Unlock()
	go c.writeLoop()
	go c.readLoop()
	c.signal()
	return c
}

// Start encodes a request, which goes out with the next Flush at the latest, and returns its stream. The header fields
// begin with the pseudo fields; names are in lower case. Neither fields nor body are kept.
func (c *Conn) Start(fields []hpack.HeaderField, body []byte, to Receiver) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := listSize(fields)
	switch {
	case !c.open():
		return 0, wrap(ErrClosed, c.reason())
	case size > uint64(c.peer.list) && size <= usualList:
		return 0, fmt.Errorf("%w: %d bytes, not %d", ErrNarrow, c.peer.list, size)
	case size > uint64(c.peer.list) || len(body) > maxRequest:
		return 0, fmt.Errorf("%w: %d and %d bytes", ErrTooLarge, size, len(body))
	case !c.room() || c.peer.window < int64(len(body)):
		return 0, ErrFull
	}
	if len(c.streams) == 0 {
		c.probe()
	}
	s := &stream{id: c.next, to: to, start: c.out.total, window: c.peer.initial, pending: body}
	c.next += 2
	c.streams[s.id] = s
	c.out.headers(s.id, fields, len(body) == 0, c.peer.frame)
	if !c.send(s) {
		s.pending, s.blocked = append([]byte(nil), s.pending...), true
		c.blocked = append(c.blocked, s)
	}
	return s.id, nil
}

// Flush makes what was started go out.
func (c *Conn) Flush() { c.signal() }

// Cancel gives up a request: its Receiver gets ErrCanceled unless it got something else already. Peers take many resets
// for an attack: when there are, further streams stay in use until they are answered, or reset later.
func (c *Conn) Cancel(id uint32) {
	c.mu.Lock()
	s := c.streams[id]
	if s == nil || s.muted {
		c.mu.Unlock()
		return
	}
	ended := *s
	s.to, s.answer = nil, Answer{}
	c.cancel(s)
	c.finish()
	c.mu.Unlock()
	c.signal()
	ended.end(ErrCanceled)
	c.config.Changed()
}

// cancel resets s, or lets it wait for that. The caller holds c.mu.
func (c *Conn) cancel(s *stream) {
	if c.resets < maxResets || len(s.pending) > 0 {
		c.resets++
		c.remove(s)
		c.out.reset(s.id, http2.ErrCodeCancel)
		return
	}
	s.muted = true
	c.muted++
}

// Close lets no more requests start, and closes the connection as soon as those in flight are answered.
func (c *Conn) Close() {
	c.mu.Lock()
	c.closing = true
	c.finish()
	c.mu.Unlock()
	c.signal()
	c.config.Changed()
}

// Load returns how busy the connection is.
func (c *Conn) Load() Load {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Load{
		InFlight: len(c.streams), Limit: c.limit(), Settled: c.peer.settled, Open: c.open(), Room: c.open() && c.room(),
		Breaking: c.broken != nil && c.err == nil, Lost: c.lost,
	}
}

// Err tells why no more requests may start; nil if they may, or if only Close kept them from it.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason()
}

func (c *Conn) reason() error {
	switch {
	case c.err != nil && c.err != ErrClosed:
		return c.err
	case c.broken != nil:
		return c.broken
	case c.away != nil:
		return c.away
	}
	return nil
}

// open and the following are called with c.mu held.
func (c *Conn) open() bool {
	return c.err == nil && c.broken == nil && c.away == nil && !c.closing && c.next <= maxStream
}

func (c *Conn) limit() int { return min(c.peer.streams, c.config.Streams) }

func (c *Conn) room() bool {
	if len(c.out.waiting) > maxWaiting {
		c.waiters = true
		c.signal()
		return false
	}
	return len(c.streams) < c.limit() && c.peer.window > 0
}

// remove takes s off the streams in flight.
func (c *Conn) remove(s *stream) {
	delete(c.streams, s.id)
	s.ended, s.pending = true, nil
	if s.muted {
		c.muted--
	}
	if s.blocked {
		c.stale++
	}
	if c.stale > len(c.blocked)/2 {
		c.blocked = slices.DeleteFunc(c.blocked, func(s *stream) bool { return s.ended })
		c.stale = 0
	}
}

// finish ends a connection that is used up when its last request is answered.
func (c *Conn) finish() {
	if len(c.streams) > c.muted || c.err != nil || !c.closing && c.away == nil && c.next <= maxStream {
		return
	}
	if c.away == nil {
		c.out.goAway(http2.ErrCodeNo)
	}
	c.stop(ErrClosed)
}

func (c *Conn) stop(err error) {
	c.err = err
	c.timer.Stop()
	close(c.dead)
}

// end tells the receiver, and forgets it. It is called with nothing locked, after remove.
func (s *stream) end(err error) {
	to, answer := s.to, s.answer
	s.to, s.answer = nil, Answer{}
	switch {
	case to == nil: // given up before
		return
	case answer.Status != 0:
		err = nil
	case err == nil:
		err = ErrMalformed
	}
	to.Answered(answer, err)
}

// fail ends the connection and what is in flight.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.out.discard()
	if code, ok := codeOf(err); ok {
		c.out.goAway(code)
	}
	if c.away != nil {
		err = wrap(c.away, err)
	}
	all := c.streams
	c.streams, c.blocked = nil, nil
	handed := c.out.handed
	for _, s := range all {
		if s.start < handed && !s.muted && s.answer.Status == 0 {
			c.lost++
		}
	}
	c.stop(err)
	c.mu.Unlock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(lastWrite))
	c.signal()
	for _, s := range all {
		if s.start >= handed {
			s.end(wrap(ErrUntouched, err))
		} else {
			s.end(wrap(ErrLost, err))
		}
	}
	c.config.Changed()
}

// listSize is the size that SETTINGS_MAX_HEADER_LIST_SIZE speaks of.
func listSize(fields []hpack.HeaderField) uint64 {
	var n uint64
	for _, f := range fields {
		n += uint64(f.Size())
	}
	return n
}
