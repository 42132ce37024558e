package ade

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

// enroll answers a POST. Nothing is written before all is ready to be sent, so a request that fails can be repeated.
func (s *Service) enroll(r *request) error {
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.r.Body, enroll.MaxMessage))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return mdm.Errorf(mdm.TooLarge, opEnroll, "%w", err)
	case err != nil:
		return mdm.Errorf(mdm.Malformed, opEnroll, "body: %w", err)
	}
	if err := s.introduce(r, body); err != nil || r.said() {
		return err
	}
	if err := s.authenticate(r); err != nil || r.said() {
		return err
	}
	signed, err := s.profile(r.ctx(), r.session)
	if err != nil {
		return err
	}
	r.session.State, r.session.DeliveredAt = enroll.SessionDelivered, s.now()
	if err := s.Sessions.CreateEnrollmentSession(r.ctx(), r.session); err != nil {
		if r.once && mdm.CodeOf(err) == mdm.Malformed { // it can be kept, so there is one: the nonce was used meanwhile
			return s.askAgain(r)
		}
		return ours(err)
	}
	r.hand(signed)
	return nil
}

// introduce learns from a signed message which device it is, and whether it may enroll now: if not, the error or the answer
// of r says so.
func (s *Service) introduce(r *request, message []byte) error {
	m, err := enroll.ParseMessage(message)
	if err != nil {
		return err
	}
	if err := s.Devices.Verify(m.Signer); err != nil {
		if s.Stranger == nil {
			return err
		}
		if err := s.Stranger(r.ctx(), m.Signer); err != nil {
			return ours(err)
		}
	}
	info, err := readInfo(m.Content)
	if err != nil {
		return err
	}
	now := s.now()
	r.session = enroll.Session{ID: enroll.NewSessionID(Kind), Kind: Kind, Tenant: s.tenant(r.r), State: enroll.SessionIdentified,
		Device: facts(info), BuiltIn: mdm.FingerprintOf(m.Signer), Runs: 1, BegunAt: now, OpenUntil: now.Add(s.lifetime()),
		KeepUntil: now.Add(2 * s.lifetime())} // a nonce is no older than its session is kept
	if _, err := r.session.Prepared(); err != nil {
		return err // what the device says is more than stores keep: said here, it is not taken for our own mistake
	}
	if err := s.admit(r); err != nil {
		return err
	}
	return s.demand(r, info)
}

func (s *Service) admit(r *request) error {
	if s.Admit == nil {
		return nil
	}
	return ours(s.Admit(r.ctx(), r.session))
}

// profile makes the enrollment profile for a session, signed.
func (s *Service) profile(ctx context.Context, session enroll.Session) ([]byte, error) {
	final, err := s.Final(ctx, session)
	if err != nil {
		return nil, ours(err)
	}
	if final == nil {
		return nil, mdm.Errorf(mdm.Internal, "ade.Final", "no profile")
	}
	body, err := final.Encode()
	if err != nil {
		return nil, ours(err)
	}
	signed, err := s.Signer.Sign(ctx, body)
	return signed, ours(err)
}

// hand makes a profile the answer.
func (r *request) hand(signed []byte) {
	r.reply = reply{status: http.StatusOK, contentType: profile.ContentType, body: signed}
}
