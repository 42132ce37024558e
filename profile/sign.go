package profile

import (
	"context"
	"crypto"
	"crypto/x509"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
)

// CMSSigner signs profiles with a certificate, SHA-256, and the whole chain in the message, so that a device can build
// it. A device shows a profile as verified if it trusts the chain.
type CMSSigner struct {
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // intermediates, and the root if you like, without the certificate itself
	Key         crypto.Signer       // RSA or ECDSA; may be in an HSM
}

// Sign returns profile in a CMS SignedData. The error is Internal.
func (s CMSSigner) Sign(_ context.Context, profile []byte) ([]byte, error) {
	const op = "profile.Sign"
	if s.Certificate == nil || s.Key == nil {
		return nil, mdm.Errorf(mdm.Internal, op, "CMSSigner needs Certificate and Key")
	}
	signed, err := cms.Sign(profile, s.Certificate, s.Key, cms.SignOptions{Chain: s.Chain})
	if err != nil {
		return nil, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	return signed, nil
}
