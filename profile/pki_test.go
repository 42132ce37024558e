package profile_test

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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// identity is a certificate and its key.
type identity struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// noon is when the certificates of these tests are good: they last from the day before to the day after.
var noon = time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)

var (
	firstRSA  = sync.OnceValue(newRSA)
	secondRSA = sync.OnceValue(newRSA)
)

func newRSA() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newEC() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// issue makes a certificate of a name for key under parent, self-signed without one.
func issue(t testing.TB, name string, key crypto.Signer, parent *identity, change ...func(*x509.Certificate)) identity {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: noon.AddDate(0, 0, -1),
		NotAfter: noon.AddDate(0, 0, 1), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment}
	for _, do := range change {
		do(template)
	}
	by := identity{template, key}
	if parent != nil {
		by = *parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return identity{cert, key}
}

// line is a root, two intermediates and a leaf, whose key is the one given.
func line(t testing.TB, key crypto.Signer) (root, upper, lower, leaf identity) {
	root = issue(t, "Root", newEC(), nil)
	upper = issue(t, "Upper", newEC(), &root)
	lower = issue(t, "Lower", newEC(), &upper)
	leaf = issue(t, "Leaf", key, &lower, func(c *x509.Certificate) { c.IsCA = false })
	return root, upper, lower, leaf
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
