package practice_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// pairSequence pairs a restriction of these payloads with a capability.
func pairSequence(t *testing.T, restriction ...profile.Payload) *profile.Sequence {
	t.Helper()
	s, err := profile.NewSequence(&profile.Profile{Identifier: "restriction", Payloads: restriction},
		&profile.Profile{Identifier: "capability", Payloads: []profile.Payload{&profile.WebClip{URL: "https://example.com", Label: "intranet"}}})
	require.NoError(t, err)
	return s
}

// pairSource is a ProfileSource of a sequence.
func pairSource(s *profile.Sequence) practice.ProfileFunc {
	return func(_ context.Context, _ *mdm.Enrollment, name string) ([]byte, error) {
		switch name {
		case s.Restriction.Identifier:
			return s.Restriction.Encode()
		case s.Capability.Identifier:
			return s.Capability.Encode()
		}
		return nil, practice.ErrWithdrawn
	}
}

// paired serves a pair with a restriction of these payloads.
func (l *lab) paired(t *testing.T, change func(*practice.Pairing), restriction ...profile.Payload) {
	t.Helper()
	s := pairSequence(t, restriction...)
	p := &practice.Pairing{Roster: l.stores.Roster, Profiles: pairSource(s), Gate: s.Gate}
	if change != nil {
		change(p)
	}
	l.followPractices(p)
}

func pairNoCamera() profile.Payload { return &profile.Restrictions{AllowCamera: new(false)} }

func TestBP03_CapabilityAfterTheRestriction(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.paired(t, func(p *practice.Pairing) { p.Changed = heard.changed }, pairNoCamera())
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		assert.Equal(t, []string{"+restriction", "ProfileList", "+capability"}, gotProfiles(d))
		assert.Equal(t, "open", l.theRun("pairing").Step)
		l.advance(49*time.Hour, d)
		assert.Equal(t, []string{"ProfileList", "ProfileList"}, gotProfiles(d)[3:], "looked at daily, and nothing is sent twice")
		assert.Equal(t, []bool{true}, heard.list)
	})
}

// TestBP03_AcknowledgedIsNotEnough: the device says yes and lists it only when it has been sent again.
func TestBP03_AcknowledgedIsNotEnough(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, pairNoCamera())
		lists := 0
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "ProfileList" {
				if lists++; lists <= 3 {
					return mdmtest.Answer{Fields: map[string]any{"ProfileList": []any{}}}
				}
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		assert.Equal(t, []string{"+restriction", "ProfileList", "+restriction", "ProfileList"}, gotProfiles(d), "at once, and then later")
		assert.Contains(t, l.theRun("pairing").Note, "does not have the restriction")
		l.advance(time.Minute, d)
		l.advance(time.Minute, d)
		assert.NotContains(t, gotProfiles(d), "+capability")
		l.advance(time.Minute, d)
		assert.Equal(t, []string{"+restriction", "ProfileList", "+capability"}, gotProfiles(d)[6:])
	})
}

// TestBP03_OneOfTheUserIsNone: a profile that a user installed under the name of the restriction is not it.
func TestBP03_OneOfTheUserIsNone(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, pairNoCamera())
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "ProfileList" {
				return mdmtest.Answer{Fields: map[string]any{"ProfileList": []any{
					map[string]any{"PayloadIdentifier": "restriction", "PayloadUUID": "A", "IsManaged": false}}}}
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		l.advance(3*time.Hour, d)
		assert.NotContains(t, gotProfiles(d), "+capability")
	})
}

