package practice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestBP09_IdentitiesAreRenewedAgainAndAgain lives through a year with identities of 60 days.
func TestBP09_IdentitiesAreRenewedAgainAndAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		first := d.Certificate()
		for range 365 / 5 {
			b.ahead.Add(int64(5 * bp09Day)) // it is not there each day
			b.settle(d)
			require.Greater(t, b.left(d), 24*bp09Day)
		}
		assert.NotEqual(t, first.SerialNumber, d.Certificate().SerialNumber)
		assert.InDelta(t, 12, b.count(d, mdm.EventRenewed), 1, "one a month, and no more")
		assert.Equal(t, b.count(d, mdm.EventRenewed), bp09Installs(d))
		assert.Empty(t, b.alarms)
		run := b.run("renewal")
		assert.Equal(t, workflow.Open, run.Status)
		assert.Equal(t, "watch", run.Step)
		assert.Equal(t, mdm.Generation(1), run.Generation)
		assert.Contains(t, run.Note, "identity")
	})
}

// TestBP09_NothingIsSentBeforeItIsDue holds the plan against a year's identity.
func TestBP09_NothingIsSentBeforeItIsDue(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		d := b.arrived(mdmtest.Config{})
		for range 6 {
			b.ahead.Add(int64(40 * bp09Day))
			b.settle(d)
		}
		assert.Zero(t, bp09Installs(d))
		b.days(6, d)
		assert.Equal(t, 1, bp09Installs(d), "a third of the lifetime is left")
	})
}

// TestBP09_FailedReplacementIsDueAgain has a device that always restores its old profile.
func TestBP09_FailedReplacementIsDueAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{FailReplacement: true})
		first := d.Certificate()
		b.days(36, d)
		assert.Equal(t, first, d.Certificate(), "it goes on with its old identity")
		assert.True(t, d.Managed())
		attempts := bp09Installs(d)
		assert.GreaterOrEqual(t, attempts, 4, "each day, once the pause is as long as that")
		assert.LessOrEqual(t, attempts, 7)
		run := b.run("renewal")
		assert.Equal(t, "due", run.Step)
		assert.Contains(t, run.Note, "MCInstallationErrorDomain 4001")
		b.order(d, command.ProfileList{})
		b.settle(d)
		assert.Contains(t, took(d), "ProfileList", "it is managed as before")
	})
}

// TestBP09_ErrorsPass is the same with a device that comes to its senses.
func TestBP09_ErrorsPass(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		var mood moody
		d := b.arrived(mdmtest.Config{Respond: mood.respond})
		mood.say(mdmtest.Fail("MCInstallationErrorDomain", 4001, "no"))
		b.days(30, d)
		require.Positive(t, bp09Installs(d))
		tries := bp09Installs(d)
		b.advance(30*time.Minute, d)
		assert.Equal(t, tries, bp09Installs(d), "not at once")
		mood.obey()
		b.days(2, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
		assert.Equal(t, "watch", b.run("renewal").Step)
	})
}

// TestBP09_AcknowledgedIsNoProof has a device that says it did and did not.
func TestBP09_AcknowledgedIsNoProof(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		first := d.Certificate()
		b.ahead.Add(int64(31 * bp09Day))
		b.flush()
		queue := b.queue(d)
		uuid := queue[len(queue)-1].UUID
		_, err := d.Report(t.Context(), map[string]any{"Status": "Idle"}) // it is offered
		require.NoError(t, err)
		_, err = d.Report(t.Context(), map[string]any{"Status": "Acknowledged", "CommandUUID": uuid})
		require.NoError(t, err)
		b.flush()
		assert.Equal(t, "await", b.run("renewal").Step)
		b.ahead.Add(int64(time.Hour))
		b.flush()
		run := b.run("renewal")
		assert.Equal(t, "due", run.Step)
		assert.Contains(t, run.Note, "goes on with its old identity")
		assert.Equal(t, first, d.Certificate())
		b.days(1, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
	})
}

// TestBP09_NotNowIsWaiting has a device that is locked for a week.
func TestBP09_NotNowIsWaiting(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		var mood moody
		d := b.arrived(mdmtest.Config{Respond: mood.respond})
		mood.say(mdmtest.NotNow())
		b.days(29, d)
		for range 8 {
			b.ahead.Add(int64(bp09Day))
			b.flush()
			require.NoError(t, d.Poll(t.Context()))
		}
		require.GreaterOrEqual(t, bp09Installs(d), 7, "it is offered whenever the device connects")
		open := 0
		for _, e := range b.queue(d) {
			if e.State.Open() {
				open++
			}
		}
		assert.Equal(t, 1, open, "one is outstanding, not one for each day")
		mood.obey()
		b.settle(d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed), "at once")
	})
}

