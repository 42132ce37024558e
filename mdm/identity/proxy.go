package identity

import (
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Format says how a proxy writes a client certificate into a header.
type Format uint8

// The formats.
const (
	RFC9440           Format = iota + 1 // Client-Cert and Client-Cert-Chain: base64 between colons
	EscapedPEM                          // URL-escaped PEM, as nginx's $ssl_client_escaped_cert; ProxyConfig.Header is required
	FoldedPEM                           // PEM with its line ends folded into spaces, as Apache writes it; ProxyConfig.Header is required
	EnvoyXFCC                           // x-forwarded-client-cert of Envoy and Istio, sanitized to one element
	AWSALB                              // X-Amzn-Mtls-Clientcert-Leaf of an AWS load balancer in verify mode
	AWSALBPassthrough                   // X-Amzn-Mtls-Clientcert of one in passthrough mode: a chain that nobody has verified
)

// ProxyConfig describes the proxy. Whoever can reach the server past the proxy can write any header, so at least one of
// Trusted, Secret and Peer is required, and all that are set must hold. The proxy must drop the header from what it
// receives.
type ProxyConfig struct {
	Format Format
	Header string // for the formats that leave it open

	Trusted []netip.Prefix           // addresses that the proxy connects from
	Secret  mdm.Secret               // a secret that the proxy adds in SecretHeader
	Peer    func(*http.Request) bool // as a check of the proxy's own client certificate

	SecretHeader string // required with Secret
}

// maxProxyHeader is the longest header with certificates.
const maxProxyHeader = 32 << 10

// Proxy returns an Extractor for servers behind a proxy that ends TLS and passes the client certificate on in a header.
// A request from anybody else is Forbidden, and its header is not even looked at.
func Proxy(c ProxyConfig) (Extractor, error) {
	if header, fixed := map[Format]string{RFC9440: "Client-Cert", EnvoyXFCC: "X-Forwarded-Client-Cert",
		AWSALB: "X-Amzn-Mtls-Clientcert-Leaf", AWSALBPassthrough: "X-Amzn-Mtls-Clientcert"}[c.Format]; fixed {
		if c.Header == "" {
			c.Header = header
		}
	}
	switch {
	case c.Format < RFC9440 || c.Format > AWSALBPassthrough:
		return nil, errors.New("identity: ProxyConfig.Format is required")
	case c.Header == "":
		return nil, errors.New("identity: ProxyConfig.Header is required for this format")
	case len(c.Trusted) == 0 && c.Secret.IsZero() && c.Peer == nil:
		return nil, errors.New("identity: ProxyConfig needs Trusted, Secret or Peer: else anybody could claim any certificate")
	case !c.Secret.IsZero() && c.SecretHeader == "":
		return nil, errors.New("identity: ProxyConfig.SecretHeader is required with Secret")
	}
	return proxy{c}, nil
}

type proxy struct{ ProxyConfig }

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
	for _, prefix := range p.Trusted {
		if prefix.Contains(addr.Addr().Unmap()) {
			return true
		}
	}
	return false
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
	switch p.Format {
	case RFC9440:
		return readRFC9440(value, h.Values("Client-Cert-Chain"))
	case FoldedPEM:
		return readPEM(unfold(value))
	case EnvoyXFCC:
		return readXFCC(value)
	default:
		// PathUnescape and not QueryUnescape: load balancers leave the + of base64 as it is.
		text, err := url.PathUnescape(value)
		if err != nil {
			return nil, errors.New("not URL-escaped")
		}
		return readPEM(text)
	}
}

func readRFC9440(leaf string, chain []string) ([]*x509.Certificate, error) {
	items := []string{leaf}
	for _, value := range chain {
		if len(value) > maxProxyHeader {
			return nil, errors.New("the chain is too long")
		}
		items = append(items, strings.Split(value, ",")...)
	}
	if len(items) > maxChain {
		return nil, errors.New("the chain is too long")
	}
	var certs []*x509.Certificate
	for _, item := range items {
		text, ok := strings.CutPrefix(strings.TrimSpace(item), ":")
		if !ok || !strings.HasSuffix(text, ":") {
			return nil, errors.New("not a byte sequence of RFC 9440")
		}
		der, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, ":"))
		if err != nil {
			return nil, errors.New("not base64")
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("not a certificate")
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// unfold puts the line ends back into a PEM block that was written in one line.
func unfold(s string) string {
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	body, ok := strings.CutPrefix(strings.TrimSpace(s), begin)
	if !ok {
		return ""
	}
	body, ok = strings.CutSuffix(body, end)
	if !ok {
		return ""
	}
	return begin + "\n" + strings.Join(strings.Fields(body), "\n") + "\n" + end + "\n"
}

// maxChain is the most certificates that are read from a request.
const maxChain = 8

func readPEM(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || len(certs) == maxChain {
			return nil, errors.New("not a short chain of certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("not a certificate")
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	return certs, nil
}

// readXFCC reads the one element of an x-forwarded-client-cert header: pairs separated by ;, whose values may be quoted.
// Several elements mean that a proxy before ours added one, which is worth as much as a header from anybody.
func readXFCC(value string) ([]*x509.Certificate, error) {
	elements, err := splitQuoted(value, ',')
	if err != nil {
		return nil, err
	}
	if len(elements) != 1 {
		return nil, fmt.Errorf("%d elements, not one", len(elements))
	}
	pairs, err := splitQuoted(elements[0], ';')
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, pair := range pairs {
		key, v, _ := strings.Cut(strings.TrimSpace(pair), "=")
		key = strings.ToLower(key)
		if key != "cert" && key != "chain" {
			continue
		}
		if _, twice := found[key]; twice {
			return nil, fmt.Errorf("%s is there twice", key)
		}
		text, err := url.PathUnescape(unquote(v))
		if err != nil {
			return nil, errors.New("not URL-escaped")
		}
		found[key] = text
	}
	if found["cert"] == "" {
		return nil, errors.New("no Cert")
	}
	certs, err := readPEM(found["cert"])
	if err != nil || len(certs) != 1 {
		return nil, errors.New("the value of Cert is not one certificate")
	}
	if found["chain"] == "" {
		return certs, nil
	}
	chain, err := readPEM(found["chain"])
	if err != nil {
		return nil, err
	}
	if chain[0].Equal(certs[0]) { // Envoy repeats the leaf
		chain = chain[1:]
	}
	return append(certs, chain...), nil
}

// splitQuoted splits at sep outside of double quotes, in which a backslash escapes.
func splitQuoted(s string, sep byte) ([]string, error) {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	return append(parts, s[start:]), nil
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
