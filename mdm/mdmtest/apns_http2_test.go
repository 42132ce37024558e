package mdmtest_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func TestAPNsHTTP2ErrorsOfTheConnection(t *testing.T) {
	t.Parallel()
	raw := func(kind http2.FrameType, flags http2.Flags, stream uint32, payload ...byte) func(*rawClient) {
		return func(r *rawClient) { _ = r.framer.WriteRawFrame(kind, flags, stream, payload) }
	}
	tests := []struct {
		name string
		send func(*rawClient)
		code http2.ErrCode
	}{
		{"HEADERS on stream 0", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 0), http2.ErrCodeProtocol},
		{"HEADERS on an even stream", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 2, 0x82), http2.ErrCodeProtocol},
		{"HEADERS on an old stream", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0x82), http2.ErrCodeStreamClosed},
		{"HEADERS with too much padding", raw(http2.FrameHeaders, http2.FlagHeadersPadded, 3, 200, 1), http2.ErrCodeProtocol},
		{"HEADERS that are cut short", raw(http2.FrameHeaders, http2.FlagHeadersPadded, 3), http2.ErrCodeFrameSize},
		{"HEADERS that are no HPACK", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), http2.ErrCodeCompression},
		{"HPACK that is cut short", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, 0x40, 5, 'a'), http2.ErrCodeCompression},
		{"HEADERS in the middle of a request", func(r *rawClient) {
			id := r.head(requestFields("a"))
			_ = r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: r.encode("x", "y")})
		}, http2.ErrCodeProtocol},
		{"CONTINUATION of nothing", raw(http2.FrameContinuation, 0, 3), http2.ErrCodeProtocol},
		{"another frame than CONTINUATION", func(r *rawClient) {
			raw(http2.FrameHeaders, 0, 3, 0x82)(r)
			_ = r.framer.WritePing(false, [8]byte{})
		}, http2.ErrCodeProtocol},
		{"an endless header", func(r *rawClient) {
			raw(http2.FrameHeaders, 0, 3)(r)
			for range 5 {
				raw(http2.FrameContinuation, 0, 3, bytes.Repeat([]byte{0x82}, 16<<10)...)(r)
			}
		}, http2.ErrCodeEnhanceYourCalm},
		{"a string that is too long", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, 0x40, 0x7f, 0xff, 0xff, 0x7f), http2.ErrCodeCompression},
		{"DATA on an idle stream", raw(http2.FrameData, 0, 9, 1), http2.ErrCodeProtocol},
		{"DATA with too much padding", raw(http2.FrameData, http2.FlagDataPadded, 1, 200, 1), http2.ErrCodeProtocol},
		{"RST_STREAM on an idle stream", raw(http2.FrameRSTStream, 0, 9, 0, 0, 0, 8), http2.ErrCodeProtocol},
		{"RST_STREAM of 3 bytes", raw(http2.FrameRSTStream, 0, 1, 0, 0, 0), http2.ErrCodeFrameSize},
		{"WINDOW_UPDATE on an idle stream", raw(http2.FrameWindowUpdate, 0, 9, 0, 0, 0, 8), http2.ErrCodeProtocol},
		{"WINDOW_UPDATE of nothing", raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0), http2.ErrCodeProtocol},
		{"too large a window", raw(http2.FrameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff), http2.ErrCodeFlowControl},
		{"SETTINGS of 5 bytes", raw(http2.FrameSettings, 0, 0, 1, 2, 3, 4, 5), http2.ErrCodeFrameSize},
		{"SETTINGS with too large a window", raw(http2.FrameSettings, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff), http2.ErrCodeFlowControl},
		{"SETTINGS with too small a frame", raw(http2.FrameSettings, 0, 0, 0, 5, 0, 0, 0, 1), http2.ErrCodeProtocol},
		{"an acknowledgment of nothing", raw(http2.FrameSettings, http2.FlagSettingsAck, 0), http2.ErrCodeProtocol},
		{"PING of 7 bytes", raw(http2.FramePing, 0, 0, 1, 2, 3, 4, 5, 6, 7), http2.ErrCodeFrameSize},
		{"PUSH_PROMISE", raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 3, 0, 0, 0, 2), http2.ErrCodeProtocol},
		{"too large a frame", raw(http2.FrameData, 0, 1, make([]byte, 16<<10+1)...), http2.ErrCodeFrameSize},
		{"more than the window", func(r *rawClient) {
			for range 66 {
				raw(http2.FrameData, 0, 1, make([]byte, 16<<10)...)(r)
			}
		}, http2.ErrCodeNo}, // it is given back, for the stream has ended
	}
	server, cert := startAPNs(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := proven(t, server, cert)
			before := len(server.Violations())
			tt.send(r)
			if tt.code == http2.ErrCodeNo {
				r.sync()
				assert.Len(t, server.Violations(), before)
				return
			}
			r.flush()
			r.until(func() bool { return r.seen.away != nil })
			assert.Equal(t, tt.code, r.seen.away.ErrCode, "%s", r.seen.debug)
			assert.NotEmpty(t, r.seen.debug)
			r.untilEnd()
			require.Len(t, server.Violations(), before+1)
			assert.Contains(t, server.Violations()[before], tt.code.String())
		})
	}
}

