package sqlstore

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
)

const (
	readSession = `SELECT id, kind, tenant, usr, secret, state, device, built_in, identity, runs, begun_at, open_until, delivered_at,
		update_from, keep_until FROM mdm_sessions WHERE id = ?`
	lockSession   = readSession + " {lock}"
	insertSession = `INSERT INTO mdm_sessions (id, kind, tenant, begun_at, usr, secret, state, device, built_in, identity, runs,
		open_until, delivered_at, update_from, keep_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateSession = `UPDATE mdm_sessions SET usr = ?, secret = ?, state = ?, device = ?, built_in = ?, identity = ?, runs = ?,
		open_until = ?, delivered_at = ?, update_from = ?, keep_until = ? WHERE id = ?`
	endedSessions = "SELECT id FROM mdm_sessions WHERE keep_until > 0 AND keep_until < ? ORDER BY keep_until LIMIT ?"
)

// It may be kept for longer since it was found.
var opForgetSession = newOp("id$ before=", `DELETE FROM mdm_sessions {using}
	WHERE mdm_sessions.id = :id AND mdm_sessions.keep_until > 0 AND mdm_sessions.keep_until < :before`)

// session returns a session, nil if there is none. query is readSession, or lockSession in a transaction.
func (db *DB) session(ctx context.Context, r reader, query, id string) (found *enroll.Session, err error) {
	if !enroll.IsSessionID(id) { // not every database takes it as text
		return nil, nil
	}
	err = r.query(ctx, query, []any{id}, func(scan func(...any) error) error {
		found = &enroll.Session{}
		return scanSession(found, scan)
	})
	return found, err
}

func scanSession(s *enroll.Session, scan func(...any) error) error {
	var secret, builtIn, identity []byte
	var device string
	var state, runs, begun, open, delivered, update, keep int64
	err := scan(&s.ID, &s.Kind, &s.Tenant, &s.User, &secret, &state, &device, &builtIn, &identity, &runs, &begun, &open, &delivered, &update, &keep)
	if err != nil {
		return err
	}
	copy(s.Secret[:], secret)
	copy(s.BuiltIn[:], builtIn)
	copy(s.Identity[:], identity)
	s.State, s.Runs = enroll.SessionState(state), int(runs)
	s.BegunAt, s.OpenUntil, s.DeliveredAt = fromMicros(begun), fromMicros(open), fromMicros(delivered)
	s.UpdateFrom, s.KeepUntil = fromMicros(update), fromMicros(keep)
	return json.Unmarshal([]byte(device), &s.Device)
}

// sessionColumns are those that can be changed.
func sessionColumns(s enroll.Session) ([]any, error) {
	device, err := json.Marshal(s.Device)
	return []any{s.User, s.Secret[:], s.State, string(device), s.BuiltIn[:], s.Identity[:], s.Runs,
		micros(s.OpenUntil), micros(s.DeliveredAt), micros(s.UpdateFrom), micros(s.KeepUntil)}, err
}

// CreateEnrollmentSession implements enroll.Sessions.
func (db *DB) CreateEnrollmentSession(ctx context.Context, s enroll.Session) error {
	s, err := s.Prepared()
	if err != nil {
		return err
	}
	columns, err := sessionColumns(s)
	if err != nil {
		return err
	}
	ours := false // the ID was free for us once: if the answer to our commit was lost, it is there now
	return db.update(ctx, func(t *tx) error {
		known, err := db.session(ctx, t, lockSession, s.ID)
		if err != nil || ours && known != nil && reflect.DeepEqual(*known, s) {
			return err
		}
		if known != nil {
			return mdm.Errorf(mdm.Malformed, db.op("CreateEnrollmentSession"), "there is a session %q", s.ID)
		}
		_, err = t.change(ctx, insertSession, append([]any{s.ID, s.Kind, s.Tenant, micros(s.BegunAt)}, columns...)...)
		ours = ours || err == nil
		return err
	})
}

// EnrollmentSession implements enroll.Sessions.
func (db *DB) EnrollmentSession(ctx context.Context, id string) (enroll.Session, error) {
	s, err := db.session(ctx, snapshot{db}, readSession, id)
	if err == nil && s == nil {
		err = db.noSession("EnrollmentSession", id)
	}
	if err != nil {
		return enroll.Session{}, err
	}
	return *s, nil
}

// ChangeEnrollmentSession implements enroll.Sessions.
func (db *DB) ChangeEnrollmentSession(ctx context.Context, id string, change func(*enroll.Session) error) (enroll.Session, error) {
	var next enroll.Session
	err := db.update(ctx, func(t *tx) error {
		s, err := db.session(ctx, t, lockSession, id)
		if err != nil {
			return err
		}
		if s == nil {
			return db.noSession("ChangeEnrollmentSession", id)
		}
		if next, err = s.Changed(change); err != nil {
			return err
		}
		columns, err := sessionColumns(next)
		if err != nil {
			return err
		}
		t.exec(&turn{}, updateSession, append(columns, id)...)
		return nil
	})
	if err != nil {
		return enroll.Session{}, err
	}
	return next, nil
}

func (db *DB) noSession(op, id string) error {
	return mdm.Errorf(mdm.NotFound, db.op(op), "there is no session %q", id)
}

// sweepSessions deletes those that need not be kept any more.
func (db *DB) sweepSessions(ctx context.Context, now time.Time, count *int) error {
	before := micros(now)
	return db.batches(ctx, func(t *tx) (int, error) {
		var ids []string
		err := t.query(ctx, endedSessions, []any{before, pageSize}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
		for _, id := range ids {
			t.write(&turn{}, opForgetSession, id, before)
		}
		return len(ids), err
	}, func(n int) { *count += n })
}
