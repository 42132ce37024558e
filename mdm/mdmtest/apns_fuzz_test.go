package mdmtest_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2"
)

// FuzzAPNsHTTP2 sends the server anything after the preface. It ends the connection, and goes on to serve others.
func FuzzAPNsHTTP2(f *testing.F) {
	seed := func(send func(*http2.Framer)) {
		var out bytes.Buffer
		framer := http2.NewFramer(&out, nil)
		framer.AllowIllegalWrites = true
		send(framer)
		f.Add(out.Bytes())
	}
	seed(func(framer *http2.Framer) {
		_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: []byte{0x83, 0x87, 0x84}})
		_ = framer.WriteDataPadded(1, true, []byte(`{"mdm":"m"}`), []byte{0, 0})
		_ = framer.WriteWindowUpdate(0, 1<<20)
		_ = framer.WritePing(false, [8]byte{})
	})
	seed(func(framer *http2.Framer) {
		_ = framer.WriteSettings()
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x83, 0x40, 1, 'a', 1, 'b'}, PadLength: 3})
		_ = framer.WriteContinuation(1, true, []byte{0x87, 0x84, 0xbe})
		_ = framer.WriteRSTStream(1, http2.ErrCodeCancel)
		_ = framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	server, cert := startAPNs(f)
	f.Fuzz(func(t *testing.T, frames []byte) {
		r := dialRaw(t, server, cert)
		r.out.WriteString(http2.ClientPreface)
		r.out.Write(frames)
		_, _ = r.conn.Write(r.out.Bytes())
		_ = r.conn.CloseWrite()
		buf := make([]byte, 4096)
		var err error
		for err == nil {
			_, err = r.conn.Read(buf)
		}
		assert.NotContains(t, err.Error(), "timeout")
		_ = r.conn.Close()
		eventually(t, func() bool { open, _ := server.Connections(); return open == 0 })
		totals := server.Totals()
		assert.Equal(t, totals.Taken, totals.Answered+totals.Canceled)
	})
}