func TestAPNsHTTP2Preface(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	for _, hello := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678", // PING
	} {
		r := dialRaw(t, server, cert)
		r.out.WriteString(hello)
		r.flush()
		r.until(func() bool { return r.seen.away != nil })
		assert.Equal(t, http2.ErrCodeProtocol, r.seen.away.ErrCode)
		r.untilEnd()
	}
}

func TestAPNsHTTP2ErrorsOfAStream(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	with := func(more ...string) []string { return append(requestFields("a"), more...) }
	tests := []struct {
		name   string
		fields []string
		code   http2.ErrCode
	}{
		{"a pseudo-header after others", with(":method", "POST"), http2.ErrCodeProtocol},
		{"no path", []string{":method", "POST", ":scheme", "https"}, http2.ErrCodeProtocol},
		{"an unknown pseudo-header", append([]string{":status", "200"}, with()...), http2.ErrCodeProtocol},
		{"two methods", append([]string{":method", "POST"}, with()...), http2.ErrCodeProtocol},
		{"capitals", with("Apns-Id", rawID), http2.ErrCodeProtocol},
		{"a header of HTTP/1.1", with("connection", "close"), http2.ErrCodeProtocol},
		{"another content-length", with("content-length", "12"), http2.ErrCodeProtocol},
	}
	r := proven(t, server, cert)
	for i, tt := range tests {
		id := r.head(tt.fields)
		require.NoError(t, r.framer.WriteData(id, true, []byte(`{"mdm":"m"}`)))
		r.flush()
		r.until(func() bool { return r.seen.resets[id] != 0 || r.seen.ended[id] })
		assert.Equal(t, tt.code, r.seen.resets[id], tt.name)
		assert.Len(t, server.Violations(), i+1, tt.name)
	}
	server.Queue(mdmtest.PushAnswer{Stall: true}, mdmtest.PushAnswer{Stall: true})
	first, second := r.push("a"), r.push("a")
	require.NoError(t, r.framer.WriteWindowUpdate(first, 1<<31-1))
	require.NoError(t, r.framer.WriteData(second, true, nil))
	r.sync()
	assert.Equal(t, http2.ErrCodeFlowControl, r.seen.resets[first])
	assert.Equal(t, http2.ErrCodeStreamClosed, r.seen.resets[second])
	assert.Equal(t, 2, server.Totals().Canceled)
}

func TestAPNsHTTP2Oddities(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	require.NoError(t, r.framer.WriteRawFrame(0xfa, 0xff, 0, []byte("unknown")))
	require.NoError(t, r.framer.WritePriority(101, http2.PriorityParam{Weight: 3}))

	// A header in three parts, padded, with a priority, then a body in three parts, padded, then trailers.
	block := bytes.Clone(r.encode(append(requestFields("odd"), "apns-id", rawID, "te", "trailers", "user-agent", "raw")...))
	id := r.next
	r.next += 2
	require.NoError(t, r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:5], PadLength: 200,
		Priority: http2.PriorityParam{Weight: 9}}))
	require.NoError(t, r.framer.WriteContinuation(id, false, block[5:6]))
	require.NoError(t, r.framer.WriteContinuation(id, true, block[6:]))
	require.NoError(t, r.framer.WriteDataPadded(id, false, []byte(`{"mdm"`), make([]byte, 255)))
	require.NoError(t, r.framer.WriteData(id, false, nil))
	require.NoError(t, r.framer.WriteDataPadded(id, false, []byte(`:"ab\u0063"}`), nil))
	require.NoError(t, r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true,
		BlockFragment: bytes.Clone(r.encode("x-trailer", "1"))}))
	require.NoError(t, r.framer.WriteContinuation(id, true, r.encode("x-other", "2")))
	next := r.push("next") // HPACK is in order
	r.flush()
	r.until(func() bool { return r.seen.ended[id] && r.seen.ended[next] })
	assert.Equal(t, "200", r.seen.status[id])
	assert.Equal(t, rawID, r.seen.header[id]["apns-id"])
	got := server.Pushes()[1]
	assert.Equal(t, []string{"odd", "abc", rawID}, []string{string(got.Token), got.Magic, got.ID})
	assert.Equal(t, "next", string(server.Pushes()[2].Token))
	assert.Empty(t, server.Violations())
}

