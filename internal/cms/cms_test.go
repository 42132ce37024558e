package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	smallstep "github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
)

// signer is a certificate and its key.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newSigner(key crypto.Signer, name string, serial int64) signer {
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return signer{cert, key}
}

var (
	rsaSigner = sync.OnceValue(func() signer {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return newSigner(key, "rsa", 1)
	})
	otherRSA = sync.OnceValue(func() signer { // the same name and number, another key
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return newSigner(key, "rsa", 1)
	})
	ecSigner = sync.OnceValue(func() signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return newSigner(key, "ec", 2)
	})
)

var body = []byte("<plist>the body of a message</plist>")

func sign(t testing.TB, s signer, o cms.SignOptions) []byte {
	t.Helper()
	out, err := cms.Sign(body, s.cert, s.key, o)
	require.NoError(t, err)
	return out
}

// every combination that we can write, with a name.
func combinations() map[string]cms.SignOptions {
	all := map[string]cms.SignOptions{}
	for _, hash := range []crypto.Hash{0, crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for flags := range 8 {
			o := cms.SignOptions{Hash: hash, Detached: flags&1 != 0, NoAttributes: flags&2 != 0, Indefinite: flags&4 != 0}
			all[fmt.Sprintf("hash %d detached %t plain %t ber %t", hash, o.Detached, o.NoAttributes, o.Indefinite)] = o
		}
	}
	return all
}

func TestSignAndVerify(t *testing.T) {
	for name, o := range combinations() {
		for kind, s := range map[string]signer{"rsa": rsaSigner(), "ec": ecSigner()} {
			signed, err := cms.ParseSigned(sign(t, s, o), cms.Limits{})
			require.NoError(t, err, "%s %s", kind, name)
			assert.True(t, signed.Signer.Equal(s.cert))
			require.NoError(t, signed.VerifyDetached(body), "%s %s", kind, name)
			require.ErrorIs(t, signed.VerifyDetached([]byte("another body")), cms.ErrSignature, "%s %s", kind, name)
			if o.Detached {
				assert.Nil(t, signed.Content)
				require.ErrorIs(t, signed.Verify(), cms.ErrSignature)
			} else {
				assert.Equal(t, body, signed.Content)
				require.NoError(t, signed.Verify())
			}
		}
	}
}

// TestAgreesWithASecondImplementation lets another library judge what we write.
func TestAgreesWithASecondImplementation(t *testing.T) {
	for name, o := range combinations() {
		for _, s := range []signer{rsaSigner(), ecSigner()} {
			for _, content := range [][]byte{body, []byte("another body")} {
				der, err := cms.ToDER(sign(t, s, o), cms.Limits{})
				require.NoError(t, err)
				theirs, err := smallstep.Parse(der)
				require.NoError(t, err, name)
				if o.Detached {
					theirs.Content = content
				}
				ours, err := cms.ParseSigned(der, cms.Limits{})
				require.NoError(t, err)
				verified := ours.Verify()
				if o.Detached {
					verified = ours.VerifyDetached(content)
				}
				assert.Equal(t, theirs.Verify() == nil, verified == nil, "%s: %v", name, verified)
			}
		}
	}
}

func TestSigningTimeIsInformation(t *testing.T) {
	at := time.Date(1999, 1, 2, 3, 4, 5, 0, time.UTC) // long before the certificate: a device whose clock is wrong
	signed, err := cms.ParseSigned(sign(t, rsaSigner(), cms.SignOptions{SigningTime: at}), cms.Limits{})
	require.NoError(t, err)
	require.NoError(t, signed.Verify())
	assert.True(t, at.Equal(signed.SigningTime))
}

func TestForeignCertificateOfTheSameName(t *testing.T) {
	message := sign(t, rsaSigner(), cms.SignOptions{})
	require.Len(t, otherRSA().cert.Raw, len(rsaSigner().cert.Raw))
	forged := bytes.Replace(message, rsaSigner().cert.Raw, otherRSA().cert.Raw, 1)
	signed, err := cms.ParseSigned(forged, cms.Limits{})
	require.NoError(t, err)
	require.ErrorIs(t, signed.Verify(), cms.ErrSignature)

	both := sign(t, rsaSigner(), cms.SignOptions{Chain: []*x509.Certificate{otherRSA().cert}})
	_, err = cms.ParseSigned(both, cms.Limits{})
	require.ErrorIs(t, err, cms.ErrNoSigner, "which of two certificates of one name signed is not said")
}

