//go:build unix

package mdmtest_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// BenchmarkAPNs is the cost of a push in the simulated server: the client sends bytes that were prepared, and reads
// answers without looking at them. cpu-us/push is all that the process needs, TLS of the client included.
func BenchmarkAPNs(b *testing.B) {
	for _, bb := range []struct {
		name   string
		config mdmtest.APNsConfig
		batch  int
		script func(mdmtest.Push) mdmtest.PushAnswer
	}{
		{"full/100 together", mdmtest.APNsConfig{}, 100, nil},
		{"lean/100 together", mdmtest.APNsConfig{Lean: true}, 100, nil},
		{"lean/1000 together", mdmtest.APNsConfig{Lean: true}, 1000, nil},
		{"lean/10 together", mdmtest.APNsConfig{Lean: true}, 10, nil},
		{"lean/1 alone", mdmtest.APNsConfig{Lean: true}, 1, nil},
		{"lean/100 together, script", mdmtest.APNsConfig{Lean: true}, 100, func(mdmtest.Push) mdmtest.PushAnswer { return mdmtest.PushAnswer{} }},
		{"repeats/100 together", mdmtest.APNsConfig{CountRepeats: true}, 100, nil},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkAPNs(b, bb.config, bb.batch, bb.script) })
	}
}

func benchmarkAPNs(b *testing.B, config mdmtest.APNsConfig, batch int, script func(mdmtest.Push) mdmtest.PushAnswer) {
	server := config.Start()
	defer server.Close()
	server.Script(script)
	cert, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(b, err)
	r := proven(b, server, cert)
	require.NoError(b, r.conn.SetDeadline(time.Time{}))
	request := benchBatch(r, batch)
	answers := &answerCounter{conn: r.conn}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		renumber(request, &r.next)
		if _, err := r.conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if err := answers.await(batch); err != nil {
			b.Fatal(err)
		}
	}
	pushes := float64(b.N * batch)
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/pushes, "cpu-us/push")
	b.ReportMetric(pushes/b.Elapsed().Seconds(), "pushes/s")
	require.Equal(b, int(pushes)+1, server.Totals().Accepted)
	require.Empty(b, server.Violations())
}

// benchBatch returns the frames of some pushes. Their constant fields are in the HPACK table since the first push; the
// others are literals, so that the same bytes can be sent again and again.
func benchBatch(r *rawClient, n int) []byte {
	fields := requestFields("a token of thirty-two bytes.....")
	fields = append(fields, "apns-id", rawID)
	for range n {
		r.block.Reset()
		for i := 0; i < len(fields); i += 2 {
			field := hpack.HeaderField{Name: fields[i], Value: fields[i+1]}
			field.Sensitive = field.Name == ":path" || field.Name == "apns-id"
			require.NoError(r.t, r.encoder.WriteField(field))
		}
		require.NoError(r.t, r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: r.block.Bytes()}))
		require.NoError(r.t, r.framer.WriteData(1, true, []byte(`{"mdm":"5D3CD7B4-0B83-4C2C-A9C8-0F0A43C6C1F2"}`)))
	}
	request := bytes.Clone(r.out.Bytes())
	r.out.Reset()
	return request
}

// renumber gives the streams of request the next numbers.
func renumber(request []byte, next *uint32) {
	for len(request) > 0 {
		length := 9 + int(request[0])<<16 + int(request[1])<<8 + int(request[2])
		binary.BigEndian.PutUint32(request[5:], *next)
		if http2.FrameType(request[3]) == http2.FrameData {
			*next += 2
		}
		request = request[length:]
	}
}

// answerCounter counts HEADERS frames and looks at nothing else.
type answerCounter struct {
	conn io.Reader
	buf  [64 << 10]byte
	n    int // bytes in buf
}

func (a *answerCounter) await(answers int) error {
	for answers > 0 {
		n, err := a.conn.Read(a.buf[a.n:])
		if err != nil {
			return err
		}
		a.n += n
		rest := a.buf[:a.n]
		for len(rest) >= 9 {
			length := 9 + int(rest[0])<<16 + int(rest[1])<<8 + int(rest[2])
			if len(rest) < length {
				break
			}
			if http2.FrameType(rest[3]) == http2.FrameHeaders {
				answers--
			}
			rest = rest[length:]
		}
		a.n = copy(a.buf[:], rest)
	}
	return nil
}

// cpu returns the time that the process has used.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
