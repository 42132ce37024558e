package practice_test

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// groups returns a Declarer on the lab's store, whose reports go to the practices.
func (l *lab) groups() *ddm.Groups {
	return &ddm.Groups{Store: l.stores.Declarations, Commands: l.stores.Command, Reported: func(ctx context.Context, id mdm.EnrollmentID, r ddm.StatusReport) error {
		return practice.TellReport(ctx, l.server.Workflows(), id, r)
	}}
}

// away is a Declarative that fails while it is told to.
type away struct {
	inner checkin.Declarative
	down  atomic.Bool
}

func (a *away) Declare(ctx context.Context, id mdm.EnrollmentID, endpoint string, data []byte) (*checkin.Reply, error) {
	if a.down.Load() {
		return nil, errors.New("the database is away")
	}
	return a.inner.Declare(ctx, id, endpoint, data)
}

// declaring serves practices, and declarations.
func (l *lab) declaring(g *ddm.Groups, cooks map[string]command.Cook, workflows ...workflow.Any) *away {
	l.Helper()
	a := &away{inner: &ddm.Responder{Backend: g, Clock: l.now}}
	l.serve(func(c *server.Config) {
		c.Cooks = maps.Clone(cooks)
		c.Checkin.Declarative = a
	}, workflows...)
	return a
}

// gatedAccount are declarations that wait for a compliant passcode.
func gatedAccount(context.Context, *mdm.Enrollment) ([]ddm.Declaration, error) {
	return []ddm.Declaration{
		{Identifier: "mail", Payload: &ddm.AccountCalDAV{HostName: "cal.example.com", AuthenticationCredentialsAssetReference: new("password")}},
		{Identifier: "password", Payload: &ddm.AssetCredentialUserPassword{Reference: ddm.AssetCredentialUserPasswordReference{DataURL: "https://mdm.example.com/password"}}},
	}, nil
}

// byDeclaration serves a Passcode that declares where it can.
func (l *lab) byDeclaration(change func(*practice.Passcode)) (*practice.Passcode, *away) {
	l.Helper()
	groups := l.groups()
	p := &practice.Passcode{Roster: l.stores.Roster, Profiles: &profileShelf{}, Policy: "policy", Waiting: passcodeWaiting("mail"),
		Declared: &practice.PasscodeDeclared{Declarer: groups, Gated: gatedAccount, Policy: func(context.Context, *mdm.Enrollment) (ddm.PasscodeSettings, error) {
			return ddm.PasscodeSettings{RequirePasscode: new(true), MinimumLength: new(int64(8))}, nil
		}}}
	if change != nil {
		change(p)
	}
	return p, l.declaring(groups, p.Cooks(), p.Workflows()...)
}

func (l *lab) status(d *mdmtest.Device, compliant bool) {
	d.SetStatus("passcode.is-compliant", compliant)
}

// TestBP06_ByDeclaration: the device itself gives and takes what waits, and the server hears of it without asking.
func TestBP06_ByDeclaration(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.byDeclaration(func(p *practice.Passcode) { p.Changed = heard.changed })
		d := l.device(mdmtest.Config{})
		l.status(d, false)
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(d)
		assert.Equal(t, []string{"DeclarativeManagement"}, took(d), "it is not asked, and gets no profile")
		assert.Equal(t, []string{"practice.passcode", "practice.passcode.on", "practice.passcode.status"}, d.Active())
		run := l.theRun("passcode")
		assert.Equal(t, "declared", run.Step)
		assert.Contains(t, run.Note, l.now().Add(time.Hour).UTC().Format("2006-01-02T15:04"), "the end of the grace")
		assert.Empty(t, heard.list, "it is no incident before")

		l.status(d, true)
		assert.Contains(t, d.Active(), "mail", "at once, without the server")
		l.settle(d)
		assert.Equal(t, []bool{true}, heard.list)
		assert.Contains(t, l.theRun("passcode").Note, "declared; compliant")
		l.advance(3*time.Hour, d)
		l.status(d, false)
		assert.NotContains(t, d.Active(), "mail")
		l.settle(d)
		assert.Equal(t, []bool{true, false}, heard.list)
		assert.Equal(t, "the passcode is not compliant", heard.why)
		l.status(d, true)
		l.advance(72*time.Hour, d)
		assert.Equal(t, []bool{true, false, true}, heard.list)
		assert.Equal(t, []string{"DeclarativeManagement"}, took(d), "in days it was never asked")
	})
}

