package practice_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
)

var setupStages = practice.SetupStages{Trust: []string{"t1", "t2"}, Passcode: []string{"p"}, Restrictions: []string{"r"}, Capabilities: []string{"c"}}

func setupStaged(s practice.SetupStages) func(context.Context, *mdm.Enrollment) (practice.SetupStages, error) {
	return func(context.Context, *mdm.Enrollment) (practice.SetupStages, error) { return s, nil }
}

func TestBP01_StagesInOrder(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(setupStages)})
		d := l.enrolled(mdmtest.Config{})
		l.flush()
		assert.Len(t, l.queue(d), 2, "only the first stage is on the queue")
		l.settle(d)
		assert.Equal(t, []string{"+t1", "+t2", "+p", "+r", "+c"}, gotProfiles(d), "nothing is released that does not wait")
		require.Len(t, l.runs("setup"), 1)
		assert.Equal(t, workflow.Done, l.runs("setup")[0].Status)
		l.advance(48*time.Hour, d)
		assert.Len(t, gotProfiles(d), 5, "each once")
	})
}

func TestBP01_NotAfterAuthenticateAlone(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		p := &practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(setupStages)}
		l.serve(func(c *server.Config) { c.Cooks, c.Wrap = p.Cooks(), noTokenUpdate }, p.Workflows()...)
		d := l.device(mdmtest.Config{})
		require.Error(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.advance(2*time.Hour, d)
		types := []mdm.EventType{}
		for _, e := range l.events(d) {
			types = append(types, e.Type)
		}
		assert.Contains(t, types, mdm.EventAuthenticated, "it got as far as that")
		assert.Empty(t, l.queue(d))
		assert.Empty(t, l.runs("setup"))
	})
}

func TestBP01_ReleasedWhenAllIsThere(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(setupStages)})
		d := l.enrolled(mdmtest.Config{AwaitConfiguration: true})
		l.settle(d)
		assert.Equal(t, []string{"+t1", "+t2", "+p", "+r", "+c", "DeviceConfigured", "DeviceInformation"}, gotProfiles(d))
		assert.False(t, d.InSetup())
		assert.Equal(t, workflow.Done, l.runs("setup")[0].Status)
	})
}

func TestBP01_ReleasedAtOnceIfNothingIsToBeDone(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster})
		d := l.enrolled(mdmtest.Config{AwaitConfiguration: true})
		l.settle(d)
		assert.Equal(t, []string{"DeviceConfigured", "DeviceInformation"}, gotProfiles(d))
		assert.False(t, d.InSetup())
	})
}

// TestBP01_ReleasedWhateverFails: nothing that goes wrong keeps a device in Setup Assistant past the hold.
func TestBP01_ReleasedWhateverFails(t *testing.T) {
	refuse := mdmtest.Fail(command.DomainProfile, 1000, "no")
	only := func(bad mdmtest.Answer) func(context.Context, mdmtest.Order) mdmtest.Answer {
		return func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "InstallProfile" {
				return bad
			}
			return mdmtest.Answer{}
		}
	}
	for name, tt := range map[string]struct {
		respond func(context.Context, mdmtest.Order) mdmtest.Answer
		stages  func(context.Context, *mdm.Enrollment) (practice.SetupStages, error)
		ready   func(context.Context, *mdm.Enrollment) (bool, error)
		source  practice.ProfileSource
		early   bool // all have an answer before the hold is over
	}{
		"every profile is refused":    {respond: only(refuse), early: true},
		"NotNow to every profile":     {respond: only(mdmtest.NotNow())},
		"every profile has no answer": {respond: only(mdmtest.Answer{Vanish: true})},
		"stages fail": {stages: func(context.Context, *mdm.Enrollment) (practice.SetupStages, error) {
			return practice.SetupStages{}, errors.New("down")
		}},
		"stages panic": {stages: func(context.Context, *mdm.Enrollment) (practice.SetupStages, error) { panic("bug") }},
		"never ready":  {ready: func(context.Context, *mdm.Enrollment) (bool, error) { return false, nil }},
		"ready panics": {ready: func(context.Context, *mdm.Enrollment) (bool, error) { panic("bug") }},
		"no profiles can be made": {source: practice.ProfileFunc(func(context.Context, *mdm.Enrollment, string) ([]byte, error) {
			return nil, errors.New("down")
		})},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, l *lab) {
				p := &practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(setupStages), Ready: tt.ready}
				if tt.stages != nil {
					p.Stages = tt.stages
				}
				if tt.source != nil {
					p.Profiles = tt.source
				}
				l.followPractices(p)
				d := l.enrolled(mdmtest.Config{AwaitConfiguration: true, Respond: tt.respond})
				l.meetOften(d)
				assert.Equal(t, tt.early, !d.InSetup())
				l.ahead.Add(int64(9 * time.Minute))
				l.meetOften(d)
				assert.Equal(t, tt.early, !d.InSetup())
				l.ahead.Add(int64(time.Minute))
				l.meetOften(d)
				assert.False(t, d.InSetup(), "the hold is over")
			})
		})
	}
}

