package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// victimOf names the database that a copy of this test program is to work on until it is killed.
const victimOf = "APPLEMDM_CRASH_TEST_DB"

func TestMain(m *testing.M) {
	if path := os.Getenv(victimOf); path != "" {
		if err := work(path); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// work does what a server does, and says after each call what was acknowledged.
func work(path string) error {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	stores := db.Stores()
	fp := mdm.Fingerprint{1}
	for n := 0; ; n++ {
		receipt, err := stores.Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(phone)})
		if err != nil {
			return err
		}
		fmt.Println("queued", receipt.UUID)
		token := mdm.SecretString(fmt.Sprint("token", n))
		err = stores.Checkin.Update(ctx, checkin.Key{ID: phone, Fingerprint: fp}, func(*checkin.Situation) (checkin.Plan, error) {
			return checkin.Plan{BootstrapToken: &token}, nil
		})
		if err != nil {
			return err
		}
		fmt.Println("token", n)
		if n%3 == 0 { // some stay open
			continue
		}
		_, err = stores.Command.Exchange(ctx, &command.Report{ID: phone, Fingerprint: fp, Status: command.StatusAcknowledged, CommandUUID: receipt.UUID,
			Raw: []byte("result of " + receipt.UUID), At: time.Now()}, admit)
		if err != nil {
			return err
		}
		fmt.Println("answered", receipt.UUID)
	}
}

// TestKill9 kills a process in the middle of its work, again and again, and looks for what it had acknowledged.
func TestKill9(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	db, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	enroll(t, db.Stores(), phone)
	require.NoError(t, db.Close())
	program, err := os.Executable()
	require.NoError(t, err)
	queued, answered, token := map[string]bool{}, map[string]bool{}, -1
	for range 5 {
		victim := exec.CommandContext(t.Context(), program)
		victim.Env = append(os.Environ(), victimOf+"="+path)
		out, err := victim.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, victim.Start())
		kill, lines := 20+rand.IntN(200), 0
		for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
			word, rest, _ := strings.Cut(scanner.Text(), " ")
			switch word {
			case "queued":
				queued[rest] = true
			case "answered":
				answered[rest] = true
			case "token":
				_, err := fmt.Sscan(rest, &token)
				require.NoError(t, err)
			default:
				t.Fatal(scanner.Text())
			}
			if lines == kill {
				require.NoError(t, victim.Process.Kill()) // SIGKILL; what is in the pipe already is read to its end
			}
		}
		_ = victim.Wait()
		require.GreaterOrEqual(t, lines, kill, "the victim must have worked until it was killed")
	}
	db, err = sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	defer db.Close()
	verify(t, db.Stores(), queued, answered, token)
}

func verify(t *testing.T, stores storage.Stores, queued, answered map[string]bool, token int) {
	found := map[string]bool{}
	for e, err := range stores.Command.Entries(t.Context(), command.Query{From: phone, Results: true}) {
		require.NoError(t, err)
		found[e.UUID] = true
		if answered[e.UUID] {
			assert.Equal(t, command.Acknowledged, e.State)
			assert.Equal(t, "result of "+e.UUID, string(e.Result))
		}
	}
	require.NotEmpty(t, answered)
	for uuid := range queued {
		assert.True(t, found[uuid], "a command that was acknowledged is lost")
	}
	stored, err := stores.Escrow.BootstrapToken(t.Context(), phone, "test")
	require.NoError(t, err)
	var n int
	_, err = fmt.Sscanf(string(stored.Reveal()), "token%d", &n)
	require.NoError(t, err)
	assert.Contains(t, []int{token, token + 1}, n, "the last token that was acknowledged, or the one whose acknowledgment died with the process")
}
