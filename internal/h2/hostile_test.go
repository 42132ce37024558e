package h2

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// What ends the connection, and with which code. There is one request, of stream 1.
func TestMalformedFramesEndTheConnection(t *testing.T) {
	t.Parallel()
	calm := http2.ErrCodeEnhanceYourCalm
	flood := func(write func(*server) error) func(*server) {
		return func(s *server) {
			for range maxFrames + 1000 {
				if write(s) != nil {
					return
				}
			}
		}
	}
	raw := func(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) func(*server) {
		return func(s *server) { _ = s.framer.WriteRawFrame(kind, flags, stream, []byte(payload)) }
	}
	tests := []struct {
		name  string
		write func(*server)
		code  http2.ErrCode
	}{
		{"answer on a stream that is not there", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, "\x88"), http2.ErrCodeProtocol},
		{"answer on an even stream", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 2, "\x88"), http2.ErrCodeProtocol},
		{"data on a stream that is not there", raw(http2.FrameData, 0, 9, "x"), http2.ErrCodeProtocol},
		{"data on no stream", raw(http2.FrameData, 0, 0, "x"), http2.ErrCodeProtocol},
		{"reset of a stream that is not there", raw(http2.FrameRSTStream, 0, 9, "\x00\x00\x00\x00"), http2.ErrCodeProtocol},
		{"window of a stream that is not there", raw(http2.FrameWindowUpdate, 0, 9, "\x00\x00\x00\x01"), http2.ErrCodeProtocol},
		{"window of nothing", raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00"), http2.ErrCodeProtocol},
		{"window too large", raw(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff"), http2.ErrCodeFlowControl},
		{"stream's window too large", raw(http2.FrameWindowUpdate, 0, 1, "\x7f\xff\xff\xff"), http2.ErrCodeFlowControl},
		{"initial window too large", raw(http2.FrameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00"), http2.ErrCodeFlowControl},
		{"frames too small", raw(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x00\x01"), http2.ErrCodeProtocol},
		{"half a setting", raw(http2.FrameSettings, 0, 0, "\x00\x05"), http2.ErrCodeFrameSize},
		{"a promise", raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02\x88"), http2.ErrCodeProtocol},
		{"a frame that is too large", raw(http2.FrameData, 0, 1, strings.Repeat("x", 17<<10)), http2.ErrCodeFrameSize},
		{"nonsense in place of a header", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\xff\xff\xff"), http2.ErrCodeCompression},
		{"continuation of nothing", raw(http2.FrameContinuation, 0, 1, "x"), http2.ErrCodeProtocol},
		{"a ping of three bytes", raw(http2.FramePing, 0, 0, "abc"), http2.ErrCodeFrameSize},
		{"endless continuations", func(s *server) {
			_ = s.framer.WriteRawFrame(http2.FrameHeaders, 0, 1, []byte("\x88"))
			for range 3 { // their bytes are counted
				flood(func(s *server) error { return s.framer.WriteRawFrame(http2.FrameContinuation, 0, 1, nil) })(s)
			}
		}, calm},
		{"nothing but padding", func(s *server) {
			s.headers(1, false, ":status", "200")
			flood(func(s *server) error { return s.framer.WriteDataPadded(1, false, nil, make([]byte, 255)) })(s)
		}, calm},
		{"settings", flood(func(s *server) error { return s.framer.WriteSettings(streams(5)) }), calm},
		{"pings", flood(func(s *server) error { return s.framer.WritePing(false, [8]byte{}) }), calm},
		{"replies to no ping", flood(func(s *server) error { return s.framer.WritePing(true, [8]byte{}) }), calm},
		{"unknown frames", flood(func(s *server) error { return s.framer.WriteRawFrame(77, 0, 0, nil) }), calm},
		{"windows", flood(func(s *server) error { return s.framer.WriteWindowUpdate(0, 1) }), calm},
		{"empty data", func(s *server) {
			s.headers(1, false, ":status", "200")
			flood(func(s *server) error { return s.framer.WriteData(1, false, nil) })(s)
		}, calm},
		{"informational answers", flood(func(s *server) error {
			return s.framer.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte("\x08\x03103"))
		}), calm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, s := dial(t, Config{WriteTimeout: time.Second}, streams(10))
			_, r := begin(t, c, "x")
			s.request()
			tt.write(s)
			a, err := r.wait(t)
			if a.Status == 0 {
				require.ErrorIs(t, err, ErrLost)
			}
			for {
				f := s.next()
				if f.kind == http2.FrameGoAway {
					assert.Equal(t, tt.code, f.code)
					return
				}
				require.False(t, f.gone, "no GOAWAY")
			}
		})
	}
}

func TestTheFirstFrameIsSettings(t *testing.T) {
	t.Parallel()
	for _, write := range []func(*http2.Framer) error{
		func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) },
		(*http2.Framer).WriteSettingsAck,
	} {
		_, s := silent(t, Config{})
		s.check(write(s.framer))
		s.next()
		s.next()
		assert.Equal(t, http2.ErrCodeProtocol, s.next().code)
	}
}

// What is wrong with one answer does not concern the others.
func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	tests := []struct {
		name  string
		write func(uint32)
	}{
		{"no status", func(id uint32) { s.headers(id, true, "a", "b") }},
		{"status of two digits", func(id uint32) { s.headers(id, true, ":status", "20") }},
		{"status that is no number", func(id uint32) { s.headers(id, true, ":status", "2x0") }},
		{"status 099", func(id uint32) { s.headers(id, true, ":status", "099") }},
		{"101", func(id uint32) { s.headers(id, false, ":status", "101") }},
		{"informational at the end", func(id uint32) { s.headers(id, true, ":status", "103") }},
		{"name in capitals", func(id uint32) { s.headers(id, true, ":status", "200", "A", "b") }},
		{"pseudo field of requests", func(id uint32) { s.headers(id, true, ":path", "/") }},
		{"a list that is too long", func(id uint32) {
			zeros := strings.Repeat("0", 4000)
			s.headers(id, true, ":status", "200", "a", zeros, "b", zeros, "c", zeros, "d", zeros, "e", zeros)
		}},
		{"a body without a header", func(id uint32) { s.check(s.framer.WriteData(id, false, []byte("x"))) }},
		{"a window of nothing", func(id uint32) { s.check(s.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4))) }},
	}
	for _, tt := range tests {
		id, r := begin(t, c, "x")
		s.request()
		tt.write(id)
		_, err := r.wait(t)
		require.ErrorIs(t, err, ErrMalformed, tt.name)
		f := s.next()
		assert.Equal(t, http2.FrameRSTStream, f.kind, tt.name)
		assert.Equal(t, id, f.stream)
		assert.Equal(t, http2.ErrCodeProtocol, f.code)
	}
	for _, write := range []func(uint32){
		func(id uint32) { s.headers(id, false, ":status", "200"); s.headers(id, false, "a", "b") },
		func(id uint32) { s.headers(id, false, ":status", "200"); s.headers(id, true, ":status", "500") },
	} {
		id, r := begin(t, c, "x")
		write(id)
		a, err := r.wait(t)
		require.NoError(t, err, "odd trailers do not matter")
		assert.Equal(t, 200, a.Status)
	}
}

