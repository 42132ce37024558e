package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// database makes one with a log of a tenant, and returns its head.
func database(t *testing.T, entries int) (path, head string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "mdm.db")
	db, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	for n := range entries {
		e, err := db.Stores().Audit.Append(t.Context(), audit.Entry{Tenant: "acme", Actor: "anna", Action: "tested", Reason: fmt.Sprint("ticket ", n)})
		require.NoError(t, err)
		head = e.Head().String()
	}
	require.NoError(t, db.Close())
	return path, head
}

func called(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

func tamper(t *testing.T, path, statement string) {
	t.Helper()
	raw, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = raw.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, raw.Close())
}

func TestWhole(t *testing.T) {
	path, head := database(t, 3)
	want := "whole: 3 entries, head " + head + "\n"
	for _, args := range [][]string{{}, {"-head", head}} {
		status, out, errs := called(t, "", append(args, "-db", path, "-tenant", "acme")...)
		assert.Equal(t, 0, status, errs)
		assert.Equal(t, want, out)
	}
	status, out, _ := called(t, "", "-db", path)
	assert.Equal(t, 0, status)
	assert.Contains(t, out, "whole: 0 entries", "of another tenant")

	status, exported, _ := called(t, "", "-db", path, "-tenant", "acme", "-export")
	assert.Equal(t, 0, status)
	assert.Equal(t, 3, strings.Count(exported, "\n"))
	status, out, _ = called(t, exported, "-head", head)
	assert.Equal(t, 0, status)
	assert.Equal(t, want, out)
}

func TestBroken(t *testing.T) {
	path, head := database(t, 5)
	_, exported, _ := called(t, "", "-db", path, "-tenant", "acme", "-export")
	status, out, _ := called(t, strings.Replace(exported, "ticket 2", "ticket 9", 1))
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "broken at entry 3: it was changed")
	lines := strings.SplitAfter(exported, "\n")
	status, out, _ = called(t, strings.Join(lines[:2], ""), "-head", head)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "broken at entry 3: ")

	tamper(t, path, "DELETE FROM mdm_audit WHERE number > 3")
	status, out, _ = called(t, "", "-db", path, "-tenant", "acme")
	assert.Equal(t, 1, status, "the database itself remembers")
	assert.Contains(t, out, "broken at entry 4: ")
	tamper(t, path, "UPDATE mdm_audit_heads SET number = 3, hash = (SELECT hash FROM mdm_audit WHERE number = 3)")
	status, _, _ = called(t, "", "-db", path, "-tenant", "acme")
	assert.Equal(t, 0, status, "nobody remembered")
	status, out, _ = called(t, "", "-db", path, "-tenant", "acme", "-head", head)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "broken at entry 4: ")
	tamper(t, path, "UPDATE mdm_audit SET actor = 'bob' WHERE number = 2")
	status, out, _ = called(t, "", "-db", path, "-tenant", "acme")
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "broken at entry 2: ")
}

func TestTrouble(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no.db")
	for _, args := range [][]string{{"-db", missing}, {"-head", "x"}, {"word"}, {"-no"}} {
		status, _, errs := called(t, "", args...)
		assert.Equal(t, 2, status, args)
		assert.NotEmpty(t, errs)
	}
	assert.NoFileExists(t, missing, "it makes none")
	status, _, errs := called(t, "no JSON")
	assert.Equal(t, 2, status)
	assert.Contains(t, errs, "line 1")
	status, _, _ = called(t, "", "-h")
	assert.Equal(t, 0, status)
}
