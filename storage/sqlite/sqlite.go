// Package sqlite keeps a server's state in one SQLite file. It needs no database server and no C compiler, and is the
// store to begin with.
//
//	db, err := sqlite.Open(ctx, "mdm.db", nil)
//	…
//	defer db.Close()
//	stores := db.Stores()
//
// Every change is one transaction, synced to disk before the call returns: what was acknowledged survives a crash of the
// process and of the machine. Several processes may open the same file. Secrets, command bodies and results are sealed;
// see [Config].
//
// What is open on a queue is apart from what is finished, and each statement of a device's request is an index seek, so
// the cost of a request does not grow with history or fleet. An idle poll writes nothing.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

// Config has the choices of a store. The zero value, and nil, are ready to use.
type Config struct {
	// Sealer encrypts what is secret. Nil: AES-256-GCM with a key in the file "<path>.key", made with the database. A key
	// beside the database protects a stray copy of the database and no more: in production take it from a secret store.
	Sealer storage.Sealer
	// SeenInterval is how often LastSeenAt is written; a crash loses at most that much of it, and nothing else. 0: 10 s.
	SeenInterval time.Duration
	// Clock is for tests. Nil: time.Now.
	Clock func() time.Time
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	store  *sqlstore.DB
	engine *engine
}

// Open opens the database at path, and makes it if it is not there. It brings an older schema up to date; one that is
// newer than this library is refused.
func Open(ctx context.Context, path string, cfg *Config) (*DB, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	sealer := cfg.Sealer
	if sealer == nil {
		var err error
		if sealer, err = keyFile(path + ".key"); err != nil {
			return nil, err
		}
	}
	e := &engine{}
	if err := e.open(ctx, path); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), e.Close())
	}
	return &DB{engine: e, store: sqlstore.New(e, sqlstore.Config{Sealer: sealer, SeenInterval: cfg.SeenInterval, Clock: cfg.Clock})}, nil
}

// pragmas hold for every connection: a write waits for other processes, and a commit is on the disk when it returns.
const pragmas = "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"

// The writer has room for the pages of a big transaction. It copies the log itself only if the checkpointer falls behind.
const (
	writerPragmas = "&_pragma=cache_size(-32768)&_pragma=wal_autocheckpoint(16000)" // kB; pages of 4 kB
	readerPragmas = "&_pragma=query_only(1)&_pragma=cache_size(-8192)"
)

func (e *engine) open(ctx context.Context, path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	name := (&url.URL{Scheme: "file", Path: absolute, RawQuery: pragmas}).String()
	writes, err := sql.Open("sqlite", name+writerPragmas)
	if err != nil {
		return err
	}
	writes.SetMaxOpenConns(2) // one is the writer's for good, one is for EnqueueTx
	e.writes = &writer{pool: writes, turn: make(chan struct{}, 1)}
	if err := e.prepare(ctx); err != nil {
		return err
	}
	reads, err := sql.Open("sqlite", name+readerPragmas)
	if err != nil {
		return err
	}
	reads.SetMaxOpenConns(max(4, runtime.NumCPU()))
	reads.SetMaxIdleConns(max(4, runtime.NumCPU()))
	e.reads = &reader{pool: reads}
	if e.log, err = startCheckpointer(name); err != nil {
		return err
	}
	return os.Chmod(absolute, 0o600)
}

// openTime is how long Open waits for other processes that make or change the schema.
const openTime = 10 * time.Second

// prepare connects the writer and brings the schema up to date. Turning a new file into one with a write-ahead log takes a
// lock that SQLite does not wait for, so it is tried again while others do it.
func (e *engine) prepare(ctx context.Context) error {
	deadline := time.Now().Add(openTime)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := e.writes.connect(ctx)
		if err == nil {
			err = e.migrate(ctx)
		}
		if err == nil || !busy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// keyFile returns a Sealer with the key in the named file, which it makes if it is not there.
func keyFile(name string) (storage.Sealer, error) {
	key, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeKeyFile(name); err != nil {
			return nil, fmt.Errorf("sqlite: key file: %w", err)
		}
		key, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite: key file: %w", err)
	}
	sealer, err := storage.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("sqlite: key file %s: %w", name, err)
	}
	return sealer, nil
}

// makeKeyFile writes a new key. Of several processes that start together one wins; nobody ever sees half a key.
func makeKeyFile(name string) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(storage.GenerateKey()) // mode 0600, as CreateTemp makes it
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// Stores returns the store as every interface that a server asks for.
func (db *DB) Stores() storage.Stores { return db.store.Stores() }

// Statements returns how many statements this handle has run, BEGIN and COMMIT left out. It is for benchmarks.
func (db *DB) Statements() int64 { return db.store.Statements() }

// Close writes what is written behind and closes the database.
func (db *DB) Close() error { return db.store.Close() }

// Begin starts a transaction for EnqueueTx, in which statements of the caller's own on this database can run, too. It
// holds the write lock until it is committed or rolled back: be quick.
func (db *DB) Begin(ctx context.Context) (*sql.Tx, error) {
	tx, err := db.engine.writes.pool.BeginTx(ctx, nil)
	if busy(err) {
		return nil, mdm.Errorf(mdm.Unavailable, "sqlite.Begin", "%w", err)
	}
	return tx, err
}

// EnqueueTx is Enqueue in a transaction of the caller's: the command is queued if and when it commits, together with
// whatever else is in it. The push follows within a second or so.
func (db *DB) EnqueueTx(ctx context.Context, tx *sql.Tx, o command.Order) (command.Receipt, error) {
	return db.store.EnqueueIn(ctx, &foreign{tx}, o)
}

// Script writes the statements that make the schema, for whoever wants to read them before Open runs them.
func Script(w io.Writer) error {
	_, err := io.WriteString(w, sqlstore.Script(dialect))
	return err
}
