package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

var (
	opCommand = newOp("id tenant$ uuid$ request_type$ traits digest# body#", `INSERT INTO mdm_commands (id, tenant, uuid, request_type, traits, digest, body)
		{values :id, :tenant, :uuid, :request_type, :traits, :digest, :body}`)
	opEnqueue = newOp("enrollment priority seq command traits generation state collapse$ not_before not_after queued_at relax checked",
		`INSERT INTO mdm_queue (enrollment, priority, seq, command, traits, generation, state, collapse, not_before, not_after, queued_at, relax, checked,
			sent_at, sends, deferred_at, deferrals)
		{values :enrollment, :priority, :seq, :command, :traits, :generation, :state, :collapse, :not_before, :not_after, :queued_at, :relax, :checked, 0, 0, 0, 0}`)
	// opEnqueueMany is opEnqueue for an order for many, which have most in common.
	opEnqueueMany = newOp("enrollment seq command generation checked priority= traits= state= collapse$= not_before= not_after= queued_at= relax=", opEnqueue.text)
)

// chunk is how many targets are looked at together, in one transaction.
const chunk = command.OneTransaction

// Enqueue implements command.Enqueuer.
func (db *DB) Enqueue(ctx context.Context, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	if many, err := db.many(ctx, o); err != nil {
		return command.Receipt{}, err
	} else if many {
		return db.fanOut(ctx, o, item)
	}
	var p *placement
	if ids := o.To.List(); len(ids) == 1 { // it may share its commit
		v := &visit{key: ids[0], command: commandID(ids[0].Tenant, item.UUID), priority: int64(o.Priority)}
		v.run = func(t *tx, k *known) error {
			p = &placement{t: t, o: o, item: item, receipt: command.Receipt{UUID: item.UUID}, turn: &v.turn}
			return p.one(ctx, v.key, k)
		}
		err = db.visit(ctx, v)
	} else {
		err = db.update(ctx, func(t *tx) error {
			p, err = t.enqueueAll(ctx, o, item)
			return err
		})
	}
	if err != nil {
		return command.Receipt{}, err
	}
	p.tell()
	if o.Progress != nil {
		o.Progress(p.receipt)
	}
	return p.receipt, nil
}

// EnqueueIn is Enqueue in a transaction that somebody else begins and ends.
func (db *DB) EnqueueIn(ctx context.Context, conn Conn, o command.Order) (command.Receipt, error) {
	item, err := command.Prepare(o)
	if err != nil {
		return command.Receipt{}, err
	}
	t := &tx{db: db, conn: conn, ids: map[mdm.EnrollmentID]int64{}}
	p, err := t.enqueueAll(ctx, o, item)
	if err == nil {
		err = t.send(ctx, false)
	}
	if passed, ok := errors.AsType[*passing](err); ok {
		err = mdm.Errorf(mdm.Unavailable, db.op("EnqueueTx"), "%w", passed.error)
	}
	return p.receipt, err
}

// placement is an order on its way to the queues.
type placement struct {
	t       *tx
	o       command.Order
	item    command.Item
	receipt command.Receipt
	results []command.Outcome       // if somebody wants them
	turn    *turn                   // of the target at hand
	at      time.Time               // of all its targets
	fits    map[schema.Target]int64 // who may have it, with their digests
	many    bool                    // it is a chunk of an order for many

	tenant string // that command is the row for
	number int64
}

// command returns the row of the command for a tenant.
func (p *placement) command(tenant string) int64 {
	if p.number == 0 || p.tenant != tenant {
		p.tenant, p.number = tenant, commandID(tenant, p.item.UUID)
	}
	return p.number
}

// note keeps what became of a target until the commit.
func (p *placement) note(id mdm.EnrollmentID, s command.OutcomeState, err error) {
	if p.o.Each != nil {
		p.results = append(p.results, command.Outcome{Enrollment: id, State: s, Err: err})
	}
}

// tell tells the caller what was committed.
func (p *placement) tell() {
	for _, r := range p.results {
		p.o.Each(r)
	}
}

