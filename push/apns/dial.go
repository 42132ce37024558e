package apns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gomdm/applemdm/push"
)

const dialTimeout = 10 * time.Second // to connect, and as long for the handshakes

// dialer makes connections to APNs.
type dialer struct {
	to         endpoint
	proxy      func(*http.Request) (*url.URL, error)
	proxyRoots *x509.CertPool
	tls        *tls.Config
}

func (c *Client) newDialer(cert push.Certificate, to endpoint) dialer {
	d := dialer{to: to, proxy: c.Proxy, proxyRoots: c.ProxyRootCAs, tls: &tls.Config{
		Certificates: []tls.Certificate{cert.TLS},
		RootCAs:      c.RootCAs,
		ServerName:   to.name,
		NextProtos:   []string{"h2"},
		MinVersion:   tls.VersionTLS12,
	}}
	if d.proxy == nil {
		d.proxy = environment
	}
	return d
}

var errProtocol = errors.New("the server does not speak HTTP/2")

func (d *dialer) dial(ctx context.Context) (*tls.Conn, error) {
	proxy, err := d.choose(ctx)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	if proxy == nil {
		conn, err = direct().DialContext(ctx, "tcp", d.to.addr)
	} else {
		conn, err = d.through(ctx, proxy)
	}
	if err != nil {
		return nil, err
	}
	return handshake(ctx, conn, d.tls, true)
}

func direct() *net.Dialer { return &net.Dialer{Timeout: dialTimeout} }

// handshake closes conn if it fails.
func handshake(ctx context.Context, conn net.Conn, config *tls.Config, h2 bool) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	t := tls.Client(conn, config)
	err := t.HandshakeContext(ctx)
	if err == nil && h2 && t.ConnectionState().NegotiatedProtocol != "h2" {
		err = errProtocol
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t, nil
}
