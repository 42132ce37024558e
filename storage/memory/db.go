// Package memory keeps a server's state in memory. It is the reference implementation of the store contracts: it does
// what they say, in the plainest way, and passes storage/storagetest. It is for tests and for trying things out; what it
// holds is gone with the process.
package memory

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// DB is a store in memory. Make it with New; it is safe for concurrent use. One lock guards everything: each method is a
// transaction that decides first and writes then, so that it happens wholly or not at all. What it is asked to decide
// with (decide, admit) runs under the lock and must not call the store.
type DB struct {
	// Clock dates what no request dates. Nil: time.Now. Set it before the first use.
	Clock func() time.Time

	mu     sync.Mutex
	closed bool

	// enrollments and their certificates
	rows         map[mdm.EnrollmentID]*mdm.Enrollment
	users        map[mdm.EnrollmentID][]mdm.EnrollmentID // user channels by device channel
	authTokens   map[mdm.EnrollmentID][]byte             // hashes
	secrets      map[secretKey]secret
	archive      []archived
	certificates map[certificateKey]*mdm.Certificate
	identities   map[mdm.EnrollmentID]identities // by device channel
	denied       map[denialKey]string
	challenges   map[[sha256.Size]byte]*challenge

	// commands
	orders map[orderKey]*order
	queues map[mdm.EnrollmentID]*queue
	aside  []command.Aside

	// outboxes
	intents   map[mdm.EnrollmentID]*intent
	looks     map[mdm.EnrollmentID]time.Time // when to see whether a device is still there
	waves     map[waveKey]*wave
	events    []mdm.Event // in the order of Seq, without gaps
	dropped   int         // so many events before them were swept
	leases    map[string]lease
	reminders map[credential]expiry.Stage // told last
	consumers map[string]*consumer

	runs     map[string]*workflow.Run
	living   map[mdm.EnrollmentID]map[string]bool // of runs that are not over
	sessions map[string]enroll.Session

	servers map[dep.Key]*depServer

	pushCertificates map[string]push.Certificate
	vault            map[string]mdm.Secret
	audit            map[string][]audit.Entry               // by tenant
	declarations     map[mdm.EnrollmentID]map[string][]byte // by the name of the group

	watchers map[int]func(storage.Change)
	watched  int
	change   storage.Change // what the transaction under way leaves
}

// New returns an empty store.
func New() *DB {
	return &DB{
		rows:             map[mdm.EnrollmentID]*mdm.Enrollment{},
		users:            map[mdm.EnrollmentID][]mdm.EnrollmentID{},
		authTokens:       map[mdm.EnrollmentID][]byte{},
		secrets:          map[secretKey]secret{},
		certificates:     map[certificateKey]*mdm.Certificate{},
		identities:       map[mdm.EnrollmentID]identities{},
		denied:           map[denialKey]string{},
		challenges:       map[[sha256.Size]byte]*challenge{},
		orders:           map[orderKey]*order{},
		queues:           map[mdm.EnrollmentID]*queue{},
		intents:          map[mdm.EnrollmentID]*intent{},
		looks:            map[mdm.EnrollmentID]time.Time{},
		waves:            map[waveKey]*wave{},
		consumers:        map[string]*consumer{},
		sessions:         map[string]enroll.Session{},
		servers:          map[dep.Key]*depServer{},
		pushCertificates: map[string]push.Certificate{},
		vault:            map[string]mdm.Secret{},
		audit:            map[string][]audit.Entry{},
		declarations:     map[mdm.EnrollmentID]map[string][]byte{},
		leases:           map[string]lease{},
		reminders:        map[credential]expiry.Stage{},
		runs:             map[string]*workflow.Run{},
		living:           map[mdm.EnrollmentID]map[string]bool{},
		watchers:         map[int]func(storage.Change){},
	}
}

// Stores returns the store as every interface that a server asks for.
func (db *DB) Stores() storage.Stores {
	return storage.Stores{Checkin: db, Command: db, Escrow: db, Roster: db, Identity: db, Deny: db, Inventory: db, SCEP: db, Push: db,
		PushCertificates: db, Events: db, Vault: db, Watch: db, Sweep: db, Leases: db, Presence: db, Expiry: db, Waves: db,
		Sessions: db, Runs: db, Audit: auditLog{db}, DEP: db, Declarations: db}
}

// Close makes every later call fail with an Unavailable error. It always returns nil.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed = true
	return nil
}

// Watch implements [storage.Watcher].
func (db *DB) Watch(fn func(storage.Change)) (stop func()) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.watched++
	n := db.watched
	db.watchers[n] = fn
	return func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		delete(db.watchers, n)
	}
}

// tx runs f under the lock and tells the watchers what it left. An f that returns an error has changed nothing, or what
// its contract says is written with that error.
func (db *DB) tx(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	change, watchers, err := db.locked(f)
	for _, fn := range watchers {
		fn(change)
	}
	return err
}

// locked releases the lock even if f panics.
func (db *DB) locked(f func() error) (storage.Change, []func(storage.Change), error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return storage.Change{}, nil, mdm.Errorf(mdm.Unavailable, "memory", "the store is closed")
	}
	db.change = storage.Change{}
	err := f()
	var watchers []func(storage.Change)
	if db.change != (storage.Change{}) {
		for _, fn := range db.watchers {
			watchers = append(watchers, fn)
		}
	}
	return db.change, watchers, err
}

func (db *DB) now() time.Time {
	if db.Clock != nil {
		return db.Clock()
	}
	return time.Now()
}
