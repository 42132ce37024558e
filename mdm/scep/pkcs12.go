package scep

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gomdm/applemdm/mdm"
)

// PKCS12 is an identity with its key, ready for a profile. Prefer SCEP: there the key never travels.
type PKCS12 struct {
	Content     []byte
	Password    mdm.Secret
	Certificate mdm.Certificate // as it was issued
}

// Encryption says how a PKCS#12 file is encrypted. It matters little for its safety: the password is random and long, and
// travels beside the file, so whoever can read the profile has the key.
type Encryption uint8

// The encryptions. Devices before iOS 15 and macOS 12 may not read the modern one, so the legacy one is the default.
const (
	EncryptionLegacy Encryption = iota // 3DES with SHA-1: every Apple system reads it; OpenSSL 3 wants -legacy
	EncryptionModern                   // AES-256 with PBES2 and SHA-256
)

func (e Encryption) encoder() (*pkcs12.Encoder, error) {
	switch e {
	case EncryptionLegacy:
		return pkcs12.LegacyDES, nil
	case EncryptionModern:
		return pkcs12.Modern2023, nil
	}
	return nil, mdm.Errorf(mdm.Malformed, "scep.NewPKCS12", "encryption %d is unknown", e)
}

// Vault keeps secrets sealed, under a name. A storage.Vault is one.
type Vault interface {
	// PutSecret stores a secret in place of a former one of that name. A zero Secret deletes it.
	PutSecret(ctx context.Context, name string, s mdm.Secret) error
	// Secret returns a zero Secret and no error if there is none.
	Secret(ctx context.Context, name string) (mdm.Secret, error)
}

// PKCS12Options are what can be chosen about a PKCS#12 file.
type PKCS12Options struct {
	Encryption Encryption
	// Keep is where the file and its password are kept, for [KeptPKCS12], until [ForgetPKCS12]. Nil, the default, keeps
	// nothing: the key is in what NewPKCS12 returns and nowhere else. A server that can make a new identity needs no old key.
	Keep Vault
}

// NewPKCS12 makes an RSA key of 2048 bits, has ca certify it for the device that r describes (r.Key and r.CSR are
// ignored), and records the certificate in store. Each call makes an identity of its own: two devices must never share
// one. The error is Malformed if r is a renewal that names no device.
func NewPKCS12(ctx context.Context, ca CA, store Store, r Request, o PKCS12Options) (*PKCS12, error) {
	encoder, err := o.Encryption.encoder()
	if err != nil {
		return nil, err
	}
	if r.Purpose == 0 {
		r.Purpose = mdm.PurposeEnroll
	}
	if r.Purpose == mdm.PurposeRenew && r.Device == "" {
		return nil, mdm.Errorf(mdm.Malformed, "scep.NewPKCS12", "a renewal must name its device")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("scep: pkcs12: %w", err)
	}
	r.Key, r.CSR = key.Public(), nil
	cert, err := issue(ctx, ca, store, r, [sha256.Size]byte{}, time.Now())
	if err != nil {
		return nil, err
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
	p := &PKCS12{Content: content, Password: mdm.SecretString(password), Certificate: record}
	if o.Keep != nil {
		if err := p.keep(ctx, o.Keep); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// kept is the form of a PKCS12 in a vault.
type kept struct {
	Content     []byte          `json:"content"`
	Password    []byte          `json:"password"`
	Certificate mdm.Certificate `json:"certificate"`
}

func (p *PKCS12) keep(ctx context.Context, v Vault) error {
	text, err := json.Marshal(kept{p.Content, p.Password.Reveal(), p.Certificate})
	if err == nil {
		err = v.PutSecret(ctx, keptName(p.Certificate.Fingerprint), mdm.NewSecret(text))
	}
	if err != nil {
		return fmt.Errorf("scep: pkcs12 not kept: %w", err)
	}
	return nil
}

func keptName(fp mdm.Fingerprint) string { return "pkcs12/" + fp.String() }

// KeptPKCS12 returns a file that NewPKCS12 was asked to keep, by the fingerprint of its certificate. The error is NotFound
// if there is none, or if it is another tenant's.
func KeptPKCS12(ctx context.Context, v Vault, tenant string, fp mdm.Fingerprint) (*PKCS12, error) {
	const op = "scep.KeptPKCS12"
	secret, err := v.Secret(ctx, keptName(fp))
	if err != nil {
		return nil, fmt.Errorf("scep: kept pkcs12: %w", err)
	}
	if secret.IsZero() {
		return nil, mdm.Errorf(mdm.NotFound, op, "no file is kept for certificate %s", fp)
	}
	var k kept
	if json.Unmarshal(secret.Reveal(), &k) != nil || len(k.Content) == 0 { // the cause may quote the key
		return nil, mdm.Errorf(mdm.Internal, op, "what is kept for certificate %s is no PKCS#12 file", fp)
	}
	if k.Certificate.Tenant != tenant {
		return nil, mdm.Errorf(mdm.NotFound, op, "no file is kept for certificate %s", fp)
	}
	return &PKCS12{Content: k.Content, Password: mdm.NewSecret(k.Password), Certificate: k.Certificate}, nil
}

// ForgetPKCS12 deletes a file that NewPKCS12 was asked to keep, as when its certificate is retired. One that is not there, or
// is another tenant's, is no error and stays as it is.
func ForgetPKCS12(ctx context.Context, v Vault, tenant string, fp mdm.Fingerprint) error {
	_, err := KeptPKCS12(ctx, v, tenant, fp)
	switch {
	case err != nil && mdm.CodeOf(err) == mdm.NotFound:
		return nil
	case err != nil:
		return err
	}
	if err := v.PutSecret(ctx, keptName(fp), mdm.Secret{}); err != nil {
		return fmt.Errorf("scep: forget pkcs12: %w", err)
	}
	return nil
}