func (t *tx) enqueueAll(ctx context.Context, o command.Order, item command.Item) (*placement, error) {
	p := &placement{t: t, o: o, item: item, receipt: command.Receipt{UUID: item.UUID}, turn: &turn{}}
	if f, ok := o.To.Filter(); ok {
		return p, p.filter(ctx, f)
	}
	ids := o.To.List()
	if len(ids) > 1 { // everybody locks in one order, and each once
		ids = slices.Clone(ids)
		slices.SortFunc(ids, compareIDs)
		ids = slices.Compact(ids)
	}
	for part := range slices.Chunk(ids, chunk) {
		if err := p.place(ctx, part); err != nil {
			return p, err
		}
	}
	return p, nil
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
		rows = append(rows, []any{id.Tenant, id.Device, id.User, p.command(id.Tenant), int64(p.o.Priority)})
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
	if err := p.body(ctx, id.Tenant, k); err != nil {
		return err
	}
	if k.again { // queued before by the same order
		p.receipt.Queued++
		p.note(id, command.OutcomeQueued, nil)
		return nil
	}
	device := k.device
	if device == nil {
		device = k.own
	}
	target := schema.TargetOf(&k.own.Enrollment, &device.Enrollment)
	checked, fits := p.fits[target] // of many targets most are alike
	if !fits {
		if err := p.item.Check(target); err != nil {
			p.refuse(id, err)
			return nil
		}
		if checked = target.Digest(); p.fits == nil {
			p.fits = map[schema.Target]int64{}
		}
		p.fits[target] = checked
	}
	if p.o.Collapse != "" {
		if collapsed, err := p.collapse(ctx, k.own); err != nil || collapsed {
			p.receipt.Collapsed++
			p.note(id, command.OutcomeCollapsed, nil)
			return err
		}
	}
	return p.insert(k.own, k.last, checked)
}

func (p *placement) refuse(id mdm.EnrollmentID, err error) {
	p.receipt.RefusedAll++
	if e, ok := errors.AsType[*mdm.Error](err); ok {
		e.Enrollment = id
	}
	p.note(id, command.OutcomeRefused, err)
	if len(p.receipt.Refused) < command.MaxRefusals {
		p.receipt.Refused = append(p.receipt.Refused, command.Refusal{Enrollment: id, Err: err})
	}
}

// body stores the command's body, once for all targets of a tenant.
func (p *placement) body(ctx context.Context, tenant string, k *known) error {
	t := p.t
	id := p.command(tenant)
	uuid, digest := k.uuid, k.body
	if written, ok := t.bodies[id]; ok { // in this transaction
		uuid, digest = written.UUID, written.Digest[:]
	}
	if digest != nil {
		if uuid != p.item.UUID || !bytes.Equal(digest, p.item.Digest[:]) {
			return mdm.Errorf(mdm.Malformed, t.db.op("Enqueue"), "the UUID is taken by another command")
		}
		if _, ok := t.bodies[id]; ok {
			return nil
		}
		if kept, err := t.keepBody(ctx, id); err != nil || kept {
			if !p.many { // an order under way with this command cannot take its targets for new any more
				t.exec(p.turn, "UPDATE mdm_fanouts SET shared = 1 WHERE uuid = ?", p.item.UUID)
			}
			p.have(id)
			return err
		}
	}
	sealed, err := t.db.cfg.Sealer.Seal(p.item.Body, bodyName(tenant, p.item.UUID))
	if err != nil {
		return err
	}
	t.write(p.turn, opCommand, id, tenant, p.item.UUID, p.item.RequestType, p.item.Traits, p.item.Digest[:], sealed)
	p.have(id)
	return nil
}

// have notes that the body is there until the end of the transaction.
func (p *placement) have(id int64) {
	if p.t.bodies == nil {
		p.t.bodies = map[int64]command.Item{}
	}
	p.t.bodies[id] = p.item
}