func TestWhatIsUnknownIsIgnored(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10), http2.Setting{ID: 0x99, Val: 1}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	id, r := begin(t, c, "x")
	s.check(s.framer.WriteRawFrame(0x42, 0xff, id, []byte("abc")))
	s.check(s.framer.WritePriority(id, http2.PriorityParam{Weight: 5}))
	s.answer(id)
	_, err := r.wait(t)
	require.NoError(t, err)
}

// script is a connection that says what the fuzzer wants and takes all.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(b []byte) (int, error)       { return s.Reader.Read(b) }
func (s script) Write(b []byte) (int, error)      { return len(b), nil }
func (s script) Close() error                     { return nil }
func (s script) SetReadDeadline(time.Time) error  { return nil }
func (s script) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer feeds a connection with requests in flight what a server might send. Every request ends once.
func FuzzServer(f *testing.F) {
	seed := func(write func(*http2.Framer)) {
		var b bytes.Buffer
		write(http2.NewFramer(&b, nil))
		f.Add(b.Bytes())
	}
	seed(func(w *http2.Framer) {
		_ = w.WriteSettings(streams(3), window(5))
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true})
		_ = w.WriteDataPadded(1, true, []byte("x"), make([]byte, 3))
		_ = w.WriteWindowUpdate(3, 7)
		_ = w.WriteRSTStream(3, http2.ErrCodeRefusedStream)
		_ = w.WritePing(false, [8]byte{1})
		_ = w.WriteGoAway(1, http2.ErrCodeNo, []byte(`{"reason":"Shutdown"}`))
	})
	seed(func(w *http2.Framer) {
		_ = w.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x08, 3, '1'}})
		_ = w.WriteContinuation(1, true, []byte("03"))
		_ = w.WriteSettings(window(1<<31 - 1))
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: []byte{0x8d}, EndHeaders: true, EndStream: true})
	})
	f.Fuzz(func(t *testing.T, said []byte) {
		reader, writer := io.Pipe()
		c := New(script{Reader: reader}, Config{})
		c.mu.Lock()
		c.peer.streams = 10
		c.mu.Unlock()
		var all []*receiver
		for range 4 {
			_, r := begin(t, c, "a body")
			all = append(all, r)
		}
		c.Cancel(7)
		_, _ = writer.Write(said)
		_ = writer.Close()
		go func() { <-c.dead; _ = reader.Close() }()
		for _, r := range all {
			a, err := r.wait(t)
			require.True(t, err != nil || a.Status >= 200 && len(a.Body) <= maxBody)
		}
		<-c.dead
		require.Empty(t, c.streams)
	})
}
