package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// abm runs the program, and returns what it ends with and prints.
func abm(t *testing.T, args ...string) (status int, out, errout string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, &o, &e)
	return status, o.String(), e.String()
}

func TestFake(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole way takes long under the race detector")
	}
	status, out, errout := abm(t, "-fake")
	require.Equal(t, well, status, errout)
	assert.Contains(t, out, "All checks passed.")
	assert.NotContains(t, errout, "FAILED")
}

func TestWrongUsage(t *testing.T) {
	db := filepath.Join(t.TempDir(), "abm.db")
	for name, args := range map[string][]string{
		"nothing":                           {},
		"an unknown flag":                   {"-unknown"},
		"an unknown command":                {"-db", db, "frobnicate"},
		"too many arguments":                {"-db", db, "account", "x"},
		"too few arguments":                 {"-db", db, "import"},
		"an unknown flag of a command":      {"-db", db, "sync", "-unknown"},
		"a profile for nobody":              {"-db", db, "assign", "-profile", "UUID"},
		"serial numbers without a profile":  {"-db", db, "assign", "C02EXAMPLE"},
		"a profile file that is not named":  {"-db", db, "profile"},
		"an argument where none is awaited": {"-db", db, "key", "main.pem"},
	} {
		status, out, errout := abm(t, args...)
		assert.Equal(t, misused, status, name)
		assert.Empty(t, out, name)
		assert.NotEmpty(t, errout, name)
	}
	for _, args := range [][]string{{"-h"}, {"-db", db, "sync", "-h"}} {
		status, _, errout := abm(t, args...)
		assert.Equal(t, well, status)
		assert.Contains(t, errout, "sage")
	}
}

func TestUnknownServer(t *testing.T) {
	dir := t.TempDir()
	db, file := filepath.Join(dir, "abm.db"), filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600))
	for _, args := range [][]string{{"import", file}, {"account"}, {"sync"}, {"sync", "-full"}, {"profile", file}, {"assign"}, {"report"}} {
		status, _, errout := abm(t, append([]string{"-db", db, "-server", "absent"}, args...)...)
		assert.Equal(t, refused, status, "%v", args)
		assert.Contains(t, errout, `there is no server "absent" yet: begin with the command key`, "%v", args)
	}
}

// TestKeyAndToken: the key pair stays, and what is no token is not taken; without one there is nothing to call with.
func TestKeyAndToken(t *testing.T) {
	dir := t.TempDir()
	db, pem, junk := filepath.Join(dir, "abm.db"), filepath.Join(dir, "main.pem"), filepath.Join(dir, "junk.p7m")
	status, out, errout := abm(t, "-db", db, "key", "-out", pem)
	require.Equal(t, well, status, errout)
	assert.Contains(t, out, "is to be uploaded")
	first, err := os.ReadFile(pem)
	require.NoError(t, err)
	status, out, _ = abm(t, "-db", db, "key")
	require.Equal(t, well, status)
	assert.Equal(t, string(first), out, "the same one again")

	require.NoError(t, os.WriteFile(junk, []byte("junk"), 0o600))
	for _, args := range [][]string{{"import", junk}, {"import", filepath.Join(dir, "absent")}, {"account"}, {"sync"}} {
		status, _, errout = abm(t, append([]string{"-db", db}, args...)...)
		assert.Equal(t, refused, status, "%v: %s", args, errout)
	}
	require.NoError(t, os.WriteFile(junk, make([]byte, maxToken+1), 0o600))
	status, _, errout = abm(t, "-db", db, "import", junk)
	assert.Equal(t, refused, status)
	assert.Contains(t, errout, "larger than")
}
