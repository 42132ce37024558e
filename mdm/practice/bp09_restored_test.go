package practice_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// byHand has a device renewed by an operator, with the recipe as it is.
func (b *bp09) byHand(d *mdmtest.Device) {
	b.Helper()
	e, err := b.stores.Roster.Enrollment(b.Context(), id(d))
	require.NoError(b, err)
	data, err := b.recipe.Bytes(b.Context(), enroll.Renewal(e))
	require.NoError(b, err)
	b.order(d, command.InstallProfile{Payload: data})
	b.settle(d)
}

// TestBP09_AnOlderProfileOutOfABackup: a device that comes back with an earlier identity has an earlier profile, and gets the one of today.
func TestBP09_AnOlderProfileOutOfABackup(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		d := b.arrived(mdmtest.Config{})
		backup := d.Backup()
		b.days(2, d)
		b.byHand(d)
		require.Equal(t, 1, b.count(d, mdm.EventRenewed))
		b.days(2, d)
		require.Equal(t, 1, bp09Installs(d), "what another has renewed is no reason")
		require.NoError(t, d.Restore(t.Context(), backup))
		b.settle(d)
		require.Equal(t, 1, b.count(d, mdm.EventRestored))
		assert.Equal(t, 2, b.count(d, mdm.EventRenewed))
		installs := bp09Installs(d)
		b.days(20, d)
		assert.Equal(t, installs, bp09Installs(d), "once")
		assert.Equal(t, "watch", b.run("renewal").Step)
	})
}

// TestBP09_RestoredIsNotRenewed: an earlier identity is not taken for the one that is waited for.
func TestBP09_RestoredIsNotRenewed(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		backup := d.Backup()
		b.days(20, d)
		b.byHand(d)
		b.days(38) // it is away, and its renewal is due; the identity of the backup is valid for two days
		require.NotEqual(t, "watch", b.run("renewal").Step)
		require.NoError(t, d.Restore(t.Context(), backup))
		b.flush()
		assert.NotEqual(t, "watch", b.run("renewal").Step)
		b.days(1, d)
		assert.Greater(t, b.left(d), 50*bp09Day)
	})
}

// TestBP09_NoSwitchForABackup: a device whose profile has come out of a backup lacks the new certificates again.
func TestBP09_NoSwitchForABackup(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		d := b.arrived(mdmtest.Config{})
		backup := d.Backup()
		b.days(2, d)
		b.trust.Carry = b.recipe.Enrollment.Roots
		_, err := b.trust.Begin(t.Context(), l.server.Workflows(), mdm.Filter{})
		require.NoError(t, err)
		b.settle(d)
		require.True(t, b.standing().Ready())
		require.NoError(t, d.Restore(t.Context(), backup))
		assert.Equal(t, practice.TrustStanding{Lack: 1, Lacking: []mdm.EnrollmentID{id(d)}}, b.standing())
		b.settle(d)
		assert.True(t, b.standing().Ready(), "its renewal brought them")
	})
}

// TestBP09_AnAlarmThatPanics: the profile goes out in any case.
func TestBP09_AnAlarmThatPanics(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		b.renewal.Alarm = func(context.Context, practice.RenewalAlarm) error { panic("nobody is there") }
		d := b.arrived(mdmtest.Config{})
		b.ahead.Add(int64(50 * bp09Day)) // nothing ran meanwhile, and an alarm is due with the first step
		b.settle()
		assert.Equal(t, workflow.Open, b.run("renewal").Status)
		b.settle(d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
	})
}
