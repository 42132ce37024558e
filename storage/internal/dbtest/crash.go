package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/storage"
)

// A copy of a test program finds in the environment which database it is to work on until it is killed, and what it does.
const (
	victim     = "APPLEMDM_CRASH_TEST_DB"
	victimWork = "APPLEMDM_CRASH_TEST_WORK"
)

// victimOf returns a copy of this program that has not started yet.
func victimOf(t *testing.T, dsn, work string) *exec.Cmd {
	program, err := os.Executable()
	require.NoError(t, err)
	run := exec.CommandContext(t.Context(), program)
	run.Env = append(os.Environ(), victim+"="+dsn, victimWork+"="+work)
	return run
}

// Main is the TestMain of a package with [Kill9]. In a victim it opens the store and works instead of testing.
func Main(m *testing.M, open func(dsn string) (storage.Stores, error)) {
	dsn := os.Getenv(victim)
	if dsn == "" {
		os.Exit(m.Run())
	}
	stores, err := open(dsn)
	if err == nil {
		switch os.Getenv(victimWork) {
		case "many":
			err = workForMany(stores)
		case "wave":
			err = workOnWave(stores)
		case "runs":
			err = workOnRuns(stores)
		case "audit":
			err = workOnAudit(stores)
		case "devices":
			err = workOnDevices(stores)
		default:
			err = work(stores)
		}
	}
	fmt.Println("failed", err)
	os.Exit(1)
}

const fleet = 8

func device(n int) mdm.EnrollmentID { return mdm.EnrollmentID{Device: fmt.Sprint("device-", n)} }

func admit(*identity.Standing) identity.Verdict { return identity.Verdict{} }

// Enroll makes an enrolled device with an active certificate.
func Enroll(stores storage.Stores, id mdm.EnrollmentID) (mdm.Fingerprint, error) {
	fp := mdm.Fingerprint{1, byte(len(id.Device)), id.Device[len(id.Device)-1]}
	now := time.Now()
	return fp, stores.Checkin.Update(context.Background(), checkin.Key{ID: id, Fingerprint: fp}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{
			Enrollments: []mdm.Enrollment{{ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: "com.apple.mgmt.x",
				PushToken: []byte{1}, PushMagic: "m", TokenUpdatedAt: now}},
			Certificates: []mdm.Certificate{{Fingerprint: fp, Device: id.Device, Status: mdm.CertificateActive, Generation: 1, BoundAt: now}},
		}, nil
	})
}

// Report makes a device say something about a command.
func Report(stores storage.Stores, id mdm.EnrollmentID, fp mdm.Fingerprint, status command.Status, uuid string) (*command.Offer, error) {
	return stores.Command.Exchange(context.Background(), &command.Report{ID: id, Channel: mdm.DeviceChannel, Fingerprint: fp, Status: status,
		CommandUUID: uuid, Raw: []byte("result of " + uuid), At: time.Now()}, admit)
}

// work does what a server does for a small fleet at once, and says after each call what was acknowledged.
func work(stores storage.Stores) error {
	failed := make(chan error)
	for n := range fleet {
		go func() { failed <- workFor(stores, n) }()
	}
	return <-failed
}

func workFor(stores storage.Stores, number int) error {
	ctx, id := context.Background(), device(number)
	for n := 0; ; n++ {
		receipt, err := stores.Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
		if err != nil {
			return err
		}
		fmt.Println("queued", number, receipt.UUID)
		token := mdm.SecretString(fmt.Sprint("token", n))
		err = stores.Checkin.Update(ctx, checkin.Key{ID: id}, func(*checkin.Situation) (checkin.Plan, error) {
			return checkin.Plan{BootstrapToken: &token}, nil
		})
		if err != nil {
			return err
		}
		fmt.Println("token", number, n)
		if n%3 == 0 { // some stay open
			continue
		}
		if _, err := Report(stores, id, mdm.Fingerprint{}, command.StatusAcknowledged, receipt.UUID); err != nil {
			return err
		}
		fmt.Println("answered", number, receipt.UUID)
	}
}

