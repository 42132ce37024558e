package sqlstore

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

const (
	enrollmentFields = "tenant$ device$ usr$ channel state generation topic$ rights info$ serial$ short_name$ long_name$ arrival$ awaiting push_token# push_magic$ authenticated_at enrolled_at token_updated_at ended_at end_reason$ presence presence_at look_at"
	certificateNames = "tenant, fingerprint, device, device_serial, status, purpose, generation, serial, subject, not_before, not_after, issued_at, bound_at, retired_at"
)

var (
	opNewEnrollment = newOp(enrollmentFields, `INSERT INTO mdm_enrollments (tenant, device, usr, channel, state, generation, topic, rights, info, serial,
			short_name, long_name, arrival, awaiting, push_token, push_magic, authenticated_at, enrolled_at, token_updated_at, ended_at, end_reason, presence, presence_at, look_at)
		{values :tenant, :device, :usr, :channel, :state, :generation, :topic, :rights, :info, :serial,
			:short_name, :long_name, :arrival, :awaiting, :push_token, :push_magic, :authenticated_at, :enrolled_at, :token_updated_at, :ended_at, :end_reason, :presence, :presence_at, :look_at}`)
	// look_at is kept, unless it is given: 0 is at once.
	opEnrollment = newOp(enrollmentFields+" id", `UPDATE mdm_enrollments SET look_at = CASE WHEN :look_at < 0 THEN mdm_enrollments.look_at ELSE :look_at END,
			presence = :presence, presence_at = :presence_at, channel = :channel, state = :state, generation = :generation, topic = :topic,
			rights = :rights, info = :info, serial = :serial, short_name = :short_name, long_name = :long_name, arrival = :arrival,
			awaiting = :awaiting, push_token = :push_token, push_magic = :push_magic, authenticated_at = :authenticated_at,
			enrolled_at = :enrolled_at, token_updated_at = :token_updated_at, ended_at = :ended_at, end_reason = :end_reason {from}
		WHERE mdm_enrollments.id = :id`)
	opCertificate = newOp("tenant$ fingerprint# device$ device_serial$ status purpose generation serial$ subject$ not_before not_after issued_at bound_at retired_at",
		`INSERT INTO mdm_certificates (`+certificateNames+`)
		{values :tenant, :fingerprint, :device, :device_serial, :status, :purpose, :generation, :serial, :subject, :not_before, :not_after, :issued_at, :bound_at, :retired_at}
		{upsert tenant, fingerprint: device = {new device}, device_serial = {new device_serial}, status = {new status}, purpose = {new purpose},
			generation = {new generation}, serial = {new serial}, subject = {new subject}, not_before = {new not_before}, not_after = {new not_after},
			issued_at = {new issued_at}, bound_at = {new bound_at}, retired_at = {new retired_at}}`).onceEach()
	opSecret = newOp("enrollment subject$ generation at sealed#", `INSERT INTO mdm_secrets (enrollment, subject, generation, stored_at, archived, sealed)
		{values :enrollment, :subject, :generation, :at, 0, :sealed}`)
	opArchiveSecret = newOp("enrollment subject$ at", `UPDATE mdm_secrets SET archived = :at {from}
		WHERE mdm_secrets.enrollment = :enrollment AND mdm_secrets.subject = :subject AND mdm_secrets.archived = 0`)
)

