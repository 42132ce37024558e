package memory

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// Update implements [checkin.Store].
func (db *DB) Update(ctx context.Context, key checkin.Key, decide func(*checkin.Situation) (checkin.Plan, error)) error {
	return db.tx(ctx, func() error {
		plan, err := decide(db.situation(key))
		if err != nil {
			return err
		}
		db.carryOut(key.ID, plan)
		return plan.Refusal
	})
}

// standing returns copies, so that nothing outside can change what is stored.
func (db *DB) standing(id mdm.EnrollmentID, fp mdm.Fingerprint) identity.Standing {
	device := id.DeviceID()
	s := identity.Standing{
		Device:        copied(db.enrollments[device]),
		Certificate:   copied(db.certificates[certKey{id.Tenant, fp}]),
		AuthTokenHash: db.authTokens[id],
	}
	s.Enrollment = s.Device
	if id.IsUser() {
		s.Enrollment = copied(db.enrollments[id])
	}
	if b := db.bound[device]; b != nil {
		s.Active, s.Pending = copied(b.active), copied(b.pending)
	}
	for _, key := range []denialKey{{tenant: id.Tenant, device: id.Device}, {tenant: id.Tenant, fp: fp}} {
		if reason, denied := db.denied[key]; denied && (key.device != "" || !fp.IsZero()) {
			s.Denied = or(reason, "on the deny list")
		}
	}
	return s
}

func (db *DB) situation(key checkin.Key) *checkin.Situation {
	s := &checkin.Situation{Standing: db.standing(key.ID, key.Fingerprint)}
	device := key.ID.DeviceID()
	if q := db.queues[device]; q != nil && s.Device != nil {
		for _, e := range q.all {
			if e.Generation != s.Device.Generation || e.Sends == 0 {
				continue
			}
			s.EraseSent = s.EraseSent || e.body.traits&command.Erases != 0 && e.State != command.Failed && e.State != command.FormatError
			s.ReplacementSent = s.ReplacementSent || e.body.traits&command.ReplacesMDM != 0 && e.State.Open()
		}
	}
	if !key.ID.IsUser() {
		s.Users = db.users(device)
	}
	return s
}

// users returns the user channels of a device that are not ended, in order.
func (db *DB) users(device mdm.EnrollmentID) []mdm.EnrollmentID {
	var ids []mdm.EnrollmentID
	for id, e := range db.enrollments {
		if id.IsUser() && id.DeviceID() == device && e.State != mdm.Ended {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// carryOut writes a plan. Nothing in it can fail.
func (db *DB) carryOut(id mdm.EnrollmentID, p checkin.Plan) {
	device := id.DeviceID()
	for _, e := range p.Enrollments {
		if old := db.enrollments[e.ID]; old != nil {
			e.LastSeenAt = old.LastSeenAt
		}
		db.enrollments[e.ID] = &e
	}
	db.writeCertificates(p.Certificates)
	if p.NewGeneration || p.End {
		db.endGeneration(device, p)
	}
	s := db.secrets[device]
	if s == nil {
		s = &secrets{}
		db.secrets[device] = s
	}
	if !p.UnlockToken.IsZero() {
		db.replaceSecret(device, "UnlockToken", &s.unlock, p.UnlockToken)
	}
	if p.BootstrapToken != nil {
		db.replaceSecret(device, "BootstrapToken", &s.bootstrap, *p.BootstrapToken)
	}
	if p.AuthTokenHash != nil {
		db.authTokens[id] = p.AuthTokenHash
		if len(p.AuthTokenHash) == 0 {
			delete(db.authTokens, id)
		}
	}
	if e := db.enrollments[id]; e != nil && p.Seen {
		e.LastSeenAt = now()
	}
	if p.Wake {
		db.wake(id, now())
	}
	db.record(p.Events...)
}

func (db *DB) replaceSecret(device mdm.EnrollmentID, subject string, at *mdm.Secret, next mdm.Secret) {
	if !at.IsZero() && !at.Equal(next) {
		db.archive = append(db.archive, archived{device, subject, *at})
	}
	*at = next
}

// endGeneration ends what belonged to the device's former generation.
func (db *DB) endGeneration(device mdm.EnrollmentID, p checkin.Plan) {
	reason := "the device enrolled anew"
	if p.End {
		reason = "the enrollment ended"
	}
	at := now()
	users := db.users(device)
	for _, id := range append([]mdm.EnrollmentID{device}, users...) {
		db.cancelOpen(id, reason, at)
		delete(db.authTokens, id)
		if id.IsUser() || p.End {
			delete(db.intents, id)
		}
	}
	for _, id := range users {
		e := db.enrollments[id]
		e.State, e.EndedAt, e.EndReason = mdm.Ended, at, reason
		e.PushToken, e.PushMagic = nil, ""
	}
	if s := db.secrets[device]; s != nil {
		db.replaceSecret(device, "UnlockToken", &s.unlock, mdm.Secret{})
		db.replaceSecret(device, "BootstrapToken", &s.bootstrap, mdm.Secret{})
	}
}

func (db *DB) writeCertificates(certs []mdm.Certificate) {
	for _, c := range certs {
		db.certificates[certKey{c.Tenant, c.Fingerprint}] = &c
		if c.Device == "" {
			continue
		}
		device := mdm.EnrollmentID{Tenant: c.Tenant, Device: c.Device}
		b := db.bound[device]
		if b == nil {
			b = &binding{}
			db.bound[device] = b
		}
		for _, at := range []**mdm.Certificate{&b.active, &b.pending} {
			if *at != nil && (*at).Fingerprint == c.Fingerprint {
				*at = nil
			}
		}
		switch c.Status {
		case mdm.CertificateActive:
			b.active = &c
		case mdm.CertificatePending:
			b.pending = &c
		}
	}
}

// UnlockToken implements [checkin.Escrow].
func (db *DB) UnlockToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, id, "UnlockToken", why, func(s *secrets) mdm.Secret { return s.unlock })
}

// BootstrapToken implements [checkin.Escrow].
func (db *DB) BootstrapToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, id, "BootstrapToken", why, func(s *secrets) mdm.Secret { return s.bootstrap })
}

