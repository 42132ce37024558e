package sqlstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// fanOut is an order for many that is under way. It is stored before its first target, and moved on in the transaction of
// each chunk of them, so that another process can go on with it.
type fanOut struct {
	db      *DB
	id      int64
	owner   string
	tenant  string // the first of a list, which may have several
	o       command.Order
	item    command.Item
	relax   schema.Rules     // of the order
	paged   bool             // see paged
	fresh   bool             // nobody had it when the order began
	after   mdm.EnrollmentID // of a filter with pages: the last target that is done
	row     int64            // of any other filter: the row of that
	before  int              // how many targets were done before this run
	receipt command.Receipt
}

// fanOutLease is how long a process that is not heard of keeps its orders. Every chunk renews it.
const fanOutLease = time.Minute

// spec is an order as it is stored.
type spec struct {
	Body      []byte           `json:"body"`
	Relax     schema.Rules     `json:"relax,omitempty"`
	Priority  command.Priority `json:"priority,omitempty"`
	Collapse  string           `json:"collapse,omitempty"`
	Supersede bool             `json:"supersede,omitempty"`
	NotBefore time.Time        `json:"notBefore"`
	NotAfter  time.Time        `json:"notAfter"`
	NoPush    bool             `json:"noPush,omitempty"`
	Filter    *mdm.Filter      `json:"filter,omitempty"`
	Fresh     bool             `json:"fresh,omitempty"`
}

// many reports whether an order is for more than one transaction should have.
func (db *DB) many(ctx context.Context, o command.Order) (bool, error) {
	f, ok := o.To.Filter()
	if !ok {
		return len(o.To.List()) > command.OneTransaction, nil
	}
	if f.Limit > 0 && f.Limit <= command.OneTransaction {
		return false, nil
	}
	if f.Limit == 0 || f.Limit > command.OneTransaction {
		f.Limit = command.OneTransaction + 1
	}
	n := 0
	query, args := filtered("SELECT 1 FROM mdm_enrollments", f)
	err := snapshot{db}.query(ctx, query, args, func(func(...any) error) error {
		n++
		return nil
	})
	return n > command.OneTransaction, err
}

func random() (int64, string) {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return int64(binary.BigEndian.Uint64(b[:]) >> 1), string(appendHex(nil, b[8:]))
}

func appendHex(to, b []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range b {
		to = append(to, digits[c>>4], digits[c&15])
	}
	return to
}

// fanOut stores an order for many and runs it.
func (db *DB) fanOut(ctx context.Context, o command.Order, item command.Item) (command.Receipt, error) {
	f := &fanOut{db: db, o: o, item: item, relax: o.Relax, receipt: command.Receipt{UUID: item.UUID}}
	f.id, f.owner = random()
	if err := f.begin(ctx); err != nil {
		return command.Receipt{}, err
	}
	err := f.run(ctx)
	return f.receipt, err
}

var (
	opFanOutPart = newOp("fanout part ids#", "INSERT INTO mdm_fanout_parts (fanout, part, ids) {values :fanout, :part, :ids}")

	// partsAtOnce keeps a statement with lists of targets far below what any server takes.
	partsAtOnce = 25
)

