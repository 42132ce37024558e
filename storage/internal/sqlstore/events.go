package sqlstore

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

var opEvent = newOp("tenant$ device$ usr$ body$", "INSERT INTO mdm_events (tenant, device, usr, body) {values :tenant, :device, :usr, :body}")

// record appends events.
func (t *tx) record(v *turn, events ...mdm.Event) error {
	for _, e := range events {
		e.Seq = 0 // the row's own
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		t.write(v, opEvent, e.Enrollment.Tenant, e.Enrollment.Device, e.Enrollment.User, string(body))
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

// readEvents returns the events that a query selects, by seq and body.
func readEvents(ctx context.Context, r reader, query string, args ...any) ([]mdm.Event, error) {
	var events []mdm.Event
	err := r.query(ctx, query, args, func(scan func(...any) error) error {
		e, err := scanEvent(scan)
		events = append(events, e)
		return err
	})
	return events, err
}

// Events implements event.Log.
func (db *DB) Events(ctx context.Context, tenant string, after int64, limit int) ([]mdm.Event, error) {
	if limit <= 0 {
		limit = 1 << 40
	}
	return readEvents(ctx, snapshot{db}, `SELECT seq, body FROM mdm_events WHERE tenant = ? AND seq > ? ORDER BY seq LIMIT ?`, tenant, after, limit)
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
	var n int64
	now := db.now()
	return one(ctx, snapshot{db}, `SELECT 1 FROM mdm_deliveries WHERE consumer = ? AND leased <= ?
		UNION ALL SELECT 1 FROM mdm_backlogs WHERE consumer = ?
		UNION ALL SELECT 1 FROM mdm_gaps g WHERE g.consumer = ? AND (g.since < ? OR EXISTS (SELECT 1 FROM mdm_events e WHERE e.seq BETWEEN g.low AND g.high))
		UNION ALL SELECT 1 FROM mdm_events WHERE seq > COALESCE((SELECT pos FROM mdm_consumers WHERE name = ?), 0) LIMIT 1`,
		[]any{consumer, micros(now), consumer, consumer, micros(now.Add(-gapTime)), consumer}, &n)
}

// gapTime is how long a stretch of missing event numbers is watched: longer than any transaction takes that may still
// commit an event there.
const gapTime = 10 * time.Minute

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
	turn     turn
}

func (l *leasing) run(ctx context.Context) error {
	l.t.exec(&turn{}, `INSERT INTO mdm_consumers (name, pos) VALUES (?, 0) {keep name}`, l.consumer)
	if _, err := one(ctx, l.t, `SELECT pos FROM mdm_consumers WHERE name = ? {lock}`, []any{l.consumer}, &l.position); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{l.again, l.backlog, l.late, l.onward} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	_, err := l.t.change(ctx, `UPDATE mdm_consumers SET pos = ? WHERE name = ?`, l.position, l.consumer)
	return err
}

// again hands out the events whose lease ended, and notes who is busy.
func (l *leasing) again(ctx context.Context) error {
	now := micros(l.t.db.now())
	var expired []mdm.Event
	err := l.t.query(ctx, `SELECT e.seq, e.body, d.leased FROM mdm_deliveries d JOIN mdm_events e ON e.seq = d.seq WHERE d.consumer = ? ORDER BY d.seq`,
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
	err := l.t.query(ctx, `SELECT tenant, device, usr, seq FROM mdm_backlogs WHERE consumer = ? ORDER BY seq`, []any{l.consumer},
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
	events, err := readEvents(ctx, l.t, `SELECT seq, body FROM mdm_events WHERE tenant = ? AND device = ? AND usr = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`,
		id.Tenant, id.Device, id.User, l.waiting[id], l.position, l.left+1)
	if err != nil {
		return err
	}
	if len(events) > l.left {
		rest := events[l.left].Seq
		events = events[:l.left]
		l.waiting[id] = rest
		_, err = l.t.change(ctx, `UPDATE mdm_backlogs SET seq = ? WHERE consumer = ? AND tenant = ? AND device = ? AND usr = ?`, rest, l.consumer, id.Tenant, id.Device, id.User)
	} else {
		delete(l.waiting, id)
		_, err = l.t.change(ctx, `DELETE FROM mdm_backlogs WHERE consumer = ? AND tenant = ? AND device = ? AND usr = ?`, l.consumer, id.Tenant, id.Device, id.User)
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
		events, err := readEvents(ctx, l.t, `SELECT seq, body FROM mdm_events WHERE seq > ? ORDER BY seq LIMIT ?`, l.position, pageSize)
		if err != nil {
			return err
		}
		for _, e := range events {
			if l.left == 0 {
				return nil
			}
			if e.Seq > l.position+1 {
				l.gap(l.position+1, e.Seq-1, l.t.db.now())
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

func (l *leasing) gap(low, high int64, since time.Time) {
	l.t.exec(&turn{}, "INSERT INTO mdm_gaps (consumer, low, high, since) VALUES (?, ?, ?, ?)", l.consumer, low, high, micros(since))
}

// late hands out the events that were committed into gaps since.
func (l *leasing) late(ctx context.Context) error {
	type stretch struct{ low, high, since int64 }
	var gaps []stretch
	err := l.t.query(ctx, "SELECT low, high, since FROM mdm_gaps WHERE consumer = ? ORDER BY low", []any{l.consumer}, func(scan func(...any) error) error {
		var g stretch
		err := scan(&g.low, &g.high, &g.since)
		gaps = append(gaps, g)
		return err
	})
	if err != nil {
		return err
	}
	for _, g := range gaps {
		events, err := readEvents(ctx, l.t, "SELECT seq, body FROM mdm_events WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?", g.low, g.high, l.left)
		if err != nil {
			return err
		}
		over := len(events) < l.left && g.since < micros(l.t.db.now().Add(-gapTime))
		if len(events) == 0 && !over {
			continue
		}
		l.t.exec(&turn{}, "DELETE FROM mdm_gaps WHERE consumer = ? AND low = ?", l.consumer, g.low)
		from := g.low
		for _, e := range events {
			if err := l.next(ctx, e); err != nil {
				return err
			}
			if e.Seq > from && !over {
				l.gap(from, e.Seq-1, fromMicros(g.since))
			}
			from = e.Seq + 1
		}
		if from <= g.high && !over {
			l.gap(from, g.high, fromMicros(g.since))
		}
	}
	return nil
}

func (l *leasing) next(ctx context.Context, e mdm.Event) error {
	waits := l.waiting[e.Enrollment]
	if waits == 0 && !l.busy[e.Enrollment] {
		return l.give(ctx, e)
	}
	if waits != 0 && waits <= e.Seq {
		return nil
	}
	l.waiting[e.Enrollment] = e.Seq
	_, err := l.t.change(ctx, `INSERT INTO mdm_backlogs (consumer, tenant, device, usr, seq) VALUES (?, ?, ?, ?, ?)
		{upsert consumer, tenant, device, usr: seq = {new seq}}`, l.consumer, e.Enrollment.Tenant, e.Enrollment.Device, e.Enrollment.User, e.Seq)
	return err
}

// give leases an event to the caller.
func (l *leasing) give(_ context.Context, e mdm.Event) error {
	l.out = append(l.out, e)
	l.left--
	l.t.write(&l.turn, opDeliver, l.consumer, e.Seq, micros(l.until))
	return nil
}

var opDeliver = newOp("consumer$ seq leased", `INSERT INTO mdm_deliveries (consumer, seq, leased) {values :consumer, :seq, :leased}
	{upsert consumer, seq: leased = {new leased}}`)

// Ack implements event.Log.
func (db *DB) Ack(ctx context.Context, consumer string, done []mdm.Event) error {
	return db.update(ctx, func(t *tx) error {
		now := micros(db.now())
		for _, e := range done {
			if _, err := t.change(ctx, `DELETE FROM mdm_deliveries WHERE consumer = ? AND seq = ? AND leased > ?`, consumer, e.Seq, now); err != nil {
				return err
			}
		}
		return nil
	})
}
