package apns_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

// proxied is a client that takes the proxy at raw.
func proxied(t *testing.T, raw string) (*mdmtest.APNs, *apns.Client) {
	server, c := fixture(t)
	c.Proxy = http.ProxyURL(mustParse(t, raw))
	return server, c
}

func mustParse(t *testing.T, raw string) *url.URL {
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

func TestAProxyByTLSWithAPassword(t *testing.T) {
	t.Parallel()
	var asked atomic.Pointer[http.Request]
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		tunnel(w, r.Host)
	}))
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs the refused handshake
	proxy.StartTLS()
	defer proxy.Close()
	server, c := proxied(t, strings.Replace(proxy.URL, "https://", "https://me:pass%3Aword@", 1))
	require.ErrorContains(t, one(t, c).Err, "proxy: TLS", "nobody is trusted for nothing")

	c = client(t, server, certificate(t, topic))
	c.RootCAs.AddCert(proxy.Certificate())
	c.Proxy = http.ProxyURL(mustParse(t, proxy.URL))
	require.ErrorContains(t, one(t, c).Err, "proxy: TLS", "who is trusted as APNs is not trusted as a proxy")

	c = client(t, server, certificate(t, topic))
	c.ProxyRootCAs = x509.NewCertPool()
	c.ProxyRootCAs.AddCert(proxy.Certificate())
	u := mustParse(t, proxy.URL)
	u.User = url.UserPassword("me", "pass:word")
	c.Proxy = http.ProxyURL(u)
	allDelivered(t, c, 5)
	r := asked.Load()
	assert.Equal(t, "CONNECT "+strings.TrimPrefix(server.URL(), "https://"), r.Method+" "+r.Host)
	assert.Empty(t, r.TLS.PeerCertificates, "the push certificate is not for proxies")
	r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization"))
	user, password, _ := r.BasicAuth()
	assert.Equal(t, []string{"me", "pass:word"}, []string{user, password})
}

// What a proxy thinks of certificates is not about the push certificate.
func TestAProxyThatWantsACertificate(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := httptest.NewUnstartedServer(http.NotFoundHandler())
			proxy.Config.ErrorLog = log.New(io.Discard, "", 0)
			proxy.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: version}
			proxy.StartTLS()
			defer proxy.Close()
			_, c := proxied(t, proxy.URL)
			c.ProxyRootCAs = x509.NewCertPool()
			c.ProxyRootCAs.AddCert(proxy.Certificate())
			r := one(t, c)
			assert.Equal(t, push.Unsent, r.Outcome)
			require.ErrorContains(t, r.Err, "remote error: tls")
		})
	}
}

func TestAProxyFunctionThatFails(t *testing.T) {
	t.Parallel()
	_, c := fixture(t)
	host := "me:secret@host:port"
	c.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://" + host) }
	r := one(t, c)
	assert.Equal(t, push.Unsent, r.Outcome)
	require.ErrorContains(t, r.Err, "proxy")
	assert.NotContains(t, r.Err.Error(), "secret")
}

func TestWhatProxiesRefuse(t *testing.T) {
	t.Parallel()
	endless := strings.Repeat("x", 1<<20)
	for answer, want := range map[string]string{
		"HTTP/1.1 407 Give me secret\r\nContent-Length: 0\r\n\r\n":  "407 Proxy Authentication Required",
		"HTTP/1.1 502 secret\r\n\r\n":                               "502 Bad Gateway",
		"HTTP/1.1 200 OK\r\n\r\nand more":                           "nobody asked for",
		"SSH-2.0-OpenSSH\r\n":                                       "CONNECT",
		"HTTP/1.1 200 OK\r\n" + "A: " + endless + "\r\n" + "\r\n\r": "CONNECT",
		"": "CONNECT",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 1000))
			_, _ = io.WriteString(conn, answer)
		}()
		_, c := proxied(t, "http://me:secret@"+listener.Addr().String())
		r := one(t, c)
		assert.Equal(t, push.Unsent, r.Outcome)
		require.ErrorContains(t, r.Err, want)
		assert.NotContains(t, r.Err.Error(), "secret")
		_ = listener.Close()
	}
}

func TestProxiesThatAreUnknown(t *testing.T) {
	t.Parallel()
	_, c := proxied(t, "gopher://me:secret@127.0.0.1:1")
	r := one(t, c)
	require.ErrorContains(t, r.Err, `"gopher"`)
	assert.NotContains(t, r.Err.Error(), "secret")
}

func TestASOCKSProxy(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"socks5", "socks5h"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		asked := make(chan string, 10)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go socks(conn, asked)
			}
		}()
		server, c := proxied(t, scheme+"://me:secret@"+listener.Addr().String())
		allDelivered(t, c, 5)
		assert.Equal(t, "me secret "+strings.TrimPrefix(server.URL(), "https://"), <-asked)
		server, c = proxied(t, scheme+"://me:wrong@"+listener.Addr().String())
		r := one(t, c)
		require.Error(t, r.Err)
		assert.NotContains(t, r.Err.Error(), "wrong")
		assert.Empty(t, server.Pushes())
	}
}

// socks serves a client as RFC 1928 and RFC 1929 have it.
func socks(conn net.Conn, asked chan<- string) {
	defer conn.Close()
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(conn, b)
		return b
	}
	read(int(read(2)[1]))
	_, _ = conn.Write([]byte{5, 2})
	user := string(read(int(read(2)[1])))
	password := string(read(int(read(1)[0])))
	if password != "secret" {
		_, _ = conn.Write([]byte{1, 1})
		return
	}
	_, _ = conn.Write([]byte{1, 0})
	var host string
	if kind := read(4)[3]; kind == 1 {
		host = net.IP(read(4)).String()
	} else {
		host = string(read(int(read(1)[0])))
	}
	addr := net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(read(2)))))
	asked <- user + " " + password + " " + addr
	out, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer out.Close()
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() { _, _ = io.Copy(out, conn); _ = out.Close() }()
	_, _ = io.Copy(conn, out)
}
