package dep_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

const tokenBody = `{"consumer_key":"CK_48dd68d198350f51258e885ce9a5c37ab7f98543c4a697323d75682a6c10a32501cb247e3db08105db868f73f2c972bdb6ae77112aea803b9219eb52689d42e6",` +
	`"consumer_secret":"CS_34c7b2b531a600d99a0e4edcf4a78ded79b86ef318118c2f5bcfee1b011108c32d5302df801adbe29d446eb78f02b13144e323eb9aad51c79f01e50cb45c3a68",` +
	`"access_token":"AT_927696831c59ba510cfe4ec1a69e5267c19881257d4bca2906a99d0785b785a6f6fdeb09774954fdd5e2d0ad952e3af52c6d8d2f21c924ba0caf4a031c158b89",` +
	`"access_secret":"AS_c31afd7a09691d83548489336e8ff1cb11b82b6bca13f793344496a556b1f4972eaff4dde6deb5ac9cf076fdfa97ec97699c34d515947b9cf9ed31c99dded6ba",` +
	`"access_token_expiry":"2027-03-01T12:00:00Z"}`

// tokenPair is made once: RSA keys take their time.
var tokenPair = sync.OnceValue(func() dep.KeyPair {
	pair, err := dep.NewKeyPair("MDM", callsNow)
	if err != nil {
		panic(err)
	}
	return pair
})

func pairCert(t testing.TB, pair dep.KeyPair) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(pair.Certificate)
	require.NotNil(t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

// inner is what Apple encrypts: text with headers and marks, broken into lines of 64 characters, also within strings.
func inner(body string) string {
	var b strings.Builder
	b.WriteString("Content-Type: text/plain;charset=UTF-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n-----BEGIN MESSAGE-----\n")
	for len(body) > 64 {
		b.WriteString(body[:64] + "\r\n")
		body = body[64:]
	}
	return b.String() + body + "\n-----END MESSAGE-----\n"
}

func seal(t testing.TB, content string, pair dep.KeyPair) []byte {
	t.Helper()
	sealed, err := cms.Encrypt([]byte(content), []*x509.Certificate{pairCert(t, pair)})
	require.NoError(t, err)
	return sealed
}

func lines(b []byte) string {
	var out strings.Builder
	for text := base64.StdEncoding.EncodeToString(b); text != ""; {
		n := min(76, len(text))
		out.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	return out.String()
}

const smimeHead = "Content-Type: application/pkcs7-mime; name=\"smime.p7m\";\r\n\tsmime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n" +
	"Content-Disposition: attachment; filename=\"smime.p7m\"\r\nContent-Description: S/MIME Encrypted Message\r\n\r\n"

func TestNewKeyPair(t *testing.T) {
	pair := tokenPair()
	cert := pairCert(t, pair)
	assert.Equal(t, "MDM", cert.Subject.CommonName)
	assert.Equal(t, 2048, cert.PublicKey.(*rsa.PublicKey).N.BitLen())
	assert.True(t, cert.NotAfter.After(callsNow.AddDate(1, 1, 0)))
	assert.True(t, cert.NotBefore.Before(callsNow))
	require.NoError(t, cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature))
	block, _ := pem.Decode(pair.Key.Reveal())
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	assert.True(t, key.(*rsa.PrivateKey).PublicKey.Equal(cert.PublicKey))
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", pair, pair, pair), "PRIVATE KEY")

	for _, name := range []string{"", "a\nb", strings.Repeat("x", 256)} {
		_, err := dep.NewKeyPair(name, callsNow)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
	long, err := dep.NewKeyPair(strings.Repeat("ü", 100), callsNow)
	require.NoError(t, err)
	assert.Equal(t, strings.Repeat("ü", 64), pairCert(t, long).Subject.CommonName)
}

func TestReadToken(t *testing.T) {
	pair := tokenPair()
	der := seal(t, inner(tokenBody), pair)
	for name, file := range map[string][]byte{
		"as Apple sends it": []byte(smimeHead + lines(der)),
		"with \\n":          []byte(strings.ReplaceAll(smimeHead+lines(der), "\r\n", "\n")),
		"with a BOM":        []byte("\xef\xbb\xbf" + smimeHead + lines(der)),
		"after empty lines": []byte("\r\n\r\n" + smimeHead + lines(der)),
		"DER":               der,
		"base64":            []byte(lines(der)),
		"one line":          []byte(base64.RawStdEncoding.EncodeToString(der)),
		"PEM":               pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: der}),
		"binary":            append([]byte("Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: binary\n\n"), der...),
	} {
		token, err := dep.ReadToken(file, pair)
		require.NoError(t, err, name)
		checkTokenBody(t, token)
	}
	for name, content := range map[string]string{
		"JSON alone":       tokenBody,
		"no headers":       "-----BEGIN MESSAGE-----\n" + tokenBody + "\n-----END MESSAGE-----",
		"no marks":         "Content-Type: text/plain\r\n\r\n" + tokenBody,
		"quoted-printable": "Content-Transfer-Encoding: quoted-printable\r\n\r\n-----BEGIN MESSAGE-----\r\n" + strings.ReplaceAll(tokenBody, ",", ",=\r\n") + "\r\n-----END MESSAGE-----",
		"base64":           "Content-Transfer-Encoding: base64\r\n\r\n" + lines([]byte(inner(tokenBody)[strings.Index(inner(tokenBody), "-----"):])),
	} {
		token, err := dep.ReadToken(seal(t, content, pair), pair)
		require.NoError(t, err, name)
		checkTokenBody(t, token)
	}
}

