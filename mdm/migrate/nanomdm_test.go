package migrate_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	driversql "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/migrate"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

// nanoTables are the columns of NanoMDM that are read; %s are the types of binary data and of flags.
const nanoTables = `
CREATE TABLE devices (id VARCHAR(255) PRIMARY KEY, identity_cert TEXT, unlock_token %[1]s, bootstrap_token_b64 TEXT, authenticate TEXT NOT NULL,
	authenticate_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, token_update TEXT, token_update_at TIMESTAMP NULL);
CREATE TABLE users (id VARCHAR(255) PRIMARY KEY, device_id VARCHAR(255) NOT NULL, user_short_name VARCHAR(255), user_long_name VARCHAR(255),
	token_update TEXT, token_update_at TIMESTAMP NULL);
CREATE TABLE enrollments (id VARCHAR(255) PRIMARY KEY, device_id VARCHAR(255) NOT NULL, user_id VARCHAR(255), type VARCHAR(31) NOT NULL,
	topic VARCHAR(255) NOT NULL, push_magic VARCHAR(127) NOT NULL, token_hex VARCHAR(255) NOT NULL, enabled BOOLEAN NOT NULL DEFAULT %[2]s);
CREATE TABLE commands (command_uuid VARCHAR(127) PRIMARY KEY, request_type VARCHAR(63) NOT NULL, command %[3]s NOT NULL);
CREATE TABLE command_results (id VARCHAR(255), command_uuid VARCHAR(127), status VARCHAR(31) NOT NULL, PRIMARY KEY (id, command_uuid));
CREATE TABLE enrollment_queue (id VARCHAR(255), command_uuid VARCHAR(127), active BOOLEAN NOT NULL DEFAULT %[2]s, priority SMALLINT NOT NULL DEFAULT 0,
	created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (id, command_uuid));
CREATE TABLE push_certs (topic VARCHAR(255) PRIMARY KEY, cert_pem TEXT NOT NULL, key_pem TEXT NOT NULL);
CREATE TABLE cert_auth_associations (id VARCHAR(255), sha256 CHAR(64), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
	updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (id, sha256))`

// nano is a database that looks like NanoMDM's.
type nano struct {
	t   testing.TB
	db  *sql.DB
	src migrate.NanoMDM
}

// bothServers runs a test on the database servers that the environment names.
func bothServers(t *testing.T, test func(t *testing.T, n *nano)) {
	t.Run("postgres", func(t *testing.T) { test(t, openPostgres(t)) })
	t.Run("mysql", func(t *testing.T) { test(t, openMySQL(t)) })
}

func openPostgres(t testing.TB) *nano {
	return makeNano(t, "pgx", postgresDSN(t), migrate.PostgreSQL, "BYTEA", "TRUE", "TEXT")
}

func openMySQL(t testing.TB) *nano {
	return makeNano(t, "mysql", mysqlDSN(t), migrate.MySQL, "MEDIUMBLOB", "1", "MEDIUMTEXT")
}

// postgresDSN names an empty schema.
func postgresDSN(t testing.TB) string {
	dsn := os.Getenv("APPLEMDM_TEST_POSTGRES")
	if dsn == "" {
		t.Skip("APPLEMDM_TEST_POSTGRES names no PostgreSQL server")
	}
	name := scratch(t, "pgx", dsn, "CREATE SCHEMA %s", "DROP SCHEMA %s CASCADE")
	separator := map[bool]string{true: "&", false: "?"}[strings.Contains(dsn, "?")]
	return dsn + separator + "search_path=" + name
}

// mysqlDSN names an empty database.
func mysqlDSN(t testing.TB) string {
	dsn := os.Getenv("APPLEMDM_TEST_MYSQL")
	if dsn == "" {
		t.Skip("APPLEMDM_TEST_MYSQL names no MySQL server")
	}
	cfg, err := driversql.ParseDSN(dsn)
	require.NoError(t, err)
	cfg.DBName = scratch(t, "mysql", dsn, "CREATE DATABASE %s", "DROP DATABASE %s")
	return cfg.FormatDSN()
}

// scratch makes a schema or database for one test.
func scratch(t testing.TB, driver, dsn, create, drop string) string {
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	name := fmt.Sprintf("migrate_%x", rand.Uint64())
	_, err = db.Exec(fmt.Sprintf(create, name))
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec(fmt.Sprintf(drop, name))
		assert.NoError(t, err)
		assert.NoError(t, db.Close())
	})
	return name
}

func makeNano(t testing.TB, driver, dsn string, d migrate.Dialect, types ...any) *nano {
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	for _, table := range strings.Split(fmt.Sprintf(nanoTables, types...), ";") {
		_, err := db.Exec(table)
		require.NoError(t, err)
	}
	return &nano{t: t, db: db, src: migrate.NanoMDM{DB: db, Dialect: d}}
}

