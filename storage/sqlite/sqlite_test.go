package sqlite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/internal/dbtest"
	"github.com/gomdm/applemdm/storage/sqlite"
	"github.com/gomdm/applemdm/storage/storagetest"
)

func open(t testing.TB, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(context.Background(), path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	storagetest.Run(t, storagetest.Config{Open: func(t testing.TB, name string) storage.Stores {
		return open(t, filepath.Join(dir, name+".db")).Stores()
	}})
}

var phone = mdm.EnrollmentID{Device: "UDID"}

// enroll puts an enrolled device into the database, with an active certificate.
func enroll(t testing.TB, stores storage.Stores, id mdm.EnrollmentID) mdm.Fingerprint {
	t.Helper()
	fp := mdm.Fingerprint(sha256.Sum256([]byte(id.String())))
	now := time.Now()
	require.NoError(t, stores.Checkin.Update(context.Background(), checkin.Key{ID: id, Fingerprint: fp}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{
			Enrollments: []mdm.Enrollment{{ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: "com.apple.mgmt.x",
				PushToken: []byte{1}, PushMagic: "m", TokenUpdatedAt: now}},
			Certificates: []mdm.Certificate{{Fingerprint: fp, Device: id.Device, Status: mdm.CertificateActive, Generation: 1, BoundAt: now}},
		}, nil
	}))
	return fp
}

func admit(*identity.Standing) identity.Verdict { return identity.Verdict{} }

func report(t testing.TB, stores storage.Stores, fp mdm.Fingerprint, status command.Status, uuid string) *command.Offer {
	t.Helper()
	offer, err := stores.Command.Exchange(context.Background(), &command.Report{ID: phone, Channel: mdm.DeviceChannel, Fingerprint: fp, Status: status,
		CommandUUID: uuid, Raw: []byte("<raw>" + uuid + "</raw>"), At: time.Now()}, admit)
	require.NoError(t, err)
	return offer
}

func TestSecretsAreSealedAtRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	db := open(t, path)
	stores := db.Stores()
	fp := enroll(t, stores, phone)
	ctx := t.Context()
	bootstrap := mdm.SecretString("PLAIN-bootstrap-token")
	require.NoError(t, stores.Checkin.Update(ctx, checkin.Key{ID: phone, Fingerprint: fp}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{UnlockToken: mdm.SecretString("PLAIN-unlock-token"), BootstrapToken: &bootstrap,
			AuthTokenHash: identity.HashAuthToken("PLAIN-auth-token")}, nil
	}))
	receipt, err := stores.Command.Enqueue(ctx, command.Order{Command: command.DeviceLock{PIN: mdm.SecretString("PLAIN-pin"), Message: new("PLAIN-message")}, To: mdm.IDs(phone)})
	require.NoError(t, err)
	require.NotNil(t, report(t, stores, fp, command.StatusIdle, ""))
	_, err = stores.Command.Exchange(ctx, &command.Report{ID: phone, Fingerprint: fp, Status: command.StatusAcknowledged, CommandUUID: receipt.UUID,
		Raw: []byte("PLAIN-result"), At: time.Now()}, admit)
	require.NoError(t, err)
	_, err = stores.Command.Exchange(ctx, &command.Report{ID: phone, Fingerprint: fp, Status: command.StatusAcknowledged, CommandUUID: "unknown",
		Raw: []byte("PLAIN-aside"), At: time.Now()}, admit)
	require.NoError(t, err)
	require.NoError(t, stores.Vault.PutSecret(ctx, "ca", mdm.SecretString("PLAIN-vault")))
	server := dep.Server{Key: dep.Key{Name: "a"}, KeyPair: dep.KeyPair{Key: mdm.SecretString("PLAIN-key")}, Token: dep.Token{ConsumerKey: "CK",
		ConsumerSecret: mdm.SecretString("PLAIN-consumer"), AccessToken: mdm.SecretString("PLAIN-access"), AccessSecret: mdm.SecretString("PLAIN-secret")}}
	require.NoError(t, stores.DEP.CreateServer(ctx, server))
	_, err = stores.DEP.ChangeServer(ctx, server.Key, func(s *dep.Server) error {
		s.Token.AccessToken = mdm.SecretString("PLAIN-changed")
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, stores.Declarations.PutDeclarations(ctx, phone, ddm.Group{Name: "g", Declarations: []ddm.Declaration{{Identifier: "sso",
		Payload: &ddm.ExtensibleSSO{PlatformSSO: &ddm.ExtensibleSSOPlatformSSO{RegistrationToken: mdm.SecretString("PLAIN-registration-token")}}}}}))
	cert, err := mdmtest.NewPushCertificate("com.apple.mgmt.x")
	require.NoError(t, err)
	require.NoError(t, stores.PushCertificates.SavePushCertificate(ctx, cert))
	_, key, err := cert.PEM()
	require.NoError(t, err)
	_, err = scep.NewChallenge(ctx, stores.SCEP, scep.Challenge{})
	require.NoError(t, err)

	var raw []byte
	for _, name := range []string{path, path + "-wal"} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		raw = append(raw, data...)
	}
	require.Contains(t, string(raw), "com.apple.mgmt.x", "the test must be reading the right files")
	assert.NotContains(t, string(raw), "PLAIN-")
	assert.False(t, bytes.Contains(raw, key.Reveal()[100:140]), "the push key")

	token, err := stores.Escrow.UnlockToken(ctx, phone, "test")
	require.NoError(t, err)
	assert.Equal(t, "PLAIN-unlock-token", string(token.Reveal()))
}

func TestSealedValuesNeedTheirKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	first := open(t, path)
	require.NoError(t, first.Stores().Vault.PutSecret(t.Context(), "ca", mdm.SecretString("secret")))
	require.NoError(t, first.Close())
	other, err := storage.NewAESGCM(storage.GenerateKey())
	require.NoError(t, err)
	db, err := sqlite.Open(t.Context(), path, &sqlite.Config{Sealer: other})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Stores().Vault.Secret(t.Context(), "ca")
	require.ErrorIs(t, err, storage.ErrSealed)
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err), "a lost key must not unenroll anybody")
}

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	open(t, path)
	for _, name := range []string{path, path + ".key"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	db := open(t, path)
	require.NoError(t, db.Close())
	raw, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = raw.ExecContext(t.Context(), "PRAGMA user_version = 1000")
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	_, err = sqlite.Open(t.Context(), path, nil)
	require.ErrorContains(t, err, "newer")
}

func TestUnreadableKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	require.NoError(t, os.WriteFile(path+".key", []byte("short"), 0o600))
	_, err := sqlite.Open(t.Context(), path, nil)
	require.ErrorContains(t, err, "key")
}

func TestIdlePollWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	stores := open(t, path).Stores()
	fp := enroll(t, stores, phone)
	before, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	for range 50 {
		report(t, stores, fp, command.StatusIdle, "")
	}
	after, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before, after))
	e, err := stores.Roster.Enrollment(t.Context(), phone)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), e.LastSeenAt, time.Minute, "it was seen all the same")
}

func TestLastSeenSurvivesClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	db := open(t, path)
	fp := enroll(t, db.Stores(), phone)
	report(t, db.Stores(), fp, command.StatusIdle, "")
	require.NoError(t, db.Close())
	e, err := open(t, path).Stores().Roster.Enrollment(t.Context(), phone)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), e.LastSeenAt, time.Minute)
}

func TestEnqueueTxIsOneWithTheCallersChange(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "mdm.db"))
	enroll(t, db.Stores(), phone)
	ctx := t.Context()
	order := command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(phone)}
	queued := func() (n int) {
		for _, err := range db.Stores().Command.Entries(ctx, command.Query{}) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	tx, err := db.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "CREATE TABLE vendor_jobs (uuid TEXT)")
	require.NoError(t, err)
	receipt, err := db.EnqueueTx(ctx, tx, order)
	require.NoError(t, err)
	assert.Equal(t, 1, receipt.Queued)
	require.NoError(t, tx.Rollback())
	assert.Zero(t, queued())

	tx, err = db.Begin(ctx)
	require.NoError(t, err)
	_, err = db.EnqueueTx(ctx, tx, order)
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	assert.Equal(t, 1, queued())
	due, err := db.Stores().Push.DuePushes(ctx, time.Now().Add(time.Second), 10, time.Minute)
	require.NoError(t, err)
	assert.Len(t, due, 1)
}

