package apns

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

const maxProxyAnswer = 16 << 10 // bytes

// proxyError is an error of the way to the proxy. What it says of certificates is not about ours.
type proxyError struct{ err error }

func (e *proxyError) Error() string { return "proxy: " + e.err.Error() }
func (e *proxyError) Unwrap() error { return e.err }

// proxyConn marks what the TLS of the proxy says later.
type proxyConn struct{ net.Conn }

func (c proxyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, markProxy(err)
}

func (c proxyConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, markProxy(err)
}

func markProxy(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteError {
		return &proxyError{err}
	}
	return err
}

// through connects by way of a proxy. Errors do not have its password.
func (d *dialer) through(ctx context.Context, u *url.URL) (net.Conn, error) {
	conn, err := d.tunnel(ctx, u)
	if err != nil {
		return nil, &proxyError{err}
	}
	return conn, nil
}

func (d *dialer) tunnel(ctx context.Context, u *url.URL) (net.Conn, error) {
	switch u.Scheme {
	case "socks5", "socks5h":
		return d.socks(ctx, u)
	case "http", "https":
	default:
		return nil, fmt.Errorf("%q is no kind of proxy that is known", u.Scheme)
	}
	conn, err := direct().DialContext(ctx, "tcp", proxyAddr(u))
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		secure, err := handshake(ctx, conn, &tls.Config{
			RootCAs: d.proxyRoots, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12,
		}, false)
		if err != nil {
			return nil, err
		}
		conn = proxyConn{secure}
	}
	if err := connect(ctx, conn, d.to.addr, u.User); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func proxyAddr(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	case u.Scheme == "https":
		port = "443"
	default:
		port = "1080"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// connect asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6).
func connect(ctx context.Context, conn net.Conn, addr string, user *url.Userinfo) error {
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	request := "CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if user != nil {
		password, _ := user.Password()
		request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return err
	}
	answer := bufio.NewReader(io.LimitReader(conn, maxProxyAnswer))
	resp, err := http.ReadResponse(answer, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil:
		return fmt.Errorf("CONNECT: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("CONNECT was answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	case answer.Buffered() > 0:
		return errors.New("CONNECT: the proxy sends what nobody asked for")
	case !stop():
		return context.Cause(ctx)
	}
	return conn.SetDeadline(time.Time{})
}

// socks lets the proxy look up the name, as net/http does with both schemes.
func (d *dialer) socks(ctx context.Context, u *url.URL) (net.Conn, error) {
	var auth *proxy.Auth
	if u.User != nil {
		auth = &proxy.Auth{User: u.User.Username()}
		auth.Password, _ = u.User.Password()
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	by, err := proxy.SOCKS5("tcp", proxyAddr(u), auth, direct())
	if err != nil {
		return nil, err
	}
	contextual, ok := by.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("SOCKS cannot be canceled")
	}
	return contextual.DialContext(ctx, "tcp", d.to.addr)
}

// choose asks which proxy to take, if any. It gives up a callback that does not return.
func (d *dialer) choose(ctx context.Context) (*url.URL, error) {
	type answer struct {
		proxy *url.URL
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answered <- answer{err: fmt.Errorf("panic: %v", p)}
			}
		}()
		proxy, err := d.proxy((&http.Request{
			Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: d.to.host, Path: "/"}, Host: d.to.host, Header: http.Header{},
		}).WithContext(ctx))
		answered <- answer{proxy, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, &proxyError{withoutURL(a.err)}
		}
		return a.proxy, nil
	case <-ctx.Done():
		return nil, &proxyError{context.Cause(ctx)}
	}
}

// withoutURL leaves out the URL that an error quotes, which may have a password.
func withoutURL(err error) error {
	if parse, ok := errors.AsType[*url.Error](err); ok {
		return parse.Err
	}
	return err
}

var errEnvironment = errors.New("the environment names one that is no URL")

// environment is http.ProxyFromEnvironment, whose error quotes what it cannot read.
func environment(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errEnvironment
	}
	return u, nil
}
