package memory

import (
	"bytes"
	"context"
	"time"

	"github.com/gomdm/applemdm/checkin"
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

// standing holds copies, so that nothing outside can change what is stored.
func (db *DB) standing(id mdm.EnrollmentID, fp mdm.Fingerprint) identity.Standing {
	device := id.DeviceID()
	s := identity.Standing{
		Device:        db.row(device),
		Certificate:   db.certificate(certificateKey{id.Tenant, fp}),
		Denied:        db.denial(device, fp),
		AuthTokenHash: bytes.Clone(db.authTokens[id]),
	}
	s.Enrollment = s.Device
	if id.IsUser() {
		s.Enrollment = db.row(id)
	}
	bound := db.identities[device]
	s.Active = db.certificate(certificateKey{id.Tenant, bound.active})
	s.Pending = db.certificate(certificateKey{id.Tenant, bound.pending})
	return s
}

func (db *DB) situation(key checkin.Key) *checkin.Situation {
	device := key.ID.DeviceID()
	s := &checkin.Situation{Standing: db.standing(key.ID, key.Fingerprint)}
	if q := db.queues[device]; q != nil && s.Device != nil {
		s.EraseSent = q.eraseSent != 0 && q.eraseSent == s.Device.Generation
		s.ReplacementSent = q.replacementSent(s.Device.Generation)
	}
	if !key.ID.IsUser() {
		s.Users = db.livingUsers(device)
	}
	return s
}

// carryOut writes a plan. Nothing in it can fail.
func (db *DB) carryOut(id mdm.EnrollmentID, p checkin.Plan) {
	at := db.dateOf(p)
	switch {
	case p.End:
		db.endGeneration(id.DeviceID(), at, "the enrollment ended")
		db.forgetPushes(id.DeviceID())
	case p.NewGeneration:
		db.endGeneration(id.DeviceID(), at, "the device enrolled anew")
	}
	for _, e := range p.Enrollments {
		db.writeRow(e)
	}
	db.writeCertificates(p.Certificates)
	if !p.UnlockToken.IsZero() {
		db.replaceSecret(id, unlockToken, p.UnlockToken)
	}
	if p.BootstrapToken != nil {
		db.replaceSecret(id, bootstrapToken, *p.BootstrapToken)
	}
	switch {
	case len(p.AuthTokenHash) > 0:
		db.authTokens[id] = bytes.Clone(p.AuthTokenHash)
	case p.AuthTokenHash != nil:
		delete(db.authTokens, id)
	}
	if p.Wake {
		db.wake(id, db.now())
	}
	if p.Seen {
		db.heard(id, at, false)
	}
	db.record(p.Events...)
}

// dateOf returns when a plan was made, as far as it says so.
func (db *DB) dateOf(p checkin.Plan) time.Time {
	if len(p.Events) > 0 && !p.Events[0].At.IsZero() {
		return p.Events[0].At
	}
	return db.now()
}

// endGeneration ends what belonged to the former generation of a device.
func (db *DB) endGeneration(device mdm.EnrollmentID, at time.Time, why string) {
	db.cancelOpen(device, at, why)
	db.forgetDeclarations(device)
	delete(db.authTokens, device)
	db.replaceSecret(device, unlockToken, mdm.Secret{})
	db.replaceSecret(device, bootstrapToken, mdm.Secret{})
	for _, id := range db.livingUsers(device) {
		db.cancelOpen(id, at, why)
		delete(db.authTokens, id)
		delete(db.intents, id)
		user := db.rows[id]
		user.State, user.EndedAt, user.EndReason = mdm.Ended, at, why
		user.PushToken, user.PushMagic = nil, ""
		user.Presence, user.PresenceSince = mdm.Gone, at
	}
}

func (db *DB) forgetPushes(device mdm.EnrollmentID) {
	delete(db.intents, device)
	for _, id := range db.users[device] {
		delete(db.intents, id)
	}
}
