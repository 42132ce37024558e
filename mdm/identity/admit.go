package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Standing is what a store knows of a caller. It is read in the transaction in which the request is applied.
type Standing struct {
	// Enrollment is the channel that the request names, Device its device channel (the same pointer on a device
	// channel). Either is nil if the store has no record of it.
	Enrollment *mdm.Enrollment
	Device     *mdm.Enrollment

	Certificate *mdm.Certificate // the record of the presented certificate; nil if the store never saw it
	Active      *mdm.Certificate // the device's active certificate, nil if it has none
	Pending     *mdm.Certificate // the device's pending certificate, nil if it has none

	Denied        string // the reason of a denial of the device or the certificate; empty if there is none
	AuthTokenHash []byte // HashAuthToken of the channel's AuthToken, nil if it has none
}

// Verdict is the answer to a Standing. A store writes Device, Certificates and Events whether or not Err is set, and
// then returns Err.
type Verdict struct {
	Err          error             // nil: the caller may speak for the channel
	Device       *mdm.Enrollment   // the device channel's row as it must become; nil leaves it
	Certificates []mdm.Certificate // records to write
	Events       []mdm.Event
}

// Policy holds the choices that a vendor has in Admit. The zero value is the careful one.
type Policy struct {
	// AdoptUntil ends the time in which a device that was imported from another server without its certificate may
	// bind the one that it presents first. Zero: never. Each adoption leaves an event.
	AdoptUntil time.Time

	// UnknownIsUnmanaged tells devices of which the store knows nothing, not even their certificate, to remove their
	// management. By default they are answered Forbidden, because a store that was emptied or restored from an old
	// backup looks exactly like this, and would unenroll a fleet.
	UnknownIsUnmanaged bool

	// OnConflict is asked when a certificate speaks for a device that it is not bound to. Nil, or false, refuses;
	// true moves the certificate to the claimed device. It is not asked about a revoked certificate, nor, after
	// Authenticate, about a device that has no living enrollment. It runs inside a transaction: it must be quick and
	// without side effects, and it may be asked twice about the same request.
	OnConflict func(Conflict) bool
}

// Conflict is a certificate that speaks for a device that it is not bound to: a cloned or restored device, lost data,
// or an attack.
type Conflict struct {
	Claim    Claim
	Standing *Standing
}

