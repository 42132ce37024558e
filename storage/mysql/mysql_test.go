package mysql_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	driversql "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
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

func TestMain(m *testing.M) {
	dbtest.Main(m, func(dsn string) (storage.Stores, error) {
		db, err := mysql.Open(context.Background(), dsn, &mysql.Config{Sealer: dbtest.Sealer()})
		if err != nil {
			return storage.Stores{}, err
		}
		return db.Stores(), nil
	})
}

func TestKill9(t *testing.T) {
	x := newDatabases(t)
	x.sealer = dbtest.Sealer()
	dbtest.Kill9(t, x.open(t, t.Name()).Stores(), x.of(t, t.Name()))
}

func TestBudget(t *testing.T) {
	db := newDatabases(t).open(t, t.Name())
	dbtest.Budget(t, db.Stores(), db.Statements, 1, 6, 9, 9)
}

// opener opens the test's database with a clock.
func (x *databases) opener(t *testing.T) func(clock func() time.Time) storage.Stores {
	return func(clock func() time.Time) storage.Stores {
		db, err := mysql.Open(t.Context(), x.of(t, t.Name()), &mysql.Config{Sealer: x.sealer, Clock: clock})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, db.Close()) })
		return db.Stores()
	}
}

func TestTakeOver(t *testing.T) { dbtest.TakeOver(t, newDatabases(t).opener(t)) }

func TestClockBack(t *testing.T) { dbtest.ClockBack(t, newDatabases(t).opener(t)) }

