package enroll_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/scep"
)

// march is the day on which tests of chains and dates play.
var march = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var lastSerial atomic.Int64

// certify makes a certificate for name, signed by this pair, or by itself if it is nil. change may alter the template, and put
// a private key of its own into PublicKey.
func (by *pair) certify(t testing.TB, name string, change func(*x509.Certificate)) *pair {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(lastSerial.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: march.AddDate(0, -1, 0), NotAfter: march.AddDate(0, 6, 0)}
	if change != nil {
		change(template)
	}
	var key crypto.Signer
	key, ok := template.PublicKey.(crypto.Signer)
	if !ok {
		var err error
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
	}
	template.PublicKey = key.Public()
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &pair{cert, key}
}

func asCA(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	c.NotBefore, c.NotAfter = march.AddDate(-1, 0, 0), march.AddDate(9, 0, 0)
}

func root(t testing.TB, name string) *pair { return (*pair)(nil).certify(t, name, asCA) }

func (by *pair) intermediate(t testing.TB, name string) *pair { return by.certify(t, name, asCA) }

// server makes the certificate of mdm.example.com.
func (by *pair) server(t testing.TB, change func(*x509.Certificate)) *x509.Certificate {
	return by.certify(t, "mdm.example.com", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"mdm.example.com"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if change != nil {
			change(c)
		}
	}).cert
}

func list(pairs ...*pair) (certs []*x509.Certificate) {
	for _, p := range pairs {
		certs = append(certs, p.cert)
	}
	return certs
}

func pool(pairs ...*pair) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range list(pairs...) {
		p.AddCert(c)
	}
	return p
}

// rsaKey makes a key that a profile can be encrypted to.
func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

// deviceCA issues the identities of devices.
var deviceCA = sync.OnceValue(func() *scep.LocalCA {
	ca, err := scep.NewLocalCA("Devices")
	if err != nil {
		panic(err)
	}
	return ca
})
