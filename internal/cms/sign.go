package cms

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"go.mozilla.org/pkcs7"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SignOptions says how Sign signs. The zero value is what to use today: content included, SHA-256, signed attributes.
type SignOptions struct {
	Detached     bool        // leave the content out
	Hash         crypto.Hash // 0: SHA-256; SHA-1 for what imitates old devices
	NoAttributes bool        // sign the content itself, as devices sign their messages
	Indefinite   bool        // BER with indefinite lengths in the outer elements, as devices write it
	Chain        []*x509.Certificate
	SigningTime  time.Time // zero: not said. There is none without attributes
}

// Sign wraps content in a SignedData signed by key, RSA or ECDSA, whose certificate is cert. The key may be anywhere, as
// in an HSM. The wrapped library signs with keys in memory only, so the message is written here. The error is
// ErrAlgorithm, or that of the key.
func Sign(content []byte, cert *x509.Certificate, key crypto.Signer, o SignOptions) ([]byte, error) {
	if o.Hash == 0 {
		o.Hash = crypto.SHA256
	}
	digestAlgorithm, signatureAlgorithm, err := signatureAlgorithm(key.Public(), o.Hash)
	if err != nil {
		return nil, err
	}
	if pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("cms: sign: the key is not that of the certificate")
	}
	attributes, signature, err := o.sign(content, key)
	if err != nil {
		return nil, err
	}
	info := der(casn1.SEQUENCE, number(1), issuerAndSerial(cert), digestAlgorithm, attributes, signatureAlgorithm,
		der(casn1.OCTET_STRING, signature))
	signed := o.outer(casn1.SEQUENCE, number(1), der(casn1.SET, digestAlgorithm), o.encapsulate(content),
		der(constructed0, o.certificates(cert)), der(casn1.SET, info))
	return o.outer(casn1.SEQUENCE, oid(pkcs7.OIDSignedData), o.outer(constructed0, signed)), nil
}

// sign returns the signed attributes as they stand in the message, nil if there are none, and the signature.
func (o SignOptions) sign(content []byte, key crypto.Signer) (attributes, signature []byte, err error) {
	signed := content
	if !o.NoAttributes {
		if signed, err = signedAttributes(o.sum(content), o.SigningTime); err != nil {
			return nil, nil, err
		}
		attributes = bytes.Clone(signed)
		attributes[0] = byte(constructed0) // the implicit tag, which is not signed
	}
	if signature, err = key.Sign(rand.Reader, o.sum(signed), o.Hash); err != nil {
		return nil, nil, fmt.Errorf("cms: sign: %w", err)
	}
	return attributes, signature, nil
}

func (o SignOptions) sum(data []byte) []byte {
	h := o.Hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// encapsulate writes the EncapsulatedContentInfo; with indefinite lengths the content is in pieces, as those who stream
// write it.
func (o SignOptions) encapsulate(content []byte) []byte {
	kind := oid(pkcs7.OIDData)
	switch {
	case o.Detached:
		return o.outer(casn1.SEQUENCE, kind)
	case o.Indefinite:
		half := len(content) / 2
		pieces := indefinite(octetString|constructed, der(casn1.OCTET_STRING, content[:half]), der(casn1.OCTET_STRING, content[half:]))
		return indefinite(casn1.SEQUENCE, kind, indefinite(constructed0, pieces))
	}
	return der(casn1.SEQUENCE, kind, der(constructed0, der(casn1.OCTET_STRING, content)))
}

// certificates returns the certificate and its chain, which may repeat it.
func (o SignOptions) certificates(cert *x509.Certificate) []byte {
	raw := bytes.Clone(cert.Raw)
	for _, c := range o.Chain {
		if !c.Equal(cert) {
			raw = append(raw, c.Raw...)
		}
	}
	return raw
}

// outer writes an element in the form that was asked for.
func (o SignOptions) outer(tag casn1.Tag, parts ...[]byte) []byte {
	if o.Indefinite {
		return indefinite(tag, parts...)
	}
	return der(tag, parts...)
}
