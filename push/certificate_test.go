package push_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

const topic = "com.apple.mgmt.External.2c0d6a51"

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key
}

// issue returns a self-signed certificate for key, as PEM, with uids in its subject.
func issue(t testing.TB, key crypto.Signer, change func(*x509.Certificate), uids ...string) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "APSP:test"},
		NotBefore:    time.Now().AddDate(-1, 0, 0),
		NotAfter:     time.Now().AddDate(1, 0, 0).Truncate(time.Second),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, uid := range uids {
		template.Subject.ExtraNames = append(template.Subject.ExtraNames, pkix.AttributeTypeAndValue{
			Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: uid,
		})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func pkcs8(t testing.TB, key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestLoadCertificateReadsEveryKeyForm(t *testing.T) {
	t.Parallel()
	ec, rs := ecKey(t), rsaKey(t)
	sec1, err := x509.MarshalECPrivateKey(ec)
	require.NoError(t, err)
	tests := []struct {
		name string
		key  crypto.Signer
		pem  []byte
	}{
		{"PKCS#8, EC", ec, pkcs8(t, ec)},
		{"PKCS#8, RSA", rs, pkcs8(t, rs)},
		{"PKCS#1", rs, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rs)})},
		{"SEC 1 after its parameters", ec, append(
			pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{5, 0}}),
			pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := push.LoadCertificate(issue(t, tt.key, nil, topic), tt.pem)
			require.NoError(t, err)
			assert.Equal(t, topic, c.Topic)
			assert.Equal(t, c.TLS.Leaf.NotAfter, c.NotAfter)
			assert.True(t, c.NotAfter.After(time.Now().AddDate(0, 11, 0)))
		})
	}
}

func TestLoadCertificateTakesOneFileWithBoth(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	chain := append(issue(t, key, nil, "other", topic), issue(t, ecKey(t), nil)...)
	both := append(pkcs8(t, key), chain...)
	c, err := push.LoadCertificate(both, both)
	require.NoError(t, err)
	assert.Equal(t, topic, c.Topic, "the UID that is a topic")
	assert.Len(t, c.TLS.Certificate, 2, "the chain stays")
}

func TestLoadCertificateSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	good, goodKey := issue(t, key, nil, topic), pkcs8(t, key)
	block, _ := pem.Decode(goodKey)
	usage := func(u x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} }
	}
	tests := []struct {
		name      string
		cert, key []byte
		is        error  // nil: see text
		text      string // part of the message
	}{
		{"key of another certificate", good, pkcs8(t, ecKey(t)), push.ErrKeyMismatch, ""},
		{"key of another kind", good, pkcs8(t, rsaKey(t)), push.ErrKeyMismatch, ""},
		{"PKCS#8 encrypted", good, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes}), push.ErrEncryptedKey, ""},
		{"OpenSSL's old encryption", good, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: block.Bytes,
			Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}}), push.ErrEncryptedKey, ""},
		{"no UID", issue(t, key, nil), goodKey, push.ErrNoTopic, ""},
		{"an app's push certificate", issue(t, key, nil, "com.example.app"), goodKey, push.ErrNoTopic, ""},
		{"the prefix alone", issue(t, key, nil, "com.apple.mgmt."), goodKey, push.ErrNoTopic, ""},
		{"a topic with a line break", issue(t, key, nil, topic+"\r\nx: y"), goodKey, push.ErrNoTopic, ""},
		{"a very long topic", issue(t, key, nil, topic+strings.Repeat("a", 300)), goodKey, push.ErrNoTopic, ""},
		{"a server's certificate", issue(t, key, usage(x509.ExtKeyUsageServerAuth), topic), goodKey, push.ErrNotForClient, ""},
		{"no certificate", []byte("hello"), goodKey, nil, "no block of type CERTIFICATE"},
		{"the CSR in place of the certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{1}}), goodKey, nil, "no block of type CERTIFICATE"},
		{"a broken certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), goodKey, nil, "unreadable certificate"},
		{"no key", good, good, nil, "no private key"},
		{"a broken key", good, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), nil, "unreadable private key"},
		{"too much", good, make([]byte, 1<<20), nil, "bytes of PEM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := push.LoadCertificate(tt.cert, tt.key)
			require.Error(t, err)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			assert.Empty(t, c.Topic)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			assert.Contains(t, err.Error(), tt.text)
		})
	}
}

func TestAnExpiredCertificateIsReportedButUsable(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	end := time.Now().Add(-time.Hour).Truncate(time.Second)
	expired := issue(t, key, func(c *x509.Certificate) { c.NotAfter = end }, topic)
	c, err := push.LoadCertificate(expired, pkcs8(t, key))
	require.ErrorIs(t, err, push.ErrExpired)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.Equal(t, topic, c.Topic, "a store must be able to load what it has")
	require.NoError(t, c.Check(end))
	require.ErrorIs(t, c.Check(end.Add(time.Second)), push.ErrExpired)

	_, err = push.LoadCertificate(expired, pkcs8(t, ecKey(t)))
	require.ErrorIs(t, err, push.ErrKeyMismatch, "expiry hides nothing else")
}