func TestSignerMustComeAlong(t *testing.T) {
	s := rsaSigner()
	certs, err := cms.CertsOnly([]*x509.Certificate{s.cert})
	require.NoError(t, err)
	_, err = cms.ParseSigned(certs, cms.Limits{})
	require.ErrorIs(t, err, cms.ErrNoSigner, "no signer")

	two, err := smallstep.NewSignedData(body)
	require.NoError(t, err)
	for _, s := range []signer{rsaSigner(), ecSigner()} {
		require.NoError(t, two.AddSigner(s.cert, s.key, smallstep.SignerInfoConfig{}))
	}
	message, err := two.Finish()
	require.NoError(t, err)
	_, err = cms.ParseSigned(message, cms.Limits{})
	require.ErrorIs(t, err, cms.ErrNoSigner, "two signers")
}

func TestDigestAttributeOfAnotherBody(t *testing.T) {
	s := rsaSigner()
	other, err := cms.Sign([]byte("<plist>the b0dy of a message</plist>"), s.cert, s.key, cms.SignOptions{})
	require.NoError(t, err)
	forged := bytes.Replace(other, []byte("b0dy"), []byte("body"), 1)
	signed, err := cms.ParseSigned(forged, cms.Limits{})
	require.NoError(t, err)
	require.ErrorIs(t, signed.Verify(), cms.ErrSignature)
}

func TestTruncated(t *testing.T) {
	for _, o := range []cms.SignOptions{{}, {Indefinite: true, NoAttributes: true, Hash: crypto.SHA1, Detached: true}} {
		message := sign(t, rsaSigner(), o)
		for i := range message {
			_, err := cms.ParseSigned(message[:i], cms.Limits{})
			require.Error(t, err, "cut at %d", i)
		}
		_, err := cms.ParseSigned(append(message, 0), cms.Limits{})
		require.ErrorIs(t, err, cms.ErrSyntax, "a byte too many")
	}
}

func TestBombs(t *testing.T) {
	tests := map[string]struct {
		message []byte
		want    error
	}{
		"nested, indefinite": {bytes.Repeat([]byte{0x30, 0x80}, 100_000), cms.ErrTooDeep},
		"nested, definite":   {nested(2000), cms.ErrTooDeep},
		"many":               {many(100_000), cms.ErrTooMany},
		"too large":          {make([]byte, 2<<20), cms.ErrTooLarge},
		"high tag":           {[]byte{0x1f, 0x80}, cms.ErrSyntax},
		"high tag, short":    {[]byte{0x1f, 0x05}, cms.ErrSyntax},
		"no length":          {[]byte{0x30, 0x81}, cms.ErrSyntax},
		"half a length":      {[]byte{0x30, 0x84, 0x01}, cms.ErrSyntax},
		"huge length":        {[]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, cms.ErrSyntax},
		"negative length":    {[]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, cms.ErrSyntax},
		"five-byte length":   {[]byte{0x30, 0x85, 0, 0, 0, 0, 0}, cms.ErrSyntax},
		"indefinite string":  {[]byte{0x04, 0x80, 0, 0}, cms.ErrSyntax},
		"never closed":       {[]byte{0x24, 0x80, 0x04, 0x01, 0x41}, cms.ErrSyntax},
		"wrong pieces":       {[]byte{0x24, 0x03, 0x02, 0x01, 0x41}, cms.ErrSyntax},
		"beyond its parent":  {[]byte{0x30, 0x03, 0x04, 0x05, 1, 2, 3, 4, 5}, cms.ErrSyntax},
		"empty":              {nil, cms.ErrSyntax},
	}
	for name, tt := range tests {
		require.ErrorIs(t, cms.Check(tt.message, cms.Limits{}), tt.want, name)
		_, err := cms.ParseSigned(tt.message, cms.Limits{})
		require.ErrorIs(t, err, tt.want, name)
		_, err = cms.Decrypt(tt.message, rsaSigner().cert, rsaSigner().key, cms.Limits{})
		require.ErrorIs(t, err, tt.want, name)
	}
}

