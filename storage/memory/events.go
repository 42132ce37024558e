package memory

import (
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

type (
	// consumer is how far somebody is with the events.
	consumer struct {
		next int       // how many events there were before the first that was never looked at, swept ones included
		open []pending // looked at and not acknowledged, by Seq
	}

	// pending is an event that is leased, or waits for an earlier one of its enrollment.
	pending struct {
		mdm.Event
		until time.Time // end of the lease
	}
)

// record appends events.
func (db *DB) record(events ...mdm.Event) {
	for _, e := range events {
		e.Seq = int64(db.dropped + len(db.events) + 1)
		db.events = append(db.events, e)
		db.change.Events = true
	}
}

// Lease implements [event.Log].
func (db *DB) Lease(ctx context.Context, name string, most int, lease time.Duration) (out []mdm.Event, err error) {
	err = db.tx(ctx, func() error {
		c := db.consumers[name]
		if c == nil {
			c = &consumer{}
			db.consumers[name] = c
		}
		c.next = max(c.next, db.dropped)
		out = c.lease(db.events, db.dropped, most, db.now(), lease)
		return nil
	})
	return out, err
}

// lease takes up to max events: those whose lease ended first, then new ones.
func (c *consumer) lease(log []mdm.Event, dropped, max int, now time.Time, d time.Duration) (out []mdm.Event) {
	held := map[mdm.EnrollmentID]bool{} // an earlier event is in somebody's hands
	take := func(p *pending) {
		if p.until.After(now) || held[p.Enrollment] {
			held[p.Enrollment] = true
			return
		}
		p.until = now.Add(d)
		out = append(out, p.Event)
	}
	for i := range c.open {
		if len(out) >= max {
			return out
		}
		take(&c.open[i])
	}
	for ; c.next-dropped < len(log) && len(out) < max; c.next++ {
		c.open = append(c.open, pending{Event: log[c.next-dropped]})
		take(&c.open[len(c.open)-1])
	}
	return out
}

// Ack implements [event.Log].
func (db *DB) Ack(ctx context.Context, name string, done []mdm.Event) error {
	return db.tx(ctx, func() error {
		c := db.consumers[name]
		if c == nil {
			return nil
		}
		acked := map[int64]bool{}
		for _, e := range done {
			acked[e.Seq] = true
		}
		now := db.now()
		c.open = slices.DeleteFunc(c.open, func(p pending) bool { return acked[p.Seq] && p.until.After(now) })
		return nil
	})
}

// Events implements [event.Log]. A limit of 0 is no limit.
func (db *DB) Events(ctx context.Context, tenant string, after int64, limit int) (out []mdm.Event, err error) {
	err = db.tx(ctx, func() error {
		for _, e := range db.events[min(max(after-int64(db.dropped), 0), int64(len(db.events))):] {
			if e.Enrollment.Tenant != tenant {
				continue
			}
			if out = append(out, e); limit > 0 && len(out) == limit {
				break
			}
		}
		return nil
	})
	return out, err
}
