package profile

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Encrypt returns p with its payloads readable by the recipients only: the array PayloadContent as a property list of its
// own, in a CMS EnvelopedData (AES-256-CBC), becomes EncryptedPayloadContent. What Encode makes of the result may be signed,
// not what is inside.
//
// The header stays readable by all: names, texts, scope, Extra. A device reads the profile if it has the identity of a
// recipient already, as that of its enrollment. A recipient needs an RSA key and, if its certificate limits the use of it,
// key encipherment; an elliptic curve will not do. Whether a certificate has expired is not asked: the device has the
// key all the same, and a profile that renews its identity must reach it.
//
// Each call encrypts under a fresh key, so that the result is another one each time. The error is a Malformed one: that of
// [Profile.Encode], no recipient or an unfit one, or a profile that is encrypted already.
func (p *Profile) Encrypt(recipients ...*x509.Certificate) (*Profile, error) {
	const op = "profile.Encrypt"
	if len(p.EncryptedContent) > 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "the profile is encrypted already")
	}
	if err := checkRecipients(recipients); err != nil {
		return nil, malformed(op, err)
	}
	top, err := p.encode()
	if err != nil {
		return nil, malformed(op, err)
	}
	plain, err := plistx.MarshalIndent(top["PayloadContent"])
	if err != nil {
		return nil, malformed(op, err)
	}
	sealed := p.header()
	if sealed.EncryptedContent, err = cms.Encrypt(plain, recipients); err != nil {
		return nil, malformed(op, err)
	}
	return sealed, nil
}

func checkRecipients(recipients []*x509.Certificate) error {
	if len(recipients) == 0 {
		return errors.New("there is no recipient")
	}
	for i, r := range recipients {
		if r == nil {
			return fmt.Errorf("recipient %d is nil", i)
		}
		if _, ok := r.PublicKey.(*rsa.PublicKey); !ok {
			return fmt.Errorf("recipient %d has a %T; only RSA keys can be encrypted to", i, r.PublicKey)
		}
		if r.KeyUsage != 0 && r.KeyUsage&x509.KeyUsageKeyEncipherment == 0 {
			return fmt.Errorf("recipient %d has a certificate that does not allow key encipherment", i)
		}
	}
	return nil
}

// errSealed is all that is said of content that cannot be opened with the key.
var errSealed = errors.New("cannot decrypt the content with this key")

// Decrypt returns p with the payloads that were encrypted to cert, whose key is a [crypto.Decrypter]: what [Profile.Encrypt]
// made, or others, with AES or Triple DES. Payloads without identifier or UUID stay so, but no two may have the same.
//
// The error is a Malformed one, and an Internal one if cert and key do not belong together. If the content cannot be
// opened it says no more, so that it tells nothing to somebody who sends damaged content. Nothing authenticates
// encrypted content: only a signature around it does.
func (p *Profile) Decrypt(cert *x509.Certificate, key crypto.PrivateKey) (*Profile, error) {
	const op = "profile.Decrypt"
	if len(p.EncryptedContent) == 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "the profile is not encrypted")
	}
	if cert == nil || !belongs(key, cert) {
		return nil, mdm.Errorf(mdm.Internal, op, "the key is not that of the certificate")
	}
	content, err := p.open(cert, key)
	if err != nil {
		return nil, malformed(op, err)
	}
	open := p.header()
	if open.Payloads, err = decodePayloads(content); err == nil {
		_, err = open.content()
	}
	if err != nil {
		return nil, malformed(op, err)
	}
	return open, nil
}

// open decrypts the array of payloads. With a wrong key or damaged content, what comes out of the cipher is noise, which by
// chance may look well padded: it fails in the property list then, and must not look different.
func (p *Profile) open(cert *x509.Certificate, key crypto.PrivateKey) ([]any, error) {
	plain, err := cms.Decrypt(p.EncryptedContent, cert, key, cms.Limits{Bytes: MaxSize})
	if errors.Is(err, cms.ErrDecrypt) {
		return nil, errSealed
	}
	if err != nil {
		return nil, err // what anybody can see in the message
	}
	var content any
	if plistx.UnmarshalLimits(plain, &content, plistx.Limits{Bytes: MaxSize}) != nil {
		return nil, errSealed
	}
	list, ok := content.([]any)
	if !ok {
		return nil, errors.New("the encrypted content is no array")
	}
	return list, checkPaths(list, 0)
}

// belongs reports whether cert is one of the public key of key.
func belongs(key crypto.PrivateKey, cert *x509.Certificate) bool {
	private, ok := key.(interface{ Public() crypto.PublicKey })
	if !ok {
		return false
	}
	public, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}
