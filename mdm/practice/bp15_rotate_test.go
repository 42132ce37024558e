package practice_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// lockedMac keeps a recovery lock as a Mac does. Its fields may be changed between polls.
type lockedMac struct {
	password string
	vanish   bool // it does what it is told, and its answer is lost
	fail     bool // it does nothing and says so
	lie      bool // it does nothing and acknowledges
	silent   bool // it does not verify
}

func (m *lockedMac) respond(_ context.Context, o mdmtest.Order) mdmtest.Answer {
	switch o.RequestType {
	case "SetRecoveryLock", "SetFirmwarePassword":
		current, _ := o.Command["CurrentPassword"].(string)
		if m.fail || current != m.password {
			return mdmtest.Fail("MCMDMErrorDomain", 12021, "wrong password")
		}
		if !m.lie {
			m.password, _ = o.Command["NewPassword"].(string)
		}
		if o.RequestType == "SetFirmwarePassword" {
			return mdmtest.Answer{Fields: map[string]any{"SetFirmwarePassword": map[string]any{"PasswordChanged": !m.lie}}}
		}
		return mdmtest.Answer{Vanish: m.vanish}
	case "VerifyRecoveryLock":
		if m.silent {
			return mdmtest.Fail("MCMDMErrorDomain", 1, "no")
		}
		return mdmtest.Answer{Fields: map[string]any{"PasswordVerified": o.Command["Password"] == m.password}}
	}
	return mdmtest.Answer{}
}

func (l *guardLab) mac(respond func(context.Context, mdmtest.Order) mdmtest.Answer) *mdmtest.Device {
	d := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0", Respond: respond})
	l.settle(d)
	return d
}

// kept returns the current value of a secret, empty if there is none, and all others.
func (l *guardLab) kept(d *mdmtest.Device, kind practice.GuardedSecret) (current string, all []string) {
	l.Helper()
	r := practice.ReleaseRequest{Secret: kind, Enrollment: id(d), Actor: "the test", Reason: "to see", PossessionVerified: true}
	s, err := l.Release(l.Context(), r)
	if err != nil {
		require.Equal(l, mdm.NotFound, mdm.CodeOf(err), "%v", err)
	}
	values, err := l.ReleaseAll(l.Context(), r)
	if err != nil {
		require.Equal(l, mdm.NotFound, mdm.CodeOf(err), "%v", err)
	}
	for _, v := range values {
		all = append(all, string(v.Reveal()))
	}
	return string(s.Reveal()), all
}

func (l *guardLab) rotate(d *mdmtest.Device, kind practice.GuardedSecret) workflow.Run {
	l.Helper()
	run, err := l.Rotate(l.Context(), practice.RotateRequest{Secret: kind, Enrollment: id(d), Actor: "anna", Reason: "it is due", GUID: "GUID"})
	require.NoError(l, err)
	return run
}

func (l *guardLab) run(r workflow.Run) workflow.Run {
	l.Helper()
	r, err := l.stores.Runs.Run(l.Context(), "", r.ID)
	require.NoError(l, err)
	return r
}

func unlimited(g *practice.Guard) { g.Limit = -1 }

func onRotation(t *testing.T, f func(t *testing.T, l *guardLab)) {
	onEveryStore(t, func(t *testing.T, l *lab) { f(t, guarded(l, unlimited)) })
}

