package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Signed is a SignedData with exactly one signer whose certificate came with it. Nothing about it is trusted before
// Verify or VerifyDetached, and the chain of the certificate not even then.
type Signed struct {
	Content      []byte // nil if the message is detached
	Signer       *x509.Certificate
	Certificates []*x509.Certificate // all that came with it, the signer first
	SigningTime  time.Time           // what the signer said; zero if it did not. Information only: clocks are wrong
	Digest       crypto.Hash

	contentType asn1.ObjectIdentifier
	signedAttrs []byte // as DER SET, in the order sent; nil if there are none
	attributes  []attribute
	signature   []byte
}

// ParseSigned reads a SignedData, BER or DER, that l allows. The error is ErrNoSigner if there is not exactly one
// signer, or not exactly one certificate of its name, ErrAlgorithm, or one of ToDER.
func ParseSigned(ber []byte, l Limits) (*Signed, error) {
	data, err := readSignedData(ber, l)
	if err != nil {
		return nil, err
	}
	if len(data.signers) != 1 {
		return nil, fmt.Errorf("%w: %d signers", ErrNoSigner, len(data.signers))
	}
	info, err := readSignerInfo(data.signers[0])
	if err != nil {
		return nil, err
	}
	s := &Signed{Content: data.content, contentType: data.contentType, signedAttrs: info.attributes, signature: info.signature}
	if s.Certificates, err = signerFirst(data.certs, info.id); err != nil {
		return nil, err
	}
	s.Signer = s.Certificates[0]
	if s.Digest, err = hashOf(info.digest); err != nil {
		return nil, err
	}
	if !fits(info.algorithm, s.Signer.PublicKey, s.Digest) {
		return nil, fmt.Errorf("%w: signature %v with %v by a %T", ErrAlgorithm, info.algorithm, s.Digest, s.Signer.PublicKey)
	}
	if s.signedAttrs != nil {
		var ok bool
		if s.attributes, ok = readAttributes(s.signedAttrs); !ok {
			return nil, syntax("signed attributes")
		}
		s.SigningTime = signingTime(s.attributes)
	}
	return s, nil
}

// signedData is a SignedData in parts.
type signedData struct {
	contentType asn1.ObjectIdentifier
	content     []byte // nil if there is none
	certs       []*x509.Certificate
	signers     []cryptobyte.String
}

func readSignedData(ber []byte, l Limits) (*signedData, error) {
	message, err := ToDER(ber, l)
	if err != nil {
		return nil, err
	}
	body, err := readContentInfo(message, pkcs7.OIDSignedData)
	if err != nil {
		return nil, err
	}
	data := &signedData{}
	var encap, infos cryptobyte.String
	if !body.SkipASN1(casn1.INTEGER) || !body.SkipASN1(casn1.SET) || !body.ReadASN1(&encap, casn1.SEQUENCE) ||
		!encap.ReadASN1ObjectIdentifier(&data.contentType) || !body.SkipOptionalASN1(constructed0) ||
		!body.SkipOptionalASN1(constructed1) || !body.ReadASN1(&infos, casn1.SET) || !body.Empty() {
		return nil, syntax("not a SignedData")
	}
	if data.content, err = readContent(encap); err != nil {
		return nil, err
	}
	for !infos.Empty() {
		var info cryptobyte.String
		if !infos.ReadASN1(&info, casn1.SEQUENCE) {
			return nil, syntax("not a SignerInfo")
		}
		data.signers = append(data.signers, info)
	}
	data.certs, err = certificates(message)
	return data, err
}

// readContentInfo opens the outermost element, which must be of the wanted type.
func readContentInfo(message []byte, want asn1.ObjectIdentifier) (cryptobyte.String, error) {
	in := cryptobyte.String(message)
	var info, wrap, body cryptobyte.String
	var id asn1.ObjectIdentifier
	if !in.ReadASN1(&info, casn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&id) || !info.ReadASN1(&wrap, constructed0) ||
		!info.Empty() || !wrap.ReadASN1(&body, casn1.SEQUENCE) || !wrap.Empty() {
		return nil, syntax("not a ContentInfo")
	}
	if !id.Equal(want) {
		return nil, syntax("a message of type %s, not %s", typeName(id), typeName(want))
	}
	return body, nil
}

