package practice_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// needsApproval asks for a secret and returns the run that waits for a second person.
func (l *guardLab) needsApproval(r practice.ReleaseRequest) string {
	l.Helper()
	_, err := l.Release(l.Context(), r)
	forbidden(l.T, err)
	var needed *practice.ApprovalNeeded
	require.ErrorAs(l, err, &needed)
	l.flush()
	return needed.Run
}

func (l *guardLab) approve(run, who string) error {
	return l.Approve(l.Context(), practice.GuardApproval{Run: run, Approver: who})
}

func TestBP15_SecondApproverOfEverySecret(t *testing.T) {
	kinds := []practice.GuardedSecret{practice.GuardBootstrapToken, practice.GuardRecoveryLock, practice.GuardFirmwarePassword, practice.GuardFileVaultKey,
		practice.GuardAdminPassword, practice.GuardActivationLockBypass, practice.GuardDeviceLockPIN}
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) { g.Approval, g.Limit = kinds, -1 })
		d := l.mac(nil)
		require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("secret of bootstrap-token")))
		for _, kind := range kinds {
			if kind != practice.GuardBootstrapToken {
				require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: kind, Enrollment: id(d), Value: mdm.SecretString("secret of " + string(kind)), Actor: "anna", Reason: "r"}))
			}
			before := len(l.audited())
			r := practice.ReleaseRequest{Secret: kind, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true}
			run := l.needsApproval(r)
			_, err := l.Release(t.Context(), r)
			forbidden(t, err)
			assert.ErrorContains(t, err, "there is an open request")
			r.Approved = run
			_, err = l.Release(t.Context(), r)
			forbidden(t, err)
			assert.ErrorContains(t, err, "it is not approved")
			forbidden(t, l.approve(run, " ANNA"))
			require.NoError(t, l.approve(run, "bob"))
			l.flush()
			s, err := l.Release(t.Context(), r)
			require.NoError(t, err, kind)
			assert.Equal(t, "secret of "+string(kind), string(s.Reveal()))
			_, err = l.Release(t.Context(), r)
			forbidden(t, err)
			assert.Equal(t, []string{"secret.requested", "secret.requested", "secret.refused: there is an open request", "secret.called-off: it is not approved",
				"approval.refused: it does not wait for the approval of this person", "secret.approved", "secret.released", "secret.outcome: it was given out",
				"secret.called-off: there is no approval of this request that waits to be used"}, l.audited()[before:], "%s", kind)
		}
		l.advance(2*time.Hour, d)
		l.outcomes()
		for _, r := range l.runs(practice.GuardReleaseSecret) {
			assert.Equal(t, workflow.Done, r.Status)
			assert.NotContains(t, fmt.Sprint(r.Note, string(r.State)), "secret of")
		}
	})
}

// TestBP15_ApprovalByPolicy: kinds that the policy does not name need none, unless the actor wants one.
func TestBP15_ApprovalByPolicy(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) {
			g.Approval, g.Limit = []practice.GuardedSecret{practice.GuardFileVaultKey, practice.GuardUnlockToken}, -1
		})
		d := l.phone()
		for _, kind := range []practice.GuardedSecret{practice.GuardRecoveryLock, practice.GuardFileVaultKey} {
			require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: kind, Enrollment: id(d), Value: mdm.SecretString("x"), Actor: "anna", Reason: "r"}))
		}
		r := practice.ReleaseRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true}
		_, err := l.Release(t.Context(), r)
		require.NoError(t, err)
		r.Approver = "carl"
		run := l.needsApproval(r)
		forbidden(t, l.approve(run, "bob"))
		require.NoError(t, l.approve(run, "carl"))
		l.flush()
		r.Approved = run
		_, err = l.Release(t.Context(), r)
		require.NoError(t, err)
		r.Approver, r.Approved = "Anna", ""
		_, err = l.Release(t.Context(), r)
		forbidden(t, err)
		assert.ErrorContains(t, err, "nobody approves what he asks for himself")

		cleared, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.settle(d)
		assert.Empty(t, took(d), "the unlock token is a kind like others")
		require.NoError(t, l.approve(cleared.ID, "bob"))
		l.settle(d)
		assert.Equal(t, []string{"ClearPasscode"}, took(d))
	})
}

