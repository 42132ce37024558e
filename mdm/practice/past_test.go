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
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestBegunPastThePractice: the API begins runs with no state. That is no order of anybody.
func TestBegunPastThePractice(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		ended := false
		erase := &practice.Erase{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault}
		lock := &practice.Lock{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault}
		lost := &practice.LostMode{Roster: l.stores.Roster}
		update := &practice.Update{Roster: l.stores.Roster}
		ending := &practice.Ending{Roster: l.stores.Roster, Profile: func(*mdm.Enrollment) string { return "com.example.mdm" },
			End: func(context.Context, mdm.EnrollmentID, mdm.Generation, string) error { ended = true; return nil }}
		var more []workflow.Any
		for _, some := range [][]workflow.Any{erase.Workflows(), lock.Workflows(), lost.Workflows(), update.Workflows(), ending.Workflows()} {
			more = append(more, some...)
		}
		g := guarded(l, nil, more...)
		d := g.phone()
		for _, name := range []string{practice.EraseName, practice.LockName, practice.LostModeName, practice.UpdateName, practice.EndingName,
			practice.GuardClearPasscode, practice.GuardRotateSecret} {
			r, _, err := g.Engine.Begin(t.Context(), name, id(d), "", nil)
			require.NoError(t, err)
			l.settle(d)
			assert.Equal(t, workflow.Failed, l.run(r.ID).Status, "%s: %s", name, l.run(r.ID).Note)
		}
		assert.Empty(t, took(d))
		assert.Empty(t, g.audited())
		assert.False(t, ended)
	})
}

// TestCanceledBeforeDelivery: the commands of a run that was canceled are withdrawn.
func TestCanceledBeforeDelivery(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		erase := &practice.Erase{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault}
		lock := &practice.Lock{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault}
		l.serve(func(c *server.Config) {
			c.Cooks = erase.Cooks()
			for name, cook := range lock.Cooks() {
				c.Cooks[name] = cook
			}
		}, append(erase.Workflows(), lock.Workflows()...)...)
		d := l.enrolled(mdmtest.Config{})
		l.settle(d)
		engine := l.server.Workflows()
		first, err := erase.Begin(t.Context(), engine, id(d), practice.EraseOrder{Actor: "ada", Reason: "sold"})
		require.NoError(t, err)
		second, err := lock.Begin(t.Context(), engine, id(d), practice.LockOrder{Actor: "ada", Reason: "stolen"})
		require.NoError(t, err)
		l.flush()
		require.Len(t, l.queue(d), 2)
		for _, r := range []workflow.Run{first, second} {
			_, err = engine.Cancel(t.Context(), "", r.ID, "it was the wrong device")
			require.NoError(t, err)
		}
		for _, e := range l.queue(d) {
			assert.Equal(t, command.Canceled, e.State)
		}
		l.settle(d)
		assert.Empty(t, took(d))
		assert.True(t, d.Managed())
	})
}

// TestBP15_UsersOfADevice: naming users of a device does not get its secrets more often, or when it is lost.
func TestBP15_UsersOfADevice(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		var asked []mdm.EnrollmentID
		l := guarded(plain, func(g *practice.Guard) {
			g.Lost = func(_ context.Context, id mdm.EnrollmentID) (bool, error) {
				asked = append(asked, id)
				return false, nil
			}
		})
		d := l.phone()
		require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("bootstrap")))
		for n := range 4 {
			who := id(d)
			who.User = string(rune('a' + n))
			_, err := l.Release(t.Context(), practice.ReleaseRequest{Secret: practice.GuardBootstrapToken, Enrollment: who, Actor: who.User, Reason: "r",
				PossessionVerified: true})
			if n < 3 {
				require.NoError(t, err)
				continue
			}
			forbidden(t, err)
			assert.ErrorContains(t, err, "for a device")
		}
		for _, who := range asked {
			assert.Equal(t, id(d), who)
		}
	})
}

// TestBP15_ApprovedTooLate: nobody has ended the wait yet, because the server was down.
func TestBP15_ApprovedTooLate(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) { g.SecondApprover = true })
		d := l.phone()
		run, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.flush()
		l.ahead.Add(int64(25 * time.Hour))
		err = l.Approve(t.Context(), practice.GuardApproval{Run: run.ID, Approver: "bob"})
		forbidden(t, err)
		assert.ErrorContains(t, err, "too late")
		l.settle(d)
		assert.Empty(t, took(d))
		assert.NotContains(t, l.audited(), "secret.approved")
		assert.Equal(t, "nobody approved it in time", plain.run(run.ID).Note)
	})
}
