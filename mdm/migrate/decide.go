package migrate

import (
	"bytes"
	"errors"
	"reflect"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

var (
	errOthers  = errors.New("it is bound to another device")
	errRevoked = errors.New("it is revoked here")
)

// channel decides about one record inside the target's transaction, which may ask more than once.
type channel struct {
	rec      *Record
	imagined *imagined
	at       time.Time

	fate     fate
	queues   bool  // its commands may be queued
	conflict error // about the first certificate
	bound    bool
}

// key is what certificate i is looked up by.
func (c *channel) key(i int) checkin.Key {
	key := checkin.Key{ID: c.rec.Enrollment.ID}
	if i < len(c.rec.Certificates) {
		key.Fingerprint = c.rec.Certificates[i].Fingerprint
	}
	return key
}

// decide says what to write for the channel.
func (c *channel) decide(s *checkin.Situation) (plan checkin.Plan) {
	c.fate, c.conflict = c.judge(s), nil
	row := c.rec.Enrollment
	if s.Enrollment != nil {
		row = *s.Enrollment
	}
	c.queues = false
	switch c.fate {
	case orphaned:
		return checkin.Plan{}
	case kept: // a device that came over and went on has what an earlier run may not have come to
		c.queues = row.Arrival == Arrival && row.Generation == 1 && row.State == mdm.Enrolled
		return checkin.Plan{}
	case created:
		plan.Enrollments = []mdm.Enrollment{row}
	case refreshed:
		row = merged(*s.Enrollment, c.rec.Enrollment)
		plan.Enrollments = []mdm.Enrollment{row}
	}
	c.queues = row.State == mdm.Enrolled
	if row.ID.IsUser() {
		return plan
	}
	if len(c.rec.Certificates) > 0 {
		plan.Certificates, c.conflict = bind(&s.Standing, c.rec.Certificates[0], c.at)
	}
	plan.UnlockToken = c.rec.UnlockToken // stores know an equal one and leave it
	if token := c.rec.BootstrapToken; !token.IsZero() {
		plan.BootstrapToken = &token
	}
	return plan
}

func (c *channel) judge(s *checkin.Situation) fate {
	e := c.rec.Enrollment
	if e.ID.IsUser() {
		device := s.Device
		switch {
		case device == nil && !c.imagined.enrolled(e.ID.DeviceID()):
			return orphaned
		case device == nil:
			return created
		case device.State == mdm.Ended || device.Generation != 1 || device.AuthenticatedAt.After(e.TokenUpdatedAt):
			return kept // the device enrolled here; this user is of an earlier installation
		}
	}
	switch {
	case s.Enrollment == nil:
		return created
	case !untouched(s.Enrollment, &e):
		return kept
	case same(merged(*s.Enrollment, e), *s.Enrollment):
		return unchanged
	}
	return refreshed
}

// untouched reports whether row was made by an import and nothing has happened to it since. Every request that a server
// accepts leaves LastSeenAt; it is written behind, by some seconds, so the times of the messages are compared, too.
func untouched(row, e *mdm.Enrollment) bool {
	imported := row.Arrival == Arrival || row.State == mdm.Pending && row.Arrival == mdm.EventReenrolled
	return imported && row.State != mdm.Ended && row.Generation == 1 && row.LastSeenAt.IsZero() &&
		!row.AuthenticatedAt.After(e.AuthenticatedAt) && !row.TokenUpdatedAt.After(e.TokenUpdatedAt)
}

// merged is row with what the source knows better now. What only the target knows stays: rights, what was learned of the
// device, and that APNs does not know the push token any more.
func merged(row, e mdm.Enrollment) mdm.Enrollment {
	e.Rights, e.LastSeenAt = row.Rights, row.LastSeenAt
	e.Device.Supervised, e.Device.SharedIPad = row.Device.Supervised, row.Device.SharedIPad
	e.Device.Automated, e.Device.UserApproved = row.Device.Automated, row.Device.UserApproved
	if len(row.PushToken) == 0 && !e.TokenUpdatedAt.After(row.TokenUpdatedAt) {
		e.PushToken = row.PushToken
	}
	return e
}

func same(a, b mdm.Enrollment) bool {
	tokens := bytes.Equal(a.PushToken, b.PushToken)
	a.PushToken, b.PushToken = nil, nil
	for _, e := range []*mdm.Enrollment{&a, &b} {
		for _, t := range []*time.Time{&e.AuthenticatedAt, &e.EnrolledAt, &e.TokenUpdatedAt, &e.LastSeenAt, &e.EndedAt} {
			*t = micro(*t)
		}
	}
	return tokens && reflect.DeepEqual(a, b)
}

// bind returns the records to write so that want is bound as it says. Nothing is taken from another device, and a revoked
// certificate stays revoked.
func bind(s *identity.Standing, want mdm.Certificate, at time.Time) ([]mdm.Certificate, error) {
	cert := want
	if have := s.Certificate; have != nil {
		switch {
		case have.Device != "" && have.Device != want.Device:
			return nil, errOthers
		case have.Status == mdm.CertificateRevoked:
			return nil, errRevoked
		case have.Device == want.Device && (have.Status == want.Status || want.Status == mdm.CertificateRetired):
			return nil, nil
		}
		cert = *have
		cert.Device, cert.Status, cert.Generation, cert.BoundAt = want.Device, want.Status, want.Generation, want.BoundAt
	}
	switch want.Status {
	case mdm.CertificateActive:
		return identity.Promote(s, cert, at), nil
	case mdm.CertificatePending:
		if old := s.Pending; old != nil && old.Fingerprint != cert.Fingerprint {
			retired := *old
			retired.Status, retired.RetiredAt = mdm.CertificateRetired, at
			return []mdm.Certificate{retired, cert}, nil
		}
	}
	return []mdm.Certificate{cert}, nil
}
