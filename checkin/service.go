package checkin

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// Service is the check-in half of the protocol. Store is required; every hook has a default that keeps devices managed.
// It is safe for concurrent use once its fields are set.
type Service struct {
	Store    Store
	Escrow   Escrow          // nil: GetBootstrapToken finds none
	Identity identity.Policy // who may speak for an enrollment

	// Classify tells renewals from new enrollments; nil: [Classify].
	Classify Classifier
	// Topics says whether a push topic is ours. A device with another one cannot be woken, so its Authenticate is
	// refused. Nil: every topic is.
	Topics func(topic string) bool
	// Rights says which access rights the MDM profile holds with which a device enrolled or renewed: no message tells. It is
	// asked when the profile is in place, with the request of the first TokenUpdate. Nil, or 0: not known, and then no command
	// is refused for lack of a right.
	Rights func(r *Request) mdm.AccessRights
	// Users says whether a user channel is to be managed. Nil: every one is.
	Users func(id mdm.EnrollmentID, who mdm.Identifiers) bool
	// Readopt says whether a device whose enrollment ended may come back with a TokenUpdate, as after a restore from a
	// backup. Nil: none may; it is told to remove its management.
	Readopt func(ended *mdm.Enrollment) bool

	// Restored says whether an enrolled device may go on that comes back as after a restore from a backup: with a TokenUpdate of
	// another PushMagic and without Authenticate, or with a certificate of its own that was replaced since. Otherwise its enrollment
	// ends, and it is told to remove its management. Nil: it may; that a device sends a new PushMagic is no reason to doubt it.
	Restored func(*mdm.Enrollment) bool

	// UserAuth answers UserAuthenticate. Nil: network users are declined.
	UserAuth UserAuthenticator
	// Declarative answers DeclarativeManagement; package mdm/ddm has one. Nil: refused as Malformed, which changes nothing on the
	// device.
	Declarative Declarative
	// Tokens answer GetToken by their TokenServiceType. Apple asks for status 400 for a type that is not served.
	Tokens map[string]TokenSource
	// Returns answers ReturnToService. Nil: the device is not to return to service.
	Returns ReturnSource

	Clock func() time.Time // dates what no request dates; nil: time.Now
}

// Declarative answers the messages of declarative management.
type Declarative interface {
	// Declare answers one message; endpoint is "tokens", "declaration-items", "status" or "declaration/…". A NotFound
	// error makes the device drop the declaration that it asked for.
	Declare(ctx context.Context, id mdm.EnrollmentID, endpoint string, data []byte) (*Reply, error)
}

// TokenSource makes a token of one service.
type TokenSource interface {
	Token(ctx context.Context, id mdm.EnrollmentID, parameters map[string]any) (mdm.Secret, error)
}

// ReturnSource says how a device returns to service after an erase.
type ReturnSource interface {
	ReturnToService(ctx context.Context, id mdm.EnrollmentID) (ReturnToServiceReply, error)
}

// Checkin implements [Handler].
func (s *Service) Checkin(ctx context.Context, r *Request) (*Reply, error) {
	switch m := r.Message.(type) {
	case *Authenticate:
		return nil, s.apply(ctx, r, s.authenticate(r, m))
	case *TokenUpdate:
		return nil, s.apply(ctx, r, s.tokenUpdate(r, m))
	case *CheckOut:
		return nil, s.apply(ctx, r, s.checkOut(r))
	case *SetBootstrapToken:
		return nil, s.apply(ctx, r, s.setBootstrapToken(r, m))
	case *GetBootstrapToken:
		return s.getBootstrapToken(ctx, r)
	case *UserAuthenticate:
		return s.userAuthenticate(ctx, r, m)
	case *DeclarativeManagement:
		return s.declare(ctx, r, m)
	case *GetToken:
		return s.getToken(ctx, r, m)
	case *ReturnToService:
		return s.returnToService(ctx, r)
	}
	return nil, r.refused(mdm.Malformed, "MessageType is not known")
}

func (s *Service) apply(ctx context.Context, r *Request, decide func(*Situation) (Plan, error)) error {
	return s.Store.Update(ctx, Key{ID: r.ID, Fingerprint: r.Fingerprint}, decide)
}

// admit turns the verdict about the caller into the beginning of a plan. If it is false, the plan is a refusal.
func (s *Service) admit(now *Situation, r *Request) (Plan, bool) {
	v := s.Identity.Admit(&now.Standing, r.claim())
	plan := Plan{Refusal: v.Err, Certificates: v.Certificates, Events: v.Events}
	if v.Device != nil {
		plan.Enrollments = []mdm.Enrollment{*v.Device}
	}
	return plan, v.Err == nil
}

// admitted decides about a message that changes nothing but what change adds to the plan.
func (s *Service) admitted(r *Request, change func(*Situation, *Plan)) func(*Situation) (Plan, error) {
	return func(now *Situation) (Plan, error) {
		plan, ok := s.admit(now, r)
		if ok {
			plan.Seen = true
			if change != nil {
				change(now, &plan)
			}
		}
		return plan, nil
	}
}

// restoreEnded decides about a TokenUpdate that was refused: a device whose enrollment ended may be let in again.
func (s *Service) restoreEnded(now *Situation, r *Request, m *TokenUpdate, refused Plan) Plan {
	if s.Readopt == nil || now.Denied != "" || r.ID.IsUser() || now.Device == nil || now.Device.State != mdm.Ended ||
		now.Certificate == nil || now.Certificate.Device != r.ID.Device || now.Certificate.Status == mdm.CertificateRevoked || !s.Readopt(now.Device) {
		return refused
	}
	device := *now.Device
	device.State, device.EndedAt, device.EndReason, device.EnrolledAt = mdm.Enrolled, zeroTime, "", r.At
	s.current(&device, r, m)
	return Plan{
		Enrollments:  []mdm.Enrollment{device},
		Certificates: identity.Promote(&now.Standing, *now.Certificate, r.At),
		UnlockToken:  m.UnlockToken,
		Events:       []mdm.Event{r.arrived(mdm.EventRestored, &device, "let in again")},
		Wake:         true, Seen: true,
	}
}

// checkOut ends the enrollment of a device. It answers 200 whatever it finds: the message is sent once, and its profile
// is gone.
func (s *Service) checkOut(r *Request) func(*Situation) (Plan, error) {
	return func(now *Situation) (Plan, error) {
		cert := now.Certificate
		switch {
		case r.ID.IsUser() || now.Device == nil || now.Device.State == mdm.Ended || cert == nil || cert.Device != r.ID.Device:
			return Plan{}, nil // nothing here is the caller's to end
		case cert.Status != mdm.CertificateActive && cert.Status != mdm.CertificatePending:
			return Plan{}, nil // an earlier profile was removed; a newer enrollment lives
		}
		return ended(now, r.At, "CheckOut", mdm.EventCheckedOut), nil
	}
}
