package scep_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/storage/sqlite"
)

func encryptions() map[string]scep.Encryption {
	return map[string]scep.Encryption{"legacy": scep.EncryptionLegacy, "modern": scep.EncryptionModern}
}

func TestPKCS12(t *testing.T) {
	s := newStore()
	serials, keys := map[string]bool{}, map[string]bool{}
	for name, encryption := range encryptions() {
		for _, device := range []string{"UDID-1", "UDID-2"} {
			p, err := scep.NewPKCS12(t.Context(), testCA(), s, scep.Request{Device: device}, scep.PKCS12Options{Encryption: encryption})
			require.NoError(t, err, name)
			key, cert, chain, err := pkcs12.DecodeChain(p.Content, string(p.Password.Reveal()))
			require.NoError(t, err, name)
			require.NoError(t, cert.CheckSignatureFrom(testCA().Certificate))
			assert.Equal(t, mdm.FingerprintOf(cert), p.Certificate.Fingerprint)
			assert.Equal(t, mdm.CertificateIssued, p.Certificate.Status)
			assert.Equal(t, device, p.Certificate.Device)
			require.Len(t, chain, 1)
			assert.True(t, chain[0].Equal(testCA().Certificate))
			assert.True(t, key.(*rsa.PrivateKey).PublicKey.Equal(cert.PublicKey))
			assert.False(t, serials[cert.SerialNumber.String()], "each call makes an identity of its own")
			assert.False(t, keys[string(cert.RawSubjectPublicKeyInfo)], "with a key of its own")
			serials[cert.SerialNumber.String()], keys[string(cert.RawSubjectPublicKeyInfo)] = true, true

			_, _, _, err = pkcs12.DecodeChain(p.Content, "wrong")
			require.ErrorIs(t, err, pkcs12.ErrIncorrectPassword, name)
		}
	}
	_, err := scep.NewPKCS12(t.Context(), testCA(), s, scep.Request{Purpose: mdm.PurposeRenew}, scep.PKCS12Options{})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "a renewal of nobody")
	_, err = scep.NewPKCS12(t.Context(), testCA(), s, scep.Request{}, scep.PKCS12Options{Encryption: 7})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.Len(t, serials, 4)
	assert.Len(t, s.certs, 4, "what is refused leaves nothing in the ledger")
}

// tool returns the path of a program, or skips; where all tools must be there, it fails.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("APPLEMDM_TEST_TOOLS") != "" {
		require.NoError(t, err)
	}
	if err != nil {
		t.Skipf("needs %s on the PATH", name)
	}
	return path
}

func TestOpenSSLReadsPKCS12(t *testing.T) {
	openssl := tool(t, "openssl")
	read := func(file, password string, more ...string) ([]byte, error) {
		args := append([]string{"pkcs12", "-in", file, "-nodes", "-passin", "env:P12_PASSWORD"}, more...)
		cmd := exec.CommandContext(t.Context(), openssl, args...)
		cmd.Env = append(os.Environ(), "P12_PASSWORD="+password)
		return cmd.Output()
	}
	for name, encryption := range encryptions() {
		p, err := scep.NewPKCS12(t.Context(), testCA(), newStore(), scep.Request{}, scep.PKCS12Options{Encryption: encryption})
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), name+".p12")
		require.NoError(t, os.WriteFile(file, p.Content, 0o600))
		out, err := read(file, string(p.Password.Reveal()))
		if err != nil && encryption == scep.EncryptionLegacy { // OpenSSL 3 has 3DES in a provider that has to be asked for
			out, err = read(file, string(p.Password.Reveal()), "-legacy")
		}
		require.NoError(t, err, name)
		assert.Equal(t, 1, bytes.Count(out, []byte("BEGIN PRIVATE KEY")), name)
		assert.Equal(t, 2, bytes.Count(out, []byte("BEGIN CERTIFICATE")), name)
		_, err = read(file, "wrong")
		require.Error(t, err, name)
		_, err = read(file, "wrong", "-legacy")
		require.Error(t, err, name)
	}
}

