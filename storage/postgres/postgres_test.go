package postgres_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
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

// config makes the schema of a test if it is not there.
func (s *schemas) config(t testing.TB, name string) *pgxpool.Config {
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
	return cfg
}

func (s *schemas) pool(t testing.TB, name string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(context.Background(), s.config(t, name))
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

func TestMain(m *testing.M) {
	dbtest.Main(m, func(dsn string) (storage.Stores, error) {
		db, err := postgres.Open(context.Background(), dsn, &postgres.Config{Sealer: dbtest.Sealer()})
		if err != nil {
			return storage.Stores{}, err
		}
		return db.Stores(), nil
	})
}

func TestKill9(t *testing.T) {
	x := newSchemas(t)
	x.sealer = dbtest.Sealer()
	dbtest.Kill9(t, x.open(t, t.Name()).Stores(), x.of(t, t.Name()))
}

func TestBudget(t *testing.T) {
	db := newSchemas(t).open(t, t.Name())
	dbtest.Budget(t, db.Stores(), db.Statements, 1, 6, 9, 9)
}

// opener opens the test's schema with a clock.
func (x *schemas) opener(t *testing.T) func(clock func() time.Time) storage.Stores {
	return func(clock func() time.Time) storage.Stores {
		db, err := postgres.New(t.Context(), x.pool(t, t.Name()), &postgres.Config{Sealer: x.sealer, Clock: clock})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, db.Close()) })
		return db.Stores()
	}
}

func TestTakeOver(t *testing.T) { dbtest.TakeOver(t, newSchemas(t).opener(t)) }

func TestClockBack(t *testing.T) { dbtest.ClockBack(t, newSchemas(t).opener(t)) }

