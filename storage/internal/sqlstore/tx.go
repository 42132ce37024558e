package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
)

// tx is a write transaction under way. What only writes is held back and sent with the next statement that reads, or with
// the commit; rows that several visits write by the same statement go together.
type tx struct {
	db      *DB
	conn    Conn
	pending []*work
	ids     map[mdm.EnrollmentID]int64 // rows found so far
	bodies  map[int64]command.Item     // written in this transaction
	changed storage.Change
}

// work is a statement that was not sent yet.
type work struct {
	op   *op
	rows [][]any
	call *Call // instead of op
	last *turn // whose row came last
}

// turn is one visit's place among the statements of a transaction: what it writes keeps its order.
type turn struct{ at int }

// write adds a row to a statement that writes.
func (t *tx) write(v *turn, o *op, row ...any) {
	for i, p := range o.params {
		row[i] = plain(p, row[i])
	}
	for n := v.at; n < len(t.pending); n++ {
		w := t.pending[n]
		if w.op == o && !(o.once && w.last == v) {
			w.rows, w.last, v.at = append(w.rows, row), v, n
			return
		}
	}
	t.pending = append(t.pending, &work{op: o, rows: [][]any{row}, last: v})
	v.at = len(t.pending) - 1
}

// plain turns an argument into what engines take.
func plain(p param, v any) any {
	switch v := v.(type) {
	case nil, int64, string, []byte:
		if p.kind == 0 && v == nil {
			return int64(0)
		}
		return v
	}
	return number(v)
}

// exec adds a statement that is not one of the hot ones.
func (t *tx) exec(v *turn, query string, args ...any) {
	t.pending = append(t.pending, &work{call: &Call{Text: t.db.dialect.text(query), Args: numbers(args)}})
	v.at = len(t.pending) - 1
}

// change runs a statement at once and returns how many rows it changed.
func (t *tx) change(ctx context.Context, query string, args ...any) (int64, error) {
	c := &Call{Text: t.db.dialect.text(query), Args: numbers(args)}
	err := t.send(ctx, false, c)
	return c.N, err
}

// query sends what is pending and then a statement with rows.
func (t *tx) query(ctx context.Context, query string, args []any, f func(scan func(...any) error) error) error {
	return t.send(ctx, false, &Call{Text: t.db.dialect.text(query), Args: numbers(args), Rows: f})
}

// send sends what is pending, then calls.
func (t *tx) send(ctx context.Context, commit bool, calls ...*Call) error {
	var all []*Call
	for _, w := range t.pending {
		if w.call != nil {
			all = append(all, w.call)
			continue
		}
		all = append(all, w.op.calls(t.db.dialect, w.rows)...)
	}
	t.pending = nil
	all = append(all, calls...)
	if len(all) == 0 && !commit {
		return nil
	}
	t.db.count.Add(int64(len(all)))
	return t.db.failed(t.conn.Send(ctx, all, commit))
}

// reader runs statements that change nothing, in a transaction or outside.
type reader interface {
	query(ctx context.Context, query string, args []any, f func(scan func(...any) error) error) error
}

// snapshot reads outside a transaction.
type snapshot struct{ db *DB }

func (s snapshot) query(ctx context.Context, query string, args []any, f func(scan func(...any) error) error) error {
	return s.db.retry(ctx, func() error {
		return s.db.read(ctx, &Call{Text: s.db.dialect.text(query), Args: numbers(args), Rows: f})
	})
}

func (db *DB) read(ctx context.Context, calls ...*Call) error {
	db.count.Add(int64(len(calls)))
	return db.failed(db.engine.Read(ctx, calls...))
}

// one scans the first row of a query; found is false if there is none.
func one(ctx context.Context, r reader, query string, args []any, into ...any) (found bool, err error) {
	err = r.query(ctx, query, args, func(scan func(...any) error) error {
		if found {
			return nil
		}
		found = true
		return scan(into...)
	})
	return found && err == nil, err
}

// update runs f in a transaction. It commits if f returns nil or an error wrapped by keep, else nothing is changed. What
// fails for a passing reason is run again.
func (db *DB) update(ctx context.Context, f func(*tx) error) error {
	return db.retry(ctx, func() error {
		conn, err := db.engine.Begin(ctx)
		if err != nil {
			return db.failed(err)
		}
		t := &tx{db: db, conn: conn, ids: map[mdm.EnrollmentID]int64{}}
		done := false
		defer func() {
			if !done { // an error, or a panic in somebody's function
				conn.Rollback()
			}
		}()
		err = f(t)
		var refusal *kept
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
		// From here on it is too late to give up: the caller must learn what happened.
		if err := t.send(context.WithoutCancel(ctx), true); err != nil {
			return err
		}
		done = true
		db.watch.tell(t.changed)
		if refusal != nil {
			return refusal.error
		}
		return nil
	})
}

// kept is an error to return after the transaction was committed.
type kept struct{ error }

func keep(err error) error {
	if err == nil {
		return nil
	}
	return &kept{err}
}

// passing is an error after which the same transaction may succeed.
type passing struct {
	error
	duplicate bool
}

func (p *passing) Unwrap() error { return p.error }

// How often a transaction is run again before its caller is told to come back, and how long is between two tries: enough
// for a deadlock to pass and for a connection to be opened anew; a database that restarts takes longer than a device
// should wait.
const (
	tries     = 6
	firstWait = 5 * time.Millisecond
	lastWait  = 400 * time.Millisecond
)

func (db *DB) retry(ctx context.Context, f func() error) error {
	wait := firstWait
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f()
		var p *passing
		if !errors.As(err, &p) {
			return err
		}
		if n == tries || ctx.Err() != nil {
			if p.duplicate {
				return fmt.Errorf("%s: %w", db.dialect.Name, p.error)
			}
			return mdm.Errorf(mdm.Unavailable, db.dialect.Name, "%w", p.error)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(3*wait, lastWait)
	}
}

// failed classifies an error of the database: what passes by itself becomes Unavailable, everything else is our own fault.
// No failure of a store is ever more than that to a device.
func (db *DB) failed(err error) error {
	var e *mdm.Error
	var p *passing
	if err == nil || errors.As(err, &e) || errors.As(err, &p) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch db.engine.Trouble(err) {
	case Passing:
		return &passing{error: err}
	case Duplicate:
		return &passing{error: err, duplicate: true}
	}
	return fmt.Errorf("%s: %w", db.dialect.Name, err)
}

func numbers(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch a.(type) {
		case nil, string, []byte, int64:
			out[i] = a
		default:
			out[i] = number(a)
		}
	}
	return out
}
