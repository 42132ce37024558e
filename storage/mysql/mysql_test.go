package mysql_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	driversql "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
	"github.com/gomdm/applemdm/storage/mysql"
	"github.com/gomdm/applemdm/storage/storagetest"
)

// databases makes one database of the test server for each name.
type databases struct {
	dsn    string
	sealer storage.Sealer
	mu     sync.Mutex
	made   map[string]bool
}

func newDatabases(t testing.TB) *databases {
	sealer, err := storage.NewAESGCM(storage.GenerateKey())
	require.NoError(t, err)
	d := &databases{dsn: dbtest.DSN(t, dbtest.MySQL), sealer: sealer, made: map[string]bool{}}
	t.Cleanup(func() {
		for name := range d.made {
			assert.NoError(t, d.exec("DROP DATABASE "+name))
		}
	})
	return d
}

func (d *databases) exec(statement string) error {
	pool, err := sql.Open("mysql", d.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	_, err = pool.ExecContext(context.Background(), statement)
	return err
}

// of returns the DSN of the database of a test.
func (d *databases) of(t testing.TB, name string) string {
	t.Helper()
	database := dbtest.Name(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.made[database] {
		require.NoError(t, d.exec("CREATE DATABASE "+database))
		d.made[database] = true
	}
	cfg, err := driversql.ParseDSN(d.dsn)
	require.NoError(t, err)
	cfg.DBName = database
	return cfg.FormatDSN()
}

func (d *databases) open(t testing.TB, name string) *mysql.DB {
	t.Helper()
	db, err := mysql.Open(context.Background(), d.of(t, name), &mysql.Config{Sealer: d.sealer})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

func TestConformance(t *testing.T) {
	d := newDatabases(t)
	storagetest.Run(t, storagetest.Config{Open: func(t testing.TB, name string) storage.Stores { return d.open(t, name).Stores() }})
}

func BenchmarkStore(b *testing.B) {
	d := newDatabases(b)
	storagetest.Benchmark(b, func(t testing.TB, name string) storage.Stores { return d.open(t, name).Stores() })
}
