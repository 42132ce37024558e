package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// record appends events.
func (t *tx) record(ctx context.Context, events ...mdm.Event) error {
	for _, e := range events {
		e.Seq = 0 // the row's own
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO events (tenant, device, user, body) VALUES (?, ?, ?, ?)`,
			e.Enrollment.Tenant, e.Enrollment.Device, e.Enrollment.User, string(body))
		if err != nil {
			return err
		}
		t.changed.Events = true
	}
	return nil
}

func scanEvent(scan func(...any) error, more ...any) (mdm.Event, error) {
	var e mdm.Event
	var seq int64
	var body string
	if err := scan(append([]any{&seq, &body}, more...)...); err != nil {
		return e, err
	}
	err := json.Unmarshal([]byte(body), &e)
	e.Seq = seq
	return e, err
}

// Events implements event.Log.
func (db *DB) Events(ctx context.Context, tenant string, after int64, limit int) ([]mdm.Event, error) {
	if limit <= 0 {
		limit = -1
	}
	var out []mdm.Event
	err := each(ctx, db.reads, `SELECT seq, body FROM events WHERE tenant = ? AND seq > ? ORDER BY seq LIMIT ?`, []any{tenant, after, limit},
		func(scan func(...any) error) error {
			e, err := scanEvent(scan)
			out = append(out, e)
			return err
		})
	return out, err
}

// Lease implements event.Log.
func (db *DB) Lease(ctx context.Context, consumer string, max int, lease time.Duration) ([]mdm.Event, error) {
	if work, err := db.hasEvents(ctx, consumer); err != nil || !work {
		return nil, err // looking often must cost nothing
	}
	var l *leasing
	err := db.update(ctx, func(t *tx) error {
		l = &leasing{t: t, consumer: consumer, left: max, until: db.now().Add(lease), busy: map[mdm.EnrollmentID]bool{}}
		return l.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.out, func(a, b mdm.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return l.out, nil
}

func (db *DB) hasEvents(ctx context.Context, consumer string) (bool, error) {
	var n int
	return one(ctx, db.reads, `SELECT 1 FROM deliveries WHERE consumer = ?1 AND until <= ?2
		UNION ALL SELECT 1 FROM backlogs WHERE consumer = ?1
		UNION ALL SELECT 1 FROM events WHERE seq > COALESCE((SELECT position FROM consumers WHERE name = ?1), 0) LIMIT 1`,
		[]any{consumer, micros(db.now())}, &n)
}

// leasing is one Lease under way.
type leasing struct {
	t        *tx
	consumer string
	left     int
	until    time.Time
	position int64
	busy     map[mdm.EnrollmentID]bool // has an event in somebody's hands, or waits for one that failed
	waiting  map[mdm.EnrollmentID]int64
	out      []mdm.Event
}

func (l *leasing) run(ctx context.Context) error {
	if _, err := one(ctx, l.t, `INSERT INTO consumers (name, position) VALUES (?, 0) ON CONFLICT (name) DO UPDATE SET name = name RETURNING position`,
		[]any{l.consumer}, &l.position); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{l.again, l.backlog, l.onward} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	_, err := l.t.exec(ctx, `UPDATE consumers SET position = ? WHERE name = ?`, l.position, l.consumer)
	return err
}

// again hands out the events whose lease ended, and notes who is busy.
func (l *leasing) again(ctx context.Context) error {
	now := micros(l.t.w.db.now())
	var expired []mdm.Event
	err := each(ctx, l.t, `SELECT e.seq, e.body, d.until FROM deliveries d JOIN events e ON e.seq = d.seq WHERE d.consumer = ? ORDER BY d.seq`,
		[]any{l.consumer}, func(scan func(...any) error) error {
			var until int64
			e, err := scanEvent(scan, &until)
			if err == nil && until <= now && !l.busy[e.Enrollment] && len(expired) < l.left {
				expired = append(expired, e)
			} else {
				l.busy[e.Enrollment] = true // in order: those behind it wait, too
			}
			return err
		})
	if err != nil {
		return err
	}
	for _, e := range expired {
		if err := l.give(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// backlog hands out events of enrollments that waited and need to no longer.
func (l *leasing) backlog(ctx context.Context) error {
	l.waiting = map[mdm.EnrollmentID]int64{}
	var ready []mdm.EnrollmentID
	err := each(ctx, l.t, `SELECT tenant, device, user, seq FROM backlogs WHERE consumer = ? ORDER BY seq`, []any{l.consumer},
		func(scan func(...any) error) error {
			var id mdm.EnrollmentID
			var seq int64
			err := scan(&id.Tenant, &id.Device, &id.User, &seq)
			l.waiting[id] = seq
			if !l.busy[id] {
				ready = append(ready, id)
			}
			return err
		})
	if err != nil {
		return err
	}
	for _, id := range ready {
		if l.left == 0 {
			return nil
		}
		if err := l.catchUp(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// catchUp hands out what waited of one enrollment, as far as there is room.
func (l *leasing) catchUp(ctx context.Context, id mdm.EnrollmentID) error {
	var events []mdm.Event
	err := each(ctx, l.t, `SELECT seq, body FROM events WHERE tenant = ? AND device = ? AND user = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`,
		[]any{id.Tenant, id.Device, id.User, l.waiting[id], l.position, l.left + 1}, func(scan func(...any) error) error {
			e, err := scanEvent(scan)
			events = append(events, e)
			return err
		})
	if err != nil {
		return err
	}
	if len(events) > l.left {
		rest := events[l.left].Seq
		events = events[:l.left]
		l.waiting[id] = rest
		_, err = l.t.exec(ctx, `UPDATE backlogs SET seq = ? WHERE consumer = ? AND tenant = ? AND device = ? AND user = ?`, rest, l.consumer, id.Tenant, id.Device, id.User)
	} else {
		delete(l.waiting, id)
		_, err = l.t.exec(ctx, `DELETE FROM backlogs WHERE consumer = ? AND tenant = ? AND device = ? AND user = ?`, l.consumer, id.Tenant, id.Device, id.User)
	}
	for _, e := range events {
		if err == nil {
			err = l.give(ctx, e)
		}
	}
	return err
}

// onward hands out events beyond the position. Those of busy enrollments are passed over and wait.
func (l *leasing) onward(ctx context.Context) error {
	for l.left > 0 {
		var events []mdm.Event
		err := each(ctx, l.t, `SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?`, []any{l.position, pageSize},
			func(scan func(...any) error) error {
				e, err := scanEvent(scan)
				events = append(events, e)
				return err
			})
		if err != nil {
			return err
		}
		for _, e := range events {
			if l.left == 0 {
				return nil
			}
			if err := l.next(ctx, e); err != nil {
				return err
			}
			l.position = e.Seq
		}
		if len(events) < pageSize {
			return nil
		}
	}
	return nil
}

func (l *leasing) next(ctx context.Context, e mdm.Event) error {
	if l.waiting[e.Enrollment] != 0 {
		return nil
	}
	if !l.busy[e.Enrollment] {
		return l.give(ctx, e)
	}
	l.waiting[e.Enrollment] = e.Seq
	_, err := l.t.exec(ctx, `INSERT INTO backlogs (consumer, tenant, device, user, seq) VALUES (?, ?, ?, ?, ?)`,
		l.consumer, e.Enrollment.Tenant, e.Enrollment.Device, e.Enrollment.User, e.Seq)
	return err
}

// give leases an event to the caller.
func (l *leasing) give(ctx context.Context, e mdm.Event) error {
	l.out = append(l.out, e)
	l.left--
	_, err := l.t.exec(ctx, `INSERT OR REPLACE INTO deliveries (consumer, seq, tenant, device, user, until) VALUES (?, ?, ?, ?, ?, ?)`,
		l.consumer, e.Seq, e.Enrollment.Tenant, e.Enrollment.Device, e.Enrollment.User, micros(l.until))
	return err
}

// Ack implements event.Log.
func (db *DB) Ack(ctx context.Context, consumer string, done []mdm.Event) error {
	return db.update(ctx, func(t *tx) error {
		now := micros(db.now())
		for _, e := range done {
			if _, err := t.exec(ctx, `DELETE FROM deliveries WHERE consumer = ? AND seq = ? AND until > ?`, consumer, e.Seq, now); err != nil {
				return err
			}
		}
		return nil
	})
}
