package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// BenchmarkHandler measures whole requests through the handler, certificate check included: one check-in (a repeated
// TokenUpdate), one command cycle (a command is queued, offered and acknowledged; two requests and one enqueue), and one
// idle poll. Statements are those of SQLite.
func BenchmarkHandler(b *testing.B) {
	for _, engine := range []string{"memory", "sqlite"} {
		b.Run(engine, func(b *testing.B) {
			stores, statements := open(b, engine)
			c := newClient(b, stores, nil)
			c.enroll(b, "U")
			id := mdm.EnrollmentID{Device: "U"}
			measure(b, "checkin", statements, func() { c.must(b, typeCheckin, tokenUpdate("U")) })
			measure(b, "idle", statements, func() { c.must(b, typeCommand, idle("U")) })
			measure(b, "cycle", statements, func() {
				receipt, err := stores.Command.Enqueue(context.Background(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
				require.NoError(b, err)
				c.must(b, typeCommand, idle("U"))
				c.must(b, typeCommand, message("Status", "Acknowledged", "UDID", "U", "CommandUUID", receipt.UUID))
			})
		})
	}
}

// open returns stores and a count of the statements that they have run.
func open(b *testing.B, engine string) (storage.Stores, func() int64) {
	if engine == "memory" {
		return memory.New().Stores(), func() int64 { return 0 }
	}
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "mdm.db"), nil)
	require.NoError(b, err)
	b.Cleanup(func() { _ = db.Close() })
	return db.Stores(), db.Statements
}

func measure(b *testing.B, name string, statements func() int64, once func()) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		before, n := statements(), 0
		for b.Loop() {
			once()
			n++
		}
		b.ReportMetric(float64(statements()-before)/float64(n), "statements/op")
	})
}

func (c *client) must(b *testing.B, contentType, body string) {
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, request(http.MethodPut, contentType, strings.NewReader(body), c.cert))
	if w.Code != http.StatusOK {
		b.Fatalf("%d", w.Code)
	}
}
