package applemdm_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/push/apns"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// wire is the README's sample, to the letter.
func wire(ctx context.Context, deviceCA []*x509.Certificate) error {
	db, err := sqlite.Open(ctx, "mdm.db", nil)
	if err != nil {
		return err
	}
	stores := db.Stores()
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: deviceCA})
	if err != nil {
		return err
	}
	h, err := server.New(server.Config{
		Stores:    stores,
		Extractor: identity.TLS(),
		Validator: ours,
		Pusher:    &apns.Client{Certificates: stores.PushCertificates},
		Logger:    slog.Default(),
	})
	if err != nil {
		return err // one line for each thing that is missing
	}
	go h.Run(ctx) // sends pushes, delivers events

	receipt, err := stores.Command.Enqueue(ctx, command.Order{
		Command: command.DeviceInformation{Queries: []command.DeviceInformationQuery{"OSVersion"}},
		To:      mdm.Matching(mdm.Filter{States: []mdm.State{mdm.Enrolled}}),
	})
	if err != nil {
		return err
	}
	fmt.Println("queued for", receipt.Queued, "devices")
	return db.Close()
}

// Example wires a server on SQLite and queues a command for every managed device.
func Example() {
	dir, err := os.MkdirTemp("", "applemdm")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.Chdir(dir); err != nil {
		fmt.Println(err)
		return
	}
	ca, err := scep.NewLocalCA("Example Devices")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := wire(ctx, ca.Chain()); err != nil {
		fmt.Println(err)
	}
	// Output: queued for 0 devices
}

// TestREADME keeps the README's Go code the same as the code above, which is compiled and run.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	blocks := strings.Split(string(readme), "```go\n")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		for _, line := range strings.Split(strings.TrimSpace(code), "\n") {
			if line != "" {
				assert.Contains(t, string(source), "\t"+line+"\n")
			}
		}
	}
	assert.Less(t, strings.Count(string(readme), "\n"), 150)
}

// TestPracticesNameTestsThatExist keeps the table of practices honest.
func TestPracticesNameTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("docs/practices.md")
	require.NoError(t, err)
	named := regexp.MustCompile("`([a-z0-9/]+): (Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(named), 25)
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join(m[1], "*_test.go"))
		require.NoError(t, err)
		found := false
		for _, file := range files {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			found = found || strings.Contains(string(source), "\nfunc "+m[2]+"(t *testing.T)")
		}
		assert.True(t, found, "%s has no %s", m[1], m[2])
	}
}

// TestDocumentsNameWhatIsThere keeps the links of the documents alive.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	for _, file := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/design.md", "docs/practices.md"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, part := range strings.Split(string(text), "](")[1:] {
			target, _, _ := strings.Cut(part, ")")
			if strings.Contains(target, "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(file), target))
			assert.NoError(t, err, "%s links to %s", file, target)
		}
	}
}