// TestBP06_ByDeclarationOrByPolling: each device in the way that it can.
func TestBP06_ByDeclarationOrByPolling(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.byDeclaration(nil)
		code := &passcodeDevice{}
		code.set(passcodeGood)
		modern, old := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{OSVersion: "15.8", Respond: code.respond})
		mac := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0"})
		l.settle(modern, old, mac)
		assert.Contains(t, modern.Active(), "mail")
		assert.Empty(t, modern.Profiles())
		assert.Equal(t, []string{"+policy", "SecurityInfo", "+mail"}, gotProfiles(old))
		assert.Empty(t, took(mac), "it says nothing of its passcode, neither way")
		assert.Empty(t, mac.Active())
		for _, run := range l.runs("passcode") {
			want := map[mdm.EnrollmentID]string{id(modern): "declared", id(old): "open", id(mac): "policy"}[run.Enrollment]
			assert.Equal(t, want, run.Step)
		}
	})
}

// TestBP06_ByDeclarationTheGraceEnds: what stays shut is told when the device's user can put it off no longer.
func TestBP06_ByDeclarationTheGraceEnds(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		heard := &gateChanges{}
		l.byDeclaration(func(p *practice.Passcode) { p.Changed = heard.changed })
		d := l.device(mdmtest.Config{})
		l.status(d, false)
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(d)
		l.advance(59*time.Minute, d)
		assert.Empty(t, heard.list)
		l.advance(2*time.Minute, d)
		assert.Equal(t, []bool{false}, heard.list)
		l.advance(30*time.Hour, d)
		assert.Equal(t, []bool{false}, heard.list, "once")
	})
}

// TestBP06_ByDeclarationUnknownToTheDevice: then it is asked after all.
func TestBP06_ByDeclarationUnknownToTheDevice(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.byDeclaration(nil)
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.device(mdmtest.Config{Respond: code.respond})
		d.RefuseDeclaration("practice.passcode", ddm.ReasonErrorUnknownDeclarationType)
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(d)
		assert.Empty(t, d.Active())
		_, there := d.Declared("practice.passcode")
		assert.False(t, there, "it is withdrawn")
		assert.ElementsMatch(t, []string{"policy", "mail"}, d.Profiles())
		assert.Equal(t, "open", l.theRun("passcode").Step)
	})
}

// TestBP06_ByDeclarationInvalid: it is said where it stands.
func TestBP06_ByDeclarationInvalid(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.byDeclaration(nil)
		d := l.device(mdmtest.Config{})
		d.RefuseDeclaration("practice.passcode", ddm.ReasonErrorConfigurationCannotBeApplied)
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(d)
		assert.Contains(t, l.theRun("passcode").Note, "Error.ConfigurationCannotBeApplied")
		d.RefuseDeclaration("practice.passcode", "")
		l.settle(d)
		assert.Contains(t, l.theRun("passcode").Note, "declared; compliant")
	})
}