// HashAuthToken returns the form in which an AuthToken is stored and compared.
func HashAuthToken(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// Admit decides whether the caller may speak for the channel that it names. It is for every request but Authenticate,
// which begins an enrollment and is decided by package checkin.
func (p Policy) Admit(s *Standing, c Claim) Verdict {
	if s.Denied != "" {
		return refuse(c, mdm.Forbidden, "denied: %s", s.Denied)
	}
	if s.Certificate != nil && s.Certificate.Purpose == mdm.PurposeProfile {
		return refuse(c, mdm.Forbidden, "the certificate is for the delivery of profiles")
	}
	var v Verdict
	switch {
	case s.Device == nil:
		return p.unknownDevice(s, c)
	case !owns(s.Certificate, c):
		if v = p.stranger(s, c); v.Err != nil {
			return v
		}
	case s.Device.State == mdm.Ended:
		return unmanaged(s, c)
	default:
		if v = ownCertificate(s, c); v.Err != nil {
			return v
		}
	}
	if err := checkUser(s, c); err != nil {
		v.Err = err
	}
	return v
}

// owns reports whether the certificate's record names the claimed device.
func owns(cert *mdm.Certificate, c Claim) bool {
	return cert != nil && cert.Tenant == c.ID.Tenant && cert.Device == c.ID.Device
}

// unknownDevice refuses a device without a record. Only a certificate that we do know proves that the record is
// missing because there is no enrollment, and not because the store lost it. A revoked one is refused whatever it proves.
func (p Policy) unknownDevice(s *Standing, c Claim) Verdict {
	cert := s.Certificate
	switch {
	case cert == nil && p.UnknownIsUnmanaged:
		return unmanaged(s, c)
	case cert == nil:
		return refuse(c, mdm.Forbidden, "neither the device nor its certificate is known here")
	case cert.Device != "" && !owns(cert, c):
		return conflict(s, c)
	case cert.Status == mdm.CertificateRevoked:
		return refuse(c, mdm.Forbidden, "the certificate is revoked")
	}
	return unmanaged(s, c)
}

// stranger handles a known device whose caller presents a certificate that is not bound to it.
func (p Policy) stranger(s *Standing, c Claim) Verdict {
	if s.Device.State == mdm.Ended || s.Certificate != nil && s.Certificate.Status == mdm.CertificateRevoked {
		return conflict(s, c)
	}
	adopt := s.Certificate == nil && s.Active == nil && s.Pending == nil && c.At.Before(p.AdoptUntil)
	moved := !adopt && p.OnConflict != nil && p.OnConflict(Conflict{Claim: c, Standing: s})
	if !adopt && !moved {
		return conflict(s, c)
	}
	reason := "first use of a migrated device's certificate"
	if moved {
		reason = "conflict decided by policy"
	}
	v := Verdict{Certificates: Promote(s, bind(s, c), c.At)}
	v.Events = []mdm.Event{{Type: mdm.EventAdopted, At: c.At, Enrollment: c.ID.DeviceID(), Generation: s.Device.Generation,
		Fingerprint: c.Fingerprint.String(), Reason: reason}}
	return v
}

// ownCertificate handles a caller whose certificate belongs to the device it names.
func ownCertificate(s *Standing, c Claim) Verdict {
	switch s.Certificate.Status {
	case mdm.CertificatePending:
		return Verdict{}
	case mdm.CertificateActive:
		return rollBack(s, c)
	case mdm.CertificateIssued:
		if s.Certificate.Purpose != mdm.PurposeRenew {
			return refuse(c, mdm.Forbidden, "the certificate has not been through Authenticate")
		}
		return Verdict{ // a renewed identity that is used before its Authenticate: promoted on first use
			Certificates: Promote(s, bind(s, c), c.At),
			Events: []mdm.Event{{Type: mdm.EventRenewed, At: c.At, Enrollment: c.ID.DeviceID(), Generation: s.Device.Generation,
				Fingerprint: c.Fingerprint.String(), Reason: "renewed certificate used"}},
		}
	case mdm.CertificateRetired:
		if c.Message == "TokenUpdate" && s.Device.State == mdm.Enrolled { // a backup older than the last renewal; checkin decides
			return Verdict{}
		}
		return refuse(c, mdm.Forbidden, "the certificate was replaced")
	default:
		return refuse(c, mdm.Forbidden, "the certificate is %s", s.Certificate.Status)
	}
}

// rollBack recognizes a replacement that failed: the device goes on with its old certificate although a new
// enrollment was pending. The old one never stopped being valid.
func rollBack(s *Standing, c Claim) Verdict {
	if s.Device.State != mdm.Pending || s.Pending == nil || len(s.Device.PushToken) == 0 {
		return Verdict{}
	}
	device := *s.Device
	device.State = mdm.Enrolled
	return Verdict{Device: &device, Events: []mdm.Event{{Type: mdm.EventRolledBack, At: c.At, Enrollment: device.ID,
		Generation: device.Generation, Fingerprint: c.Fingerprint.String(), Reason: "the old certificate is still in use"}}}
}

// checkUser applies what holds for user channels only. Nothing here ends the management of the device.
func checkUser(s *Standing, c Claim) error {
	if !c.ID.IsUser() {
		return nil
	}
	if s.AuthTokenHash != nil && c.Message != "UserAuthenticate" &&
		subtle.ConstantTimeCompare(s.AuthTokenHash, HashAuthToken(c.AuthToken)) != 1 {
		// Apple does not say which status it expects; this one changes nothing on the device.
		return refuse(c, mdm.Forbidden, "stale or missing AuthToken").Err
	}
	starts := c.Message == "TokenUpdate" || c.Message == "UserAuthenticate"
	if !starts && (s.Enrollment == nil || s.Enrollment.State != mdm.Enrolled) {
		return refuse(c, mdm.Forbidden, "this user is not managed").Err
	}
	return nil
}

// bind returns the record of the presented certificate, bound to the claimed device.
func bind(s *Standing, c Claim) mdm.Certificate {
	cert := mdm.NewCertificate(c.ID.Tenant, c.Certificate)
	if s.Certificate != nil {
		cert = *s.Certificate
	}
	cert.Device = c.ID.Device
	cert.Generation = s.Device.Generation
	cert.BoundAt = c.At
	return cert
}

// Promote makes cert the active certificate of its device and retires the active and pending ones that it replaces.
// It returns the records to write, retired ones first.
func Promote(s *Standing, cert mdm.Certificate, at time.Time) []mdm.Certificate {
	var out []mdm.Certificate
	for _, old := range []*mdm.Certificate{s.Active, s.Pending} {
		if old != nil && old.Fingerprint != cert.Fingerprint {
			retired := *old
			retired.Status, retired.RetiredAt = mdm.CertificateRetired, at
			out = append(out, retired)
		}
	}
	cert.Status, cert.RetiredAt = mdm.CertificateActive, time.Time{}
	return append(out, cert)
}

// unmanaged tells a device that is on record as not managed to remove its management. If the denied knowledge is about
// a user channel, the device is meant: user channels end with their device only.
func unmanaged(s *Standing, c Claim) Verdict {
	err := mdm.Errorf(mdm.Unmanaged, "identity.Admit", "not managed")
	err.Enrollment = c.ID
	err.KnowsUnrecognized = s.Device != nil && s.Device.Device.KnowsUnrecognized()
	return Verdict{Err: err, Events: []mdm.Event{{Type: mdm.EventRefused, At: c.At, Enrollment: c.ID,
		Fingerprint: c.Fingerprint.String(), Status: c.Message}}}
}

func conflict(s *Standing, c Claim) Verdict {
	v := refuse(c, mdm.Forbidden, "the certificate is not this device's")
	e := mdm.Event{Type: mdm.EventConflict, At: c.At, Enrollment: c.ID.DeviceID(), Claimed: c.ID.Device,
		Fingerprint: c.Fingerprint.String(), Reason: "certificate not bound to the claimed device"}
	if s.Certificate != nil && s.Certificate.Device != "" {
		e.Enrollment.Device = s.Certificate.Device
	}
	v.Events = []mdm.Event{e}
	return v
}

func refuse(c Claim, code mdm.Code, format string, args ...any) Verdict {
	err := mdm.Errorf(code, "identity.Admit", format, args...)
	err.Enrollment = c.ID
	return Verdict{Err: err}
}