// Update implements checkin.Store.
func (db *DB) Update(ctx context.Context, key checkin.Key, decide func(*checkin.Situation) (checkin.Plan, error)) error {
	v := &visit{key: key.ID, fp: key.Fingerprint}
	seen := false
	v.run = func(t *tx, k *known) error {
		seen = false
		slices.SortFunc(k.users, func(a, b *row) int { return compareIDs(a.ID, b.ID) })
		s := &checkin.Situation{Standing: k.Standing, ReplacementSent: k.replacement}
		if k.device != nil {
			s.EraseSent = k.device.eraseSent != 0 && k.device.eraseSent == k.device.Generation
			for _, u := range k.users {
				if !key.ID.IsUser() {
					s.Users = append(s.Users, u.ID)
				}
			}
		}
		plan, err := decide(s)
		if err != nil {
			return err
		}
		if err := t.carryOut(ctx, &v.turn, k, key.ID, plan); err != nil {
			return err
		}
		seen = plan.Seen
		return keep(plan.Refusal)
	}
	err := db.visit(ctx, v)
	if seen {
		db.seen.heard(key.ID, db.now())
	}
	return err
}

// carryOut writes a plan.
func (t *tx) carryOut(ctx context.Context, v *turn, k *known, id mdm.EnrollmentID, p checkin.Plan) error {
	for i := range p.Enrollments {
		e := &p.Enrollments[i]
		former, err := t.former(ctx, k, id, e.ID)
		if err != nil {
			return err
		}
		if err := t.writeEnrollment(v, e, former); err != nil {
			return err
		}
	}
	t.writeCertificates(v, p.Certificates)
	if p.NewGeneration || p.End {
		if err := t.endGeneration(ctx, v, k, id.DeviceID(), p.End); err != nil {
			return err
		}
	}
	if p.Seen && !p.End {
		if err := t.heard(v, k, false); err != nil {
			return err
		}
	}
	if err := t.storeSecrets(ctx, v, k, id, p); err != nil {
		return err
	}
	if p.Wake {
		n, err := t.rowID(ctx, id)
		if err != nil {
			return err
		}
		if n != 0 {
			t.wake(v, n, t.db.now())
		}
	}
	return t.record(v, p.Events...)
}

// former returns the row of an enrollment that a plan writes, nil if there is none. Of the caller and its device it is known.
func (t *tx) former(ctx context.Context, k *known, caller, id mdm.EnrollmentID) (*row, error) {
	switch id {
	case caller:
		return k.own, nil
	case caller.DeviceID():
		return k.device, nil
	}
	for _, u := range k.users {
		if u.ID == id {
			return u, nil
		}
	}
	return rowOf(ctx, t, id)
}

// writeEnrollment writes a row whole, but for what the store keeps itself. former is what is there already. A new row that
// somebody else has written meanwhile fails as a duplicate, and the transaction runs again.
func (t *tx) writeEnrollment(v *turn, e *mdm.Enrollment, former *row) error {
	info, err := json.Marshal(e.Device)
	if err != nil {
		return err
	}
	p := t.presenceOf(e, former)
	fields := []any{e.ID.Tenant, e.ID.Device, e.ID.User, e.Channel, e.State, e.Generation, e.Topic, e.Rights, string(info), e.Device.SerialNumber,
		e.UserShortName, e.UserLongName, string(e.Arrival), e.AwaitingConfiguration, e.PushToken, e.PushMagic, micros(e.AuthenticatedAt),
		micros(e.EnrolledAt), micros(e.TokenUpdatedAt), micros(e.EndedAt), e.EndReason, p.presence, micros(p.since), p.look}
	if former == nil {
		t.write(v, opNewEnrollment, fields...)
		return nil
	}
	t.write(v, opEnrollment, append(fields, former.id)...)
	if pushable(e) && !pushable(&former.Enrollment) {
		t.write(v, opUnpark, former.id) // what waited for a token that works
	}
	if p.presence == former.Presence {
		return nil
	}
	return t.record(v, mdm.Event{Type: p.presence.Event(), At: p.since, Enrollment: e.ID, Generation: e.Generation, Reason: p.why})
}

func (t *tx) writeCertificates(v *turn, certs []mdm.Certificate) {
	for _, c := range certs {
		t.write(v, opCertificate, c.Tenant, c.Fingerprint[:], c.Device, c.DeviceSerial, c.Status, c.Purpose, c.Generation, c.SerialNumber, c.Subject,
			micros(c.NotBefore), micros(c.NotAfter), micros(c.IssuedAt), micros(c.BoundAt), micros(c.RetiredAt))
	}
}

