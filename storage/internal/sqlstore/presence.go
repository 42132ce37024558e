package sqlstore

import (
	"context"
	"math"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/presence"
)

// never is the time of what is not due.
const never = math.MaxInt64

// pushable reports whether pushes can be sent to a channel, but for what APNs says.
func pushable(e *mdm.Enrollment) bool { return e.State == mdm.Enrolled && len(e.PushToken) > 0 }

// reachable reports whether pushes are sent to a channel: it is pushable and not gone.
func reachable(state, presence int64, token []byte) bool {
	return mdm.State(state) == mdm.Enrolled && len(token) > 0 && mdm.Presence(presence) != mdm.Gone
}

// found is the presence that is written with a row.
type found struct {
	presence mdm.Presence
	since    time.Time
	look     int64 // when to look whether it is still there; negative: as before
	why      string
}

// presenceOf follows the state of an enrollment. All else is found out by looking, and undone by heard.
func (t *tx) presenceOf(e *mdm.Enrollment, former *row) found {
	look := int64(0)
	if e.ID.IsUser() || e.State == mdm.Ended {
		look = never // only devices are looked for
	}
	switch {
	case former == nil && e.State == mdm.Ended:
		return found{presence: mdm.Gone, since: e.EndedAt, look: never}
	case former == nil:
		return found{look: look}
	case e.State == former.State:
		return found{presence: former.Presence, since: former.PresenceSince, look: -1}
	case e.State == mdm.Ended && former.Presence != mdm.Gone:
		return found{presence: mdm.Gone, since: t.db.now(), look: never, why: e.EndReason}
	case former.State == mdm.Ended:
		return found{presence: mdm.Active, since: t.db.now(), look: look, why: "it enrolls again"}
	}
	return found{presence: former.Presence, since: former.PresenceSince, look: look}
}

var (
	opPresence = newOp("id presence at look", `UPDATE mdm_enrollments SET presence = :presence, presence_at = :at, look_at = :look {from}
		WHERE mdm_enrollments.id = :id`)
	opLook = newOp("id look", "UPDATE mdm_enrollments SET look_at = :look {from} WHERE mdm_enrollments.id = :id")
)

// missed reports whether the caller or its device was not thought to be there.
func (k *known) missed() bool {
	return k.own != nil && k.own.Presence != mdm.Active || k.device != nil && k.device.Presence != mdm.Active
}

// heard notes that a request was accepted: who was missed is there again. session: it asks for commands, so there is nothing to
// wake it for now; a check-in fetches none.
func (t *tx) heard(v *turn, k *known, session bool) error {
	if !k.missed() {
		return nil
	}
	for _, r := range []*row{k.own, k.device} {
		if r == nil || r.Presence == mdm.Active || r.State == mdm.Ended {
			continue
		}
		at := t.db.now()
		look := int64(0)
		if r.ID.IsUser() {
			look = never
		}
		t.write(v, opPresence, r.id, mdm.Active, micros(at), look)
		switch {
		case r.Presence != mdm.Gone:
		case session && r == k.own:
			t.write(v, opUnparkLater, r.id, micros(at))
		default:
			t.write(v, opUnpark, r.id)
		}
		was := r.Presence
		r.Presence, r.PresenceSince = mdm.Active, at
		if err := t.record(v, mdm.Event{Type: mdm.EventActive, At: at, Enrollment: r.ID, Generation: r.Generation, Reason: "it was " + was.String()}); err != nil {
			return err
		}
	}
	return nil
}

// Look implements presence.Store.
func (db *DB) Look(ctx context.Context, now time.Time, max int, judge func(presence.Sighting) presence.Finding) (int, error) {
	var found int64
	if due, err := one(ctx, snapshot{db}, "SELECT 1 FROM mdm_enrollments WHERE look_at <= ? LIMIT 1", []any{micros(now)}, &found); err != nil || !due {
		return 0, err // looking often must cost nothing
	}
	n := 0
	err := db.update(ctx, func(t *tx) error {
		sightings, rows, err := t.sightings(ctx, now, max)
		n = len(rows)
		for i, s := range sightings {
			if err != nil {
				break
			}
			if e := &s.Enrollment; e.State != mdm.Enrolled || e.ID.IsUser() || e.Presence == mdm.Gone {
				t.write(&turn{}, opLook, rows[i], int64(never)) // nobody to look for
				continue
			}
			err = t.finding(rows[i], s, judge(s), now)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

const lookQuery = `SELECT e.id, e.tenant, e.device, e.usr, e.state, e.generation, e.info, e.topic, e.presence, e.presence_at, e.enrolled_at, e.token_updated_at,
		e.last_seen_at, COALESCE(p.delivered_at, 0), COALESCE(p.settled_at, 0), COALESCE(p.due, ` + neverText + `),
		CASE WHEN EXISTS (SELECT 1 FROM mdm_queue q WHERE q.enrollment = e.id AND q.not_before <= ?) THEN 1 ELSE 0 END
	FROM mdm_enrollments e LEFT JOIN mdm_pushes p ON p.enrollment = e.id WHERE e.look_at <= ? ORDER BY e.look_at LIMIT ? {skip e}`

// sightings returns what is known of the devices that are due, with their rows.
func (t *tx) sightings(ctx context.Context, now time.Time, max int) (out []presence.Sighting, ids []int64, err error) {
	err = t.query(ctx, lookQuery, []any{micros(now), micros(now), max}, func(scan func(...any) error) error {
		var s presence.Sighting
		var id, state, generation, found, since, enrolled, updated, seen, pushed, tried, due, waiting int64
		var info string
		e := &s.Enrollment
		if err := scan(&id, &e.ID.Tenant, &e.ID.Device, &e.ID.User, &state, &generation, &info, &e.Topic, &found, &since, &enrolled, &updated,
			&seen, &pushed, &tried, &due, &waiting); err != nil {
			return err
		}
		e.State, e.Generation, e.Presence, e.PresenceSince = mdm.State(state), mdm.Generation(generation), mdm.Presence(found), fromMicros(since)
		e.EnrolledAt, e.TokenUpdatedAt, e.LastSeenAt = fromMicros(enrolled), fromMicros(updated), fromMicros(seen)
		s.Pushed, s.Tried, s.Wanted, s.Waiting = fromMicros(pushed), fromMicros(tried), due < never, waiting != 0
		t.db.seen.apply(e)
		err := readInfo(info, &e.Device)
		ids, out = append(ids, id), append(out, s)
		return err
	})
	return out, ids, err
}

// finding writes what was found of a device.
func (t *tx) finding(id int64, s presence.Sighting, f presence.Finding, now time.Time) error {
	e := &s.Enrollment
	v := &turn{}
	look := micros(f.Next)
	if f.Presence == mdm.Gone {
		look = never
	}
	if !f.Nudge.IsZero() {
		t.wake(v, id, f.Nudge)
	}
	if f.Presence == e.Presence {
		t.write(v, opLook, id, look)
		return nil
	}
	t.write(v, opPresence, id, f.Presence, micros(now), look)
	return t.record(v, mdm.Event{Type: f.Presence.Event(), At: now, Enrollment: e.ID, Generation: e.Generation, Reason: f.Reason})
}