func TestPEMRoundTrip(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey(t), "EC": ecKey(t)} {
		t.Run(name, func(t *testing.T) {
			chain := append(issue(t, key, nil, topic), issue(t, ecKey(t), nil)...)
			c, err := push.LoadCertificate(chain, pkcs8(t, key))
			require.NoError(t, err)
			certPEM, keyPEM, err := c.PEM()
			require.NoError(t, err)
			again, err := push.LoadCertificate(certPEM, keyPEM.Reveal())
			require.NoError(t, err)
			assert.Equal(t, c.Topic, again.Topic)
			assert.Equal(t, c.NotAfter, again.NotAfter)
			assert.Equal(t, c.TLS.Certificate, again.TLS.Certificate)
			assert.Equal(t, c.TLS.PrivateKey, again.TLS.PrivateKey)
		})
	}
}

// hardware is a key that signs but cannot be read.
type hardware struct{ crypto.Signer }

func TestPEMOfAKeyThatCannotLeave(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	soft, err := push.LoadCertificate(issue(t, key, nil, topic), pkcs8(t, key))
	require.NoError(t, err)
	c, err := push.NewCertificate(tls.Certificate{Certificate: soft.TLS.Certificate, PrivateKey: hardware{key}})
	require.NoError(t, err)
	_, secret, err := c.PEM()
	require.Error(t, err)
	assert.True(t, secret.IsZero())
}

func TestNewCertificateNeedsBothHalves(t *testing.T) {
	t.Parallel()
	_, err := push.NewCertificate(tls.Certificate{})
	require.ErrorContains(t, err, "no certificate")
	key := ecKey(t)
	c, err := push.LoadCertificate(issue(t, key, nil, topic), pkcs8(t, key))
	require.NoError(t, err)
	_, err = push.NewCertificate(tls.Certificate{Certificate: c.TLS.Certificate})
	require.ErrorIs(t, err, push.ErrKeyMismatch)
}

func TestNothingPrintsTheKey(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	c, err := push.LoadCertificate(issue(t, key, nil, topic), pkcs8(t, key))
	require.NoError(t, err)
	private, err := key.Bytes()
	require.NoError(t, err)
	number := new(big.Int).SetBytes(private).String()
	want := "push certificate " + topic
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		got := fmt.Sprintf(verb, c)
		assert.True(t, strings.HasPrefix(got, want), "%s: %s", verb, got)
		inside := fmt.Sprintf(verb, struct{ C push.Certificate }{c}) + fmt.Sprintf(verb, &c)
		assert.NotContains(t, inside, number, verb)
		assert.Contains(t, inside, want, verb)
	}
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("loaded", "certificate", c)
	assert.Contains(t, out.String(), "certificate.topic="+topic)
	assert.NotContains(t, out.String(), number)
	_, err = json.Marshal(c)
	require.ErrorIs(t, err, mdm.ErrSecret)
}

func TestFixed(t *testing.T) {
	t.Parallel()
	load := func(topic string) push.Certificate {
		key := ecKey(t)
		c, err := push.LoadCertificate(issue(t, key, nil, topic), pkcs8(t, key))
		require.NoError(t, err)
		return c
	}
	former, renewed, other := load(topic), load(topic), load(topic+".b")
	certs := push.Fixed(former, other, renewed)
	pair, err := certs.PushCertificate(context.Background(), topic)
	require.NoError(t, err)
	assert.Equal(t, renewed.TLS.Certificate, pair.Certificate)
	pair, err = certs.PushCertificate(context.Background(), other.Topic)
	require.NoError(t, err)
	assert.Equal(t, other.TLS.Certificate, pair.Certificate)

	_, err = certs.PushCertificate(context.Background(), "com.apple.mgmt.unknown")
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
}

func FuzzLoadCertificate(f *testing.F) {
	key := ecKey(f)
	cert, keyPEM := issue(f, key, nil, topic), pkcs8(f, key)
	f.Add(cert, keyPEM)
	f.Add(append(keyPEM, cert...), append(cert, keyPEM...))
	f.Add(issue(f, key, nil), keyPEM)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"), []byte{})
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		c, err := push.LoadCertificate(cert, key)
		if err != nil {
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		assert.True(t, strings.HasPrefix(c.Topic, "com.apple.mgmt."))
		certPEM, keyPEM, err := c.PEM()
		require.NoError(t, err)
		again, err := push.LoadCertificate(certPEM, keyPEM.Reveal())
		require.NoError(t, err)
		assert.Equal(t, c.Topic, again.Topic)
	})
}
