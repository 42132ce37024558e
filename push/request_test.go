package push_test

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/push"
)

func TestRequestAndItsCertificate(t *testing.T) {
	t.Parallel()
	r, err := push.NewRequest(pkix.Name{CommonName: "mdm.example.com", Organization: []string{"Example"}})
	require.NoError(t, err)
	block, rest := pem.Decode(r.PEM())
	require.NotNil(t, block)
	assert.Empty(t, rest)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(t, err)
	require.NoError(t, csr.CheckSignature())
	assert.Equal(t, "mdm.example.com", csr.Subject.CommonName)
	assert.Equal(t, 2048, csr.PublicKey.(*rsa.PublicKey).N.BitLen())

	keyBlock, _ := pem.Decode(r.Key.Reveal())
	require.NotNil(t, keyBlock)
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	require.NoError(t, err)
	cert, err := push.LoadCertificate(issue(t, key.(*rsa.PrivateKey), nil, topic), r.Key.Reveal())
	require.NoError(t, err)
	assert.Equal(t, topic, cert.Topic)

	other, err := push.NewRequest(pkix.Name{})
	require.NoError(t, err)
	_, err = push.LoadCertificate(issue(t, key.(*rsa.PrivateKey), nil, topic), other.Key.Reveal())
	require.ErrorIs(t, err, push.ErrKeyMismatch)
}

func TestRequestHidesItsKey(t *testing.T) {
	t.Parallel()
	r, err := push.NewRequest(pkix.Name{})
	require.NoError(t, err)
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", r, r, r), "PRIVATE")
	_, err = json.Marshal(r)
	require.Error(t, err)
}
