package memory

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// intent is a push that is to be sent, one for each channel.
type intent struct {
	due    time.Time // when it may be handed out
	leased bool      // in somebody's hands; due is when the lease ends
	// renewed is for when it was asked for again while leased; zero: it was not.
	renewed time.Time
}

// wake leaves an intent, or brings forward the one that is there.
func (db *DB) wake(id mdm.EnrollmentID, due time.Time) {
	i := db.intents[id]
	switch {
	case i == nil:
		db.intents[id] = &intent{due: due}
	case i.leased && (i.renewed.IsZero() || due.Before(i.renewed)):
		i.renewed = due
	case !i.leased && due.Before(i.due):
		i.due = due
	}
	if !due.After(db.now()) {
		db.change.Pushes = true
	}
}

// DuePushes implements [push.Store]. The oldest come first.
func (db *DB) DuePushes(ctx context.Context, now time.Time, max int, lease time.Duration) (out []push.Target, err error) {
	err = db.tx(ctx, func() error {
		ids := db.dueIDs(now)
		for _, id := range ids[:min(len(ids), max)] {
			i, e := db.intents[id], db.rows[id]
			i.due, i.leased = now.Add(lease), true
			if !i.renewed.After(now) { // this push is for that, too
				i.renewed = time.Time{}
			}
			out = append(out, push.Target{Enrollment: id, Topic: e.Topic, Token: bytes.Clone(e.PushToken), Magic: e.PushMagic,
				TokenUpdatedAt: e.TokenUpdatedAt})
		}
		return nil
	})
	return out, err
}

// dueIDs returns the channels that can be pushed now, by the time since when that is due.
func (db *DB) dueIDs(now time.Time) []mdm.EnrollmentID {
	var out []mdm.EnrollmentID
	for id, i := range db.intents {
		if !i.due.After(now) && db.enrolled(id) && len(db.rows[id].PushToken) > 0 {
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
	i, e := db.intents[id], db.rows[id]
	if r.Outcome == push.Invalid && e != nil && e.State == mdm.Enrolled {
		if r.Since.Before(e.TokenUpdatedAt) { // a former token: the lease ends by itself, and the new one is tried
			return
		}
		if len(e.PushToken) > 0 {
			e.PushToken = nil
			db.record(mdm.Event{Type: mdm.EventPushFailed, At: r.At, Enrollment: id, Generation: e.Generation, Reason: r.Reason})
		}
	}
	switch {
	case i == nil || !i.leased:
	case !r.Retry.IsZero() && (r.Outcome == push.Retry || r.Outcome == push.BadCertificate):
		*i = intent{due: r.Retry}
	case r.Outcome == push.Retry: // nobody said when: when the lease ends
	case !i.renewed.IsZero():
		*i = intent{due: i.renewed}
		db.change.Pushes = db.change.Pushes || !i.due.After(db.now())
	default:
		delete(db.intents, id)
	}
}

// Wake implements [push.Store].
func (db *DB) Wake(ctx context.Context, to mdm.Targets, due time.Time) (n int, err error) {
	err = db.tx(ctx, func() error {
		for _, id := range db.targets(to) {
			if db.enrolled(id) {
				db.wake(id, due)
				n++
			}
		}
		return nil
	})
	return n, err
}
