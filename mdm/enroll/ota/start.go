package ota

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/url"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

// start is step 1.
func (s *Service) start(r *request) error {
	user, ok := s.Login(r.w, r.r)
	if !ok {
		r.answered = true
		return nil
	}
	challenge, now := newChallenge(), s.now()
	session := enroll.Session{
		ID: enroll.NewSessionID(Kind), Kind: Kind, Tenant: s.tenant(r.r), User: user, State: enroll.SessionOpen, BegunAt: now,
		Secret: sha256.Sum256(challenge.Reveal()),
	}
	s.rules().open(&session, now)
	r.session = session
	body, err := s.serviceProfile(session.ID, challenge)
	if err != nil {
		return err
	}
	signed, err := s.Signer.Sign(r.ctx(), body)
	if err != nil {
		return ours(err)
	}
	if err := s.Sessions.CreateEnrollmentSession(r.ctx(), session); err != nil {
		return ours(err)
	}
	r.body = signed
	return nil
}

// serviceProfile writes the profile of step 1. Its content is a dictionary, not an array.
func (s *Service) serviceProfile(session string, challenge mdm.Secret) ([]byte, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, mdm.Errorf(mdm.Internal, "ota.Start", "URL: %w", err)
	}
	query := u.Query()
	query.Set(sessionKey, session)
	u.RawQuery = query.Encode()
	var names []any
	for _, name := range s.attributes() {
		names = append(names, name)
	}
	top := map[string]any{
		"PayloadType":       "Profile Service",
		"PayloadVersion":    int64(1),
		"PayloadIdentifier": s.Identifier,
		"PayloadUUID":       profile.UUID(s.Identifier + "." + session),
		"PayloadContent":    map[string]any{"URL": u.String(), "DeviceAttributes": names, "Challenge": string(challenge.Reveal())},
	}
	for key, text := range map[string]string{
		"PayloadDisplayName": s.DisplayName, "PayloadDescription": s.Description, "PayloadOrganization": s.Organization,
	} {
		if text != "" {
			top[key] = text
		}
	}
	body, err := plistx.MarshalIndent(top)
	if err != nil {
		return nil, mdm.Errorf(mdm.Internal, "ota.Start", "%w", err)
	}
	return body, nil
}

// newChallenge returns 192 random bits in letters, digits, - and _.
func newChallenge() mdm.Secret {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return mdm.SecretString(base64.RawURLEncoding.EncodeToString(b))
}
