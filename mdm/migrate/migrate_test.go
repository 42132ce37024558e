package migrate_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/migrate"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/sqlite"
)

func TestDeviceGoesOn(t *testing.T) {
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		src := &fleet{records: []migrate.Record{phone("A", "one", "two"), phone("B"), user("A", "anna", "three")}}
		report := migrated(t, src, stores, migrate.Options{})
		assert.Equal(t, migrate.Report{Enrollments: 2, Users: 1, Certificates: 2, UnlockTokens: 2, BootstrapTokens: 2, Commands: 3,
			Position: "A/anna"}, report)

		pushes, err := stores.Push.DuePushes(t.Context(), time.Now().Add(24*time.Hour), 100, time.Minute)
		require.NoError(t, err)
		assert.Empty(t, pushes, "an import pushes nobody")

		a := mdm.EnrollmentID{Device: "A"}
		unlock, bootstrap := secrets(t, stores, a)
		assert.Equal(t, []string{"unlock A", "bootstrap A"}, []string{unlock, bootstrap})
		row := enrollment(t, stores, a)
		assert.Equal(t, "SNA", row.Device.SerialNumber)
		assert.Equal(t, []byte("token of A"), row.PushToken)
		assert.True(t, row.LastSeenAt.IsZero(), "the device was not seen here")

		assert.Equal(t, []string{"one", "two"}, client{t: t, stores: stores, id: a, cert: "A"}.run())
		anna := mdm.EnrollmentID{Device: "A", User: "anna"}
		assert.Equal(t, []string{"three"}, client{t: t, stores: stores, id: anna, cert: "A"}.run())
		_, err = client{t: t, stores: stores, id: a, cert: "B"}.report(command.StatusIdle, "")
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "the certificate of another device")
	})
}

func TestDeviceWithoutCertificate(t *testing.T) {
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		rec := phone("A", "one")
		rec.Certificates = nil
		report := migrated(t, &fleet{records: []migrate.Record{rec}}, stores, migrate.Options{})
		assert.Equal(t, 1, report.Unbound)

		c := client{t: t, stores: stores, id: rec.Enrollment.ID, cert: "A"}
		_, err := c.report(command.StatusIdle, "")
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "refused, but not unenrolled")
		c.policy = identity.Policy{AdoptUntil: time.Now().Add(time.Hour)}
		assert.Equal(t, []string{"one"}, c.run())
		c.policy = identity.Policy{}
		assert.Empty(t, c.run(), "the certificate is bound now")
	})
}

func TestAgainChangesNothing(t *testing.T) {
	stores, path := openSQLite(t)
	cert, err := mdmtest.NewPushCertificate(topic)
	require.NoError(t, err)
	src := &fleet{records: []migrate.Record{phone("A", "one"), phone("B", "one"), user("A", "anna", "two")}, pushes: []push.Certificate{cert}}
	src.records[1].Certificates = append(src.records[1].Certificates, mdm.Certificate{Fingerprint: fingerprint("old B"), Status: mdm.CertificateRetired})
	first := migrated(t, src, stores, migrate.Options{})
	before := dump(t, path)
	require.Greater(t, len(before), 10)

	again := migrated(t, src, stores, migrate.Options{})
	assert.Equal(t, before, dump(t, path))
	assert.Equal(t, 3, again.Unchanged)
	again.Unchanged = 0
	assert.Equal(t, first, again, "the counts are of what the target has")
}

func TestDryRun(t *testing.T) {
	bad := migrate.Record{Position: "bad", Err: errors.New("unreadable")}
	bad.Enrollment.ID = mdm.EnrollmentID{Device: "bad"}
	shared := phone("C")
	shared.Certificates[0].Fingerprint = fingerprint("A")
	broken := phone("D", "four")
	broken.Commands = func(yield func(migrate.Command, error) bool) {
		yield(migrate.Command{UUID: "four", Body: []byte("no property list")}, nil)
	}
	src := &fleet{records: []migrate.Record{phone("A", "one"), bad, shared, broken, user("A", "anna"), user("bad", "bob"),
		{Position: "gone", NotEnrolled: "checked out"}}}
	src.records[5].Enrollment.ID.Device = "bad"
	stores, path := openSQLite(t)
	before := dump(t, path)
	dry := migrated(t, src, stores, migrate.Options{DryRun: true, Workers: 1})
	assert.Equal(t, before, dump(t, path), "nothing is written")

	real := migrated(t, src, stores, migrate.Options{Workers: 1})
	assert.True(t, dry.DryRun)
	dry.DryRun = false
	assert.Equal(t, real, dry)
	assert.Equal(t, 4, real.Skipped, "the bad record, its user, the second owner of a certificate, a command")
	assert.Equal(t, 1, real.NotEnrolled)
	assert.Equal(t, 1, real.Unbound)
	assert.Len(t, real.Problems, 4)
}

