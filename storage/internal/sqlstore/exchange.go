package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
)

const historyNames = "enrollment, seq, command, generation, state, priority, collapse, not_before, not_after, queued_at, sent_at, sends, deferred_at, deferrals, finished_at, note, digest, result"

var (
	opReset = newOp("enrollment queued deferred", "UPDATE mdm_queue SET state = :queued {from} WHERE mdm_queue.enrollment = :enrollment AND mdm_queue.state = :deferred")
	opSent  = newOp("enrollment priority seq state at checked", `UPDATE mdm_queue SET state = :state, sent_at = :at, sends = sends + 1, checked = :checked {from}
		WHERE mdm_queue.enrollment = :enrollment AND mdm_queue.priority = :priority AND mdm_queue.seq = :seq`)
	opDefer = newOp("enrollment priority seq state at", `UPDATE mdm_queue SET state = :state, deferred_at = :at, deferrals = deferrals + 1 {from}
		WHERE mdm_queue.enrollment = :enrollment AND mdm_queue.priority = :priority AND mdm_queue.seq = :seq`)
	opArchive = newOp("enrollment priority seq state at note$ digest# result#", `INSERT INTO mdm_history (`+historyNames+`)
		SELECT q.enrollment, q.seq, q.command, q.generation, :state, q.priority,
			q.collapse, q.not_before, q.not_after, q.queued_at, q.sent_at, q.sends, q.deferred_at, q.deferrals, :at, :note, :digest, :result
		FROM mdm_queue q {also} WHERE q.enrollment = :enrollment AND q.priority = :priority AND q.seq = :seq`)
	opDequeue = newOp("enrollment priority seq", `DELETE FROM mdm_queue {using}
		WHERE mdm_queue.enrollment = :enrollment AND mdm_queue.priority = :priority AND mdm_queue.seq = :seq`)
	// opFinish is opArchive and opDequeue in one, where a statement can go on with what another one deleted.
	opFinish = newOp("enrollment priority seq state at note$ digest# result#", `WITH q AS (DELETE FROM mdm_queue {using}
			WHERE mdm_queue.enrollment = :enrollment AND mdm_queue.priority = :priority AND mdm_queue.seq = :seq
			RETURNING mdm_queue.*, :state AS new_state, :at AS at, :note AS note, :digest AS digest, :result AS result)
		INSERT INTO mdm_history (`+historyNames+`)
		SELECT q.enrollment, q.seq, q.command, q.generation, q.new_state, q.priority,
			q.collapse, q.not_before, q.not_after, q.queued_at, q.sent_at, q.sends, q.deferred_at, q.deferrals, q.at, q.note, q.digest, q.result FROM q`)
	opErase = newOp("id generation", "UPDATE mdm_enrollments SET erase_sent = :generation {from} WHERE mdm_enrollments.id = :id")
	opAside = newOp("tenant$ device$ usr$ at status$ uuid$ reason$ raw#", `INSERT INTO mdm_asides (tenant, device, usr, at, status, uuid, reason, raw)
		{values :tenant, :device, :usr, :at, :status, :uuid, :reason, :raw}`)
)

// Exchange implements command.Exchanger. An idle poll that finds nothing to do reads and writes nothing; all else is one
// write transaction, perhaps together with other devices' requests.
func (db *DB) Exchange(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	if r.Status == command.StatusIdle {
		if done, err := db.idle(ctx, r, admit); done || err != nil {
			return nil, err
		}
	}
	v := &visit{key: r.ID, fp: r.Fingerprint, report: r}
	v.run = func(t *tx, k *known) error { return v.exchange(ctx, t, k, admit) }
	if err := db.visit(ctx, v); err != nil {
		return nil, err
	}
	db.seen.heard(r.ID, r.At)
	return v.offer, nil
}