// keepBody locks a body that was there, so that no sweep deletes it before the commit. It is false if one has just done that.
func (t *tx) keepBody(ctx context.Context, id int64) (bool, error) {
	var n int64
	return one(ctx, t, "SELECT 1 FROM mdm_commands WHERE id = ? {lock}", []any{id}, &n)
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

// insert puts the command on one queue, behind last.
func (p *placement) insert(own *row, last, checked int64) error {
	if p.at.IsZero() {
		p.at = p.t.db.now()
	}
	t, o, at := p.t, &p.o, p.at
	seq, number := t.db.places.next(at, last), p.command(own.ID.Tenant)
	if p.many {
		t.write(p.turn, opEnqueueMany, own.id, seq, number, int64(own.Generation), checked,
			int64(o.Priority), p.item.Traits, int64(command.Queued), o.Collapse, micros(o.NotBefore), micros(o.NotAfter), micros(at), p.item.Relax)
	} else {
		t.write(p.turn, opEnqueue, own.id, o.Priority, seq, number, p.item.Traits, own.Generation,
			command.Queued, o.Collapse, micros(o.NotBefore), micros(o.NotAfter), micros(at), p.item.Relax, checked)
	}
	p.receipt.Queued++
	p.note(own.ID, command.OutcomeQueued, nil)
	if !o.NoPush {
		due := at
		if o.NotBefore.After(at) {
			due = o.NotBefore
		}
		t.wake(p.turn, own.id, due)
	}
	var err error
	if !p.many { // an order for many tells of itself as a whole
		err = t.record(p.turn, mdm.Event{Type: mdm.EventCommandQueued, At: at, Enrollment: own.ID, Generation: own.Generation,
			CommandUUID: p.item.UUID, RequestType: p.item.RequestType})
	}
	p.turn = &turn{} // the next target's rows may go with this one's: they are of other devices, or other rows
	return err
}

// places gives out places in queues.
type places struct{ last atomic.Int64 }

// next returns a place behind the one given and behind all that this process has given out. It comes from a clock, so that
// queuing writes no row but its own; a clock that goes back does not change the order of what is open.
func (p *places) next(now time.Time, behind int64) int64 {
	for {
		last := p.last.Load()
		if n := max(now.UnixMicro(), last+1, behind+1); p.last.CompareAndSwap(last, n) {
			return n
		}
	}
}

// Cancel implements command.Enqueuer. What is on many queues is withdrawn in chunks, each a transaction.
func (db *DB) Cancel(ctx context.Context, uuid string, from mdm.Targets) (int, error) {
	c := canceling{db: db, uuid: uuid, ids: map[mdm.EnrollmentID]bool{}}
	for _, id := range from.List() {
		c.ids[id] = true
	}
	c.filter, c.filtered = from.Filter()
	whole := !c.filtered && len(c.ids) == 0
	if whole || c.filtered && reflect.DeepEqual(c.filter, mdm.Filter{Tenant: c.filter.Tenant}) { // an order under way ends first
		err := db.update(ctx, func(t *tx) error { return t.forget(ctx, uuid, whole, c.filter.Tenant) })
		if err != nil {
			return 0, err
		}
	}
	total := 0
	for {
		var n int
		var more bool
		err := db.update(ctx, func(t *tx) (err error) {
			n, more, err = c.chunk(ctx, t)
			return err
		})
		if err != nil {
			return total, err
		}
		if total += n; !more {
			return total, nil
		}
		c.after = c.last
	}
}

// forget ends orders for many that are under way, those of all tenants or of one.
func (t *tx) forget(ctx context.Context, uuid string, all bool, tenant string) error {
	const which = "uuid = ? AND (1 = ? OR tenant = ?)"
	args := []any{uuid, all, tenant}
	var ended []mdm.Event
	err := t.query(ctx, "SELECT tenant, request_type, queued, collapsed, refused FROM mdm_fanouts WHERE "+which+" {lock}", args, func(scan func(...any) error) error {
		item, whose, queued, collapsed, refused := command.Item{UUID: uuid}, "", int64(0), int64(0), int64(0)
		err := scan(&whose, &item.RequestType, &queued, &collapsed, &refused)
		e := command.OrderEvent(mdm.EventOrderDone, t.db.now(), whose,
			command.Receipt{Queued: int(queued), Collapsed: int(collapsed), RefusedAll: int(refused)}, item)
		e.Reason = "canceled: " + e.Reason
		ended = append(ended, e)
		return err
	})
	if err != nil || len(ended) == 0 {
		return err
	}
	t.exec(&turn{}, "DELETE FROM mdm_fanout_parts WHERE fanout IN (SELECT id FROM mdm_fanouts WHERE "+which+")", args...)
	if _, err := t.change(ctx, "DELETE FROM mdm_fanouts WHERE "+which, args...); err != nil {
		return err
	}
	return t.record(&turn{}, ended...)
}

// canceling is a command on its way off the queues.
type canceling struct {
	db          *DB
	uuid        string
	ids         map[mdm.EnrollmentID]bool
	filter      mdm.Filter
	filtered    bool
	after, last int64 // rows of enrollments
}

func (c *canceling) wants(e *mdm.Enrollment) bool {
	if c.filtered {
		return c.filter.Matches(e)
	}
	return len(c.ids) == 0 || c.ids[e.ID]
}

func (c *canceling) chunk(ctx context.Context, t *tx) (n int, more bool, err error) {
	var all []mdm.EnrollmentID
	seen := 0
	err = t.query(ctx, `SELECT e.id, e.tenant, e.device, e.usr, e.state, e.channel, e.topic, e.serial, e.presence FROM mdm_commands c
		JOIN mdm_queue q ON q.command = c.id JOIN mdm_enrollments e ON e.id = q.enrollment
		WHERE c.uuid = ? AND q.enrollment > ? ORDER BY q.enrollment LIMIT ?`, []any{c.uuid, c.after, chunk},
		func(scan func(...any) error) error {
			var e mdm.Enrollment
			var state, channel, presence int64
			if err := scan(&c.last, &e.ID.Tenant, &e.ID.Device, &e.ID.User, &state, &channel, &e.Topic, &e.Device.SerialNumber, &presence); err != nil {
				return err
			}
			seen++
			e.State, e.Channel, e.Presence = mdm.State(state), mdm.Channel(channel), mdm.Presence(presence)
			if c.wants(&e) {
				all = append(all, e.ID)
			}
			return nil
		})
	if err != nil {
		return 0, false, err
	}
	slices.SortFunc(all, compareIDs)
	for _, id := range all {
		withdrawn, err := t.withdraw(ctx, id, c.uuid)
		if err != nil {
			return n, false, err
		}
		n += withdrawn
	}
	return n, seen == chunk, nil
}

// withdraw cancels a command on one queue, if it is open there.
func (t *tx) withdraw(ctx context.Context, id mdm.EnrollmentID, uuid string) (n int, err error) {
	if err := t.send(ctx, false, t.locks([][]any{{id.Tenant, id.Device}})...); err != nil {
		return 0, err
	}
	own, err := t.rowID(ctx, id)
	if err != nil {
		return 0, err
	}
	open, err := t.selectOpen(ctx, own, "AND q.command = ?", commandID(id.Tenant, uuid))
	for _, o := range open {
		if err == nil {
			err = t.cancel(&turn{}, id, o, command.Canceled, "canceled")
		}
		n++
	}
	return n, err
}

// opWake leaves a row that is leased or parked as it is, but for when it is wanted again.
var opWake = newOp("enrollment due", `INSERT INTO mdm_pushes (enrollment, due, leased, again) {values :enrollment, :due, 0, 0}
	{upsert enrollment: due = CASE WHEN mdm_pushes.leased <> 0 OR mdm_pushes.again <> 0 OR mdm_pushes.due <= {new due} OR mdm_pushes.due <= mdm_pushes.rest THEN mdm_pushes.due
			WHEN {new due} < mdm_pushes.rest THEN mdm_pushes.rest ELSE {new due} END,
		again = CASE WHEN mdm_pushes.leased = 0 AND mdm_pushes.again = 0 THEN 0 WHEN mdm_pushes.again = 0 OR {new due} < mdm_pushes.again THEN {new due} ELSE mdm_pushes.again END}`).onceEach()

// wake leaves a push, or brings one forward.
func (t *tx) wake(v *turn, enrollment int64, due time.Time) {
	t.changed.Pushes = true
	t.write(v, opWake, enrollment, micros(due))
}