func TestBP15_RecoveryLock(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		m := &lockedMac{}
		d := l.mac(m.respond)
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.flush()
		current, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Empty(t, current, "it is not the Mac's yet")
		require.Len(t, all, 1, "but it is kept before the Mac hears of it")
		l.settle(d)
		first, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, first)
		assert.Regexp(t, "^[A-Z2-9]{20}$", first)
		assert.Equal(t, []string{first}, all)
		assert.Equal(t, []string{"SetRecoveryLock", "VerifyRecoveryLock"}, took(d))
		assert.Equal(t, workflow.Done, l.run(run).Status)

		l.rotate(d, practice.GuardRecoveryLock)
		l.settle(d)
		second, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, second)
		assert.Equal(t, []string{second, first}, all, "the former one is kept")

		for what, c := range map[string]struct {
			change func()
			note   string
		}{
			"it fails":           {func() { m.fail = true }, "as far as is known it has the former secret"},
			"it did not do it":   {func() { m.lie = true }, "the former one is current again"},
			"it does not verify": {func() { m.fail, m.silent = true, true }, "as far as is known it has the former secret"},
		} {
			*m = lockedMac{password: second}
			c.change()
			run = l.rotate(d, practice.GuardRecoveryLock)
			l.settle(d)
			got, _ := l.kept(d, practice.GuardRecoveryLock)
			assert.Equal(t, second, got, what)
			assert.Equal(t, workflow.Failed, l.run(run).Status, what)
			assert.Contains(t, l.run(run).Note, c.note)
		}
		*m = lockedMac{password: second, silent: true}
		l.rotate(d, practice.GuardRecoveryLock)
		l.settle(d)
		got, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, got, "its word is enough if it does not verify")
		assert.NotEqual(t, second, got)
		assert.Len(t, all, 6)

		stored, err := json.Marshal(l.runs(practice.GuardRotateSecret))
		require.NoError(t, err)
		events, err := json.Marshal(l.events(d))
		require.NoError(t, err)
		for e, err := range l.stores.Command.Entries(t.Context(), command.Query{From: id(d), Bodies: true, Results: true}) {
			require.NoError(t, err)
			stored = append(append(stored, e.Body...), e.Result...)
		}
		for _, secret := range all {
			for _, text := range []string{string(stored), string(events), l.logs.String()} {
				assert.NotContains(t, text, secret)
			}
		}
	})
}

func TestBP15_KilledBetweenSendAndAcknowledge(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, unlimited)
		m := &lockedMac{}
		d := l.mac(m.respond)
		require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Value: mdm.SecretString("former"), Actor: "import", Reason: "taken over"}))
		m.password = "former"
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.flush()
		m.vanish = true
		_ = d.Poll(t.Context())
		m.vanish = false
		require.NotEqual(t, "former", m.password, "the Mac did it, and its answer is lost")
		l = guarded(plain, unlimited) // what was in the memory of the process is gone
		current, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, "former", current)
		require.Len(t, all, 2)
		assert.Equal(t, []string{m.password, "former"}, all, "what the Mac has is kept")
		l.settle(d) // it is told again, with a password that is not right any more
		current, _ = l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, current, "it was asked")
		assert.Equal(t, workflow.Done, l.run(run).Status)
	})
}

func TestBP15_AnotherAcknowledgmentChangesNothing(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		m := &lockedMac{}
		notNow := true
		d := l.mac(func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
			if notNow && o.RequestType == "SetRecoveryLock" && o.Command["CurrentPassword"] == nil {
				return mdmtest.NotNow()
			}
			return m.respond(ctx, o)
		})
		run := l.rotate(d, practice.GuardRecoveryLock)
		_, err := l.Rotate(t.Context(), practice.RotateRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "bob", Reason: "at once"})
		forbidden(t, err)
		l.flush()
		for _, c := range []command.Command{command.SetRecoveryLock{CurrentPassword: mdm.SecretString("x"), NewPassword: mdm.SecretString("of another server")}, command.SecurityInfo{}} {
			_, err := l.stores.Command.Enqueue(t.Context(), command.Order{Command: c, To: mdm.IDs(id(d))})
			require.NoError(t, err)
		}
		m.password = "x"
		_, err = d.Report(t.Context(), map[string]any{"Status": "Acknowledged", "CommandUUID": "unknown"})
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, d.Poll(t.Context()))
			l.flush()
		}
		assert.Equal(t, "of another server", m.password)
		current, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Empty(t, current)
		assert.Len(t, all, 1)
		assert.Equal(t, workflow.Open, l.run(run).Status, "NotNow is waiting")
		notNow, m.password = false, ""
		l.advance(2*time.Hour, d)
		current, _ = l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, current)
	})
}

