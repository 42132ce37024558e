package enroll

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

// For says for whom an enrollment profile is made, and how it travels. The zero value is for anybody who enrolls.
type For struct {
	Tenant       string
	Device       string      // EnrollmentID.Device; required for a renewal, else empty if it is not known
	DeviceSerial string      // empty if it is not known
	User         string      // who logged in, in the words of the vendor; empty: nobody did
	Purpose      mdm.Purpose // PurposeEnroll, which 0 means too, or PurposeRenew

	// EncryptTo is an identity that is on the device already, with an RSA key: only that device can read the profile. Nil:
	// it is not encrypted.
	EncryptTo *x509.Certificate
	// Sealed says that whoever asks for a profile encrypts it himself, as delivery over the air does.
	Sealed bool
}

// Renewal returns for whom the profile that replaces the one of e is made.
func Renewal(e *mdm.Enrollment) For {
	return For{Tenant: e.ID.Tenant, Device: e.ID.Device, DeviceSerial: e.Device.SerialNumber, Purpose: mdm.PurposeRenew}
}

// check returns f with its purpose filled in.
func (f For) check(op string) (For, error) {
	if f.Purpose == 0 {
		f.Purpose = mdm.PurposeEnroll
	}
	switch {
	case f.Purpose != mdm.PurposeEnroll && f.Purpose != mdm.PurposeRenew:
		return f, mdm.Errorf(mdm.Malformed, op, "no enrollment profile has the purpose %s", f.Purpose)
	case f.Purpose == mdm.PurposeRenew && f.Device == "":
		return f, mdm.Errorf(mdm.Malformed, op, "a renewal must name its device")
	}
	return f, nil
}

// Identities makes the client identity of an enrollment profile: a *profile.SCEP, *profile.ACME or *profile.PKCS12. Each
// call makes one of its own, with a PayloadUUID of its own, so that no two devices share one and a renewal makes a new
// key. It is safe for concurrent use.
type Identities interface {
	Identity(ctx context.Context, f For) (profile.Payload, error)
}

// SCEPIdentities are identities whose key is made on the device. Each profile has a challenge that is good once.
type SCEPIdentities struct {
	// Content is what all payloads have: URL, which is required, and perhaps Name or Retries. What matters and is absent is
	// filled in by profile.Enrollment: RSA, 2048 bits, a key that cannot be exported. Challenge is replaced.
	Content profile.SCEPContent
	Store   scep.Store // keeps the challenges; of the server at URL

	// Lifetime of a challenge; 0: scep.DefaultChallengeLifetime. A profile that waits, as in a mail or for Return to Service,
	// needs more.
	Lifetime time.Duration
	// Subject is what the device asks to be called, as [][][]string{{{"O", "Example"}}, {{"CN", f.DeviceSerial}}}; the CA of
	// package scep does not listen. Nil: that of Content.
	Subject func(f For) [][][]string
	// Pin is the certificate of the SCEP server's CA, which then comes with the profile as a fingerprint: required where URL
	// is not https. Nil: that of Content.
	Pin   *x509.Certificate
	Clock func() time.Time // nil: time.Now
}

// Identity implements [Identities].
func (s SCEPIdentities) Identity(ctx context.Context, f For) (profile.Payload, error) {
	f, err := f.check("enroll.SCEPIdentities")
	if err != nil {
		return nil, err
	}
	lifetime, now := s.Lifetime, time.Now
	if lifetime <= 0 {
		lifetime = scep.DefaultChallengeLifetime
	}
	if s.Clock != nil {
		now = s.Clock
	}
	p := &profile.SCEP{Common: profile.Common{PayloadUUID: newUUID()}, PayloadContent: s.Content}
	p.PayloadContent.Challenge, err = scep.NewChallenge(ctx, s.Store, scep.Challenge{Tenant: f.Tenant, Purpose: f.Purpose,
		Device: f.Device, DeviceSerial: f.DeviceSerial, ExpiresAt: now().Add(lifetime)})
	if err != nil {
		return nil, err
	}
	if s.Subject != nil {
		p.PayloadContent.Subject = s.Subject(f)
	}
	if s.Pin != nil {
		p.PayloadContent.CAFingerprint = CAFingerprint(s.Pin)
	}
	return p, nil
}

// CAFingerprint returns the key CAFingerprint of a SCEP payload for a CA. It is a SHA-1, as in Apple's Over-the-Air Profile
// Delivery: longer ones are not known to be read. Nobody can make another CA with the same one.
func CAFingerprint(ca *x509.Certificate) []byte {
	sum := sha1.Sum(ca.Raw)
	return sum[:]
}

// PKCS12Identities are identities whose key is made here and travels in the profile, for devices that cannot reach a SCEP
// server. Prefer SCEP. See [Recipe] for how such a profile may travel.
type PKCS12Identities struct {
	CA      scep.CA
	Store   scep.Store         // the ledger
	Options scep.PKCS12Options // the zero value keeps no key
}

// Identity implements [Identities].
func (i PKCS12Identities) Identity(ctx context.Context, f For) (profile.Payload, error) {
	f, err := f.check("enroll.PKCS12Identities")
	if err != nil {
		return nil, err
	}
	p, err := scep.NewPKCS12(ctx, i.CA, i.Store, scep.Request{Tenant: f.Tenant, Purpose: f.Purpose, Device: f.Device,
		DeviceSerial: f.DeviceSerial}, i.Options)
	if err != nil {
		return nil, err
	}
	return &profile.PKCS12{Common: profile.Common{PayloadUUID: newUUID()}, PayloadContent: p.Content, Password: p.Password,
		KeyIsExtractable: new(false), AllowAllAppsAccess: new(false)}, nil
}

// newUUID returns a payload UUID that no device has seen. A device that knows the UUID of an identity keeps its old key.
func newUUID() string { return strings.ToUpper(uuid.NewString()) }