// rowID returns the row of an enrollment, 0 if there is none.
func (t *tx) rowID(ctx context.Context, id mdm.EnrollmentID) (int64, error) {
	if n := t.ids[id]; n != 0 {
		return n, nil
	}
	var n int64
	_, err := one(ctx, t, "SELECT id FROM mdm_enrollments WHERE tenant = ? AND device = ? AND usr = ?", []any{id.Tenant, id.Device, id.User}, &n)
	t.ids[id] = n
	return n, err
}

// The subjects of secrets that devices send.
const (
	unlockToken    = "UnlockToken"
	bootstrapToken = "BootstrapToken"
)

func (t *tx) storeSecrets(ctx context.Context, v *turn, k *known, id mdm.EnrollmentID, p checkin.Plan) error {
	if !p.UnlockToken.IsZero() {
		if err := t.storeSecret(ctx, v, k, p, id.DeviceID(), unlockToken, p.UnlockToken); err != nil {
			return err
		}
	}
	if p.BootstrapToken != nil {
		if err := t.storeSecret(ctx, v, k, p, id.DeviceID(), bootstrapToken, *p.BootstrapToken); err != nil {
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
	t.exec(v, "UPDATE mdm_enrollments SET auth_token = ? WHERE tenant = ? AND device = ? AND usr = ?", hash, id.Tenant, id.Device, id.User)
	return nil
}

// endGeneration ends what belonged to the device's former generation, of its users too.
func (t *tx) endGeneration(ctx context.Context, v *turn, k *known, device mdm.EnrollmentID, end bool) error {
	if k.device == nil { // there was none
		return nil
	}
	reason := "the device enrolled anew"
	if end {
		reason = "the enrollment ended"
	}
	deviceRow, at := k.device.id, micros(t.db.now())
	t.tellFanOuts(v)
	if err := t.cancelOpen(ctx, v, device, deviceRow, reason); err != nil {
		return err
	}
	for _, u := range k.users {
		if err := t.cancelOpen(ctx, v, u.ID, u.id, reason); err != nil {
			return err
		}
		t.exec(v, `UPDATE mdm_enrollments SET state = ?, ended_at = ?, end_reason = ?, push_token = NULL, push_magic = '', auth_token = NULL,
			presence = ?, presence_at = ? WHERE id = ?`, mdm.Ended, at, reason, mdm.Gone, at, u.id)
		t.exec(v, "DELETE FROM mdm_pushes WHERE enrollment = ?", u.id)
		t.exec(v, forgetGroups, u.id)
	}
	t.exec(v, forgetGroups, deviceRow)
	t.exec(v, "UPDATE mdm_enrollments SET auth_token = NULL WHERE id = ?", deviceRow)
	if end {
		t.exec(v, "DELETE FROM mdm_pushes WHERE enrollment = ?", deviceRow)
	}
	t.exec(v, "UPDATE mdm_secrets SET archived = ? WHERE enrollment = ? AND archived = 0", at, deviceRow)
	return nil
}

// storeSecret puts a secret in place of the current one, which is archived. A zero one only archives.
func (t *tx) storeSecret(ctx context.Context, v *turn, k *known, p checkin.Plan, device mdm.EnrollmentID, subject string, s mdm.Secret) error {
	current, id, generation, err := t.currentSecret(ctx, k, p, device, subject)
	if err != nil || id == 0 {
		return err
	}
	if current.Equal(s) { // devices repeat what they said
		return nil
	}
	at := micros(t.db.now())
	if !current.IsZero() {
		t.write(v, opArchiveSecret, id, subject, at)
	}
	if s.IsZero() {
		return nil
	}
	sealed, err := t.db.cfg.Sealer.Seal(s.Reveal(), secretName(device, subject))
	if err != nil {
		return err
	}
	t.write(v, opSecret, id, subject, generation, at, sealed)
	return nil
}

// currentSecret is secret, as it is after what p has written so far.
func (t *tx) currentSecret(ctx context.Context, k *known, p checkin.Plan, device mdm.EnrollmentID, subject string) (s mdm.Secret, id int64, generation mdm.Generation, err error) {
	if k.device == nil {
		return t.secret(ctx, device, subject)
	}
	id, generation = k.device.id, k.device.Generation
	for _, e := range p.Enrollments {
		if e.ID == device {
			generation = e.Generation
		}
	}
	if sealed := k.secrets[subject]; sealed != nil && !p.NewGeneration && !p.End {
		s, err = t.db.openSecret(device, subject, sealed)
	}
	return s, id, generation, err
}

func (db *DB) openSecret(device mdm.EnrollmentID, subject string, sealed []byte) (mdm.Secret, error) {
	plain, err := db.cfg.Sealer.Open(sealed, secretName(device, subject))
	return mdm.NewSecret(plain), err
}

// secret returns the current secret, zero if there is none, with the device's row and generation.
func (t *tx) secret(ctx context.Context, device mdm.EnrollmentID, subject string) (s mdm.Secret, id int64, generation mdm.Generation, err error) {
	var sealed []byte
	_, err = one(ctx, t, `SELECT e.id, e.generation, s.sealed FROM mdm_enrollments e
		LEFT JOIN mdm_secrets s ON s.enrollment = e.id AND s.subject = ? AND s.archived = 0
		WHERE e.tenant = ? AND e.device = ? AND e.usr = ''`, []any{subject, device.Tenant, device.Device}, &id, (*int64)(&generation), &sealed)
	if err != nil || sealed == nil {
		return s, id, generation, err
	}
	s, err = t.db.openSecret(device, subject, sealed)
	return s, id, generation, err
}

// UnlockToken implements checkin.Escrow.
func (db *DB) UnlockToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, id.DeviceID(), unlockToken, why)
}

