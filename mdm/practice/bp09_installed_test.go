package practice_test

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// TestBP16_WhatADeviceWouldRefuseIsNotSent sets runs aside instead of breaking a fleet, whether a hook says what is installed or not.
func TestBP16_WhatADeviceWouldRefuseIsNotSent(t *testing.T) {
	for name, hook := range map[string]bool{"by the hook": true, "by itself": false} {
		t.Run(name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, l *lab) { whatADeviceWouldRefuse(t, l, hook) })
		})
	}
}

func whatADeviceWouldRefuse(t *testing.T, l *lab, hook bool) {
	b := newBP09(l, 60*bp09Day)
	b.recipe.Enrollment.ServerURL += "?key=hush"
	if hook {
		installed, err := b.recipe.Profile(t.Context(), enroll.For{})
		require.NoError(t, err)
		b.renewal.Installed = func(context.Context, *mdm.Enrollment) (*profile.Profile, error) { return installed, nil }
	}
	d := b.arrived(mdmtest.Config{})
	right := b.recipe.Enrollment
	for _, wrong := range []struct {
		text   string
		change func(e *profile.Enrollment)
	}{
		{"Topic", func(e *profile.Enrollment) { e.Topic = "com.apple.mgmt.External.other" }},
		{"ServerURL", func(e *profile.Enrollment) { e.ServerURL = e.ServerURL[:len(e.ServerURL)-4] + "secret" }},
		{"CheckInURL", func(e *profile.Enrollment) { e.CheckInURL = l.https.URL + "/checkin?secret" }},
		{"PayloadIdentifier", func(e *profile.Enrollment) { e.Identifier = "com.example.other" }},
		{"ServerCapabilities", func(e *profile.Enrollment) { e.Uses.UserChannels = !e.Uses.UserChannels }},
		{"EnrollmentMode", func(e *profile.Enrollment) {
			e.EnrollmentMode, e.AssignedManagedAppleID = profile.MDMEnrollmentModeADDE, "mary@example.com"
		}},
	} {
		wrong.change(&b.recipe.Enrollment)
		b.days(33, d)
		run := b.run("renewal")
		assert.Equal(t, workflow.Aside, run.Status, wrong.text)
		assert.Contains(t, run.Note, wrong.text)
		for _, secret := range []string{"hush", "secret"} {
			assert.NotContains(t, run.Note, secret)
			assert.NotContains(t, string(run.State), secret)
		}
		assert.Zero(t, bp09Installs(d))
		b.recipe.Enrollment = right
		b.ahead.Add(-int64(33 * bp09Day)) // the device must live until the next case
		n, err := l.server.Workflows().TryAgainMany(t.Context(), workflow.Query{Workflow: "renewal"}, "", nil)
		require.NoError(t, err)
		require.Equal(t, 1, n.Again)
		b.settle(d)
		require.Equal(t, workflow.Open, b.run("renewal").Status)
	}
	b.days(31, d)
	assert.Equal(t, 1, bp09Installs(d))
}

// TestBP16_RightsThatWereGivenUp are not added again, though nobody has them on record.
func TestBP16_RightsThatWereGivenUp(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		b.recipe.Enrollment.AccessRights = mdm.AllRights &^ mdm.Erase
		b.days(31, d)
		require.Equal(t, 1, b.count(d, mdm.EventRenewed))
		b.recipe.Enrollment.AccessRights = 0
		b.days(33, d)
		assert.Equal(t, 1, bp09Installs(d))
		assert.Equal(t, workflow.Aside, b.run("renewal").Status)
		assert.Contains(t, b.run("renewal").Note, "AccessRights")
	})
}

// TestBP16_ARecipeThatChangesOnTheWay: what is on the queue is held against what the device has when it asks for it.
func TestBP16_ARecipeThatChangesOnTheWay(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		b.days(31)
		require.Equal(t, "await", b.run("renewal").Step)
		right := b.recipe.Enrollment
		b.recipe.Enrollment.CheckInURL = l.https.URL + "/elsewhere"
		b.settle(d)
		assert.Zero(t, bp09Installs(d))
		b.recipe.Enrollment = right
		b.days(1, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
	})
}

