package memory

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

type (
	orderKey struct{ tenant, uuid string }

	// order is a command, stored once for all its targets.
	order struct {
		body   []byte
		traits command.Traits
		digest [sha256.Size]byte
	}

	// entry is a command on one queue. Its Body is empty; that is the order's.
	entry struct {
		command.Entry
		*order
		relax   schema.Rules
		checked int64 // the digest of the target that it was checked for
	}

	// queue is the queue of one channel. What is open is apart from the rest, so that the next command costs the same
	// however long the history is.
	queue struct {
		open      []*entry // in the order in which they are offered
		all       []*entry // by Seq, open or finished
		byUUID    map[string]*entry
		last      int64          // Seq given out last
		eraseSent mdm.Generation // in which an EraseDevice was last sent
	}
)

// queue returns the queue of a channel, which may be empty.
func (db *DB) queue(id mdm.EnrollmentID) *queue {
	q := db.queues[id]
	if q == nil {
		q = &queue{byUUID: map[string]*entry{}}
		db.queues[id] = q
	}
	return q
}

// insert gives e its place.
func (q *queue) insert(e *entry) {
	q.last++
	e.Seq = q.last
	q.all = append(q.all, e)
	q.byUUID[e.UUID] = e
	at, _ := slices.BinarySearchFunc(q.open, e, compare)
	q.open = slices.Insert(q.open, at, e)
}

func compare(a, b *entry) int { return command.Compare(&a.Entry, &b.Entry) }

// finish gives an open entry its final state.
func (q *queue) finish(e *entry, state command.State, at time.Time, note string) {
	e.State, e.FinishedAt, e.Note = state, at, note
	if i, found := slices.BinarySearchFunc(q.open, e, compare); found {
		q.open = slices.Delete(q.open, i, i+1)
	}
}

// beginSession makes deferred commands eligible again.
func (q *queue) beginSession() {
	for _, e := range q.open {
		if e.State == command.Deferred {
			e.State = command.Queued
		}
	}
}

// next returns the command to offer, nil if there is none.
func (q *queue) next(at time.Time, setup bool) *entry {
	for _, e := range q.open {
		if command.Eligible(&e.Entry, e.traits, at, setup) {
			return e
		}
	}
	return nil
}

// sent notes that e was offered.
func (q *queue) sent(e *entry, at time.Time) {
	e.State, e.SentAt = command.Sent, at
	e.Sends++
	if e.traits&command.Erases != 0 {
		q.eraseSent = e.Generation
	}
}

// replacementSent reports whether a command that replaces the MDM profile was sent and has no final answer.
func (q *queue) replacementSent(g mdm.Generation) bool {
	return slices.ContainsFunc(q.open, func(e *entry) bool {
		return e.Generation == g && e.Sends > 0 && e.traits&command.ReplacesMDM != 0
	})
}

// wakeAt returns when a device whose session ends should be woken for what is left; zero: not at all. If NotNow was its last
// word, it polls by itself.
func (q *queue) wakeAt(at time.Time, polls bool) time.Time {
	var due time.Time
	for _, e := range q.open {
		var t time.Time
		switch {
		case e.State == command.Deferred && polls:
			t = at.Add(command.SafetyPush)
		case e.State == command.Deferred:
			t = at.Add(command.DeferredPush)
		case e.NotBefore.After(at): // it called too early
			t = e.NotBefore
		default:
			continue
		}
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	return due
}

// event tells of a change of e.
func (e *entry) event(t mdm.EventType, at time.Time, why string) mdm.Event {
	return mdm.Event{Type: t, At: at, Enrollment: e.Enrollment, Generation: e.Generation, CommandUUID: e.UUID, RequestType: e.RequestType, Reason: why}
}

// expire finishes what is past its deadline.
func (db *DB) expire(q *queue, at time.Time) {
	for _, e := range slices.Clone(q.open) {
		if command.Overdue(&e.Entry, at) {
			q.finish(e, command.Expired, at, "")
			db.record(e.event(mdm.EventCommandExpired, at, ""))
		}
	}
}

func (db *DB) cancel(q *queue, e *entry, at time.Time, why string) {
	q.finish(e, command.Canceled, at, why)
	db.record(e.event(mdm.EventCommandCanceled, at, why))
}

// cancelOpen empties a queue. An erase that was sent and not answered has probably happened.
func (db *DB) cancelOpen(id mdm.EnrollmentID, at time.Time, why string) {
	q := db.queues[id]
	if q == nil {
		return
	}
	for _, e := range slices.Clone(q.open) {
		if e.traits&command.Erases != 0 && e.State == command.Sent {
			q.finish(e, command.Presumed, at, "sent and never answered")
			db.record(e.event(mdm.EventCommandCanceled, at, "presumed executed"))
			continue
		}
		db.cancel(q, e, at, why)
	}
}
