package cms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"go.mozilla.org/pkcs7"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Encrypt puts content into an EnvelopedData for recipients with RSA keys: AES-256-CBC under a fresh key, which goes to
// each recipient with PKCS #1 v1.5. The error is ErrAlgorithm for a recipient whose key is not RSA. The wrapped library
// keeps its choice of cipher in one variable for the whole process, so the message is written here.
func Encrypt(content []byte, recipients []*x509.Certificate) ([]byte, error) {
	if len(recipients) == 0 {
		return nil, errors.New("cms: nobody to encrypt to")
	}
	secret := make([]byte, 32+aes.BlockSize)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	key, iv := secret[:32], secret[32:]
	var infos []byte
	for _, r := range recipients {
		info, err := recipientInfo(r, key)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info...)
	}
	sealed, err := sealCBC(content, key, iv)
	if err != nil {
		return nil, err
	}
	encrypted := der(casn1.SEQUENCE, oid(pkcs7.OIDData),
		algorithm(pkcs7.OIDEncryptionAlgorithmAES256CBC, der(casn1.OCTET_STRING, iv)), der(primitive0, sealed))
	enveloped := der(casn1.SEQUENCE, number(0), der(casn1.SET, infos), encrypted)
	return der(casn1.SEQUENCE, oid(pkcs7.OIDEnvelopedData), der(constructed0, enveloped)), nil
}

// recipientInfo writes a KeyTransRecipientInfo.
func recipientInfo(cert *x509.Certificate, key []byte) ([]byte, error) {
	pub, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: a recipient has a %T, not an RSA key", ErrAlgorithm, cert.PublicKey)
	}
	//lint:ignore SA1019 devices read no other key transport: RFC 8894 and Apple's profile encryption are built on it
	wrapped, err := rsa.EncryptPKCS1v15(rand.Reader, pub, key)
	if err != nil {
		return nil, fmt.Errorf("cms: encrypt: %w", err)
	}
	return der(casn1.SEQUENCE, number(0), issuerAndSerial(cert), algorithm(oidRSA, null()), der(casn1.OCTET_STRING, wrapped)), nil
}

// sealCBC pads content (RFC 5652, section 6.3) and encrypts it with AES.
func sealCBC(content, key, iv []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cms: encrypt: %w", err)
	}
	pad := aes.BlockSize - len(content)%aes.BlockSize
	sealed := make([]byte, 0, len(content)+pad)
	sealed = append(sealed, content...)
	sealed = append(sealed, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
	return sealed, nil
}
