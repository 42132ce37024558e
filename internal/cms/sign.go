package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SignOptions says how Sign signs. The zero value is what to use today: content included, SHA-256, signed attributes.
type SignOptions struct {
	Detached     bool        // leave the content out
	Hash         crypto.Hash // 0: SHA-256; SHA-1 for what imitates old devices
	NoAttributes bool        // sign the content itself, as devices sign their messages
	Indefinite   bool        // BER with indefinite lengths in the outer elements, as devices write it
	Chain        []*x509.Certificate
	SigningTime  time.Time // zero: not said
}

var (
	oidRSA         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidECDSASHA1   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	oidECDSASHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSASHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECDSASHA512 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
)

// Sign wraps content in a SignedData signed by key, whose certificate is cert. The key may be anywhere, as in an HSM.
// The wrapped library signs with keys in memory only, so the message is written here.
func Sign(content []byte, cert *x509.Certificate, key crypto.Signer, o SignOptions) ([]byte, error) {
	if o.Hash == 0 {
		o.Hash = crypto.SHA256
	}
	digestOID, signatureOID, err := algorithms(key, o.Hash)
	if err != nil {
		return nil, err
	}
	digest := o.Hash.New()
	digest.Write(content)
	sum := digest.Sum(nil)
	var attributes []byte
	if !o.NoAttributes {
		if attributes, err = signedAttributes(sum, o.SigningTime); err != nil {
			return nil, err
		}
		digest.Reset()
		digest.Write(attributes)
		sum = digest.Sum(nil)
	}
	signature, err := key.Sign(rand.Reader, sum, o.Hash)
	if err != nil {
		return nil, fmt.Errorf("cms: sign: %w", err)
	}
	w := writer{indefinite: o.Indefinite}
	algorithm := w.der(casn1.SEQUENCE, oid(digestOID), []byte{5, 0})
	encap := oid(pkcs7.OIDData)
	if !o.Detached {
		encap = append(encap, w.der(0xa0, w.der(casn1.OCTET_STRING, content))...)
	}
	var certs []byte
	for _, c := range append([]*x509.Certificate{cert}, o.Chain...) {
		if c != cert && c.Equal(cert) {
			continue
		}
		certs = append(certs, c.Raw...)
	}
	info := [][]byte{{2, 1, 1}, w.der(casn1.SEQUENCE, cert.RawIssuer, integer(cert)), algorithm}
	if attributes != nil {
		implicit := slices.Clone(attributes)
		implicit[0] = 0xa0
		info = append(info, implicit)
	}
	signatureAlgorithm := [][]byte{oid(signatureOID)}
	if signatureOID.Equal(oidRSA) {
		signatureAlgorithm = append(signatureAlgorithm, []byte{5, 0})
	}
	info = append(info, w.der(casn1.SEQUENCE, signatureAlgorithm...), w.der(casn1.OCTET_STRING, signature))
	signed := w.outer(casn1.SEQUENCE, []byte{2, 1, 1}, w.der(casn1.SET, algorithm), w.outer(casn1.SEQUENCE, encap), w.der(0xa0, certs),
		w.der(casn1.SET, w.der(casn1.SEQUENCE, info...)))
	return w.outer(casn1.SEQUENCE, oid(pkcs7.OIDSignedData), w.outer(0xa0, signed)), nil
}

func algorithms(key crypto.Signer, hash crypto.Hash) (digest, signature asn1.ObjectIdentifier, err error) {
	for _, h := range hashes {
		if h.hash == hash {
			digest = h.oid
		}
	}
	if digest == nil {
		return nil, nil, fmt.Errorf("cms: cannot sign with %v", hash)
	}
	switch key.Public().(type) {
	case *rsa.PublicKey:
		return digest, oidRSA, nil
	case *ecdsa.PublicKey:
		return digest, map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: oidECDSASHA1, crypto.SHA256: oidECDSASHA256,
			crypto.SHA384: oidECDSASHA384, crypto.SHA512: oidECDSASHA512}[hash], nil
	}
	return nil, nil, fmt.Errorf("cms: cannot sign with a %T", key)
}

// signedAttributes returns the DER SET of the signed attributes.
func signedAttributes(digest []byte, at time.Time) ([]byte, error) {
	w := writer{}
	list := [][]byte{
		w.der(casn1.SEQUENCE, oid(pkcs7.OIDAttributeContentType), w.der(casn1.SET, oid(pkcs7.OIDData))),
		w.der(casn1.SEQUENCE, oid(pkcs7.OIDAttributeMessageDigest), w.der(casn1.SET, w.der(casn1.OCTET_STRING, digest))),
	}
	if !at.IsZero() {
		value, err := asn1.Marshal(at.UTC())
		if err != nil {
			return nil, fmt.Errorf("cms: signing time: %w", err)
		}
		list = append(list, w.der(casn1.SEQUENCE, oid(pkcs7.OIDAttributeSigningTime), w.der(casn1.SET, value)))
	}
	slices.SortFunc(list, bytes.Compare) // a DER SET is sorted
	return w.der(casn1.SET, list...), nil
}

// writer puts elements together.
type writer struct{ indefinite bool }

func (writer) der(tag casn1.Tag, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	return append(appendHeader(nil, byte(tag), len(content)), content...)
}

// outer is der, or with indefinite length.
func (w writer) outer(tag casn1.Tag, parts ...[]byte) []byte {
	if !w.indefinite {
		return w.der(tag, parts...)
	}
	out := append([]byte{byte(tag), 0x80}, bytes.Join(parts, nil)...)
	return append(out, 0, 0)
}

func oid(id asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(id)
	return b.BytesOrPanic() // of constants: cannot fail
}

func integer(cert *x509.Certificate) []byte {
	var b cryptobyte.Builder
	b.AddASN1BigInt(cert.SerialNumber)
	return b.BytesOrPanic() // of a number: cannot fail
}