// TestBP03_ARestrictionWithoutALock is not sent where the lock would hold, unless it is said that it may.
func TestBP03_ARestrictionWithoutALock(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		s := pairSequence(t, pairNoCamera())
		var locked atomic.Bool
		source := practice.ProfileFunc(func(ctx context.Context, e *mdm.Enrollment, name string) ([]byte, error) {
			if name == s.Restriction.Identifier && !locked.Load() {
				open := *s.Restriction
				open.RemovalDisallowed = false
				return open.Encode()
			}
			return pairSource(s)(ctx, e, name)
		})
		strict := &practice.Pairing{Roster: l.stores.Roster, Profiles: source, Gate: s.Gate}
		lenient := &practice.Pairing{Name: "lenient", Roster: l.stores.Roster, Profiles: source, Gate: s.Gate, AllowRemovable: true, ByHand: true}
		l.followPractices(strict, lenient)
		d, other := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0"})
		l.settle(d, other)
		l.advance(3*time.Hour, d, other)
		assert.Empty(t, gotProfiles(d))
		assert.Empty(t, gotProfiles(other))
		for _, run := range l.runs("pairing") {
			assert.Equal(t, workflow.Open, run.Status)
			assert.Contains(t, run.Note, "restriction: its user could remove it: set PayloadRemovalDisallowed")
		}
		_, _, err := l.server.Workflows().Begin(t.Context(), "lenient", id(d), "lenient", nil)
		require.NoError(t, err)
		l.settle(d)
		assert.ElementsMatch(t, []string{"restriction", "capability"}, d.Profiles())
		locked.Store(true)
		l.advance(6*time.Hour, other)
		assert.ElementsMatch(t, []string{"restriction", "capability"}, other.Profiles(), "it goes on by itself when that is mended")
	})
}

// TestBP03_TheCapabilityGoesWithAnUnlockedRestriction: what is wrong with the next version does not keep the capability there.
func TestBP03_TheCapabilityGoesWithAnUnlockedRestriction(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var opened atomic.Bool
		l.paired(t, func(p *practice.Pairing) {
			source := p.Profiles
			p.Profiles = practice.ProfileFunc(func(ctx context.Context, e *mdm.Enrollment, name string) ([]byte, error) {
				if opened.Load() && name == "restriction" {
					return profileShelved(name, pairNoCamera())
				}
				return source.Profile(ctx, e, name)
			})
		}, pairNoCamera())
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		assert.Contains(t, d.Profiles(), "capability")
		opened.Store(true)
		require.True(t, d.DeleteProfile("restriction"))
		l.advance(25*time.Hour, d)
		assert.Empty(t, d.Profiles())
		assert.Contains(t, l.theRun("pairing").Note, "PayloadRemovalDisallowed")
	})
}

func TestBP03_WithdrawnWithoutTheRestriction(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.paired(t, func(p *practice.Pairing) { p.Changed = heard.changed }, pairNoCamera())
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		require.True(t, d.DeleteProfile("restriction"))
		l.advance(23*time.Hour, d)
		assert.Len(t, gotProfiles(d), 3)
		l.advance(time.Hour, d)
		assert.Equal(t, []string{"ProfileList", "-capability", "+restriction", "ProfileList", "+capability"}, gotProfiles(d)[3:])
		assert.ElementsMatch(t, []string{"restriction", "capability"}, d.Profiles())
		assert.Equal(t, []bool{true, false, true}, heard.list)
	})
}

// TestBP03_NotRestoredWhileTheRestrictionFails: the device does not take it a second time.
func TestBP03_NotRestoredWhileTheRestrictionFails(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, pairNoCamera())
		var refuses atomic.Bool
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "InstallProfile" && refuses.Load() {
				return mdmtest.Fail(command.DomainInstallation, 4001, "no")
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		refuses.Store(true)
		require.True(t, d.DeleteProfile("restriction"))
		l.advance(30*time.Hour, d)
		assert.Empty(t, d.Profiles())
		assert.Contains(t, l.theRun("pairing").Note, "4001")
		refuses.Store(false)
		l.advance(12*time.Hour, d)
		assert.ElementsMatch(t, []string{"restriction", "capability"}, d.Profiles(), "it is never given up")
	})
}

// TestBP03_LooksWhenTold: by an event, and by hand.
func TestBP03_LooksWhenTold(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, pairNoCamera())
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		require.NoError(t, d.Restore(t.Context(), d.Backup())) // profiles are not in the backup
		l.settle(d)
		assert.Equal(t, []string{"ProfileList", "-capability", "+restriction", "ProfileList", "+capability"}, gotProfiles(d)[3:])
		before := len(gotProfiles(d))
		_, err := l.server.Workflows().Resume(t.Context(), "", l.theRun("pairing").ID)
		require.NoError(t, err)
		l.settle(d)
		assert.Equal(t, []string{"ProfileList"}, gotProfiles(d)[before:])
	})
}

