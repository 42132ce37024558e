package sqlite

import (
	"context"
	"strconv"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Update implements checkin.Store.
func (db *DB) Update(ctx context.Context, key checkin.Key, decide func(*checkin.Situation) (checkin.Plan, error)) error {
	return db.update(ctx, func(t *tx) error {
		s, err := t.situation(ctx, key)
		if err != nil {
			return err
		}
		plan, err := decide(s)
		if err != nil {
			return err
		}
		if err := t.carryOut(ctx, key.ID, plan); err != nil {
			return err
		}
		if plan.Seen {
			db.seen.note(key.ID, db.now())
		}
		return keep(plan.Refusal)
	})
}

func (t *tx) situation(ctx context.Context, key checkin.Key) (*checkin.Situation, error) {
	base, own, device, err := standing(ctx, t, key.ID, key.Fingerprint)
	if err != nil {
		return nil, err
	}
	s := &checkin.Situation{Standing: base}
	for _, r := range []*row{own, device} {
		if r != nil {
			t.ids[r.ID] = r.id
		}
	}
	if device == nil {
		return s, nil
	}
	s.EraseSent = device.eraseSent != 0 && device.eraseSent == device.Generation
	var n int
	s.ReplacementSent, err = one(ctx, t, `SELECT 1 FROM queue WHERE enrollment = ? AND generation = ? AND sends > 0 AND traits & ? <> 0 LIMIT 1`,
		[]any{device.id, device.Generation, command.ReplacesMDM}, &n)
	if err != nil || key.ID.IsUser() {
		return s, err
	}
	users, err := t.users(ctx, key.ID)
	for _, u := range users {
		s.Users = append(s.Users, u.ID)
	}
	return s, err
}

// users returns the user channels of a device that are not ended, in order.
func (t *tx) users(ctx context.Context, device mdm.EnrollmentID) ([]*row, error) {
	var rows []*row
	err := each(ctx, t, `SELECT `+enrollmentColumns+` FROM enrollments WHERE tenant = ? AND device = ? AND user <> '' AND state <> ? ORDER BY user`,
		[]any{device.Tenant, device.Device, mdm.Ended}, func(scan func(...any) error) error {
			r, err := scanRow(scan)
			rows = append(rows, r)
			return err
		})
	return rows, err
}

// carryOut writes a plan.
func (t *tx) carryOut(ctx context.Context, id mdm.EnrollmentID, p checkin.Plan) error {
	for i := range p.Enrollments {
		if err := t.writeEnrollment(ctx, &p.Enrollments[i]); err != nil {
			return err
		}
		delete(t.ids, p.Enrollments[i].ID)
	}
	if err := t.writeCertificates(ctx, p.Certificates); err != nil {
		return err
	}
	if p.NewGeneration || p.End {
		if err := t.endGeneration(ctx, id.DeviceID(), p.End); err != nil {
			return err
		}
	}
	if err := t.storeSecrets(ctx, id, p); err != nil {
		return err
	}
	if p.Wake {
		if err := t.wake(ctx, id, t.w.db.now()); err != nil {
			return err
		}
	}
	return t.record(ctx, p.Events...)
}

func (t *tx) storeSecrets(ctx context.Context, id mdm.EnrollmentID, p checkin.Plan) error {
	if !p.UnlockToken.IsZero() {
		if err := t.storeSecret(ctx, id.DeviceID(), "UnlockToken", p.UnlockToken); err != nil {
			return err
		}
	}
	if p.BootstrapToken != nil {
		if err := t.storeSecret(ctx, id.DeviceID(), "BootstrapToken", *p.BootstrapToken); err != nil {
			return err
		}
	}
	if p.AuthTokenHash == nil {
		return nil
	}
	var hash any
	if len(p.AuthTokenHash) > 0 {
		hash = p.AuthTokenHash
	}
	_, err := t.exec(ctx, `UPDATE enrollments SET auth_token = ? WHERE tenant = ? AND device = ? AND user = ?`, hash, id.Tenant, id.Device, id.User)
	return err
}

// endGeneration ends what belonged to the device's former generation, of its users too.
func (t *tx) endGeneration(ctx context.Context, device mdm.EnrollmentID, end bool) error {
	reason := "the device enrolled anew"
	if end {
		reason = "the enrollment ended"
	}
	deviceRow, err := t.rowID(ctx, device)
	if err != nil || deviceRow == 0 {
		return err
	}
	users, err := t.users(ctx, device)
	if err != nil {
		return err
	}
	at := t.w.db.now()
	if err := t.cancelOpen(ctx, device, deviceRow, reason); err != nil {
		return err
	}
	for _, u := range users {
		if err := t.cancelOpen(ctx, u.ID, u.id, reason); err != nil {
			return err
		}
		_, err := t.exec(ctx, `UPDATE enrollments SET state = ?, ended_at = ?, end_reason = ?, push_token = NULL, push_magic = '', auth_token = NULL
			WHERE id = ?`, mdm.Ended, micros(at), reason, u.id)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM pushes WHERE enrollment = ?`, u.id); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, `UPDATE enrollments SET auth_token = NULL WHERE id = ?`, deviceRow); err != nil {
		return err
	}
	if end {
		if _, err := t.exec(ctx, `DELETE FROM pushes WHERE enrollment = ?`, deviceRow); err != nil {
			return err
		}
	}
	_, err = t.exec(ctx, `UPDATE secrets SET archived = ? WHERE enrollment = ? AND archived = 0`, micros(at), deviceRow)
	return err
}

// secretName is what a sealed secret is bound to: it opens nowhere else.
func secretName(id mdm.EnrollmentID, subject string) []byte {
	return []byte("secrets/" + subject + "/" + id.String())
}

// storeSecret puts a secret in place of the current one, which is archived. A zero one only archives.
func (t *tx) storeSecret(ctx context.Context, device mdm.EnrollmentID, subject string, s mdm.Secret) error {
	id, err := t.rowID(ctx, device)
	if err != nil || id == 0 {
		return err
	}
	current, err := t.secret(ctx, device, subject)
	if err != nil {
		return err
	}
	if current.Equal(s) { // devices repeat what they said
		return nil
	}
	at := micros(t.w.db.now())
	if _, err := t.exec(ctx, `UPDATE secrets SET archived = ? WHERE enrollment = ? AND subject = ? AND archived = 0`, at, id, subject); err != nil || s.IsZero() {
		return err
	}
	sealed, err := t.w.db.cfg.Sealer.Seal(s.Reveal(), secretName(device, subject))
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO secrets (enrollment, subject, generation, stored_at, archived, sealed)
		VALUES (?1, ?2, (SELECT generation FROM enrollments WHERE id = ?1), ?3, 0, ?4)`, id, subject, at, sealed)
	return err
}

// secret returns the current secret, zero if there is none.
func (t *tx) secret(ctx context.Context, device mdm.EnrollmentID, subject string) (mdm.Secret, error) {
	id, err := t.rowID(ctx, device)
	if err != nil {
		return mdm.Secret{}, err
	}
	var sealed []byte
	found, err := one(ctx, t, `SELECT sealed FROM secrets WHERE enrollment = ? AND subject = ? AND archived = 0`, []any{id, subject}, &sealed)
	if err != nil || !found {
		return mdm.Secret{}, err
	}
	plain, err := t.w.db.cfg.Sealer.Open(sealed, secretName(device, subject))
	return mdm.NewSecret(plain), err
}

// UnlockToken implements checkin.Escrow.
func (db *DB) UnlockToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, id.DeviceID(), "UnlockToken", why)
}

