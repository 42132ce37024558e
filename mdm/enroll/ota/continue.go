package ota

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/identity"
)

// sessionKey is the parameter of URL that names the session.
const sessionKey = "session"

// maxSession is the longest ID of a session, in bytes; ours have 36.
const maxSession = 64

// proceed is steps 2 and 3. Nothing is written before all is ready to be sent, so a request that fails can be repeated.
func (s *Service) proceed(r *request) error {
	id := r.r.URL.Query().Get(sessionKey)
	if !strings.HasPrefix(id, Kind+"-") || len(id) > maxSession {
		return refuse("no session")
	}
	r.session = enroll.Session{ID: id, Tenant: s.tenant(r.r)}
	message, err := readMessage(r)
	if err != nil {
		return err
	}
	v := &visit{rules: s.rules(), signer: mdm.FingerprintOf(message.Signer), at: s.now()}
	if err := s.judge(r, v, message); err != nil {
		return err
	}
	if v.attributes, v.secret, err = readAttributes(message.Content, s.attributes()); err != nil {
		return err
	}
	session, err := s.load(r)
	if err != nil {
		return err
	}
	if err := v.belongs(&session); err != nil {
		return err
	}
	r.session, r.returning = session, !session.DeliveredAt.IsZero()
	next := session
	if err := v.enter(&next); err != nil {
		return err
	}
	if _, err := next.Prepared(); err != nil {
		return err // what the device says is more than stores keep: said here, it is not taken for our own mistake
	}
	if s.Admit != nil {
		if err := s.Admit(r.ctx(), next); err != nil {
			return ours(err)
		}
	}
	if v.builtIn {
		return s.identify(r, v, next)
	}
	return s.deliver(r, v, next, message.Signer)
}

func readMessage(r *request) (*enroll.Message, error) {
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.r.Body, enroll.MaxMessage))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, mdm.Errorf(mdm.TooLarge, "ota.Continue", "%w", err)
	case err != nil:
		return nil, mdm.Errorf(mdm.Malformed, "ota.Continue", "body: %w", err)
	}
	return enroll.ParseMessage(body)
}

// judge tells by the signer which step it is. Who is neither a device of Apple's nor one with an identity of this session is
// refused.
func (s *Service) judge(r *request, v *visit, m *enroll.Message) error {
	if s.Devices.Verify(m.Signer) == nil {
		v.builtIn = true
		return nil
	}
	named := mdm.EnrollmentID{Tenant: r.session.Tenant, Device: r.session.ID}
	claim := identity.Claim{ID: named, At: v.at, Certificate: m.Signer, Fingerprint: v.signer}
	err := s.Validator.Validate(r.ctx(), identity.Presented{Leaf: m.Signer, Intermediates: m.Intermediates, Via: "ota"}, claim)
	switch {
	case err == nil:
	case errors.Is(err, identity.ErrExpired):
		v.expired = true
	case errors.Is(err, identity.ErrForeign) && s.Stranger != nil:
		v.builtIn = true
		return s.stranger(r.ctx(), m.Signer)
	default:
		return ours(err)
	}
	return s.issuedFor(r, v.signer)
}

func (s *Service) stranger(ctx context.Context, signer *x509.Certificate) error {
	if err := s.Stranger(ctx, signer); err != nil {
		return ours(err)
	}
	return nil
}

// issuedFor checks that we issued a certificate in step 2 of this session. An identity of MDM is of our CA, too.
func (s *Service) issuedFor(r *request, fp mdm.Fingerprint) error {
	record, err := s.Ledger.Certificate(r.ctx(), r.session.Tenant, fp)
	switch {
	case err != nil && mdm.CodeOf(err) == mdm.NotFound:
		return refuse("the certificate is not in the ledger")
	case err != nil:
		return ours(err)
	case record.Purpose != mdm.PurposeProfile || record.Device != r.session.ID || record.Tenant != r.session.Tenant:
		return refuse("the certificate was not issued for this session")
	case record.Status != mdm.CertificateIssued:
		return refuse("the certificate is %s", record.Status)
	}
	return nil
}

// load returns a session of ours and of this tenant.
func (s *Service) load(r *request) (enroll.Session, error) {
	session, err := s.Sessions.EnrollmentSession(r.ctx(), r.session.ID)
	switch {
	case err != nil && mdm.CodeOf(err) == mdm.NotFound:
		return enroll.Session{}, refuse("no such session")
	case err != nil:
		return enroll.Session{}, ours(err)
	case session.Kind != Kind || session.Tenant != r.session.Tenant:
		return enroll.Session{}, refuse("no session of this tenant")
	}
	return session, nil
}

// change writes what becomes of a session, if it is still so that it may.
func (s *Service) change(r *request, change func(*enroll.Session) error) error {
	session, err := s.Sessions.ChangeEnrollmentSession(r.ctx(), r.session.ID, change)
	if err != nil {
		return ours(err)
	}
	r.session = session
	return nil
}
