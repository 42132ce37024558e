package dbtest

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
)

// Schema is the empty database of one test, on a server.
type Schema struct {
	Open   func(noMigration bool) (Store, error)
	Script func(io.Writer) error        // prints the migrations
	Exec   func(t testing.TB, s string) // runs a statement in the database
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

// Upgrade takes a database with data back to the schema of each earlier version, and opens it again: nothing is lost. How
// an index is dropped, and how a version is set, differ between databases.
func (s Schema) Upgrade(t *testing.T, dropIndex func(name, table string) string, setVersion string) {
	back := [][]string{ // what undoes the migration to version 2, and so on
		{"DROP TABLE mdm_fanouts", "DROP TABLE mdm_fanout_parts", "DROP TABLE mdm_leases", dropIndex("mdm_history_finished", "mdm_history"),
			dropIndex("mdm_asides_at", "mdm_asides"), dropIndex("mdm_challenges_expires", "mdm_challenges")},
	}
	id := mdm.EnrollmentID{Device: "D"}
	ctx := t.Context()
	for version := range len(back) {
		db, err := s.Open(false)
		require.NoError(t, err)
		stores := db.Stores()
		fp, err := Enroll(stores, id)
		require.NoError(t, err)
		receipt, err := stores.Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
		require.NoError(t, err)
		require.NoError(t, stores.Vault.PutSecret(ctx, "ca", mdm.SecretString("secret")))
		require.NoError(t, db.Close())
		for n := len(back) - 1; n >= version; n-- {
			for _, statement := range back[n] {
				s.Exec(t, statement)
			}
		}
		s.Exec(t, fmt.Sprintf(setVersion, version+1))

		db, err = s.Open(false)
		require.NoError(t, err)
		stores = db.Stores()
		_, err = stores.FanOuts.FanOuts(ctx, "")
		require.NoError(t, err, "what the new version brings is there")
		offer, err := Report(stores, id, fp, command.StatusIdle, "")
		require.NoError(t, err)
		require.NotNil(t, offer)
		assert.Equal(t, receipt.UUID, offer.UUID)
		secret, err := stores.Vault.Secret(ctx, "ca")
		require.NoError(t, err)
		assert.Equal(t, "secret", string(secret.Reveal()))
		_, err = Report(stores, id, fp, command.StatusAcknowledged, offer.UUID)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
}