func nested(depth int) []byte {
	var out []byte
	for range depth {
		header := []byte{0x30}
		if n := len(out); n < 0x80 {
			header = append(header, byte(n))
		} else {
			header = append(header, 0x82, byte(n>>8), byte(n))
		}
		out = append(header, out...)
	}
	return out
}

func many(n int) []byte {
	content := bytes.Repeat([]byte{0x05, 0x00}, n)
	return append([]byte{0x30, 0x83, byte(len(content) >> 16), byte(len(content) >> 8), byte(len(content))}, content...)
}

func TestToDER(t *testing.T) {
	for ber, want := range map[string]string{
		"3003020101":                           "3003020101",
		"3080020101 0000":                      "3003020101",
		"308103020101":                         "3003020101",     // a longer length than needed
		"2480 040141 040142 0000":              "04024142",       // a string in pieces
		"2480 2403040141 040142 0000":          "04024142",       // pieces of pieces
		"3080 a080 2480 040141 0000 0000 0000": "3005a003040141", // as devices nest it
		"0500":                                 "0500",
	} {
		in, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(ber), []byte(" "), nil)))
		require.NoError(t, err)
		out, err := cms.ToDER(in, cms.Limits{})
		require.NoError(t, err, ber)
		assert.Equal(t, want, hex.EncodeToString(out), ber)
	}
}

func TestEnvelope(t *testing.T) {
	s := rsaSigner()
	for _, n := range []int{0, 1, 15, 16, 17, 5000} {
		content := bytes.Repeat([]byte{7}, n)
		sealed, err := cms.Encrypt(content, []*x509.Certificate{otherRSA().cert, s.cert}[1:])
		require.NoError(t, err)
		opened, err := cms.Decrypt(sealed, s.cert, s.key, cms.Limits{})
		require.NoError(t, err)
		assert.True(t, bytes.Equal(content, opened))
		theirs, err := smallstep.Parse(sealed)
		require.NoError(t, err)
		opened, err = theirs.Decrypt(s.cert, s.key)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(content, opened), "another library reads it, too")
		_, err = cms.Decrypt(sealed, otherRSA().cert, otherRSA().key, cms.Limits{})
		require.Error(t, err, "another recipient")
	}
	_, err := cms.Encrypt(body, nil)
	require.Error(t, err)
	_, err = cms.Encrypt(body, []*x509.Certificate{ecSigner().cert})
	require.ErrorContains(t, err, "RSA")
}

func TestCertsOnly(t *testing.T) {
	in := []*x509.Certificate{rsaSigner().cert, ecSigner().cert}
	data, err := cms.CertsOnly(in)
	require.NoError(t, err)
	out, err := cms.ParseCerts(data, cms.Limits{})
	require.NoError(t, err)
	require.Len(t, out, 2)
	assert.True(t, out[0].Equal(in[0]) && out[1].Equal(in[1]))
}