func TestAPNsHTTP2LimitsOfRequests(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	large := r.head(append(requestFields("a"), "x", strings.Repeat("x", 9000), "y", strings.Repeat("y", 9000)))
	require.NoError(t, r.framer.WriteData(large, true, []byte(`{"mdm":"m"}`)))
	r.flush()
	r.until(func() bool { return r.seen.ended[large] })
	assert.Equal(t, "431", r.seen.status[large])

	id := r.head(requestFields("a")) // the answer does not wait for the end
	require.NoError(t, r.framer.WriteData(id, false, make([]byte, 4097)))
	r.sync()
	assert.Equal(t, "413", r.seen.status[id])
	assert.JSONEq(t, `{"reason":"PayloadTooLarge"}`, string(r.seen.body[id]))
	code, reset := r.seen.resets[id]
	assert.True(t, reset)
	assert.Equal(t, http2.ErrCodeNo, code)

	padded := r.head(requestFields("a")) // padding uses up windows, which are given back
	for range 1000 {
		require.NoError(t, r.framer.WriteDataPadded(padded, false, nil, make([]byte, 255)))
	}
	for range 3000 {
		require.NoError(t, r.framer.WriteDataPadded(id, false, nil, make([]byte, 255)))
	}
	require.NoError(t, r.framer.WriteData(padded, true, []byte(`{"mdm":"m"}`)))
	r.flush()
	r.until(func() bool { return r.seen.ended[padded] })
	assert.Equal(t, "200", r.seen.status[padded])
	assert.Greater(t, r.seen.updates[padded], uint32(200_000))
	assert.Greater(t, r.seen.updates[0], uint32(1_400_000))
}

func TestAPNsHTTP2FlowControlOfAnswers(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := newRaw(t, server, cert, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	body := strings.Repeat("x", 100_000)
	server.Queue(mdmtest.PushAnswer{Status: 500, Body: body}, mdmtest.PushAnswer{Status: 500, Body: "short"})
	id := r.push("a")
	r.sync()
	assert.Len(t, r.seen.body[id], 10)
	require.NoError(t, r.framer.WriteWindowUpdate(id, 20))
	r.sync()
	assert.Len(t, r.seen.body[id], 30)
	other := r.push("b")
	r.sync()
	assert.True(t, r.seen.ended[other], "others go on")
	require.NoError(t, r.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
	r.sync()
	assert.Len(t, r.seen.body[id], 65535-len("short"), "the window of the connection")
	require.NoError(t, r.framer.WriteWindowUpdate(0, 1<<20))
	r.flush()
	r.until(func() bool { return r.seen.ended[id] })
	assert.Equal(t, body, string(r.seen.body[id]))
	assert.Equal(t, map[int]int{500: 2}, server.Totals().ByStatus)
}

func TestAPNsRetryAfterAndStatus(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Status: 503, Reason: "ServiceUnavailable", RetryAfter: 90 * time.Second}, mdmtest.PushAnswer{Status: 5000})
	id, odd := r.pushID("a", rawID), r.push("b")
	r.flush()
	r.until(func() bool { return r.seen.ended[id] && r.seen.ended[odd] })
	assert.Equal(t, "503", r.seen.status[id])
	assert.Equal(t, map[string]string{"apns-id": rawID, "retry-after": "90"}, r.seen.header[id])
	assert.JSONEq(t, `{"reason":"ServiceUnavailable"}`, string(r.seen.body[id]))
	assert.Equal(t, "500", r.seen.status[odd])
	assert.Len(t, r.seen.header[odd]["apns-id"], 36, "APNs makes one up")
}

// TestAPNsLeavesNothingBehind runs alone: it looks at all goroutines.
func TestAPNsLeavesNothingBehind(t *testing.T) {
	running := func() bool {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return bytes.Contains(stacks, []byte("mdmtest.(*apns")) || bytes.Contains(stacks, []byte("mdmtest.(*APNs"))
	}
	require.False(t, running())
	server, cert := startAPNs(t)
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return mdmtest.PushAnswer{Delay: tooLong} })
	var raws []*rawClient
	for range 5 {
		r := newRaw(t, server, cert)
		for range 20 {
			r.push("a")
		}
		r.flush()
		raws = append(raws, r)
	}
	server.Silent(true)
	server.Freeze()
	require.True(t, running())
	server.Close()
	open, _ := server.Connections()
	assert.Zero(t, open)
	for _, r := range raws {
		r.untilEnd()
		_ = r.conn.Close()
	}
	eventually(t, func() bool { return !running() })
	totals := server.Totals()
	assert.Equal(t, totals.Taken, totals.Canceled)
}
