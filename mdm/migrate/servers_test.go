package migrate_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/migrate"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/mysql"
	"github.com/gomdm/applemdm/storage/postgres"
)

// Records are written at once, and one command is on all their queues.
func TestIntoServers(t *testing.T) {
	sealer, err := storage.NewAESGCM(storage.GenerateKey())
	require.NoError(t, err)
	t.Run("postgres", func(t *testing.T) {
		db, err := postgres.Open(t.Context(), postgresDSN(t), &postgres.Config{Sealer: sealer})
		require.NoError(t, err)
		defer func() { assert.NoError(t, db.Close()) }()
		intoServer(t, db.Stores())
	})
	t.Run("mysql", func(t *testing.T) {
		db, err := mysql.Open(t.Context(), mysqlDSN(t), &mysql.Config{Sealer: sealer})
		require.NoError(t, err)
		defer func() { assert.NoError(t, db.Close()) }()
		intoServer(t, db.Stores())
	})
}

func intoServer(t *testing.T, stores storage.Stores) {
	src, size := &fleet{}, 200
	for i := range size {
		src.records = append(src.records, phone(fmt.Sprintf("D%03d", i), "for all", fmt.Sprintf("own %03d", i)))
	}
	first := migrated(t, src, stores, migrate.Options{})
	assert.Equal(t, migrate.Report{Enrollments: size, Certificates: size, UnlockTokens: size, BootstrapTokens: size, Commands: 2 * size,
		Position: "D199"}, first)
	again := migrated(t, src, stores, migrate.Options{})
	assert.Equal(t, size, again.Unchanged)
	c := client{t: t, stores: stores, id: mdm.EnrollmentID{Device: "D123"}, cert: "D123"}
	assert.Equal(t, []string{"for all", "own 123"}, c.run())
}
