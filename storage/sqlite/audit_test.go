package sqlite_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
)

// TestTamperingIsFound changes rows of the audit log behind the store's back.
func TestTamperingIsFound(t *testing.T) {
	for what, c := range map[string]struct {
		statement string
		broken    int64
	}{
		"nothing":                  {"SELECT 1", 0},
		"actor":                    {"UPDATE mdm_audit SET actor = 'bob' WHERE number = 3", 3},
		"action":                   {"UPDATE mdm_audit SET action = 'other' WHERE number = 1", 1},
		"reason":                   {"UPDATE mdm_audit SET reason = reason || ' ' WHERE number = 2", 2},
		"time":                     {"UPDATE mdm_audit SET at = at + 1 WHERE number = 5", 5},
		"device":                   {"UPDATE mdm_audit SET device = 'E' WHERE number = 4", 4},
		"user":                     {"UPDATE mdm_audit SET usr = 'u' WHERE number = 4", 4},
		"details":                  {`UPDATE mdm_audit SET details = '{"n":"x"}' WHERE number = 4`, 4},
		"details that are none":    {`UPDATE mdm_audit SET details = 'x' WHERE number = 4`, 4},
		"previous":                 {"UPDATE mdm_audit SET previous = hash WHERE number = 4", 4},
		"hash":                     {"UPDATE mdm_audit SET hash = X'00' WHERE number = 4", 4},
		"tenant":                   {"UPDATE mdm_audit SET tenant = 't' WHERE number = 4", 4},
		"the first is gone":        {"DELETE FROM mdm_audit WHERE number = 1", 1},
		"one is gone":              {"DELETE FROM mdm_audit WHERE number = 3", 3},
		"the last are gone":        {"DELETE FROM mdm_audit WHERE number >= 4", 4},
		"all are gone":             {"DELETE FROM mdm_audit", 1},
		"two were changed about":   {"UPDATE mdm_audit SET number = CASE number WHEN 2 THEN -3 ELSE -2 END WHERE number IN (2, 3); UPDATE mdm_audit SET number = -number WHERE number < 0", 2},
		"one is gone and no gap":   {"DELETE FROM mdm_audit WHERE number = 3; UPDATE mdm_audit SET number = number - 1 WHERE number > 3", 3},
		"the end was written anew": {"UPDATE mdm_audit SET reason = 'else' WHERE number = 5", 5},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mdm.db")
			log := open(t, path).Stores().Audit
			var last audit.Entry
			for n := range 5 {
				var err error
				last, err = log.Append(t.Context(), audit.Entry{Actor: "anna", Action: "tested", Reason: fmt.Sprint(n), Enrollment: mdm.EnrollmentID{Device: "D"},
					Details: map[string]string{"n": fmt.Sprint(n)}})
				require.NoError(t, err)
			}
			raw, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			defer func() { require.NoError(t, raw.Close()) }()
			_, err = raw.ExecContext(t.Context(), c.statement)
			require.NoError(t, err)
			_, err = audit.Verify(log.Entries(t.Context(), "", 0, 0), last.Head())
			if c.broken == 0 {
				require.NoError(t, err)
				return
			}
			var broken *audit.Broken
			require.ErrorAs(t, err, &broken)
			assert.Equal(t, c.broken, broken.Number, broken.Why)
		})
	}
}
