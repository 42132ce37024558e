package profile

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
)

// CMSSigner signs profiles with a certificate, SHA-256, and the whole chain in the message, so that a device can build
// it. A device shows a profile as verified if it trusts the chain. Sign what is encrypted, do not encrypt what is signed.
type CMSSigner struct {
	Certificate *x509.Certificate
	// Chain has the intermediates, and the root if you like, in any order; it may hold the certificate itself. All of them
	// must lead on from the certificate: one that is missing in between is an error here and not on the devices.
	Chain []*x509.Certificate
	Key   crypto.Signer // RSA or ECDSA; may be in an HSM
}

// Sign returns profile in a CMS SignedData. The error is Internal: a key that is not that of the certificate, a chain with
// a gap, or what the key says.
func (s CMSSigner) Sign(_ context.Context, profile []byte) ([]byte, error) {
	const op = "profile.Sign"
	if s.Certificate == nil || s.Key == nil {
		return nil, mdm.Errorf(mdm.Internal, op, "CMSSigner needs Certificate and Key")
	}
	if !belongs(s.Key, s.Certificate) {
		return nil, mdm.Errorf(mdm.Internal, op, "Key is not that of Certificate")
	}
	chain, err := issuersOf(s.Certificate, s.Chain)
	if err != nil {
		return nil, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	signed, err := cms.Sign(profile, s.Certificate, s.Key, cms.SignOptions{Chain: chain})
	if err != nil {
		return nil, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	return signed, nil
}

// issuersOf returns the certificates of a chain, each after one that it issued, without leaf and each once. Where a
// certificate authority is certified twice, both ways are in it.
func issuersOf(leaf *x509.Certificate, chain []*x509.Certificate) ([]*x509.Certificate, error) {
	var rest, out []*x509.Certificate
	for i, c := range chain {
		if c == nil {
			return nil, fmt.Errorf("certificate %d of the chain is nil", i)
		}
		if !c.Equal(leaf) && !slices.ContainsFunc(rest, c.Equal) {
			rest = append(rest, c)
		}
	}
	for at := leaf; ; at = out[len(out)-1] { // first one way up, then what leads to any of it
		i := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return issued(c, at) })
		if i < 0 {
			i = slices.IndexFunc(rest, func(c *x509.Certificate) bool {
				return issued(c, leaf) || slices.ContainsFunc(out, func(o *x509.Certificate) bool { return issued(c, o) })
			})
		}
		if i < 0 {
			break
		}
		out = append(out, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("the chain has %q, which issued nothing of it: a certificate in between is missing", rest[0].Subject)
	}
	return out, nil
}

// issued reports whether c is of the name and key that signed child. How old its signature is does not matter here.
func issued(c, child *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, child.RawIssuer) && c.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature) == nil
}
