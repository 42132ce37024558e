package practice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// ending returns an Ending that revokes certificates.
func (l *lab) ending() *practice.Ending {
	return &practice.Ending{Roster: l.stores.Roster, Profile: func(*mdm.Enrollment) string { return "com.example.mdm" }, End: l.end,
		Inventory: l.stores.Inventory, Revoke: l.revoke}
}

func (l *lab) endingOf(p *practice.Ending, d *mdmtest.Device) workflow.Run {
	l.Helper()
	r, err := p.Begin(l.Context(), l.server.Workflows(), id(d), practice.EndingOrder{Actor: "ada", Reason: "sold"})
	require.NoError(l, err)
	l.flush()
	return r
}

// certificates returns the status of each certificate of a device.
func (l *lab) certificates(d *mdmtest.Device) map[mdm.Fingerprint]mdm.CertificateStatus {
	l.Helper()
	all, err := l.stores.Inventory.Certificates(l.Context(), id(d))
	require.NoError(l, err)
	out := map[mdm.Fingerprint]mdm.CertificateStatus{}
	for _, c := range all {
		out[c.Fingerprint] = c.Status
	}
	return out
}

// bearer returns the fingerprint of the certificate that a device has.
func bearer(d *mdmtest.Device) mdm.Fingerprint { return mdm.FingerprintOf(d.Certificate()) }

func TestBP14_CertificatesAreRevokedAfterTheEnd(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		ending := l.ending()
		var cleaned []practice.Ended
		ending.CleanUp = func(_ context.Context, e practice.Ended) error { cleaned = append(cleaned, e); return nil }
		l.serve(nil, ending.Workflows()...)
		polite, away, other := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		former := bearer(away)
		require.NoError(t, away.InstallEnrollment(t.Context(), l.enrollment(mdm.PurposeRenew, away.ID())))
		l.settle(l.devices...)
		require.NotEqual(t, former, bearer(away), "it has renewed its identity")
		backup := polite.Backup()
		its := bearer(polite)
		l.endingOf(ending, polite)
		run := l.endingOf(ending, away)
		assert.Equal(t, mdm.CertificateActive, l.certificates(away)[bearer(away)], "it has to come for the command with it")
		require.NoError(t, polite.CheckOut(t.Context()))
		l.flush()
		assert.Equal(t, map[mdm.Fingerprint]mdm.CertificateStatus{its: mdm.CertificateRevoked}, l.certificates(polite))
		l.leap(8 * 24 * time.Hour)
		assert.Equal(t, workflow.Done, l.run(run.ID).Status)
		assert.Equal(t, map[mdm.Fingerprint]mdm.CertificateStatus{former: mdm.CertificateRevoked, bearer(away): mdm.CertificateRevoked}, l.certificates(away))
		require.Len(t, cleaned, 2)
		assert.Len(t, cleaned[1].Revoked, 2, "whoever keeps a list of them is told")

		// Revoked or not, they are told to remove their profiles; also the one that has its profile back.
		var refused *mdmtest.StatusError
		require.ErrorAs(t, away.Poll(t.Context()), &refused)
		assert.True(t, refused.Unenrolls())
		require.ErrorAs(t, polite.Restore(t.Context(), backup), &refused)
		assert.True(t, refused.Unenrolls())

		assert.Equal(t, map[mdm.Fingerprint]mdm.CertificateStatus{bearer(other): mdm.CertificateActive}, l.certificates(other))
		require.NoError(t, other.Poll(t.Context()))
		denied, err := l.stores.Deny.Denials(t.Context(), "")
		require.NoError(t, err)
		assert.Empty(t, denied)
	})
}