func TestBP15_RotationUnanswered(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		d, phone := l.mac((&lockedMac{}).respond), l.phone()
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.advance(7*24*time.Hour + time.Hour)
		assert.Equal(t, workflow.Failed, l.run(run).Status)
		_, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Len(t, all, 1)
		run = l.rotate(phone, practice.GuardRecoveryLock)
		l.settle(phone)
		assert.Equal(t, workflow.Failed, l.run(run).Status)
		assert.Contains(t, l.run(run).Note, "it cannot be sent")
	})
}

func TestBP15_FirmwareAndAdminPassword(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		m := &lockedMac{}
		d := l.mac(m.respond)
		l.rotate(d, practice.GuardFirmwarePassword)
		l.settle(d)
		first, _ := l.kept(d, practice.GuardFirmwarePassword)
		assert.Equal(t, m.password, first)
		m.lie = true
		run := l.rotate(d, practice.GuardFirmwarePassword)
		l.settle(d)
		current, all := l.kept(d, practice.GuardFirmwarePassword)
		assert.Equal(t, first, current, "it acknowledged, but did not change it")
		assert.Len(t, all, 2)
		assert.Equal(t, workflow.Failed, l.run(run).Status)

		run = l.rotate(d, practice.GuardAdminPassword)
		l.settle(d)
		assert.Equal(t, workflow.Done, l.run(run).Status, l.run(run).Note)
		current, _ = l.kept(d, practice.GuardAdminPassword)
		assert.Len(t, current, 20)
		sent := d.History()[len(d.History())-1].Order
		assert.Equal(t, "SetAutoAdminPassword", sent.RequestType)
		assert.Equal(t, "GUID", sent.Command["GUID"])
		assert.NotEmpty(t, sent.Command["passwordHash"])
	})
}

// vaultIdentity is a certificate that Macs encrypt recovery keys to.
var vaultIdentity = sync.OnceValue(func() tls.Certificate {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "recovery keys"}, NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func sealedKey(t *testing.T, key string) []byte {
	t.Helper()
	sealed, err := cms.Encrypt([]byte(key), []*x509.Certificate{vaultIdentity().Leaf})
	require.NoError(t, err)
	return sealed
}

const (
	oneKey   = "AAAA-BBBB-CCCC-DDDD-EEEE-0001"
	otherKey = "AAAA-BBBB-CCCC-DDDD-EEEE-0002"
)

func TestBP15_FileVault(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, func(g *practice.Guard) { g.Limit, g.FileVault = -1, []tls.Certificate{vaultIdentity()} })
		var result any
		d := l.mac(func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType != "RotateFileVaultKey" || result == nil {
				return mdmtest.Answer{}
			}
			return mdmtest.Answer{Fields: map[string]any{"RotateResult": result}}
		})
		err := l.KeepFileVaultKey(t.Context(), id(d), sealedKey(t, "no recovery key"), "server", "escrow")
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(l.KeepFileVaultKey(t.Context(), id(d), []byte("garbage"), "server", "escrow")))
		require.NoError(t, l.KeepFileVaultKey(t.Context(), id(d), sealedKey(t, oneKey+"\n"), "server", "escrow"))
		require.NoError(t, l.KeepFileVaultKey(t.Context(), id(d), sealedKey(t, oneKey), "server", "the same again"))
		for what, c := range map[string]struct {
			result any
			note   string
		}{
			"none":     {nil, "no key came back"},
			"empty":    {map[string]any{}, "no key came back"},
			"nonsense": {map[string]any{"EncryptedNewRecoveryKey": []byte("nonsense")}, "cannot be read"},
			"no key":   {map[string]any{"EncryptedNewRecoveryKey": sealedKey(t, "hello")}, "cannot be read"},
			"no data":  {map[string]any{"EncryptedNewRecoveryKey": "text"}, "no key came back"},
		} {
			result = c.result
			run := l.rotate(d, practice.GuardFileVaultKey)
			l.settle(d)
			assert.Equal(t, workflow.Failed, l.run(run).Status, what)
			assert.Contains(t, l.run(run).Note, c.note, what)
			current, all := l.kept(d, practice.GuardFileVaultKey)
			assert.Equal(t, oneKey, current, what)
			assert.Equal(t, []string{oneKey}, all, what)
		}
		result = map[string]any{"EncryptedNewRecoveryKey": sealedKey(t, otherKey)}
		run := l.rotate(d, practice.GuardFileVaultKey)
		l.settle(d)
		assert.Equal(t, workflow.Done, l.run(run).Status)
		current, all := l.kept(d, practice.GuardFileVaultKey)
		assert.Equal(t, otherKey, current)
		assert.Equal(t, []string{otherKey, oneKey}, all)
		sent := d.History()[len(d.History())-1].Order.Command
		assert.Equal(t, map[string]any{"Password": oneKey}, sent["FileVaultUnlock"])
		assert.Equal(t, vaultIdentity().Leaf.Raw, sent["ReplyEncryptionCertificate"])
	})
}

