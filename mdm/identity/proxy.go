package identity

import (
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/gomdm/applemdm/mdm"
)

// Format says how a proxy writes a client certificate into a header.
type Format uint8

// The formats. Those with a header of their own read it unless ProxyConfig.Header names another one.
const (
	RFC9440           Format = iota + 1 // Client-Cert and Client-Cert-Chain: base64 between colons
	EscapedPEM                          // URL-escaped PEM, as nginx's $ssl_client_escaped_cert; ProxyConfig.Header is required
	FoldedPEM                           // PEM with its line ends folded into white space, as Apache writes it; ProxyConfig.Header is required
	EnvoyXFCC                           // x-forwarded-client-cert of Envoy and Istio, set to SANITIZE_SET with cert: true
	AWSALB                              // X-Amzn-Mtls-Clientcert-Leaf of an AWS load balancer in verify mode
	AWSALBPassthrough                   // X-Amzn-Mtls-Clientcert of one in passthrough mode: a chain that nobody has verified
)

// header returns the header that belongs to a format.
func (f Format) header() string {
	switch f {
	case RFC9440:
		return "Client-Cert"
	case EnvoyXFCC:
		return "X-Forwarded-Client-Cert"
	case AWSALB:
		return "X-Amzn-Mtls-Clientcert-Leaf"
	case AWSALBPassthrough:
		return "X-Amzn-Mtls-Clientcert"
	}
	return ""
}

// ProxyConfig describes the proxy. Whoever can reach the server past the proxy can write any header, so at least one of
// Trusted, Secret and Peer is required, and all that are set must hold. The proxy must drop the header from what it
// receives.
type ProxyConfig struct {
	Format Format
	Header string // for the formats that leave it open

	Trusted []netip.Prefix           // addresses that the proxy connects from; with IPv4 in its own form, not mapped into IPv6
	Secret  mdm.Secret               // a secret that the proxy adds in SecretHeader
	Peer    func(*http.Request) bool // as a check of the proxy's own client certificate

	SecretHeader string // goes with Secret
}

func (c *ProxyConfig) validate() error {
	switch {
	case c.Format < RFC9440 || c.Format > AWSALBPassthrough:
		return errors.New("identity: ProxyConfig.Format is required")
	case c.Header == "":
		return errors.New("identity: ProxyConfig.Header is required for this format")
	case c.Secret.IsZero() != (c.SecretHeader == ""): // not to be read as "no secret needed" where it was only forgotten
		return errors.New("identity: ProxyConfig.Secret and SecretHeader go together")
	case len(c.Trusted) == 0 && c.Secret.IsZero() && c.Peer == nil:
		return errors.New("identity: ProxyConfig needs Trusted, Secret or Peer: else anybody could claim any certificate")
	}
	for _, prefix := range c.Trusted {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return fmt.Errorf("identity: ProxyConfig.Trusted: %v matches no address", prefix)
		}
	}
	return nil
}

// maxProxyHeader is the longest header with certificates.
const maxProxyHeader = 32 << 10

// Proxy returns an Extractor for servers behind a proxy that ends TLS and passes the client certificate on in a header.
// A request from anybody else is Forbidden, and its header is not even looked at. A header that is missing, is there
// twice, or holds anything but what its format says is Malformed. It fails if the configuration trusts everybody.
func Proxy(c ProxyConfig) (Extractor, error) {
	if c.Header == "" {
		c.Header = c.Format.header()
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.Trusted = slices.Clone(c.Trusted)
	return proxy{c, &recent{}}, nil
}

type proxy struct {
	ProxyConfig
	recent *recent
}

func (p proxy) Extract(r *http.Request, _ []byte) (Presented, error) {
	const op = "identity.Proxy"
	if !p.trusts(r) {
		return Presented{}, mdm.Errorf(mdm.Forbidden, op, "the peer is not the trusted proxy")
	}
	certs, err := p.certificates(r.Header)
	if err != nil {
		return Presented{}, mdm.Errorf(mdm.Malformed, op, "%s: %w", p.Header, err)
	}
	return Presented{Leaf: certs[0], Intermediates: certs[1:], Via: "proxy"}, nil
}

// trusts checks everything that is configured.
func (p proxy) trusts(r *http.Request) bool {
	if len(p.Trusted) > 0 && !p.trustsAddress(r.RemoteAddr) {
		return false
	}
	if !p.Secret.IsZero() {
		values := r.Header.Values(p.SecretHeader)
		if len(values) != 1 || subtle.ConstantTimeCompare([]byte(values[0]), p.Secret.Reveal()) != 1 {
			return false
		}
	}
	return p.Peer == nil || p.Peer(r)
}

func (p proxy) trustsAddress(remote string) bool {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p.Trusted, func(prefix netip.Prefix) bool { return prefix.Contains(addr.Addr().Unmap()) })
}

// certificates reads the header, leaf first.
func (p proxy) certificates(h http.Header) ([]*x509.Certificate, error) {
	values := h.Values(p.Header)
	if len(values) != 1 {
		return nil, fmt.Errorf("%d headers, not one", len(values))
	}
	value := values[0]
	if len(value) > maxProxyHeader {
		return nil, fmt.Errorf("longer than %d bytes", maxProxyHeader)
	}
	chain := h.Values("Client-Cert-Chain")
	if p.Format == RFC9440 && len(chain) > 0 {
		return readRFC9440(value, chain)
	}
	return p.recent.read(value, func() ([]*x509.Certificate, error) { return p.read(value) })
}

// read reads the value of the header.
func (p proxy) read(value string) (certs []*x509.Certificate, err error) {
	switch p.Format {
	case RFC9440:
		return readRFC9440(value, nil)
	case EnvoyXFCC:
		return readXFCC(value)
	case AWSALBPassthrough:
		return readEscaped(value)
	case FoldedPEM:
		certs, err = readPEM(value)
	default: // EscapedPEM, AWSALB
		certs, err = readEscaped(value)
	}
	if err == nil && len(certs) != 1 {
		err = errors.New("several certificates in the place of one")
	}
	return certs, err
}
