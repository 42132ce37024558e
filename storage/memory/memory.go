// Package memory keeps a server's state in memory. It is the reference implementation of the store contracts: it does
// what they say, in the plainest way, and passes storage/storagetest. It is for tests and for trying things out; what it
// holds is gone with the process.
package memory

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// DB is a store in memory. Make it with New; it is safe for concurrent use. One lock guards everything: each method is
// a transaction, decides first and changes then, so that it happens wholly or not at all.
type DB struct {
	mu sync.Mutex

	enrollments  map[mdm.EnrollmentID]*mdm.Enrollment
	authTokens   map[mdm.EnrollmentID][]byte
	certificates map[certKey]*mdm.Certificate
	bound        map[mdm.EnrollmentID]*binding // by device channel
	denied       map[denialKey]string
	secrets      map[mdm.EnrollmentID]*secrets // by device channel
	archive      []archived

	bodies map[bodyKey]*body
	queues map[mdm.EnrollmentID]*queue
	aside  []asideReport

	intents   map[mdm.EnrollmentID]*intent
	pushCerts map[string]push.Certificate

	events    []mdm.Event
	consumers map[string]*consumer

	challenges map[[sha256.Size]byte]*challenge
	vault      map[string]mdm.Secret

	watchers map[int]func(storage.Change)
	watched  int
	changed  storage.Change // what the transaction under way leaves
}

type (
	certKey struct {
		tenant string
		fp     mdm.Fingerprint
	}
	denialKey struct {
		tenant, device string
		fp             mdm.Fingerprint
	}
	binding struct{ active, pending *mdm.Certificate }
	secrets struct{ unlock, bootstrap mdm.Secret }

	// archived is a secret of an earlier generation, or one that was replaced.
	archived struct {
		device  mdm.EnrollmentID
		subject string
		secret  mdm.Secret
	}
	challenge struct {
		scep.Challenge
		key, spent [sha256.Size]byte
		der        []byte
	}
)

// New returns an empty store.
func New() *DB {
	return &DB{
		enrollments:  map[mdm.EnrollmentID]*mdm.Enrollment{},
		authTokens:   map[mdm.EnrollmentID][]byte{},
		certificates: map[certKey]*mdm.Certificate{},
		bound:        map[mdm.EnrollmentID]*binding{},
		denied:       map[denialKey]string{},
		secrets:      map[mdm.EnrollmentID]*secrets{},
		bodies:       map[bodyKey]*body{},
		queues:       map[mdm.EnrollmentID]*queue{},
		intents:      map[mdm.EnrollmentID]*intent{},
		pushCerts:    map[string]push.Certificate{},
		consumers:    map[string]*consumer{},
		challenges:   map[[sha256.Size]byte]*challenge{},
		vault:        map[string]mdm.Secret{},
		watchers:     map[int]func(storage.Change){},
	}
}

// Stores returns the store as every interface that a server asks for.
func (db *DB) Stores() storage.Stores {
	return storage.Stores{Checkin: db, Command: db, Escrow: db, Roster: db, Identity: db, Deny: db, SCEP: db, Push: db,
		PushCertificates: db, Events: db, Vault: db, Watch: db}
}

// tx runs f under the lock, unless ctx has ended, and tells watchers what it left.
func (db *DB) tx(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	db.changed = storage.Change{}
	err := f()
	changed := db.changed
	var tell []func(storage.Change)
	if changed != (storage.Change{}) {
		for _, fn := range db.watchers {
			tell = append(tell, fn)
		}
	}
	db.mu.Unlock()
	for _, fn := range tell {
		fn(changed)
	}
	return err
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

// PutSecret implements [storage.Vault].
func (db *DB) PutSecret(ctx context.Context, name string, s mdm.Secret) error {
	return db.tx(ctx, func() error {
		if s.IsZero() {
			delete(db.vault, name)
		} else {
			db.vault[name] = s
		}
		return nil
	})
}

// Secret implements [storage.Vault].
func (db *DB) Secret(ctx context.Context, name string) (s mdm.Secret, err error) {
	err = db.tx(ctx, func() error { s = db.vault[name]; return nil })
	return s, err
}

// CreateSecret implements [storage.Vault].
func (db *DB) CreateSecret(ctx context.Context, name string, s mdm.Secret) (stored mdm.Secret, err error) {
	err = db.tx(ctx, func() error {
		if _, found := db.vault[name]; !found && !s.IsZero() {
			db.vault[name] = s
		}
		stored = db.vault[name]
		return nil
	})
	return stored, err
}
