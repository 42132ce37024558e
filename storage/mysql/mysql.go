// Package mysql keeps the state of any number of servers in one MySQL (8.0 or newer) or MariaDB (10.11 or newer) database.
//
//	db, err := mysql.Open(ctx, "mdm:password@tcp(db.example.com)/mdm", &mysql.Config{Sealer: sealer})
//	…
//	defer db.Close()
//	stores := db.Stores()
//
// Servers are stateless: they may come and go, and need to know nothing of each other. Every change is one transaction,
// committed before the call returns; requests of different devices that arrive together share one. Tables are prefixed
// mdm_, so the database may be one that the vendor has already, and [New] takes a pool of his own.
//
// What is open on a queue is apart from what is finished, and each statement of a device's request is an index seek, so
// the cost of a request does not grow with history or fleet. An idle poll is one statement that writes nothing.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

// Config has the choices of a store.
type Config struct {
	// Sealer encrypts what is secret. Required: every server of the database needs the same keys. See [storage.NewAESGCM].
	Sealer storage.Sealer
	// SeenInterval is how often LastSeenAt is written; a crash loses at most that much of it, and nothing else. 0: 10 s.
	SeenInterval time.Duration
	// NoMigration leaves the schema as it is: then Open fails if it is not up to date. See [DB.Migrate] and [Script].
	NoMigration bool
	// Clock is for tests. Nil: time.Now.
	Clock func() time.Time
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	store *sqlstore.DB
	pool  *sql.DB
}

// Open connects to the database that dsn names, as github.com/go-sql-driver/mysql reads it, and brings an older schema
// up to date. A schema that is newer than this library is refused.
func Open(ctx context.Context, dsn string, cfg *Config) (*DB, error) {
	mc, err := driversql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("mysql: the DSN cannot be read") // the driver's error would show the password
	}
	Configure(mc)
	connector, err := driversql.NewConnector(mc)
	if err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	pool.SetConnMaxLifetime(time.Hour)
	db, err := newDB(ctx, pool, cfg, true)
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return db, nil
}

const maxConns = 16

// New is Open on a pool of the caller's, which Close leaves open. Its connections must be made as [Configure] says.
func New(ctx context.Context, pool *sql.DB, cfg *Config) (*DB, error) {
	return newDB(ctx, pool, cfg, false)
}

// Configure sets what this package needs of a connection: rows that an UPDATE found are counted although it changed
// nothing in them, and arguments travel with their statement.
func Configure(cfg *driversql.Config) {
	cfg.ClientFoundRows = true
	cfg.InterpolateParams = true
	cfg.MultiStatements = false
}

