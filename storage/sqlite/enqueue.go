package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Enqueue implements command.Enqueuer.
func (db *DB) Enqueue(ctx context.Context, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	var receipt command.Receipt
	err = db.update(ctx, func(t *tx) error {
		receipt, err = t.enqueueAll(ctx, o, item)
		return err
	})
	if err != nil {
		return command.Receipt{}, err
	}
	return receipt, nil
}

// Begin starts a transaction for EnqueueTx, in which statements of the caller's own on this database can run, too. It
// holds the write lock until it is committed or rolled back: be quick.
func (db *DB) Begin(ctx context.Context) (*sql.Tx, error) {
	sqlTx, err := db.writes.pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, failed(err)
	}
	return sqlTx, nil
}

// EnqueueTx is Enqueue in a transaction of the caller's: the command is queued if and when it commits, together with
// whatever else is in it. The push follows within a second or so.
func (db *DB) EnqueueTx(ctx context.Context, sqlTx *sql.Tx, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	t := &tx{w: db.writes, foreign: sqlTx, ids: map[mdm.EnrollmentID]int64{}}
	return t.enqueueAll(ctx, o, item)
}

func (t *tx) enqueueAll(ctx context.Context, o command.Order, item command.Item) (command.Receipt, error) {
	receipt := command.Receipt{UUID: item.UUID}
	if f, ok := o.To.Filter(); ok {
		left := f.Limit
		for {
			page := f
			page.Limit = pageSize
			if f.Limit > 0 {
				page.Limit = min(left, pageSize)
			}
			rows, err := selectRows(ctx, t, page)
			if err != nil {
				return receipt, err
			}
			for _, r := range rows {
				if err := t.enqueue(ctx, &receipt, o, item, r.ID, r); err != nil {
					return receipt, err
				}
				f.After = r.ID
			}
			left -= len(rows)
			if len(rows) < page.Limit || f.Limit > 0 && left == 0 {
				return receipt, nil
			}
		}
	}
	seen := map[mdm.EnrollmentID]bool{}
	for _, id := range o.To.List() {
		if seen[id] { // named twice
			continue
		}
		seen[id] = true
		if err := t.enqueue(ctx, &receipt, o, item, id, nil); err != nil {
			return receipt, err
		}
	}
	return receipt, nil
}

// enqueue puts a command on one queue, or notes why not. found is the row of id, if it is at hand.
func (t *tx) enqueue(ctx context.Context, receipt *command.Receipt, o command.Order, item command.Item, id mdm.EnrollmentID, found *row) error {
	if found == nil {
		var err error
		if found, err = t.row(ctx, id); err != nil {
			return err
		}
	}
	if found == nil {
		refuse(receipt, id, mdm.Errorf(mdm.NotFound, "sqlite.Enqueue", "not known"))
		return nil
	}
	if found.State != mdm.Enrolled {
		refuse(receipt, id, mdm.Errorf(mdm.Forbidden, "sqlite.Enqueue", "not enrolled"))
		return nil
	}
	body, err := t.body(ctx, item, id.Tenant)
	if err != nil {
		return err
	}
	var n int
	again, err := one(ctx, t, `SELECT 1 FROM queue WHERE command = ?1 AND enrollment = ?2
		UNION ALL SELECT 1 FROM history WHERE command = ?1 AND enrollment = ?2`, []any{body, found.id}, &n)
	if err != nil {
		return err
	}
	if again { // queued before by the same order
		receipt.Queued++
		return nil
	}
	target, err := t.target(ctx, found)
	if err != nil {
		return err
	}
	if err := item.Check(target); err != nil {
		refuse(receipt, id, err)
		return nil
	}
	if o.Collapse != "" {
		if collapsed, err := t.collapse(ctx, found, o); err != nil || collapsed {
			receipt.Collapsed++
			return err
		}
	}
	return t.insert(ctx, receipt, o, item, found, body, target.Digest())
}

// target is what is known of the enrollment that a command is for.
func (t *tx) target(ctx context.Context, own *row) (schema.Target, error) {
	device := own
	if own.ID.IsUser() {
		found, err := t.row(ctx, own.ID.DeviceID())
		if err != nil {
			return schema.Target{}, err
		}
		if found != nil {
			device = found
		}
	}
	return schema.TargetOf(&own.Enrollment, &device.Enrollment), nil
}

func refuse(receipt *command.Receipt, id mdm.EnrollmentID, err error) {
	receipt.RefusedAll++
	if len(receipt.Refused) < command.MaxRefusals {
		if e, ok := errors.AsType[*mdm.Error](err); ok {
			e.Enrollment = id
		}
		receipt.Refused = append(receipt.Refused, command.Refusal{Enrollment: id, Err: err})
	}
}

