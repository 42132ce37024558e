package expiry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/push"
)

// only returns the one item of a source.
func only(t *testing.T, s expiry.Source) expiry.Item {
	t.Helper()
	items, err := (&expiry.Calendar{Sources: []expiry.Source{s}}).Items(t.Context())
	require.NoError(t, err)
	require.Len(t, items, 1)
	return items[0]
}

func fails(t *testing.T, s expiry.Source) *expiry.SourceError {
	t.Helper()
	items, err := (&expiry.Calendar{Sources: []expiry.Source{s}}).Items(t.Context())
	assert.Empty(t, items)
	var failed *expiry.SourceError
	require.ErrorAs(t, err, &failed)
	return failed
}

// topics is an expiry.Topics.
type topics struct {
	all []push.Topic
	err error
}

func (s topics) PushTopics(context.Context) ([]push.Topic, error) { return s.all, s.err }

func TestPushCertificates(t *testing.T) {
	t.Parallel()
	source := expiry.PushCertificates(topics{all: []push.Topic{{Name: "com.apple.mgmt.x", NotAfter: day(5, 1)}}})
	want := expiry.Item{Kind: expiry.PushCertificate, Name: "com.apple.mgmt.x", NotAfter: day(5, 1), Action: expiry.PushCertificate.Action()}
	assert.Equal(t, want, only(t, source))
	want.Tenant = "red"
	assert.Equal(t, want, only(t, expiry.Change(source, func(i expiry.Item) expiry.Item { i.Tenant = "red"; return i })))
	assert.Equal(t, expiry.PushCertificate, fails(t, expiry.PushCertificates(topics{err: errDown})).Kind)
}

func TestDates(t *testing.T) {
	t.Parallel()
	dates := map[string]time.Time{"root": day(5, 1), "pin": day(4, 1)}
	ask := func(err error) expiry.Source {
		return expiry.Dates(expiry.EnrollmentProfile, func(context.Context) (map[string]time.Time, error) { return dates, err })
	}
	items, err := (&expiry.Calendar{Sources: []expiry.Source{ask(nil)}}).Items(t.Context())
	require.NoError(t, err)
	want := expiry.Item{Kind: expiry.EnrollmentProfile, Name: "pin", NotAfter: day(4, 1), Action: expiry.EnrollmentProfile.Action()}
	require.Len(t, items, 2)
	assert.Equal(t, want, items[0])
	assert.Equal(t, "root", items[1].Name)
	assert.Contains(t, want.Action, "replace the MDM profile on every device before that date")

	items, err = (&expiry.Calendar{Sources: []expiry.Source{ask(errDown)}}).Items(t.Context())
	require.ErrorIs(t, err, errDown)
	assert.Len(t, items, 2, "what is known is told")
	for range ask(nil).Items(t.Context()) {
		break // must not go on
	}
}

func TestAChainEndsWithTheFirst(t *testing.T) {
	t.Parallel()
	leaf, middle, root := cert(t, "leaf", day(5, 1)), cert(t, "middle", day(4, 1)), cert(t, "root", day(6, 1))
	i := only(t, expiry.Chain(expiry.DeviceCA, "devices", leaf, root))
	assert.Equal(t, expiry.Item{Kind: expiry.DeviceCA, Name: "devices", NotAfter: day(5, 1), Action: expiry.DeviceCA.Action()}, i)
	i = only(t, expiry.Chain(expiry.DeviceCA, "devices", leaf, middle, root))
	assert.Equal(t, day(4, 1), i.NotAfter)
	assert.Equal(t, `certificate 2 of the chain, "CN=middle", is the first to end: `+expiry.DeviceCA.Action(), i.Action)

	fails(t, expiry.Chain(expiry.DeviceCA, "none"))
	failed := fails(t, expiry.Certificates(expiry.SCEPRA, "ra", func(context.Context) ([]*x509.Certificate, error) { return nil, errDown }))
	require.ErrorIs(t, failed, errDown)
	assert.Equal(t, "ra", failed.Name)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	p := pair(t, "mdm", day(5, 1))
	assert.Equal(t, day(5, 1), only(t, expiry.TLS("mdm", func() (*tls.Certificate, error) { return &p, nil })).NotAfter)
	fails(t, expiry.TLS("mdm", func() (*tls.Certificate, error) { return nil, nil }))
	fails(t, expiry.TLS("mdm", func() (*tls.Certificate, error) { return nil, errDown }))
	fails(t, expiry.TLS("mdm", func() (*tls.Certificate, error) { return &tls.Certificate{Certificate: [][]byte{{1}}}, nil }))
}

// listen serves TLS with cfg and returns the address.
func listen(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake()
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestServerIsReadAsDevicesSeeIt(t *testing.T) {
	t.Parallel()
	expired := pair(t, "mdm", day(5, 1).AddDate(-5, 0, 0))
	for name, cfg := range map[string]*tls.Config{
		"expired and not trusted":     {Certificates: []tls.Certificate{expired}},
		"wants a certificate":         {Certificates: []tls.Certificate{expired}, ClientAuth: tls.RequireAnyClientCert},
		"wants a certificate, TLS1.2": {Certificates: []tls.Certificate{expired}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
	} {
		addr := listen(t, cfg)
		i := only(t, expiry.Servers(addr)[0])
		assert.Equal(t, expiry.Item{Kind: expiry.TLSServer, Name: addr, NotAfter: day(5, 1).AddDate(-5, 0, 0), Action: expiry.TLSServer.Action()}, i, name)
	}
}

func TestServerByName(t *testing.T) {
	t.Parallel()
	p, asked := pair(t, "mdm", day(5, 1)), make(chan string, 1)
	addr := listen(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- hello.ServerName
		return &p, nil
	}})
	i := only(t, expiry.Server{Addr: addr, Name: "mdm.example.org", Tenant: "red", Action: "ask Anna"})
	assert.Equal(t, expiry.Item{Kind: expiry.TLSServer, Tenant: "red", Name: "mdm.example.org at " + addr, NotAfter: day(5, 1), Action: "ask Anna"}, i)
	assert.Equal(t, "mdm.example.org", <-asked)
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"mdm.example.org": "mdm.example.org:443", "[::1]": "[::1]:443", "::1": "[::1]:443", "x:8443": "x:8443"} {
		failed := fails(t, expiry.Server{Addr: given, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			assert.Equal(t, want, addr)
			return nil, errDown
		}})
		require.ErrorIs(t, failed, errDown)
		assert.Equal(t, want, failed.Name)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	require.ErrorIs(t, fails(t, expiry.Server{Addr: silent.Addr().String(), Timeout: 20 * time.Millisecond}), context.DeadlineExceeded)
}
