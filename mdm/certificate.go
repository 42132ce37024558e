package mdm

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"
)

// Fingerprint is the SHA-256 of a certificate's DER encoding.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the fingerprint of cert.
func FingerprintOf(cert *x509.Certificate) Fingerprint { return sha256.Sum256(cert.Raw) }

// ParseFingerprint reads 64 hexadecimal digits.
func ParseFingerprint(s string) (Fingerprint, error) {
	var fp Fingerprint
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(fp) {
		return Fingerprint{}, Errorf(Malformed, "mdm.ParseFingerprint", "not a SHA-256 fingerprint")
	}
	copy(fp[:], b)
	return fp, nil
}

// IsZero reports whether fp is unset.
func (fp Fingerprint) IsZero() bool { return fp == Fingerprint{} }

// String returns lower-case hexadecimal digits, the empty string for the zero fingerprint.
func (fp Fingerprint) String() string {
	if fp.IsZero() {
		return ""
	}
	return hex.EncodeToString(fp[:])
}

// MarshalText implements [encoding.TextMarshaler] with the form of String.
func (fp Fingerprint) MarshalText() ([]byte, error) { return []byte(fp.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (fp *Fingerprint) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*fp = Fingerprint{}
		return nil
	}
	parsed, err := ParseFingerprint(string(text))
	if err != nil {
		return err
	}
	*fp = parsed
	return nil
}

// CertificateStatus is where a client certificate stands.
type CertificateStatus uint8

// The statuses. A device has at most one Active and one Pending certificate.
const (
	CertificateIssued  CertificateStatus = iota + 1 // delivered, not seen in an Authenticate yet
	CertificatePending                              // came with an Authenticate; becomes active at the first TokenUpdate
	CertificateActive                               // speaks for its device
	CertificateRetired                              // was active once; replaced
	CertificateRevoked                              // must not be used again
)

var certificateStatusNames = [...]string{"none", "issued", "pending", "active", "retired", "revoked"}

// String returns the status in a word.
func (s CertificateStatus) String() string {
	if int(s) < len(certificateStatusNames) {
		return certificateStatusNames[s]
	}
	return fmt.Sprintf("certificate(%d)", uint8(s))
}

// Purpose says for what a client certificate was issued. It is the strongest evidence of whether an Authenticate is a
// renewal or a new enrollment.
type Purpose uint8

// The purposes. Zero means that we do not know, as for a certificate that another CA issued.
const (
	PurposeEnroll Purpose = iota + 1 // by the challenge of a fresh enrollment
	PurposeRenew                     // as the renewal of the enrollment named by the certificate's Device
	// PurposeProfile is the delivery of profiles over the air, before there is an enrollment. The certificate's Device is the
	// ID of the session that it was issued in, so no enrollment can claim it.
	PurposeProfile
)

// String returns the purpose in a word.
func (p Purpose) String() string {
	switch p {
	case PurposeEnroll:
		return "enroll"
	case PurposeRenew:
		return "renew"
	case PurposeProfile:
		return "profile"
	}
	return "unknown"
}

// Certificate is the record of a client certificate: the ledger of what was issued and the binding of certificates to
// devices in one.
type Certificate struct {
	Fingerprint Fingerprint
	Tenant      string
	// Device is the EnrollmentID.Device that the certificate is bound to or, while it is only issued, the one that it
	// was issued for. Empty: any device may claim it once.
	Device string
	// DeviceSerial is the hardware serial number that it was issued for. Empty: not known.
	DeviceSerial string
	Status       CertificateStatus
	Purpose      Purpose
	Generation   Generation // of the enrollment when it was bound

	SerialNumber string // of the certificate, hexadecimal
	Subject      string
	NotBefore    time.Time
	NotAfter     time.Time

	IssuedAt  time.Time // zero if another CA issued it
	BoundAt   time.Time
	RetiredAt time.Time
}

// NewCertificate returns a record with what cert itself says, for tenant. Its status and binding are left to the
// caller.
func NewCertificate(tenant string, cert *x509.Certificate) Certificate {
	return Certificate{
		Fingerprint:  FingerprintOf(cert),
		Tenant:       tenant,
		SerialNumber: cert.SerialNumber.Text(16),
		Subject:      cert.Subject.String(),
		NotBefore:    cert.NotBefore,
		NotAfter:     cert.NotAfter,
	}
}