func TestWhoSpokeHereIsKept(t *testing.T) {
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		src := &fleet{records: []migrate.Record{phone("A", "one")}}
		migrated(t, src, stores, migrate.Options{})
		a := client{t: t, stores: stores, id: mdm.EnrollmentID{Device: "A"}, cert: "A"}
		require.NoError(t, a.tokenUpdate("a new token"))
		assert.Equal(t, []string{"one"}, a.run())

		src.records[0].Enrollment.PushToken = []byte("changed at the source") // it goes on, too
		src.records[0].BootstrapToken, src.records[0].Commands = mdm.SecretString("changed at the source"), queued("one", "late")
		report := migrated(t, src, stores, migrate.Options{})
		assert.Equal(t, 1, report.Kept)
		assert.Equal(t, []byte("a new token"), enrollment(t, stores, a.id).PushToken)
		_, bootstrap := secrets(t, stores, a.id)
		assert.Equal(t, "bootstrap A", bootstrap)
		assert.Equal(t, []string{"late"}, a.run(), "the answered command is not queued again, the new one is")
	})
}

// LastSeenAt is written behind, at the latest when the store is closed.
func TestOnePollIsEnough(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	src := &fleet{records: []migrate.Record{phone("A")}}
	db, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	migrated(t, src, db.Stores(), migrate.Options{})
	client{t: t, stores: db.Stores(), id: mdm.EnrollmentID{Device: "A"}, cert: "A"}.run()
	require.NoError(t, db.Close())

	db, err = sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	src.records[0].Enrollment.PushToken = []byte("changed at the source")
	assert.Equal(t, 1, migrated(t, src, db.Stores(), migrate.Options{}).Kept)
	assert.Equal(t, []byte("token of A"), enrollment(t, db.Stores(), mdm.EnrollmentID{Device: "A"}).PushToken)
	require.NoError(t, db.Close())
}

func TestWhoEnrolledHereIsKept(t *testing.T) {
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		own := phone("A", "old")
		row := own.Enrollment
		row.Generation, row.Arrival, row.AuthenticatedAt = 1, mdm.EventEnrolled, begin.Add(time.Hour)
		require.NoError(t, stores.Checkin.Update(t.Context(), checkin.Key{ID: row.ID}, func(*checkin.Situation) (checkin.Plan, error) {
			return checkin.Plan{Enrollments: []mdm.Enrollment{row}}, nil
		}))
		report := migrated(t, &fleet{records: []migrate.Record{own, user("A", "anna", "old too")}}, stores, migrate.Options{})
		assert.Equal(t, 2, report.Kept, "its user is of the former installation")
		assert.Zero(t, report.Commands)
		assert.Equal(t, mdm.EventEnrolled, enrollment(t, stores, row.ID).Arrival)
	})
}

func TestSourceWentOn(t *testing.T) {
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		src := &fleet{records: []migrate.Record{phone("A", "one")}}
		migrated(t, src, stores, migrate.Options{})
		rec := &src.records[0]
		rec.Enrollment.PushToken, rec.Enrollment.TokenUpdatedAt = []byte("newer"), begin.Add(time.Hour)
		rec.BootstrapToken, rec.Commands = mdm.SecretString("newer"), queued("one", "two")
		rec.Certificates = []mdm.Certificate{{Fingerprint: fingerprint("renewed"), Status: mdm.CertificateActive},
			{Fingerprint: fingerprint("A"), Status: mdm.CertificateRetired}}
		report := migrated(t, src, stores, migrate.Options{})
		assert.Zero(t, report.Unchanged)
		assert.Zero(t, report.Kept)

		c := client{t: t, stores: stores, id: rec.Enrollment.ID, cert: "A"}
		_, err := c.report(command.StatusIdle, "")
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "the certificate was replaced")
		c.cert = "renewed"
		assert.Equal(t, []string{"one", "two"}, c.run())
		assert.Equal(t, []byte("newer"), enrollment(t, stores, c.id).PushToken)
		_, bootstrap := secrets(t, stores, c.id)
		assert.Equal(t, "newer", bootstrap)
	})
}

