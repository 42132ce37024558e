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
	"encoding/asn1"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

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
	return signer{must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)))), key}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	rsaSigner = sync.OnceValue(func() signer { return newSigner(must(rsa.GenerateKey(rand.Reader, 2048)), "rsa", 1) })
	otherRSA  = sync.OnceValue(func() signer { // the same name and number, another key
		return newSigner(must(rsa.GenerateKey(rand.Reader, 2048)), "rsa", 1)
	})
	ecSigner = sync.OnceValue(func() signer {
		return newSigner(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "ec", 2)
	})
	p384Signer = sync.OnceValue(func() signer {
		return newSigner(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "p384", 3)
	})
)

var body = []byte("<plist>the body of a message</plist>")

// captured is the form of messages that were captured from real devices.
var captured = cms.SignOptions{Detached: true, Hash: crypto.SHA1, NoAttributes: true, Indefinite: true}

func sign(t testing.TB, s signer, o cms.SignOptions) []byte {
	t.Helper()
	out, err := cms.Sign(body, s.cert, s.key, o)
	require.NoError(t, err)
	return out
}

// combinations returns everything that Sign can write, with a name.
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

// el is an element written by hand, so that tests do not read what they test with what wrote it.
func el(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	switch n := len(content); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, content...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	case n < 0x10000:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
	default:
		return append([]byte{tag, 0x83, byte(n >> 16), byte(n >> 8), byte(n)}, content...)
	}
}

// open is an element of indefinite length.
func open(tag byte, parts ...[]byte) []byte {
	return append(append([]byte{tag, 0x80}, bytes.Join(parts, nil)...), 0, 0)
}

func oid(arcs ...int) []byte { return must(asn1.Marshal(asn1.ObjectIdentifier(arcs))) }

var (
	null            = []byte{5, 0}
	version1        = []byte{2, 1, 1}
	oidData         = oid(1, 2, 840, 113549, 1, 7, 1)
	oidSignedData   = oid(1, 2, 840, 113549, 1, 7, 2)
	oidEnveloped    = oid(1, 2, 840, 113549, 1, 7, 3)
	oidOther        = oid(1, 2, 3, 4)
	oidContentType  = oid(1, 2, 840, 113549, 1, 9, 3)
	oidDigest       = oid(1, 2, 840, 113549, 1, 9, 4)
	oidMD5          = oid(1, 2, 840, 113549, 2, 5)
	oidSHA1         = oid(1, 3, 14, 3, 2, 26)
	oidSHA256       = oid(2, 16, 840, 1, 101, 3, 4, 2, 1)
	oidRSA          = oid(1, 2, 840, 113549, 1, 1, 1)
	oidMD5RSA       = oid(1, 2, 840, 113549, 1, 1, 4)
	oidSHA1RSA      = oid(1, 2, 840, 113549, 1, 1, 5)
	oidSHA256RSA    = oid(1, 2, 840, 113549, 1, 1, 11)
	oidECPublicKey  = oid(1, 2, 840, 10045, 2, 1)
	oidECDSASHA1    = oid(1, 2, 840, 10045, 4, 1)
	oidECDSASHA256  = oid(1, 2, 840, 10045, 4, 3, 2)
	nameOf          = func(c *x509.Certificate) []byte { return el(0x30, c.RawIssuer, must(asn1.Marshal(c.SerialNumber))) }
	keyIdentifierOf = func(c *x509.Certificate) []byte { return el(0x80, c.SubjectKeyId) }
)
