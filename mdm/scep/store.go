package scep

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Store keeps challenges and the ledger of issued certificates. It is safe for concurrent use by many goroutines and
// processes.
type Store interface {
	// AddChallenge stores a challenge. Only its hash is kept.
	AddChallenge(ctx context.Context, c Challenge) error

	// Redeem finds the challenge whose hash is given, for a request with this public key. It returns a Forbidden error
	// if there is none, if it has expired, or if it is spent on another key. If it was already answered with a
	// certificate for the same key, that certificate's DER encoding comes with it and is to be sent again; the expiry
	// does not matter then.
	Redeem(ctx context.Context, hash, key [sha256.Size]byte, now time.Time) (Challenge, []byte, error)

	// Record writes an issued certificate into the ledger and notes it as the answer to its challenge, unless
	// Issue.Challenge is zero. An earlier answer of the same challenge that is still only issued is revoked: one
	// challenge never gives two living certificates. It leaves an EventCertificateIssued. If the challenge was spent on
	// another key meanwhile, if its earlier answer is in use, or if there is no such challenge, it changes nothing and
	// returns a Forbidden error.
	Record(ctx context.Context, i Issue) error

	// Spend marks a challenge as used up by this key, after its answer was delivered.
	Spend(ctx context.Context, hash, key [sha256.Size]byte) error

	// Certificate returns the record of a certificate, or a NotFound error.
	Certificate(ctx context.Context, tenant string, fp mdm.Fingerprint) (mdm.Certificate, error)
}

// Challenge allows one certificate. It is bound to what is known of the device that will use it.
type Challenge struct {
	Hash    [sha256.Size]byte // HashChallenge of the secret text
	Tenant  string
	Purpose mdm.Purpose
	// Device is the EnrollmentID.Device that the certificate is for: required with PurposeRenew, else empty if it is
	// not known yet. DeviceSerial likewise is the hardware serial number.
	Device       string
	DeviceSerial string
	ExpiresAt    time.Time
}

// Issue is an issued certificate on its way into the ledger.
type Issue struct {
	Certificate mdm.Certificate
	DER         []byte
	Challenge   [sha256.Size]byte // zero for a RenewalReq, which has none
	Key         [sha256.Size]byte // SHA-256 of the DER SubjectPublicKeyInfo
	At          time.Time
}

// HashChallenge returns the form in which a challenge is stored. Challenges are random and long, so a plain hash is
// enough.
func HashChallenge(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }
