package memory

import (
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/presence"
)

// setPresence changes the presence of a channel and tells of it.
func (db *DB) setPresence(e *mdm.Enrollment, to mdm.Presence, at time.Time, why string) {
	e.Presence, e.PresenceSince = to, at
	db.record(mdm.Event{Type: to.Event(), At: at, Enrollment: e.ID, Generation: e.Generation, Reason: why})
}

// heard notes that a request of a channel was accepted: who was missed is there again. session: it asks for commands, so there
// is nothing to wake it for now; a check-in fetches none.
func (db *DB) heard(id mdm.EnrollmentID, at time.Time, session bool) {
	for _, id := range slices.Compact([]mdm.EnrollmentID{id, id.DeviceID()}) {
		e := db.rows[id]
		if e == nil {
			continue
		}
		db.seen(id, at)
		if e.Presence == mdm.Active || e.State == mdm.Ended {
			continue
		}
		if i := db.intents[id]; i != nil && e.Presence == mdm.Gone && session && !i.leased && !i.due.After(at) {
			i.due = time.Time{}
		}
		delete(db.looks, id)
		db.setPresence(e, mdm.Active, db.now(), "it was "+e.Presence.String())
		session = false // the device itself has not asked
	}
}

// followState is for a row that was just written in the place of old.
func (db *DB) followState(e *mdm.Enrollment, old *mdm.Enrollment) {
	switch {
	case old == nil && e.State == mdm.Ended:
		e.Presence, e.PresenceSince = mdm.Gone, e.EndedAt
	case old == nil:
	case e.State == mdm.Ended && old.State != mdm.Ended && old.Presence != mdm.Gone:
		db.setPresence(e, mdm.Gone, db.now(), e.EndReason)
	case e.State != mdm.Ended && old.State == mdm.Ended:
		db.setPresence(e, mdm.Active, db.now(), "it enrolls again")
	}
	if old == nil || old.State != e.State {
		delete(db.looks, e.ID)
	}
}

// Look implements [presence.Store].
func (db *DB) Look(ctx context.Context, now time.Time, max int, judge func(presence.Sighting) presence.Finding) (n int, err error) {
	err = db.tx(ctx, func() error {
		var due []mdm.EnrollmentID
		for id, e := range db.rows {
			if e.State == mdm.Enrolled && !id.IsUser() && e.Presence != mdm.Gone && !db.looks[id].After(now) {
				due = append(due, id)
			}
		}
		slices.SortFunc(due, func(a, b mdm.EnrollmentID) int { return db.looks[a].Compare(db.looks[b]) })
		due = due[:min(len(due), max)]
		findings := make([]presence.Finding, len(due))
		for i, id := range due { // first, as judge may panic
			findings[i] = judge(db.sighting(id, now))
		}
		for i, id := range due {
			db.find(id, findings[i], now)
		}
		n = len(due)
		return nil
	})
	return n, err
}

func (db *DB) sighting(id mdm.EnrollmentID, now time.Time) presence.Sighting {
	s := presence.Sighting{Enrollment: *db.row(id)}
	if i := db.intents[id]; i != nil {
		s.Pushed, s.Tried, s.Wanted = i.last.Delivered, i.last.At, !i.due.IsZero()
	}
	if q := db.queues[id]; q != nil {
		s.Waiting = slices.ContainsFunc(q.open, func(e *entry) bool { return !e.NotBefore.After(now) })
	}
	return s
}

func (db *DB) find(id mdm.EnrollmentID, f presence.Finding, now time.Time) {
	e := db.rows[id]
	db.looks[id] = f.Next
	if !f.Nudge.IsZero() {
		db.wake(id, f.Nudge)
	}
	if f.Presence != e.Presence {
		db.setPresence(e, f.Presence, now, f.Reason)
	}
}
