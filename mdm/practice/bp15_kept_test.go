package practice_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

func TestBP15_ReleaseAndKeep(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		d := l.mac(nil)
		require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("bootstrap")))
		r := practice.ReleaseRequest{Secret: practice.GuardBootstrapToken, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true}
		token, err := l.Release(t.Context(), r)
		require.NoError(t, err)
		assert.Equal(t, "bootstrap", string(token.Reveal()))
		_, err = l.ReleaseAll(t.Context(), r)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		r.PossessionVerified = false
		_, err = l.Release(t.Context(), r)
		forbidden(t, err)
		r.PossessionVerified, r.Secret = true, practice.GuardUnlockToken
		_, err = l.Release(t.Context(), r)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "it is used, never given out")
		r.Secret = practice.GuardDeviceLockPIN
		_, err = l.Release(t.Context(), r)
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
		assert.Equal(t, []string{"secret.requested", "secret.released", "secret.outcome: it was given out", "secret.requested", "secret.refused: nobody has verified that the device is in its owner's hands",
			"secret.requested", "secret.released", "secret.outcome: there is none"}, l.audited())

		keep := practice.KeepRequest{Secret: practice.GuardDeviceLockPIN, Enrollment: id(d), Value: mdm.SecretString("123456"), Actor: "anna", Reason: "locked"}
		for what, change := range map[string]func(*practice.KeepRequest){
			"nothing":  func(k *practice.KeepRequest) { k.Value = mdm.Secret{} },
			"too long": func(k *practice.KeepRequest) { k.Value = mdm.NewSecret(make([]byte, 65<<10)) },
			"kind":     func(k *practice.KeepRequest) { k.Secret = practice.GuardBootstrapToken },
			"actor":    func(k *practice.KeepRequest) { k.Actor = "" },
		} {
			k := keep
			change(&k)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(l.Keep(t.Context(), k)), what)
		}
		require.NoError(t, l.Keep(t.Context(), keep))
		keep.Value = mdm.SecretString("654321")
		require.NoError(t, l.Keep(t.Context(), keep))
		current, all := l.kept(d, practice.GuardDeviceLockPIN)
		assert.Equal(t, "654321", current)
		assert.Equal(t, []string{"654321", "123456"}, all)

		var group sync.WaitGroup
		for _, value := range []string{"a", "b", "c", "d", "e", "f"} {
			group.Go(func() {
				k := keep
				k.Value = mdm.SecretString(value)
				assert.NoError(t, l.Keep(t.Context(), k))
			})
		}
		group.Wait()
		current, all = l.kept(d, practice.GuardDeviceLockPIN)
		assert.ElementsMatch(t, []string{"a", "b", "c", "d", "e", "f", "654321", "123456"}, all, "of many at once none is lost")
		assert.Contains(t, []string{"a", "b", "c", "d", "e", "f"}, current)

		require.NoError(t, l.stores.Vault.PutSecret(t.Context(), "other", mdm.SecretString("x")))
		require.NoError(t, d.CheckOut(t.Context()))
		forbidden(t, l.Keep(t.Context(), keep))
		after, _ := l.kept(d, practice.GuardDeviceLockPIN)
		assert.Equal(t, current, after, "what is kept outlives the enrollment")
	})
}

// torn is a vault that fails after some writes, as a process that is killed.
type torn struct {
	practice.GuardVault
	writes int
}

func (v *torn) CreateSecret(ctx context.Context, name string, s mdm.Secret) (mdm.Secret, error) {
	if v.writes--; v.writes < 0 {
		return mdm.Secret{}, errors.New("killed")
	}
	return v.GuardVault.CreateSecret(ctx, name, s)
}

func (v *torn) PutSecret(context.Context, string, mdm.Secret) error { return errors.New("killed") }

func TestBP15_KilledWhileItIsKept(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		vault := &torn{GuardVault: plain.stores.Vault, writes: 3}
		l := guarded(plain, func(g *practice.Guard) { g.Limit, g.Vault = -1, vault })
		m := &lockedMac{password: "former"}
		d := l.mac(m.respond)
		require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Value: mdm.SecretString("former"), Actor: "a", Reason: "r"}))
		run := l.rotate(d, practice.GuardRecoveryLock) // the candidate is the third write
		l.settle(d)
		current, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, "former", current)
		require.Equal(t, []string{m.password, "former"}, all)
		assert.Equal(t, 1, l.run(run).Attempts)
		vault.writes = 100
		l.advance(time.Hour, d)
		current, _ = l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, current)
		assert.Equal(t, workflow.Done, l.run(run).Status)
		head, err := l.stores.Audit.Head(t.Context(), "")
		require.NoError(t, err)
		_, err = audit.Verify(l.stores.Audit.Entries(t.Context(), "", 0, 0), head)
		require.NoError(t, err)
	})
}

// misled is a vault that says of the last slot what is not so.
type misled struct{ practice.GuardVault }

func (v misled) PutSecret(ctx context.Context, name string, _ mdm.Secret) error {
	return v.GuardVault.PutSecret(ctx, name, mdm.SecretString("999"))
}

func TestBP15_WrongHint(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) { g.Limit, g.Vault = -1, misled{plain.stores.Vault} })
		d := l.mac(nil)
		for _, value := range []string{"one", "two"} {
			require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: practice.GuardDeviceLockPIN, Enrollment: id(d),
				Value: mdm.SecretString(value), Actor: "a", Reason: "r"}))
		}
		current, all := l.kept(d, practice.GuardDeviceLockPIN)
		assert.Equal(t, "two", current)
		assert.Equal(t, []string{"two", "one"}, all)
	})
}
