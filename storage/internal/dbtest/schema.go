package dbtest

import (
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
