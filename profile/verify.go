package profile

import (
	"crypto/x509"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// VerifyOptions says whom [Parsed.Verify] trusts.
type VerifyOptions struct {
	Roots         *x509.CertPool      // nil: those of the system
	Intermediates []*x509.Certificate // besides those that came with the profile
	Time          time.Time           // zero: now
	// AllowExpired takes a signer whose certificate has expired as it was at its last moment. A profile stays signed when
	// its signer expires, and since iOS 7 devices let the profile of an expired signer be replaced.
	AllowExpired bool
}

// Verify checks who signed the profile: that a chain leads from the signer to one of the roots, whatever the certificates
// are for. It returns the chains. That the signature is the signer's has [Parse] checked.
//
// The error is a Forbidden one: the profile is not signed, or errors.As finds what [x509.Certificate.Verify] says.
func (p *Parsed) Verify(o VerifyOptions) ([][]*x509.Certificate, error) {
	const op = "profile.Verify"
	if p.Signer == nil {
		return nil, mdm.Errorf(mdm.Forbidden, op, "the profile is not signed")
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	if o.AllowExpired && o.Time.After(p.Signer.NotAfter) {
		o.Time = p.Signer.NotAfter
	}
	intermediates := x509.NewCertPool()
	for _, certs := range [][]*x509.Certificate{p.Certificates, o.Intermediates} {
		for _, cert := range certs {
			intermediates.AddCert(cert)
		}
	}
	chains, err := p.Signer.Verify(x509.VerifyOptions{Roots: o.Roots, Intermediates: intermediates, CurrentTime: o.Time,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, mdm.Errorf(mdm.Forbidden, op, "signer: %w", err)
	}
	return chains, nil
}
