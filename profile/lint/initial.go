package lint

import (
	"bytes"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// The places of payloads in an initial profile: a device installs them in order.
const (
	placeRoot = iota
	placeIntermediate
	placeIdentity
	placeMDM
	placeFree // wherever it likes
)

func placeOf(p profile.Payload, cert *x509.Certificate) int {
	switch p.(type) {
	case *profile.RootCertificate, *profile.Certificate, *profile.PEMCertificate:
		if cert != nil && bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			return placeRoot
		}
		return placeIntermediate
	case *profile.SCEP, *profile.ACME, *profile.PKCS12:
		return placeIdentity
	case *profile.MDM:
		return placeMDM
	}
	return placeFree
}

// initialRules checks the order and the completeness of the trust chain in an initial profile.
func (c *checker) initialRules(p content) {
	last := placeRoot
	subjects := map[string]bool{}
	for i, payload := range p.payloads {
		if cert := p.certs[i]; cert != nil {
			subjects[string(cert.RawSubject)] = true
		}
		place := placeOf(payload, p.certs[i])
		if place == placeFree {
			continue
		}
		lateTrust := place <= placeIntermediate && last == placeMDM // what trust-first says
		if place < last && !lateTrust {
			c.add("payload-order", at(i, ""), "comes too late: roots, intermediates, identity, MDM payload is the order")
		}
		last = max(last, place)
	}
	for i, cert := range p.certs {
		if cert != nil && cert.IsCA && !subjects[string(cert.RawIssuer)] {
			c.add("trust-chain", at(i, ""), "the issuer of this intermediate, %q, is not in the profile", cert.Issuer.CommonName)
		}
	}
}

// mdmRules checks the MDM payload with what is known of the server.
func (c *checker) mdmRules(p content) {
	for i, payload := range p.payloads {
		m, ok := payload.(*profile.MDM)
		if !ok {
			continue
		}
		if c.l.Topic != "" && m.Topic != c.l.Topic {
			c.add("push-topic", at(i, "Topic"), "is not the topic of the push certificate, %s", c.l.Topic)
		}
		if schema.Or(m.UseDevelopmentAPNS, false) {
			c.add("development-apns", at(i, "UseDevelopmentAPNS"), "pushes would have to come from the development environment of APNs")
		}
		if p.Scope == profile.ScopeUser {
			c.add("mdm-user-scope", "PayloadScope", "the com.apple.mdm payload is for the device, not for a user")
		}
		c.signMessage(i, m)
	}
}

func (c *checker) signMessage(i int, m *profile.MDM) {
	u, err := url.Parse(m.ServerURL)
	if err != nil {
		return
	}
	proxy := slices.ContainsFunc(c.l.Proxies, func(host string) bool { return strings.EqualFold(host, u.Hostname()) })
	switch signs := schema.Or(m.SignMessage, false); {
	case proxy && !signs:
		c.add("sign-message", at(i, "SignMessage"), "TLS to %s ends at a proxy, and nothing says who speaks", u.Hostname())
	case signs && !proxy:
		c.add("sign-message-cost", at(i, "SignMessage"), "each message carries a signature, about 2 kB")
	}
}