// TestBP06_ByDeclarationAgain: another policy, an outage, a backup, another enrollment, and at last nothing that waits.
func TestBP06_ByDeclarationAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var length, empty atomic.Int64
		length.Store(8)
		_, declarative := l.byDeclaration(func(p *practice.Passcode) {
			p.Waiting = nil
			p.Declared.Policy = func(context.Context, *mdm.Enrollment) (ddm.PasscodeSettings, error) {
				return ddm.PasscodeSettings{MinimumLength: new(length.Load())}, nil
			}
			p.Declared.Gated = func(ctx context.Context, e *mdm.Enrollment) ([]ddm.Declaration, error) {
				if empty.Load() > 0 {
					return nil, nil
				}
				return gatedAccount(ctx, e)
			}
		})
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		require.Contains(t, d.Active(), "mail")
		policy := func() int64 {
			got, there := d.Declared("practice.passcode")
			require.True(t, there)
			return *got.Payload.(*ddm.PasscodeSettings).MinimumLength
		}
		fetched := d.Fetched()
		length.Store(10)
		declarative.down.Store(true)
		l.advance(25*time.Hour, d)
		assert.Equal(t, int64(8), policy(), "an outage takes nothing away")
		assert.Contains(t, d.Active(), "mail")
		declarative.down.Store(false)
		l.settle(d)
		assert.Equal(t, int64(10), policy())
		assert.Equal(t, fetched+1, d.Fetched(), "the rest is what it was")

		backup := d.Backup()
		require.NoError(t, d.Restore(t.Context(), backup))
		require.Empty(t, d.Active())
		l.settle(d)
		assert.Contains(t, d.Active(), "mail", "what came back from a backup has it again")

		d.Wipe()
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		empty.Store(1)
		l.settle(d)
		groups, err := l.stores.Declarations.DeclarationGroups(t.Context(), id(d))
		require.NoError(t, err)
		assert.Empty(t, groups, "they were those of the former enrollment")
		assert.Empty(t, d.Active())
		run := l.runs("passcode")
		require.Len(t, run, 2)
		statuses := map[workflow.Status]string{run[0].Status: run[0].Note, run[1].Status: run[1].Note}
		assert.Contains(t, statuses, workflow.Canceled)
		assert.Equal(t, "nothing waits", statuses[workflow.Done])
	})
}

// TestUpdateByDeclaration: the device itself says when it is there.
func TestUpdateByDeclaration(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		groups := l.groups()
		update := &practice.Update{Roster: l.stores.Roster, Declarer: groups}
		l.declaring(groups, nil, update.Workflows()...)
		soon, unable, odd := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		unable.RefuseDeclaration(practice.UpdateDeclaration, ddm.ReasonErrorConfigurationNotSupported)
		odd.RefuseDeclaration(practice.UpdateDeclaration, "Error.\x00 "+ddm.ReasonErrorConfigurationFailed)
		l.settle(l.devices...)
		order := practice.UpdateOrder{Actor: "ada", Reason: "a hole", Version: "18.3", Deadline: l.now().Add(72 * time.Hour)}
		runs := map[*mdmtest.Device]string{}
		for _, d := range l.devices {
			r, err := update.Begin(t.Context(), l.server.Workflows(), id(d), order)
			require.NoError(t, err)
			runs[d] = r.ID
		}
		l.settle(l.devices...)
		assert.Contains(t, soon.Active(), practice.UpdateDeclaration)
		assert.Equal(t, []string{"DeviceInformation", "DeclarativeManagement"}, took(soon))
		assert.Contains(t, took(unable), "ScheduleOSUpdate", "who does not know the declaration is sent the command")
		assert.Empty(t, unable.Active())
		assert.Contains(t, l.run(runs[odd]).Note, "invalid: a reason of its own")

		require.NoError(t, soon.Restore(t.Context(), soon.Backup()))
		require.Empty(t, soon.Active())
		l.settle(soon)
		assert.Contains(t, soon.Active(), practice.UpdateDeclaration, "what came back from a backup has it again")

		soon.SetStatus("softwareupdate.install-state", "downloading")
		l.settle(soon)
		assert.Contains(t, l.run(runs[soon]).Note, "its update is downloading")
		soon.SetOSVersion("18.3")
		l.settle(soon)
		assert.Equal(t, workflow.Done, l.run(runs[soon]).Status, "it said so: no clock had to move")
		_, there := soon.Declared(practice.UpdateDeclaration)
		assert.False(t, there, "it has done its work")
		e, err := l.stores.Roster.Enrollment(t.Context(), id(soon))
		require.NoError(t, err)
		assert.Equal(t, "18.3", e.Device.OSVersion, "the store knows it, too")

		l.advance(20*24*time.Hour, odd)
		assert.Equal(t, workflow.Failed, l.run(runs[odd]).Status)
		_, there = odd.Declared(practice.UpdateDeclaration)
		assert.False(t, there)
	})
}

