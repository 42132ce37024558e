package webhook

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// clientOf makes the client of a webhook out of that of its Config, which is not changed.
func clientOf(cfg *Config) (*http.Client, error) {
	client := http.Client{}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if client.Transport == nil {
		client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2,
			IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10}
	}
	if !cfg.PublicOnly {
		return &client, nil
	}
	t, ok := client.Transport.(*http.Transport)
	//lint:ignore SA1019 who set the old ones must be told, too
	if !ok || t.DialContext != nil || t.DialTLSContext != nil || t.Dial != nil || t.DialTLS != nil {
		return nil, errors.New("webhook: Config.PublicOnly needs a Client with an *http.Transport without dialers of its own")
	}
	t = t.Clone()
	t.Proxy = nil // it would connect for us, where nobody looks
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, Control: publicOnly}).DialContext
	client.Transport = t
	return &client, nil
}

// errNotPublic does not say which address: what a name means inside is nobody's business outside.
var errNotPublic = errors.New("the address is not on the public Internet")

// publicOnly is asked with the address that is connected to, after names were looked up, so that a name cannot change its mind.
func publicOnly(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) {
		return errNotPublic
	}
	return nil
}

// public reports whether an address is one of the public Internet, by IANA's registries of special-purpose addresses.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if nat64.Contains(a) { // an IPv4 address that a gateway translates
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !a.IsValid() || a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !unicast6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

var (
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	unicast6 = netip.MustParsePrefix("2000::/3")
	special  = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
	}
)