// TestBP03_Compliance: the gate of a passcode policy asks the device, too.
func TestBP03_Compliance(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.paired(t, func(p *practice.Pairing) { p.Changed = heard.changed }, &profile.Passcode{ForcePIN: new(true)})
		code := &passcodeDevice{}
		code.set(passcodeWeak)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		assert.Equal(t, []string{"+restriction", "ProfileList", "SecurityInfo"}, gotProfiles(d))
		assert.Equal(t, "comply", l.theRun("pairing").Step)
		code.set(passcodeSilent)
		l.advance(5*time.Minute, d)
		assert.NotContains(t, gotProfiles(d), "+capability", "a key is missing")
		code.set(passcodeGood)
		l.advance(10*time.Minute, d)
		assert.Contains(t, d.Profiles(), "capability")
		assert.Equal(t, []bool{true}, heard.list)
		code.set(passcodeWeak)
		l.advance(25*time.Hour, d)
		assert.Equal(t, []string{"restriction"}, d.Profiles(), "compliance is lost")
		code.set(passcodeGood)
		l.advance(25*time.Hour, d)
		assert.ElementsMatch(t, []string{"restriction", "capability"}, d.Profiles())
		// Without the restriction its compliance is worth nothing.
		code.set(passcodeSilent)
		require.True(t, d.DeleteProfile("restriction"))
		l.advance(25*time.Hour, d)
		assert.Equal(t, []string{"restriction"}, d.Profiles())
	})
}

func TestBP03_FileVaultOfAMac(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, &profile.FileVault{Enable: "On"})
		code := &passcodeDevice{}
		code.set(map[string]any{"FDE_Enabled": false})
		d := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0", Respond: code.respond})
		l.settle(d)
		assert.Contains(t, l.theRun("pairing").Note, "filevault")
		assert.NotContains(t, gotProfiles(d), "+capability")
		code.set(map[string]any{"FDE_Enabled": true})
		l.advance(2*time.Hour, d)
		assert.Contains(t, d.Profiles(), "capability")
	})
}

func TestBP03_PasscodeOfAMacIsForPair(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, &profile.Passcode{ForcePIN: new(true)})
		d := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0"})
		l.settle(d)
		assert.Empty(t, gotProfiles(d))
		assert.Equal(t, workflow.Failed, l.theRun("pairing").Status)
	})
}

// TestBP03_ListsThatFail: a device that cannot list for a while keeps what it has, but not for ever.
func TestBP03_ListsThatFail(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, pairNoCamera())
		var fails atomic.Bool
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "ProfileList" && fails.Load() {
				return mdmtest.Fail(command.DomainMDM, 12007, "no")
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		fails.Store(true)
		l.advance(26*time.Hour, d)
		assert.Contains(t, d.Profiles(), "capability")
		l.advance(48*time.Hour, d)
		assert.NotContains(t, d.Profiles(), "capability")
		fails.Store(false)
		l.advance(12*time.Hour, d)
		assert.Contains(t, d.Profiles(), "capability")
	})
}

func TestBP03_OfflineWithAnOldWord(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.paired(t, nil, pairNoCamera())
		d := l.enrolled(mdmtest.Config{})
		for range 2 { // the restriction, and the list
			l.flush()
			require.NoError(t, d.Poll(t.Context()))
		}
		l.flush()
		assert.Equal(t, "open", l.theRun("pairing").Step)
		require.True(t, d.DeleteProfile("restriction"))
		l.advance(3 * 24 * time.Hour)
		l.settle(d)
		assert.Equal(t, []string{"+restriction", "ProfileList", "ProfileList", "-capability", "+restriction", "ProfileList", "+capability"}, gotProfiles(d),
			"the capability on the queue was not delivered on the strength of an old list")
	})
}

