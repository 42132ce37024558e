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
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
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
	cfg    Config
	reads  *reader
	writes *writer
	count  atomic.Int64 // statements run

	seen    seen
	stop    chan struct{}
	stopped sync.WaitGroup
	closed  sync.Once

	watch watchers
}

// Open opens the database at path, and makes it if it is not there. It brings an older schema up to date; one that is
// newer than this library is refused.
func Open(ctx context.Context, path string, cfg *Config) (*DB, error) {
	db := &DB{stop: make(chan struct{})}
	if cfg != nil {
		db.cfg = *cfg
	}
	if db.cfg.Clock == nil {
		db.cfg.Clock = time.Now
	}
	if db.cfg.SeenInterval <= 0 {
		db.cfg.SeenInterval = 10 * time.Second
	}
	if db.cfg.Sealer == nil {
		sealer, err := keyFile(path + ".key")
		if err != nil {
			return nil, err
		}
		db.cfg.Sealer = sealer
	}
	if err := db.open(ctx, path); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), db.Close())
	}
	db.stopped.Go(db.flushSeen)
	return db, nil
}

// pragmas hold for every connection: a write waits for other processes, and a commit is on the disk when it returns.
const pragmas = "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"

func (db *DB) open(ctx context.Context, path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	name := (&url.URL{Scheme: "file", Path: absolute, RawQuery: pragmas}).String()
	writes, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	writes.SetMaxOpenConns(2) // one is the writer's for good, one is for EnqueueTx
	db.writes = &writer{db: db, pool: writes, turn: make(chan struct{}, 1)}
	if err := db.prepare(ctx); err != nil {
		return err
	}
	reads, err := sql.Open("sqlite", name+"&_pragma=query_only(1)")
	if err != nil {
		return err
	}
	reads.SetMaxOpenConns(max(4, runtime.NumCPU()))
	reads.SetMaxIdleConns(max(4, runtime.NumCPU()))
	db.reads = &reader{db: db, pool: reads}
	return os.Chmod(absolute, 0o600)
}

// openTime is how long Open waits for other processes that make or change the schema.
const openTime = 10 * time.Second

// prepare connects the writer and brings the schema up to date. Turning a new file into one with a write-ahead log takes a
// lock that SQLite does not wait for, so it is tried again while others do it.
func (db *DB) prepare(ctx context.Context) error {
	deadline := time.Now().Add(openTime)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := db.writes.connect(ctx)
		if err == nil {
			err = db.migrate(ctx)
		}
		if err == nil || mdm.CodeOf(failed(err)) != mdm.Unavailable || time.Now().After(deadline) {
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
func (db *DB) Stores() storage.Stores {
	return storage.Stores{Checkin: db, Command: db, Escrow: db, Roster: db, Identity: db, Deny: db, SCEP: db, Push: db,
		PushCertificates: db, Events: db, Vault: db, Watch: &db.watch}
}

// Statements returns how many statements this handle has run, BEGIN and COMMIT left out. It is for benchmarks.
func (db *DB) Statements() int64 { return db.count.Load() }

// Close writes what is written behind and closes the database.
func (db *DB) Close() error {
	var err error
	db.closed.Do(func() {
		close(db.stop)
		db.stopped.Wait()
		if db.writes != nil && db.reads != nil {
			err = db.writeSeen(context.Background())
		}
		if db.reads != nil {
			err = errors.Join(err, db.reads.pool.Close())
		}
		if db.writes != nil {
			err = errors.Join(err, db.writes.close())
		}
	})
	return err
}

func (db *DB) now() time.Time { return db.cfg.Clock() }

// micros is a time as it is stored; 0 is no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func notFound(op string, id mdm.EnrollmentID) error {
	return &mdm.Error{Code: mdm.NotFound, Op: op, Enrollment: id}
}

// watchers are told of commits.
type watchers struct {
	mu   sync.Mutex
	next int
	fns  map[int]func(storage.Change)
}

// Watch implements [storage.Watcher].
func (w *watchers) Watch(fn func(storage.Change)) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fns == nil {
		w.fns = map[int]func(storage.Change){}
	}
	w.next++
	n := w.next
	w.fns[n] = fn
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.fns, n)
	}
}

func (w *watchers) tell(c storage.Change) {
	if c == (storage.Change{}) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fn := range w.fns {
		fn(c)
	}
}