func TestKilledFanOut(t *testing.T) {
	x := newSchemas(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledFanOut(t, x.of(t, t.Name()), x.opener(t))
}

func TestKilledWave(t *testing.T) {
	x := newSchemas(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledWave(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores())
}

func TestStepBudget(t *testing.T) {
	db := newSchemas(t).open(t, t.Name())
	dbtest.StepBudget(t, db.Stores(), db.Statements, 5, 10)
}

func TestChaos(t *testing.T) {
	x := newSchemas(t)
	x.sealer = dbtest.Sealer()
	dbtest.Chaos(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores(), 1000, 6)
}

func TestKilledAudit(t *testing.T) {
	x := newSchemas(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledAudit(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores())
}

func TestKilledKeep(t *testing.T) {
	x := newSchemas(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledKeep(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores())
}

func TestKeepBudget(t *testing.T) {
	db := newSchemas(t).open(t, t.Name())
	dbtest.KeepBudget(t, db.Stores(), db.Statements, 5, 4, 3)
}

func (x *schemas) schema(t testing.TB) dbtest.Schema {
	dsn := x.of(t, t.Name())
	return dbtest.Schema{
		Open: func(noMigration bool) (dbtest.Store, error) {
			return postgres.Open(context.Background(), dsn, &postgres.Config{Sealer: x.sealer, NoMigration: noMigration})
		},
		Script: postgres.Script,
		Exec:   func(t testing.TB, statement string) { x.in(t, t.Name(), statement) },

		Dialect:    postgres.Dialect,
		DropIndex:  func(name, _ string) string { return "DROP INDEX " + name },
		SetVersion: "DELETE FROM mdm_schema WHERE version > %d",
	}
}

func TestManyMigrateAtOnce(t *testing.T) { newSchemas(t).schema(t).ManyMigrateAtOnce(t) }

func TestUpgrade(t *testing.T) { newSchemas(t).schema(t).Upgrade(t) }

func TestFormerGeneration(t *testing.T) { newSchemas(t).schema(t).FormerGeneration(t) }

func TestNewerSchemaIsRefused(t *testing.T) { newSchemas(t).schema(t).NewerIsRefused(t) }

func TestNoMigration(t *testing.T) { newSchemas(t).schema(t).NoMigration(t) }

func TestSealerIsRequired(t *testing.T) {
	x := newSchemas(t)
	_, err := postgres.Open(t.Context(), x.of(t, t.Name()), nil)
	require.ErrorContains(t, err, "Sealer")
}

func TestEnqueueTxIsOneWithTheCallersChange(t *testing.T) {
	s := newSchemas(t)
	db, pool, ctx := s.open(t, t.Name()), s.pool(t, t.Name()), t.Context()
	id := mdm.EnrollmentID{Device: "D"}
	_, err := dbtest.Enroll(db.Stores(), id)
	require.NoError(t, err)
	for _, commit := range []bool{false, true} {
		tx, err := pool.Begin(ctx)
		require.NoError(t, err)
		_, err = tx.Exec(ctx, "CREATE TABLE vendor_jobs (uuid TEXT)")
		require.NoError(t, err)
		receipt, err := db.EnqueueTx(ctx, tx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
		require.NoError(t, err)
		assert.Equal(t, 1, receipt.Queued)
		if commit {
			require.NoError(t, tx.Commit(ctx))
		} else {
			require.NoError(t, tx.Rollback(ctx))
		}
		n := 0
		for _, err := range db.Stores().Command.Entries(ctx, command.Query{}) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, commit, n == 1)
	}
}

func (s *schemas) of(t testing.TB, name string) string {
	t.Helper()
	s.config(t, name)
	separator := "?"
	if strings.Contains(s.dsn, "?") {
		separator = "&"
	}
	return s.dsn + separator + "search_path=" + dbtest.Name(name)
}

func (s *schemas) in(t testing.TB, name, statement string) {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), s.config(t, name))
	require.NoError(t, err)
	defer pool.Close() // a test of many statements does not hold a connection for each
	_, err = pool.Exec(t.Context(), statement)
	require.NoError(t, err, statement)
}

// explain returns how the database would run a call, whatever its arguments are.
func explain(t *testing.T, c *pgxpool.Conn, call *sqlstore.Call) string {
	_, err := c.Exec(t.Context(), "DEALLOCATE ALL")
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "PREPARE probe AS "+call.Text)
	require.NoError(t, err, call.Text)
	rows, err := c.Query(t.Context(), "EXPLAIN EXECUTE probe("+strings.TrimSuffix(strings.Repeat("NULL,", len(call.Args)), ",")+")", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(plan, "\n") + "\n"
}

// TestStatementsSeek asks the database how it would run what devices' requests need, with tables that are not small: no
// statement may scan one, nor all that a tenant or a server has in one.
func TestStatementsSeek(t *testing.T) {
	s := newSchemas(t)
	s.open(t, t.Name())
	pool := s.pool(t, t.Name())
	c, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer c.Release()
	calls := sqlstore.Statements(postgres.Dialect)
	require.Greater(t, len(calls), 20)
	for _, call := range calls {
		text := explain(t, c, call)
		assert.NotContains(t, text, "Seq Scan", call.Text)
		assert.NotRegexp(t, `Index Cond: \(\(?(tenant|server) = [^ ()]+\)*\n`, text, call.Text)
	}
}

// TestDevicesSeek asks again with a table of two servers, of which one has nearly all: before the database has looked at what is in
// it, and after.
func TestDevicesSeek(t *testing.T) {
	s := newSchemas(t)
	s.open(t, t.Name())
	s.in(t, t.Name(), `INSERT INTO mdm_dep_devices (server, serial, device, gone, due, round, body)
		SELECT CASE WHEN n < 5 THEN 1 ELSE 2 END, 'C' || n, n, 0, CASE WHEN n % 2 = 0 THEN n ELSE 9223372036854775807 END, 1, repeat('x', 500) FROM generate_series(1, 20000) n`)
	c, err := s.pool(t, t.Name()).Acquire(t.Context())
	require.NoError(t, err)
	defer c.Release()
	for _, first := range []string{"SELECT 1", "ANALYZE mdm_dep_devices"} {
		_, err := c.Exec(t.Context(), first)
		require.NoError(t, err)
		asked := 0
		for _, call := range sqlstore.Statements(postgres.Dialect) {
			if !strings.Contains(call.Text, "mdm_dep_devices") {
				continue
			}
			asked++
			plan := explain(t, c, call)
			for _, way := range []string{"Seq Scan", "Sort", "Materialize"} {
				assert.NotContains(t, plan, way, "%s\n%s", first, call.Text)
			}
			assert.NotRegexp(t, `Index Cond: \(\(?server = [^ ()]+\)*\n`, plan, "%s\n%s", first, call.Text)
		}
		assert.Greater(t, asked, 8)
	}
}

func TestOutages(t *testing.T) {
	s := newSchemas(t)
	cfg := s.config(t, t.Name())
	p := dbtest.NewProxy(t, net.JoinHostPort(cfg.ConnConfig.Host, strconv.Itoa(int(cfg.ConnConfig.Port))))
	cfg.ConnConfig.Host, cfg.ConnConfig.Port = "127.0.0.1", uint16(p.Addr().Port)
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	db, err := postgres.New(t.Context(), pool, &postgres.Config{Sealer: s.sealer})
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	dbtest.Outages(t, db.Stores(), p)
}

func ExampleOpen() {
	ctx := context.Background()
	key, err := hex.DecodeString(os.Getenv("MDM_KEY")) // of your secret store
	if err != nil {
		log.Fatal(err)
	}
	sealer, err := storage.NewAESGCM(key)
	if err != nil {
		log.Fatal(err)
	}
	db, err := postgres.Open(ctx, "postgres://mdm@db.example.com/mdm", &postgres.Config{Sealer: sealer})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	receipt, err := db.Stores().Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{},
		To: mdm.Matching(mdm.Filter{States: []mdm.State{mdm.Enrolled}})})
	fmt.Println(receipt.Queued, err)
}

func ExampleScript() {
	var b strings.Builder
	if err := postgres.Script(&b); err != nil {
		fmt.Println(err)
	}
	fmt.Println(strings.Contains(b.String(), "CREATE TABLE mdm_queue"))
	// Output: true
}
