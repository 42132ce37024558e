// Package dbtest finds the database servers that tests run against.
package dbtest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"
)

// The variables that name servers.
const (
	Postgres = "APPLEMDM_TEST_POSTGRES" // a URL
	MySQL    = "APPLEMDM_TEST_MYSQL"    // user:password@tcp(host:port)/database
)

// DSN returns what the variable says, or skips the test.
func DSN(t testing.TB, variable string) string {
	t.Helper()
	dsn := os.Getenv(variable)
	if dsn == "" {
		t.Skipf("%s is not set: the tests against that server are skipped", variable)
	}
	return dsn
}

// Name turns the name of a test's database into one that every server takes, of this process alone.
func Name(name string) string {
	sum := sha256.Sum256([]byte(name + run))
	return "applemdm_test_" + hex.EncodeToString(sum[:8])
}

var run = func() string {
	host, _ := os.Hostname()
	return host + "/" + hex.EncodeToString([]byte{byte(os.Getpid()), byte(os.Getpid() >> 8), byte(os.Getpid() >> 16)})
}()
