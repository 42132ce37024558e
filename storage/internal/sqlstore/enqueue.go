package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

var (
	opCommand = newOp("id tenant$ uuid$ request_type$ traits digest# body#", `INSERT INTO mdm_commands (id, tenant, uuid, request_type, traits, digest, body)
		{values :id, :tenant, :uuid, :request_type, :traits, :digest, :body}`)
	opSeq     = newOp("id seq", "UPDATE mdm_enrollments SET next_seq = :seq {from} WHERE mdm_enrollments.id = :id")
	opEnqueue = newOp("enrollment priority seq command traits generation state collapse$ not_before not_after queued_at relax checked",
		`INSERT INTO mdm_queue (enrollment, priority, seq, command, traits, generation, state, collapse, not_before, not_after, queued_at, relax, checked,
			sent_at, sends, deferred_at, deferrals)
		{values :enrollment, :priority, :seq, :command, :traits, :generation, :state, :collapse, :not_before, :not_after, :queued_at, :relax, :checked, 0, 0, 0, 0}`)
)

// chunk is how many targets are looked at together.
const chunk = 1000

// Enqueue implements command.Enqueuer.
func (db *DB) Enqueue(ctx context.Context, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	var receipt command.Receipt
	if ids := o.To.List(); len(ids) == 1 { // it may share its commit
		v := &visit{key: ids[0], command: commandID(ids[0].Tenant, item.UUID)}
		v.run = func(t *tx, k *known) error {
			p := &placement{t: t, o: o, item: item, receipt: command.Receipt{UUID: item.UUID}, turn: &v.turn}
			err := p.one(ctx, v.key, k)
			receipt = p.receipt
			return err
		}
		err = db.visit(ctx, v)
	} else {
		err = db.update(ctx, func(t *tx) error {
			receipt, err = t.enqueueAll(ctx, o, item)
			return err
		})
	}
	if err != nil {
		return command.Receipt{}, err
	}
	return receipt, nil
}

// EnqueueIn is Enqueue in a transaction that somebody else begins and ends.
func (db *DB) EnqueueIn(ctx context.Context, conn Conn, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	t := &tx{db: db, conn: conn, ids: map[mdm.EnrollmentID]int64{}}
	receipt, err := t.enqueueAll(ctx, o, item)
	if err == nil {
		err = t.send(ctx, false)
	}
	if p, ok := errors.AsType[*passing](err); ok {
		err = mdm.Errorf(mdm.Unavailable, db.op("EnqueueTx"), "%w", p.error)
	}
	return receipt, err
}

// placement is an order on its way to the queues.
type placement struct {
	t       *tx
	o       command.Order
	item    command.Item
	receipt command.Receipt
	turn    *turn // of the target at hand
}

func (t *tx) enqueueAll(ctx context.Context, o command.Order, item command.Item) (command.Receipt, error) {
	p := &placement{t: t, o: o, item: item, receipt: command.Receipt{UUID: item.UUID}, turn: &turn{}}
	if f, ok := o.To.Filter(); ok {
		return p.receipt, p.filter(ctx, f)
	}
	ids := o.To.List()
	if len(ids) > 1 { // everybody locks in one order, and each once
		ids = slices.Clone(ids)
		slices.SortFunc(ids, compareIDs)
		ids = slices.Compact(ids)
	}
	for part := range slices.Chunk(ids, chunk) {
		if err := p.place(ctx, part); err != nil {
			return p.receipt, err
		}
	}
	return p.receipt, nil
}

func compareIDs(a, b mdm.EnrollmentID) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Device, b.Device), cmp.Compare(a.User, b.User))
}

func (p *placement) filter(ctx context.Context, f mdm.Filter) error {
	left := f.Limit
	for {
		page := f
		page.Limit = chunk
		if f.Limit > 0 {
			page.Limit = min(left, chunk)
		}
		rows, err := selectRows(ctx, p.t, page)
		if err != nil {
			return err
		}
		ids := make([]mdm.EnrollmentID, len(rows))
		for i, r := range rows {
			ids[i], f.After = r.ID, r.ID
		}
		if err := p.place(ctx, ids); err != nil {
			return err
		}
		left -= len(rows)
		if len(rows) < page.Limit || f.Limit > 0 && left == 0 {
			return nil
		}
	}
}