// TestUpdateByDeclarationSilent: the version is asked for however much, or little, a device reports.
func TestUpdateByDeclarationSilent(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		groups := l.groups()
		groups.Reported = nil
		update := &practice.Update{Roster: l.stores.Roster, Declarer: groups}
		l.declaring(groups, nil, update.Workflows()...)
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		r, err := update.Begin(t.Context(), l.server.Workflows(), id(d), practice.UpdateOrder{Actor: "ada", Reason: "a hole", Version: "18.3", Deadline: l.now().Add(72 * time.Hour)})
		require.NoError(t, err)
		l.settle(d)
		d.SetOSVersion("18.3")
		l.advance(5*time.Hour, d)
		assert.Equal(t, workflow.Open, l.run(r.ID).Status)
		for range 4 { // what is reported does not put the question off
			word := ddm.StatusReport{StatusItems: map[string]any{"softwareupdate": map[string]any{"install-state": "downloading"}}}
			require.NoError(t, practice.TellReport(t.Context(), l.server.Workflows(), id(d), word))
			l.advance(20*time.Minute, d)
		}
		assert.Equal(t, workflow.Done, l.run(r.ID).Status)
	})
}

// TestUpdateAndPasscodeTogether: what a device has is the sum of what practices declare.
func TestUpdateAndPasscodeTogether(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		groups := l.groups()
		update := &practice.Update{Roster: l.stores.Roster, Declarer: groups}
		passcode := &practice.Passcode{Roster: l.stores.Roster, Profiles: &profileShelf{}, Declared: &practice.PasscodeDeclared{Declarer: groups, Gated: gatedAccount,
			Policy: func(context.Context, *mdm.Enrollment) (ddm.PasscodeSettings, error) {
				return ddm.PasscodeSettings{RequirePasscode: new(true)}, nil
			}}}
		l.declaring(groups, passcode.Cooks(), append(update.Workflows(), passcode.Workflows()...)...)
		d := l.enrolled(mdmtest.Config{})
		_, err := update.Begin(t.Context(), l.server.Workflows(), id(d), practice.UpdateOrder{Actor: "ada", Reason: "a hole", Version: "18.3", Deadline: l.now().Add(72 * time.Hour)})
		require.NoError(t, err)
		l.settle(d)
		assert.Subset(t, d.Active(), []string{"mail", practice.UpdateDeclaration})
		d.SetOSVersion("18.3")
		l.settle(d)
		assert.Contains(t, d.Active(), "mail")
		assert.NotContains(t, d.Active(), practice.UpdateDeclaration)
	})
}

// FuzzReport: whatever a device reports, a practice gets something that it can keep.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"passcode":{"is-compliant":true},"management":{"declarations":{"activations":[{"identifier":"x.passcode.gate","active":true,"valid":"invalid","server-token":"1","reasons":[{"code":"Error.X"}]}],"configurations":[],"assets":[],"management":[]}}}`))
	f.Add([]byte(`{"device":{"operating-system":{"version":"\u0000"}},"softwareupdate":{"install-state":7}}`))
	f.Fuzz(func(t *testing.T, items []byte) {
		report, _, _ := ddm.ParseStatusReport([]byte(`{"Errors":[],"StatusItems":` + string(items) + `}`))
		if report == nil {
			return
		}
		if err := practice.TellReport(t.Context(), nil, mdm.EnrollmentID{Device: "D"}, *report); err != nil {
			t.Fatal(err)
		}
	})
}
