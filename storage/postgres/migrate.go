package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

const versionTable = "CREATE TABLE IF NOT EXISTS mdm_schema (version BIGINT NOT NULL)"

// lockNumber is the advisory lock that one migration at a time holds.
const lockNumber = 0x6d646d_736368

// version returns the version of the schema, 0 if there is none.
func (db *DB) version(ctx context.Context) (version int, err error) {
	var there bool
	if err := db.pool.QueryRow(ctx, "SELECT to_regclass('mdm_schema') IS NOT NULL").Scan(&there); err != nil || !there {
		return 0, err
	}
	err = db.pool.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0) FROM mdm_schema").Scan(&version)
	return version, err
}

// Migrate brings the schema up to date, in one transaction and under a lock: servers that start together wait for the one
// that does it, and one that is killed in the middle leaves nothing. It refuses a schema that is newer than this library.
// Stop the servers of the version before: they do not know the new schema, and what they write meanwhile may be lost.
func (db *DB) Migrate(ctx context.Context) error {
	all := sqlstore.Migrations(dialect)
	if version, err := db.version(ctx); err != nil || version == len(all) {
		return err
	}
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lockNumber); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, versionTable); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0) FROM mdm_schema").Scan(&version); err != nil {
			return err
		}
		if version > len(all) {
			return fmt.Errorf("the database has version %d, this library knows %d: it was made by a newer one", version, len(all))
		}
		for ; version < len(all); version++ {
			for _, statement := range all[version] {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return fmt.Errorf("migration %d: %w", version+1, err)
				}
			}
			if _, err := tx.Exec(ctx, "INSERT INTO mdm_schema (version) VALUES ($1)", version+1); err != nil {
				return err
			}
		}
		return nil
	})
}
