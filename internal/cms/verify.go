package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // real devices sign with it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"time"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Signed is a SignedData with exactly one signer whose certificate came with it. Nothing about it is trusted before
// Verify, and its chain not even then.
type Signed struct {
	Content      []byte // nil if the message is detached
	Signer       *x509.Certificate
	Certificates []*x509.Certificate // all that came with it, the signer first
	SigningTime  time.Time           // what the signer said; zero if it did not. Information only: clocks are wrong
	Digest       crypto.Hash

	contentType asn1.ObjectIdentifier
	attributes  []byte // the signed attributes as DER SET, nil if there are none
	signature   []byte
}

// ParseSigned reads a SignedData, BER or DER.
func ParseSigned(ber []byte, l Limits) (s *Signed, err error) {
	defer contain(&err)
	der, err := ToDER(ber, l)
	if err != nil {
		return nil, err
	}
	p7, err := pkcs7.Parse(der)
	if err != nil {
		return nil, syntax("%v", err)
	}
	if len(p7.Signers) != 1 {
		return nil, ErrNoSigner
	}
	info := p7.Signers[0]
	signer := p7.GetOnlySigner()
	if signer == nil {
		return nil, ErrNoSigner
	}
	s = &Signed{Content: p7.Content, Signer: signer, signature: info.EncryptedDigest}
	s.Certificates = append(s.Certificates, signer)
	for _, c := range p7.Certificates {
		if c.Equal(signer) {
			continue
		}
		if c.SerialNumber.Cmp(signer.SerialNumber) == 0 && bytes.Equal(c.RawIssuer, signer.RawIssuer) {
			return nil, ErrNoSigner // two certificates of one name: which one signed is not said
		}
		s.Certificates = append(s.Certificates, c)
	}
	if s.Digest, err = hashOf(info.DigestAlgorithm.Algorithm); err != nil {
		return nil, err
	}
	if err := s.readOuter(der); err != nil {
		return nil, err
	}
	return s, nil
}

var hashes = []struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
}{
	{pkcs7.OIDDigestAlgorithmSHA1, crypto.SHA1},
	{pkcs7.OIDDigestAlgorithmSHA256, crypto.SHA256},
	{pkcs7.OIDDigestAlgorithmSHA384, crypto.SHA384},
	{pkcs7.OIDDigestAlgorithmSHA512, crypto.SHA512},
}

func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	for _, h := range hashes {
		if h.oid.Equal(oid) {
			return h.hash, nil
		}
	}
	return 0, syntax("digest algorithm %v", oid)
}

// readOuter takes from the DER what the library does not give: the type of the content, and the signed attributes as
// they were sent, because the signature is over those bytes.
func (s *Signed) readOuter(der []byte) error {
	in := cryptobyte.String(der)
	var info, wrap, signed, encap, infos, signer, attributes cryptobyte.String
	var oid asn1.ObjectIdentifier
	tag0 := casn1.Tag(0).ContextSpecific().Constructed()
	tag1 := casn1.Tag(1).ContextSpecific().Constructed()
	ok := in.ReadASN1(&info, casn1.SEQUENCE) && info.ReadASN1ObjectIdentifier(&oid) && info.ReadASN1(&wrap, tag0) &&
		wrap.ReadASN1(&signed, casn1.SEQUENCE) && signed.SkipASN1(casn1.INTEGER) && signed.SkipASN1(casn1.SET) &&
		signed.ReadASN1(&encap, casn1.SEQUENCE) && encap.ReadASN1ObjectIdentifier(&s.contentType) &&
		signed.SkipOptionalASN1(tag0) && signed.SkipOptionalASN1(tag1) && signed.ReadASN1(&infos, casn1.SET) &&
		infos.ReadASN1(&signer, casn1.SEQUENCE) && signer.SkipASN1(casn1.INTEGER) && signer.SkipASN1(casn1.SEQUENCE) &&
		signer.SkipASN1(casn1.SEQUENCE)
	if !ok {
		return syntax("not a SignedData")
	}
	if signer.PeekASN1Tag(tag0) {
		if !signer.ReadASN1Element(&attributes, tag0) {
			return syntax("signed attributes")
		}
		s.attributes = slices.Clone(attributes)
		s.attributes[0] = byte(casn1.SET) // what is signed is the SET, not its implicit tag
		return s.readSigningTime()
	}
	return nil
}