func TestBP03_ForWhomAndNames(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		s := pairSequence(t, pairNoCamera())
		var down atomic.Bool
		one := &practice.Pairing{Roster: l.stores.Roster, Profiles: pairSource(s), Gate: s.Gate, For: func(_ context.Context, e *mdm.Enrollment) (bool, error) {
			if down.Load() {
				return false, errors.New("down")
			}
			return e.Device.SerialNumber == "PAIRED", nil
		}}
		other := &practice.Pairing{Name: "other", Roster: l.stores.Roster, Profiles: pairSource(s), Gate: s.Gate, ByHand: true}
		l.followPractices(one, other)
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		assert.Empty(t, gotProfiles(d))
		assert.Equal(t, workflow.Done, l.theRun("pairing").Status)
		_, _, err := l.server.Workflows().Begin(t.Context(), "other", id(d), "other", nil)
		require.NoError(t, err)
		l.settle(d)
		assert.Equal(t, []string{"+restriction", "ProfileList", "+capability"}, gotProfiles(d))

		down.Store(true)
		e := l.enrolled(mdmtest.Config{SerialNumber: "PAIRED"})
		l.settle(e)
		assert.Empty(t, gotProfiles(e))
		down.Store(false)
		l.advance(time.Minute, e)
		assert.Equal(t, []string{"+restriction", "ProfileList", "+capability"}, gotProfiles(e))
	})
}

func TestBP03_AWithdrawnRestrictionGivesNothing(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		profiles := &profileShelf{}
		profiles.withdraw("restriction")
		l.paired(t, func(p *practice.Pairing) { p.Profiles = profiles }, pairNoCamera())
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		l.advance(24*time.Hour, d)
		assert.Empty(t, gotProfiles(d))
		assert.Equal(t, workflow.Failed, l.theRun("pairing").Status)
	})
}

// pairRoster has one enrollment.
type pairRoster mdm.Enrollment

func (r *pairRoster) Enrollment(context.Context, mdm.EnrollmentID) (*mdm.Enrollment, error) {
	return (*mdm.Enrollment)(r), nil
}

// TestBP03_WhereTheLockHolds asks the cook for a restriction without a lock.
func TestBP03_WhereTheLockHolds(t *testing.T) {
	s := pairSequence(t, pairNoCamera())
	source := practice.ProfileFunc(func(context.Context, *mdm.Enrollment, string) ([]byte, error) {
		return profileShelved("restriction", pairNoCamera())
	})
	phone, mac := mdm.Device{ProductName: "iPhone14,2"}, mdm.Device{ProductName: "MacBookPro18,3"}
	with := func(d mdm.Device, supervised mdm.Tristate) mdm.Device {
		d.Supervised = supervised
		return d
	}
	for name, x := range map[string]struct {
		enrollment mdm.Enrollment
		refused    bool
	}{
		"supervised":           {mdm.Enrollment{Device: with(phone, mdm.Yes)}, true},
		"it is not known":      {mdm.Enrollment{Device: phone}, true},
		"not supervised":       {mdm.Enrollment{Device: with(phone, mdm.No)}, false},
		"a Mac":                {mdm.Enrollment{Device: with(mac, mdm.No)}, true},
		"a device of its user": {mdm.Enrollment{Device: phone, Channel: mdm.UserEnrollmentChannel}, false},
	} {
		x.enrollment.State = mdm.Enrolled
		p := &practice.Pairing{Roster: (*pairRoster)(&x.enrollment), Profiles: source, Gate: s.Gate}
		_, err := p.Cooks()["pairing.install"](t.Context(), mdm.EnrollmentID{Device: "D"}, map[string]string{"profile": "restriction"})
		assert.Equal(t, x.refused, err != nil, name)
		if x.refused {
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
		}
		p.AllowRemovable = true
		_, err = p.Cooks()["pairing.install"](t.Context(), mdm.EnrollmentID{Device: "D"}, map[string]string{"profile": "restriction"})
		assert.NoError(t, err, name)
	}
}
