// Package identity answers who is calling. Three questions follow each other on every request:
//
//  1. Which certificate came with it? An [Extractor] takes it from the TLS connection, from Apple's Mdm-Signature
//     header, or from a header of a trusted proxy. Exactly one is configured; there is no falling back.
//  2. Is that certificate ours and alive? A [Validator] checks the chain. [IssuedBy] is the usual one.
//  3. May it speak for the enrollment that the message names? [Policy.Admit] decides it from what the store knows, the
//     [Standing], inside the store's transaction. Stores load the Standing; they never decide.
//
// Admit is the only place of this package that may end a device's management, and it does so only on positive
// knowledge: the device is on record as ended, or its certificate is on record and its enrollment is not.
package identity

import (
	"context"
	"crypto/x509"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Extractor takes the client certificate from a request. It returns a Malformed error if there is none or if the
// signature over body does not verify, a Forbidden one if the peer may not present certificates.
type Extractor interface {
	Extract(r *http.Request, body []byte) (Presented, error)
}

// Presented is a certificate as it reached us. Nothing about its chain is verified yet.
type Presented struct {
	Leaf          *x509.Certificate
	Intermediates []*x509.Certificate // from the TLS handshake, the CMS or the header; a chain cannot be built without
	Via           string              // "tls", "mdm-signature" or "proxy", for logs
}

// Claim is what a request says of itself.
type Claim struct {
	ID           mdm.EnrollmentID
	Channel      mdm.Channel
	Message      string // the MessageType of a check-in message, empty for a command report
	SerialNumber string // hardware serial number, if the message has it
	AuthToken    string // user channels after UserAuthenticate
	At           time.Time
	Certificate  *x509.Certificate // the verified leaf
	Fingerprint  mdm.Fingerprint   // of Certificate
}

// Validator decides whether a presented certificate is acceptable for a claim, before any store is asked. It has no side
// effects and is safe for concurrent use. It returns nil, or an *mdm.Error; a plain refusal is Forbidden. Return
// Unmanaged only for a device that you know to have ended its management.
type Validator interface {
	Validate(ctx context.Context, p Presented, c Claim) error
}

// ValidatorFunc is a function as a [Validator].
type ValidatorFunc func(ctx context.Context, p Presented, c Claim) error

// Validate calls f.
func (f ValidatorFunc) Validate(ctx context.Context, p Presented, c Claim) error { return f(ctx, p, c) }

// Resolver finds the device that a certificate is bound to, for endpoints outside the protocol (a file download, a
// web page). It returns a NotFound error if the certificate is no managed device's active or pending identity, and an
// error for a device or certificate on the deny list.
type Resolver interface {
	Resolve(ctx context.Context, tenant string, fp mdm.Fingerprint) (mdm.EnrollmentID, error)
}

// Inventory lists the certificates of devices.
type Inventory interface {
	// Certificates returns the records of all certificates that are bound to a device or were issued for it, whatever became of
	// them, in the order of their fingerprints; none if there are none. A user channel means its device.
	Certificates(ctx context.Context, id mdm.EnrollmentID) ([]mdm.Certificate, error)
}

// DenyList keeps devices and certificates out. A denied caller is answered Forbidden: it stays enrolled, but gets
// nothing. It is checked in the same transaction as everything else about a request.
type DenyList interface {
	// Deny puts d on the list, or replaces the reason of one that is on it.
	Deny(ctx context.Context, d Denial) error
	// Allow takes it off. It is not an error if it is not on the list.
	Allow(ctx context.Context, d Denial) error
	// Denials returns the list of a tenant, devices first, in order.
	Denials(ctx context.Context, tenant string) ([]Denial, error)
}

// Denial names a device or a certificate (exactly one of both, else it is Malformed) of a tenant, and why. The reason may
// be empty.
type Denial struct {
	Tenant      string
	Device      string
	Fingerprint mdm.Fingerprint
	Reason      string
}