// idle answers an idle poll for which there is nothing to write. It is false if a write transaction must look again.
func (db *DB) idle(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (bool, error) {
	k, err := db.look(ctx, &glance{id: r.ID, fp: r.Fingerprint, at: r.At})
	if err != nil {
		return false, err
	}
	v := admit(&k.Standing)
	if v.Err != nil || v.Device != nil || v.Certificates != nil || v.Events != nil {
		return false, nil
	}
	if k.own != nil && k.own.State == mdm.Enrolled && k.anyOpen || k.missed() {
		return false, nil
	}
	db.seen.heard(r.ID, r.At)
	return true, nil
}

func (v *visit) exchange(ctx context.Context, t *tx, k *known, admit func(*identity.Standing) identity.Verdict) error {
	verdict := admit(&k.Standing)
	if verdict.Device != nil {
		if err := t.writeEnrollment(&v.turn, verdict.Device, k.device); err != nil {
			return err
		}
		if k.own != nil && k.device != nil && k.own.id == k.device.id {
			k.own.Enrollment = *verdict.Device
		}
	}
	t.writeCertificates(&v.turn, verdict.Certificates)
	if err := t.record(&v.turn, verdict.Events...); err != nil {
		return err
	}
	if verdict.Err != nil {
		return keep(verdict.Err)
	}
	if err := t.heard(&v.turn, k, true); err != nil {
		return err
	}
	if err := v.settle(t, k); err != nil {
		return err
	}
	if k.own == nil || k.own.State != mdm.Enrolled {
		return nil
	}
	r := v.report
	if r.Status == command.StatusIdle { // a session begins: deferred commands are eligible again
		t.write(&v.turn, opReset, k.own.id, command.Queued, command.Deferred)
	}
	for _, o := range k.late {
		if err := v.finish(t, k, o, command.Expired, mdm.EventCommandExpired); err != nil {
			return err
		}
	}
	next := k.next
	for next != nil {
		sent, err := v.send(t, k, next)
		if sent || err != nil {
			return err
		}
		if next, err = v.another(ctx, t, k); err != nil {
			return err
		}
	}
	return v.endSession(ctx, t, k)
}

// another looks for the next command again, after one that did not fit.
func (v *visit) another(ctx context.Context, t *tx, k *known) (*open, error) {
	again := &known{}
	calls := opReport.ask(t.db.dialect, [][]any{v.params(opReport)}, []mdm.EnrollmentID{v.key}, []*known{again})
	err := t.send(ctx, false, calls...)
	k.anyOpen = again.anyOpen
	return again.next, err
}

// params are the parameters of what v asks.
func (v *visit) params(o *op) []any {
	row := []any{v.key.Tenant, v.key.Device, v.key.User}
	if o == opTarget {
		return append(row, v.command, v.priority)
	}
	row = append(row, v.fp[:])
	if o != opReport {
		return row
	}
	r := v.report
	id, settled, setup, idle := commandID(v.key.Tenant, r.CommandUUID), int64(0), int64(255), int64(0)
	if state, _ := r.Status.Final(); state != 0 {
		settled = id
	}
	if r.Status == command.StatusIdle {
		idle = 1
	}
	if r.UserConfiguration {
		setup = int64(command.PasscodeOnly | command.EndsSetup)
	}
	return append(row, id, r.CommandUUID, settled, micros(r.At), setup, idle)
}

// commandID is the id of a command's row: the first 63 bits of a hash, and never 0.
func commandID(tenant, uuid string) int64 {
	sum := sha256.Sum256([]byte(tenant + "\x00" + uuid))
	return int64(binary.BigEndian.Uint64(sum[:8])>>1) | 1
}

func (o *open) event(kind mdm.EventType, id mdm.EnrollmentID, at time.Time, why string) mdm.Event {
	return mdm.Event{Type: kind, At: at, Enrollment: id, Generation: o.generation, CommandUUID: o.uuid, RequestType: o.requestType, Reason: why}
}

// send makes a command the offer. It is false if the command does not fit the device any more: then it is canceled.
func (v *visit) send(t *tx, k *known, o *open) (bool, error) {
	id, at := k.own.ID, v.report.At
	if o.generation != k.own.Generation { // it was queued while the generation ended
		return false, t.cancel(&v.turn, id, o, command.Canceled, "of a former generation")
	}
	body, err := t.db.cfg.Sealer.Open(o.body, bodyName(id.Tenant, o.uuid))
	if err != nil {
		return false, err
	}
	device := k.device
	if device == nil {
		device = k.own
	}
	target := schema.TargetOf(&k.own.Enrollment, &device.Enrollment)
	if o.checked != target.Digest() { // something else is known of the device than when it was queued
		if err := command.Recheck(body, o.relax, target); err != nil {
			return false, t.cancel(&v.turn, id, o, command.Canceled, command.NoLongerFits(err))
		}
	}
	t.write(&v.turn, opSent, k.own.id, o.priority, o.seq, command.Sent, micros(at), target.Digest())
	if o.traits&command.Erases != 0 {
		t.write(&v.turn, opErase, k.own.id, o.generation)
	}
	v.offer = &command.Offer{UUID: o.uuid, RequestType: o.requestType, Body: body}
	return true, t.record(&v.turn, o.event(mdm.EventCommandSent, id, at, ""))
}

// endSession leaves pushes for what remains: deferred commands, and those that are not due yet.
func (v *visit) endSession(ctx context.Context, t *tx, k *known) error {
	r := v.report
	polls := r.Status == command.StatusNotNow && r.Unsent == nil // NotNow was its last word
	deferred := r.Status == command.StatusNotNow && k.reported != nil && (r.Unsent == nil || !r.Unsent.CalledOff)
	var later int64 // when the next one is due that is not yet
	if k.anyOpen {
		var others int64
		_, err := one(ctx, t, `SELECT COALESCE(MAX(CASE WHEN state = ? THEN 1 ELSE 0 END), 0), COALESCE(MIN(CASE WHEN not_before > ? THEN not_before END), 0)
			FROM mdm_queue WHERE enrollment = ?`, []any{command.Deferred, micros(r.At), k.own.id}, &others, &later)
		if err != nil {
			return err
		}
		deferred = deferred || others != 0
	}
	if deferred {
		delay := command.DeferredPush
		if polls {
			delay = command.SafetyPush
		}
		t.wake(&v.turn, k.own.id, r.At.Add(delay))
	}
	if later > 0 {
		t.wake(&v.turn, k.own.id, fromMicros(later))
	}
	return nil
}

// settle records what a report says of a command.
func (v *visit) settle(t *tx, k *known) error {
	r := v.report
	if r.Status == command.StatusIdle {
		return nil
	}
	state, final := r.Status.Final()
	o := k.reported
	switch {
	case r.Unsent != nil:
		return v.unsent(t, k, o)
	case state == 0:
		return v.keepAside(t, k, "unknown status")
	case o == nil && k.finished:
		// The repetition of the report that finished a command leaves nothing.
		if sum := sha256.Sum256(r.Raw); k.was == state && string(k.digest) == string(sum[:]) {
			return nil
		}
		return v.keepAside(t, k, "the command is "+k.was.String()+" already")
	case o == nil:
		return v.keepAside(t, k, "unknown CommandUUID")
	case final:
		return v.answer(t, k, o, state)
	case o.state == command.Deferred: // said twice
		return nil
	}
	t.write(&v.turn, opDefer, o.enrollment, o.priority, o.seq, command.Deferred, micros(r.At))
	return t.record(&v.turn, o.event(mdm.EventCommandNotNow, k.own.ID, r.At, ""))
}

// unsent takes back that a command was sent.
func (v *visit) unsent(t *tx, k *known, o *open) error {
	r := v.report
	if o == nil {
		return nil
	}
	t.exec(&v.turn, "UPDATE mdm_queue SET sends = sends - 1 WHERE enrollment = ? AND priority = ? AND seq = ?", o.enrollment, o.priority, o.seq)
	if o.traits&command.Erases != 0 {
		t.write(&v.turn, opErase, k.own.id, int64(0))
	}
	if r.Unsent.CalledOff {
		return t.cancel(&v.turn, k.own.ID, o, command.Canceled, r.Unsent.Why)
	}
	t.write(&v.turn, opDefer, o.enrollment, o.priority, o.seq, command.Deferred, micros(r.At))
	return t.record(&v.turn, o.event(mdm.EventCommandNotNow, k.own.ID, r.At, r.Unsent.Why))
}

// answer finishes a command with its result.
func (v *visit) answer(t *tx, k *known, o *open, state command.State) error {
	r := v.report
	sealed, err := t.db.cfg.Sealer.Seal(r.Raw, resultName(o.enrollment, o.seq))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(r.Raw)
	t.archive(&v.turn, o, state, r.At, "", sum[:], sealed)
	kind := mdm.EventCommandAcknowledged
	if state == command.Acknowledged && !k.own.ID.IsUser() && command.Learn(&k.own.Device, o.requestType, r.Raw) {
		if err := t.writeEnrollment(&v.turn, &k.own.Enrollment, k.own); err != nil {
			return err
		}
	}
	if state != command.Acknowledged {
		kind = mdm.EventCommandFailed
		if o.traits&command.Erases != 0 { // it did not happen, so it is no evidence
			t.write(&v.turn, opErase, k.own.id, int64(0))
		}
	}
	e := o.event(kind, k.own.ID, r.At, "")
	e.Status = string(r.Status)
	return t.record(&v.turn, e)
}

func (v *visit) finish(t *tx, k *known, o *open, state command.State, kind mdm.EventType) error {
	t.archive(&v.turn, o, state, v.report.At, "", nil, nil)
	return t.record(&v.turn, o.event(kind, k.own.ID, v.report.At, ""))
}

func (v *visit) keepAside(t *tx, k *known, why string) error {
	r := v.report
	sealed, err := t.db.cfg.Sealer.Seal(r.Raw, asideName(r.ID))
	if err != nil {
		return err
	}
	t.write(&v.turn, opAside, r.ID.Tenant, r.ID.Device, r.ID.User, micros(r.At), string(r.Status), r.CommandUUID, why, sealed)
	e := mdm.Event{Type: mdm.EventReportAside, At: r.At, Enrollment: r.ID, CommandUUID: r.CommandUUID, Status: string(r.Status), Reason: why}
	if k.own != nil {
		e.Generation = k.own.Generation
	}
	return t.record(&v.turn, e)
}

// archive moves an entry from the queue into the history.
func (t *tx) archive(v *turn, o *open, state command.State, at time.Time, note string, digest, result []byte) {
	if t.db.dialect.Dollar {
		t.write(v, opFinish, o.enrollment, o.priority, o.seq, state, micros(at), note, digest, result)
		return
	}
	t.write(v, opArchive, o.enrollment, o.priority, o.seq, state, micros(at), note, digest, result)
	t.write(v, opDequeue, o.enrollment, o.priority, o.seq)
}

func (t *tx) cancel(v *turn, id mdm.EnrollmentID, o *open, state command.State, why string) error {
	at := t.db.now()
	t.archive(v, o, state, at, why, nil, nil)
	return t.record(v, o.event(mdm.EventCommandCanceled, id, at, why))
}

const openQuery = `SELECT ` + openInts + `, c.uuid, c.request_type FROM mdm_queue q JOIN mdm_commands c ON c.id = q.command WHERE q.enrollment = ? `

// selectOpen returns the open commands of a queue that a condition selects.
func (t *tx) selectOpen(ctx context.Context, enrollment int64, condition string, args ...any) ([]*open, error) {
	var all []*open
	err := t.query(ctx, openQuery+condition+" ORDER BY q.seq", append([]any{enrollment}, args...), func(scan func(...any) error) error {
		var f fact
		if err := scan(&f.n[0], &f.n[1], &f.n[2], &f.n[3], &f.n[4], &f.n[5], &f.n[6], &f.n[7], &f.n[8], &f.n[9], &f.s[0], &f.s[1]); err != nil {
			return err
		}
		all = append(all, f.open())
		return nil
	})
	return all, err
}

// cancelOpen cancels everything that is open on a queue. An erase that was sent has probably happened.
func (t *tx) cancelOpen(ctx context.Context, v *turn, id mdm.EnrollmentID, enrollment int64, why string) error {
	all, err := t.selectOpen(ctx, enrollment, "")
	if err != nil {
		return err
	}
	for _, o := range all {
		state := command.Canceled
		if o.traits&command.Erases != 0 && o.sends > 0 {
			state = command.Presumed
		}
		if err := t.cancel(v, id, o, state, why); err != nil {
			return err
		}
	}
	return nil
}