// BootstrapToken implements checkin.Escrow.
func (db *DB) BootstrapToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, id.DeviceID(), "BootstrapToken", why)
}

// readSecret gives a secret out, with the event that says so in the same transaction.
func (db *DB) readSecret(ctx context.Context, device mdm.EnrollmentID, subject, why string) (s mdm.Secret, err error) {
	err = db.update(ctx, func(t *tx) error {
		if s, err = t.secret(ctx, device, subject); err != nil || s.IsZero() {
			return err
		}
		var generation mdm.Generation
		if _, err := one(ctx, t, `SELECT generation FROM enrollments WHERE id = ?`, []any{t.ids[device]}, &generation); err != nil {
			return err
		}
		return t.record(ctx, mdm.Event{Type: mdm.EventSecretRead, At: db.now(), Enrollment: device, Generation: generation, Subject: subject, Reason: why})
	})
	if err != nil {
		return mdm.Secret{}, err
	}
	return s, nil
}

// bodyName is what a sealed command body is bound to.
func bodyName(tenant, uuid string) []byte { return []byte("commands/body/" + tenant + "/" + uuid) }

// resultName is what a sealed result is bound to.
func resultName(enrollment, seq int64) []byte {
	return []byte("history/result/" + strconv.FormatInt(enrollment, 10) + "/" + strconv.FormatInt(seq, 10))
}