func checkTokenBody(t *testing.T, token dep.Token) {
	t.Helper()
	var want map[string]string
	require.NoError(t, json.Unmarshal([]byte(tokenBody), &want))
	assert.Equal(t, want["consumer_key"], token.ConsumerKey)
	assert.Equal(t, want["consumer_secret"], string(token.ConsumerSecret.Reveal()))
	assert.Equal(t, want["access_token"], string(token.AccessToken.Reveal()))
	assert.Equal(t, want["access_secret"], string(token.AccessSecret.Reveal()))
	assert.Equal(t, time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC), token.Expires)
	shown := fmt.Sprintf("%v %+v %#v", token, token, token)
	for _, key := range []string{"consumer_secret", "access_token", "access_secret"} {
		assert.NotContains(t, shown, want[key])
	}
}

func TestReadTokenErrors(t *testing.T) {
	pair := tokenPair()
	other, err := dep.NewKeyPair("MDM", callsNow)
	require.NoError(t, err)
	der := seal(t, inner(tokenBody), pair)
	signed := func() []byte {
		block, _ := pem.Decode(pair.Key.Reveal())
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(t, err)
		out, err := cms.Sign([]byte(tokenBody), pairCert(t, pair), key.(*rsa.PrivateKey), cms.SignOptions{})
		require.NoError(t, err)
		return out
	}()
	for name, c := range map[string]struct {
		file []byte
		pair dep.KeyPair
		want error
	}{
		"to another certificate": {der, other, dep.ErrOtherKey},
		"cut off":                {der[:len(der)-16], pair, dep.ErrNotToken},
		"nothing":                {nil, pair, dep.ErrNotToken},
		"a page":                 {[]byte("<html>sign in</html>"), pair, dep.ErrNotToken},
		"the certificate":        {pair.Certificate, pair, dep.ErrNotToken},
		"signed only":            {signed, pair, dep.ErrNotToken},
		"too large":              {make([]byte, 300<<10), pair, dep.ErrNotToken},
		"headers only":           {[]byte(smimeHead), pair, dep.ErrNotToken},
		"an odd encoding":        {[]byte("Content-Transfer-Encoding: x-uu\n\nabc"), pair, dep.ErrNotToken},
		"not base64":             {[]byte(smimeHead + "%%%"), pair, dep.ErrNotToken},
		"an empty message":       {seal(t, "", pair), pair, dep.ErrNotToken},
		"another message":        {seal(t, inner(`{"hello":1}`), pair), pair, dep.ErrNotToken},
		"no end":                 {seal(t, "-----BEGIN MESSAGE-----\n"+tokenBody, pair), pair, dep.ErrNotToken},
	} {
		_, err := dep.ReadToken(c.file, c.pair)
		require.ErrorIs(t, err, c.want, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
	for name, bad := range map[string]dep.KeyPair{
		"none":           {},
		"no key":         {Certificate: pair.Certificate},
		"no certificate": {Key: pair.Key},
		"not a pair":     {Certificate: other.Certificate, Key: pair.Key},
		"not keys":       {Certificate: pair.Certificate, Key: mdm.NewSecret(pair.Certificate)},
	} {
		_, err := dep.ReadToken(der, bad)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		require.NotErrorIs(t, err, dep.ErrNotToken, name)
	}
}

func TestReadTokenWithAnOlderKey(t *testing.T) {
	pair := tokenPair()
	block, _ := pem.Decode(pair.Key.Reveal())
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	old := dep.KeyPair{Certificate: pair.Certificate, Key: mdm.NewSecret(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey)),
	}))}
	_, err = dep.ReadToken(seal(t, inner(tokenBody), pair), old)
	require.NoError(t, err)
}

