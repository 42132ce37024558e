package cms

import (
	"crypto"
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

var errDecrypt = errors.New("cms: cannot decrypt")

// Encrypt puts content into an EnvelopedData for recipients with RSA keys: AES-256-CBC under a fresh key. The wrapped
// library's choice of cipher is one variable for the whole process, so the message is written here.
func Encrypt(content []byte, recipients []*x509.Certificate) ([]byte, error) {
	secret := make([]byte, 32+aes.BlockSize)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	key, iv := secret[:32], secret[32:]
	w := writer{}
	var infos []byte
	for _, r := range recipients {
		pub, ok := r.PublicKey.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("cms: a recipient has a %T, not an RSA key", r.PublicKey)
		}
		//lint:ignore SA1019 devices read no other key transport: RFC 8894 and Apple's profile encryption are built on it
		wrapped, err := rsa.EncryptPKCS1v15(rand.Reader, pub, key) //nolint:staticcheck // as above
		if err != nil {
			return nil, fmt.Errorf("cms: encrypt: %w", err)
		}
		infos = append(infos, w.der(casn1.SEQUENCE, []byte{2, 1, 0}, w.der(casn1.SEQUENCE, r.RawIssuer, integer(r)),
			w.der(casn1.SEQUENCE, oid(oidRSA), []byte{5, 0}), w.der(casn1.OCTET_STRING, wrapped))...)
	}
	if infos == nil {
		return nil, errors.New("cms: nobody to encrypt to")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cms: encrypt: %w", err)
	}
	pad := aes.BlockSize - len(content)%aes.BlockSize
	sealed := make([]byte, len(content)+pad)
	copy(sealed, content)
	for i := len(content); i < len(sealed); i++ {
		sealed[i] = byte(pad)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
	encrypted := w.der(casn1.SEQUENCE, oid(pkcs7.OIDData),
		w.der(casn1.SEQUENCE, oid(pkcs7.OIDEncryptionAlgorithmAES256CBC), w.der(casn1.OCTET_STRING, iv)), w.der(0x80, sealed))
	enveloped := w.der(casn1.SEQUENCE, []byte{2, 1, 0}, w.der(casn1.SET, infos), encrypted)
	return w.der(casn1.SEQUENCE, oid(pkcs7.OIDEnvelopedData), w.der(0xa0, enveloped)), nil
}

// Decrypt opens an EnvelopedData, BER or DER, that is for cert, with its key. All failures past the parsing are one
// error, so that they tell an attacker nothing.
func Decrypt(ber []byte, cert *x509.Certificate, key crypto.PrivateKey, l Limits) (content []byte, err error) {
	defer contain(&err)
	der, err := ToDER(ber, l)
	if err != nil {
		return nil, err
	}
	p7, err := pkcs7.Parse(der)
	if err != nil {
		return nil, syntax("%v", err)
	}
	content, err = p7.Decrypt(cert, key)
	if err != nil {
		return nil, errDecrypt
	}
	return content, nil
}
