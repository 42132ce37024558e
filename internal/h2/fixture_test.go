package h2

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frame is a frame as the peer read it.
type frame struct {
	kind   http2.FrameType
	stream uint32
	flags  http2.Flags
	data   []byte // of DATA and of header blocks
	code   http2.ErrCode
	length int
	fields []hpack.HeaderField
	gone   bool // the client closed the connection
}

// server is the other end, which the test plays frame by frame.
type server struct {
	t       testing.TB
	conn    net.Conn
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	frames  chan frame
	closed  chan struct{} // when the client closed
}

// dial returns a Conn and its server, which has told its settings and got the client's.
func dial(t testing.TB, config Config, settings ...http2.Setting) (*Conn, *server) {
	c, s := silent(t, config)
	s.check(s.framer.WriteSettings(settings...))
	require.Equal(t, http2.FrameSettings, s.nextButPings().kind)
	require.Equal(t, http2.FrameWindowUpdate, s.nextButPings().kind)
	require.Equal(t, http2.FlagSettingsAck, s.nextButPings().flags)
	return c, s
}

// silent is a server that has read the client's preface, and said nothing.
func silent(t testing.TB, config Config) (*Conn, *server) {
	ours, theirs := net.Pipe()
	s := newServer(t, theirs)
	c := New(ours, config)
	t.Cleanup(func() { _ = theirs.Close(); <-s.closed; <-c.dead })
	return c, s
}

func newServer(t testing.TB, conn net.Conn) *server {
	s := &server{t: t, conn: conn, framer: http2.NewFramer(conn, conn), frames: make(chan frame, 100_000), closed: make(chan struct{})}
	s.framer.AllowIllegalWrites = true
	s.encoder = hpack.NewEncoder(&s.block)
	go s.read()
	return s
}

func (s *server) read() {
	defer close(s.closed)
	defer close(s.frames)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(s.conn, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	decoder := hpack.NewDecoder(4096, nil)
	for {
		f, err := s.framer.ReadFrame()
		if err != nil {
			return
		}
		h := f.Header()
		got := frame{kind: h.Type, stream: h.StreamID, flags: h.Flags, length: int(h.Length)}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			got.data = bytes.Clone(f.HeaderBlockFragment())
			if f.HeadersEnded() {
				got.fields, _ = decoder.DecodeFull(got.data)
			}
		case *http2.ContinuationFrame:
			got.data = bytes.Clone(f.HeaderBlockFragment())
		case *http2.DataFrame:
			got.data = bytes.Clone(f.Data())
		case *http2.RSTStreamFrame:
			got.code = f.ErrCode
		case *http2.GoAwayFrame:
			got.code = f.ErrCode
		case *http2.PingFrame:
			got.data = bytes.Clone(f.Data[:])
		}
		s.frames <- got
	}
}

func (s *server) check(err error) {
	s.t.Helper()
	require.NoError(s.t, err)
}

// next returns the next frame.
func (s *server) next() frame {
	s.t.Helper()
	select {
	case f, ok := <-s.frames:
		f.gone = !ok
		return f
	case <-time.After(20 * time.Second):
		require.Fail(s.t, "no frame")
		return frame{}
	}
}

// nextButPings answers pings.
func (s *server) nextButPings() frame {
	s.t.Helper()
	for {
		f := s.next()
		if f.kind != http2.FramePing || f.flags.Has(http2.FlagPingAck) {
			return f
		}
		s.check(s.framer.WritePing(true, [8]byte(f.data)))
	}
}

// request reads a request and returns its header and its body.
func (s *server) request() (head frame, body []byte) {
	s.t.Helper()
	head = s.next()
	require.Equal(s.t, http2.FrameHeaders, head.kind)
	for end := head.flags.Has(http2.FlagHeadersEndStream); !end; {
		f := s.next()
		require.Equal(s.t, http2.FrameData, f.kind)
		require.Equal(s.t, head.stream, f.stream)
		body = append(body, f.data...)
		end = f.flags.Has(http2.FlagDataEndStream)
	}
	return head, body
}

// headers writes a header block, of names and values in turn.
func (s *server) headers(stream uint32, end bool, fields ...string) {
	s.t.Helper()
	s.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		s.check(s.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	s.check(s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: end,
	}))
}

func (s *server) answer(stream uint32) { s.t.Helper(); s.headers(stream, true, ":status", "200") }

// sync waits until the client has dealt with all that was written to it, and returns what it has written.
func (s *server) sync() (before []frame) {
	s.t.Helper()
	data := [8]byte{'s', 'y', 'n', 'c'}
	s.check(s.framer.WritePing(false, data))
	for {
		f := s.next()
		require.False(s.t, f.gone, "the connection is closed")
		if f.kind == http2.FramePing && f.flags.Has(http2.FlagPingAck) && bytes.Equal(f.data, data[:]) {
			return before
		}
		before = append(before, f)
	}
}

// receiver keeps what became of a request.
type receiver struct {
	mu     sync.Mutex
	answer Answer
	err    error
	times  int
	done   chan struct{}
}

func (r *receiver) Answered(a Answer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.err = a, err
	if r.times++; r.times == 1 {
		close(r.done)
	}
}

// wait returns what became of the request, which must have ended once.
func (r *receiver) wait(t testing.TB) (Answer, error) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		require.Fail(t, "the request does not end")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Equal(t, 1, r.times)
	return r.answer, r.err
}

func (r *receiver) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times > 0
}

func fields(path string) []hpack.HeaderField {
	return []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "push.example"},
		{Name: ":path", Value: path, Sensitive: true}, {Name: "apns-topic", Value: "com.example.a.long.topic"},
	}
}

// begin starts a request and sends it.
func begin(t testing.TB, c *Conn, body string) (uint32, *receiver) {
	t.Helper()
	r := &receiver{done: make(chan struct{})}
	id, err := c.Start(fields("/a"), []byte(body), r)
	require.NoError(t, err)
	c.Flush()
	return id, r
}

func full(t testing.TB, c *Conn) {
	t.Helper()
	_, err := c.Start(fields("/a"), []byte("x"), &receiver{done: make(chan struct{})})
	require.ErrorIs(t, err, ErrFull)
}

func streams(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n}
}

// noLeak fails if goroutines of this package are left.
func noLeak(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !strings.Contains(string(stacks), "h2.(*Conn).readLoop") && !strings.Contains(string(stacks), "h2.(*Conn).writeLoop")
	}, 20*time.Second, time.Millisecond)
}
