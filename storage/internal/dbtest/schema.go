package dbtest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

// Schema is the empty database of one test, on a server.
type Schema struct {
	Open   func(noMigration bool) (Store, error)
	Script func(io.Writer) error        // prints the migrations
	Exec   func(t testing.TB, s string) // runs a statement in the database

	Dialect    *sqlstore.Dialect
	DropIndex  func(name, table string) string
	SetVersion string // %d is the version
}

// Store is what the stores of database servers have in common.
type Store interface {
	Stores() storage.Stores
	Close() error
}

// ManyMigrateAtOnce opens the database from many places at once.
func (s Schema) ManyMigrateAtOnce(t *testing.T) {
	var opening sync.WaitGroup
	for range 8 {
		opening.Go(func() {
			db, err := s.Open(false)
			if assert.NoError(t, err) {
				assert.NoError(t, db.Close())
			}
		})
	}
	opening.Wait()
}

// NewerIsRefused pretends that a later version of the library made the schema.
func (s Schema) NewerIsRefused(t *testing.T) {
	db, err := s.Open(false)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	s.Exec(t, "UPDATE mdm_schema SET version = 1000")
	_, err = s.Open(false)
	require.ErrorContains(t, err, "newer")
}

// NoMigration makes the schema by the printed statements.
func (s Schema) NoMigration(t *testing.T) {
	_, err := s.Open(true)
	require.ErrorContains(t, err, "version 0")
	var script strings.Builder
	require.NoError(t, s.Script(&script))
	for _, statement := range strings.Split(script.String(), ";\n") {
		if strings.TrimSpace(statement) != "" {
			s.Exec(t, statement)
		}
	}
	db, err := s.Open(true)
	require.NoError(t, err, "the printed statements make the same schema")
	_, err = Enroll(db.Stores(), mdm.EnrollmentID{Device: "D"})
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// Sealer seals with a key that every process of a test knows.
func Sealer() storage.Sealer {
	sealer, err := storage.NewAESGCM(make([]byte, storage.KeySize))
	if err != nil {
		panic(err)
	}
	return sealer
}

// FormerGeneration puts a command of a former generation on a queue, as an order does that is written while the generation
// ends: the device is not offered it.
func (s Schema) FormerGeneration(t *testing.T) {
	db, err := s.Open(false)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	stores, id := db.Stores(), mdm.EnrollmentID{Device: "D"}
	fp, err := Enroll(stores, id)
	require.NoError(t, err)
	for _, uuid := range []string{"former", "present"} {
		_, err = stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, UUID: uuid, To: mdm.IDs(id)})
		require.NoError(t, err)
		if uuid == "former" {
			s.Exec(t, "UPDATE mdm_queue SET generation = generation - 1")
		}
	}
	offer, err := Report(stores, id, fp, command.StatusIdle, "")
	require.NoError(t, err)
	require.NotNil(t, offer)
	assert.Equal(t, "present", offer.UUID)
	for e, err := range stores.Command.Entries(t.Context(), command.Query{UUID: "former"}) {
		require.NoError(t, err)
		assert.Equal(t, command.Canceled, e.State)
		assert.NotEmpty(t, e.Note)
	}
}

// made returns the statement of a migration that begins as given.
func (s Schema) made(version int, begins string) string {
	for _, statement := range sqlstore.Migrations(s.Dialect)[version-1] {
		if strings.HasPrefix(statement, begins) {
			return statement
		}
	}
	return "migration " + fmt.Sprint(version) + " has no " + begins
}

// as makes a table anew as a version made it, with what is in it.
func (s Schema) as(version int, table string) []string {
	return []string{"ALTER TABLE " + table + " RENAME TO " + table + "_new", s.made(version, "CREATE TABLE "+table+" ("),
		"INSERT INTO " + table + " SELECT * FROM " + table + "_new", "DROP TABLE " + table + "_new"}
}

// back returns what undoes the migration to version 2, the one to version 3, and so on.
func (s Schema) back() [][]string {
	return [][]string{
		{"DROP TABLE mdm_fanouts", "DROP TABLE mdm_fanout_parts", "DROP TABLE mdm_leases", s.DropIndex("mdm_history_finished", "mdm_history"),
			s.DropIndex("mdm_asides_at", "mdm_asides"), s.DropIndex("mdm_challenges_expires", "mdm_challenges")},
		slices.Concat(
			[]string{s.DropIndex("mdm_certificates_device", "mdm_certificates")}, s.as(1, "mdm_certificates"), []string{s.made(1, "CREATE INDEX mdm_certificates_device")},
			[]string{s.DropIndex("mdm_history_command", "mdm_history"), s.DropIndex("mdm_history_finished", "mdm_history")}, s.as(1, "mdm_history"),
			[]string{s.made(1, "CREATE UNIQUE INDEX mdm_history_command"), s.made(2, "CREATE INDEX mdm_history_finished"),
				s.DropIndex("mdm_enrollments_serials", "mdm_enrollments"), s.made(1, "CREATE INDEX mdm_enrollments_serial"),
				"ALTER TABLE mdm_enrollments ADD COLUMN next_seq INTEGER NOT NULL DEFAULT 0", "ALTER TABLE mdm_fanouts DROP COLUMN endings", "ALTER TABLE mdm_fanouts DROP COLUMN done_row", "ALTER TABLE mdm_fanouts DROP COLUMN shared"}),
		slices.Concat([]string{"DROP TABLE mdm_waves", "DROP TABLE mdm_reminders", s.DropIndex("mdm_enrollments_look", "mdm_enrollments"), s.DropIndex("mdm_enrollments_presence", "mdm_enrollments")},
			drop("mdm_enrollments", "presence", "presence_at", "look_at"),
			drop("mdm_pushes", "rest", "settled_at", "outcome", "status", "reason", "apns_id", "delivered_at", "failures")),
		{"DROP TABLE mdm_sessions"},
		{"DROP TABLE mdm_runs"},
		{"DROP TABLE mdm_audit", "DROP TABLE mdm_audit_heads"},
		{"DROP TABLE mdm_dep_servers", "DROP TABLE mdm_dep_devices"},
		{"DROP TABLE mdm_declarations"},
	}
}

