package command

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/gomdm/applemdm/internal/clip"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// Service is the command half of the protocol: it turns a report into one [Exchanger.Exchange], and a [Recipe] that is offered
// into a command. Store is required. It is
// safe for concurrent use if Store is.
type Service struct {
	Store  Exchanger
	Policy identity.Policy // who may speak for an enrollment; the zero value is the careful one

	Cooks  map[string]Cook // who makes the commands of recipes
	Logger *slog.Logger    // for recipes; nil: nothing is logged
}

// Request is a report and who sent it. The certificate is verified to be one of ours; whether it may speak for ID is
// decided by Report.
type Request struct {
	ID          mdm.EnrollmentID
	Channel     mdm.Channel
	Certificate *x509.Certificate
	Fingerprint mdm.Fingerprint // of Certificate
	AuthToken   string          // of a user channel after UserAuthenticate, else empty

	Status            Status
	CommandUUID       string
	UserConfiguration bool      // see [Report]
	Raw               []byte    // the message as it came
	At                time.Time // when it came
}

// Report records what a device says and returns the next command, or nil to end the session. It does not read Raw: a
// result that nobody can decode must not hinder the queue.
//
// The error is a Malformed one if Status is missing, what [identity.Policy.Admit] has against the caller, or one of the
// store; then nothing is recorded, except for what Admit asks for. A Status or CommandUUID over 255 bytes is none that we
// know, so it is no error: the store gets its beginning, marked by "…", and keeps the report aside.
func (s *Service) Report(ctx context.Context, r *Request) (*Offer, error) {
	if r.Status == "" {
		err := mdm.Errorf(mdm.Malformed, "command.Report", "Status is missing")
		err.Enrollment = r.ID
		return nil, err
	}
	claim := identity.Claim{ID: r.ID, Channel: r.Channel, AuthToken: r.AuthToken, At: r.At,
		Certificate: r.Certificate, Fingerprint: r.Fingerprint}
	report := &Report{ID: r.ID, Channel: r.Channel, Fingerprint: r.Fingerprint,
		Status: Status(clipped(string(r.Status))), CommandUUID: clipped(r.CommandUUID),
		Raw: r.Raw, UserConfiguration: r.UserConfiguration, At: r.At}
	exchange := func(r *Report) (*Offer, error) {
		return s.Store.Exchange(ctx, r, func(standing *identity.Standing) identity.Verdict { return s.Policy.Admit(standing, claim) })
	}
	offer, err := exchange(report)
	if err != nil || offer == nil {
		return nil, err
	}
	return s.serve(ctx, report, exchange, offer)
}

// clipped shortens a text that is too long for the columns of a database. What it returns then is no UUID and no status of
// ours, because those are ASCII.
func clipped(s string) string { return clip.Text(s, maxText, maxText-len("…")) }