// openssl runs it in a directory with the certificate and key of s, and skips without it.
func openssl(t *testing.T, s signer, input []byte, args ...string) []byte {
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
	cmd := exec.CommandContext(t.Context(), path, append([]string{"cms"}, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return out
}

func TestOpenSSL(t *testing.T) {
	for name, s := range map[string]signer{"rsa": rsaSigner(), "ec": ecSigner()} {
		t.Run(name, func(t *testing.T) {
			out := openssl(t, s, sign(t, s, cms.SignOptions{}), "-verify", "-inform", "DER", "-in", "in", "-CAfile", "cert.pem", "-purpose", "any")
			assert.Equal(t, body, out, "openssl verifies what we sign")
			openssl(t, s, sign(t, s, cms.SignOptions{Detached: true, Indefinite: true}), "-verify", "-inform", "DER", "-in", "in",
				"-content", "body", "-binary", "-CAfile", "cert.pem", "-purpose", "any")
			for _, args := range [][]string{{"-nodetach"}, {"-nodetach", "-noattr"}, {"-nodetach", "-stream"}, {"-md", "sha1"}, {"-md", "sha512"}} {
				message := openssl(t, s, body, append([]string{"-sign", "-binary", "-in", "in", "-signer", "cert.pem", "-inkey", "key.pem", "-outform", "DER"}, args...)...)
				signed, err := cms.ParseSigned(message, cms.Limits{})
				require.NoError(t, err, "%v", args)
				require.NoError(t, signed.VerifyDetached(body), "%v: we verify what openssl signs", args)
			}
		})
	}
	s := rsaSigner()
	sealed, err := cms.Encrypt(body, []*x509.Certificate{s.cert})
	require.NoError(t, err)
	assert.Equal(t, body, openssl(t, s, sealed, "-decrypt", "-inform", "DER", "-in", "in", "-recip", "cert.pem", "-inkey", "key.pem"))
	for _, cipher := range []string{"-aes128", "-aes256", "-des3"} {
		sealed := openssl(t, s, body, "-encrypt", "-binary", "-in", "in", "-outform", "DER", cipher, "cert.pem")
		opened, err := cms.Decrypt(sealed, s.cert, s.key, cms.Limits{})
		require.NoError(t, err, cipher)
		assert.Equal(t, body, opened)
	}
}

func FuzzToDER(f *testing.F) {
	for _, o := range []cms.SignOptions{{}, {Indefinite: true, NoAttributes: true, Hash: crypto.SHA1, Detached: true}} {
		f.Add(sign(f, ecSigner(), o))
	}
	f.Add([]byte{0x24, 0x80, 0x24, 0x03, 0x04, 0x01, 0x41, 0, 0})
	f.Fuzz(func(t *testing.T, ber []byte) {
		der, err := cms.ToDER(ber, cms.Limits{})
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(der), len(ber)+4*len(ber), "bounded by what came in")
		again, err := cms.ToDER(der, cms.Limits{Bytes: 8 << 20})
		require.NoError(t, err, "what we wrote, we read")
		require.True(t, bytes.Equal(der, again), "DER stays as it is")
	})
}

func FuzzParseSigned(f *testing.F) {
	for _, s := range []signer{ecSigner(), rsaSigner()} {
		f.Add(sign(f, s, cms.SignOptions{}))
		f.Add(sign(f, s, cms.SignOptions{Indefinite: true, NoAttributes: true, Hash: crypto.SHA1, Detached: true}))
	}
	f.Add([]byte{0x1f, 0x80})
	f.Fuzz(func(t *testing.T, message []byte) {
		signed, err := cms.ParseSigned(message, cms.Limits{})
		if err != nil {
			return
		}
		if signed.VerifyDetached(body) != nil {
			return
		}
		// Whoever verifies over our body must be one of the two who signed it.
		require.True(t, signed.Signer.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(ecSigner().cert.PublicKey) ||
			signed.Signer.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(rsaSigner().cert.PublicKey) || !bytes.Contains(message, ecSigner().cert.Raw))
	})
}

func FuzzDecrypt(f *testing.F) {
	s := rsaSigner()
	sealed, err := cms.Encrypt(body, []*x509.Certificate{s.cert})
	require.NoError(f, err)
	f.Add(sealed)
	f.Fuzz(func(_ *testing.T, message []byte) {
		_, _ = cms.Decrypt(message, s.cert, s.key, cms.Limits{})
		_, _ = cms.ParseCerts(message, cms.Limits{})
	})
}

func BenchmarkVerifyDetached(b *testing.B) {
	for name, s := range map[string]signer{"rsa": rsaSigner(), "ec": ecSigner()} {
		b.Run(name, func(b *testing.B) {
			message := sign(b, s, cms.SignOptions{Detached: true, NoAttributes: true, Hash: crypto.SHA1, Indefinite: true})
			b.ReportAllocs()
			for b.Loop() {
				signed, err := cms.ParseSigned(message, cms.Limits{})
				if err != nil || signed.VerifyDetached(body) != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkToDER(b *testing.B) {
	message := sign(b, rsaSigner(), cms.SignOptions{Indefinite: true})
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cms.ToDER(message, cms.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
