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

// through connects by way of a proxy. Errors do not have its password.
func (d *dialer) through(ctx context.Context, u *url.URL) (net.Conn, error) {
	switch u.Scheme {
	case "socks5", "socks5h":
		return d.socks(ctx, u)
	case "http", "https":
	default:
		return nil, fmt.Errorf("proxy: %q is no kind of proxy that is known", u.Scheme)
	}
	conn, err := direct().DialContext(ctx, "tcp", proxyAddr(u))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if u.Scheme == "https" {
		if conn, err = handshake(ctx, conn, &tls.Config{
			RootCAs: d.tls.RootCAs, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12,
		}, false); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
	}
	if err := connect(ctx, conn, d.to.addr, u.User); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("proxy: %w", err)
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
		return nil, fmt.Errorf("proxy: %w", err)
	}
	contextual, ok := by.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("proxy: SOCKS cannot be canceled")
	}
	conn, err := contextual.DialContext(ctx, "tcp", d.to.addr)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return conn, nil
}
