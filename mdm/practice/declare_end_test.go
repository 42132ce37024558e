package practice_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// declaredGroups are the names of the groups of a device.
func (l *lab) declaredGroups(d *mdmtest.Device) (names []string) {
	l.Helper()
	groups, err := l.stores.Declarations.DeclarationGroups(l.Context(), id(d))
	require.NoError(l, err)
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names
}

// TestDeclaredGoesWithItsRun: who cancels a run does not leave its declarations behind, for nobody would take them back.
func TestDeclaredGoesWithItsRun(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		groups := l.groups()
		update := &practice.Update{Roster: l.stores.Roster, Declarer: groups}
		passcode := &practice.Passcode{Roster: l.stores.Roster, Profiles: &profileShelf{}, Declared: &practice.PasscodeDeclared{Declarer: groups, Gated: gatedAccount,
			Policy: func(context.Context, *mdm.Enrollment) (ddm.PasscodeSettings, error) {
				return ddm.PasscodeSettings{RequirePasscode: new(true)}, nil
			}}}
		l.declaring(groups, passcode.Cooks(), append(update.Workflows(), passcode.Workflows()...)...)
		d := l.enrolled(mdmtest.Config{})
		order := practice.UpdateOrder{Actor: "ada", Reason: "a hole", Version: "18.3", Deadline: l.now().Add(72 * time.Hour)}
		r, err := update.Begin(t.Context(), l.server.Workflows(), id(d), order)
		require.NoError(t, err)
		l.settle(d)
		require.Subset(t, d.Active(), []string{"mail", practice.UpdateDeclaration})

		_, err = l.server.Workflows().Cancel(t.Context(), "", r.ID, "not this one")
		require.NoError(t, err)
		l.settle(d)
		assert.Equal(t, workflow.Canceled, l.run(r.ID).Status)
		assert.Equal(t, "not this one", l.run(r.ID).Note)
		assert.NotContains(t, d.Active(), practice.UpdateDeclaration)
		assert.Contains(t, d.Active(), "mail")
		assert.Equal(t, []string{practice.PasscodeGroup}, l.declaredGroups(d))
		order.Version = "18.4"
		again, err := update.Begin(t.Context(), l.server.Workflows(), id(d), order)
		require.NoError(t, err)
		l.settle(d)
		assert.Contains(t, d.Active(), practice.UpdateDeclaration, "the next order is another one")
		assert.Equal(t, workflow.Open, l.run(again.ID).Status)

		_, err = l.server.Workflows().Cancel(t.Context(), "", l.theRun("passcode").ID, "not here")
		require.NoError(t, err)
		l.settle(d)
		assert.NotContains(t, d.Active(), "mail")
		assert.Equal(t, []string{practice.UpdateGroup}, l.declaredGroups(d))
	})
}

// TestCanceledLeavesOthersAlone: what was never declared is not withdrawn, which would switch declarative management on.
func TestCanceledLeavesOthersAlone(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		_, _ = l.byDeclaration(nil)
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{OSVersion: "15.8", Respond: code.respond})
		l.settle(d)
		_, err := l.server.Workflows().Cancel(t.Context(), "", l.theRun("passcode").ID, "not here")
		require.NoError(t, err)
		l.settle(d)
		assert.Equal(t, workflow.Canceled, l.theRun("passcode").Status)
		assert.NotContains(t, took(d), "DeclarativeManagement")
		assert.ElementsMatch(t, []string{"policy", "mail"}, d.Profiles())
	})
}

// TestBP06_ByDeclarationNotAnyMore: what a device turns out to be, as a Shared iPad, is asked, and keeps no declarations besides.
func TestBP06_ByDeclarationNotAnyMore(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.byDeclaration(nil)
		d := l.device(mdmtest.Config{ProductName: "iPad13,1", Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			switch o.RequestType {
			case "DeviceInformation":
				return mdmtest.Answer{Fields: map[string]any{"QueryResponses": map[string]any{"IsMultiUser": true}}}
			case "SecurityInfo":
				return mdmtest.Answer{Fields: map[string]any{"SecurityInfo": passcodeGood}}
			}
			return mdmtest.Answer{}
		}})
		require.NoError(t, d.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(d)
		require.Contains(t, d.Active(), "mail", "nobody knew")
		_, err := l.stores.Command.Enqueue(t.Context(), command.Order{Command: command.DeviceInformation{Queries: []command.DeviceInformationQuery{command.DeviceInformationQueryIsMultiUser}}, To: mdm.IDs(id(d))})
		require.NoError(t, err)
		l.settle(d)
		l.advance(25*time.Hour, d)
		assert.Empty(t, l.declaredGroups(d))
		assert.Empty(t, d.Active())
		assert.ElementsMatch(t, []string{"policy", "mail"}, d.Profiles())
		assert.Equal(t, "open", l.theRun("passcode").Step)
	})
}

