package migrate_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"fmt"
	"iter"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/migrate"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/sqlite"
)

const topic = "com.apple.mgmt.External.migrate"

var begin = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// certificate is what a device presents. Nothing of it is checked below the server.
func certificate(name string) *x509.Certificate {
	raw := sha256.Sum256([]byte(name))
	return &x509.Certificate{Raw: raw[:], SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
}

func fingerprint(name string) mdm.Fingerprint { return mdm.FingerprintOf(certificate(name)) }

func commandBody(kind, uuid string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>Command</key><dict><key>RequestType</key><string>%s</string></dict>
<key>CommandUUID</key><string>%s</string></dict></plist>`, kind, uuid)
}

// fleet is a source that is a list.
type fleet struct {
	records []migrate.Record
	pushes  []push.Certificate
	err     error // after the records
}

func (f *fleet) Records(_ context.Context, after string) iter.Seq2[migrate.Record, error] {
	return func(yield func(migrate.Record, error) bool) {
		passed := after == ""
		for _, r := range f.records {
			if passed && !yield(r, nil) {
				return
			}
			passed = passed || r.Position == after
		}
		if f.err != nil {
			yield(migrate.Record{}, f.err)
		}
	}
}

func (f *fleet) PushCertificates(context.Context) iter.Seq2[push.Certificate, error] {
	return func(yield func(push.Certificate, error) bool) {
		for _, c := range f.pushes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// phone is a record of an enrolled device with a certificate of its name, tokens, and commands with these UUIDs.
func phone(name string, uuids ...string) migrate.Record {
	return migrate.Record{
		Position: name,
		Enrollment: mdm.Enrollment{
			ID: mdm.EnrollmentID{Device: name}, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Topic: topic,
			PushToken: []byte("token of " + name), PushMagic: "magic of " + name,
			Device:          mdm.Device{SerialNumber: "SN" + name, ProductName: "iPhone15,2", OSVersion: "17.4"},
			AuthenticatedAt: begin, EnrolledAt: begin, TokenUpdatedAt: begin.Add(time.Minute),
		},
		Certificates:   []mdm.Certificate{{Fingerprint: fingerprint(name), Status: mdm.CertificateActive, BoundAt: begin}},
		UnlockToken:    mdm.SecretString("unlock " + name),
		BootstrapToken: mdm.SecretString("bootstrap " + name),
		Commands:       queued(uuids...),
	}
}

func queued(uuids ...string) iter.Seq2[migrate.Command, error] {
	return func(yield func(migrate.Command, error) bool) {
		for _, uuid := range uuids {
			if !yield(migrate.Command{UUID: uuid, Body: commandBody("ProfileList", uuid)}, nil) {
				return
			}
		}
	}
}

func user(device, name string, uuids ...string) migrate.Record {
	r := phone(device, uuids...)
	r.Position, r.Certificates, r.UnlockToken, r.BootstrapToken = device+"/"+name, nil, mdm.Secret{}, mdm.Secret{}
	r.Enrollment.ID.User, r.Enrollment.Channel, r.Enrollment.Device = name, mdm.UserChannel, mdm.Device{}
	r.Enrollment.UserShortName = name
	return r
}

// client speaks for a channel as a server would, with the certificate of a name.
type client struct {
	t      testing.TB
	stores storage.Stores
	id     mdm.EnrollmentID
	cert   string
	policy identity.Policy
}

func (c client) report(status command.Status, uuid string) (*command.Offer, error) {
	service := command.Service{Store: c.stores.Command, Policy: c.policy}
	channel := mdm.DeviceChannel
	if c.id.IsUser() {
		channel = mdm.UserChannel
	}
	cert := certificate(c.cert)
	return service.Report(c.t.Context(), &command.Request{ID: c.id, Channel: channel, Certificate: cert, Fingerprint: mdm.FingerprintOf(cert),
		Status: status, CommandUUID: uuid, Raw: []byte("report " + uuid), At: time.Now()})
}

// run acknowledges everything and returns the UUIDs in the order in which they were offered.
func (c client) run() (uuids []string) {
	c.t.Helper()
	offer, err := c.report(command.StatusIdle, "")
	for ; offer != nil && err == nil; offer, err = c.report(command.StatusAcknowledged, offer.UUID) {
		uuids = append(uuids, offer.UUID)
	}
	require.NoError(c.t, err, "a report of %s", c.id)
	return uuids
}

func (c client) tokenUpdate(token string) error {
	service := checkin.Service{Store: c.stores.Checkin, Escrow: c.stores.Escrow, Identity: c.policy}
	cert := certificate(c.cert)
	_, err := service.Checkin(c.t.Context(), &checkin.Request{ID: c.id, Channel: mdm.DeviceChannel, Identifiers: mdm.Identifiers{UDID: c.id.Device},
		Certificate: cert, Fingerprint: mdm.FingerprintOf(cert), At: time.Now(),
		Message: &checkin.TokenUpdate{Topic: topic, Token: []byte(token), PushMagic: "new magic"}})
	return err
}

// bothStores runs a test on the two stores that need no server.
func bothStores(t *testing.T, test func(t *testing.T, stores storage.Stores)) {
	t.Run("memory", func(t *testing.T) { test(t, memory.New().Stores()) })
	t.Run("sqlite", func(t *testing.T) {
		stores, _ := openSQLite(t)
		test(t, stores)
	})
}

func openSQLite(t testing.TB) (storage.Stores, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mdm.db")
	db, err := sqlite.Open(context.Background(), path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db.Stores(), path
}

// dump returns every row of every table of a SQLite file.
func dump(t testing.TB, path string) (rows []string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	tables, err := db.Query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
	require.NoError(t, err)
	var names []string
	for tables.Next() {
		var name string
		require.NoError(t, tables.Scan(&name))
		names = append(names, name)
	}
	require.NoError(t, tables.Err())
	for _, name := range names {
		rows = append(rows, dumpTable(t, db, name)...)
	}
	return rows
}

func dumpTable(t testing.TB, db *sql.DB, name string) (out []string) {
	t.Helper()
	rows, err := db.Query("SELECT * FROM " + name)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		out = append(out, fmt.Sprintf("%s %x", name, values))
	}
	require.NoError(t, rows.Err())
	return out
}

func migrated(t testing.TB, src migrate.Source, stores storage.Stores, opts migrate.Options) migrate.Report {
	t.Helper()
	report, err := migrate.Run(t.Context(), src, stores, opts)
	require.NoError(t, err)
	return report
}

func enrollment(t testing.TB, stores storage.Stores, id mdm.EnrollmentID) *mdm.Enrollment {
	t.Helper()
	e, err := stores.Roster.Enrollment(t.Context(), id)
	require.NoError(t, err)
	return e
}

// secrets reads both tokens of a device.
func secrets(t testing.TB, stores storage.Stores, id mdm.EnrollmentID) (unlock, bootstrap string) {
	t.Helper()
	u, err := stores.Escrow.UnlockToken(t.Context(), id, "test")
	require.NoError(t, err)
	b, err := stores.Escrow.BootstrapToken(t.Context(), id, "test")
	require.NoError(t, err)
	return string(u.Reveal()), string(b.Reveal())
}
