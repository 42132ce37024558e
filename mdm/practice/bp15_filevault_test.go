package practice_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

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
