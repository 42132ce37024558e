package cms

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ciphers are the content encryption algorithms that Decrypt reads.
var ciphers = []struct {
	id      asn1.ObjectIdentifier
	keySize int
	block   func(key []byte) (cipher.Block, error)
}{
	{pkcs7.OIDEncryptionAlgorithmAES128CBC, 16, aes.NewCipher},
	{oidAES192CBC, 24, aes.NewCipher},
	{pkcs7.OIDEncryptionAlgorithmAES256CBC, 32, aes.NewCipher},
	{pkcs7.OIDEncryptionAlgorithmDESEDE3CBC, 24, des.NewTripleDESCipher},
}

// Decrypt opens an EnvelopedData, BER or DER, that is for cert, with its RSA key, a crypto.Decrypter: AES-CBC with any
// key size, or 3DES-CBC from old clients.
//
// The error is one of ToDER or ErrAlgorithm for what anybody can see in the message, and plain ErrDecrypt for everything
// that depends on the key, so that it tells an attacker nothing: a wrong key transport, too, shows only as bad padding.
// Nothing authenticates the content. A damaged message may decrypt to garbage; only a signature tells.
func Decrypt(ber []byte, cert *x509.Certificate, key crypto.PrivateKey, l Limits) ([]byte, error) {
	message, err := ToDER(ber, l)
	if err != nil {
		return nil, err
	}
	e, err := readEnveloped(message)
	if err != nil {
		return nil, err
	}
	wrapped, err := e.keyFor(cert)
	if err != nil {
		return nil, err
	}
	decrypter, ok := key.(crypto.Decrypter)
	if !ok {
		return nil, fmt.Errorf("%w: cannot decrypt with a %T", ErrAlgorithm, key)
	}
	if _, ok := decrypter.Public().(*rsa.PublicKey); !ok {
		return nil, fmt.Errorf("%w: cannot decrypt with a %T", ErrAlgorithm, key)
	}
	return e.open(wrapped, decrypter)
}

// enveloped is an EnvelopedData in parts.
type enveloped struct {
	recipients cryptobyte.String
	algorithm  asn1.ObjectIdentifier
	iv         []byte
	sealed     []byte
}

func readEnveloped(message []byte) (*enveloped, error) {
	body, err := readContentInfo(message, pkcs7.OIDEnvelopedData)
	if err != nil {
		return nil, err
	}
	e := &enveloped{}
	var info, parameters, iv cryptobyte.String
	if !body.SkipASN1(casn1.INTEGER) || !body.SkipOptionalASN1(constructed0) || !body.ReadASN1(&e.recipients, casn1.SET) ||
		!body.ReadASN1(&info, casn1.SEQUENCE) || !body.SkipOptionalASN1(constructed1) || !body.Empty() ||
		!info.SkipASN1(casn1.OBJECT_IDENTIFIER) || !readAlgorithm(&info, &e.algorithm, &parameters) {
		return nil, syntax("not an EnvelopedData")
	}
	if parameters.ReadASN1(&iv, casn1.OCTET_STRING) { // other algorithms have other parameters
		e.iv = iv
	}
	e.sealed, err = readSealed(info)
	return e, err
}

// readSealed reads the encrypted content: an OCTET STRING with an implicit tag, in one piece or, from those who stream,
// in several.
func readSealed(in cryptobyte.String) ([]byte, error) {
	var sealed, pieces, piece cryptobyte.String
	switch {
	case in.PeekASN1Tag(primitive0):
		if !in.ReadASN1(&sealed, primitive0) {
			return nil, syntax("encrypted content")
		}
	case !in.ReadASN1(&pieces, constructed0):
		return nil, syntax("no encrypted content")
	}
	for !pieces.Empty() {
		if !pieces.ReadASN1(&piece, casn1.OCTET_STRING) {
			return nil, syntax("encrypted content")
		}
		sealed = append(sealed, piece...)
	}
	if !in.Empty() {
		return nil, syntax("encrypted content")
	}
	return sealed, nil
}

// keyFor returns the encrypted key for cert. Recipients of other kinds than key transport are passed over.
func (e *enveloped) keyFor(cert *x509.Certificate) ([]byte, error) {
	for in := e.recipients; !in.Empty(); {
		var info, id, wrapped, ignored cryptobyte.String
		var tag casn1.Tag
		var transport asn1.ObjectIdentifier
		if !in.ReadAnyASN1(&info, &tag) {
			return nil, syntax("recipients")
		}
		if tag != casn1.SEQUENCE {
			continue
		}
		if !info.SkipASN1(casn1.INTEGER) || !info.ReadAnyASN1Element(&id, &tag) ||
			!readAlgorithm(&info, &transport, &ignored) || !info.ReadASN1(&wrapped, casn1.OCTET_STRING) || !info.Empty() {
			return nil, syntax("not a recipient")
		}
		if !names(id, cert) {
			continue
		}
		if !transport.Equal(oidRSA) {
			return nil, fmt.Errorf("%w: key transport %v", ErrAlgorithm, transport)
		}
		return wrapped, nil
	}
	return nil, fmt.Errorf("%w: the message is for others", ErrDecrypt)
}

// open decrypts the content. All its failures that depend on the key look the same.
func (e *enveloped) open(wrapped []byte, decrypter crypto.Decrypter) ([]byte, error) {
	for _, c := range ciphers {
		if !c.id.Equal(e.algorithm) {
			continue
		}
		// With a length, a bad encryption yields a random key instead of an error (RFC 3218, section 2.3).
		//lint:ignore SA1019 there is no other key transport in what devices send: RFC 8894 is built on it
		key, err := decrypter.Decrypt(rand.Reader, wrapped, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: c.keySize})
		if err != nil || len(key) != c.keySize {
			return nil, ErrDecrypt
		}
		block, err := c.block(key)
		if err != nil {
			return nil, ErrDecrypt
		}
		return openCBC(block, e.iv, e.sealed)
	}
	return nil, fmt.Errorf("%w: content encryption %v", ErrAlgorithm, e.algorithm)
}

func openCBC(block cipher.Block, iv, sealed []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(iv) != size || len(sealed) == 0 || len(sealed)%size != 0 {
		return nil, ErrDecrypt
	}
	content := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(content, sealed)
	pad := int(content[len(content)-1])
	good := subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, size)
	for i := range size { // the last block, whatever the padding says, so that time does not tell
		inPadding := subtle.ConstantTimeLessOrEq(i+1, pad)
		same := subtle.ConstantTimeByteEq(content[len(content)-1-i], byte(pad))
		good &= same | (1 - inPadding)
	}
	if good != 1 {
		return nil, ErrDecrypt
	}
	return content[:len(content)-pad], nil
}