// TestBP15_ApprovalIsForOneThing and for one person, once, and not for ever.
func TestBP15_ApprovalIsForOneThing(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) {
			g.Approval, g.Limit = []practice.GuardedSecret{practice.GuardRecoveryLock, practice.GuardFileVaultKey}, -1
		})
		d, other := l.phone(), l.phone()
		for _, of := range []*mdmtest.Device{d, other} {
			for _, kind := range []practice.GuardedSecret{practice.GuardRecoveryLock, practice.GuardFileVaultKey} {
				require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: kind, Enrollment: id(of), Value: mdm.SecretString("x"), Actor: "anna", Reason: "r"}))
			}
		}
		ask := practice.ReleaseRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true}
		run := l.needsApproval(ask)
		require.NoError(t, l.approve(run, "bob"))
		l.flush()
		ask.Approved = run
		for what, change := range map[string]func(*practice.ReleaseRequest){
			"actor":      func(r *practice.ReleaseRequest) { r.Actor = "eve" },
			"reason":     func(r *practice.ReleaseRequest) { r.Reason = "something else" },
			"secret":     func(r *practice.ReleaseRequest) { r.Secret = practice.GuardFileVaultKey },
			"device":     func(r *practice.ReleaseRequest) { r.Enrollment = id(other) },
			"possession": func(r *practice.ReleaseRequest) { r.PossessionVerified = false },
			"run":        func(r *practice.ReleaseRequest) { r.Approved = "unknown" },
		} {
			r := ask
			change(&r)
			_, err := l.Release(t.Context(), r)
			require.Error(t, err, what)
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), what)
		}
		r := ask
		r.Actor = " "
		_, err := l.Release(t.Context(), r)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		_, err = l.ReleaseAll(t.Context(), ask)
		forbidden(t, err)
		l.lost = true
		_, err = l.Release(t.Context(), ask)
		forbidden(t, err)
		assert.ErrorContains(t, err, "marked lost", "it was lost after the approval")
		l.lost = false

		var group sync.WaitGroup
		var mu sync.Mutex
		given := 0
		for range 6 {
			group.Go(func() {
				if _, err := l.Release(t.Context(), ask); err == nil {
					mu.Lock()
					defer mu.Unlock()
					given++
				}
			})
		}
		group.Wait()
		assert.Equal(t, 1, given, "once")

		ask.Approved = ""
		run = l.needsApproval(ask)
		require.NoError(t, l.approve(run, "bob"))
		l.flush()
		ask.Approved = run
		l.ahead.Add(int64(61 * time.Minute))
		_, err = l.Release(t.Context(), ask)
		forbidden(t, err)
		assert.ErrorContains(t, err, "too long ago")
		l.flush()
		assert.Equal(t, "nobody fetched it in time", plain.run(run).Note)
		l.outcomes()

		ask.Approved = ""
		run = l.needsApproval(ask)
		l.leap(25 * time.Hour)
		assert.Equal(t, "nobody approved it in time", plain.run(run).Note)
		forbidden(t, l.approve(run, "bob"))
		run = l.needsApproval(ask)
		_, err = l.server.Workflows().Cancel(t.Context(), "", run, "not needed any more")
		require.NoError(t, err)
		l.flush()
		assert.Contains(t, l.audited(), "secret.outcome: canceled: not needed any more")
	})
}

// TestBP15_ApprovalOutlivesTheEnrollment: a bypass code is wanted when the device is gone.
func TestBP15_ApprovalOutlivesTheEnrollment(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) { g.Approval = []practice.GuardedSecret{practice.GuardActivationLockBypass} })
		d := l.phone()
		require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: practice.GuardActivationLockBypass, Enrollment: id(d), Value: mdm.SecretString("bypass"), Actor: "anna", Reason: "r"}))
		r := practice.ReleaseRequest{Secret: practice.GuardActivationLockBypass, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true}
		r.Approved = l.needsApproval(r)
		require.NoError(t, d.CheckOut(t.Context()))
		l.flush()
		require.NoError(t, l.approve(r.Approved, "bob"))
		l.flush()
		s, err := l.Release(t.Context(), r)
		require.NoError(t, err)
		assert.Equal(t, "bypass", string(s.Reveal()))
		r.Approved = ""
		l.needsApproval(r)
	})
}