// attribute returns the one value of a signed attribute, nil if it is not there exactly once.
func (s *Signed) attribute(want asn1.ObjectIdentifier) cryptobyte.String {
	set := cryptobyte.String(s.attributes)
	var all, found cryptobyte.String
	if !set.ReadASN1(&all, casn1.SET) {
		return nil
	}
	n := 0
	for !all.Empty() {
		var attribute, values, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !all.ReadASN1(&attribute, casn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) || !attribute.ReadASN1(&values, casn1.SET) {
			return nil
		}
		if !oid.Equal(want) {
			continue
		}
		var tag casn1.Tag
		if !values.ReadAnyASN1Element(&value, &tag) || !values.Empty() {
			return nil
		}
		found, n = value, n+1
	}
	if n != 1 {
		return nil
	}
	return found
}

func (s *Signed) readSigningTime() error {
	value := s.attribute(pkcs7.OIDAttributeSigningTime)
	if value == nil {
		return nil
	}
	if value.PeekASN1Tag(casn1.UTCTime) {
		value.ReadASN1UTCTime(&s.SigningTime)
	} else {
		value.ReadASN1GeneralizedTime(&s.SigningTime)
	}
	return nil
}

// Verify checks the signature over the content in the message.
func (s *Signed) Verify() error {
	if s.Content == nil {
		return ErrSignature
	}
	return s.verify(s.Content)
}

// VerifyDetached checks the signature over content. A message that brings content of its own must bring this one.
func (s *Signed) VerifyDetached(content []byte) error {
	if s.Content != nil && !bytes.Equal(s.Content, content) {
		return ErrSignature
	}
	return s.verify(content)
}

func (s *Signed) verify(content []byte) error {
	signed := content
	if s.attributes != nil {
		if !s.attributesMatch(content) {
			return ErrSignature
		}
		signed = s.attributes
	}
	h := s.Digest.New()
	h.Write(signed)
	sum := h.Sum(nil)
	switch key := s.Signer.PublicKey.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(key, s.Digest, sum, s.signature) == nil {
			return nil
		}
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, sum, s.signature) {
			return nil
		}
	}
	return ErrSignature
}

// attributesMatch checks what the signed attributes say of the content: its digest, and its type.
func (s *Signed) attributesMatch(content []byte) bool {
	var digest cryptobyte.String
	var kind asn1.ObjectIdentifier
	value := s.attribute(pkcs7.OIDAttributeMessageDigest)
	if value == nil || !value.ReadASN1(&digest, casn1.OCTET_STRING) {
		return false
	}
	value = s.attribute(pkcs7.OIDAttributeContentType)
	if value == nil || !value.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(s.contentType) {
		return false
	}
	h := s.Digest.New()
	h.Write(content)
	return subtle.ConstantTimeCompare(digest, h.Sum(nil)) == 1
}

// ParseCerts reads the certificates of a SignedData that has no signers.
func ParseCerts(ber []byte, l Limits) (certs []*x509.Certificate, err error) {
	defer contain(&err)
	der, err := ToDER(ber, l)
	if err != nil {
		return nil, err
	}
	p7, err := pkcs7.Parse(der)
	if err != nil {
		return nil, syntax("%v", err)
	}
	return p7.Certificates, nil
}

// CertsOnly writes certificates into a SignedData without signers.
func CertsOnly(certs []*x509.Certificate) ([]byte, error) {
	var raw []byte
	for _, c := range certs {
		raw = append(raw, c.Raw...)
	}
	return pkcs7.DegenerateCertificate(raw)
}
