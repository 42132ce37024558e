package cms_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
)

// openssl runs it in a directory with the certificate and key of s, input and body, and skips without it.
func openssl(t *testing.T, s signer, input []byte, args string) []byte {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl on the PATH")
	}
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(s.key)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"in":       input, "body": body,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), path, strings.Fields(args)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", args, stderr.String())
	return out
}

func TestOpenSSLVerifies(t *testing.T) {
	for kind, s := range map[string]signer{"rsa": rsaSigner(), "ec": ecSigner()} {
		t.Run(kind, func(t *testing.T) {
			for name, o := range combinations() {
				if o.Hash == crypto.SHA384 || o.Hash == 0 {
					continue // as the others, and each run takes its time
				}
				args := "cms -verify -binary -inform DER -in in -CAfile cert.pem -purpose any"
				if o.Detached {
					args += " -content body"
				}
				assert.Equal(t, body, openssl(t, s, sign(t, s, o), args), name)
			}
		})
	}
}

func TestOpenSSLSigns(t *testing.T) {
	for kind, s := range map[string]signer{"rsa": rsaSigner(), "ec": ecSigner()} {
		t.Run(kind, func(t *testing.T) {
			for _, form := range []string{"", "-noattr", "-keyid", "-nodetach", "-nodetach -noattr", "-nodetach -stream",
				"-md sha1 -noattr", "-md sha1", "-md sha384", "-md sha512", "-nosmimecap", "-nodetach -econtent_type 1.2.3.4"} {
				message := openssl(t, s, body, "cms -sign -binary -in in -signer cert.pem -inkey key.pem -outform DER "+form)
				signed, err := cms.ParseSigned(message, cms.Limits{})
				require.NoError(t, err, form)
				require.NoError(t, signed.VerifyDetached(body), form)
				require.ErrorIs(t, signed.VerifyDetached([]byte("another")), cms.ErrSignature, form)
				assert.Equal(t, strings.Contains(form, "-nodetach"), signed.Content != nil, form)
				assert.Equal(t, strings.Contains(form, "-noattr"), signed.SigningTime.IsZero(), form)
			}
		})
	}
	for form, want := range map[string]error{"-nocerts": cms.ErrNoSigner, "-md md5": cms.ErrAlgorithm} {
		message := openssl(t, rsaSigner(), body, "cms -sign -binary -in in -signer cert.pem -inkey key.pem -outform DER "+form)
		_, err := cms.ParseSigned(message, cms.Limits{})
		require.ErrorIs(t, err, want, form)
	}
}

func TestOpenSSLEncrypts(t *testing.T) {
	s := rsaSigner()
	for _, cipher := range []string{"-aes128", "-aes192", "-aes256", "-des3"} {
		for _, form := range []string{"", "-stream", "-keyid"} {
			sealed := openssl(t, s, body, fmt.Sprintf("cms -encrypt -binary -in in -outform DER %s %s cert.pem", cipher, form))
			opened, err := cms.Decrypt(sealed, s.cert, s.key, cms.Limits{})
			require.NoError(t, err, cipher+form)
			assert.Equal(t, body, opened, cipher+form)
		}
	}
	large := bytes.Repeat(body, 5000) // in several pieces
	opened, err := cms.Decrypt(openssl(t, s, large, "cms -encrypt -binary -in in -outform DER -stream -aes256 cert.pem"), s.cert, s.key, cms.Limits{})
	require.NoError(t, err)
	assert.True(t, bytes.Equal(large, opened))
}

func TestOpenSSLDecrypts(t *testing.T) {
	s := rsaSigner()
	sealed, err := cms.Encrypt(body, []*x509.Certificate{newSigner(otherRSA().key, "second", 8).cert, s.cert})
	require.NoError(t, err)
	assert.Equal(t, body, openssl(t, s, sealed, "cms -decrypt -inform DER -in in -recip cert.pem -inkey key.pem"))
}

func TestOpenSSLCertificates(t *testing.T) {
	s := rsaSigner()
	data, err := cms.CertsOnly([]*x509.Certificate{s.cert, ecSigner().cert})
	require.NoError(t, err)
	out := openssl(t, s, data, "pkcs7 -inform DER -in in -print_certs")
	assert.Equal(t, 2, bytes.Count(out, []byte("BEGIN CERTIFICATE")))
	certs, err := cms.ParseCerts(openssl(t, s, nil, "crl2pkcs7 -nocrl -certfile cert.pem -outform DER"), cms.Limits{})
	require.NoError(t, err)
	require.Len(t, certs, 1)
	assert.True(t, certs[0].Equal(s.cert))
}
