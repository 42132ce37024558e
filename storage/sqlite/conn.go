package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
)

// runner runs statements: on the reader's connections, in a write transaction, or in one of the caller's.
type runner interface {
	exec(ctx context.Context, query string, args ...any) (int64, error)
	query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// reader runs statements that change nothing.
type reader struct {
	db    *DB
	pool  *sql.DB
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

func (r *reader) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.stmts[query]; s != nil {
		return s, nil
	}
	s, err := r.pool.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if r.stmts == nil {
		r.stmts = map[string]*sql.Stmt{}
	}
	r.stmts[query] = s
	return s, nil
}

func (r *reader) exec(context.Context, string, ...any) (int64, error) {
	return 0, errors.New("sqlite: a reader cannot write")
}

func (r *reader) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := r.prepare(ctx, query)
	if err != nil {
		return nil, failed(err)
	}
	r.db.count.Add(1)
	rows, err := s.QueryContext(ctx, args...)
	return rows, failed(err)
}

// writer is the one connection of this process that writes. Transactions take turns on it, first come, first served,
// so that they never wait for each other inside the database.
type writer struct {
	db    *DB
	pool  *sql.DB
	conn  *sql.Conn
	turn  chan struct{}
	stmts map[string]*sql.Stmt
}

func (w *writer) connect(ctx context.Context) (err error) {
	if w.conn != nil {
		_ = w.conn.Close()
	}
	w.conn, err = w.pool.Conn(ctx)
	w.stmts = map[string]*sql.Stmt{}
	return err
}

func (w *writer) close() error {
	var err error
	if w.conn != nil {
		err = w.conn.Close()
	}
	return errors.Join(err, w.pool.Close())
}

// tx is a write transaction under way.
type tx struct {
	w       *writer
	foreign *sql.Tx                    // the caller's, with EnqueueTx; nil: the writer's own
	ids     map[mdm.EnrollmentID]int64 // rows found so far
	bodies  map[string]int64           // of the command being queued, by tenant
	changed storage.Change
}

// update runs f in a transaction. It commits if f returns nil or an error wrapped by keep, else nothing is changed.
func (db *DB) update(ctx context.Context, f func(*tx) error) error {
	w := db.writes
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return failed(err)
	}
	t := &tx{w: w, ids: map[mdm.EnrollmentID]int64{}}
	done := false
	defer func() {
		if !done { // an error, or a panic in somebody's function
			_, _ = w.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	err := f(t)
	var refusal *kept
	if err != nil && !errors.As(err, &refusal) {
		return err
	}
	// From here on it is too late to give up: the caller must learn what happened.
	if _, err := w.conn.ExecContext(context.WithoutCancel(ctx), "COMMIT"); err != nil {
		return failed(err)
	}
	done = true
	db.watch.tell(t.changed)
	if refusal != nil {
		return refusal.error
	}
	return nil
}

// kept is an error to return after the transaction was committed.
type kept struct{ error }

func keep(err error) error {
	if err == nil {
		return nil
	}
	return &kept{err}
}

func (t *tx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if t.foreign != nil { // closed with the transaction
		return t.foreign.PrepareContext(ctx, query)
	}
	if s := t.w.stmts[query]; s != nil {
		return s, nil
	}
	s, err := t.w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	t.w.stmts[query] = s
	return s, nil
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	s, err := t.prepare(ctx, query)
	if err != nil {
		return 0, failed(err)
	}
	t.w.db.count.Add(1)
	return affected(s.ExecContext(ctx, args...))
}

func (t *tx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := t.prepare(ctx, query)
	if err != nil {
		return nil, failed(err)
	}
	t.w.db.count.Add(1)
	rows, err := s.QueryContext(ctx, args...)
	return rows, failed(err)
}

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, failed(err)
	}
	return res.RowsAffected()
}

// one scans the first row of a query; found is false if there is none.
func one(ctx context.Context, r runner, query string, args []any, into ...any) (found bool, err error) {
	rows, err := r.query(ctx, query, args...)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return false, failed(rows.Err())
	}
	if err := rows.Scan(into...); err != nil {
		return false, failed(err)
	}
	return true, failed(rows.Close())
}

// each calls f for each row of a query, while it has the row.
func each(ctx context.Context, r runner, query string, args []any, f func(scan func(...any) error) error) error {
	rows, err := r.query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return failed(err)
		}
	}
	return failed(rows.Err())
}

// failed classifies an error of the database: what passes by itself is Unavailable, everything else our own fault. No
// failure of a store is ever more than that to a device.
func failed(err error) error {
	var e *mdm.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var coded *sqlite.Error
	if errors.As(err, &coded) {
		switch coded.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT:
			return mdm.Errorf(mdm.Unavailable, "sqlite", "%w", err)
		}
	}
	return fmt.Errorf("sqlite: %w", err)
}