func TestKilledFanOut(t *testing.T) {
	x := newDatabases(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledFanOut(t, x.of(t, t.Name()), x.opener(t))
}

func TestKilledWave(t *testing.T) {
	x := newDatabases(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledWave(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores())
}

func TestChaos(t *testing.T) {
	x := newDatabases(t)
	x.sealer = dbtest.Sealer()
	dbtest.Chaos(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores(), 100, 3)
}

func TestKilledAudit(t *testing.T) {
	x := newDatabases(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledAudit(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores())
}

func TestKilledKeep(t *testing.T) {
	x := newDatabases(t)
	x.sealer = dbtest.Sealer()
	dbtest.KilledKeep(t, x.of(t, t.Name()), x.open(t, t.Name()).Stores())
}

func TestKeepBudget(t *testing.T) {
	db := newDatabases(t).open(t, t.Name())
	dbtest.KeepBudget(t, db.Stores(), db.Statements, 6, 5, 4)
}

func (x *databases) schema(t testing.TB) dbtest.Schema {
	dsn := x.of(t, t.Name())
	return dbtest.Schema{
		Open: func(noMigration bool) (dbtest.Store, error) {
			return mysql.Open(context.Background(), dsn, &mysql.Config{Sealer: x.sealer, NoMigration: noMigration})
		},
		Script: mysql.Script,
		Exec:   func(t testing.TB, statement string) { x.in(t, t.Name(), statement) },

		Dialect:    mysql.Dialect,
		DropIndex:  func(name, table string) string { return "DROP INDEX " + name + " ON " + table },
		SetVersion: "UPDATE mdm_schema SET version = %d",
	}
}

func TestManyMigrateAtOnce(t *testing.T) { newDatabases(t).schema(t).ManyMigrateAtOnce(t) }

func TestUpgrade(t *testing.T) { newDatabases(t).schema(t).Upgrade(t) }

func TestFormerGeneration(t *testing.T) { newDatabases(t).schema(t).FormerGeneration(t) }

func TestNewerSchemaIsRefused(t *testing.T) { newDatabases(t).schema(t).NewerIsRefused(t) }

func TestNoMigration(t *testing.T) { newDatabases(t).schema(t).NoMigration(t) }

func TestSealerIsRequired(t *testing.T) {
	x := newDatabases(t)
	_, err := mysql.Open(t.Context(), x.of(t, t.Name()), nil)
	require.ErrorContains(t, err, "Sealer")
}

func TestEnqueueTxIsOneWithTheCallersChange(t *testing.T) {
	d := newDatabases(t)
	db, ctx := d.open(t, t.Name()), t.Context()
	pool, err := sql.Open("mysql", d.of(t, t.Name()))
	require.NoError(t, err)
	defer pool.Close()
	id := mdm.EnrollmentID{Device: "D"}
	_, err = dbtest.Enroll(db.Stores(), id)
	require.NoError(t, err)
	for _, commit := range []bool{false, true} {
		tx, err := pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		require.NoError(t, err)
		receipt, err := db.EnqueueTx(ctx, tx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
		require.NoError(t, err)
		assert.Equal(t, 1, receipt.Queued)
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
		n := 0
		for _, err := range db.Stores().Command.Entries(ctx, command.Query{}) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, commit, n == 1)
	}
}

// TestMigrationIsTakenUp cuts a migration off between a statement and its count.
func TestMigrationIsTakenUp(t *testing.T) {
	d := newDatabases(t)
	require.NoError(t, d.open(t, t.Name()).Close())
	d.in(t, t.Name(), "UPDATE mdm_schema SET version = 0, step = 5")
	d.in(t, t.Name(), "DROP TABLE mdm_vault")
	_, err := dbtest.Enroll(d.open(t, t.Name()).Stores(), mdm.EnrollmentID{Device: "D"})
	require.NoError(t, err)
}

func (d *databases) in(t testing.TB, name, statement string) {
	t.Helper()
	pool, err := sql.Open("mysql", d.of(t, name))
	require.NoError(t, err)
	defer func() { _ = pool.Close() }()
	_, err = pool.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

// TestStatementsSeek asks the database how it would run what devices' requests need, with tables that are not small: no
// statement may scan one.
func TestStatementsSeek(t *testing.T) {
	d := newDatabases(t)
	db := d.open(t, t.Name())
	var ids []mdm.EnrollmentID
	for i := range 200 { // the planner scans tables of a few rows whatever it is told
		id := mdm.EnrollmentID{Device: fmt.Sprint("device-", i)}
		_, err := dbtest.Enroll(db.Stores(), id)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	for range 3 {
		_, err := db.Stores().Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(ids...)})
		require.NoError(t, err)
	}
	cfg, err := driversql.ParseDSN(d.of(t, t.Name()))
	require.NoError(t, err)
	mysql.Configure(cfg)
	pool, err := sql.Open("mysql", cfg.FormatDSN())
	require.NoError(t, err)
	defer pool.Close()
	for _, table := range []string{"enrollments", "certificates", "queue", "commands", "pushes", "events"} {
		_, err := pool.ExecContext(t.Context(), "ANALYZE TABLE mdm_"+table)
		require.NoError(t, err)
	}
	calls := sqlstore.Statements(mysql.Dialect)
	require.Greater(t, len(calls), 20)
	for _, call := range calls {
		rows, err := pool.QueryContext(t.Context(), "EXPLAIN "+call.Text, call.Args...)
		require.NoError(t, err, call.Text)
		for rows.Next() {
			var id, selectType, table, kind, possible, key, length, ref, estimate, extra sql.NullString
			require.NoError(t, rows.Scan(&id, &selectType, &table, &kind, &possible, &key, &length, &ref, &estimate, &extra))
			if strings.HasPrefix(selectType.String, "INSERT") || strings.HasPrefix(table.String, "<") {
				continue // the row that is written; what a part of the statement made
			}
			assert.False(t, kind.String == "ALL" || kind.String == "index", "%s of %s in\n%s", kind.String, table.String, call.Text)
		}
		require.NoError(t, rows.Err())
	}
}

func TestOutages(t *testing.T) {
	d := newDatabases(t)
	cfg, err := driversql.ParseDSN(d.of(t, t.Name()))
	require.NoError(t, err)
	p := dbtest.NewProxy(t, cfg.Addr)
	cfg.Net, cfg.Addr, cfg.Logger = "tcp", p.Addr().String(), &driversql.NopLogger{}
	mysql.Configure(cfg)
	connector, err := driversql.NewConnector(cfg)
	require.NoError(t, err)
	pool := sql.OpenDB(connector)
	defer pool.Close()
	db, err := mysql.New(t.Context(), pool, &mysql.Config{Sealer: d.sealer})
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
	db, err := mysql.Open(ctx, "mdm:password@tcp(db.example.com)/mdm", &mysql.Config{Sealer: sealer})
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
	if err := mysql.Script(&b); err != nil {
		fmt.Println(err)
	}
	fmt.Println(strings.Contains(b.String(), "CREATE TABLE mdm_queue"))
	// Output: true
}