func TestBP15_PINs(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := &guardLab{lab: plain, Guard: &practice.Guard{Audit: plain.stores.Audit, Escrow: plain.stores.Escrow, Vault: plain.stores.Vault,
			Roster: plain.stores.Roster, Runs: plain.stores.Runs, Clock: plain.now}}
		lock := &practice.Lock{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault, Guard: l.Guard}
		erase := &practice.Erase{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault, Guard: l.Guard}
		l.serve(func(c *server.Config) {
			c.Cooks = map[string]command.Cook{}
			for _, cooks := range []map[string]command.Cook{lock.Cooks(), erase.Cooks(), l.Cooks()} {
				for name, cook := range cooks {
					c.Cooks[name] = cook
				}
			}
		}, append(append(lock.Workflows(), erase.Workflows()...), l.Workflows()...)...)
		l.Engine = l.server.Workflows()
		locked, erased := l.mac(nil), l.mac(nil)
		lockRun, err := lock.Begin(t.Context(), l.server.Workflows(), id(locked), practice.LockOrder{Actor: "ada", Reason: "stolen"})
		require.NoError(t, err)
		eraseRun, err := erase.Begin(t.Context(), l.server.Workflows(), id(erased), practice.EraseOrder{Actor: "ada", Reason: "sold"})
		require.NoError(t, err)
		l.settle(locked, erased)
		want, _ := locked.Locked()
		assert.Empty(t, l.audited(), "nothing of that is a release")

		ask := practice.PINRequest{Enrollment: id(locked), Run: lockRun.ID, Actor: "ada", Reason: "it is back", PossessionVerified: true}
		for what, change := range map[string]func(*practice.PINRequest){
			"actor":  func(r *practice.PINRequest) { r.Actor = "" },
			"reason": func(r *practice.PINRequest) { r.Reason = " " },
		} {
			r := ask
			change(&r)
			_, err := lock.PIN(t.Context(), r)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), what)
		}
		assert.Empty(t, l.audited())
		r := ask
		r.PossessionVerified = false
		_, err = lock.PIN(t.Context(), r)
		forbidden(t, err)
		pin, err := lock.PIN(t.Context(), ask)
		require.NoError(t, err)
		assert.Equal(t, want, string(pin.Reveal()))
		assert.Equal(t, []string{"secret.requested", "secret.refused: nobody has verified that the device is in its owner's hands",
			"secret.requested", "secret.released", "secret.outcome: it was given out"}, l.audited())

		// The record comes first, and without it there is no PIN.
		log := l.Audit
		read := false
		erase.PINs = readVault{l.stores.Vault, &read}
		l.Audit = deafLog{log, func(e audit.Entry) bool { return e.Action != practice.GuardReleased }}
		_, err = erase.PIN(t.Context(), practice.PINRequest{Enrollment: id(erased), Run: eraseRun.ID, Actor: "ada", Reason: "x", PossessionVerified: true})
		require.ErrorContains(t, err, "the log is full")
		assert.False(t, read)
		l.Audit = log
		want, _ = erased.Locked()
		pin, err = erase.PIN(t.Context(), practice.PINRequest{Enrollment: id(erased), Run: eraseRun.ID, Actor: "ada", Reason: "x", PossessionVerified: true})
		require.NoError(t, err)
		assert.Equal(t, want, string(pin.Reveal()))

		// They count as other secrets do.
		_, err = lock.PIN(t.Context(), ask)
		forbidden(t, err)
		assert.ErrorContains(t, err, "limit of 3 for an actor")
		r = ask
		r.Actor, r.Run = "bob", "unknown"
		_, err = lock.PIN(t.Context(), r)
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
		_, err = l.Release(t.Context(), practice.ReleaseRequest{Secret: practice.GuardErasePIN, Enrollment: id(erased), Actor: "carl", Reason: "r", PossessionVerified: true})
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "only by its run")

		// And need a second person where others do.
		l.ahead.Add(int64(2 * time.Hour))
		l.Approval = []practice.GuardedSecret{practice.GuardDeviceLockPIN}
		_, err = lock.PIN(t.Context(), ask)
		forbidden(t, err)
		var needed *practice.ApprovalNeeded
		require.ErrorAs(t, err, &needed)
		l.flush()
		require.NoError(t, l.approve(needed.Run, "bob"))
		l.flush()
		ask.Approved = needed.Run
		r = ask
		r.Run = "another"
		_, err = lock.PIN(t.Context(), r)
		forbidden(t, err)
		_, err = lock.PIN(t.Context(), ask)
		require.NoError(t, err)
		l.outcomes()

		// Where there is a hook as well, both have to agree.
		lock.Release = func(_ context.Context, _ practice.PINRequest) error { return errors.New("not you") }
		_, err = lock.PIN(t.Context(), ask)
		require.ErrorContains(t, err, "not you")
	})
}

// readVault notes that a secret was read.
type readVault struct {
	practice.PINs
	read *bool
}

func (v readVault) Secret(ctx context.Context, name string) (mdm.Secret, error) {
	*v.read = true
	return v.PINs.Secret(ctx, name)
}
