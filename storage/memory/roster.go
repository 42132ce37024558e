package memory

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// row returns a copy of the row of a channel, nil if there is none.
func (db *DB) row(id mdm.EnrollmentID) *mdm.Enrollment {
	e := db.rows[id]
	if e == nil {
		return nil
	}
	out := *e
	out.PushToken = bytes.Clone(e.PushToken)
	return &out
}

// writeRow stores e as it is, but for LastSeenAt and Presence.
func (db *DB) writeRow(e mdm.Enrollment) {
	e.PushToken = bytes.Clone(e.PushToken)
	old := db.rows[e.ID]
	e.LastSeenAt, e.Presence, e.PresenceSince = time.Time{}, mdm.Active, time.Time{}
	if old != nil {
		e.LastSeenAt, e.Presence, e.PresenceSince = old.LastSeenAt, old.Presence, old.PresenceSince
	}
	db.rows[e.ID] = &e
	db.followState(&e, old)
	if old == nil && e.ID.IsUser() {
		device := e.ID.DeviceID()
		db.users[device] = append(db.users[device], e.ID)
	}
}

func (db *DB) seen(id mdm.EnrollmentID, at time.Time) {
	if e := db.rows[id]; e != nil && at.After(e.LastSeenAt) {
		e.LastSeenAt = at
	}
}

func (db *DB) enrolled(id mdm.EnrollmentID) bool {
	e := db.rows[id]
	return e != nil && e.State == mdm.Enrolled
}

// livingUsers returns the user channels of a device that are not ended, in order.
func (db *DB) livingUsers(device mdm.EnrollmentID) []mdm.EnrollmentID {
	var out []mdm.EnrollmentID
	for _, id := range db.users[device] {
		if db.rows[id].State != mdm.Ended {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// matching returns what a filter selects, in order.
func (db *DB) matching(f mdm.Filter) []mdm.EnrollmentID {
	var out []mdm.EnrollmentID
	for id, e := range db.rows {
		if f.Matches(e) && (f.After.IsZero() || compareIDs(id, f.After) > 0) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, compareIDs)
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out
}

// targets returns whom t addresses, each once, in order.
func (db *DB) targets(t mdm.Targets) []mdm.EnrollmentID {
	if f, ok := t.Filter(); ok {
		return db.matching(f)
	}
	var out []mdm.EnrollmentID
	named := map[mdm.EnrollmentID]bool{}
	for _, id := range t.List() {
		if !named[id] {
			named[id] = true
			out = append(out, id)
		}
	}
	return out
}

// compareIDs orders channels of one tenant by device, then by user.
func compareIDs(a, b mdm.EnrollmentID) int {
	return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.User, b.User))
}

// Enrollment implements [checkin.Roster].
func (db *DB) Enrollment(ctx context.Context, id mdm.EnrollmentID) (out *mdm.Enrollment, err error) {
	err = db.tx(ctx, func() error {
		if out = db.row(id); out == nil {
			return &mdm.Error{Code: mdm.NotFound, Op: "memory.Enrollment", Enrollment: id}
		}
		return nil
	})
	return out, err
}

// Enrollments implements [checkin.Roster]. It yields a snapshot.
func (db *DB) Enrollments(ctx context.Context, f mdm.Filter) iter.Seq2[*mdm.Enrollment, error] {
	return snapshot(ctx, db, func() []*mdm.Enrollment {
		var out []*mdm.Enrollment
		for _, id := range db.matching(f) {
			out = append(out, db.row(id))
		}
		return out
	})
}

// snapshot yields what list returns under the lock. The lock is not held while the caller looks at it.
func snapshot[T any](ctx context.Context, db *DB, list func() []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var all []T
		if err := db.tx(ctx, func() error { all = list(); return nil }); err != nil {
			var zero T
			yield(zero, err)
			return
		}
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}