// TestBP09_AlarmOncePerStage has a device that stays away until shortly before its identity ends.
func TestBP09_AlarmOncePerStage(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		calendar := &expiry.Calendar{Sources: []expiry.Source{b.renewal.Expiry(l.stores.Runs, "")}}
		items, err := calendar.Items(t.Context())
		require.NoError(t, err)
		assert.Empty(t, items)
		b.days(45)
		assert.Empty(t, b.alarms)
		items, err = calendar.Items(t.Context())
		require.NoError(t, err)
		require.Len(t, items, 1)
		assert.Contains(t, items[0].Action, "1 devices")
		assert.WithinDuration(t, d.Certificate().NotAfter, items[0].NotAfter, bp09Day)
		b.days(14)
		require.Len(t, b.alarms, 2)
		assert.Equal(t, []time.Duration{14 * bp09Day, 3 * bp09Day}, []time.Duration{b.alarms[0].Stage, b.alarms[1].Stage})
		assert.Equal(t, id(d), b.alarms[0].Enrollment.ID)
		assert.Contains(t, b.run("renewal").Note, "until")
		assert.Len(t, b.replacements(d), 1, "what waits for a device that is away is not sent again and again")
		b.settle(d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
		assert.Greater(t, b.left(d), 59*bp09Day)
		items, err = calendar.Items(t.Context())
		require.NoError(t, err)
		assert.Empty(t, items)
	})
}

// TestBP09_AnchorThatEnds has a root in the profile that ends, a recipe with the next one, and a device that comes back only after
// the deadline, with an identity that is still valid.
func TestBP09_AnchorThatEnds(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 3650*bp09Day)
		b.ca.Lifetime = 1000 * bp09Day
		old, _ := bp09Root(t, "old", l.start.Add(-365*bp09Day), l.start.Add(60*bp09Day))
		next, _ := bp09Root(t, "next", l.start, l.start.Add(3650*bp09Day))
		roots := b.recipe.Enrollment.Roots
		b.recipe.Enrollment.Roots = append(roots[:1:1], old)
		d := b.arrived(mdmtest.Config{})
		b.days(40, d)
		assert.Zero(t, bp09Installs(d), "the profile would bring the same root again")
		assert.Contains(t, b.run("renewal").Note, "would bring anchor CN=old")
		b.recipe.Enrollment.Roots = append(roots[:1:1], next)
		fails := errors.New("no mail today")
		alarm := b.renewal.Alarm
		b.renewal.Alarm = func(ctx context.Context, a practice.RenewalAlarm) error {
			if fails != nil {
				return fails
			}
			return alarm(ctx, a)
		}
		b.days(10)
		assert.Contains(t, b.run("renewal").Note, fails.Error())
		fails = nil
		b.days(10)
		b.days(10)
		require.Len(t, b.alarms, 2)
		assert.Equal(t, enroll.EndAnchor, b.alarms[1].Plan.First.Kind)
		assert.Contains(t, b.run("renewal").Note, "the deadline is over")
		b.settle(d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed), "it goes on trying")
		b.days(30, d)
		assert.Equal(t, 1, bp09Installs(d))
		assert.Equal(t, "watch", b.run("renewal").Step)
	})
}

// TestBP09_WhatAReplacementDoesNotChange is asked for once, and not for ever.
func TestBP09_WhatAReplacementDoesNotChange(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		ends := b.renewal.Ends
		b.renewal.Ends = practice.EndsFunc(func(ctx context.Context, e *mdm.Enrollment) ([]enroll.End, error) {
			all, err := ends.Ends(ctx, e)
			return append(all, enroll.End{Kind: enroll.EndIssuer, Name: "the CA", NotAfter: l.start.Add(20 * bp09Day)}), err
		})
		d := b.arrived(mdmtest.Config{})
		b.days(20, d)
		assert.Equal(t, 1, bp09Installs(d))
		assert.Contains(t, b.run("renewal").Note, "would bring the CA again")
	})
}

// TestBP09_IdentitiesOfMinutes are renewed no faster than they have to be.
func TestBP09_IdentitiesOfMinutes(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 40*time.Minute) // dated back by an hour, so that more than half of it is over at once
		d := b.arrived(mdmtest.Config{})
		for range 6 {
			b.ahead.Add(int64(10 * time.Minute))
			b.settle(d)
		}
		assert.InDelta(t, 3, b.count(d, mdm.EventRenewed), 1)
	})
}

