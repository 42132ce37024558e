package apns_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

// rawServer is an APNs that the test plays frame by frame.
type rawServer struct {
	t        testing.TB
	listener net.Listener
	roots    *x509.CertPool
}

// serverCertificate returns a certificate of the loopback address and who trusts it.
func serverCertificate() (tls.Certificate, *x509.CertPool) {
	ts := httptest.NewTLSServer(http.NotFoundHandler())
	defer ts.Close()
	return ts.TLS.Certificates[0], ts.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

func startRaw(t testing.TB) *rawServer {
	pair, roots := serverCertificate()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return &rawServer{t: t, listener: listener, roots: roots}
}

func (s *rawServer) client(certs ...push.Certificate) *apns.Client {
	c := &apns.Client{Certificates: push.Fixed(certs...), Host: "https://" + s.listener.Addr().String(), RootCAs: s.roots}
	s.t.Cleanup(c.CloseIdleConnections)
	return c
}

// accept takes a connection and tells the settings.
func (s *rawServer) accept(settings ...http2.Setting) *rawConn {
	s.t.Helper()
	c := s.acceptSilently()
	require.NoError(s.t, c.framer.WriteSettings(settings...))
	return c
}

func (s *rawServer) acceptSilently() *rawConn {
	s.t.Helper()
	conn, err := s.listener.Accept()
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(s.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	c, ok := s.newConn(conn)
	require.True(s.t, ok)
	return c
}

func (s *rawServer) newConn(conn net.Conn) (*rawConn, bool) {
	preface := make([]byte, len(http2.ClientPreface))
	_, err := io.ReadFull(conn, preface)
	c := &rawConn{t: s.t, conn: conn, framer: http2.NewFramer(conn, conn)}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	return c, err == nil
}

type rawConn struct {
	t       testing.TB
	conn    net.Conn
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

// rawPush is a push as it came.
type rawPush struct {
	stream   uint32
	id, path string
	body     string
}

// push reads the next push, and answers pings meanwhile.
func (c *rawConn) push() rawPush {
	c.t.Helper()
	p, ok := c.tryPush()
	require.True(c.t, ok, "the connection is closed")
	return p
}

func (c *rawConn) tryPush() (p rawPush, ok bool) {
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return p, false
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			p.stream, p.path = f.StreamID, f.PseudoValue("path")
			for _, field := range f.RegularFields() {
				if field.Name == "apns-id" {
					p.id = field.Value
				}
			}
		case *http2.DataFrame:
			p.body += string(f.Data())
			if f.StreamEnded() {
				return p, true
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = c.framer.WritePing(true, f.Data)
			}
		}
	}
}

func (c *rawConn) pushes(n int) []rawPush {
	c.t.Helper()
	all := make([]rawPush, n)
	for i := range all {
		all[i] = c.push()
	}
	return all
}

func (c *rawConn) answer(stream uint32, status string) {
	c.block.Reset()
	_ = c.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: true,
	})
}

// gone waits until the client has closed the connection.
func (c *rawConn) gone() {
	c.t.Helper()
	for {
		if _, err := c.framer.ReadFrame(); err != nil {
			return
		}
	}
}

// begin starts a call of Push.
func begin(ctx context.Context, t testing.TB, c *apns.Client, n int) func() []push.Result {
	done := make(chan []push.Result, 1)
	go func() {
		results, err := c.Push(ctx, targets(n))
		if err != nil {
			t.Error(err)
		}
		done <- results
	}()
	return func() []push.Result {
		t.Helper()
		select {
		case results := <-done:
			return results
		case <-time.After(30 * time.Second):
			require.Fail(t, "the call does not end")
			return nil
		}
	}
}

// proved is a connection of c on which a push was answered.
func (s *rawServer) proved(c *apns.Client, settings ...http2.Setting) *rawConn {
	s.t.Helper()
	results := begin(bg, s.t, c, 1)
	conn := s.accept(settings...)
	conn.answer(conn.push().stream, "200")
	require.Equal(s.t, push.Delivered, results()[0].Outcome)
	return conn
}

func streams(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n}
}