// body returns the row of the command's body, which is stored once for all targets of a tenant.
func (t *tx) body(ctx context.Context, item command.Item, tenant string) (int64, error) {
	if t.bodies[tenant] != 0 {
		return t.bodies[tenant], nil
	}
	var id int64
	var digest []byte
	found, err := one(ctx, t, `SELECT id, digest FROM commands WHERE tenant = ? AND uuid = ?`, []any{tenant, item.UUID}, &id, &digest)
	if err != nil {
		return 0, err
	}
	if found && !bytes.Equal(digest, item.Digest[:]) {
		return 0, mdm.Errorf(mdm.Malformed, "sqlite.Enqueue", "the UUID is taken by another command")
	}
	if !found {
		sealed, err := t.w.db.cfg.Sealer.Seal(item.Body, bodyName(tenant, item.UUID))
		if err != nil {
			return 0, err
		}
		if _, err := one(ctx, t, `INSERT INTO commands (tenant, uuid, request_type, traits, digest, body) VALUES (?, ?, ?, ?, ?, ?) RETURNING id`,
			[]any{tenant, item.UUID, item.RequestType, item.Traits, item.Digest[:], sealed}, &id); err != nil {
			return 0, err
		}
	}
	if t.bodies == nil {
		t.bodies = map[string]int64{}
	}
	t.bodies[tenant] = id
	return id, nil
}

// collapse reports whether an open command makes a new one with its key needless; superseded ones are canceled.
func (t *tx) collapse(ctx context.Context, own *row, o command.Order) (bool, error) {
	if err := t.expire(ctx, own, t.w.db.now()); err != nil { // what no device will get collapses nothing
		return false, err
	}
	same, err := t.selectOpen(ctx, own.id, `q.collapse = ?2`, o.Collapse)
	if err != nil || !o.Supersede {
		return len(same) > 0, err
	}
	for _, old := range same {
		if old.sends == 0 {
			if err := t.cancel(ctx, own.ID, own.id, &old, command.Canceled, "superseded"); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

func (t *tx) insert(ctx context.Context, receipt *command.Receipt, o command.Order, item command.Item, own *row, body, checked int64) error {
	at := t.w.db.now()
	var seq int64
	if _, err := one(ctx, t, `UPDATE enrollments SET next_seq = next_seq + 1 WHERE id = ? RETURNING next_seq`, []any{own.id}, &seq); err != nil {
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO queue (enrollment, priority, seq, command, traits, generation, state, collapse, not_before, not_after, queued_at, relax, checked)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, own.id, o.Priority, seq, body, item.Traits, own.Generation, command.Queued, o.Collapse,
		micros(o.NotBefore), micros(o.NotAfter), micros(at), item.Relax, checked)
	if err != nil {
		return err
	}
	receipt.Queued++
	if !o.NoPush {
		due := at
		if o.NotBefore.After(at) {
			due = o.NotBefore
		}
		if err := t.wakeRow(ctx, own.id, due); err != nil {
			return err
		}
	}
	return t.record(ctx, mdm.Event{Type: mdm.EventCommandQueued, At: at, Enrollment: own.ID, Generation: own.Generation,
		CommandUUID: item.UUID, RequestType: item.RequestType})
}

// Cancel implements command.Enqueuer.
func (db *DB) Cancel(ctx context.Context, uuid string, from mdm.Targets) (int, error) {
	ids := map[mdm.EnrollmentID]bool{}
	for _, id := range from.List() {
		ids[id] = true
	}
	f, filtered := from.Filter()
	n := 0
	err := db.update(ctx, func(t *tx) error {
		type target struct {
			open
			row
		}
		var all []target
		err := each(ctx, t, `SELECT `+prefixed("e", enrollmentColumns)+`, q.priority, q.seq, q.traits, q.generation, c.uuid, c.request_type
			FROM commands c JOIN queue q ON q.command = c.id JOIN enrollments e ON e.id = q.enrollment WHERE c.uuid = ?`, []any{uuid},
			func(scan func(...any) error) error {
				var o open
				r, err := scanRow(scan, &o.priority, &o.seq, &o.traits, &o.generation, &o.uuid, &o.requestType)
				if err != nil {
					return err
				}
				if filtered && f.Matches(&r.Enrollment) || !filtered && (len(ids) == 0 || ids[r.ID]) {
					all = append(all, target{o, *r})
				}
				return nil
			})
		if err != nil {
			return err
		}
		for _, c := range all {
			if err := t.cancel(ctx, c.row.ID, c.row.id, &c.open, command.Canceled, "canceled"); err != nil {
				return err
			}
		}
		n = len(all)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