func TestParseToken(t *testing.T) {
	var good map[string]any
	require.NoError(t, json.Unmarshal([]byte(tokenBody), &good))
	for key := range good {
		for _, value := range []any{nil, "", 7, "a b", "a\nb", "ü", strings.Repeat("x", 1025)} {
			bad := map[string]any{}
			for k, v := range good {
				bad[k] = v
			}
			bad[key] = value
			data, err := json.Marshal(bad)
			require.NoError(t, err)
			_, err = dep.ParseToken(data)
			require.ErrorIs(t, err, dep.ErrNotToken, "%s %v", key, value)
			assert.NotContains(t, err.Error(), "_48dd68")
			assert.NotContains(t, err.Error(), "_c31afd7")
		}
	}
	good["more"] = []int{1}
	data, err := json.Marshal(good)
	require.NoError(t, err)
	token, err := dep.ParseToken(data)
	require.NoError(t, err)
	checkTokenBody(t, token)
	_, err = dep.ParseToken(bytes.Repeat([]byte(" "), 300<<10))
	require.ErrorIs(t, err, dep.ErrNotToken)
}

func TestTokenCheckAndReplaces(t *testing.T) {
	token := callsToken()
	require.NoError(t, token.Check(callsNow))
	require.NoError(t, token.Check(token.Expires.Add(-time.Second)))
	err := token.Check(token.Expires)
	require.ErrorIs(t, err, dep.ErrTokenExpired)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	require.ErrorIs(t, dep.Token{}.Check(callsNow), dep.ErrNoToken)

	renewed := token
	renewed.AccessToken = mdm.SecretString("AT_new")
	require.NoError(t, renewed.Replaces(token))
	require.NoError(t, renewed.Replaces(dep.Token{}))
	renewed.ConsumerKey = "CK_other"
	err = renewed.Replaces(token)
	require.ErrorIs(t, err, dep.ErrOtherServer)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

// TestTokenOfOpenSSL reads what another program writes, as S/MIME.
func TestTokenOfOpenSSL(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("APPLEMDM_TEST_TOOLS") != "" {
			t.Fatal("APPLEMDM_TEST_TOOLS is set, and there is no openssl")
		}
		t.Skip("needs openssl on the PATH")
	}
	pair, dir := tokenPair(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pair.Certificate, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in"), []byte(inner(tokenBody)), 0o600))
	for _, args := range []string{
		"smime -encrypt -aes256 -in in cert.pem", "smime -encrypt -aes128 -binary -in in cert.pem", "cms -encrypt -aes256 -in in -outform DER cert.pem",
		"cms -encrypt -aes256 -in in -outform PEM cert.pem", "cms -encrypt -aes192 -stream -in in -outform SMIME cert.pem", "smime -encrypt -des3 -in in cert.pem",
	} {
		cmd := exec.CommandContext(t.Context(), path, strings.Fields(args)...)
		cmd.Dir = dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%s: %s", args, stderr.String())
		token, err := dep.ReadToken(out, pair)
		require.NoError(t, err, args)
		checkTokenBody(t, token)
	}
}