// place puts the command on some queues, or notes why not.
func (p *placement) place(ctx context.Context, ids []mdm.EnrollmentID) error {
	if len(ids) == 0 {
		return nil
	}
	t := p.t
	var locks, rows [][]any
	all := make([]*known, len(ids))
	for i, id := range ids {
		if i == 0 || ids[i-1].DeviceID() != id.DeviceID() {
			locks = append(locks, []any{id.Tenant, id.Device})
		}
		all[i] = &known{}
		rows = append(rows, []any{id.Tenant, id.Device, id.User, commandID(id.Tenant, p.item.UUID)})
	}
	calls := append(t.locks(locks), opTarget.ask(t.db.dialect, rows, ids, all)...)
	if err := t.send(ctx, false, calls...); err != nil {
		return err
	}
	for i, id := range ids {
		if err := p.one(ctx, id, all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *placement) one(ctx context.Context, id mdm.EnrollmentID, k *known) error {
	if k.own == nil {
		p.refuse(id, mdm.Errorf(mdm.NotFound, p.t.db.op("Enqueue"), "not known"))
		return nil
	}
	if k.own.State != mdm.Enrolled {
		p.refuse(id, mdm.Errorf(mdm.Forbidden, p.t.db.op("Enqueue"), "not enrolled"))
		return nil
	}
	if err := p.body(id.Tenant, k); err != nil {
		return err
	}
	if k.again { // queued before by the same order
		p.receipt.Queued++
		return nil
	}
	device := k.device
	if device == nil {
		device = k.own
	}
	target := schema.TargetOf(&k.own.Enrollment, &device.Enrollment)
	if err := p.item.Check(target); err != nil {
		p.refuse(id, err)
		return nil
	}
	if p.o.Collapse != "" {
		if collapsed, err := p.collapse(ctx, k.own); err != nil || collapsed {
			p.receipt.Collapsed++
			return err
		}
	}
	return p.insert(k.own, target.Digest())
}

func (p *placement) refuse(id mdm.EnrollmentID, err error) {
	p.receipt.RefusedAll++
	if len(p.receipt.Refused) < command.MaxRefusals {
		if e, ok := errors.AsType[*mdm.Error](err); ok {
			e.Enrollment = id
		}
		p.receipt.Refused = append(p.receipt.Refused, command.Refusal{Enrollment: id, Err: err})
	}
}

// body stores the command's body, once for all targets of a tenant.
func (p *placement) body(tenant string, k *known) error {
	t := p.t
	id := commandID(tenant, p.item.UUID)
	uuid, digest := k.uuid, k.body
	if written, ok := t.bodies[id]; ok { // in this transaction
		uuid, digest = written.UUID, written.Digest[:]
	}
	if digest != nil {
		if uuid != p.item.UUID || !bytes.Equal(digest, p.item.Digest[:]) {
			return mdm.Errorf(mdm.Malformed, t.db.op("Enqueue"), "the UUID is taken by another command")
		}
		return nil
	}
	sealed, err := t.db.cfg.Sealer.Seal(p.item.Body, bodyName(tenant, p.item.UUID))
	if err != nil {
		return err
	}
	t.write(p.turn, opCommand, id, tenant, p.item.UUID, p.item.RequestType, p.item.Traits, p.item.Digest[:], sealed)
	if t.bodies == nil {
		t.bodies = map[int64]command.Item{}
	}
	t.bodies[id] = p.item
	return nil
}

// collapse reports whether an open command makes a new one with its key needless; superseded ones are canceled.
func (p *placement) collapse(ctx context.Context, own *row) (bool, error) {
	t, now := p.t, p.t.db.now()
	late, err := t.selectOpen(ctx, own.id, "AND q.not_after <> 0 AND q.not_after < ?", micros(now))
	if err != nil {
		return false, err
	}
	for _, o := range late { // what no device will get collapses nothing
		t.archive(p.turn, o, command.Expired, now, "", nil, nil)
		if err := t.record(p.turn, o.event(mdm.EventCommandExpired, own.ID, now, "")); err != nil {
			return false, err
		}
	}
	same, err := t.selectOpen(ctx, own.id, "AND q.collapse = ?", p.o.Collapse)
	if err != nil || !p.o.Supersede {
		return len(same) > 0, err
	}
	for _, old := range same {
		if old.sends == 0 {
			if err := t.cancel(p.turn, own.ID, old, command.Canceled, "superseded"); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

func (p *placement) insert(own *row, checked int64) error {
	t, o, at := p.t, p.o, p.t.db.now()
	own.nextSeq++
	t.write(p.turn, opSeq, own.id, own.nextSeq)
	t.write(p.turn, opEnqueue, own.id, o.Priority, own.nextSeq, commandID(own.ID.Tenant, p.item.UUID), p.item.Traits, own.Generation,
		command.Queued, o.Collapse, micros(o.NotBefore), micros(o.NotAfter), micros(at), p.item.Relax, checked)
	p.receipt.Queued++
	if !o.NoPush {
		due := at
		if o.NotBefore.After(at) {
			due = o.NotBefore
		}
		t.wake(p.turn, own.id, due)
	}
	err := t.record(p.turn, mdm.Event{Type: mdm.EventCommandQueued, At: at, Enrollment: own.ID, Generation: own.Generation,
		CommandUUID: p.item.UUID, RequestType: p.item.RequestType})
	p.turn = &turn{} // the next target's rows may go with this one's: they are of other devices, or other rows
	return err
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
		n = 0
		var all []mdm.EnrollmentID
		err := t.query(ctx, `SELECT e.tenant, e.device, e.usr, e.state, e.channel, e.topic, e.serial FROM mdm_commands c
			JOIN mdm_queue q ON q.command = c.id JOIN mdm_enrollments e ON e.id = q.enrollment WHERE c.uuid = ?`, []any{uuid},
			func(scan func(...any) error) error {
				var e mdm.Enrollment
				var state, channel int64
				if err := scan(&e.ID.Tenant, &e.ID.Device, &e.ID.User, &state, &channel, &e.Topic, &e.Device.SerialNumber); err != nil {
					return err
				}
				e.State, e.Channel = mdm.State(state), mdm.Channel(channel)
				if filtered && f.Matches(&e) || !filtered && (len(ids) == 0 || ids[e.ID]) {
					all = append(all, e.ID)
				}
				return nil
			})
		if err != nil {
			return err
		}
		slices.SortFunc(all, compareIDs)
		var v turn
		for _, id := range all {
			calls := t.locks([][]any{{id.Tenant, id.Device}})
			if err := t.send(ctx, false, calls...); err != nil {
				return err
			}
			own, err := t.rowID(ctx, id)
			if err != nil {
				return err
			}
			open, err := t.selectOpen(ctx, own, "AND q.command = ?", commandID(id.Tenant, uuid))
			if err != nil {
				return err
			}
			for _, o := range open {
				if err := t.cancel(&v, id, o, command.Canceled, "canceled"); err != nil {
					return err
				}
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

var opWake = newOp("enrollment due", `INSERT INTO mdm_pushes (enrollment, due, leased, again) {values :enrollment, :due, 0, 0}
	{upsert enrollment: again = CASE WHEN mdm_pushes.leased = 0 THEN 0 WHEN mdm_pushes.again = 0 OR {new due} < mdm_pushes.again THEN {new due} ELSE mdm_pushes.again END,
		due = CASE WHEN mdm_pushes.leased = 0 AND {new due} < mdm_pushes.due THEN {new due} ELSE mdm_pushes.due END}`).onceEach()

// wake leaves a push, or brings one forward.
func (t *tx) wake(v *turn, enrollment int64, due time.Time) {
	t.changed.Pushes = true
	t.write(v, opWake, enrollment, micros(due))
}