func (db *DB) readSecret(ctx context.Context, id mdm.EnrollmentID, subject, why string, read func(*secrets) mdm.Secret) (out mdm.Secret, err error) {
	err = db.tx(ctx, func() error {
		s, e := db.secrets[id.DeviceID()], db.enrollments[id.DeviceID()]
		if s == nil || e == nil {
			return nil
		}
		if out = read(s); !out.IsZero() {
			db.record(mdm.Event{Type: mdm.EventSecretRead, At: now(), Enrollment: e.ID, Generation: e.Generation, Subject: subject, Reason: why})
		}
		return nil
	})
	return out, err
}

// Enrollment implements [checkin.Roster].
func (db *DB) Enrollment(ctx context.Context, id mdm.EnrollmentID) (out *mdm.Enrollment, err error) {
	err = db.tx(ctx, func() error {
		if out = copied(db.enrollments[id]); out == nil {
			return &mdm.Error{Code: mdm.NotFound, Op: "memory.Enrollment", Enrollment: id}
		}
		return nil
	})
	return out, err
}

// Enrollments implements [checkin.Roster].
func (db *DB) Enrollments(ctx context.Context, f mdm.Filter) iter.Seq2[*mdm.Enrollment, error] {
	return func(yield func(*mdm.Enrollment, error) bool) {
		var list []*mdm.Enrollment
		if err := db.tx(ctx, func() error { list = db.matching(f); return nil }); err != nil {
			yield(nil, err)
			return
		}
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// matching returns copies of what a filter selects, in order.
func (db *DB) matching(f mdm.Filter) []*mdm.Enrollment {
	var list []*mdm.Enrollment
	for _, e := range db.enrollments {
		if f.Matches(e) && (f.After.IsZero() || compareIDs(e.ID, f.After) > 0) {
			list = append(list, copied(e))
		}
	}
	slices.SortFunc(list, func(a, b *mdm.Enrollment) int { return compareIDs(a.ID, b.ID) })
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	return list
}

func compareIDs(a, b mdm.EnrollmentID) int {
	if n := strings.Compare(a.Device, b.Device); n != 0 {
		return n
	}
	return strings.Compare(a.User, b.User)
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
