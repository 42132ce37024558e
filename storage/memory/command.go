package memory

import (
	"bytes"
	"context"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// Exchange implements [command.Exchanger].
func (db *DB) Exchange(ctx context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (offer *command.Offer, err error) {
	err = db.tx(ctx, func() error {
		standing := db.standing(r.ID, r.Fingerprint)
		v := admit(&standing)
		if v.Device != nil {
			db.writeRow(*v.Device)
		}
		db.writeCertificates(v.Certificates)
		db.record(v.Events...)
		if v.Err != nil {
			return v.Err
		}
		db.heard(r.ID, r.At, true)
		if r.Status != command.StatusIdle {
			db.settle(r)
		}
		offer = db.offer(r)
		return nil
	})
	return offer, err
}

// settle records what a report says of a command.
func (db *DB) settle(r *command.Report) {
	state, final := r.Status.Final()
	var e *entry
	q := db.queues[r.ID]
	if q != nil {
		e = q.byUUID[r.CommandUUID]
	}
	switch {
	case r.Unsent != nil:
		db.unsent(q, e, r)
	case state == 0:
		db.keepAside(r, "unknown status")
	case e == nil:
		db.keepAside(r, "unknown CommandUUID")
	case !e.State.Open():
		if e.State != state || !bytes.Equal(e.Result, r.Raw) { // else its reply was lost
			db.keepAside(r, "the command is "+e.State.String()+" already")
		}
	case !final && e.State == command.Deferred: // said already in this session
	case !final:
		e.State, e.DeferredAt = command.Deferred, r.At
		e.Deferrals++
		db.recordAnswer(mdm.EventCommandNotNow, e, r)
	case state == command.Acknowledged:
		e.Result = bytes.Clone(r.Raw)
		q.finish(e, state, r.At, "")
		db.recordAnswer(mdm.EventCommandAcknowledged, e, r)
		db.learn(r, e.RequestType)
	default:
		e.Result = bytes.Clone(r.Raw)
		q.finish(e, state, r.At, "")
		if e.traits&command.Erases != 0 { // it did not happen
			q.eraseSent = 0
		}
		db.recordAnswer(mdm.EventCommandFailed, e, r)
	}
}

// unsent takes back that a command was sent.
func (db *DB) unsent(q *queue, e *entry, r *command.Report) {
	if e == nil || !e.State.Open() {
		return
	}
	e.Sends--
	if e.traits&command.Erases != 0 {
		q.eraseSent = 0
	}
	if r.Unsent.CalledOff {
		db.cancel(q, e, r.At, r.Unsent.Why)
		return
	}
	e.State, e.DeferredAt = command.Deferred, r.At
	e.Deferrals++
	db.record(e.event(mdm.EventCommandNotNow, r.At, r.Unsent.Why))
}

func (db *DB) recordAnswer(t mdm.EventType, e *entry, r *command.Report) {
	event := e.event(t, r.At, "")
	event.Status = string(r.Status)
	db.record(event)
}

// keepAside keeps a report that changes nothing.
func (db *DB) keepAside(r *command.Report, why string) {
	db.aside = append(db.aside, command.Aside{Number: int64(len(db.aside) + 1), Enrollment: r.ID, At: r.At, Status: r.Status,
		CommandUUID: r.CommandUUID, Reason: why, Raw: bytes.Clone(r.Raw)})
	event := mdm.Event{Type: mdm.EventReportAside, At: r.At, Enrollment: r.ID, CommandUUID: r.CommandUUID, Status: string(r.Status), Reason: why}
	if e := db.rows[r.ID]; e != nil {
		event.Generation = e.Generation
	}
	db.record(event)
}

// offer returns the next command. If there is none the session ends, and what is left in the queue may need a push.
func (db *DB) offer(r *command.Report) *command.Offer {
	q := db.queues[r.ID]
	if q == nil || !db.enrolled(r.ID) {
		return nil
	}
	if r.Status == command.StatusIdle {
		q.beginSession()
	}
	db.expire(q, r.At)
	e := db.next(q, r)
	if e == nil {
		if due := q.wakeAt(r.At, r.Status == command.StatusNotNow && r.Unsent == nil); !due.IsZero() {
			db.wake(r.ID, due)
		}
		return nil
	}
	q.sent(e, r.At)
	db.record(e.event(mdm.EventCommandSent, r.At, ""))
	return &command.Offer{UUID: e.UUID, RequestType: e.RequestType, Body: bytes.Clone(e.body)}
}

// next returns the command to offer. What does not fit the device any more is canceled.
func (db *DB) next(q *queue, r *command.Report) *entry {
	for {
		e := q.next(r.At, r.UserConfiguration)
		if e == nil {
			return nil
		}
		target := db.target(r.ID)
		if e.checked == target.Digest() {
			return e
		}
		err := command.Recheck(e.body, e.relax, target)
		if err == nil {
			e.checked = target.Digest()
			return e
		}
		db.cancel(q, e, r.At, command.NoLongerFits(err))
	}
}

// learn keeps what a device said of itself.
func (db *DB) learn(r *command.Report, requestType string) {
	e := db.rows[r.ID]
	if r.ID.IsUser() || e == nil {
		return
	}
	changed := *e
	if command.Learn(&changed.Device, requestType, r.Raw) {
		db.writeRow(changed)
	}
}
