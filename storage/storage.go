// Package storage gathers the interfaces that the packages below ask of a database, so that a server takes one value.
// It holds no database code: storage/memory and storage/sqlite implement it, storage/storagetest proves an
// implementation right.
package storage

import (
	"context"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/event"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/presence"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/push"
)

// Stores is where a server keeps its state: one small interface per concern. A nil field is a feature that is off.
// Take all of them from one database: an event or a push is written in the transaction of the change it tells of, and
// that holds only inside one database.
type Stores struct {
	Checkin checkin.Store // required
	Command command.Store // required

	FanOuts          command.FanOuts // nil if an order is one step, however many it is for
	Escrow           checkin.Escrow
	Roster           checkin.Roster
	Identity         identity.Resolver
	Deny             identity.DenyList
	Inventory        identity.Inventory
	SCEP             scep.Store
	Push             push.Store
	PushCertificates push.CertificateStore
	Events           event.Log
	Vault            Vault
	Watch            Watcher
	Sweep            Sweeper
	Leases           Leases
	Presence         presence.Store
	Expiry           expiry.Store
	Waves            push.Waves
	Sessions         enroll.Sessions
	Runs             workflow.Store
	Audit            audit.Log
	DEP              dep.Store
	Declarations     ddm.Store
}

// Watcher tells of what this handle of a database has committed, so that pushes and events need not wait for the next
// look. It is a hint: what other processes commit is found by looking.
type Watcher interface {
	// Watch calls fn after each commit that left something, until stop is called. fn must return at once.
	Watch(fn func(Change)) (stop func())
}

// Change says what a commit left to be done.
type Change struct {
	Pushes bool // pushes, due now or later
	Events bool
}

// Vault keeps named secrets of the server itself, sealed: a CA key, a token of another service.
type Vault interface {
	// PutSecret stores a secret in place of a former one of that name. A zero Secret deletes it.
	PutSecret(ctx context.Context, name string, s mdm.Secret) error
	// Secret returns a zero Secret and no error if there is none.
	Secret(ctx context.Context, name string) (mdm.Secret, error)
	// CreateSecret stores a secret only if there is none of that name, and returns the one that is stored then. So
	// replicas that start together agree on one.
	CreateSecret(ctx context.Context, name string, s mdm.Secret) (mdm.Secret, error)
}

// Sealer encrypts secrets at rest. The associated data names the row and column, so that sealed values cannot be
// moved. Open tries every key that the Sealer still knows. It is safe for concurrent use.
type Sealer interface {
	Seal(plain, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}
