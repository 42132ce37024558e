package lint

import (
	"crypto/rsa"
	"crypto/x509"
	"time"
)

// certificateRules checks the certificates in a profile, and that the profile goes before they do.
func (c *checker) certificateRules(p content) {
	var first time.Time // when the first certificate ends
	for i, cert := range p.certs {
		if cert == nil {
			continue
		}
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
		c.certificate(at(i, "PayloadContent"), cert)
	}
	if first.IsZero() {
		return
	}
	for _, end := range ends(p.Profile) {
		if end.at.After(first) {
			c.add("expiry-order", end.key, "is after a certificate in the profile ends, %s", date(first))
		}
	}
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func (c *checker) certificate(path string, cert *x509.Certificate) {
	switch end := cert.NotAfter; {
	case !end.After(c.now):
		c.add("certificate-expired", path, "ended on %s", date(end))
	case !end.After(c.now.Add(c.soon)):
		c.add("certificate-expires", path, "ends on %s", date(end))
	}
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		c.add("certificate-weak", path, "has an RSA key of %d bits", key.N.BitLen())
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		if string(cert.RawIssuer) != string(cert.RawSubject) { // nobody checks how a root signed itself
			c.add("certificate-weak", path, "is signed with %s", cert.SignatureAlgorithm)
		}
	}
}