// TestBP06_ByDeclarationUnheard: a device that was not told of a new policy, and reports other things, is told again.
func TestBP06_ByDeclarationUnheard(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var length atomic.Int64
		length.Store(8)
		l.byDeclaration(func(p *practice.Passcode) {
			p.Declared.Policy = func(context.Context, *mdm.Enrollment) (ddm.PasscodeSettings, error) {
				return ddm.PasscodeSettings{MinimumLength: new(length.Load())}, nil
			}
		})
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		length.Store(10)
		_, err := l.server.Workflows().Resume(t.Context(), "", l.theRun("passcode").ID)
		require.NoError(t, err)
		l.flush()
		withdrawn := 0
		for _, e := range l.queue(d) {
			if e.State.Open() {
				n, err := l.stores.Command.Cancel(t.Context(), e.UUID, mdm.IDs(id(d)))
				require.NoError(t, err)
				withdrawn += n
			}
		}
		require.Equal(t, 1, withdrawn)
		l.advance(time.Hour, d)
		l.status(d, false)
		l.advance(time.Hour, d)
		l.status(d, true)
		l.advance(25*time.Hour, d)
		got, there := d.Declared("practice.passcode")
		require.True(t, there)
		assert.Equal(t, int64(10), *got.Payload.(*ddm.PasscodeSettings).MinimumLength)
	})
}

// TestUpdateByDeclarationOfAnother: what a device says of a declaration that was there before says nothing of this one.
func TestUpdateByDeclarationOfAnother(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		groups := l.groups()
		update := &practice.Update{Roster: l.stores.Roster, Declarer: groups}
		l.declaring(groups, nil, update.Workflows()...)
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		r, err := update.Begin(t.Context(), l.server.Workflows(), id(d), practice.UpdateOrder{Actor: "ada", Reason: "a hole", Version: "18.3", Deadline: l.now().Add(72 * time.Hour)})
		require.NoError(t, err)
		l.settle(d)
		stale := map[string]any{"identifier": practice.UpdateDeclaration, "server-token": "former", "active": false, "valid": "invalid",
			"reasons": []any{map[string]any{"code": ddm.ReasonErrorConfigurationNotSupported}}}
		word := ddm.StatusReport{StatusItems: map[string]any{"management": map[string]any{"declarations": map[string]any{"configurations": []any{stale}}}}}
		require.NoError(t, practice.TellReport(t.Context(), l.server.Workflows(), id(d), word))
		l.settle(d)
		assert.Contains(t, d.Active(), practice.UpdateDeclaration)
		assert.NotContains(t, took(d), "ScheduleOSUpdate")
		assert.NotContains(t, l.run(r.ID).Note, "invalid")
	})
}

// TestBP06_ByDeclarationOfAnotherGate: so it is with the gate.
func TestBP06_ByDeclarationOfAnotherGate(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.byDeclaration(nil)
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		stale := map[string]any{"identifier": "practice.passcode.gate", "server-token": "former", "active": false, "valid": "invalid",
			"reasons": []any{map[string]any{"code": ddm.ReasonErrorUnableToParsePredicate}}}
		word := ddm.StatusReport{StatusItems: map[string]any{"management": map[string]any{"declarations": map[string]any{"activations": []any{stale}}}}}
		require.NoError(t, practice.TellReport(t.Context(), l.server.Workflows(), id(d), word))
		l.settle(d)
		assert.Equal(t, "declared", l.theRun("passcode").Step)
		assert.Contains(t, d.Active(), "mail")
	})
}
