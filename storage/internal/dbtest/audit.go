package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/storage"
)

// workOnAudit appends to the audit log from several goroutines, and says what was acknowledged.
func workOnAudit(stores storage.Stores) error {
	failed := make(chan error)
	for writer := range 4 {
		go func() {
			for n := 0; ; n++ {
				e, err := stores.Audit.Append(context.Background(), audit.Entry{Actor: fmt.Sprint("writer ", writer), Action: "worked", Reason: fmt.Sprint(n)})
				if err != nil {
					failed <- err
					return
				}
				fmt.Println(e.Head())
			}
		}()
	}
	return <-failed
}

// KilledAudit kills a process that appends to the audit log, again and again: what it had acknowledged is there, and the chain
// is whole.
func KilledAudit(t *testing.T, dsn string, stores storage.Stores) {
	t.Helper()
	acknowledged := map[audit.Head]bool{}
	for range 3 {
		run := victimOf(t, dsn, "audit")
		out, err := run.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, run.Start())
		kill, lines := 20+rand.IntN(60), 0
		for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
			head, err := audit.ParseHead(strings.TrimSpace(scanner.Text()))
			require.NoError(t, err, scanner.Text())
			acknowledged[head] = true
			if lines == kill {
				require.NoError(t, run.Process.Kill())
			}
		}
		_ = run.Wait()
		require.GreaterOrEqual(t, lines, kill, "the victim must have worked until it was killed")
	}
	found := map[audit.Head]bool{}
	for e, err := range stores.Audit.Entries(t.Context(), "", 0, 0) {
		require.NoError(t, err)
		found[e.Head()] = true
	}
	for head := range acknowledged {
		assert.True(t, found[head], "an entry that was acknowledged is lost: %s", head)
	}
	last, err := stores.Audit.Append(t.Context(), audit.Entry{Actor: "the test", Action: "went on", Reason: "to see"})
	require.NoError(t, err)
	head, err := audit.Verify(stores.Audit.Entries(t.Context(), "", 0, 0), audit.Head{})
	require.NoError(t, err)
	assert.Equal(t, last.Head(), head)
}
