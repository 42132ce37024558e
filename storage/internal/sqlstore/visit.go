package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// visit is one request about a device that writes: a report, a check-in, or a command for it.
type visit struct {
	key      mdm.EnrollmentID
	fp       mdm.Fingerprint
	report   *command.Report // of a report
	command  int64           // row of the command to be queued
	priority int64           // of that
	run      func(*tx, *known) error
	turn     turn

	ctx   context.Context
	done  chan struct{}
	err   error // what the caller gets
	panic any   // in somebody's function: raised again on the caller's goroutine
	offer *command.Offer
}

// runTime bounds a shared transaction, of which no single caller's context is the right one.
const runTime = 30 * time.Second

// visit runs v in a transaction that it may share with others, and waits for its commit.
func (db *DB) visit(ctx context.Context, v *visit) error {
	v.ctx, v.done = ctx, make(chan struct{})
	if err := ctx.Err(); err != nil {
		return err
	}
	db.visits.add(v)
	<-v.done // not ctx.Done: the caller must learn what happened
	if v.panic != nil {
		panic(v.panic)
	}
	return v.err
}

// serve runs a batch of visits of different devices.
func (db *DB) serve(batch []*visit) {
	defer func() {
		for _, v := range batch {
			close(v.done)
		}
	}()
	slices.SortFunc(batch, func(a, b *visit) int { // everybody locks in one order
		return cmp.Or(cmp.Compare(a.key.Tenant, b.key.Tenant), cmp.Compare(a.key.Device, b.key.Device))
	})
	if len(batch) > 1 && db.together(batch) == nil {
		return
	}
	for _, v := range batch { // one of them cannot be: the others must not suffer
		if v.err = v.ctx.Err(); v.err == nil {
			v.err = db.together([]*visit{v})
		}
	}
}

var errPanic = errors.New("sqlstore: panic")

// together runs visits in one transaction. Their own refusals are in their err, if the error is nil.
func (db *DB) together(batch []*visit) (err error) {
	defer func() { // a bug of our own must not end the process: no caller is on this goroutine
		if r := recover(); r != nil {
			batch[0].panic, err = r, errPanic
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), runTime)
	defer cancel()
	if len(batch) == 1 {
		ctx = batch[0].ctx
	}
	err = db.update(ctx, func(t *tx) error {
		all, err := t.know(ctx, batch)
		if err != nil {
			return err
		}
		for i, v := range batch {
			v.turn, v.offer, v.err, v.panic = turn{}, nil, nil, nil
			err := v.guarded(t, all[i])
			var refusal *kept
			if errors.As(err, &refusal) {
				v.err = refusal.error
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(batch) == 1 {
		return batch[0].err
	}
	return err
}

func (v *visit) guarded(t *tx, k *known) (err error) {
	defer func() {
		if r := recover(); r != nil {
			v.panic = r
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return v.run(t, k)
}

// know locks the devices of a batch and loads what is known of its callers.
func (t *tx) know(ctx context.Context, batch []*visit) ([]*known, error) {
	var locks [][]any
	rows, ids, into := map[*op][][]any{}, map[*op][]mdm.EnrollmentID{}, map[*op][]*known{}
	all := make([]*known, len(batch))
	for i, v := range batch {
		o := v.asks()
		all[i] = &known{}
		locks = append(locks, []any{v.key.Tenant, v.key.Device})
		rows[o], ids[o], into[o] = append(rows[o], v.params(o)), append(ids[o], v.key), append(into[o], all[i])
	}
	calls := t.locks(locks)
	for _, o := range []*op{opReport, opSituation, opTarget} {
		if len(rows[o]) > 0 {
			calls = append(calls, o.ask(t.db.dialect, rows[o], ids[o], into[o])...)
		}
	}
	if err := t.send(ctx, false, calls...); err != nil {
		return nil, err
	}
	for _, k := range all {
		t.note(k)
	}
	return all, nil
}

// asks returns what loads what v needs to know.
func (v *visit) asks() *op {
	switch {
	case v.report != nil:
		return opReport
	case v.command != 0:
		return opTarget
	}
	return opSituation
}

func (t *tx) note(k *known) {
	for _, r := range []*row{k.own, k.device} {
		if r != nil {
			t.ids[r.ID] = r.id
		}
	}
}

// locks returns the calls that lock devices, which must come in order. A database of one writer needs none.
func (t *tx) locks(rows [][]any) []*Call {
	if !t.db.dialect.locks() || len(rows) == 0 {
		return nil
	}
	var calls []*Call
	if t.db.dialect.Dollar {
		calls = opLock.calls(t.db.dialect, rows)
	} else {
		for _, row := range rows { // a select with a lock cannot be part of a union
			calls = append(calls, opLock.calls(t.db.dialect, [][]any{row})...)
		}
	}
	for _, c := range calls {
		c.Rows = func(func(...any) error) error { return nil }
	}
	return calls
}

// glance is a look at what is known of an idle caller.
type glance struct {
	id   mdm.EnrollmentID
	fp   mdm.Fingerprint
	at   time.Time
	ctx  context.Context
	k    *known
	err  error
	done chan struct{}
}

// look loads what is known of an idle caller, in a statement that it may share with others.
func (db *DB) look(ctx context.Context, g *glance) (*known, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.ctx, g.done = ctx, make(chan struct{})
	if db.dialect.Copies == 0 && !db.dialect.Dollar { // nothing to share
		db.glimpse([]*glance{g})
		return g.k, g.err
	}
	db.glances.add(g)
	<-g.done
	return g.k, g.err
}

func (db *DB) glimpse(batch []*glance) {
	ctx := batch[0].ctx
	if len(batch) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), runTime)
		defer cancel()
	}
	err := db.retry(ctx, func() error {
		rows, ids, into := make([][]any, len(batch)), make([]mdm.EnrollmentID, len(batch)), make([]*known, len(batch))
		for i, g := range batch {
			g.k = &known{}
			rows[i], ids[i], into[i] = []any{g.id.Tenant, g.id.Device, g.id.User, g.fp[:], micros(g.at)}, g.id, g.k
		}
		return db.read(ctx, opIdle.ask(db.dialect, rows, ids, into)...)
	})
	for _, g := range batch {
		g.err = err
		close(g.done)
	}
}