func TestExpiredPushCertificateIsGivenOut(t *testing.T) {
	stores := open(t, filepath.Join(t.TempDir(), "mdm.db")).Stores()
	cert, err := mdmtest.NewPushCertificate("com.apple.mgmt.x")
	require.NoError(t, err)
	require.NoError(t, stores.PushCertificates.SavePushCertificate(t.Context(), cert))
	got, err := stores.PushCertificates.PushCertificate(t.Context(), "com.apple.mgmt.x")
	require.NoError(t, err)
	assert.True(t, got.Leaf.Equal(cert.TLS.Leaf))
	topics, err := stores.PushCertificates.PushTopics(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []push.Topic{{Name: "com.apple.mgmt.x", NotAfter: cert.NotAfter.UTC().Truncate(time.Microsecond)}}, topics)
}

func BenchmarkStore(b *testing.B) {
	dir := b.TempDir()
	storagetest.Benchmark(b, func(t testing.TB, name string) storage.Stores {
		return open(t, filepath.Join(dir, name+".db")).Stores()
	})
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(ctx, filepath.Join(dir, "mdm.db"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	receipt, err := db.Stores().Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(mdm.EnrollmentID{Device: "nobody"})})
	fmt.Println(receipt.Queued, receipt.RefusedAll, err)
	// Output: 0 1 <nil>
}

func TestMain(m *testing.M) {
	dbtest.Main(m, func(path string) (storage.Stores, error) {
		db, err := sqlite.Open(context.Background(), path, nil)
		if err != nil {
			return storage.Stores{}, err
		}
		return db.Stores(), nil
	})
}

func TestKill9(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	dbtest.Kill9(t, open(t, path).Stores(), path)
}

func TestBudget(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "mdm.db"))
	dbtest.Budget(t, db.Stores(), db.Statements, 1, 5, 8, 8)
}

// opener opens a file with a clock.
func opener(t *testing.T, path string) func(clock func() time.Time) storage.Stores {
	return func(clock func() time.Time) storage.Stores {
		db, err := sqlite.Open(t.Context(), path, &sqlite.Config{Clock: clock})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, db.Close()) })
		return db.Stores()
	}
}

func TestTakeOver(t *testing.T) { dbtest.TakeOver(t, opener(t, filepath.Join(t.TempDir(), "mdm.db"))) }

func TestClockBack(t *testing.T) {
	dbtest.ClockBack(t, opener(t, filepath.Join(t.TempDir(), "mdm.db")))
}

func TestKilledFanOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	dbtest.KilledFanOut(t, path, opener(t, path))
}

func TestKilledWave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	dbtest.KilledWave(t, path, open(t, path).Stores())
}

func TestStepBudget(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "mdm.db"))
	dbtest.StepBudget(t, db.Stores(), db.Statements, 5, 9)
}

func TestChaos(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	dbtest.Chaos(t, path, open(t, path).Stores(), 300, 4)
}

func TestKilledAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	dbtest.KilledAudit(t, path, open(t, path).Stores())
}

func TestKilledKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	dbtest.KilledKeep(t, path, open(t, path).Stores())
}

// In the process a statement costs little, and each row has its own.
func TestKeepBudget(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "mdm.db"))
	dbtest.KeepBudget(t, db.Stores(), db.Statements, 4+2*dep.MaxBatch, 4+dep.MaxBatch, 4)
}

func schemaOf(t *testing.T) dbtest.Schema {
	path := filepath.Join(t.TempDir(), "mdm.db")
	return dbtest.Schema{
		Open: func(bool) (dbtest.Store, error) { return sqlite.Open(t.Context(), path, nil) },
		Exec: func(t testing.TB, statement string) {
			db, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			_, err = db.Exec(statement)
			require.NoError(t, err, statement)
			require.NoError(t, db.Close())
		},
		Dialect:    sqlite.Dialect,
		DropIndex:  func(name, _ string) string { return "DROP INDEX " + name },
		SetVersion: "PRAGMA user_version = %d",
	}
}

func TestUpgrade(t *testing.T) { schemaOf(t).Upgrade(t) }

func TestFormerGeneration(t *testing.T) { schemaOf(t).FormerGeneration(t) }

func ExampleScript() {
	var b strings.Builder
	if err := sqlite.Script(&b); err != nil {
		fmt.Println(err)
	}
	fmt.Println(strings.Contains(b.String(), "CREATE TABLE mdm_queue"))
	// Output: true
}
