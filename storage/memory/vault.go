package memory

import (
	"context"

	"github.com/gomdm/applemdm/mdm"
)

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