// A renewal that was under way at the source: the device goes on with either certificate.
func TestPending(t *testing.T) {
	for _, cert := range []string{"old", "new"} {
		bothStores(t, func(t *testing.T, stores storage.Stores) {
			rec := phone("A")
			rec.Enrollment.State = mdm.Pending
			rec.Certificates = []mdm.Certificate{{Fingerprint: fingerprint("old"), Status: mdm.CertificateActive},
				{Fingerprint: fingerprint("new"), Status: mdm.CertificatePending}}
			src := &fleet{records: []migrate.Record{rec}}
			assert.Equal(t, 2, migrated(t, src, stores, migrate.Options{}).Certificates)
			assert.Equal(t, 1, migrated(t, src, stores, migrate.Options{}).Unchanged)

			c := client{t: t, stores: stores, id: rec.Enrollment.ID, cert: cert}
			if cert == "old" { // it failed on the device
				assert.Empty(t, c.run())
			} else {
				require.NoError(t, c.tokenUpdate("new token"))
			}
			assert.Equal(t, mdm.Enrolled, enrollment(t, stores, c.id).State)
		})
	}
}

func TestGoOn(t *testing.T) {
	stores := memory.New().Stores()
	src := &fleet{err: errors.New("the source is away")}
	for _, name := range []string{"A", "B", "C"} {
		src.records = append(src.records, phone(name, "uuid"+name))
	}
	report, err := migrate.Run(t.Context(), src, stores, migrate.Options{})
	require.ErrorContains(t, err, "the source is away")
	assert.Equal(t, "C", report.Position, "what was read is written")

	src.err = nil
	src.records = append(src.records, phone("D"))
	report = migrated(t, src, stores, migrate.Options{After: report.Position})
	assert.Equal(t, 1, report.Enrollments)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err = migrate.Run(ctx, src, stores, migrate.Options{After: "B"})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "B", report.Position)
}

func TestProgress(t *testing.T) {
	src := &fleet{}
	for _, name := range []string{"A", "B", "C", "D", "E"} {
		src.records = append(src.records, phone(name))
	}
	var seen []int
	migrated(t, src, memory.New().Stores(), migrate.Options{Workers: 2, Progress: func(r migrate.Report) { seen = append(seen, r.Enrollments) }})
	assert.Equal(t, []int{2, 4, 5}, seen)
}

func TestTenant(t *testing.T) {
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		src := &fleet{records: []migrate.Record{phone("A", "one"), user("A", "anna")}}
		report := migrated(t, src, stores, migrate.Options{Tenant: "acme"})
		assert.Equal(t, 2, report.Enrollments+report.Users)
		c := client{t: t, stores: stores, id: mdm.EnrollmentID{Tenant: "acme", Device: "A"}, cert: "A"}
		assert.Equal(t, []string{"one"}, c.run())
		_, err := stores.Roster.Enrollment(t.Context(), mdm.EnrollmentID{Device: "A"})
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
	})
}

func TestPushCertificateIsKept(t *testing.T) {
	stores := memory.New().Stores()
	theirs, err := mdmtest.NewPushCertificate(topic)
	require.NoError(t, err)
	ours := theirs
	ours.NotAfter = theirs.NotAfter.Add(time.Hour)
	require.NoError(t, stores.PushCertificates.SavePushCertificate(t.Context(), ours))
	report := migrated(t, &fleet{pushes: []push.Certificate{theirs}}, stores, migrate.Options{})
	assert.Equal(t, 1, report.Kept)

	ours.NotAfter = theirs.NotAfter.Add(-time.Hour)
	require.NoError(t, stores.PushCertificates.SavePushCertificate(t.Context(), ours))
	report = migrated(t, &fleet{pushes: []push.Certificate{theirs}}, stores, migrate.Options{})
	assert.Equal(t, 1, report.PushCertificates)
}
