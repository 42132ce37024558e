package scep

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gomdm/applemdm/mdm"
)

// PKCS12 is an identity with its key, ready for a profile. Prefer SCEP: there the key never travels.
type PKCS12 struct {
	Content     []byte
	Password    mdm.Secret
	Certificate mdm.Certificate
}

// NewPKCS12 makes an RSA key of 2048 bits, has ca certify it for the device that r describes (r.Key is ignored), and
// records the certificate in store. Each call makes an identity of its own: two devices must never share one. The file
// is encrypted in the way that every Apple system reads, or, with modern, with AES-256, which those before iOS 15 and
// macOS 12 may not read.
func NewPKCS12(ctx context.Context, ca CA, store Store, r Request, modern bool) (*PKCS12, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("scep: pkcs12: %w", err)
	}
	if r.Purpose == 0 {
		r.Purpose = mdm.PurposeEnroll
	}
	r.Key = key.Public()
	now := time.Now()
	cert, err := issue(ctx, ca, store, r, [sha256.Size]byte{}, now)
	if err != nil {
		return nil, err
	}
	encoder := pkcs12.LegacyDES
	if modern {
		encoder = pkcs12.Modern
	}
	password := randomText()
	content, err := encoder.Encode(key, cert, ca.Chain(), password)
	if err != nil {
		return nil, fmt.Errorf("scep: pkcs12: %w", err)
	}
	record, err := store.Certificate(ctx, r.Tenant, mdm.FingerprintOf(cert))
	if err != nil {
		return nil, err
	}
	return &PKCS12{Content: content, Password: mdm.SecretString(password), Certificate: record}, nil
}