// BootstrapToken implements checkin.Escrow.
func (db *DB) BootstrapToken(ctx context.Context, id mdm.EnrollmentID, why string) (mdm.Secret, error) {
	return db.readSecret(ctx, id.DeviceID(), bootstrapToken, why)
}

// readSecret gives a secret out, with the event that says so in the same transaction.
func (db *DB) readSecret(ctx context.Context, device mdm.EnrollmentID, subject, why string) (s mdm.Secret, err error) {
	err = db.update(ctx, func(t *tx) error {
		var generation mdm.Generation
		if s, _, generation, err = t.secret(ctx, device, subject); err != nil || s.IsZero() {
			return err
		}
		return t.record(&turn{}, mdm.Event{Type: mdm.EventSecretRead, At: db.now(), Enrollment: device, Generation: generation, Subject: subject, Reason: why})
	})
	if err != nil {
		return mdm.Secret{}, err
	}
	return s, nil
}

// What a sealed value is bound to: it opens nowhere else.

func secretName(id mdm.EnrollmentID, subject string) []byte {
	return []byte("secrets/" + subject + "/" + id.String())
}

func bodyName(tenant, uuid string) []byte { return []byte("commands/body/" + tenant + "/" + uuid) }

func resultName(enrollment, seq int64) []byte {
	return []byte("history/result/" + strconv.FormatInt(enrollment, 10) + "/" + strconv.FormatInt(seq, 10))
}

func asideName(id mdm.EnrollmentID) []byte { return []byte("asides/raw/" + id.String()) }

func fanOutName(id int64) []byte { return []byte("fanouts/spec/" + strconv.FormatInt(id, 10)) }

func vaultName(name string) []byte { return []byte("vault/" + name) }

func pushKeyName(topic string) []byte { return []byte("push_certificates/key/" + topic) }