// TestBP16_ATrustChangeKeepsWhatMustStay: a change of trust is no way around it.
func TestBP16_ATrustChangeKeepsWhatMustStay(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		d := b.arrived(mdmtest.Config{})
		b.trust.Carry = b.recipe.Enrollment.Roots
		right := b.recipe.Enrollment
		b.recipe.Enrollment.ServerURL += "/other"
		_, err := b.trust.Begin(t.Context(), l.server.Workflows(), mdm.Filter{})
		require.NoError(t, err)
		b.days(3, d)
		assert.Equal(t, workflow.Aside, b.run("trust-change").Status)
		assert.Contains(t, b.run("trust-change").Note, "ServerURL")
		assert.Zero(t, bp09Installs(d))
		b.recipe.Enrollment = right
		n, err := l.server.Workflows().TryAgainMany(t.Context(), workflow.Query{Workflow: "trust-change"}, "the recipe is right again", nil)
		require.NoError(t, err)
		assert.Equal(t, 1, n.Again)
		b.settle(d)
		assert.True(t, b.standing().Ready())
	})
}

// enrolledBy returns a device that enrolls by a profile that was made before the recipe was changed.
func (b *bp09) enrolledBy(old []byte, cfg mdmtest.Config) *mdmtest.Device {
	b.Helper()
	d := b.device(cfg)
	require.NoError(b, d.InstallEnrollment(b.Context(), old))
	b.settle(d)
	return d
}

// anotherRoot is a lab whose recipe has changed from one root to another since a profile was made.
func anotherRoot(t *testing.T, l *lab) (b *bp09, old []byte) {
	t.Helper()
	b = newBP09(l, 3650*bp09Day)
	b.ca.Lifetime = 1000 * bp09Day
	before, _ := bp09Root(t, "old", l.start.Add(-365*bp09Day), l.start.Add(60*bp09Day))
	after, _ := bp09Root(t, "next", l.start, l.start.Add(3650*bp09Day))
	roots := b.recipe.Enrollment.Roots
	b.recipe.Enrollment.Roots = append(roots[:1:1], before)
	old, err := b.recipe.Bytes(t.Context(), enroll.For{})
	require.NoError(t, err)
	b.recipe.Enrollment.Roots = append(roots[:1:1], after)
	return b, old
}

// TestBP09_AProfileOlderThanTheRecipe: what is in the profile on the device counts, not what is in the recipe.
func TestBP09_AProfileOlderThanTheRecipe(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b, old := anotherRoot(t, l)
		up, late := b.arrived(mdmtest.Config{}), b.enrolledBy(old, mdmtest.Config{})
		for range 7 {
			b.days(1, up, late)
		}
		assert.Equal(t, 1, b.count(late, mdm.EventRenewed), "nobody knows when it ends")
		assert.Zero(t, b.count(up, mdm.EventRenewed))
		b.days(80, up, late)
		assert.Equal(t, 1, bp09Installs(late))
		assert.Zero(t, bp09Installs(up))
		for _, run := range b.runs("renewal") {
			assert.Equal(t, "watch", run.Step)
			assert.NotContains(t, string(run.State), "CN=old")
		}
	})
}

// TestBP09_AFleetOfAnotherRecipe is not replaced all at once.
func TestBP09_AFleetOfAnotherRecipe(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b, _ := anotherRoot(t, l)
		next := b.recipe.Enrollment.Roots
		before, _ := bp09Root(t, "before", l.start, l.start.Add(300*bp09Day))
		b.recipe.Enrollment.Roots = append(next[:1:1], before)
		var fleet []*mdmtest.Device
		for range 10 {
			d := b.device(mdmtest.Config{})
			data, err := b.recipe.Bytes(t.Context(), enroll.For{})
			require.NoError(t, err)
			require.NoError(t, d.InstallEnrollment(t.Context(), data))
			fleet = append(fleet, d)
		}
		b.recipe.Enrollment.Roots = next
		b.settle(fleet...)
		days := map[int]int{}
		for range 8 {
			done := 0
			for _, d := range fleet {
				done += b.count(d, mdm.EventRenewed)
			}
			days[done]++
			b.days(1, fleet...)
		}
		assert.Greater(t, len(days), 2, "%v", days)
		for _, d := range fleet {
			assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
		}
	})
}

