package sqlite

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the statements that make the schema, oldest first, for whoever wants to read them before Open runs
// them.
func Migrations() []string {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant
	}
	slices.Sort(names)
	var out []string
	for _, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			panic(err) // compiled in
		}
		out = append(out, string(text))
	}
	return out
}

// migrate brings the schema up to date, one transaction for each step, under the lock that keeps other processes out.
func (db *DB) migrate(ctx context.Context) error {
	all := Migrations()
	for {
		done := false
		err := db.update(ctx, func(t *tx) error {
			var version int
			if err := t.w.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
				return err
			}
			if version > len(all) {
				return fmt.Errorf("the database has version %d, this library knows %d: it was made by a newer one", version, len(all))
			}
			if done = version == len(all); done {
				return nil
			}
			if _, err := t.w.conn.ExecContext(ctx, all[version]); err != nil {
				return fmt.Errorf("migration %d: %w", version+1, err)
			}
			_, err := t.w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1))
			return err
		})
		if err != nil || done {
			return err
		}
	}
}
