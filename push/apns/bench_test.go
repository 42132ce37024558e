package apns_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/push"
)

// BenchmarkPush includes the simulated server: its time and its allocations.
func BenchmarkPush(b *testing.B) {
	server, c := fixture(b)
	batch := targets(500)
	_, err := c.Push(bg, batch[:1])
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		results, err := c.Push(bg, batch)
		if err != nil || results[0].Outcome != push.Delivered {
			b.Fatal(err, results[0])
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "pushes/s")
	_, total := server.Connections()
	require.Equal(b, 1, total)
}

// BenchmarkClient is the client's cost: the server allocates nothing and does the least.
func BenchmarkClient(b *testing.B) {
	s := startRaw(b)
	go func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			go yes(conn)
		}
	}()
	c := s.client(certificate(b, topic))
	batch := targets(500)
	_, err := c.Push(bg, batch)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		results, err := c.Push(bg, batch)
		if err != nil || results[0].Outcome != push.Delivered {
			b.Fatal(err, results[0])
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "pushes/s")
}

// yes answers 200 to every request, without looking.
func yes(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	_, _ = r.Discard(len(http2.ClientPreface))
	out := []byte{0, 0, 6, byte(http2.FrameSettings), 0, 0, 0, 0, 0, 0, byte(http2.SettingMaxConcurrentStreams), 0, 0, 3, 0xe8}
	head := make([]byte, 9)
	read := 0
	for {
		if r.Buffered() < len(head) && len(out) > 0 {
			if read > 16<<10 {
				out = append(out, 0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0)
				out = binary.BigEndian.AppendUint32(out, uint32(read))
				read = 0
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		_, _ = r.Discard(length)
		switch kind, flags := http2.FrameType(head[3]), http2.Flags(head[4]); {
		case kind == http2.FrameData:
			read += length
			out = append(out, 0, 0, 1, byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream))
			out = append(append(out, head[5:9]...), 0x88) // :status 200
		case kind == http2.FrameSettings && !flags.Has(http2.FlagSettingsAck):
			out = append(out, 0, 0, 0, byte(http2.FrameSettings), byte(http2.FlagSettingsAck), 0, 0, 0, 0)
		}
	}
}
