package postgres_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
	"github.com/gomdm/applemdm/storage/postgres"
	"github.com/gomdm/applemdm/storage/storagetest"
)

// schemas makes one schema of the test database for each name.
type schemas struct {
	dsn    string
	sealer storage.Sealer
	mu     sync.Mutex
	made   map[string]bool
}

func newSchemas(t testing.TB) *schemas {
	sealer, err := storage.NewAESGCM(storage.GenerateKey())
	require.NoError(t, err)
	s := &schemas{dsn: dbtest.DSN(t, dbtest.Postgres), sealer: sealer, made: map[string]bool{}}
	t.Cleanup(func() {
		for name := range s.made {
			assert.NoError(t, s.exec("DROP SCHEMA "+name+" CASCADE"))
		}
	})
	return s
}

func (s *schemas) exec(statement string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, statement)
	return err
}

func (s *schemas) pool(t testing.TB, name string) *pgxpool.Pool {
	t.Helper()
	schema := dbtest.Name(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.made[schema] {
		require.NoError(t, s.exec("CREATE SCHEMA "+schema))
		s.made[schema] = true
	}
	cfg, err := pgxpool.ParseConfig(s.dsn)
	require.NoError(t, err)
	cfg.ConnConfig.RuntimeParams["search_path"] = schema
	postgres.Configure(cfg)
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func (s *schemas) open(t testing.TB, name string) *postgres.DB {
	t.Helper()
	db, err := postgres.New(context.Background(), s.pool(t, name), &postgres.Config{Sealer: s.sealer})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

func TestConformance(t *testing.T) {
	s := newSchemas(t)
	storagetest.Run(t, storagetest.Config{Open: func(t testing.TB, name string) storage.Stores { return s.open(t, name).Stores() }})
}

func BenchmarkStore(b *testing.B) {
	s := newSchemas(b)
	storagetest.Benchmark(b, func(t testing.TB, name string) storage.Stores { return s.open(t, name).Stores() })
}