// TestBP09_HooksThatFailAreWaitedFor has a database that is away for a day.
func TestBP09_HooksThatFailAreWaitedFor(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		ends := b.renewal.Ends
		away := false
		b.renewal.Ends = practice.EndsFunc(func(ctx context.Context, e *mdm.Enrollment) ([]enroll.End, error) {
			if away {
				return nil, errors.New("away")
			}
			return ends.Ends(ctx, e)
		})
		d := b.arrived(mdmtest.Config{})
		b.days(28, d)
		away = true
		b.days(10, d)
		assert.Equal(t, workflow.Open, b.run("renewal").Status)
		assert.Contains(t, b.run("renewal").Note, "away")
		away = false
		b.days(1, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
	})
}

// TestBP09_Sweep begins the renewal of devices that were there before, once.
func TestBP09_Sweep(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d, gone := b.arrived(mdmtest.Config{}), b.arrived(mdmtest.Config{})
		require.NoError(t, gone.CheckOut(t.Context()))
		b.settle(d)
		for _, run := range b.runs("renewal") {
			if !run.Status.Over() {
				_, err := l.server.Workflows().Cancel(t.Context(), "", run.ID, "as if it had never begun")
				require.NoError(t, err)
			}
		}
		b.days(50, d)
		require.Zero(t, bp09Installs(d))
		for _, want := range []int{1, 0} {
			begun, err := b.renewal.Sweep(t.Context(), l.server.Workflows(), mdm.Filter{})
			require.NoError(t, err)
			assert.Equal(t, want, begun)
			b.settle(d)
		}
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
	})
}

// TestBP09_MissingConfiguration is said, and nothing is lost by it.
func TestBP09_MissingConfiguration(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		ends := b.renewal.Ends
		b.renewal.Ends = nil
		d := b.arrived(mdmtest.Config{})
		assert.Contains(t, b.run("renewal").Note, "required")
		_, err := b.renewal.Cooks()["renewal"](t.Context(), id(d), nil)
		require.Error(t, err)
		b.renewal.Ends = ends
		b.days(32, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
	})
}

// TestBP16_RenewalKeepsWhatTheDeviceHas holds queue, history and secrets against a renewal.
func TestBP16_RenewalKeepsWhatTheDeviceHas(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("bootstrap")))
		unlock, err := l.stores.Escrow.UnlockToken(t.Context(), id(d), "test")
		require.NoError(t, err)
		b.order(d, command.SecurityInfo{})
		b.settle(d)
		b.order(d, command.ProfileList{})
		b.ahead.Add(int64(31 * bp09Day))
		b.flush()
		b.order(d, command.DeviceInformation{Queries: []command.DeviceInformationQuery{"OSVersion"}})
		b.settle(d)
		assert.Equal(t, []string{"ProfileList", "SecurityInfo", "InstallProfile", "ProfileList", "DeviceInformation"}, took(d), "the profile first")
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
		for _, e := range b.queue(d) {
			assert.Equal(t, command.Acknowledged, e.State, e.RequestType)
			assert.Equal(t, mdm.Generation(1), e.Generation)
		}
		again, err := l.stores.Escrow.UnlockToken(t.Context(), id(d), "test")
		require.NoError(t, err)
		assert.True(t, unlock.Equal(again))
		bootstrap, err := d.GetBootstrapToken(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "bootstrap", string(bootstrap))
		e, err := l.stores.Roster.Enrollment(t.Context(), id(d))
		require.NoError(t, err)
		assert.NotEmpty(t, e.PushToken)
		assert.Equal(t, mdm.Enrolled, e.State)
	})
}

// TestBP16_OrdersThatAreObsoleteAreCalledOff has a device that got another profile meanwhile.
func TestBP16_OrdersThatAreObsoleteAreCalledOff(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		b.days(31)
		require.Equal(t, "await", b.run("renewal").Step)
		data, err := b.recipe.Bytes(t.Context(), enroll.For{Purpose: mdm.PurposeRenew, Device: d.ID()})
		require.NoError(t, err)
		require.NoError(t, d.InstallEnrollment(t.Context(), data)) // as by its user
		b.days(2, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
		assert.Zero(t, bp09Installs(d))
		queue := b.replacements(d)
		require.Len(t, queue, 1)
		assert.Equal(t, command.Canceled, queue[0].State)
		assert.Equal(t, "watch", b.run("renewal").Step)
	})
}