// TestBP01_ReleaseIsRepeated: until the device acknowledges it, and as long as it says that it waits.
func TestBP01_ReleaseIsRepeated(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster})
		told, asked := 0, 0
		d := l.enrolled(mdmtest.Config{AwaitConfiguration: true, Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			switch o.RequestType {
			case "DeviceConfigured":
				if told++; told <= 2 {
					return mdmtest.Fail(command.DomainMDM, 12021, "not now")
				}
			case "DeviceInformation":
				if asked++; asked == 1 {
					return mdmtest.Answer{Fields: map[string]any{"QueryResponses": map[string]any{"AwaitingConfiguration": true}}}
				}
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		assert.Equal(t, []string{"DeviceConfigured"}, gotProfiles(d))
		for range 4 {
			l.advance(time.Minute, d)
		}
		assert.Equal(t, []string{"DeviceConfigured", "DeviceConfigured", "DeviceConfigured", "DeviceInformation", "DeviceConfigured", "DeviceInformation"}, gotProfiles(d))
		assert.Equal(t, workflow.Done, l.runs("setup")[0].Status)
		l.advance(24*time.Hour, d)
		assert.Len(t, gotProfiles(d), 6)
	})
}

func TestBP01_NotNowToEverything(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(setupStages)})
		locked := true
		d := l.enrolled(mdmtest.Config{AwaitConfiguration: true, Respond: func(context.Context, mdmtest.Order) mdmtest.Answer {
			if locked {
				return mdmtest.NotNow()
			}
			return mdmtest.Answer{}
		}})
		l.meetOften(d)
		l.ahead.Add(int64(11 * time.Minute))
		l.meetOften(d)
		sent := gotProfiles(d)
		assert.Contains(t, sent, "DeviceConfigured", "it was released as far as the server can")
		assert.True(t, d.InSetup())
		locked = false
		l.settle(d)
		assert.False(t, d.InSetup())
		queued := 0
		for _, e := range l.queue(d) {
			if e.RequestType == "DeviceConfigured" {
				queued++
			}
		}
		assert.Equal(t, 1, queued, "NotNow is waiting: it is the same command")
		assert.Subset(t, gotProfiles(d), []string{"+t1", "+t2", "+p", "+r", "+c"})
		assert.Equal(t, workflow.Done, l.runs("setup")[0].Status)
	})
}

func TestBP01_FailedOnesAreSentAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(practice.SetupStages{Trust: []string{"t"}, Capabilities: []string{"c"}})})
		fails := 3
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "InstallProfile" && fails > 0 {
				fails--
				return mdmtest.Fail(command.DomainInstallation, 4001, "no")
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		assert.Equal(t, []string{"+t", "+c"}, gotProfiles(d), "the second stage comes although the first failed")
		assert.Contains(t, l.runs("setup")[0].Note, "4001")
		l.advance(90*time.Minute, d)
		assert.Equal(t, []string{"+t", "+c", "+t", "+c"}, gotProfiles(d)[:4])
		assert.ElementsMatch(t, []string{"c", "t"}, d.Profiles())
		assert.Equal(t, workflow.Done, l.runs("setup")[0].Status)
	})
}

func TestBP01_GivesUpInTheEnd(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(practice.SetupStages{Trust: []string{"t"}}), Again: workflow.Retry{Limit: 3}})
		d := l.enrolled(mdmtest.Config{Respond: func(context.Context, mdmtest.Order) mdmtest.Answer {
			return mdmtest.Fail(command.DomainInstallation, 4001, "no")
		}})
		l.settle(d)
		l.advance(6*time.Hour, d)
		assert.Len(t, gotProfiles(d), 3)
		assert.Equal(t, workflow.Failed, l.runs("setup")[0].Status)
	})
}

func TestBP01_WithdrawnIsCalledOff(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		profiles := &profileShelf{}
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: profiles, Stages: setupStaged(setupStages)})
		d := l.enrolled(mdmtest.Config{})
		l.flush()
		profiles.withdraw("t1") // while its command waits on the queue
		l.settle(d)
		assert.Equal(t, []string{"+t2", "+p", "+r", "+c"}, gotProfiles(d))
		assert.Equal(t, workflow.Done, l.runs("setup")[0].Status)
	})
}