// Kill9 kills a process in the middle of its work, again and again, and looks for what it had acknowledged.
func Kill9(t *testing.T, stores storage.Stores, dsn string) {
	t.Helper()
	for n := range fleet {
		_, err := Enroll(stores, device(n))
		require.NoError(t, err)
	}
	queued, answered, tokens := map[string]bool{}, map[string]bool{}, map[string]int{}
	for range 4 {
		run := victimOf(t, dsn, "few")
		out, err := run.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, run.Start())
		kill, lines := 50+rand.IntN(300), 0
		clear(tokens)
		for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
			words := strings.Fields(scanner.Text())
			switch words[0] {
			case "queued":
				queued[words[1]+" "+words[2]] = true
			case "answered":
				answered[words[1]+" "+words[2]] = true
			case "token":
				var n int
				_, err := fmt.Sscan(words[2], &n)
				require.NoError(t, err)
				tokens[words[1]] = n
			default:
				t.Fatal(scanner.Text())
			}
			if lines == kill {
				require.NoError(t, run.Process.Kill()) // SIGKILL; what is in the pipe already is read to its end
			}
		}
		_ = run.Wait()
		require.GreaterOrEqual(t, lines, kill, "the victim must have worked until it was killed")
	}
	require.NotEmpty(t, answered)
	for n := range fleet {
		found := map[string]bool{}
		for e, err := range stores.Command.Entries(t.Context(), command.Query{From: device(n), Results: true}) {
			require.NoError(t, err)
			key := fmt.Sprint(n, " ", e.UUID)
			found[key] = true
			if answered[key] {
				assert.Equal(t, command.Acknowledged, e.State)
				assert.Equal(t, "result of "+e.UUID, string(e.Result))
			}
		}
		for key := range queued {
			if strings.HasPrefix(key, fmt.Sprint(n, " ")) {
				assert.True(t, found[key], "a command that was acknowledged is lost")
			}
		}
		if last, ok := tokens[fmt.Sprint(n)]; ok {
			stored, err := stores.Escrow.BootstrapToken(t.Context(), device(n), "test")
			require.NoError(t, err)
			var got int
			_, err = fmt.Sscanf(string(stored.Reveal()), "token%d", &got)
			require.NoError(t, err)
			assert.Contains(t, []int{last, last + 1}, got, "the last token that was acknowledged, or the one whose acknowledgment died with the process")
		}
	}
}

// Budget holds the hot path to its number of statements, whatever the history.
func Budget(t *testing.T, stores storage.Stores, statements func() int64, idleMost, offerMost, answerMost, enqueueMost int64) {
	t.Helper()
	id := device(0)
	fp, err := Enroll(stores, id)
	require.NoError(t, err)
	count := func(f func()) int64 {
		before := statements()
		f()
		return statements() - before
	}
	var uuid string
	enqueue := func() {
		receipt, err := stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id)})
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Queued)
		uuid = receipt.UUID
	}
	report := func(status command.Status, uuid string, offers bool) func() {
		return func() {
			offer, err := Report(stores, id, fp, status, uuid)
			require.NoError(t, err)
			require.Equal(t, offers, offer != nil)
		}
	}
	cycle := func() []int64 {
		idle := count(report(command.StatusIdle, "", false))
		queued := count(enqueue)
		offer := count(report(command.StatusIdle, "", true))
		answer := count(report(command.StatusAcknowledged, uuid, false))
		return []int64{idle, offer, answer, queued}
	}
	first := cycle()
	for range 100 {
		enqueue()
		report(command.StatusAcknowledged, uuid, false)()
	}
	assert.Equal(t, first, cycle(), "the cost must not grow with history")
	for i, most := range []int64{idleMost, offerMost, answerMost, enqueueMost} {
		assert.LessOrEqual(t, first[i], most, "%s", []string{"an idle poll", "an idle poll with a command", "an answer that ends the session", "a command for one"}[i])
	}
	later := command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id), NotBefore: time.Now().Add(time.Hour)}
	_, err = stores.Command.Enqueue(t.Context(), later)
	require.NoError(t, err)
	report(command.StatusIdle, "", false)() // perhaps it has a push to put off
	assert.LessOrEqual(t, count(report(command.StatusIdle, "", false)), idleMost, "a poll of a device whose command is not due yet")
	t.Logf("statements: idle %d, offer %d, answer %d, enqueue %d", first[0], first[1], first[2], first[3])
}