func newDB(ctx context.Context, pool *sql.DB, cfg *Config, own bool) (*DB, error) {
	if cfg == nil || cfg.Sealer == nil {
		return nil, errors.New("mysql: Config.Sealer is required")
	}
	db := &DB{pool: pool}
	version, err := db.version(ctx)
	if err == nil && cfg.NoMigration && version != len(sqlstore.Migrations(dialect)) {
		err = fmt.Errorf("the schema has version %d, not %d: see Migrate", version, len(sqlstore.Migrations(dialect)))
	}
	if err == nil && !cfg.NoMigration {
		err = db.Migrate(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	e := &engine{pool: pool, own: own}
	db.store = sqlstore.New(e, sqlstore.Config{Sealer: cfg.Sealer, SeenInterval: cfg.SeenInterval, Clock: cfg.Clock, Writers: 4})
	return db, nil
}

// Stores returns the store as every interface that a server asks for.
func (db *DB) Stores() storage.Stores { return db.store.Stores() }

// Statements returns how many statements this handle has run, BEGIN and COMMIT left out. It is for benchmarks.
func (db *DB) Statements() int64 { return db.store.Statements() }

// Close writes what is written behind, and closes the pool that Open made.
func (db *DB) Close() error { return db.store.Close() }

// EnqueueTx is Enqueue in a transaction of the caller's: the command is queued if and when it commits, together with
// whatever else is in it. The push follows within a second or so. The transaction should read what is committed
// (sql.LevelReadCommitted).
func (db *DB) EnqueueTx(ctx context.Context, tx *sql.Tx, o command.Order) (command.Receipt, error) {
	return db.store.EnqueueIn(ctx, &conn{tx: tx, foreign: true}, o)
}

// Script writes the statements that Migrate runs on an empty database, for whoever wants to read them or run them
// by other means.
func Script(w io.Writer) error {
	_, err := io.WriteString(w, sqlstore.Script(dialect)+fmt.Sprintf("\n%s;\n\nINSERT INTO mdm_schema (version, step) VALUES (%d, 0);\n", versionTable, len(sqlstore.Migrations(dialect))))
	return err
}

var dialect = &sqlstore.Dialect{
	Name: "mysql",
	Words: map[string]string{
		"id": "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY", "serial": "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
		"int": "BIGINT", "text": "LONGTEXT", "key": "VARBINARY(255)", "hash": "VARBINARY(32)", "blob": "LONGBLOB",
		"table": " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
		"keyed": " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin", "changing": " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin", "keyed changing": " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
		"on enrollments": " ON mdm_enrollments", "roster": " FORCE INDEX (tenant)", "zero": "0", "blank": "''", "null": "NULL",
		"while due": "",
		"share":     "LOCK IN SHARE MODE",
		"empty":     "''", "lock": "FOR UPDATE", "skip": "FOR UPDATE SKIP LOCKED", "skip r": "FOR UPDATE SKIP LOCKED", "skip e": "FOR UPDATE SKIP LOCKED",
	},
	Values:   true,
	Excluded: "VALUES(%s)",
	Upsert:   "ON DUPLICATE KEY UPDATE",
	Copies:   16,
}

// engine runs statements one after the other: the protocol has no pipelines.
type engine struct {
	pool *sql.DB
	own  bool
}

func (e *engine) Dialect() *sqlstore.Dialect { return dialect }

func (e *engine) Close() error {
	if e.own {
		return e.pool.Close()
	}
	return nil
}

// runner is what *sql.DB and *sql.Tx have in common.
type runner interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (e *engine) Read(ctx context.Context, calls ...*sqlstore.Call) error {
	return run(ctx, e.pool, calls)
}

func run(ctx context.Context, r runner, calls []*sqlstore.Call) error {
	for _, c := range calls {
		err := c.RunSQL(
			func() (sql.Result, error) { return r.ExecContext(ctx, c.Text, c.Args...) },
			func() (*sql.Rows, error) { return r.QueryContext(ctx, c.Text, c.Args...) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) Begin(ctx context.Context) (sqlstore.Conn, error) {
	// Locks keep devices apart; what a statement sees is what is committed when it runs.
	tx, err := e.pool.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, err
	}
	return &conn{tx: tx}, nil
}

// conn is a transaction under way.
type conn struct {
	tx      *sql.Tx
	foreign bool
}

func (c *conn) Send(ctx context.Context, calls []*sqlstore.Call, commit bool) error {
	if err := run(ctx, c.tx, calls); err != nil || !commit || c.foreign {
		return err
	}
	return c.tx.Commit()
}

func (c *conn) Rollback() {
	if !c.foreign {
		_ = c.tx.Rollback()
	}
}

func (e *engine) Trouble(err error) sqlstore.Trouble {
	if e, ok := errors.AsType[*driversql.MySQLError](err); ok {
		switch e.Number {
		case 1062: // duplicate entry
			return sqlstore.Duplicate
		case 1205, 1213, 1040, 1053, 1203, 1927, 3024, 1020: // lock wait, deadlock, connections, shutdown, killed, changed since
			return sqlstore.Passing
		}
		return sqlstore.Other
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, driversql.ErrInvalidConn) || errors.Is(err, io.EOF) || errors.Is(err, sql.ErrConnDone) || isNetwork(err) {
		return sqlstore.Passing
	}
	return sqlstore.Other
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network)
}
