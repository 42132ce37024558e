package practice_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/server"
)

// order puts a command on the queue of a device and returns its UUID.
func (l *lab) order(d *mdmtest.Device, c command.Command) string {
	l.Helper()
	receipt, err := l.stores.Command.Enqueue(l.Context(), command.Order{Command: c, To: mdm.IDs(id(d))})
	require.NoError(l, err)
	require.Equal(l, 1, receipt.Queued)
	return receipt.UUID
}

// states returns where the commands of a device stand, by UUID.
func (l *lab) states(d *mdmtest.Device) map[string]command.State {
	out := map[string]command.State{}
	for _, e := range l.queue(d) {
		out[e.UUID] = e.State
	}
	return out
}

// TestBP12_ADeadTokenMeansGone: neither pushes nor commands until the device speaks.
func TestBP12_ADeadTokenMeansGone(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var apns *line
		l.serve(func(c *server.Config) { apns = l.line(c) })
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		l.kill(apns, d)
		assert.True(t, l.has(d, mdm.EventGone))
		assert.True(t, l.has(d, mdm.EventPushFailed))
		before := apns.pushes(d)
		waiting := l.order(d, command.SecurityInfo{})
		l.leap(10 * 24 * time.Hour)
		assert.Equal(t, before, apns.pushes(d), "nobody pushes a dead token")
		assert.Empty(t, took(d))
		assert.Equal(t, command.Queued, l.states(d)[waiting], "and nothing is lost")
		assert.Equal(t, mdm.Enrolled, l.enrollmentOf(d).State)

		require.NoError(t, d.TokenUpdate(t.Context(), true))
		assert.Equal(t, mdm.Active, l.enrollmentOf(d).Presence)
		l.advance(time.Hour)
		assert.Greater(t, apns.pushes(d), before, "the new token is pushed for what waits")
		l.settle(d)
		assert.Equal(t, command.Acknowledged, l.states(d)[waiting])
	})
}

// TestBP12_ANewerTokenWins: what APNs says of a token that was replaced since says nothing.
func TestBP12_ANewerTokenWins(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var apns *line
		l.serve(func(c *server.Config) { apns = l.line(c) })
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		earlier := l.now().Add(-24 * time.Hour)
		apns.now = func() time.Time { return earlier }
		apns.dead[string(l.enrollmentOf(d).PushToken)] = true
		l.order(d, command.SecurityInfo{})
		l.advance(time.Hour)
		assert.NotEqual(t, mdm.Gone, l.enrollmentOf(d).Presence)
	})
}

// TestBP13_WhatLeavesTheQueue: only the device's final word for that CommandUUID.
func TestBP13_WhatLeavesTheQueue(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.serve(nil)
		answers := map[string]mdmtest.Answer{}
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer { return answers[o.UUID] }})
		other := l.enrolled(mdmtest.Config{})
		l.settle(d, other)
		ack, failed, format, later, lost := l.order(d, command.ProfileList{}), l.order(d, command.CertificateList{}), l.order(d, command.SecurityInfo{}),
			l.order(d, command.InstalledApplicationList{}), l.order(d, command.DeviceInformation{Queries: []command.DeviceInformationQuery{"UDID"}})
		foreign := l.order(other, command.ProfileList{})
		answers[ack] = mdmtest.Answer{Repeat: 2}
		answers[failed] = mdmtest.Fail("MCMDMErrorDomain", 12021, "no")
		answers[format] = mdmtest.Answer{Status: "CommandFormatError"}
		answers[later] = mdmtest.NotNow()
		answers[lost] = mdmtest.Answer{Vanish: true}
		require.NoError(t, d.Poll(t.Context()))
		assert.Equal(t, map[string]command.State{ack: command.Acknowledged, failed: command.Failed, format: command.FormatError,
			later: command.Deferred, lost: command.Sent}, l.states(d))

		// What fits no open command of the device changes nothing, and is not refused.
		before := l.states(d)
		for _, keys := range []map[string]any{
			{"Status": "Acknowledged", "CommandUUID": foreign}, {"Status": "Acknowledged", "CommandUUID": "unknown"},
			{"Status": "Error", "CommandUUID": ack}, {"Status": "Fine", "CommandUUID": lost},
		} {
			_, err := d.Report(t.Context(), keys)
			require.NoError(t, err)
		}
		assert.Equal(t, before, l.states(d))
		assert.Equal(t, command.Queued, l.states(other)[foreign])

		// Idle in between: the same commands again, under the same UUIDs.
		require.NoError(t, d.Poll(t.Context()))
		answers[later], answers[lost] = mdmtest.Answer{}, mdmtest.Answer{}
		require.NoError(t, d.Poll(t.Context()))
		assert.Equal(t, command.Acknowledged, l.states(d)[later])
		assert.Equal(t, command.Acknowledged, l.states(d)[lost])
		times := map[string]int{}
		for _, done := range d.History() {
			times[done.Order.UUID]++
		}
		assert.Equal(t, 1, times[ack])
		assert.Equal(t, 3, times[later])
		assert.Equal(t, 3, times[lost])
		n := len(d.History())
		l.settle(d)
		assert.Len(t, d.History(), n)
	})
}

// TestBP02_UsersOfAMac: the user who installed the profile has a channel; nobody waits for others.
func TestBP02_UsersOfAMac(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.serve(func(c *server.Config) {
			c.Checkin.Users = func(_ mdm.EnrollmentID, who mdm.Identifiers) bool { return who.UserShortName != "guest" }
		})
		mac := l.enrolled(aMac)
		mary, guest := mac.User("U1", "mary"), mac.User("U2", "guest")
		require.NoError(t, mary.TokenUpdate(t.Context()))
		var declined *mdmtest.StatusError
		require.ErrorAs(t, guest.TokenUpdate(t.Context()), &declined)
		assert.False(t, declined.Unenrolls(), "the device stays managed")
		l.settle(mac)

		// The channels have queues of their own.
		hers := mdm.EnrollmentID{Device: mac.ID(), User: "U1"}
		receipt, err := l.stores.Command.Enqueue(t.Context(), command.Order{Command: command.ProfileList{}, To: mdm.IDs(hers, id(mac), mdm.EnrollmentID{Device: mac.ID(), User: "U2"})})
		require.NoError(t, err)
		assert.Equal(t, 2, receipt.Queued)
		assert.Equal(t, 1, receipt.RefusedAll)
		require.NoError(t, mac.Poll(t.Context()))
		require.NoError(t, mac.Poll(t.Context()))
		assert.Equal(t, []string{"ProfileList"}, took(mac))
		assert.Empty(t, mac.History()[0].Order.User)
		require.NoError(t, mary.Poll(t.Context()))
		assert.Equal(t, "U1", mac.History()[1].Order.User)

		// The user's channel ends with its device.
		require.NoError(t, mac.CheckOut(t.Context()))
		e, err := l.stores.Roster.Enrollment(t.Context(), hers)
		require.NoError(t, err)
		assert.Equal(t, mdm.Ended, e.State)
	})
}
