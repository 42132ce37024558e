package sqlstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
)

// Config has the choices of a store that do not depend on its database.
type Config struct {
	Sealer       storage.Sealer   // required
	SeenInterval time.Duration    // how often LastSeenAt is written; 0: 10 s
	Clock        func() time.Time // nil: time.Now
	Writers      int              // transactions of devices' requests at once, at most; 0: one
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	cfg     Config
	engine  Engine
	dialect *Dialect
	count   atomic.Int64 // statements run
	places  places

	visits  group[*visit]
	glances group[*glance]

	seen    seen
	stop    chan struct{}
	stopped sync.WaitGroup
	closed  sync.Once
	err     error // of Close

	watch watchers
}

// Most that one transaction, and one statement, are shared by. More would make the first wait for the last.
const (
	mostVisits  = 64
	mostGlances = 64
)

// New returns the store in the database of an engine, whose schema is up to date.
func New(engine Engine, cfg Config) *DB {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.SeenInterval <= 0 {
		cfg.SeenInterval = 10 * time.Second
	}
	db := &DB{cfg: cfg, engine: engine, dialect: engine.Dialect(), stop: make(chan struct{})}
	db.visits = group[*visit]{run: db.serve, most: mostVisits, workers: max(1, cfg.Writers),
		key: func(v *visit) string { return v.key.Tenant + "\x00" + v.key.Device }}
	db.glances = group[*glance]{run: db.glimpse, most: mostGlances, workers: max(2, cfg.Writers),
		key: func(g *glance) string { return g.id.Tenant + "\x00" + g.id.Device + "\x00" + g.id.User }}
	db.stopped.Go(db.flushSeen)
	return db
}

// Stores returns the store as every interface that a server asks for.
func (db *DB) Stores() storage.Stores {
	return storage.Stores{Checkin: db, Command: db, FanOuts: db, Escrow: db, Roster: db, Identity: db, Deny: db, Inventory: db, SCEP: db, Push: db,
		PushCertificates: db, Events: db, Vault: db, Watch: &db.watch, Sweep: db, Leases: db, Presence: db, Expiry: db, Waves: db,
		Sessions: db, Runs: db, Audit: auditLog{db}, DEP: db, Declarations: db}
}

// Statements returns how many statements this handle has run, BEGIN and COMMIT left out. It is for benchmarks.
func (db *DB) Statements() int64 { return db.count.Load() }

// Close writes what is written behind and closes the engine.
func (db *DB) Close() error {
	db.closed.Do(func() {
		close(db.stop)
		db.stopped.Wait()
		_ = db.writeSeen(context.Background()) // a bounded loss, as after a crash
		db.err = db.engine.Close()
	})
	return db.err
}

func (db *DB) now() time.Time { return db.cfg.Clock() }

func (db *DB) op(name string) string { return db.dialect.Name + "." + name }

func notFound(op string, id mdm.EnrollmentID) error {
	return &mdm.Error{Code: mdm.NotFound, Op: op, Enrollment: id}
}

// pageSize is how many rows a stream reads at once. Between pages no connection is held.
const pageSize = 500

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
