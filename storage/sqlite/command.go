package sqlite

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Exchange implements command.Exchanger. An idle poll that finds nothing to do reads a snapshot and writes nothing; all
// else is one write transaction.
func (db *DB) Exchange(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	if r.Status == command.StatusIdle {
		if done, err := db.idle(ctx, r, admit); done || err != nil {
			return nil, err
		}
	}
	var offer *command.Offer
	err := db.update(ctx, func(t *tx) error {
		s, own, device, err := standing(ctx, t, r.ID, r.Fingerprint)
		if err != nil {
			return err
		}
		v := admit(&s)
		if v.Device != nil {
			if err := t.writeEnrollment(ctx, v.Device); err != nil {
				return err
			}
			if own != nil && device != nil && own.id == device.id {
				own.Enrollment = *v.Device
			}
		}
		if err := t.writeCertificates(ctx, v.Certificates); err != nil {
			return err
		}
		if err := t.record(ctx, v.Events...); err != nil {
			return err
		}
		if v.Err != nil {
			return keep(v.Err)
		}
		offer, err = t.exchange(ctx, own, device, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	db.seen.note(r.ID, r.At)
	return offer, nil
}

// idle answers an idle poll for which there is nothing to write. It is false if a write transaction must look again.
func (db *DB) idle(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (bool, error) {
	s, own, _, err := standing(ctx, db.reads, r.ID, r.Fingerprint)
	if err != nil {
		return false, err
	}
	v := admit(&s)
	if v.Err != nil || v.Device != nil || v.Certificates != nil || v.Events != nil {
		return false, nil
	}
	if own != nil && own.State == mdm.Enrolled {
		var n int
		if open, err := one(ctx, db.reads, `SELECT 1 FROM queue WHERE enrollment = ? LIMIT 1`, []any{own.id}, &n); open || err != nil {
			return false, err
		}
	}
	db.seen.note(r.ID, r.At)
	return true, nil
}

// exchange records a report and finds the next command. own is nil for a channel without a record.
func (t *tx) exchange(ctx context.Context, own, device *row, r *command.Report) (*command.Offer, error) {
	if err := t.settle(ctx, own, r); err != nil {
		return nil, err
	}
	if own == nil || own.State != mdm.Enrolled {
		return nil, nil
	}
	if r.Status == command.StatusIdle { // a session begins: deferred commands are eligible again
		_, err := t.exec(ctx, `UPDATE queue SET state = ? WHERE enrollment = ? AND state = ?`, command.Queued, own.id, command.Deferred)
		if err != nil {
			return nil, err
		}
	}
	if err := t.expire(ctx, own, r.At); err != nil {
		return nil, err
	}
	for {
		next, err := t.next(ctx, own, r)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return nil, t.endSession(ctx, own, r)
		}
		offer, err := t.offer(ctx, own, device, next, r.At)
		if offer != nil || err != nil {
			return offer, err
		}
	}
}

// next returns the first command that may be offered, nil if there is none.
func (t *tx) next(ctx context.Context, own *row, r *command.Report) (*open, error) {
	setup := command.Traits(0xff)
	if r.UserConfiguration {
		setup = command.PasscodeOnly | command.EndsSetup
	}
	var next open
	found, err := one(ctx, t, `SELECT q.priority, q.seq, q.command, q.traits, q.generation, q.relax, q.checked, c.uuid, c.request_type, c.body
		FROM queue q JOIN commands c ON c.id = q.command
		WHERE q.enrollment = ?1 AND q.state IN (?2, ?3) AND q.not_before <= ?4 AND (?5 = 255 OR q.traits & ?5 <> 0)
		ORDER BY q.priority, q.seq LIMIT 1`, []any{own.id, command.Queued, command.Sent, micros(r.At), setup},
		&next.priority, &next.seq, &next.command, &next.traits, &next.generation, &next.relax, &next.checked, &next.uuid, &next.requestType, &next.body)
	if err != nil || !found {
		return nil, err
	}
	return &next, nil
}

// open is an open command of one queue.
type open struct {
	priority    command.Priority
	seq         int64
	command     int64
	traits      command.Traits
	generation  mdm.Generation
	state       command.State
	sends       int
	uuid        string
	requestType string
	body        []byte
	relax       schema.Rules
	checked     int64 // digest of the target that it was checked for
}

func (o *open) event(kind mdm.EventType, own *row, at time.Time, why string) mdm.Event {
	return mdm.Event{Type: kind, At: at, Enrollment: own.ID, Generation: o.generation, CommandUUID: o.uuid, RequestType: o.requestType, Reason: why}
}

// offer sends a command. It returns nil if the command does not fit the device any more: then it is canceled.
func (t *tx) offer(ctx context.Context, own, device *row, o *open, at time.Time) (*command.Offer, error) {
	body, err := t.w.db.cfg.Sealer.Open(o.body, bodyName(own.ID.Tenant, o.uuid))
	if err != nil {
		return nil, err
	}
	if device == nil {
		device = own
	}
	target := schema.TargetOf(&own.Enrollment, &device.Enrollment)
	if o.checked != target.Digest() { // something else is known of the device than when it was queued
		if err := command.Recheck(body, o.relax, target); err != nil {
			return nil, t.cancel(ctx, own.ID, own.id, o, command.Canceled, command.NoLongerFits(err))
		}
	}
	_, err = t.exec(ctx, `UPDATE queue SET state = ?, sent_at = ?, sends = sends + 1, checked = ? WHERE enrollment = ? AND priority = ? AND seq = ?`,
		command.Sent, micros(at), target.Digest(), own.id, o.priority, o.seq)
	if err != nil {
		return nil, err
	}
	if o.traits&command.Erases != 0 {
		if _, err := t.exec(ctx, `UPDATE enrollments SET erase_sent = ? WHERE id = ?`, o.generation, own.id); err != nil {
			return nil, err
		}
	}
	if err := t.record(ctx, o.event(mdm.EventCommandSent, own, at, "")); err != nil {
		return nil, err
	}
	return &command.Offer{UUID: o.uuid, RequestType: o.requestType, Body: body}, nil
}

// endSession leaves pushes for what remains: deferred commands, and those that are not due yet.
func (t *tx) endSession(ctx context.Context, own *row, r *command.Report) error {
	var deferred bool
	var later int64 // when the next one is due that is not yet
	_, err := one(ctx, t, `SELECT COALESCE(max(state = ?2), 0), COALESCE(min(CASE WHEN not_before > ?3 THEN not_before END), 0) FROM queue
		WHERE enrollment = ?1`, []any{own.id, command.Deferred, micros(r.At)}, &deferred, &later)
	if err != nil {
		return err
	}
	if deferred {
		delay := command.DeferredPush
		if r.Status == command.StatusNotNow {
			delay = command.SafetyPush
		}
		if err := t.wakeRow(ctx, own.id, r.At.Add(delay)); err != nil {
			return err
		}
	}
	if later > 0 {
		return t.wakeRow(ctx, own.id, fromMicros(later))
	}
	return nil
}

// settle records what a report says of a command.
func (t *tx) settle(ctx context.Context, own *row, r *command.Report) error {
	if r.Status == command.StatusIdle {
		return nil
	}
	state, final := r.Status.Final()
	if state == 0 {
		return t.keepAside(ctx, own, r, "unknown status")
	}
	if own == nil {
		return t.keepAside(ctx, own, r, "unknown CommandUUID")
	}
	o, err := t.findOpen(ctx, own, r.CommandUUID)
	switch {
	case err != nil:
		return err
	case o == nil:
		return t.settleFinished(ctx, own, r, state)
	case final:
		return t.finish(ctx, own, o, state, r)
	case o.state == command.Deferred: // said twice
		return nil
	}
	_, err = t.exec(ctx, `UPDATE queue SET state = ?, deferred_at = ?, deferrals = deferrals + 1 WHERE enrollment = ? AND priority = ? AND seq = ?`,
		command.Deferred, micros(r.At), own.id, o.priority, o.seq)
	if err != nil {
		return err
	}
	return t.record(ctx, o.event(mdm.EventCommandNotNow, own, r.At, ""))
}

func (t *tx) findOpen(ctx context.Context, own *row, uuid string) (*open, error) {
	o := open{uuid: uuid}
	found, err := one(ctx, t, `SELECT q.priority, q.seq, q.command, q.traits, q.generation, q.state, q.sends, c.request_type
		FROM commands c JOIN queue q ON q.command = c.id AND q.enrollment = ? WHERE c.tenant = ? AND c.uuid = ?`,
		[]any{own.id, own.ID.Tenant, uuid}, &o.priority, &o.seq, &o.command, &o.traits, &o.generation, &o.state, &o.sends, &o.requestType)
	if err != nil || !found {
		return nil, err
	}
	return &o, nil
}

// settleFinished handles a report about a command that is not open: the repetition of the report that finished it
// leaves nothing, all else is kept aside.
func (t *tx) settleFinished(ctx context.Context, own *row, r *command.Report, state command.State) error {
	var was command.State
	var digest []byte
	found, err := one(ctx, t, `SELECT h.state, h.digest FROM commands c JOIN history h ON h.command = c.id AND h.enrollment = ?
		WHERE c.tenant = ? AND c.uuid = ?`, []any{own.id, own.ID.Tenant, r.CommandUUID}, &was, &digest)
	if err != nil {
		return err
	}
	if !found {
		return t.keepAside(ctx, own, r, "unknown CommandUUID")
	}
	sum := sha256.Sum256(r.Raw)
	if was == state && string(digest) == string(sum[:]) {
		return nil
	}
	return t.keepAside(ctx, own, r, "the command is "+was.String()+" already")
}

// finish moves a command from the queue into the history, with the report that finished it.
func (t *tx) finish(ctx context.Context, own *row, o *open, state command.State, r *command.Report) error {
	sealed, err := t.w.db.cfg.Sealer.Seal(r.Raw, resultName(own.id, o.seq))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(r.Raw)
	if err := t.archive(ctx, own.id, o, state, r.At, "", sum[:], sealed); err != nil {
		return err
	}
	kind := mdm.EventCommandAcknowledged
	if state == command.Acknowledged && !own.ID.IsUser() && command.Learn(&own.Device, o.requestType, r.Raw) {
		if err := t.writeEnrollment(ctx, &own.Enrollment); err != nil {
			return err
		}
	}
	if state != command.Acknowledged {
		kind = mdm.EventCommandFailed
		if o.traits&command.Erases != 0 { // it did not happen, so it is no evidence
			if _, err := t.exec(ctx, `UPDATE enrollments SET erase_sent = 0 WHERE id = ?`, own.id); err != nil {
				return err
			}
		}
	}
	e := o.event(kind, own, r.At, "")
	e.Status = string(r.Status)
	return t.record(ctx, e)
}

// archive moves an entry from the queue into the history.
func (t *tx) archive(ctx context.Context, enrollment int64, o *open, state command.State, at time.Time, note string, digest, result []byte) error {
	_, err := t.exec(ctx, `INSERT INTO history (enrollment, seq, command, generation, state, priority, collapse, not_before, not_after, queued_at,
			sent_at, sends, deferred_at, deferrals, finished_at, note, digest, result)
		SELECT enrollment, seq, command, generation, ?4, priority, collapse, not_before, not_after, queued_at,
			sent_at, sends, deferred_at, deferrals, ?5, ?6, ?7, ?8 FROM queue WHERE enrollment = ?1 AND priority = ?2 AND seq = ?3`,
		enrollment, o.priority, o.seq, state, micros(at), note, digest, result)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `DELETE FROM queue WHERE enrollment = ? AND priority = ? AND seq = ?`, enrollment, o.priority, o.seq)
	return err
}

// expire finishes what is past its NotAfter.
func (t *tx) expire(ctx context.Context, own *row, at time.Time) error {
	late, err := t.selectOpen(ctx, own.id, `q.not_after <> 0 AND q.not_after < ?2`, micros(at))
	if err != nil {
		return err
	}
	for _, o := range late {
		if err := t.archive(ctx, own.id, &o, command.Expired, at, "", nil, nil); err != nil {
			return err
		}
		if err := t.record(ctx, o.event(mdm.EventCommandExpired, own, at, "")); err != nil {
			return err
		}
	}
	return nil
}

// selectOpen returns the open commands of a queue that a condition selects; its argument is ?2.
func (t *tx) selectOpen(ctx context.Context, enrollment int64, condition string, arg any) ([]open, error) {
	var all []open
	err := each(ctx, t, `SELECT q.priority, q.seq, q.command, q.traits, q.generation, q.state, q.sends, c.uuid, c.request_type
		FROM queue q JOIN commands c ON c.id = q.command WHERE q.enrollment = ?1 AND `+condition+` ORDER BY q.seq`, []any{enrollment, arg},
		func(scan func(...any) error) error {
			var o open
			err := scan(&o.priority, &o.seq, &o.command, &o.traits, &o.generation, &o.state, &o.sends, &o.uuid, &o.requestType)
			all = append(all, o)
			return err
		})
	return all, err
}

// cancelOpen cancels everything that is open on a queue. An erase that was sent has probably happened.
func (t *tx) cancelOpen(ctx context.Context, id mdm.EnrollmentID, enrollment int64, why string) error {
	all, err := t.selectOpen(ctx, enrollment, `?2 = 0`, 0)
	if err != nil {
		return err
	}
	for _, o := range all {
		state := command.Canceled
		if o.traits&command.Erases != 0 && o.sends > 0 {
			state = command.Presumed
		}
		if err := t.cancel(ctx, id, enrollment, &o, state, why); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) cancel(ctx context.Context, id mdm.EnrollmentID, enrollment int64, o *open, state command.State, why string) error {
	at := t.w.db.now()
	if err := t.archive(ctx, enrollment, o, state, at, why, nil, nil); err != nil {
		return err
	}
	return t.record(ctx, o.event(mdm.EventCommandCanceled, &row{Enrollment: mdm.Enrollment{ID: id}}, at, why))
}

func (t *tx) keepAside(ctx context.Context, own *row, r *command.Report, why string) error {
	sealed, err := t.w.db.cfg.Sealer.Seal(r.Raw, []byte("asides/raw/"+r.ID.String()))
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO asides (tenant, device, user, at, status, uuid, reason, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID.Tenant, r.ID.Device, r.ID.User, micros(r.At), string(r.Status), r.CommandUUID, why, sealed)
	if err != nil {
		return err
	}
	e := mdm.Event{Type: mdm.EventReportAside, At: r.At, Enrollment: r.ID, CommandUUID: r.CommandUUID, Status: string(r.Status), Reason: why}
	if own != nil {
		e.Generation = own.Generation
	}
	return t.record(ctx, e)
}
