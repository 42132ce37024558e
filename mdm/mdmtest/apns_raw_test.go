package mdmtest_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
)

const rawID = "eabeae54-14a8-11e5-b60b-1697f925ec7b"

// rawClient speaks HTTP/2 by the frame. What is sent is buffered until flush, so that a test decides what comes together.
type rawClient struct {
	t       testing.TB
	conn    *tls.Conn
	out     bytes.Buffer
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	next    uint32
	seen    rawSeen
}

// rawSeen is what the server has sent.
type rawSeen struct {
	limits  []uint32 // of streams
	status  map[uint32]string
	header  map[uint32]map[string]string
	body    map[uint32][]byte
	ended   map[uint32]bool
	resets  map[uint32]http2.ErrCode
	updates map[uint32]uint32 // of windows
	pings   int
	away    *http2.GoAwayFrame
	debug   string
	err     error
}

// dialRaw connects without a word of HTTP/2.
func dialRaw(t testing.TB, server *mdmtest.APNs, cert push.Certificate) *rawClient {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(server.URL(), "https://"),
		&tls.Config{RootCAs: server.RootCAs(), Certificates: []tls.Certificate{cert.TLS}, NextProtos: []string{"h2"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	r := &rawClient{t: t, conn: conn, next: 1}
	r.framer = http2.NewFramer(&r.out, conn)
	r.framer.AllowIllegalWrites = true
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.encoder = hpack.NewEncoder(&r.block)
	r.seen = rawSeen{status: map[uint32]string{}, header: map[uint32]map[string]string{}, body: map[uint32][]byte{},
		ended: map[uint32]bool{}, resets: map[uint32]http2.ErrCode{}, updates: map[uint32]uint32{}}
	return r
}

// newRaw connects and waits until both know the settings of the other.
func newRaw(t testing.TB, server *mdmtest.APNs, cert push.Certificate, settings ...http2.Setting) *rawClient {
	r := dialRaw(t, server, cert)
	r.out.WriteString(http2.ClientPreface)
	require.NoError(t, r.framer.WriteSettings(settings...))
	r.flush()
	r.until(func() bool { return len(r.seen.limits) > 0 })
	r.sync()
	return r
}

// proven connects and has the first push accepted.
func proven(t testing.TB, server *mdmtest.APNs, cert push.Certificate) *rawClient {
	r := newRaw(t, server, cert)
	id := r.push("first")
	r.flush()
	r.until(func() bool { return r.seen.ended[id] })
	r.sync()
	return r
}

func (r *rawClient) flush() {
	_, err := r.conn.Write(r.out.Bytes())
	require.NoError(r.t, err)
	r.out.Reset()
}

// encode returns a header block.
func (r *rawClient) encode(fields ...string) []byte {
	r.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		require.NoError(r.t, r.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return r.block.Bytes()
}

func requestFields(token string) []string {
	return []string{":method", "POST", ":scheme", "https", ":path", fmt.Sprintf("/3/device/%x", token), ":authority", "apns",
		"apns-topic", pushTopic, "apns-push-type", "mdm", "apns-priority", "10", "apns-expiration", "4102444800"}
}

// head sends the header of a push on the next stream.
func (r *rawClient) head(fields []string) uint32 {
	id := r.next
	r.next += 2
	require.NoError(r.t, r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: r.encode(fields...)}))
	return id
}

// push sends a push that is in order on the next stream.
func (r *rawClient) push(token string) uint32 { return r.pushID(token, "") }

func (r *rawClient) pushID(token, apnsID string) uint32 {
	fields := requestFields(token)
	if apnsID != "" {
		fields = append(fields, "apns-id", apnsID)
	}
	id := r.head(fields)
	require.NoError(r.t, r.framer.WriteData(id, true, []byte(`{"mdm":"m"}`)))
	return id
}

// sync waits until the server has read all that was sent, and acknowledges its settings.
func (r *rawClient) sync() {
	for range 2 { // the first brings the settings that are to be acknowledged
		want := r.seen.pings + 1
		require.NoError(r.t, r.framer.WritePing(false, [8]byte{1}))
		r.flush()
		r.until(func() bool { return r.seen.pings >= want })
	}
}

// until reads until ok, or the connection ends.
func (r *rawClient) until(ok func() bool) {
	r.t.Helper()
	for !ok() {
		require.True(r.t, r.read(), "the connection has ended: %v, %s", r.seen.err, r.seen.debug)
	}
}

// untilEnd reads until the connection ends.
func (r *rawClient) untilEnd() {
	for r.read() {
	}
}

// read takes a frame; it reports whether there was one.
func (r *rawClient) read() bool {
	frame, err := r.framer.ReadFrame()
	if err != nil {
		r.seen.err = err
		return false
	}
	id := frame.Header().StreamID
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if limit, ok := f.Value(http2.SettingMaxConcurrentStreams); ok && !f.IsAck() {
			r.seen.limits = append(r.seen.limits, limit)
		}
		if !f.IsAck() {
			require.NoError(r.t, r.framer.WriteSettingsAck()) // with the next flush
		}
	case *http2.MetaHeadersFrame:
		r.seen.status[id] = f.PseudoValue("status")
		r.seen.header[id] = map[string]string{}
		for _, field := range f.RegularFields() {
			r.seen.header[id][field.Name] = field.Value
		}
		r.seen.ended[id] = f.StreamEnded()
	case *http2.DataFrame:
		r.seen.body[id] = append(r.seen.body[id], f.Data()...)
		r.seen.ended[id] = f.StreamEnded()
	case *http2.RSTStreamFrame:
		r.seen.resets[id] = f.ErrCode
	case *http2.WindowUpdateFrame:
		r.seen.updates[id] += f.Increment
	case *http2.PingFrame:
		r.seen.pings++
	case *http2.GoAwayFrame:
		r.seen.away, r.seen.debug = f, string(f.DebugData())
	}
	return true
}

// awayReason returns the reason of a GOAWAY as Apple sends it.
func (r *rawClient) awayReason() string {
	var debug struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp"`
	}
	require.NoError(r.t, json.Unmarshal([]byte(r.seen.debug), &debug))
	require.Positive(r.t, debug.Timestamp)
	return debug.Reason
}
