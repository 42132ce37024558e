package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"iter"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

type (
	bodyKey struct{ tenant, uuid string }

	// body is a command, stored once for all its targets.
	body struct {
		requestType string
		bytes       []byte
		traits      command.Traits
		digest      [sha256.Size]byte
	}

	// entry is a command on one queue.
	entry struct {
		command.Entry
		body   *body
		noPush bool
	}

	// queue is the queue of one channel. What is open is apart from what is finished, so that the next command costs the
	// same however long the history is.
	queue struct {
		seq    int64
		open   []*entry // in the order in which they are offered
		all    []*entry // by Seq
		byUUID map[string]*entry
	}

	asideReport struct {
		command.Aside
	}
)

func now() time.Time { return time.Now() }

// Exchange implements [command.Exchanger].
func (db *DB) Exchange(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (offer *command.Offer, err error) {
	err = db.tx(ctx, func() error {
		standing := db.standing(r.ID, r.Fingerprint)
		v := admit(&standing)
		if v.Device != nil {
			device := *v.Device
			device.LastSeenAt = db.enrollments[device.ID].LastSeenAt
			db.enrollments[device.ID] = &device
		}
		db.writeCertificates(v.Certificates)
		db.record(v.Events...)
		if v.Err != nil {
			return v.Err
		}
		if e := db.enrollments[r.ID]; e != nil {
			e.LastSeenAt = r.At
		}
		offer = db.exchange(r)
		return nil
	})
	return offer, err
}

func (db *DB) exchange(r *command.Report) *command.Offer {
	q, enrollment := db.queues[r.ID], db.enrollments[r.ID]
	db.settle(q, enrollment, r)
	if q == nil || enrollment == nil || enrollment.State != mdm.Enrolled {
		return nil
	}
	if r.Status == command.StatusIdle { // a session begins: deferred commands are eligible again
		for _, e := range q.open {
			if e.State == command.Deferred {
				e.State = command.Queued
			}
		}
	}
	db.expire(q, enrollment, r.At)
	deferred := false
	for _, e := range q.open {
		if command.Eligible(&e.Entry, e.body.traits, r.At, r.UserConfiguration) {
			e.State, e.SentAt = command.Sent, r.At
			e.Sends++
			db.record(db.commandEvent(mdm.EventCommandSent, e, r.At, ""))
			return &command.Offer{UUID: e.UUID, RequestType: e.RequestType, Body: e.body.bytes}
		}
		deferred = deferred || e.State == command.Deferred
	}
	if deferred {
		delay := command.DeferredPush
		if r.Status == command.StatusNotNow {
			delay = command.SafetyPush
		}
		db.wake(r.ID, r.At.Add(delay))
	}
	return nil
}

// settle records what the report says of a command.
func (db *DB) settle(q *queue, enrollment *mdm.Enrollment, r *command.Report) {
	if r.Status == command.StatusIdle {
		return
	}
	state, final := r.Status.Final()
	var e *entry
	if q != nil {
		e = q.byUUID[r.CommandUUID]
	}
	switch {
	case state == 0:
		db.keepAside(enrollment, r, "unknown status")
	case e == nil:
		db.keepAside(enrollment, r, "unknown CommandUUID")
	case !e.State.Open():
		if e.State != state || !bytes.Equal(e.Result, r.Raw) {
			db.keepAside(enrollment, r, "the command is "+e.State.String()+" already")
		}
	case !final:
		e.State, e.DeferredAt = command.Deferred, r.At
		e.Deferrals++
		db.record(db.commandEvent(mdm.EventCommandNotNow, e, r.At, ""))
	default:
		e.Result = bytes.Clone(r.Raw)
		q.finish(e, state, r.At, "")
		kind := mdm.EventCommandAcknowledged
		if state != command.Acknowledged {
			kind = mdm.EventCommandFailed
		}
		event := db.commandEvent(kind, e, r.At, "")
		event.Status = string(r.Status)
		db.record(event)
	}
}

func (db *DB) keepAside(enrollment *mdm.Enrollment, r *command.Report, why string) {
	db.aside = append(db.aside, asideReport{command.Aside{Number: int64(len(db.aside) + 1), Enrollment: r.ID, At: r.At, Status: r.Status,
		CommandUUID: r.CommandUUID, Reason: why, Raw: bytes.Clone(r.Raw)}})
	e := mdm.Event{Type: mdm.EventReportAside, At: r.At, Enrollment: r.ID, CommandUUID: r.CommandUUID, Status: string(r.Status), Reason: why}
	if enrollment != nil {
		e.Generation = enrollment.Generation
	}
	db.record(e)
}

func (db *DB) expire(q *queue, enrollment *mdm.Enrollment, at time.Time) {
	for _, e := range slices.Clone(q.open) {
		if command.Overdue(&e.Entry, at) {
			q.finish(e, command.Expired, at, "")
			db.record(db.commandEvent(mdm.EventCommandExpired, e, at, ""))
		}
	}
}

func (q *queue) finish(e *entry, state command.State, at time.Time, note string) {
	e.State, e.FinishedAt, e.Note = state, at, note
	q.open = slices.DeleteFunc(q.open, func(o *entry) bool { return o == e })
}

func (db *DB) commandEvent(t mdm.EventType, e *entry, at time.Time, why string) mdm.Event {
	return mdm.Event{Type: t, At: at, Enrollment: e.Enrollment, Generation: e.Generation, CommandUUID: e.UUID, RequestType: e.RequestType, Reason: why}
}

// cancelOpen cancels everything that is open on a queue. An erase that was sent has probably happened.
func (db *DB) cancelOpen(id mdm.EnrollmentID, why string, at time.Time) {
	q := db.queues[id]
	if q == nil {
		return
	}
	for _, e := range slices.Clone(q.open) {
		state := command.Canceled
		if e.body.traits&command.Erases != 0 && e.Sends > 0 {
			state = command.Presumed
		}
		q.finish(e, state, at, why)
		db.record(db.commandEvent(mdm.EventCommandCanceled, e, at, why))
	}
}

// Enqueue implements [command.Enqueuer].
func (db *DB) Enqueue(ctx context.Context, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	receipt := command.Receipt{UUID: item.UUID}
	err = db.tx(ctx, func() error {
		ids := o.To.List()
		if f, ok := o.To.Filter(); ok {
			for _, e := range db.matching(f) {
				ids = append(ids, e.ID)
			}
		}
		for _, id := range ids { // all or nothing but for refusals: a wrong body is found before anything is queued
			if b := db.bodies[bodyKey{id.Tenant, item.UUID}]; b != nil && b.digest != item.Digest {
				return mdm.Errorf(mdm.Malformed, "memory.Enqueue", "the UUID is taken by another command")
			}
		}
		at := now()
		for _, id := range ids {
			db.enqueue(&receipt, o, item, id, at)
		}
		return nil
	})
	if err != nil {
		return command.Receipt{}, err
	}
	return receipt, nil
}

func (db *DB) enqueue(receipt *command.Receipt, o command.Order, item command.Item, id mdm.EnrollmentID, at time.Time) {
	e := db.enrollments[id]
	if e == nil || e.State != mdm.Enrolled {
		code, why := mdm.NotFound, "not known"
		if e != nil {
			code, why = mdm.Forbidden, "not enrolled"
		}
		receipt.RefusedAll++
		if len(receipt.Refused) < command.MaxRefusals {
			receipt.Refused = append(receipt.Refused, command.Refusal{Enrollment: id, Err: mdm.Errorf(code, "memory.Enqueue", "%s", why)})
		}
		return
	}
	q := db.queues[id]
	if q == nil {
		q = &queue{byUUID: map[string]*entry{}}
		db.queues[id] = q
	}
	if q.byUUID[item.UUID] != nil { // queued before by the same order
		receipt.Queued++
		return
	}
	if o.Collapse != "" && db.collapse(q, o, at) {
		receipt.Collapsed++
		return
	}
	b := db.bodies[bodyKey{id.Tenant, item.UUID}]
	if b == nil {
		b = &body{requestType: item.RequestType, bytes: item.Body, traits: item.Traits, digest: item.Digest}
		db.bodies[bodyKey{id.Tenant, item.UUID}] = b
	}
	q.seq++
	n := &entry{body: b, Entry: command.Entry{Enrollment: id, Generation: e.Generation, Seq: q.seq, UUID: item.UUID, RequestType: item.RequestType,
		State: command.Queued, Priority: o.Priority, Collapse: o.Collapse, NotBefore: o.NotBefore, NotAfter: o.NotAfter, QueuedAt: at}}
	q.all, q.byUUID[n.UUID] = append(q.all, n), n
	at2, _ := slices.BinarySearchFunc(q.open, n, func(a, b *entry) int { return command.Compare(&a.Entry, &b.Entry) })
	q.open = slices.Insert(q.open, at2, n)
	receipt.Queued++
	db.record(db.commandEvent(mdm.EventCommandQueued, n, at, ""))
	if !o.NoPush {
		due := at
		if o.NotBefore.After(at) {
			due = o.NotBefore
		}
		db.wake(id, due)
	}
}

// collapse reports whether an open command makes a new one with its key needless; superseded ones are canceled.
func (db *DB) collapse(q *queue, o command.Order, at time.Time) bool {
	for _, e := range slices.Clone(q.open) {
		switch {
		case e.Collapse != o.Collapse:
		case !o.Supersede:
			return true
		case e.Sends == 0:
			q.finish(e, command.Canceled, at, "superseded")
			db.record(db.commandEvent(mdm.EventCommandCanceled, e, at, "superseded"))
		}
	}
	return false
}

// Cancel implements [command.Enqueuer].
func (db *DB) Cancel(ctx context.Context, uuid string, from mdm.Targets) (n int, err error) {
	err = db.tx(ctx, func() error {
		ids := from.List()
		f, filtered := from.Filter()
		for id, q := range db.queues {
			e := q.byUUID[uuid]
			switch {
			case e == nil || !e.State.Open():
			case filtered && !f.Matches(db.enrollments[id]):
			case !filtered && len(ids) > 0 && !slices.Contains(ids, id):
			default:
				q.finish(e, command.Canceled, now(), "canceled")
				db.record(db.commandEvent(mdm.EventCommandCanceled, e, now(), "canceled"))
				n++
			}
		}
		return nil
	})
	return n, err
}

// Entries implements [command.Inspector].
func (db *DB) Entries(ctx context.Context, query command.Query) iter.Seq2[command.Entry, error] {
	return func(yield func(command.Entry, error) bool) {
		var list []command.Entry
		if err := db.tx(ctx, func() error { list = db.entries(query); return nil }); err != nil {
			yield(command.Entry{}, err)
			return
		}
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (db *DB) entries(query command.Query) []command.Entry {
	var ids []mdm.EnrollmentID
	tenant := query.Tenant
	if !query.From.IsZero() {
		tenant = query.From.Tenant
	}
	for id := range db.queues {
		if id.Tenant == tenant && (query.From.IsZero() || id == query.From) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	var list []command.Entry
	for _, id := range ids {
		for _, e := range db.queues[id].all {
			after := query.AfterEnrollment.IsZero() && e.Seq > query.AfterSeq || !query.AfterEnrollment.IsZero() &&
				(compareIDs(id, query.AfterEnrollment) > 0 || id == query.AfterEnrollment && e.Seq > query.AfterSeq)
			if !after || query.UUID != "" && e.UUID != query.UUID || len(query.States) > 0 && !slices.Contains(query.States, e.State) {
				continue
			}
			out := e.Entry
			if query.Bodies {
				out.Body = bytes.Clone(e.body.bytes)
			}
			if !query.Results {
				out.Result = nil
			}
			if list = append(list, out); query.Limit > 0 && len(list) == query.Limit {
				return list
			}
		}
	}
	return list
}

// Aside implements [command.Inspector].
func (db *DB) Aside(ctx context.Context, tenant string, after int64, limit int) iter.Seq2[command.Aside, error] {
	return func(yield func(command.Aside, error) bool) {
		var list []asideReport
		if err := db.tx(ctx, func() error { list = slices.Clone(db.aside); return nil }); err != nil {
			yield(command.Aside{}, err)
			return
		}
		n := 0
		for _, a := range list {
			if a.Enrollment.Tenant != tenant || a.Number <= after {
				continue
			}
			if n++; limit > 0 && n > limit || !yield(a.Aside, nil) {
				return
			}
		}
	}
}