// TestBP09_AnOlderProfileThatAHookKnows is replaced when it is due, and not before.
func TestBP09_AnOlderProfileThatAHookKnows(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b, old := anotherRoot(t, l)
		parsed, err := profile.Parse(old)
		require.NoError(t, err)
		fails := true
		b.renewal.Installed = func(context.Context, *mdm.Enrollment) (*profile.Profile, error) {
			if fails {
				return nil, errors.New("away")
			}
			return parsed.Profile, nil
		}
		d := b.enrolledBy(old, mdmtest.Config{})
		assert.Contains(t, b.run("renewal").Note, "away")
		fails = false
		b.days(28, d)
		assert.Empty(t, took(d), "neither is it asked")
		assert.Contains(t, b.run("renewal").Note, "CN=old")
		b.days(3, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
		b.days(50, d)
		assert.Equal(t, 1, bp09Installs(d))
	})
}

// TestBP09_AnotherIdentifier: the device says how its profile is called, so what does not replace it is not sent.
func TestBP09_AnotherIdentifier(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		old, err := b.recipe.Bytes(t.Context(), enroll.For{})
		require.NoError(t, err)
		b.recipe.Enrollment.Identifier = "com.example.other"
		d := b.enrolledBy(old, mdmtest.Config{})
		b.days(33, d)
		assert.Equal(t, workflow.Aside, b.run("renewal").Status)
		assert.Contains(t, b.run("renewal").Note, `was "com.example.mdm" and must stay so`)
		assert.Zero(t, bp09Installs(d))
	})
}

// TestBP09_TheSignerOfTheProfile that the device lists ends before that of the recipe.
func TestBP09_TheSignerOfTheProfile(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 3650*bp09Day)
		b.ca.Lifetime = 1000 * bp09Day
		signer, _ := bp09Root(t, "signer", l.start.Add(-365*bp09Day), l.start.Add(60*bp09Day))
		d := b.arrived(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType != "ProfileList" {
				return mdmtest.Answer{}
			}
			return mdmtest.Answer{Fields: map[string]any{"ProfileList": []any{
				map[string]any{"PayloadIdentifier": "com.example.wifi", "PayloadUUID": "A"},
				map[string]any{"PayloadIdentifier": "com.example.mdm", "PayloadUUID": "B", "SignerCertificates": []any{signer.Raw, []byte("none")},
					"PayloadContent": []any{map[string]any{"PayloadType": "com.apple.mdm", "PayloadVersion": 1, "PayloadIdentifier": "com.example.mdm.mdm"}}},
			}}}
		}})
		b.days(28, d)
		assert.Zero(t, bp09Installs(d))
		assert.Contains(t, b.run("renewal").Note, "signer CN=signer")
		b.days(3, d)
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
		b.days(40, d)
		assert.Equal(t, 1, bp09Installs(d))
	})
}

// TestBP09_DevicesThatDoNotList are not asked without end, and are renewed as ever.
func TestBP09_DevicesThatDoNotList(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		asked := 0
		d := b.arrived(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "ProfileList" {
				asked++
				return mdmtest.Fail("MCProfileErrorDomain", 1000, "no")
			}
			return mdmtest.Answer{}
		}})
		for range 28 {
			b.days(1, d)
		}
		assert.Equal(t, 5, asked, "once in each Look")
		for range 4 {
			b.days(1, d)
		}
		assert.Equal(t, 1, b.count(d, mdm.EventRenewed))
	})
}

// TestBP09_WithoutTheRightToAsk nothing is asked.
func TestBP09_WithoutTheRightToAsk(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day, func(c *server.Config) { c.Checkin.Rights = rightsOf(mdm.QueryDevice) })
		b.recipe.Enrollment.AccessRights = mdm.QueryDevice
		d := b.arrived(mdmtest.Config{})
		for range 20 {
			b.days(1, d)
		}
		assert.Empty(t, b.queue(d))
		assert.Equal(t, workflow.Open, b.run("renewal").Status)
	})
}

// TestBP09_ATailoredRecipeIsNoOther: what is made for a device alone is known to be of the recipe.
func TestBP09_ATailoredRecipeIsNoOther(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		extra, _ := bp09Root(t, "extra", l.start, l.start.Add(time.Hour*24*900))
		b.recipe.Tailor = func(_ context.Context, _ enroll.For, e *profile.Enrollment) error {
			e.Roots = append(e.Roots[:len(e.Roots):len(e.Roots)], []*x509.Certificate{extra}...)
			return nil
		}
		d := b.arrived(mdmtest.Config{})
		b.days(20, d)
		assert.Zero(t, bp09Installs(d))
		assert.Equal(t, []string{"ProfileList"}, took(d))
	})
}