// traces are pieces of the private key and of its password that must not be found anywhere.
func traces(t *testing.T, p *scep.PKCS12) map[string][]byte {
	t.Helper()
	key, _, _, err := pkcs12.DecodeChain(p.Content, string(p.Password.Reveal()))
	require.NoError(t, err)
	private := key.(*rsa.PrivateKey)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return map[string][]byte{
		"the exponent": private.D.Bytes()[8:40], "a prime": private.Primes[0].Bytes()[8:40], "the key": der[len(der)-64:],
		"the file": p.Content[len(p.Content)/2:][:32], "the password": p.Password.Reveal(),
	}
}

// rows returns the bytes of a database's files.
func rows(t *testing.T, path string) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{path, path + "-wal"} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		all = append(all, data...)
	}
	return all
}

func TestPrivateKeysAreNotKeptUnlessAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	db, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	defer db.Close()
	stores := db.Stores()
	request := scep.Request{Tenant: "red", Device: "UDID"}

	p, err := scep.NewPKCS12(t.Context(), testCA(), stores.SCEP, request, scep.PKCS12Options{})
	require.NoError(t, err)
	raw := rows(t, path)
	require.Contains(t, string(raw), p.Certificate.SerialNumber, "the test must be reading the right files")
	for name, trace := range traces(t, p) {
		assert.False(t, bytes.Contains(raw, trace), name)
	}
	_, err = scep.KeptPKCS12(t.Context(), stores.Vault, "red", p.Certificate.Fingerprint)
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
	require.Error(t, err)

	p, err = scep.NewPKCS12(t.Context(), testCA(), stores.SCEP, request, scep.PKCS12Options{Keep: stores.Vault})
	require.NoError(t, err)
	raw = rows(t, path)
	require.Contains(t, string(raw), "pkcs12/"+p.Certificate.Fingerprint.String(), "now it is kept")
	for name, trace := range traces(t, p) {
		assert.False(t, bytes.Contains(raw, trace), "sealed: %s", name)
	}
}

func TestKeptPKCS12(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), nil)
	require.NoError(t, err)
	defer db.Close()
	stores, ctx := db.Stores(), t.Context()
	p, err := scep.NewPKCS12(ctx, testCA(), stores.SCEP, scep.Request{Tenant: "red"}, scep.PKCS12Options{Keep: stores.Vault})
	require.NoError(t, err)
	fp := p.Certificate.Fingerprint

	again, err := scep.KeptPKCS12(ctx, stores.Vault, "red", fp)
	require.NoError(t, err)
	assert.Equal(t, p.Content, again.Content)
	assert.True(t, p.Password.Equal(again.Password))
	assert.Equal(t, fp, again.Certificate.Fingerprint)
	assert.True(t, p.Certificate.NotAfter.Equal(again.Certificate.NotAfter))

	_, err = scep.KeptPKCS12(ctx, stores.Vault, "blue", fp)
	require.Error(t, err)
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err), "another tenant's")
	require.NoError(t, scep.ForgetPKCS12(ctx, stores.Vault, "blue", fp))
	_, err = scep.KeptPKCS12(ctx, stores.Vault, "red", fp)
	require.NoError(t, err, "another tenant cannot delete it")

	require.NoError(t, scep.ForgetPKCS12(ctx, stores.Vault, "red", fp))
	_, err = scep.KeptPKCS12(ctx, stores.Vault, "red", fp)
	require.Error(t, err)
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
	require.NoError(t, scep.ForgetPKCS12(ctx, stores.Vault, "red", fp), "twice is no error")
}

// vault is a scep.Vault.
type vault struct {
	held mdm.Secret
	err  error
}

func (v *vault) PutSecret(context.Context, string, mdm.Secret) error { return v.err }
func (v *vault) Secret(context.Context, string) (mdm.Secret, error)  { return v.held, v.err }

func TestVaultFails(t *testing.T) {
	down := errors.New("down")
	p, err := scep.NewPKCS12(t.Context(), testCA(), newStore(), scep.Request{}, scep.PKCS12Options{Keep: &vault{err: down}})
	require.ErrorIs(t, err, down)
	assert.Nil(t, p, "what could not be kept is not handed out")
	require.ErrorIs(t, scep.ForgetPKCS12(t.Context(), &vault{err: down}, "", mdm.Fingerprint{1}), down)

	_, err = scep.KeptPKCS12(t.Context(), &vault{held: mdm.SecretString("PLAIN")}, "", mdm.Fingerprint{1})
	require.Error(t, err)
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
	assert.NotContains(t, err.Error(), "PLAIN")
}
