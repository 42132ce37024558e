package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
	"github.com/gomdm/applemdm/storage/internal/sqlstore"
)

// TestHotStatementsSeek asks SQLite how it would run what devices' requests need: no statement may scan a table, nor all that
// a tenant has in one.
func TestHotStatementsSeek(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), nil)
	require.NoError(t, err)
	defer db.Close()
	calls := sqlstore.Statements(dialect)
	require.Greater(t, len(calls), 20)
	for _, call := range calls {
		rows, err := db.engine.writes.pool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+call.Text, call.Args...)
		require.NoError(t, err, call.Text)
		for rows.Next() {
			var id, parent, unused int
			var detail string
			require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
			assert.NotContains(t, detail, "(tenant=?)", call.Text)
			assert.NotContains(t, detail, "(server=?)", call.Text)
			inside := detail == "SCAN h" // the one row that a part of the statement made
			assert.False(t, strings.HasPrefix(detail, "SCAN") && !inside && !strings.Contains(detail, "CONSTANT ROW"), "%s\n%s", detail, call.Text)
		}
		require.NoError(t, rows.Err())
	}
}

// TestFullDisk fills the database up: what cannot be kept is refused, nothing that was kept is lost, and the store goes on
// when there is room again.
func TestFullDisk(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), nil)
	require.NoError(t, err)
	defer db.Close()
	id := mdm.EnrollmentID{Device: "D"}
	stores := db.Stores()
	_, err = dbtest.Enroll(stores, id)
	require.NoError(t, err)
	room := func(pages int) {
		var now int
		require.NoError(t, db.engine.writes.conn.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&now))
		_, err := db.engine.writes.conn.ExecContext(t.Context(), fmt.Sprint("PRAGMA max_page_count = ", now+pages))
		require.NoError(t, err)
	}
	enqueue := func() error {
		_, err := stores.Command.Enqueue(t.Context(), command.Order{Command: command.InstallProfile{Payload: make([]byte, 20_000)}, To: mdm.IDs(id)})
		return err
	}
	room(60)
	kept := 0
	for err = enqueue(); err == nil; err = enqueue() {
		kept++
	}
	require.Positive(t, kept)
	assert.Contains(t, []mdm.Code{mdm.Internal, mdm.Unavailable}, mdm.CodeOf(err), "an outage must never read as Unmanaged")
	require.Error(t, enqueue(), "it is still full")
	count := func() (n int) {
		for _, err := range stores.Command.Entries(t.Context(), command.Query{}) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	assert.Equal(t, kept, count())
	room(1000)
	require.NoError(t, enqueue())
	assert.Equal(t, kept+1, count())
}