func (n *nano) exec(query string, args ...any) {
	n.t.Helper()
	if n.src.Dialect == migrate.PostgreSQL {
		for i := 1; strings.Contains(query, "?"); i++ {
			query = strings.Replace(query, "?", fmt.Sprintf("$%d", i), 1)
		}
	}
	_, err := n.db.Exec(query, args...)
	require.NoError(n.t, err)
}

func stamp(at time.Time) string { return at.UTC().Format(time.DateTime) }

func plist(t testing.TB, m checkin.Message) string {
	body, err := checkin.Encode(m)
	require.NoError(t, err)
	return string(body)
}

// device adds an enrolled device as NanoMDM does.
func (n *nano) device(ids mdm.Identifiers) {
	n.t.Helper()
	id := ids.UDID + ids.EnrollmentID
	first := &checkin.Authenticate{Common: checkin.Common{Identifiers: ids}, Topic: topic,
		Device: mdm.Device{Name: "Name of " + id, SerialNumber: "SN" + id, ProductName: "iPhone15,2", OSVersion: "17.4"}}
	update := &checkin.TokenUpdate{Common: checkin.Common{Identifiers: ids}, Topic: topic, Token: []byte("token of " + id), PushMagic: "magic of " + id,
		AwaitingConfiguration: new(true)}
	n.exec(`INSERT INTO devices (id, unlock_token, bootstrap_token_b64, authenticate, authenticate_at, token_update, token_update_at)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, id, []byte("unlock \x00\xff "+id), base64.StdEncoding.EncodeToString([]byte("bootstrap "+id)),
		plist(n.t, first), stamp(begin), plist(n.t, update), stamp(begin.Add(time.Minute)))
	n.enrollment(id, id, nil, "Device", update)
	n.associate(id, id, begin)
}

func (n *nano) enrollment(id, device string, user any, kind string, m *checkin.TokenUpdate) {
	n.t.Helper()
	n.exec("INSERT INTO enrollments (id, device_id, user_id, type, topic, push_magic, token_hex) VALUES (?, ?, ?, ?, ?, ?, ?)",
		id, device, user, kind, topic, m.PushMagic, hex.EncodeToString(m.Token))
}

func (n *nano) user(ids mdm.Identifiers, name string) string {
	n.t.Helper()
	device := ids.UDID + ids.EnrollmentID
	id := device + ":" + name
	update := &checkin.TokenUpdate{Common: checkin.Common{Identifiers: ids}, Topic: topic, Token: []byte("token of " + id), PushMagic: "magic"}
	n.exec("INSERT INTO users (id, device_id, user_short_name, token_update, token_update_at) VALUES (?, ?, ?, ?, ?)",
		id, device, ids.UserShortName, plist(n.t, update), stamp(begin.Add(2*time.Minute)))
	n.enrollment(id, device, id, "User", update)
	return id
}

// associate binds the certificate of a name.
func (n *nano) associate(id, cert string, at time.Time) {
	n.t.Helper()
	n.exec("INSERT INTO cert_auth_associations (id, sha256, created_at, updated_at) VALUES (?, ?, ?, ?)", id, fingerprint(cert).String(), stamp(at), stamp(at))
}

// command adds a command and queues it in order of minute.
func (n *nano) command(uuid string, minute int, ids ...string) {
	n.t.Helper()
	n.exec("INSERT INTO commands (command_uuid, request_type, command) VALUES (?, ?, ?)", uuid, "ProfileList", string(commandBody("ProfileList", uuid)))
	for _, id := range ids {
		n.exec("INSERT INTO enrollment_queue (id, command_uuid, created_at) VALUES (?, ?, ?)", id, uuid, stamp(begin.Add(time.Duration(minute)*time.Minute)))
	}
}

func (n *nano) result(id, uuid, status string) {
	n.t.Helper()
	n.exec("INSERT INTO command_results (id, command_uuid, status) VALUES (?, ?, ?)", id, uuid, status)
}

func udid(name string) mdm.Identifiers { return mdm.Identifiers{UDID: name} }

func TestNanoMDM(t *testing.T) {
	bothServers(t, func(t *testing.T, n *nano) {
		n.device(udid("A"))
		n.device(mdm.Identifiers{EnrollmentID: "byod"})
		anna := n.user(mdm.Identifiers{UDID: "A", UserID: "anna-guid", UserShortName: "anna"}, "anna-guid")
		shared := n.user(mdm.Identifiers{UDID: "A", UserID: mdm.SharedIPadUserID, UserShortName: "bob@example.com"}, "bob@example.com")
		n.command("later", 5, "A")
		n.command("first", 1, "A", "byod", anna)
		n.command("notnow", 2, "A")
		n.command("acknowledged", 3, "A")
		n.command("failed", 3, "A")
		n.command("format", 3, "A")
		n.command("cleared", 3, "A")
		n.command("urgent", 9, "A", shared)
		n.result("A", "notnow", "NotNow")
		n.result("A", "acknowledged", "Acknowledged")
		n.result("A", "failed", "Error")
		n.result("A", "format", "CommandFormatError")
		n.exec("UPDATE enrollment_queue SET active = FALSE WHERE command_uuid = 'cleared'")
		n.exec("UPDATE enrollment_queue SET priority = 7 WHERE command_uuid = 'urgent'")

		bothStores(t, func(t *testing.T, stores storage.Stores) {
			report := migrated(t, n.src, stores, migrate.Options{})
			assert.Equal(t, migrate.Report{Enrollments: 2, Users: 2, Certificates: 2, UnlockTokens: 2, BootstrapTokens: 2, Commands: 7,
				Position: "user:" + shared}, report)
			assert.Equal(t, 4, migrated(t, n.src, stores, migrate.Options{}).Unchanged)

			a := mdm.EnrollmentID{Device: "A"}
			row := enrollment(t, stores, a)
			assert.Equal(t, mdm.Device{Name: "Name of A", SerialNumber: "SNA", ProductName: "iPhone15,2", OSVersion: "17.4"}, row.Device)
			assert.Equal(t, []string{"token of A", "magic of A", topic}, []string{string(row.PushToken), row.PushMagic, row.Topic})
			assert.True(t, row.AwaitingConfiguration)
			assert.Equal(t, time.Minute, row.TokenUpdatedAt.Sub(row.AuthenticatedAt))
			unlock, bootstrap := secrets(t, stores, a)
			assert.Equal(t, []string{"unlock \x00\xff A", "bootstrap A"}, []string{unlock, bootstrap})

			assert.Equal(t, []string{"urgent", "first", "notnow", "later"}, client{t: t, stores: stores, id: a, cert: "A"}.run())
			byod := mdm.EnrollmentID{Device: "byod"}
			assert.Equal(t, mdm.UserEnrollmentChannel, enrollment(t, stores, byod).Channel)
			assert.Equal(t, []string{"first"}, client{t: t, stores: stores, id: byod, cert: "byod"}.run())
			a.User = "anna-guid"
			assert.Equal(t, []string{"first"}, client{t: t, stores: stores, id: a, cert: "A"}.run())
			a.User = "bob@example.com"
			assert.Equal(t, mdm.SharedIPadChannel, enrollment(t, stores, a).Channel)
			assert.Equal(t, []string{"urgent"}, client{t: t, stores: stores, id: a, cert: "A"}.run())
		})
	})
}

// A fleet with everything that goes wrong, over several pages.
func TestNanoMDMFleet(t *testing.T) {
	bothServers(t, func(t *testing.T, n *nano) {
		const size = 350
		var commands []string
		want := migrate.Report{}
		for i := range size {
			id := fmt.Sprintf("D%04d", i)
			n.device(udid(id))
			switch {
			case i%10 == 0:
				n.exec("UPDATE enrollments SET enabled = FALSE WHERE id = ?", id) // checked out
				want.NotEnrolled++
				continue
			case i%31 == 1:
				n.exec("UPDATE devices SET authenticate = ? WHERE id = ?", "<?xml broken", id)
			case i%31 == 2:
				n.exec("UPDATE enrollments SET token_hex = 'secret, no hex' WHERE id = ?", id)
			case i%31 == 3:
				n.exec("UPDATE devices SET token_update = authenticate WHERE id = ?", id)
			default:
				want.Enrollments, want.UnlockTokens = want.Enrollments+1, want.UnlockTokens+1
				n.odd(i, id, &want)
				commands = append(commands, id)
				continue
			}
			want.Skipped++
		}
		n.command("for all", 1, commands...)
		want.Commands = len(commands)
		stores := memory.New().Stores()
		dry := migrated(t, n.src, stores, migrate.Options{DryRun: true})
		report := migrated(t, n.src, stores, migrate.Options{})
		for _, p := range report.Problems {
			assert.NotContains(t, p.Reason, "secret")
		}
		assert.Len(t, report.Problems, want.Skipped)
		want.Problems, want.Position, want.DryRun = dry.Problems, dry.Position, true
		assert.Equal(t, want, dry)
		want.DryRun = false
		assert.Equal(t, want, report)
	})
}

// odd changes a device so that it is still imported.
func (n *nano) odd(i int, id string, want *migrate.Report) {
	switch {
	case i%31 == 4:
		n.exec("DELETE FROM cert_auth_associations WHERE id = ?", id)
		want.Unbound++
	case i%31 == 5:
		n.exec("UPDATE devices SET bootstrap_token_b64 = '*secret*' WHERE id = ?", id)
		want.Skipped, want.Certificates = want.Skipped+1, want.Certificates+1
		return
	case i%31 == 6:
		n.user(mdm.Identifiers{UDID: id, UserID: "user"}, "user")
		want.Users, want.Certificates = want.Users+1, want.Certificates+1
	default:
		want.Certificates++
	}
	want.BootstrapTokens++
}

// A renewal was under way when NanoMDM stopped: it is disabled, but not gone.
func TestNanoMDMPending(t *testing.T) {
	bothServers(t, func(t *testing.T, n *nano) {
		for _, id := range []string{"rolled back", "went through"} {
			n.device(udid(id))
			n.associate(id, "new "+id, begin.Add(time.Hour))
			n.exec("UPDATE devices SET authenticate_at = ? WHERE id = ?", stamp(begin.Add(time.Hour)), id)
			n.exec("UPDATE enrollments SET enabled = FALSE WHERE id = ?", id)
		}
		bothStores(t, func(t *testing.T, stores storage.Stores) {
			report := migrated(t, n.src, stores, migrate.Options{})
			assert.Equal(t, []int{2, 4, 0}, []int{report.Enrollments, report.Certificates, report.Skipped})
			back := client{t: t, stores: stores, id: mdm.EnrollmentID{Device: "rolled back"}, cert: "rolled back"}
			assert.Empty(t, back.run())
			through := client{t: t, stores: stores, id: mdm.EnrollmentID{Device: "went through"}, cert: "new went through"}
			require.NoError(t, through.tokenUpdate("new token"))
			for _, c := range []client{back, through} {
				assert.Equal(t, mdm.Enrolled, enrollment(t, stores, c.id).State)
			}
		})
	})
}

// Of several certificates the one of the last Authenticate speaks for the device.
func TestNanoMDMCertificates(t *testing.T) {
	bothServers(t, func(t *testing.T, n *nano) {
		identity, err := mdmtest.NewPushCertificate(topic) // any certificate
		require.NoError(t, err)
		body := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity.TLS.Leaf.Raw}))
		n.device(udid("A"))
		n.device(udid("B"))
		n.exec("DELETE FROM cert_auth_associations WHERE id = 'B'")
		n.exec("UPDATE devices SET identity_cert = ?", body)
		n.exec("DELETE FROM devices WHERE id = 'B'")
		n.exec("INSERT INTO cert_auth_associations (id, sha256, updated_at) VALUES ('A', ?, ?)", mdm.FingerprintOf(identity.TLS.Leaf).String(),
			stamp(begin.Add(-time.Hour)))
		for r, err := range n.src.Records(t.Context(), "") {
			require.NoError(t, err)
			require.Len(t, r.Certificates, 2)
			assert.Equal(t, mdm.CertificateActive, r.Certificates[0].Status)
			assert.Equal(t, "CN=APSP:test", r.Certificates[0].Subject[strings.Index(r.Certificates[0].Subject, "CN="):][:12])
			assert.Equal(t, mdm.CertificateRetired, r.Certificates[1].Status)
			assert.Equal(t, fingerprint("A"), r.Certificates[1].Fingerprint)
		}
	})
}

func TestNanoMDMPushCertificates(t *testing.T) {
	bothServers(t, func(t *testing.T, n *nano) {
		cert, err := mdmtest.NewPushCertificate(topic)
		require.NoError(t, err)
		certPEM, keyPEM, err := cert.PEM()
		require.NoError(t, err)
		n.exec("INSERT INTO push_certs (topic, cert_pem, key_pem) VALUES (?, ?, ?)", "a", string(certPEM), "-----no key")
		n.exec("INSERT INTO push_certs (topic, cert_pem, key_pem) VALUES (?, ?, ?)", topic, string(certPEM), string(keyPEM.Reveal()))
		report := migrated(t, n.src, memory.New().Stores(), migrate.Options{})
		assert.Equal(t, []int{1, 1}, []int{report.PushCertificates, report.Skipped})
	})
}

func TestNanoMDMPosition(t *testing.T) {
	bothServers(t, func(t *testing.T, n *nano) {
		for i := range 205 {
			n.device(udid(fmt.Sprintf("D%03d", i)))
		}
		n.user(mdm.Identifiers{UDID: "D000", UserID: "anna"}, "anna")
		ctx, cancel := context.WithCancel(t.Context())
		stores, seen := memory.New().Stores(), 0
		report, err := migrate.Run(ctx, n.src, stores, migrate.Options{Workers: 10, Progress: func(r migrate.Report) {
			if seen = r.Enrollments; seen == 120 {
				cancel()
			}
		}})
		require.ErrorIs(t, err, context.Canceled)
		rest := migrated(t, n.src, stores, migrate.Options{After: report.Position})
		assert.Equal(t, 206, report.Enrollments+rest.Enrollments+rest.Users)
		assert.Zero(t, rest.Unchanged)
	})
}
