package profile

import (
	"crypto"
	"crypto/x509"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Encrypt returns p with its payloads readable by the recipients only, who have RSA certificates that allow key
// encipherment. Its header stays readable. Sign what Encode makes of it, not what is inside.
func (p *Profile) Encrypt(recipients ...*x509.Certificate) (*Profile, error) {
	const op = "profile.Encrypt"
	if len(recipients) == 0 || len(p.EncryptedContent) > 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "needs recipients, and a profile that is not encrypted yet")
	}
	content, err := p.encodePayloads()
	if err != nil {
		return nil, err
	}
	plain, err := plistx.MarshalIndent(content)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	sealed := *p
	sealed.Payloads = nil
	if sealed.EncryptedContent, err = cms.Encrypt(plain, recipients); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return &sealed, nil
}

// Decrypt returns p with the payloads that were encrypted to cert, whose key is a [crypto.Decrypter]. The error is a
// Malformed one.
func (p *Profile) Decrypt(cert *x509.Certificate, key crypto.PrivateKey) (*Profile, error) {
	const op = "profile.Decrypt"
	plain, err := cms.Decrypt(p.EncryptedContent, cert, key, cms.Limits{Bytes: MaxSize})
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	var content []any
	if err := plistx.UnmarshalLimits(plain, &content, plistx.Limits{Bytes: MaxSize}); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	open := *p
	open.EncryptedContent = nil
	if open.Payloads, err = decodePayloads(content); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return &open, nil
}
