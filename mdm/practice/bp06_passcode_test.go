package practice_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// passcodeDevice is what a simulated device says of its passcode.
type passcodeDevice struct {
	mu   sync.Mutex
	says mdmtest.Answer
}

// set changes what it says: these keys of SecurityInfo are true, and the others that it has are false.
func (p *passcodeDevice) set(keys map[string]any) {
	p.be(mdmtest.Answer{Fields: map[string]any{"SecurityInfo": keys}})
}

func (p *passcodeDevice) be(a mdmtest.Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says = a
}

func (p *passcodeDevice) respond(_ context.Context, o mdmtest.Order) mdmtest.Answer {
	if o.RequestType != "SecurityInfo" {
		return mdmtest.Answer{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.says
}

var (
	passcodeGood   = map[string]any{"PasscodePresent": true, "PasscodeCompliantWithProfiles": true}
	passcodeWeak   = map[string]any{"PasscodePresent": true, "PasscodeCompliantWithProfiles": false}
	passcodeSilent = map[string]any{"PasscodePresent": true} // as if it knew no more
)

func passcodeWaiting(names ...string) func(context.Context, *mdm.Enrollment) ([]string, error) {
	return func(context.Context, *mdm.Enrollment) ([]string, error) { return names, nil }
}

// gateChanges is a GateChanged that remembers.
type gateChanges struct {
	mu   sync.Mutex
	list []bool
	why  string
}

func (c *gateChanges) changed(_ context.Context, _ *mdm.Enrollment, open bool, why string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list, c.why = append(c.list, open), why
	return nil
}

func (l *lab) gated(change func(*practice.Passcode)) *practice.Passcode {
	p := &practice.Passcode{Roster: l.stores.Roster, Profiles: &profileShelf{}, Policy: "policy", Waiting: passcodeWaiting("mail", "wifi")}
	if change != nil {
		change(p)
	}
	l.followPractices(p)
	return p
}

func (l *lab) theRun(name string) workflow.Run {
	l.Helper()
	require.Len(l, l.runs(name), 1)
	return l.runs(name)[0]
}

func TestBP06_OpensOnceWhenCompliant(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.gated(func(p *practice.Passcode) { p.Changed = heard.changed })
		code := &passcodeDevice{}
		code.set(passcodeWeak)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		assert.Equal(t, []string{"+policy", "SecurityInfo"}, gotProfiles(d))
		run := l.theRun("passcode")
		assert.Equal(t, "shut", run.Step)
		assert.Contains(t, run.Note, l.now().Add(time.Hour).UTC().Format("2006-01-02T15:04"), "the end of the grace")
		assert.Empty(t, heard.list, "it is no incident before")
		code.set(passcodeGood)
		l.advance(5*time.Minute, d)
		assert.Equal(t, []string{"+policy", "SecurityInfo", "SecurityInfo", "+mail", "+wifi"}, gotProfiles(d))
		assert.Equal(t, "open", l.theRun("passcode").Step)
		l.advance(72*time.Hour, d)
		assert.Equal(t, []string{"SecurityInfo", "SecurityInfo", "SecurityInfo"}, gotProfiles(d)[5:], "each once; then it is asked daily")
		assert.Equal(t, []bool{true}, heard.list)
	})
}

// TestBP06_Times: at once, then after 5, 10, 20 and 60 minutes, then daily, and when the grace is over.
func TestBP06_Times(t *testing.T) {
	for name, tt := range map[string]struct {
		times practice.ComplianceTimes
		want  []time.Duration
	}{
		"default": {practice.ComplianceTimes{}, []time.Duration{0, 5 * time.Minute, 15 * time.Minute, 35 * time.Minute, time.Hour, 25*time.Hour + 10*time.Minute, 49*time.Hour + 10*time.Minute}},
		"other": {practice.ComplianceTimes{Waits: []time.Duration{2 * time.Hour}, Recheck: 20 * time.Hour, Grace: 10 * time.Minute},
			[]time.Duration{0, 10 * time.Minute, 20*time.Hour + 10*time.Minute, 40*time.Hour + 10*time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, l *lab) {
				l.gated(func(p *practice.Passcode) { p.Times = tt.times })
				code := &passcodeDevice{}
				code.set(passcodeWeak)
				d := l.enrolled(mdmtest.Config{Respond: code.respond})
				began := l.now()
				l.settle(d)
				for l.now().Before(began.Add(70 * time.Minute)) {
					l.advance(5*time.Minute, d)
				}
				l.advance(48*time.Hour, d)
				var at []time.Duration
				for _, e := range l.queue(d) {
					if e.RequestType == "SecurityInfo" {
						at = append(at, e.QueuedAt.Sub(began))
					}
				}
				assert.Equal(t, tt.want, at)
			})
		})
	}
}

