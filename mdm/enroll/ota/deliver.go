package ota

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

// identify is the answer to step 2: what the device needs to get an identity for this session.
func (s *Service) identify(r *request, v *visit, next enroll.Session) error {
	challenge, err := scep.NewChallenge(r.ctx(), s.Ledger, scep.Challenge{Tenant: next.Tenant, Purpose: mdm.PurposeProfile,
		Device: next.ID, DeviceSerial: next.Device["SERIAL"], ExpiresAt: next.OpenUntil})
	if err != nil {
		return ours(err)
	}
	body, err := s.seal(r.ctx(), s.identityProfile(challenge))
	if err != nil {
		return err
	}
	if err := s.change(r, v.enter); err != nil {
		return err // another device was quicker; nobody has the challenge
	}
	r.body = body
	return nil
}

// identityProfile is the profile of step 2.
func (s *Service) identityProfile(challenge mdm.Secret) *profile.Profile {
	content := s.SCEP
	content.Challenge = challenge
	content.KeyType = new("RSA") // the last profile is encrypted to it
	content.KeyUsage = new(int64(profile.KeyUsageSigning | profile.KeyUsageEncryption))
	if content.Keysize == nil || *content.Keysize < profile.SCEPKeysize2048 {
		content.Keysize = new(profile.SCEPKeysize2048)
	}
	if content.KeyIsExtractable == nil {
		content.KeyIsExtractable = new(false)
	}
	identifier := s.Identifier + ".identity"
	return &profile.Profile{
		Identifier: identifier, UUID: uuid.NewString(), DisplayName: s.DisplayName, Description: s.Description, Organization: s.Organization,
		Payloads: []profile.Payload{&profile.SCEP{
			// A new UUID makes the device make a new key.
			Common:         profile.Common{PayloadIdentifier: identifier + ".scep", PayloadUUID: uuid.NewString()},
			PayloadContent: content,
		}},
	}
}

// deliver is the answer to step 3: the last profile, for the eyes of the device with that identity.
func (s *Service) deliver(r *request, v *visit, next enroll.Session, to *x509.Certificate) error {
	final, err := s.Final(r.ctx(), next)
	if err != nil {
		return ours(err)
	}
	if final == nil {
		return mdm.Errorf(mdm.Internal, "ota.Final", "no profile")
	}
	expires := final.ExpirationDate
	if !s.Unencrypted && len(final.EncryptedContent) == 0 {
		if final, err = final.Encrypt(to); err != nil {
			return ours(err)
		}
	}
	body, err := s.seal(r.ctx(), final)
	if err != nil {
		return err
	}
	if err := s.change(r, v.delivery(expires)); err != nil {
		return err
	}
	r.body = body
	return nil
}

// delivery is the change of a session whose profile is delivered.
func (v *visit) delivery(expires time.Time) func(*enroll.Session) error {
	return func(s *enroll.Session) error {
		if err := v.enter(s); err != nil {
			return err
		}
		v.deliver(s, expires)
		return nil
	}
}

// seal encodes and signs a profile.
func (s *Service) seal(ctx context.Context, p *profile.Profile) ([]byte, error) {
	body, err := p.Encode()
	if err != nil {
		return nil, ours(err)
	}
	signed, err := s.Signer.Sign(ctx, body)
	if err != nil {
		return nil, ours(err)
	}
	return signed, nil
}
