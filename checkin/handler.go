package checkin

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Handler answers check-in messages. It has one method, so that a decorator stays small whatever messages Apple adds.
type Handler interface {
	// Checkin answers one message. A nil Reply is an empty answer. The error's mdm.Code decides what the device does.
	Checkin(ctx context.Context, r *Request) (*Reply, error)
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, r *Request) (*Reply, error)

// Checkin calls f.
func (f HandlerFunc) Checkin(ctx context.Context, r *Request) (*Reply, error) { return f(ctx, r) }

// Request is a check-in message and who sent it. The certificate is verified to be one of ours; whether it may speak
// for ID is decided when the message is applied.
type Request struct {
	ID          mdm.EnrollmentID
	Channel     mdm.Channel
	Identifiers mdm.Identifiers
	Certificate *x509.Certificate
	Fingerprint mdm.Fingerprint // of Certificate
	Message     Message
	Raw         []byte // the message as it came
	AuthToken   string
	At          time.Time
}

// Reply is what the device gets besides status 200.
type Reply struct {
	ContentType string
	Body        []byte
}
