package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// wakeChunk is how many targets one transaction wakes.
const wakeChunk = 1000

// Wake implements push.Store. Many are woken in several transactions, in the order of rows.
func (db *DB) Wake(ctx context.Context, to mdm.Targets, due time.Time) (int, error) {
	if due.IsZero() {
		due = db.now()
	}
	f, matching := to.Filter()
	switch {
	case !matching:
		return db.wakeList(ctx, to.List(), due)
	case len(f.States) > 0 && !slices.Contains(f.States, mdm.Enrolled):
		return 0, nil
	}
	f.States = []mdm.State{mdm.Enrolled}
	again := slices.Contains(f.Presence, mdm.Gone)
	if paged(f) {
		rows, err := selectRows(ctx, snapshot{db}, f)
		if err != nil {
			return 0, err
		}
		ids := make([]int64, len(rows))
		for i, r := range rows {
			ids[i] = r.id
		}
		return db.wakeRows(ctx, ids, due, again)
	}
	n, after := 0, int64(0)
	for {
		rows, err := db.rowsAfter(ctx, f, after, wakeChunk)
		if err != nil {
			return n, err
		}
		woken, err := db.wakeRows(ctx, rows, due, again)
		if n += woken; err != nil || len(rows) < wakeChunk {
			return n, err
		}
		after = rows[len(rows)-1]
	}
}

// rowsAfter returns the next rows of enrollments that f selects, in their order. They are read outside of a transaction, so that
// nobody waits while the table is gone through.
func (db *DB) rowsAfter(ctx context.Context, f mdm.Filter, after int64, n int) (rows []int64, err error) {
	query, args := inRows("SELECT id FROM mdm_enrollments", f, after, n)
	err = db.retry(ctx, func() error {
		rows = make([]int64, 0, n)
		return db.read(ctx, &Call{Text: db.dialect.text(query), Args: numbers(args), Rows: func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			rows = append(rows, id)
			return err
		}})
	})
	return rows, err
}

// wakeRows leaves intents for rows of enrollments. again: those who are gone are tried again.
func (db *DB) wakeRows(ctx context.Context, rows []int64, due time.Time, again bool) (n int, err error) {
	for part := range slices.Chunk(rows, wakeChunk) {
		err := db.update(ctx, func(t *tx) error {
			if again {
				if err := t.tryAgain(ctx, part); err != nil {
					return err
				}
			}
			for _, id := range part {
				t.wake(&turn{}, id, due)
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// wakeList wakes those of a list that are enrolled.
func (db *DB) wakeList(ctx context.Context, ids []mdm.EnrollmentID, due time.Time) (n int, err error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareIDs)
	for part := range slices.Chunk(slices.Compact(ids), wakeChunk) {
		rows := make([][]any, len(part))
		for i, id := range part {
			rows[i] = []any{id.Tenant, id.Device, id.User}
		}
		var found []int64
		calls := opEnrolled.calls(db.dialect, rows)
		for _, c := range calls {
			c.Rows = func(scan func(...any) error) error {
				var i, id int64
				err := scan(&i, &id)
				found = append(found, id)
				return err
			}
		}
		if err := db.retry(ctx, func() error { found = nil; return db.read(ctx, calls...) }); err != nil {
			return n, err
		}
		woken, err := db.wakeRows(ctx, found, due, true)
		if n += woken; err != nil {
			return n, err
		}
	}
	return n, nil
}

var opEnrolled = newOp("tenant$ device$ usr$", fmt.Sprintf("SELECT {i}, id FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = :usr AND state = %d", mdm.Enrolled))

// tryAgain lets those of the rows who are gone be pushed again.
func (t *tx) tryAgain(ctx context.Context, rows []int64) error {
	var gone []mdm.Event
	var ids []int64
	err := t.query(ctx, "SELECT id, tenant, device, usr, generation FROM mdm_enrollments WHERE id IN ("+marks(len(rows))+") AND state = ? AND presence = ? ORDER BY tenant, device, usr {lock}",
		append(list(rows), mdm.Enrolled, mdm.Gone), func(scan func(...any) error) error {
			var id, generation int64
			e := mdm.Event{Type: mdm.EventQuiet, At: t.db.now(), Reason: "its push token is to be tried again"}
			err := scan(&id, &e.Enrollment.Tenant, &e.Enrollment.Device, &e.Enrollment.User, &generation)
			e.Generation = mdm.Generation(generation)
			ids, gone = append(ids, id), append(gone, e)
			return err
		})
	for i, id := range ids {
		look := int64(0)
		if gone[i].Enrollment.IsUser() {
			look = never
		}
		t.write(&turn{}, opPresence, id, mdm.Quiet, micros(gone[i].At), look)
		t.write(&turn{}, opUnpark, id)
	}
	if err != nil {
		return err
	}
	return t.record(&turn{}, gone...)
}
