package memory

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// intent is what is known of the pushes to a channel.
type intent struct {
	due    time.Time // when one may be handed out, or when its lease ends; zero: none is wanted
	leased bool      // in somebody's hands
	again  time.Time // when the next one is due that was asked for meanwhile; zero: none
	rest   time.Time // none is due before
	last   push.Record
}

// wake leaves an intent, or brings forward the one that is there.
func (db *DB) wake(id mdm.EnrollmentID, due time.Time) {
	i := db.intents[id]
	if i == nil {
		i = &intent{last: push.Record{Enrollment: id}}
		db.intents[id] = i
	}
	if due.Before(i.rest) {
		due = i.rest
	}
	switch {
	case i.leased && (i.again.IsZero() || due.Before(i.again)):
		i.again = due
	case !i.leased && (i.due.IsZero() || due.Before(i.due)):
		i.due = due
	}
	if !due.After(db.now()) {
		db.change.Pushes = true
	}
}

// pushable reports whether pushes can be sent to a channel.
func (db *DB) pushable(id mdm.EnrollmentID) bool {
	e := db.rows[id]
	return e != nil && e.State == mdm.Enrolled && len(e.PushToken) > 0 && e.Presence != mdm.Gone
}

// DuePushes implements [push.Store]. The oldest come first.
func (db *DB) DuePushes(ctx context.Context, now time.Time, max int, lease time.Duration) (out []push.Target, err error) {
	err = db.tx(ctx, func() error {
		ids := db.dueIDs(now)
		for _, id := range ids[:min(len(ids), max)] {
			i, e := db.intents[id], db.rows[id]
			i.due, i.leased = now.Add(lease).Round(0), true
			if !i.again.After(now) { // this push is for that, too
				i.again = time.Time{}
			}
			out = append(out, push.Target{Enrollment: id, Topic: e.Topic, Token: bytes.Clone(e.PushToken), Magic: e.PushMagic,
				TokenUpdatedAt: e.TokenUpdatedAt, Failures: i.last.Failures, Lease: i.due})
		}
		return nil
	})
	return out, err
}

// dueIDs returns the channels that can be pushed now, by the time since when that is due.
func (db *DB) dueIDs(now time.Time) []mdm.EnrollmentID {
	var out []mdm.EnrollmentID
	for id, i := range db.intents {
		if !i.due.IsZero() && !i.due.After(now) && db.pushable(id) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b mdm.EnrollmentID) int { return db.intents[a].due.Compare(db.intents[b].due) })
	return out
}

// Feedback implements [push.Store].
func (db *DB) Feedback(ctx context.Context, results []push.Result) error {
	return db.tx(ctx, func() error {
		for _, r := range results {
			db.settlePush(r)
		}
		return nil
	})
}

func (db *DB) settlePush(r push.Result) {
	id := r.Target.Enrollment
	due := time.Time{}
	switch r.Outcome {
	case push.Retry, push.BadCertificate, push.Unsent:
		due = r.Again(db.now())
	case push.Invalid: // the device was not woken: there is another token, or the intent waits for one
		db.dropToken(r)
		due = r.At
	}
	i := db.intents[id]
	if i == nil {
		return
	}
	if r.Outcome == push.Unsent {
		r.Rest = i.rest
	} else {
		note(&i.last, r)
	}
	if !i.leased || !r.Target.Lease.Equal(i.due) { // not his, or not any more
		return
	}
	if asked := later(i.again, r.Rest); !i.again.IsZero() && (due.IsZero() || asked.Before(due)) {
		due = asked
	}
	i.due, i.leased, i.again, i.rest = due, false, time.Time{}, r.Rest
	db.change.Pushes = db.change.Pushes || !due.IsZero() && !due.After(db.now())
}

// note writes what became of a push.
func note(last *push.Record, r push.Result) {
	last.At, last.Outcome, last.Status, last.Reason, last.APNsID = r.At, r.Outcome, r.Status, r.Reason, r.APNsID
	last.Failures++
	if r.Outcome == push.Delivered {
		last.Delivered, last.Failures = r.At, 0
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// dropToken presumes a channel gone whose token APNs calls dead, unless the device has sent one since.
func (db *DB) dropToken(r push.Result) {
	id := r.Target.Enrollment
	e := db.rows[id]
	if e == nil || e.State != mdm.Enrolled || e.Presence == mdm.Gone || r.Since.Before(e.TokenUpdatedAt) || !bytes.Equal(e.PushToken, r.Target.Token) {
		return
	}
	db.record(mdm.Event{Type: mdm.EventPushFailed, At: r.At, Enrollment: id, Generation: e.Generation, Reason: r.Reason})
	db.setPresence(e, mdm.Gone, r.At, "APNs calls its push token dead: "+r.Reason)
}

// LastPush implements [push.Store].
func (db *DB) LastPush(ctx context.Context, id mdm.EnrollmentID) (out push.Record, err error) {
	err = db.tx(ctx, func() error {
		out.Enrollment = id
		i := db.intents[id]
		if i == nil {
			return nil
		}
		out = i.last
		out.Due, out.Held = i.due, !i.due.IsZero() && !db.pushable(id)
		return nil
	})
	return out, err
}

// Wake implements [push.Store].
func (db *DB) Wake(ctx context.Context, to mdm.Targets, due time.Time) (n int, err error) {
	err = db.tx(ctx, func() error {
		if due.IsZero() {
			due = db.now()
		}
		f, matching := to.Filter()
		again := !matching || slices.Contains(f.Presence, mdm.Gone)
		for _, id := range db.targets(to) {
			if !db.enrolled(id) {
				continue
			}
			if e := db.rows[id]; again && e.Presence == mdm.Gone {
				delete(db.looks, id)
				db.setPresence(e, mdm.Quiet, db.now(), "its push token is to be tried again")
			}
			db.wake(id, due)
			n++
		}
		return nil
	})
	return n, err
}