// begin stores the order and its body. After it the order will be carried out, whatever happens to this process.
func (f *fanOut) begin(ctx context.Context) error {
	filter, matching := f.o.To.Filter()
	f.after, f.paged = filter.After, paged(filter)
	tenants, ids := []string{filter.Tenant}, f.o.To.List()
	if !matching {
		ids = slices.Clone(ids)
		slices.SortFunc(ids, compareIDs)
		ids = slices.Compact(ids)
		tenants = nil
		for _, id := range ids {
			if len(tenants) == 0 || tenants[len(tenants)-1] != id.Tenant {
				tenants = append(tenants, id.Tenant)
			}
		}
	}
	return f.db.update(ctx, func(t *tx) error {
		v := &turn{}
		if t.db.dialect.locks() {
			t.exec(v, guard+"{lock}")
		}
		p := &placement{t: t, o: f.o, item: f.item, turn: v}
		f.fresh = true
		for _, tenant := range tenants {
			k, err := t.stored(ctx, tenant, f.item.UUID)
			if err != nil {
				return err
			}
			f.fresh = f.fresh && k.body == nil
			if err := p.body(ctx, tenant, k); err != nil {
				return err
			}
		}
		f.tenant = tenants[0]
		if err := f.insert(t, v); err != nil {
			return err
		}
		if err := t.record(v, command.OrderEvent(mdm.EventOrderBegun, f.db.now(), f.tenant, f.receipt, f.item)); err != nil {
			return err
		}
		number := 0
		for part := range slices.Chunk(ids, chunk) {
			list, err := json.Marshal(part)
			if err != nil {
				return err
			}
			t.write(v, opFanOutPart, f.id, number, list)
			if number++; number%partsAtOnce == 0 {
				if err := t.send(ctx, false); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// paged reports whether a filter has to be followed in the order of ids: because it says where to begin or how many, or
// because another index finds its few.
func paged(f mdm.Filter) bool {
	return !f.After.IsZero() || f.Limit > 0 || f.Device != "" || f.SerialNumber != ""
}

// stored loads what is known of the command with a UUID.
func (t *tx) stored(ctx context.Context, tenant, uuid string) (*known, error) {
	k := &known{}
	_, err := one(ctx, t, "SELECT uuid, digest FROM mdm_commands WHERE id = ?", []any{commandID(tenant, uuid)}, &k.uuid, &k.body)
	return k, err
}

func (f *fanOut) insert(t *tx, v *turn) error {
	s := spec{Body: f.item.Body, Relax: f.relax, Priority: f.o.Priority, Collapse: f.o.Collapse, Supersede: f.o.Supersede,
		NotBefore: f.o.NotBefore, NotAfter: f.o.NotAfter, NoPush: f.o.NoPush, Fresh: f.fresh}
	if filter, ok := f.o.To.Filter(); ok {
		s.Filter = &filter
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sealed, err := f.db.cfg.Sealer.Seal(text, fanOutName(f.id))
	if err != nil {
		return err
	}
	now := f.db.now()
	t.exec(v, `INSERT INTO mdm_fanouts (id, tenant, uuid, request_type, spec, begun_at, owner, leased, device, usr, queued, collapsed, refused)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)`, f.id, f.tenant, f.item.UUID, f.item.RequestType, sealed, micros(now), f.owner,
		micros(now.Add(fanOutLease)), f.after.Device, f.after.User)
	return nil
}

// run carries the order out from where it stands. While one chunk is written, the next is read. An order whose caller gives
// up is left to others at once.
func (f *fanOut) run(ctx context.Context) (err error) {
	defer func() {
		if err != nil && !errors.Is(err, command.ErrNotOurs) {
			f.release(context.WithoutCancel(ctx))
		}
	}()
	c, err := f.read(ctx, &targets{last: f.after, row: f.row, part: -1})
	for err == nil {
		var next *targets
		var failed error
		var reading sync.WaitGroup
		if !c.done {
			reading.Go(func() { next, failed = f.read(ctx, c) })
		}
		err = f.step(ctx, c)
		reading.Wait()
		if c.done || err != nil {
			return err
		}
		c, err = next, failed
	}
	return err
}

// targets are a chunk of an order.
type targets struct {
	ids  []mdm.EnrollmentID
	rows []*known // of ids
	last mdm.EnrollmentID
	row  int64 // of last
	part int64 // of a list
	all  int   // how many there were up to here, in this run
	done bool  // there are no more
	// endings is how many generations of devices had ended since the order began, before rows were read.
	endings int64
}

// read loads the targets after former ones.
func (f *fanOut) read(ctx context.Context, former *targets) (*targets, error) {
	c := &targets{last: former.last, row: former.row, part: former.part}
	endings := &Call{Text: f.db.dialect.text("SELECT endings FROM mdm_fanouts WHERE id = ?"), Args: []any{f.id},
		Rows: func(scan func(...any) error) error { return scan(&c.endings) }}
	filter, matching := f.o.To.Filter()
	if !matching {
		return c, f.readPart(ctx, c, endings)
	}
	filter.After = former.last
	limit := chunk
	if filter.Limit > 0 {
		limit = min(chunk, filter.Limit-f.before-former.all)
	}
	filter.Limit = limit
	var err error
	if limit > 0 {
		query, args := inRows(selectTargets, filter, former.row, limit)
		if f.paged {
			query, args = filtered(selectTargets, filter)
		}
		found := &Call{Text: f.db.dialect.text(query), Args: numbers(append([]any{f.o.Priority}, args...)), Rows: func(scan func(...any) error) error {
			k, err := scanTarget(scan, f.tenant)
			if err == nil {
				c.last = k.own.ID
				if !f.paged {
					c.row = k.own.id
				}
				c.rows = append(c.rows, k)
			}
			return err
		}}
		err = f.db.retry(ctx, func() error {
			c.rows = nil
			return f.db.read(ctx, endings, found)
		})
	}
	slices.SortFunc(c.rows, func(a, b *known) int { return compareIDs(a.own.ID, b.own.ID) }) // everybody writes in one order
	for _, k := range c.rows {
		c.ids = append(c.ids, k.own.ID)
	}
	c.all = former.all + len(c.ids)
	c.done = len(c.ids) < chunk
	return c, err
}

// selectTargets selects no more of a target than decides whether it can have a command.
var (
	selectTargets = "SELECT id, device, usr, channel, state, generation, rights, info, " + fmt.Sprintf(lastPlace, "?") + " FROM mdm_enrollments"
	opRow         = newOp("tenant$ device$ usr$ priority=", targetPart(":priority", ofKey))
)

func scanTarget(scan func(...any) error, tenant string) (*known, error) {
	r, k := &row{}, &known{}
	var channel, state, generation, rights int64
	var info string
	if err := scan(&r.id, &r.ID.Device, &r.ID.User, &channel, &state, &generation, &rights, &info, &k.last); err != nil {
		return nil, err
	}
	k.own, r.ID.Tenant = r, tenant
	r.Channel, r.State, r.Generation, r.Rights = mdm.Channel(channel), mdm.State(state), mdm.Generation(generation), mdm.AccessRights(rights)
	return k, readInfo(info, &r.Device)
}

// readPart loads the next part of a list.
func (f *fanOut) readPart(ctx context.Context, c *targets, endings *Call) error {
	var list []byte
	found, err := one(ctx, snapshot{f.db}, "SELECT part, ids FROM mdm_fanout_parts WHERE fanout = ? AND part > ? ORDER BY part LIMIT 1",
		[]any{f.id, c.part}, &c.part, &list)
	if err != nil || !found {
		c.done = true
		return err
	}
	if err := json.Unmarshal(list, &c.ids); err != nil {
		return err
	}
	c.rows = make([]*known, len(c.ids))
	rows := make([][]any, len(c.ids))
	for i, id := range c.ids {
		c.rows[i], rows[i], c.last = &known{}, []any{id.Tenant, id.Device, id.User, int64(f.o.Priority)}, id
	}
	return f.db.retry(ctx, func() error {
		return f.db.read(ctx, append([]*Call{endings}, opRow.ask(f.db.dialect, rows, c.ids, c.rows)...)...)
	})
}

func (f *fanOut) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	_ = f.db.update(ctx, func(t *tx) error { // what fails is over with the lease
		_, err := t.change(ctx, "UPDATE mdm_fanouts SET leased = 0 WHERE id = ? AND owner = ?", f.id, f.owner)
		return err
	})
}

// step serves a chunk of targets.
func (f *fanOut) step(ctx context.Context, c *targets) error {
	var p *placement
	// The quick way is for what nobody can have yet and nothing open can collapse; and users lock the rows of their devices.
	quick := f.fresh && f.o.Collapse == "" && !slices.ContainsFunc(c.ids, mdm.EnrollmentID.IsUser)
	err := f.db.update(ctx, func(t *tx) error {
		p = &placement{t: t, o: f.o, item: f.item, receipt: command.Receipt{UUID: f.item.UUID}, turn: &turn{}, many: true}
		place := f.placeLocked
		if quick {
			place = f.placeRead
		}
		quick = false // tried again: somebody queues the same order, or a generation has ended
		if err := place(ctx, p, c); err != nil {
			return err
		}
		return f.move(p, c)
	})
	if err == nil {
		f.told(p)
	}
	return err
}

// guard is the row that keeps the begin of an order and the end of a generation apart: an order that was not there yet when
// a generation ended must not read its device before that is committed.
const guard = "SELECT 1 FROM mdm_leases WHERE name = 'mdm_fanouts' "

// tellFanOuts tells the orders that are under way that a generation ends: see placeRead.
func (t *tx) tellFanOuts(v *turn) {
	if t.db.dialect.locks() { // a database of one writer needs no guard
		t.exec(v, guard+"{share}")
	}
	t.exec(v, "UPDATE mdm_fanouts SET endings = endings + 1")
}

// placeRead puts the command on the queues of a chunk as they were read, without a lock on any of them. Whoever ends a
// generation changes the orders that are under way, and so either waits for this chunk or is noticed by it.
func (f *fanOut) placeRead(ctx context.Context, p *placement, c *targets) error {
	endings, shared, err := f.hold(ctx, p.t)
	if err != nil {
		return err
	}
	if len(c.ids) > 0 && (endings != c.endings || shared) {
		return &passing{error: errChanged}
	}
	for i, id := range c.ids {
		p.have(p.command(id.Tenant)) // no sweep deletes what an order under way is for
		if err := p.one(ctx, id, c.rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// placeLocked looks at every target again, with its device locked. Locks come in the order in which everybody takes them.
func (f *fanOut) placeLocked(ctx context.Context, p *placement, c *targets) error {
	if err := p.place(ctx, c.ids); err != nil {
		return err
	}
	_, _, err := f.hold(ctx, p.t)
	return err
}

// hold locks the order until the commit, if it is still ours, and returns how many generations have ended since it began, and
// whether somebody else queues the same command.
func (f *fanOut) hold(ctx context.Context, t *tx) (endings int64, shared bool, err error) {
	held := t.pending // what is to be written goes with the commit
	t.pending = nil
	var others int64
	found, err := one(ctx, t, "SELECT endings, shared FROM mdm_fanouts WHERE id = ? AND owner = ? {lock}", []any{f.id, f.owner}, &endings, &others)
	t.pending = held
	if err == nil && !found {
		err = command.ErrNotOurs
	}
	return endings, others != 0, err
}

var errChanged = errors.New("sqlstore: a generation has ended meanwhile, or somebody queues the same command")

// told counts a chunk that was committed, and tells the caller of it.
func (f *fanOut) told(p *placement) {
	r := &f.receipt
	r.Queued += p.receipt.Queued
	r.Collapsed += p.receipt.Collapsed
	r.RefusedAll += p.receipt.RefusedAll
	if room := command.MaxRefusals - len(r.Refused); room > 0 {
		r.Refused = append(r.Refused, p.receipt.Refused[:min(room, len(p.receipt.Refused))]...)
	}
	p.tell()
	if f.o.Progress != nil {
		f.o.Progress(*r)
	}
}

// move notes how far the order is, in the transaction of the chunk.
func (f *fanOut) move(p *placement, c *targets) error {
	t, r := p.t, &p.receipt
	v := &turn{at: len(t.pending)} // behind everything, so that a chunk costs no statement more
	if c.done {
		t.exec(v, "DELETE FROM mdm_fanout_parts WHERE fanout = ?", f.id)
		t.exec(v, "DELETE FROM mdm_fanouts WHERE id = ?", f.id)
		all := f.receipt
		all.Queued, all.Collapsed, all.RefusedAll = all.Queued+r.Queued, all.Collapsed+r.Collapsed, all.RefusedAll+r.RefusedAll
		return t.record(v, command.OrderEvent(mdm.EventOrderDone, f.db.now(), f.tenant, all, f.item))
	}
	t.exec(v, "UPDATE mdm_fanouts SET leased = ?, device = ?, usr = ?, done_row = ?, queued = queued + ?, collapsed = collapsed + ?, refused = refused + ? WHERE id = ?",
		micros(f.db.now().Add(fanOutLease)), c.last.Device, c.last.User, c.row, r.Queued, r.Collapsed, r.RefusedAll, f.id)
	if c.part >= 0 {
		t.exec(v, "DELETE FROM mdm_fanout_parts WHERE fanout = ? AND part = ?", f.id, c.part)
	}
	return nil
}

const unfinished = "SELECT p.id, p.tenant, p.uuid, p.request_type, p.spec, p.begun_at, p.device, p.usr, p.done_row, p.queued, p.collapsed, p.refused FROM mdm_fanouts p "

// scan reads an order that is under way.
func (f *fanOut) scan(scan func(...any) error) (command.FanOut, error) {
	out := command.FanOut{}
	var sealed []byte
	var begun, queued, collapsed, refused int64
	if err := scan(&f.id, &f.tenant, &out.Done.UUID, &out.RequestType, &sealed, &begun, &f.after.Device, &f.after.User, &f.row, &queued, &collapsed, &refused); err != nil {
		return out, err
	}
	f.after.Tenant = f.tenant
	out.BegunAt = fromMicros(begun)
	out.Done.Queued, out.Done.Collapsed, out.Done.RefusedAll = int(queued), int(collapsed), int(refused)
	f.receipt = out.Done
	f.before = out.Done.Queued + out.Done.Collapsed + out.Done.RefusedAll
	text, err := f.db.cfg.Sealer.Open(sealed, fanOutName(f.id))
	if err != nil {
		return out, err
	}
	var s spec
	if err := json.Unmarshal(text, &s); err != nil {
		return out, err
	}
	f.o = command.Order{Command: command.Raw(s.Body), UUID: out.Done.UUID, Relax: s.Relax | schema.ShapeRules, Priority: s.Priority, Collapse: s.Collapse,
		Supersede: s.Supersede, NotBefore: s.NotBefore, NotAfter: s.NotAfter, NoPush: s.NoPush}
	f.fresh, f.relax = s.Fresh, s.Relax
	if s.Filter != nil {
		f.o.To = mdm.Matching(*s.Filter)
		f.paged = paged(*s.Filter) || f.row == 0 && f.after.Device != "" // the latter was begun by an earlier version
	}
	return out, nil
}

// FanOuts implements command.FanOuts.
func (db *DB) FanOuts(ctx context.Context, tenant string) ([]command.FanOut, error) {
	var out []command.FanOut
	err := snapshot{db}.query(ctx, unfinished+"WHERE p.tenant = ? ORDER BY p.begun_at, p.id", []any{tenant}, func(scan func(...any) error) error {
		f := &fanOut{db: db}
		found, err := f.scan(scan)
		out = append(out, found)
		return err
	})
	return out, err
}

// Resume implements command.FanOuts.
func (db *DB) Resume(ctx context.Context) (bool, error) {
	const where = "WHERE p.leased <= ? ORDER BY p.id LIMIT 1"
	var n int64
	if any, err := one(ctx, snapshot{db}, "SELECT 1 FROM mdm_fanouts p "+where, []any{micros(db.now())}, &n); err != nil || !any {
		return false, err // looking often must cost nothing
	}
	var f *fanOut
	err := db.update(ctx, func(t *tx) error {
		f = nil
		now := db.now()
		err := t.query(ctx, unfinished+where+" {skip}", []any{micros(now)}, func(scan func(...any) error) error {
			f = &fanOut{db: db}
			_, err := f.scan(scan)
			return err
		})
		if err != nil || f == nil {
			return err
		}
		_, f.owner = random()
		_, err = t.change(ctx, "UPDATE mdm_fanouts SET owner = ?, leased = ? WHERE id = ?", f.owner, micros(now.Add(fanOutLease)), f.id)
		return err
	})
	if err != nil || f == nil {
		return false, err
	}
	if f.item, err = command.Prepare(f.o); err != nil {
		return false, err
	}
	f.item.Relax = f.relax // what is checked again later, is checked as it was ordered
	if err = f.run(ctx); errors.Is(err, command.ErrNotOurs) {
		err = nil
	}
	return err == nil, err
}