func TestBP06_MissingKeysKeepItShut(t *testing.T) {
	for name, says := range map[string]mdmtest.Answer{
		"one key":   {Fields: map[string]any{"SecurityInfo": passcodeSilent}},
		"no key":    {Fields: map[string]any{"SecurityInfo": map[string]any{}}},
		"nothing":   {Fields: map[string]any{}},
		"no truth":  {Fields: map[string]any{"SecurityInfo": map[string]any{"PasscodePresent": "yes", "PasscodeCompliantWithProfiles": "yes"}}},
		"an error":  mdmtest.Fail(command.DomainMDM, 12007, "no"),
		"a mistake": {Status: "CommandFormatError"},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, l *lab) {
				l.gated(nil)
				code := &passcodeDevice{}
				code.be(says)
				d := l.enrolled(mdmtest.Config{Respond: code.respond})
				l.settle(d)
				l.advance(12*time.Hour, d)
				assert.NotContains(t, gotProfiles(d), "+mail")
				run := l.theRun("passcode")
				assert.Equal(t, workflow.Open, run.Status)
				assert.Equal(t, "shut", run.Step)
				assert.NotEmpty(t, run.Note)
				code.set(passcodeGood)
				l.advance(24*time.Hour, d)
				assert.Subset(t, d.Profiles(), []string{"mail", "wifi"}, "it is never too late")
			})
		})
	}
}

func TestBP06_LossWithdraws(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.gated(func(p *practice.Passcode) { p.Changed = heard.changed })
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		assert.ElementsMatch(t, []string{"policy", "mail", "wifi"}, d.Profiles())
		code.set(passcodeWeak)
		before := len(gotProfiles(d))
		l.advance(25*time.Hour, d)
		after := slices.DeleteFunc(gotProfiles(d)[before:], func(s string) bool { return s == "SecurityInfo" })
		assert.Equal(t, []string{"-wifi", "-mail"}, after, "in reverse")
		assert.Equal(t, []string{"policy"}, d.Profiles())
		assert.Equal(t, []bool{true, false}, heard.list)
		assert.Equal(t, "the passcode is not compliant", heard.why)
		assert.Equal(t, "shut", l.theRun("passcode").Step)
		code.set(passcodeGood)
		l.advance(25*time.Hour, d)
		assert.ElementsMatch(t, []string{"policy", "mail", "wifi"}, d.Profiles())
		assert.Equal(t, []bool{true, false, true}, heard.list)
	})
}

func TestBP06_LossIsOnlyToldIfKept(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.gated(func(p *practice.Passcode) { p.Changed, p.Keep = heard.changed, true })
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		code.set(passcodeWeak)
		l.advance(25*time.Hour, d)
		assert.ElementsMatch(t, []string{"policy", "mail", "wifi"}, d.Profiles())
		assert.Equal(t, []bool{true, false}, heard.list)
		code.set(passcodeGood)
		l.advance(25*time.Hour, d)
		assert.Equal(t, []bool{true, false, true}, heard.list)
		assert.Equal(t, 1, len(slices.DeleteFunc(gotProfiles(d), func(s string) bool { return s != "+mail" })), "it never went away")
	})
}

// TestBP06_NoLossWithinTheGrace: the device gives its user an hour.
func TestBP06_NoLossWithinTheGrace(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.gated(func(p *practice.Passcode) {
			p.Changed, p.Times = heard.changed, practice.ComplianceTimes{Recheck: 10 * time.Minute, Grace: time.Hour}
		})
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		code.set(passcodeWeak)
		for range 5 {
			l.advance(10*time.Minute, d)
		}
		assert.Contains(t, d.Profiles(), "mail")
		assert.Equal(t, []bool{true}, heard.list)
		l.advance(10*time.Minute, d)
		assert.NotContains(t, d.Profiles(), "mail", "the grace is over, and it was asked then")
		assert.Equal(t, []bool{true, false}, heard.list)
	})
}

// TestBP06_ErrorsAloneAreNoLoss: a device that cannot answer for a while keeps what it has; one that never answers does not.
func TestBP06_ErrorsAloneAreNoLoss(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(nil)
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		code.be(mdmtest.Fail(command.DomainMDM, 12024, "busy"))
		l.advance(24*time.Hour, d)
		assert.Contains(t, d.Profiles(), "mail")
		code.set(passcodeGood)
		l.advance(24*time.Hour, d)
		assert.Equal(t, 1, len(slices.DeleteFunc(gotProfiles(d), func(s string) bool { return s != "+mail" })))
		code.be(mdmtest.Fail(command.DomainMDM, 12024, "busy"))
		l.advance(48*time.Hour, d)
		assert.NotContains(t, d.Profiles(), "mail")
	})
}

// TestBP06_OfflineForDays: there is one question on the queue, pushed with growing waits; a word that is old opens nothing.
func TestBP06_OfflineForDays(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(nil)
		code := &passcodeDevice{}
		code.set(passcodeWeak)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		l.advance(5 * 24 * time.Hour) // nobody connects
		open := 0
		for _, e := range l.queue(d) {
			if e.State.Open() {
				open++
			}
		}
		assert.Equal(t, 1, open)
		assert.Less(t, len(l.queue(d)), 15, "it is no storm")
		l.settle(d)
		assert.NotContains(t, gotProfiles(d), "+mail")
		code.set(passcodeGood)
		l.advance(5*time.Minute, d)
		assert.Contains(t, gotProfiles(d), "+mail", "who is back is asked soon again")
	})
}

