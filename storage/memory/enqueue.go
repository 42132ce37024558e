package memory

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Enqueue implements [command.Enqueuer].
func (db *DB) Enqueue(ctx context.Context, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	receipt := command.Receipt{UUID: item.UUID}
	var outcomes []command.Outcome
	err = db.tx(ctx, func() error {
		ids := db.targets(o.To)
		for _, id := range ids { // before anything is queued: nobody gets it, or everybody who can
			if known := db.orders[orderKey{id.Tenant, item.UUID}]; known != nil && known.digest != item.Digest {
				return mdm.Errorf(mdm.Malformed, "memory.Enqueue", "the UUID is that of another command")
			}
		}
		at := db.now()
		many := len(ids) > command.OneTransaction
		if many {
			db.record(command.OrderEvent(mdm.EventOrderBegun, at, ids[0].Tenant, receipt, item))
			defer func() { db.record(command.OrderEvent(mdm.EventOrderDone, at, ids[0].Tenant, receipt, item)) }()
		}
		for _, id := range ids {
			s, err := db.enqueue(&receipt, o, item, id, at, many)
			if o.Each != nil {
				outcomes = append(outcomes, command.Outcome{Enrollment: id, State: s, Err: err})
			}
		}
		return nil
	})
	if err != nil {
		return command.Receipt{}, err
	}
	for _, outcome := range outcomes {
		o.Each(outcome)
	}
	if o.Progress != nil {
		o.Progress(receipt)
	}
	return receipt, nil
}

// enqueue serves one target, perhaps one of many.
func (db *DB) enqueue(receipt *command.Receipt, o command.Order, item command.Item, id mdm.EnrollmentID, at time.Time, many bool) (command.OutcomeState, error) {
	if !db.enrolled(id) {
		err := db.refusal(id)
		refuse(receipt, id, err)
		return command.OutcomeRefused, err
	}
	q := db.queue(id)
	if q.byUUID[item.UUID] != nil { // the same order again
		receipt.Queued++
		return command.OutcomeQueued, nil
	}
	target := db.target(id)
	if err := item.Check(target); err != nil {
		refuse(receipt, id, err)
		return command.OutcomeRefused, err
	}
	if o.Collapse != "" && db.collapses(q, o, at) {
		receipt.Collapsed++
		return command.OutcomeCollapsed, nil
	}
	e := &entry{order: db.order(id.Tenant, item), relax: item.Relax, checked: target.Digest(), Entry: command.Entry{
		Enrollment: id, Generation: db.rows[id].Generation, UUID: item.UUID, RequestType: item.RequestType, State: command.Queued,
		Priority: o.Priority, Collapse: o.Collapse, NotBefore: o.NotBefore, NotAfter: o.NotAfter, QueuedAt: at,
	}}
	q.insert(e)
	receipt.Queued++
	if !many {
		db.record(e.event(mdm.EventCommandQueued, at, ""))
	}
	if !o.NoPush {
		if o.NotBefore.After(at) {
			at = o.NotBefore
		}
		db.wake(id, at)
	}
	return command.OutcomeQueued, nil
}

func refuse(receipt *command.Receipt, id mdm.EnrollmentID, err error) {
	receipt.RefusedAll++
	if e, ok := errors.AsType[*mdm.Error](err); ok {
		e.Enrollment = id
	}
	if len(receipt.Refused) < command.MaxRefusals {
		receipt.Refused = append(receipt.Refused, command.Refusal{Enrollment: id, Err: err})
	}
}

// target is what is known of the enrollment that a command is for.
func (db *DB) target(id mdm.EnrollmentID) schema.Target {
	return schema.TargetOf(db.rows[id], db.rows[id.DeviceID()])
}

func (db *DB) refusal(id mdm.EnrollmentID) error {
	err := mdm.Errorf(mdm.NotFound, "memory.Enqueue", "the enrollment is not known")
	if e := db.rows[id]; e != nil {
		err = mdm.Errorf(mdm.Forbidden, "memory.Enqueue", "the enrollment is %s", e.State)
	}
	return err
}

// order returns the stored command, and stores it if it is new to the tenant.
func (db *DB) order(tenant string, item command.Item) *order {
	key := orderKey{tenant, item.UUID}
	if db.orders[key] == nil {
		db.orders[key] = &order{body: item.Body, traits: item.Traits, digest: item.Digest}
	}
	return db.orders[key]
}

// collapses reports whether an open command makes o needless. What o supersedes is canceled.
func (db *DB) collapses(q *queue, o command.Order, at time.Time) bool {
	db.expire(q, at)
	for _, e := range slices.Clone(q.open) {
		switch {
		case e.Collapse != o.Collapse:
		case !o.Supersede:
			return true
		case e.Sends == 0:
			db.cancel(q, e, at, "superseded by "+o.Command.RequestType())
		}
	}
	return false
}

// Cancel implements [command.Enqueuer].
func (db *DB) Cancel(ctx context.Context, uuid string, from mdm.Targets) (n int, err error) {
	err = db.tx(ctx, func() error {
		at := db.now()
		for _, id := range db.cancelFrom(from) {
			q := db.queues[id]
			if q == nil || q.byUUID[uuid] == nil || !q.byUUID[uuid].State.Open() {
				continue
			}
			db.cancel(q, q.byUUID[uuid], at, "canceled by the operator")
			n++
		}
		return nil
	})
	return n, err
}

// cancelFrom returns the queues that from means: an empty list means every one.
func (db *DB) cancelFrom(from mdm.Targets) []mdm.EnrollmentID {
	if _, filtered := from.Filter(); filtered || len(from.List()) > 0 {
		return db.targets(from)
	}
	all := make([]mdm.EnrollmentID, 0, len(db.queues))
	for id := range db.queues {
		all = append(all, id)
	}
	return all
}
