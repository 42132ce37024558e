package sqlite

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hot are the functions that a device's request runs through.
var hot = map[string][]string{
	"enrollments.go": {"standing", "certificates", "rowID"},
	"command.go":     {"idle", "exchange", "endSession", "findOpen", "settleFinished", "offer", "archive"},
	"checkin.go":     {"situation", "users", "secret"},
	"pushes.go":      {"wakeRow"},
}

// TestHotStatementsSeek reads the statements out of the source, so that none is forgotten, and asks SQLite how it would
// run them: none may scan a table that grows.
func TestHotStatementsSeek(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), nil)
	require.NoError(t, err)
	defer db.Close()
	checked := 0
	for file, functions := range hot {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range functions {
			for _, query := range statements(t, string(source), name) {
				explain(t, db.writes.pool, name, query)
				checked++
			}
		}
	}
	assert.Greater(t, checked, 15)
}

var quoted = regexp.MustCompile("(?s)`((?:SELECT|INSERT|UPDATE|DELETE)[^`]*)`((?:\\s*\\+\\s*[a-zA-Z]+\\s*\\+\\s*`[^`]*`)*)")

// statements returns the SQL in a function, with the constants put in.
func statements(t *testing.T, source, name string) []string {
	t.Helper()
	body := regexp.MustCompile(`(?s)\nfunc (\([^)]*\) )?` + name + `\(.*?\n}\n`).FindString(source)
	require.NotEmpty(t, body, "%s is not there", name)
	var out []string
	for _, m := range quoted.FindAllStringSubmatch(body, -1) {
		rest := strings.NewReplacer("enrollmentColumns", "`"+enrollmentColumns+"`", "certificateColumns", "`"+certificateColumns+"`").Replace(m[2])
		var b strings.Builder
		b.WriteString(m[1])
		for _, part := range regexp.MustCompile("(?s)`([^`]*)`").FindAllStringSubmatch(rest, -1) {
			b.WriteString(part[1])
		}
		out = append(out, b.String())
	}
	return out
}

func explain(t *testing.T, db *sql.DB, name, query string) {
	t.Helper()
	highest := strings.Count(query, "?")
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, parameters(query, highest))...)
	require.NoError(t, err, "%s: %s", name, query)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
		assert.False(t, strings.HasPrefix(detail, "SCAN") && !strings.Contains(detail, "CONSTANT ROW"), "%s: %s\n%s", name, detail, query)
	}
	require.NoError(t, rows.Err())
}

// parameters returns how many arguments a statement takes: numbered ones count once.
func parameters(query string, marks int) int {
	for n := 30; n > 0; n-- {
		if strings.Contains(query, "?"+string(rune('0'+n%10))) && n < 10 {
			return n
		}
	}
	return marks
}
