package command

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// Service is the command half of the protocol: it answers reports. Store is required. It is safe for concurrent use.
type Service struct {
	Store  Exchanger
	Policy identity.Policy // who may speak for an enrollment
}

// Request is a report and who sent it. The certificate is verified to be one of ours.
type Request struct {
	ID          mdm.EnrollmentID
	Channel     mdm.Channel
	Certificate *x509.Certificate
	Fingerprint mdm.Fingerprint // of Certificate
	AuthToken   string

	Status            Status
	CommandUUID       string
	UserConfiguration bool
	Raw               []byte
	At                time.Time
}

// Report records what a device says and returns the next command, or nil to end the session.
func (s *Service) Report(ctx context.Context, r *Request) (*Offer, error) {
	if r.Status == "" {
		err := mdm.Errorf(mdm.Malformed, "command.Report", "Status is missing")
		err.Enrollment = r.ID
		return nil, err
	}
	claim := identity.Claim{ID: r.ID, Channel: r.Channel, AuthToken: r.AuthToken, At: r.At, Certificate: r.Certificate, Fingerprint: r.Fingerprint}
	report := &Report{ID: r.ID, Channel: r.Channel, Fingerprint: r.Fingerprint, Status: r.Status, CommandUUID: r.CommandUUID,
		Raw: r.Raw, UserConfiguration: r.UserConfiguration, At: r.At}
	return s.Store.Exchange(ctx, report, func(standing *identity.Standing) identity.Verdict {
		return s.Policy.Admit(standing, claim)
	})
}
