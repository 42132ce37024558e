package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

// The database commits after each change of a schema, so the steps of a version are counted: a migration that was cut off
// goes on with the statement that it had not finished.
const versionTable = "CREATE TABLE IF NOT EXISTS mdm_schema (version BIGINT NOT NULL, step BIGINT NOT NULL)"

// lockWait is how long a migration waits for another one, in seconds.
const lockWait = 600

// version returns the version of the schema, 0 if there is none.
func (db *DB) version(ctx context.Context) (version int, err error) {
	var there int
	err = db.pool.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'mdm_schema'").Scan(&there)
	if err != nil || there == 0 {
		return 0, err
	}
	err = db.pool.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM mdm_schema").Scan(&version)
	return version, err
}

// Migrate brings the schema up to date, under a lock: servers that start together wait for the one that does it. One that
// was killed in the middle is taken up. It refuses a schema that is newer than this library. Stop the servers of the version
// before: they do not know the new schema, and what they write meanwhile may be lost.
func (db *DB) Migrate(ctx context.Context) (err error) {
	all := sqlstore.Migrations(dialect)
	if version, err := db.version(ctx); err != nil || version == len(all) {
		return err
	}
	c, err := db.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var locked sql.NullInt64
	if err := c.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('mdm_schema ', MD5(DATABASE())), ?)", lockWait).Scan(&locked); err != nil {
		return err
	}
	if locked.Int64 != 1 {
		return errors.New("another migration does not end")
	}
	defer func() {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(CONCAT('mdm_schema ', MD5(DATABASE())))")
	}()
	if _, err := c.ExecContext(ctx, versionTable); err != nil {
		return err
	}
	var version, step int
	err = c.QueryRowContext(ctx, "SELECT version, step FROM mdm_schema").Scan(&version, &step)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = c.ExecContext(ctx, "INSERT INTO mdm_schema (version, step) VALUES (0, 0)")
	}
	if err != nil {
		return err
	}
	if version > len(all) {
		return fmt.Errorf("the database has version %d, this library knows %d: it was made by a newer one", version, len(all))
	}
	for ; version < len(all); version, step = version+1, 0 {
		for ; step < len(all[version]); step++ {
			if err := statement(ctx, c, all[version][step]); err != nil {
				return fmt.Errorf("migration %d, statement %d: %w", version+1, step+1, err)
			}
			if _, err := c.ExecContext(ctx, "UPDATE mdm_schema SET step = ?", step+1); err != nil {
				return err
			}
		}
		if _, err := c.ExecContext(ctx, "UPDATE mdm_schema SET version = ?, step = 0", version+1); err != nil {
			return err
		}
	}
	return nil
}

// statement runs one. It may have run before, and only its count was lost: then what it makes is there.
func statement(ctx context.Context, c *sql.Conn, text string) error {
	_, err := c.ExecContext(ctx, text)
	if isDone(err) || isRenamed(text, err) {
		return nil
	}
	return err
}

// isDone reports whether err says that a table, column or index to be made exists, or that one to be dropped does not.
func isDone(err error) bool {
	e, ok := errors.AsType[*driversql.MySQLError](err)
	return ok && (e.Number == 1050 || e.Number == 1060 || e.Number == 1061 || e.Number == 1091)
}

// isRenamed reports whether err says that a table to be renamed has its new name.
func isRenamed(text string, err error) bool {
	e, ok := errors.AsType[*driversql.MySQLError](err)
	return ok && e.Number == 1146 && strings.Contains(text, " RENAME TO ")
}
