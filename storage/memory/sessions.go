package memory

import (
	"context"
	"maps"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
)

// CreateEnrollmentSession implements [enroll.Sessions].
func (db *DB) CreateEnrollmentSession(ctx context.Context, s enroll.Session) error {
	s, err := s.Prepared()
	if err != nil {
		return err
	}
	return db.tx(ctx, func() error {
		if _, taken := db.sessions[s.ID]; taken {
			return mdm.Errorf(mdm.Malformed, "memory.CreateEnrollmentSession", "there is a session %q", s.ID)
		}
		db.sessions[s.ID] = s
		return nil
	})
}

// EnrollmentSession implements [enroll.Sessions].
func (db *DB) EnrollmentSession(ctx context.Context, id string) (s enroll.Session, err error) {
	err = db.tx(ctx, func() error {
		s, err = db.session(id)
		return err
	})
	return s, err
}

// ChangeEnrollmentSession implements [enroll.Sessions].
func (db *DB) ChangeEnrollmentSession(ctx context.Context, id string, change func(*enroll.Session) error) (out enroll.Session, err error) {
	err = db.tx(ctx, func() error {
		s, err := db.session(id)
		if err != nil {
			return err
		}
		if s, err = s.Changed(change); err != nil {
			return err
		}
		db.sessions[id] = s
		out, err = db.session(id)
		return err
	})
	return out, err
}

// session returns a copy of a session, for the caller to do with as it likes.
func (db *DB) session(id string) (enroll.Session, error) {
	s, ok := db.sessions[id]
	if !ok {
		return enroll.Session{}, mdm.Errorf(mdm.NotFound, "memory.EnrollmentSession", "there is no session %q", id)
	}
	s.Device = maps.Clone(s.Device)
	return s, nil
}

// sweepSessions deletes those that need not be kept any more.
func (db *DB) sweepSessions(now time.Time, count *int) {
	for id, s := range db.sessions {
		if !s.KeepUntil.IsZero() && s.KeepUntil.Before(now) {
			delete(db.sessions, id)
			*count++
		}
	}
}
