package cms_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
)

func TestSignAndVerify(t *testing.T) {
	for name, o := range combinations() {
		for kind, s := range map[string]signer{"rsa": rsaSigner(), "ec": ecSigner(), "p384": p384Signer()} {
			signed, err := cms.ParseSigned(sign(t, s, o), cms.Limits{})
			require.NoError(t, err, "%s %s", kind, name)
			assert.True(t, signed.Signer.Equal(s.cert))
			if o.Hash != 0 {
				assert.Equal(t, o.Hash, signed.Digest)
			} else {
				assert.Equal(t, crypto.SHA256, signed.Digest)
			}
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

func TestSignNothing(t *testing.T) {
	for name, o := range combinations() {
		message, err := cms.Sign(nil, rsaSigner().cert, rsaSigner().key, o)
		require.NoError(t, err)
		signed, err := cms.ParseSigned(message, cms.Limits{})
		require.NoError(t, err, name)
		require.NoError(t, signed.VerifyDetached(nil), name)
		assert.Equal(t, o.Detached, signed.Content == nil, name)
	}
}

func TestSignChain(t *testing.T) {
	s := rsaSigner()
	again, err := x509.ParseCertificate(s.cert.Raw)
	require.NoError(t, err)
	chain := []*x509.Certificate{s.cert, again, ecSigner().cert} // repeats the signer, which callers do
	certs, err := cms.ParseCerts(sign(t, s, cms.SignOptions{Chain: chain}), cms.Limits{})
	require.NoError(t, err)
	require.Len(t, certs, 2)
	assert.True(t, certs[0].Equal(s.cert) && certs[1].Equal(ecSigner().cert))
}

// hsm is a key that only its interface is known of.
type hsm struct {
	crypto.Signer
	fail error
}

func (h hsm) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if h.fail != nil {
		return nil, h.fail
	}
	return h.Signer.Sign(r, digest, opts)
}

func TestSignWithAnyKey(t *testing.T) {
	for _, s := range []signer{rsaSigner(), ecSigner()} {
		require.NoError(t, verdict(sign(t, signer{s.cert, hsm{Signer: s.key}}, cms.SignOptions{})))
		broken := errors.New("the module is locked")
		_, err := cms.Sign(body, s.cert, hsm{Signer: s.key, fail: broken}, cms.SignOptions{})
		require.ErrorIs(t, err, broken)
	}
}

func TestSignRefuses(t *testing.T) {
	s := rsaSigner()
	for _, hash := range []crypto.Hash{crypto.MD5, crypto.SHA224, 77} {
		_, err := cms.Sign(body, s.cert, s.key, cms.SignOptions{Hash: hash})
		require.ErrorIs(t, err, cms.ErrAlgorithm)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, err = cms.Sign(body, newSigner(ed, "ed", 4).cert, ed, cms.SignOptions{})
	require.ErrorIs(t, err, cms.ErrAlgorithm)
	for _, other := range []signer{otherRSA(), ecSigner()} {
		_, err = cms.Sign(body, s.cert, other.key, cms.SignOptions{})
		require.ErrorContains(t, err, "not that of the certificate")
	}
}

func TestCertsOnly(t *testing.T) {
	in := []*x509.Certificate{rsaSigner().cert, ecSigner().cert}
	data, err := cms.CertsOnly(in)
	require.NoError(t, err)
	out, err := cms.ParseCerts(data, cms.Limits{})
	require.NoError(t, err)
	require.Len(t, out, 2)
	assert.True(t, out[0].Equal(in[0]) && out[1].Equal(in[1]))

	_, err = cms.ParseSigned(data, cms.Limits{})
	require.ErrorIs(t, err, cms.ErrNoSigner)
	_, err = cms.CertsOnly(nil)
	require.Error(t, err)
	for i := range data {
		_, err := cms.ParseCerts(data[:i], cms.Limits{})
		require.ErrorIs(t, err, cms.ErrSyntax, "cut at %d", i)
	}
	sealed, err := cms.Encrypt(body, in[:1])
	require.NoError(t, err)
	_, err = cms.ParseCerts(sealed, cms.Limits{})
	require.ErrorIs(t, err, cms.ErrSyntax, "another kind of message")
}
