package mdmtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	apnsHandshake = 10 * time.Second
	apnsLinger    = 2 * time.Second // for the client to read the end of what was sent
)

// apnsSocket is a TCP connection that can fall silent.
type apnsSocket struct {
	*net.TCPConn
	once sync.Once
	gone chan struct{}

	mu     sync.Mutex
	frozen chan struct{} // closed when it thaws; nil: not frozen
}

// Read gives nothing while the connection is frozen, not even a ping.
func (s *apnsSocket) Read(b []byte) (int, error) {
	n, err := s.TCPConn.Read(b)
	s.await()
	return n, err
}

// Write sends nothing while the connection is frozen.
func (s *apnsSocket) Write(b []byte) (int, error) {
	s.await()
	return s.TCPConn.Write(b)
}

func (s *apnsSocket) await() {
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	if frozen != nil {
		select {
		case <-frozen:
		case <-s.gone:
		}
	}
}

func (s *apnsSocket) freeze(until chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = until
}

func (s *apnsSocket) Close() error {
	s.once.Do(func() { close(s.gone) })
	return s.TCPConn.Close()
}

// end says that nothing more is sent, and lets the reader go on for a while: a socket that is closed with data unread
// takes away from the client what it was sent last.
func (s *apnsSocket) end() {
	_ = s.CloseWrite()
	_ = s.SetReadDeadline(time.Now().Add(apnsLinger))
}

func (s *apnsSocket) drain() { _, _ = io.Copy(io.Discard, s.TCPConn) }

// apnsConn is a connection. One goroutine reads, takes pushes and queues what is to be written; another one writes.
type apnsConn struct {
	apns   *APNs
	socket *apnsSocket
	number int
	topic  string // of the client's certificate
	jobs   atomic.Int64

	// Of the reader.
	tls     *tls.Conn
	in      *bufio.Reader
	inErr   error // why no more comes in
	reader  *http2.Framer
	hpack   *hpack.Decoder
	opening *apnsStream // whose header is being read
	block   int         // bytes of that header so far
	highest uint32      // stream

	mu       sync.Mutex
	changed  sync.Cond // of what follows
	writer   *http2.Framer
	out      apnsBuffer
	urgent   bool // out is to be written now
	broken   bool // nothing is read or written any more
	started  bool // HTTP/2 is spoken
	trusted  bool // a push was taken
	away     bool // GOAWAY was sent; streams beyond last are ignored
	finished bool // nothing follows on what is in out
	last     uint32
	streams  map[uint32]*apnsStream
	max      int // streams, when it is trusted
	limit    int // streams, as announced
	unacked  int // SETTINGS
	window   int64
	initial  int64 // window of a stream
	frame    int   // bytes of a frame that the client takes
	owed     int   // bytes of flow control to give back
	hung     bool
	held     []func() // to be done when it goes on
	delayed  apnsDelayed
	timer    *time.Timer
}

// apnsBuffer is what is to be written.
type apnsBuffer struct{ b []byte }

// Write appends b.
func (o *apnsBuffer) Write(b []byte) (int, error) {
	o.b = append(o.b, b...)
	return len(b), nil
}

// accept serves connections until Close.
func (a *APNs) accept() {
	for {
		conn, err := a.listener.AcceptTCP()
		if err == nil {
			a.admit(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select { // a lack of file descriptors, as a rule
		case <-a.closed:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (a *APNs) admit(conn *net.TCPConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down || a.ended {
		_ = conn.SetLinger(0) // reset
		_ = conn.Close()
		return
	}
	a.connected++
	c := &apnsConn{
		apns: a, socket: &apnsSocket{TCPConn: conn, gone: make(chan struct{})}, number: a.connected,
		streams: map[uint32]*apnsStream{}, max: a.streams, window: 65535, initial: 65535, frame: 16 << 10,
	}
	c.changed.L = &c.mu
	a.conns[c] = struct{}{}
	silent := a.silent
	a.serving.Go(func() { c.serve(silent) })
}

func (c *apnsConn) serve(silent bool) {
	defer c.breakOff()
	if silent {
		c.socket.drain()
		return
	}
	if !c.handshake() {
		c.socket.end()
		c.socket.drain()
		return
	}
	c.start()
	written := make(chan struct{})
	go func() { defer close(written); c.write() }()
	c.read()
	c.breakOff()
	<-written
}

// handshake reports whether the client has shown a certificate that is let in, and speaks HTTP/2.
func (c *apnsConn) handshake() bool {
	c.tls = tls.Server(c.socket, c.apns.tls)
	ctx, cancel := context.WithTimeout(context.Background(), apnsHandshake)
	defer cancel()
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return false
	}
	state := c.tls.ConnectionState()
	c.topic = apnsPeerTopic(&state)
	return state.NegotiatedProtocol == "h2"
}

// start prepares for HTTP/2 and queues the server's preface.
func (c *apnsConn) start() {
	c.in = bufio.NewReaderSize(apnsInput{c}, 32<<10)
	c.reader = http2.NewFramer(nil, c.in)
	c.reader.SetReuseFrames()
	c.reader.SetMaxReadFrameSize(16 << 10)
	c.hpack = hpack.NewDecoder(4096, func(f hpack.HeaderField) { c.opening.head.field(f) })
	c.hpack.SetMaxStringLength(apnsMaxHeaders)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.writer = http2.NewFramer(&c.out, nil)
	c.started = true
	c.announce()
	c.owed = apnsWindow - 65535 // what HTTP/2 begins with
	c.giveBackLocked()
}

// apnsInput is where the reader reads from. Before it waits, what is queued is written: so answers to what came
// together go together.
type apnsInput struct{ c *apnsConn }

func (i apnsInput) Read(b []byte) (int, error) {
	i.c.urge()
	i.c.ebb()
	n, err := i.c.tls.Read(b)
	i.c.inErr = err
	return n, err
}

// breakOff ends the connection at once.
func (c *apnsConn) breakOff() {
	c.mu.Lock()
	c.broken = true
	c.abandon()
	c.changed.Broadcast()
	c.mu.Unlock()
	c.apns.mu.Lock()
	delete(c.apns.conns, c) // before the client can know
	c.apns.mu.Unlock()
	_ = c.socket.Close()
}

// abandon forgets all streams. The caller holds c.mu.
func (c *apnsConn) abandon() {
	for _, st := range c.streams {
		c.cancel(st)
	}
	c.held = nil
	if c.timer != nil {
		c.timer.Stop()
	}
}