func TestBP01_ReenrollmentBeginsAgainAndRenewalDoesNot(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: setupStaged(practice.SetupStages{Trust: []string{"t"}})})
		d := l.enrolled(mdmtest.Config{AwaitConfiguration: true})
		l.settle(d)
		assert.Equal(t, []string{"+t", "DeviceConfigured", "DeviceInformation"}, gotProfiles(d))
		_, err := l.stores.Command.Enqueue(t.Context(), command.Order{To: mdm.IDs(id(d)), Command: command.InstallProfile{Payload: l.enrollment(mdm.PurposeRenew, d.ID())}})
		require.NoError(t, err)
		l.settle(d)
		assert.True(t, slices.ContainsFunc(l.events(d), func(e mdm.Event) bool { return e.Type == mdm.EventRenewed }), "it was renewed")
		assert.Len(t, l.runs("setup"), 1)
		d.Wipe()
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		assert.True(t, d.InSetup())
		before := len(d.History())
		l.settle(d)
		assert.Equal(t, []string{"+t", "DeviceConfigured", "DeviceInformation"}, gotProfiles(d)[before:])
		assert.Len(t, l.runs("setup"), 2)
	})
}

func TestBP01_UsersOfSharedIPad(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: func(_ context.Context, e *mdm.Enrollment) (practice.SetupStages, error) {
			if e.ID.IsUser() {
				return practice.SetupStages{Capabilities: []string{"mail"}}, nil
			}
			return practice.SetupStages{}, nil
		}})
		d := l.enrolled(mdmtest.Config{ProductName: "iPad13,4"})
		l.settle(d)
		settle := func(u *mdmtest.User) []string {
			before := len(d.History())
			for range 4 {
				l.flush()
				require.NoError(t, u.Poll(t.Context()))
			}
			l.flush()
			return gotProfiles(d)[before:]
		}
		u := d.SharedIPadUser("anna@example.com")
		require.NoError(t, u.AwaitConfiguration(t.Context(), true, false))
		assert.Equal(t, []string{"+mail", "UserConfigured"}, settle(u))
		for _, fresh := range []bool{true, false} { // with another push token, and with the same
			require.NoError(t, u.AwaitConfiguration(t.Context(), true, fresh))
			assert.Equal(t, []string{"UserConfigured"}, settle(u), "who waits again is only let go on")
		}
		b := d.SharedIPadUser("ben@example.com")
		require.NoError(t, b.AwaitConfiguration(t.Context(), false, false))
		assert.Empty(t, settle(b), "a user who does not wait")
		for _, run := range l.runs("setup") {
			assert.Equal(t, workflow.Done, run.Status, run.Note)
		}
	})
}

// TestBP01_PasscodeOnlyInUserConfiguration: a Mac that sets up a user takes passcode policies alone.
func TestBP01_PasscodeOnlyInUserConfiguration(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Users: true, Stages: func(_ context.Context, e *mdm.Enrollment) (practice.SetupStages, error) {
			if e.ID.IsUser() {
				return practice.SetupStages{Passcode: []string{"p"}, Restrictions: []string{"r"}}, nil
			}
			return practice.SetupStages{}, nil
		}})
		d := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0"})
		u := d.User("GUID-1", "anna")
		require.NoError(t, u.TokenUpdate(t.Context()))
		l.flush()
		require.NoError(t, u.PollInSetup(t.Context()))
		assert.Equal(t, []string{"+p"}, gotProfiles(d))
		l.flush()
		require.NoError(t, u.Poll(t.Context()))
		assert.Equal(t, []string{"+p", "+r"}, gotProfiles(d))
	})
}

// noTokenUpdate is a server that cannot take any.
func noTokenUpdate(next checkin.Handler) checkin.Handler {
	return checkin.HandlerFunc(func(ctx context.Context, r *checkin.Request) (*checkin.Reply, error) {
		if _, is := r.Message.(*checkin.TokenUpdate); is {
			return nil, mdm.Errorf(mdm.Unavailable, "test", "down")
		}
		return next.Checkin(ctx, r)
	})
}

// TestBP01_AUserWaitsAgainWhileSomethingIsTriedAgain: the run that goes on for a profile lets the user go once more.
func TestBP01_AUserWaitsAgainWhileSomethingIsTriedAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.followPractices(&practice.Setup{Roster: l.stores.Roster, Profiles: &profileShelf{}, Stages: func(_ context.Context, e *mdm.Enrollment) (practice.SetupStages, error) {
			if e.ID.IsUser() {
				return practice.SetupStages{Capabilities: []string{"mail"}}, nil
			}
			return practice.SetupStages{}, nil
		}})
		d := l.enrolled(mdmtest.Config{ProductName: "iPad13,4", Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "InstallProfile" {
				return mdmtest.Fail(command.DomainInstallation, 4001, "no")
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		u := d.SharedIPadUser("anna@example.com")
		released := func() (n int) {
			for range 4 {
				l.flush()
				require.NoError(t, u.Poll(t.Context()))
			}
			l.flush()
			for _, what := range gotProfiles(d) {
				if what == "UserConfigured" {
					n++
				}
			}
			return n
		}
		require.NoError(t, u.AwaitConfiguration(t.Context(), true, false))
		assert.Equal(t, 1, released())
		require.NoError(t, u.AwaitConfiguration(t.Context(), true, true))
		assert.Equal(t, 2, released())
		assert.Equal(t, 2, released(), "and not once more")
	})
}
