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
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

var dialect = &sqlstore.Dialect{
	Name: "sqlite",
	Words: map[string]string{
		"id": "INTEGER PRIMARY KEY", "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
		"int": "INTEGER", "text": "TEXT", "key": "TEXT", "hash": "BLOB", "blob": "BLOB",
		"table": " STRICT", "keyed": " STRICT, WITHOUT ROWID", "changing": " STRICT", "keyed changing": " STRICT, WITHOUT ROWID",
		"on enrollments": "", "roster": "", "zero": "0", "blank": "''", "null": "NULL",
		"while due": "",
		"share":     "",
		"empty":     "x''", "lock": "", "skip": "", "skip r": "", "skip e": "", // one transaction at a time writes
	},
	Excluded: "excluded.%s",
	Upsert:   "ON CONFLICT (%s) DO UPDATE SET",
}

// engine runs statements in the process: it prepares each once, and runs it for each row of arguments.
type engine struct {
	reads  *reader
	writes *writer
	log    *checkpointer
}

func (e *engine) Dialect() *sqlstore.Dialect { return dialect }

func (e *engine) Close() error {
	var err error
	if e.log != nil {
		err = e.log.close()
	}
	if e.reads != nil {
		err = errors.Join(err, e.reads.pool.Close())
	}
	if e.writes != nil {
		err = errors.Join(err, e.writes.close())
	}
	return err
}

func (e *engine) Trouble(error) sqlstore.Trouble { return sqlstore.Other } // see known

// reader runs statements that change nothing.
type reader struct {
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

func (e *engine) Read(ctx context.Context, calls ...*sqlstore.Call) error {
	return run(ctx, calls, e.reads.prepare)
}

// writer is the one connection of this process that writes. Transactions take turns on it, first come, first served,
// so that they never wait for each other inside the database.
type writer struct {
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

func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := w.stmts[query]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, query)
	if err == nil {
		w.stmts[query] = s
	}
	return s, err
}

// begin waits for the turn and begins a transaction.
func (w *writer) begin(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	if err != nil {
		<-w.turn
	}
	return known(err)
}

// end commits or rolls back, and gives the turn on.
func (w *writer) end(how string) error {
	_, err := w.conn.ExecContext(context.Background(), how)
	if err == nil || how == "ROLLBACK" {
		<-w.turn
	}
	return known(err)
}

func (e *engine) Begin(ctx context.Context) (sqlstore.Conn, error) {
	if err := e.writes.begin(ctx); err != nil {
		return nil, err
	}
	return &conn{w: e.writes, log: e.log}, nil
}

// conn is a transaction under way.
type conn struct {
	w   *writer
	log *checkpointer
}

func (c *conn) Send(ctx context.Context, calls []*sqlstore.Call, commit bool) error {
	if err := run(ctx, calls, c.w.prepare); err != nil || !commit {
		return err
	}
	c.log.written.Store(true)
	return c.w.end("COMMIT")
}

func (c *conn) Rollback() { _ = c.w.end("ROLLBACK") }

// foreign is a transaction of the caller's.
type foreign struct{ tx *sql.Tx }

func (f *foreign) Send(ctx context.Context, calls []*sqlstore.Call, _ bool) error {
	return run(ctx, calls, f.tx.PrepareContext) // what it prepares is closed with it
}

func (*foreign) Rollback() {}

// run runs calls with statements that prepare finds or makes.
func run(ctx context.Context, calls []*sqlstore.Call, prepare func(context.Context, string) (*sql.Stmt, error)) error {
	for _, c := range calls {
		s, err := prepare(ctx, c.Text)
		if err == nil {
			err = c.RunSQL(
				func() (sql.Result, error) { return s.ExecContext(ctx, c.Args...) },
				func() (*sql.Rows, error) { return s.QueryContext(ctx, c.Args...) })
		}
		if err != nil {
			return known(err)
		}
	}
	return nil
}

// busy reports whether another process held the database for longer than it was waited for.
func busy(err error) bool {
	coded, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch coded.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}

// known makes what passes by itself Unavailable. It was waited for already: nothing is tried again.
func known(err error) error {
	if busy(err) {
		return mdm.Errorf(mdm.Unavailable, "sqlite", "%w", err)
	}
	return err
}

// migrate brings the schema up to date, one transaction for each step, under the lock that keeps other processes out.
func (e *engine) migrate(ctx context.Context) error {
	all := sqlstore.Migrations(dialect)
	for {
		done, err := e.step(ctx, all)
		if err != nil || done {
			return err
		}
	}
}

func (e *engine) step(ctx context.Context, all [][]string) (done bool, err error) {
	if err := e.writes.begin(ctx); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			_ = e.writes.end("ROLLBACK")
		}
	}()
	var version int
	if err := e.writes.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return false, err
	}
	if version > len(all) {
		return false, fmt.Errorf("the database has version %d, this library knows %d: it was made by a newer one", version, len(all))
	}
	if done = version == len(all); !done {
		for _, statement := range all[version] {
			if _, err := e.writes.conn.ExecContext(ctx, statement); err != nil {
				return false, fmt.Errorf("migration %d: %w", version+1, err)
			}
		}
		if _, err := e.writes.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
			return false, err
		}
	}
	return done, e.writes.end("COMMIT")
}