func drop(table string, columns ...string) (out []string) {
	for _, c := range columns {
		out = append(out, "ALTER TABLE "+table+" DROP COLUMN "+c)
	}
	return out
}

// Upgrade takes a database with data back to the schema of each earlier version, and opens it again: nothing is lost.
func (s Schema) Upgrade(t *testing.T) {
	back := s.back()
	require.Len(t, sqlstore.Migrations(s.Dialect), len(back)+1, "each migration has its way back")
	for version := range back {
		s.upgrade(t, back[version:], version+1)
	}
}

func (s Schema) upgrade(t *testing.T, back [][]string, version int) {
	id := mdm.EnrollmentID{Device: "D"}
	ctx := t.Context()
	db, err := s.Open(false)
	require.NoError(t, err)
	stores := db.Stores()
	fp, err := Enroll(stores, id)
	require.NoError(t, err)
	enqueue := func() string {
		receipt, err := stores.Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Queued)
		return receipt.UUID
	}
	answer := func(want string) {
		offer, err := Report(stores, id, fp, command.StatusIdle, "")
		require.NoError(t, err)
		require.NotNil(t, offer)
		assert.Equal(t, want, offer.UUID)
		_, err = Report(stores, id, fp, command.StatusAcknowledged, offer.UUID)
		require.NoError(t, err)
	}
	finished := enqueue()
	answer(finished)
	open := enqueue()
	dead := mdm.EnrollmentID{Device: "dead"} // APNs had called its token dead: it was dropped then
	_, err = Enroll(stores, dead)
	require.NoError(t, err)
	require.NoError(t, stores.Vault.PutSecret(ctx, "ca", mdm.SecretString("secret")))
	sinceFour := ofFour(t, stores, version)
	require.NoError(t, db.Close())
	for _, statements := range slices.Backward(back) {
		for _, statement := range statements {
			s.Exec(t, statement)
		}
	}
	s.Exec(t, fmt.Sprintf(s.SetVersion, version))
	s.Exec(t, "UPDATE mdm_enrollments SET push_token = NULL WHERE device = 'dead'")

	db, err = s.Open(false)
	require.NoError(t, err)
	stores = db.Stores()
	for device, want := range map[string]mdm.Presence{"D": mdm.Active, "dead": mdm.Gone} {
		e, err := stores.Roster.Enrollment(ctx, mdm.EnrollmentID{Device: device})
		require.NoError(t, err)
		assert.Equal(t, want, e.Presence)
	}
	_, err = stores.FanOuts.FanOuts(ctx, "")
	require.NoError(t, err, "what the new version brings is there")
	for e, err := range stores.Command.Entries(ctx, command.Query{UUID: finished, Results: true}) {
		require.NoError(t, err)
		assert.Equal(t, command.Acknowledged, e.State)
		assert.Contains(t, string(e.Result), finished)
	}
	answer(open)
	secret, err := stores.Vault.Secret(ctx, "ca")
	require.NoError(t, err)
	assert.Equal(t, "secret", string(secret.Reveal()))
	if version >= 4 {
		sinceFour(stores)
	}
	session := enroll.Session{ID: enroll.NewSessionID("ota"), Kind: "ota", State: enroll.SessionOpen}
	require.NoError(t, stores.Sessions.CreateEnrollmentSession(ctx, session), "what a newer version brings is there")
	_, err = stores.Audit.Append(ctx, audit.Entry{Actor: "the test", Action: "upgraded", Reason: "to see"})
	require.NoError(t, err, "what a newer version brings is there")
	require.NoError(t, stores.DEP.CreateServer(ctx, dep.Server{Key: dep.Key{Name: fmt.Sprint("server-", version)}}), "what the newest version brings is there")
	require.NoError(t, stores.Declarations.PutDeclarations(ctx, id, ddm.Group{Name: "g"}), "what the newest version brings is there")
	require.NoError(t, db.Close())
}

// ofFour writes to the tables that came with version 4, and returns what looks whether that is there.
func ofFour(t *testing.T, stores storage.Stores, version int) (look func(storage.Stores)) {
	ctx := t.Context()
	wave, err := stores.Waves.BeginWave(ctx, push.Wave{ID: fmt.Sprint("wave-", version)})
	require.NoError(t, err)
	now := time.Now()
	expiring := mdm.Event{Type: mdm.EventExpiring, At: now, Subject: "ca", Name: fmt.Sprint(version), NotAfter: now.AddDate(0, 0, 30)}
	told, err := stores.Expiry.Remind(ctx, expiring, 30)
	require.NoError(t, err)
	require.True(t, told)
	return func(stores storage.Stores) {
		kept, err := stores.Waves.Wave(ctx, "", wave.ID)
		require.NoError(t, err)
		assert.Equal(t, wave, kept)
		told, err := stores.Expiry.Remind(ctx, expiring, 30)
		require.NoError(t, err)
		assert.False(t, told, "it was told before")
	}
}
