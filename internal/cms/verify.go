package cms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"encoding/asn1"
	"fmt"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxRSABits bounds the work that a stranger's key can ask for; it is the bound of crypto/tls as well.
const maxRSABits = 8192

// Verify checks the signature over the content in the message, not the chain of the certificate. The signing time is
// not judged. The error is ErrSignature, also if the message is detached.
func (s *Signed) Verify() error {
	if s.Content == nil {
		return unsigned("the content is not in the message")
	}
	return s.verify(s.Content)
}

// VerifyDetached checks the signature over content, as Verify does. A message that brings content of its own must bring
// this one. The error is ErrSignature.
func (s *Signed) VerifyDetached(content []byte) error {
	if s.Content != nil && !bytes.Equal(s.Content, content) {
		return unsigned("the message has other content")
	}
	return s.verify(content)
}

func unsigned(reason string) error { return fmt.Errorf("%w: %s", ErrSignature, reason) }

func (s *Signed) verify(content []byte) error {
	if s.signedAttrs == nil {
		return s.verifyPlain(content)
	}
	if err := s.matchAttributes(content); err != nil {
		return err
	}
	return s.verifyBytes(s.signedAttrs)
}

// verifyPlain verifies a signature over the content itself. It may only be data (RFC 5652, section 5.3), and no signed
// attributes: a signature over those, taken from another message, would verify here.
func (s *Signed) verifyPlain(content []byte) error {
	if !s.contentType.Equal(pkcs7.OIDData) {
		return unsigned("content that is not data needs signed attributes")
	}
	if list, ok := readAttributes(content); ok && single(list, pkcs7.OIDAttributeMessageDigest) != nil {
		return unsigned("the content is the signed attributes of a message")
	}
	return s.verifyBytes(content)
}

// matchAttributes checks what the signed attributes say of the content: its digest, and its type.
func (s *Signed) matchAttributes(content []byte) error {
	var digest cryptobyte.String
	var kind asn1.ObjectIdentifier
	value := single(s.attributes, pkcs7.OIDAttributeContentType)
	if !value.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(s.contentType) {
		return unsigned("the signed attributes are of another content type")
	}
	value = single(s.attributes, pkcs7.OIDAttributeMessageDigest)
	if !value.ReadASN1(&digest, casn1.OCTET_STRING) || subtle.ConstantTimeCompare(digest, s.sum(content)) != 1 {
		return unsigned("the signed attributes are of other content")
	}
	return nil
}

// verifyBytes verifies the signature over what was signed.
func (s *Signed) verifyBytes(signed []byte) error {
	ok := false
	switch key := s.Signer.PublicKey.(type) {
	case *rsa.PublicKey:
		ok = key.N.BitLen() <= maxRSABits && rsa.VerifyPKCS1v15(key, s.Digest, s.sum(signed), s.signature) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(key, s.sum(signed), s.signature)
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

func (s *Signed) sum(data []byte) []byte {
	h := s.Digest.New()
	h.Write(data)
	return h.Sum(nil)
}
