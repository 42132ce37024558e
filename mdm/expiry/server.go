package expiry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"iter"
	"net"
	"strings"
	"time"
)

// Server is a Source that connects as devices do and reads the chain that it is shown. So it also finds the proxy that nobody
// renewed. It judges no more than when that ends: a chain that is expired or not trusted is read like any other. It sends
// nothing, and a server that wants a client certificate tells its own before it refuses.
type Server struct {
	Addr   string // as "mdm.example.org" or "mdm.example.org:8443"; without a port it is 443
	Name   string // what is asked for in the handshake (SNI), where that is not the host of Addr
	Tenant string
	Action string // empty: what Kind.Action says

	Timeout time.Duration // for connection and handshake; 0: 10 s
	// Dial makes the connection, as through a proxy. Nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Servers returns a [Server] for each address.
func Servers(addrs ...string) []Source {
	sources := make([]Source, len(addrs))
	for n, addr := range addrs {
		sources[n] = Server{Addr: addr}
	}
	return sources
}

// Items implements [Source].
func (s Server) Items(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		host, addr := s.address()
		i := Item{Kind: TLSServer, Tenant: s.Tenant, Name: addr, Action: s.Action}
		if s.Name != "" {
			host = s.Name
			i.Name = host + " at " + addr
		}
		chain, err := s.chain(ctx, host, addr)
		if err == nil {
			i, err = i.of(chain)
		}
		yield(i, err)
	}
}

func (s Server) address() (host, addr string) {
	if host, _, err := net.SplitHostPort(s.Addr); err == nil {
		return host, s.Addr
	}
	host = strings.Trim(s.Addr, "[]") // an IPv6 address may be written with them
	return host, net.JoinHostPort(host, "443")
}

// chain returns what the server presents.
func (s Server) chain(ctx context.Context, host, addr string) ([]*x509.Certificate, error) {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return presented(ctx, conn, host)
}

// presented makes a handshake and returns the certificates of the other side, also if it came to nothing after them.
func presented(ctx context.Context, conn net.Conn, host string) ([]*x509.Certificate, error) {
	var raw [][]byte
	err := tls.Client(conn, &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12, // Apple: App Transport Security
		InsecureSkipVerify: true,             // an expired chain is what we look for, and nothing is sent
		VerifyPeerCertificate: func(shown [][]byte, _ [][]*x509.Certificate) error {
			raw = shown
			return nil
		},
	}).HandshakeContext(ctx)
	if len(raw) == 0 {
		return nil, err
	}
	return parse(raw)
}
