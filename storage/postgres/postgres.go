// Package postgres keeps the state of any number of servers in one PostgreSQL database (12 or newer).
//
//	db, err := postgres.Open(ctx, "postgres://mdm@db.example.com/mdm", &postgres.Config{Sealer: sealer})
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
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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
	pool  *pgxpool.Pool
}

// Open connects to the database that dsn names, a URL or keywords as libpq takes them, and brings an older schema up to
// date. A schema that is newer than this library is refused.
func Open(ctx context.Context, dsn string, cfg *Config) (*DB, error) {
	pc, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err) // pgx keeps the password out
	}
	Configure(pc)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	db, err := newDB(ctx, pool, cfg, true)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return db, nil
}

// New is Open on a pool of the caller's, which Close leaves open. Its connections should be made as [Configure] says.
func New(ctx context.Context, pool *pgxpool.Pool, cfg *Config) (*DB, error) {
	return newDB(ctx, pool, cfg, false)
}

// Configure sets what the statements of this package do best with: plans that are made once for each connection, and that
// seek. It changes nothing that is set already.
func Configure(cfg *pgxpool.Config) {
	for name, value := range map[string]string{
		"plan_cache_mode": "force_generic_plan", // they seek whatever the arguments are; planning costs more than running
		"jit":             "off",
		"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off", "enable_bitmapscan": "off",
		"join_collapse_limit": "1", "from_collapse_limit": "1", // joins are written in the order in which they seek
		"application_name": "applemdm",
	} {
		if _, set := cfg.ConnConfig.RuntimeParams[name]; !set {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
}

func newDB(ctx context.Context, pool *pgxpool.Pool, cfg *Config, own bool) (*DB, error) {
	if cfg == nil || cfg.Sealer == nil {
		return nil, errors.New("postgres: Config.Sealer is required")
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
		return nil, fmt.Errorf("postgres: %w", err)
	}
	db.store = sqlstore.New(&engine{pool: pool, own: own}, sqlstore.Config{Sealer: cfg.Sealer, SeenInterval: cfg.SeenInterval, Clock: cfg.Clock, Writers: 4})
	return db, nil
}

// Stores returns the store as every interface that a server asks for.
func (db *DB) Stores() storage.Stores { return db.store.Stores() }

// Statements returns how many statements this handle has run, BEGIN and COMMIT left out. It is for benchmarks.
func (db *DB) Statements() int64 { return db.store.Statements() }

// Close writes what is written behind, and closes the pool that Open made.
func (db *DB) Close() error { return db.store.Close() }

// EnqueueTx is Enqueue in a transaction of the caller's: the command is queued if and when it commits, together with
// whatever else is in it. The push follows within a second or so. An error leaves tx fit only to be rolled back.
func (db *DB) EnqueueTx(ctx context.Context, tx pgx.Tx, o command.Order) (command.Receipt, error) {
	return db.store.EnqueueIn(ctx, &foreign{tx}, o)
}

// Script writes the statements that Migrate runs on an empty database, for whoever wants to read them or run them
// by other means.
func Script(w io.Writer) error {
	_, err := io.WriteString(w, sqlstore.Script(dialect)+fmt.Sprintf("\n%s;\n\nINSERT INTO mdm_schema (version) VALUES (%d);\n", versionTable, len(sqlstore.Migrations(dialect))))
	return err
}