func TestBP15_FileVaultWithoutAKey(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		unlock := mdm.Secret{}
		l := guarded(plain, func(g *practice.Guard) {
			g.Limit, g.FileVault = -1, []tls.Certificate{{}, vaultIdentity()}
			g.FileVaultPassword = func(context.Context, mdm.EnrollmentID) (mdm.Secret, error) { return unlock, nil }
		})
		d := l.mac(func(context.Context, mdmtest.Order) mdmtest.Answer {
			return mdmtest.Answer{Fields: map[string]any{"RotateResult": map[string]any{"EncryptedNewRecoveryKey": sealedKey(t, oneKey)}}}
		})
		l.FileVault[0] = tls.Certificate{Certificate: vaultIdentity().Certificate, PrivateKey: vaultIdentity().PrivateKey} // without Leaf
		l.rotate(d, practice.GuardFileVaultKey)
		l.settle(d)
		assert.Empty(t, took(d), "it is put off until there is something to unlock the disk with")
		unlock = mdm.SecretString("password")
		l.advance(2*time.Hour, d)
		current, _ := l.kept(d, practice.GuardFileVaultKey)
		assert.Equal(t, oneKey, current)
	})
}

func TestBP15_RotationRefused(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		d := l.mac(nil)
		for what, c := range map[string]struct {
			code   mdm.Code
			change func(*practice.RotateRequest)
		}{
			"no actor":       {mdm.Malformed, func(r *practice.RotateRequest) { r.Actor = "" }},
			"no reason":      {mdm.Malformed, func(r *practice.RotateRequest) { r.Reason = " " }},
			"not rotated":    {mdm.Malformed, func(r *practice.RotateRequest) { r.Secret = practice.GuardUnlockToken }},
			"no GUID":        {mdm.Malformed, func(r *practice.RotateRequest) { r.Secret = practice.GuardAdminPassword }},
			"no certificate": {mdm.Internal, func(r *practice.RotateRequest) { r.Secret = practice.GuardFileVaultKey }},
			"unknown":        {mdm.NotFound, func(r *practice.RotateRequest) { r.Enrollment.Device = "unknown" }},
		} {
			r := practice.RotateRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "anna", Reason: "r"}
			c.change(&r)
			_, err := l.Rotate(t.Context(), r)
			require.Error(t, err, what)
			assert.Equal(t, c.code, mdm.CodeOf(err), what)
		}
		assert.Empty(t, l.audited())
		l.Guard.Generate = func(practice.GuardedSecret) (mdm.Secret, error) { return mdm.Secret{}, nil }
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.settle(d)
		assert.Equal(t, 1, l.run(run).Attempts, "it is tried again")
		assert.Empty(t, took(d))
	})
}

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
		assert.Equal(t, []string{"secret.requested", "secret.released", "secret.requested", "secret.refused: nobody has verified that the device is in its owner's hands",
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