// TestBP06_OldWordsOpenNothing: what passed the gate and was not delivered for days is asked for anew.
func TestBP06_OldWordsOpenNothing(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(nil)
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{Respond: func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
			return code.respond(ctx, o)
		}})
		l.flush()
		require.NoError(t, d.Poll(t.Context())) // the policy
		l.flush()
		require.NoError(t, d.Poll(t.Context())) // the question
		l.flush()                               // and off it goes, with profiles on its queue
		assert.Equal(t, []string{"+policy", "SecurityInfo"}, gotProfiles(d))
		assert.Equal(t, "open", l.theRun("passcode").Step)
		l.advance(3 * 24 * time.Hour)
		code.set(passcodeWeak)
		l.settle(d)
		assert.NotContains(t, gotProfiles(d), "+mail", "the user took the passcode off meanwhile")
		code.set(passcodeGood)
		l.advance(25*time.Hour, d)
		assert.Subset(t, d.Profiles(), []string{"mail", "wifi"})
	})
}

func TestBP06_UserEnrollment(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(nil)
		code := &passcodeDevice{}
		code.set(map[string]any{"PasscodeCompliant": false})
		d := l.enrolled(mdmtest.Config{EnrollmentID: "E-1", Respond: code.respond})
		l.settle(d)
		assert.NotContains(t, gotProfiles(d), "+mail")
		code.set(map[string]any{"PasscodeCompliant": true})
		l.advance(time.Hour, d)
		assert.Contains(t, gotProfiles(d), "+mail")
	})
}

func TestBP06_AMacCannotBeAsked(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(func(p *practice.Passcode) {
			p.CannotAsk = func(e *mdm.Enrollment) bool { return e.Device.SerialNumber == "TRUSTED" }
		})
		d := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0"})
		l.settle(d)
		assert.Empty(t, gotProfiles(d))
		assert.Equal(t, workflow.Failed, l.theRun("passcode").Status)
		assert.Contains(t, l.theRun("passcode").Note, "one profile")
		trusted := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0", SerialNumber: "TRUSTED"})
		l.settle(trusted)
		l.advance(48*time.Hour, trusted)
		assert.Equal(t, []string{"+policy", "+mail", "+wifi"}, gotProfiles(trusted), "never asked")
	})
}

func TestBP06_NothingWaitsAndByHand(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		names := []string{}
		l.gated(func(p *practice.Passcode) {
			p.ByHand, p.Policy = true, ""
			p.Waiting = func(context.Context, *mdm.Enrollment) ([]string, error) { return names, nil }
		})
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		assert.Empty(t, l.runs("passcode"))
		begin := func() {
			_, _, err := l.server.Workflows().Begin(t.Context(), practice.PasscodeWorkflow, id(d), practice.PasscodeWorkflow, nil)
			require.NoError(t, err)
			l.settle(d)
		}
		begin()
		assert.Equal(t, workflow.Done, l.theRun("passcode").Status, "nothing waits")
		names = []string{"mail"}
		begin()
		assert.Equal(t, []string{"SecurityInfo", "+mail"}, gotProfiles(d), "no policy of ours")
		names = append(names, "calendar")
		l.advance(24*time.Hour, d)
		assert.Equal(t, []string{"SecurityInfo", "+mail", "SecurityInfo", "+calendar"}, fewerQuestions(gotProfiles(d)), "what is new passes the open gate")
	})
}

// fewerQuestions leaves out questions that follow another.
func fewerQuestions(list []string) []string {
	return slices.CompactFunc(list, func(a, b string) bool { return a == b && a == "SecurityInfo" })
}

func TestBP06_ResumeAsksAtOnce(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(nil)
		code := &passcodeDevice{}
		code.set(passcodeWeak)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		l.advance(3*time.Hour, d)
		code.set(passcodeGood)
		l.settle(d)
		assert.NotContains(t, gotProfiles(d), "+mail")
		_, err := l.server.Workflows().Resume(t.Context(), "", l.theRun("passcode").ID)
		require.NoError(t, err)
		l.settle(d)
		assert.Contains(t, gotProfiles(d), "+mail")
	})
}

func TestBP06_RefusedProfilesAndPolicies(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		profiles := &profileShelf{}
		l.gated(func(p *practice.Passcode) { p.Profiles = profiles })
		bad := 1
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "InstallProfile" && bad > 0 {
				bad--
				return mdmtest.Fail(command.DomainInstallation, 4001, "no")
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		assert.Equal(t, []string{"+policy"}, gotProfiles(d))
		assert.Contains(t, l.theRun("passcode").Note, "4001")
		bad = 0
		l.advance(time.Minute, d)
		assert.Equal(t, []string{"+policy", "+policy", "SecurityInfo", "+mail", "+wifi"}, gotProfiles(d))

		profiles.withdraw("policy")
		e := l.enrolled(mdmtest.Config{})
		l.settle(e)
		assert.Empty(t, gotProfiles(e))
		for _, run := range l.runs("passcode") {
			if run.Enrollment == id(e) {
				assert.Equal(t, workflow.Failed, run.Status, "without the policy nothing waits for it")
			}
		}
	})
}
