package enroll

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

// appleChain returns what Apple publishes: the iPhone Device CA and those above it.
func appleChain(t *testing.T) []*x509.Certificate {
	t.Helper()
	data, err := os.ReadFile("testdata/apple-iphone-ca.pem")
	require.NoError(t, err)
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		chain = append(chain, cert)
	}
	require.Len(t, chain, 3)
	return chain
}

func TestAppleCertificates(t *testing.T) {
	t.Parallel()
	chain := appleChain(t)
	for i, want := range []string{
		"76f27d00e1333bc88de0e2916c38c9a7f2b75774c25a794c092a80e3c4c66cce",
		"e4e2936d3c076ec4aea8ac37277524950ca005894b39bba2d347fa33155ae5fa",
		"b0b1730ecbc7ff4505142c49f1295e6eda6bcaed7e2c68c5be91b5a11001f024",
	} {
		assert.Equal(t, want, mdm.FingerprintOf(chain[i]).String(), chain[i].Subject)
	}
	ca := AppleIPhoneDeviceCA()
	assert.True(t, ca.Equal(chain[0]))
	assert.Equal(t, "Apple iPhone Device CA", ca.Subject.CommonName)
	assert.Equal(t, 1024, ca.PublicKey.(*rsa.PublicKey).N.BitLen())
	assert.Equal(t, 2014, ca.NotAfter.Year())
}

// Apple's own signatures are the ones that the standard library refuses.
func TestSignedByApple(t *testing.T) {
	t.Parallel()
	chain := appleChain(t)
	for i, cert := range chain {
		issuer := chain[min(i+1, len(chain)-1)]
		assert.Error(t, cert.CheckSignatureFrom(issuer), "or there would be no need of ours")
		assert.True(t, signedBy(cert, issuer.PublicKey), cert.Subject)
		assert.False(t, signedBy(cert, chain[(i+2)%3].PublicKey), cert.Subject)
		assert.False(t, signedBy(cert, nil))
		altered := *cert
		altered.RawTBSCertificate = bytes.Replace(cert.RawTBSCertificate, []byte("Apple"), []byte("Opple"), 1)
		assert.False(t, signedBy(&altered, issuer.PublicKey))
		for _, algorithm := range []x509.SignatureAlgorithm{x509.MD5WithRSA, x509.SHA256WithRSA, x509.ECDSAWithSHA256, 0} {
			altered = *cert
			altered.SignatureAlgorithm = algorithm
			assert.False(t, signedBy(&altered, issuer.PublicKey), algorithm)
		}
	}
	assert.Error(t, DeviceCA{Issuers: chain[1:2]}.Verify(chain[0]), "an authority is no device")
}