func TestBP14_OnlyWhoCheckedOutIsDenied(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		ending := l.ending()
		ending.Deny = l.stores.Deny
		l.serve(nil, ending.Workflows()...)
		polite, away := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		l.settle(l.devices...)
		its := bearer(polite)
		l.endingOf(ending, polite)
		l.endingOf(ending, away)
		require.NoError(t, polite.CheckOut(t.Context()))
		l.leap(8 * 24 * time.Hour)
		denied, err := l.stores.Deny.Denials(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, []identity.Denial{{Fingerprint: its, Reason: "sold"}}, denied)
		var refused *mdmtest.StatusError
		require.ErrorAs(t, away.Poll(t.Context()), &refused)
		assert.True(t, refused.Unenrolls())
		polite.Wipe()
		require.NoError(t, polite.Enroll(t.Context(), l.https.URL+"/enroll"), "the device itself is not denied")
	})
}

// brittle is an inventory that is down at first.
type brittle struct {
	identity.Inventory
	down int
}

func (b *brittle) Certificates(ctx context.Context, id mdm.EnrollmentID) ([]mdm.Certificate, error) {
	if b.down--; b.down >= 0 {
		return nil, errors.New("down")
	}
	return b.Inventory.Certificates(ctx, id)
}

func TestBP14_OutagesWhileRevoking(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		ending := l.ending()
		ending.Inventory = &brittle{Inventory: l.stores.Inventory, down: 2}
		failing, ends := 2, 2
		ending.Revoke = func(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, fp mdm.Fingerprint, reason string) (bool, error) {
			if failing--; failing >= 0 {
				return false, errors.New("down")
			}
			return l.revoke(ctx, id, g, fp, reason)
		}
		ending.End = func(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error {
			if ends--; ends >= 0 {
				return errors.New("down")
			}
			return l.end(ctx, id, g, reason)
		}
		l.serve(nil, ending.Workflows()...)
		d, other := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		l.settle(l.devices...)
		run := l.endingOf(ending, d)
		l.leap(7*24*time.Hour + time.Minute)
		assert.Equal(t, mdm.Enrolled, l.enrollmentOf(d).State, "the end waits")
		assert.Equal(t, mdm.CertificateActive, l.certificates(d)[bearer(d)])
		l.advance(8*time.Hour, other)
		assert.Equal(t, workflow.Done, l.run(run.ID).Status)
		assert.Equal(t, mdm.CertificateRevoked, l.certificates(d)[bearer(d)])
		assert.True(t, other.Managed())
		assert.Equal(t, mdm.CertificateActive, l.certificates(other)[bearer(other)])
	})
}

// TestBP14_EnrollsAnewWhileItIsEnded: between the step's look and the end of the enrollment the device has begun another one.
func TestBP14_EnrollsAnewWhileItIsEnded(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		ending := l.ending()
		var d *mdmtest.Device
		ending.End = func(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error {
			d.Wipe()
			if err := d.Enroll(ctx, l.https.URL+"/enroll"); err != nil {
				return err
			}
			return l.end(ctx, id, g, reason)
		}
		l.serve(nil, ending.Workflows()...)
		d = l.earthly(mdmtest.Config{})
		former := bearer(d)
		l.settle(d)
		run := l.endingOf(ending, d)
		l.leap(8 * 24 * time.Hour)
		assert.Equal(t, workflow.Done, l.run(run.ID).Status)
		assert.Contains(t, l.run(run.ID).Note, "anew")
		assert.Equal(t, mdm.Enrolled, l.enrollmentOf(d).State)
		assert.Equal(t, map[mdm.Fingerprint]mdm.CertificateStatus{former: mdm.CertificateRevoked, bearer(d): mdm.CertificateActive}, l.certificates(d))
		require.NoError(t, d.Poll(t.Context()))
		assert.True(t, d.Managed())
	})
}

func TestBP14_RefusesHalfOfTheInterfaces(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		ending := l.ending()
		ending.Revoke = nil
		l.serve(nil, ending.Workflows()...)
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		_, err := ending.Begin(t.Context(), l.server.Workflows(), id(d), practice.EndingOrder{Actor: "ada", Reason: "sold"})
		require.ErrorContains(t, err, "go together")
	})
}