// typeName returns the name of a type of messages, or its number.
func typeName(id asn1.ObjectIdentifier) string {
	switch {
	case id.Equal(pkcs7.OIDData):
		return "Data"
	case id.Equal(pkcs7.OIDSignedData):
		return "SignedData"
	case id.Equal(pkcs7.OIDEnvelopedData):
		return "EnvelopedData"
	}
	return id.String()
}

// readContent reads the content that follows the content type. Some senders write an empty wrapper for none.
func readContent(encap cryptobyte.String) ([]byte, error) {
	var wrap, content cryptobyte.String
	var present bool
	if !encap.ReadOptionalASN1(&wrap, &present, constructed0) || !encap.Empty() {
		return nil, syntax("content")
	}
	if wrap.Empty() {
		return nil, nil
	}
	if !wrap.ReadASN1(&content, casn1.OCTET_STRING) || !wrap.Empty() {
		return nil, syntax("the content is not an OCTET STRING")
	}
	return content, nil
}

// certificates has the wrapped library read the certificates of a SignedData that is known to be well-formed. A panic
// of the library becomes an error: the last line behind the guard.
func certificates(message []byte) (certs []*x509.Certificate, err error) {
	defer func() {
		if recover() != nil {
			certs, err = nil, syntax("the parser broke")
		}
	}()
	p7, err := pkcs7.Parse(message)
	if err != nil {
		return nil, syntax("%v", err)
	}
	return p7.Certificates, nil
}

// signerInfo is a SignerInfo in parts.
type signerInfo struct {
	id                cryptobyte.String // IssuerAndSerialNumber or SubjectKeyIdentifier, with its tag
	digest, algorithm asn1.ObjectIdentifier
	attributes        []byte // as DER SET, nil if there are none
	signature         []byte
}

func readSignerInfo(in cryptobyte.String) (*signerInfo, error) {
	info := &signerInfo{}
	var tag casn1.Tag
	var attributes, signature, ignored cryptobyte.String
	if !in.SkipASN1(casn1.INTEGER) || !in.ReadAnyASN1Element(&info.id, &tag) || !readAlgorithm(&in, &info.digest, &ignored) {
		return nil, syntax("not a SignerInfo")
	}
	if in.PeekASN1Tag(constructed0) {
		if !in.ReadASN1Element(&attributes, constructed0) {
			return nil, syntax("signed attributes")
		}
		info.attributes = bytes.Clone(attributes)
		info.attributes[0] = byte(casn1.SET) // what is signed is the SET, not its implicit tag (RFC 5652, section 5.4)
	}
	if !readAlgorithm(&in, &info.algorithm, &ignored) || !in.ReadASN1(&signature, casn1.OCTET_STRING) ||
		!in.SkipOptionalASN1(constructed1) || !in.Empty() {
		return nil, syntax("not a SignerInfo")
	}
	info.signature = signature
	return info, nil
}

// signerFirst returns the certificates with the one that id names in front. Another one of that name is refused, since
// the message does not say which of the two signed; a copy of the same one is dropped.
func signerFirst(certs []*x509.Certificate, id cryptobyte.String) ([]*x509.Certificate, error) {
	var signer *x509.Certificate
	ordered := make([]*x509.Certificate, 1, len(certs)+1)
	for _, c := range certs {
		switch {
		case !names(id, c):
			ordered = append(ordered, c)
		case signer == nil:
			signer = c
		case !signer.Equal(c):
			return nil, fmt.Errorf("%w: two certificates of one name", ErrNoSigner)
		}
	}
	if signer == nil {
		return nil, fmt.Errorf("%w: its certificate is missing", ErrNoSigner)
	}
	ordered[0] = signer
	return ordered, nil
}

// names reports whether id, an IssuerAndSerialNumber or a SubjectKeyIdentifier, is that of cert.
func names(id cryptobyte.String, cert *x509.Certificate) bool {
	var name, issuer cryptobyte.String
	var tag casn1.Tag
	if id.PeekASN1Tag(primitive0) {
		return id.ReadASN1(&name, primitive0) && len(name) > 0 && bytes.Equal(name, cert.SubjectKeyId)
	}
	serial := new(big.Int)
	return id.ReadASN1(&name, casn1.SEQUENCE) && name.ReadAnyASN1Element(&issuer, &tag) && name.ReadASN1Integer(serial) &&
		name.Empty() && bytes.Equal(issuer, cert.RawIssuer) && serial.Cmp(cert.SerialNumber) == 0
}
