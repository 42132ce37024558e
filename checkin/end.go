package checkin

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// End ends the management of a device and its users. From now on it is told to remove its profile whenever it connects.
// The device itself is not asked; to have the profile removed at once, send RemoveProfile first. It returns a NotFound
// error for a device that is not known, and does nothing for one that ended already. With a generation it ends that one alone: one
// that is over, because the device has enrolled anew since, has ended already. 0 ends whatever is there.
func (s *Service) End(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error {
	at := s.now()
	return s.Store.Update(ctx, Key{ID: id.DeviceID()}, func(now *Situation) (Plan, error) {
		if now.Device == nil {
			return Plan{}, &mdm.Error{Code: mdm.NotFound, Op: "checkin.End", Enrollment: id}
		}
		if now.Device.State == mdm.Ended || g != 0 && g != now.Device.Generation {
			return Plan{}, nil
		}
		return ended(now, at, reason, mdm.EventEnded), nil
	})
}

func ended(now *Situation, at time.Time, reason string, event mdm.EventType) Plan {
	device := *now.Device
	device.State, device.EndedAt, device.EndReason = mdm.Ended, at, reason
	device.PushToken, device.PushMagic, device.AwaitingConfiguration = nil, "", false
	return Plan{
		Enrollments: []mdm.Enrollment{device},
		End:         true,
		Events:      []mdm.Event{{Type: event, At: at, Enrollment: device.ID, Generation: device.Generation, Reason: reason}},
	}
}

// Revoke marks a certificate of a generation that is over as revoked, and reports whether it is. It revokes no certificate that an
// enrollment goes on with, whoever asks: not one of another device or of a later generation, nor any while the generation lives. The
// error is NotFound for a device that is not known.
//
// Whoever comes with it after the end is still told to remove the management, for the record says whose it was. It can enroll
// nobody any more.
func (s *Service) Revoke(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, fp mdm.Fingerprint, reason string) (revoked bool, err error) {
	at := s.now()
	err = s.Store.Update(ctx, Key{ID: id.DeviceID(), Fingerprint: fp}, func(now *Situation) (Plan, error) {
		revoked = false
		if now.Device == nil {
			return Plan{}, &mdm.Error{Code: mdm.NotFound, Op: "checkin.Revoke", Enrollment: id}
		}
		if revoked = revocable(now, g); !revoked || now.Certificate.Status == mdm.CertificateRevoked {
			return Plan{}, nil
		}
		c := *now.Certificate
		c.Status = mdm.CertificateRevoked
		if c.RetiredAt.IsZero() {
			c.RetiredAt = at
		}
		return Plan{Certificates: []mdm.Certificate{c}, Events: []mdm.Event{{Type: mdm.EventCertificateRevoked, At: at, Enrollment: now.Device.ID,
			Generation: g, Fingerprint: fp.String(), Reason: reason}}}, nil
	})
	return revoked && err == nil, err
}

// revocable reports whether a certificate was of a generation that is over, or one before, and is nothing to a later one.
func revocable(now *Situation, g mdm.Generation) bool {
	c, d := now.Certificate, now.Device
	if c == nil || c.Device != d.ID.Device || c.Generation > g {
		return false
	}
	switch {
	case d.Generation == g && d.State == mdm.Ended:
		// One that was issued for an enrollment and never used is for the next one.
		return c.Status != mdm.CertificateIssued || c.Purpose == mdm.PurposeRenew
	case d.Generation > g: // a device may have come back with the same one, as from a PKCS#12
		return c.Status == mdm.CertificateRevoked || c.Status == mdm.CertificateRetired && !c.RetiredAt.After(d.EnrolledAt)
	}
	return false
}

func (s *Service) now() time.Time {
	if s.Clock == nil {
		return time.Now()
	}
	return s.Clock()
}
