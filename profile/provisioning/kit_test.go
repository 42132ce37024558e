package provisioning_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/profile/provisioning"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func day(n int) time.Time { return begin.AddDate(0, 0, n) }

// authority is a root, an intermediate, and a signer whose certificate has a critical extension of Apple's.
type authority struct {
	root, between, signer *x509.Certificate
	key                   crypto.Signer
}

var apple = sync.OnceValue(func() authority { return newAuthority(asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 1, 99}) })

func newAuthority(critical asn1.ObjectIdentifier) authority {
	issue := func(name string, serial int64, ca bool, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, crypto.Signer) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: day(-1000),
			NotAfter: day(1000), IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
		if !ca {
			template.ExtraExtensions = []pkix.Extension{{Id: critical, Critical: true, Value: []byte{5, 0}}}
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		if err != nil {
			panic(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		return cert, key
	}
	root, rootKey := issue("Root", 1, true, nil, nil)
	between, betweenKey := issue("Certification Authority", 2, true, root, rootKey)
	signer, key := issue("Provisioning Profile Signing", 3, false, between, betweenKey)
	return authority{root, between, signer, key}
}

// keysOf returns the keys of a profile as Apple writes them.
func keysOf(uuid string, from, to time.Time) map[string]any {
	return map[string]any{
		"AppIDName": "Example", "ApplicationIdentifierPrefix": []any{"A1B2C3D4E5"}, "CreationDate": from, "Platform": []any{"iOS"},
		"IsXcodeManaged": false, "DeveloperCertificates": []any{apple().signer.Raw}, "ExpirationDate": to, "Name": "Example In-House",
		"Entitlements": map[string]any{"application-identifier": "A1B2C3D4E5.com.example.app", "get-task-allow": false,
			"keychain-access-groups": []any{"A1B2C3D4E5.*"}, "com.apple.developer.team-identifier": "A1B2C3D4E5"},
		"ProvisionsAllDevices": true, "TeamIdentifier": []any{"A1B2C3D4E5"}, "TeamName": "Example Corp.", "TimeToLive": uint64(364),
		"UUID": uuid, "Version": uint64(1),
	}
}

func signed(t testing.TB, content []byte) []byte {
	t.Helper()
	a := apple()
	data, err := cms.Sign(content, a.signer, a.key, cms.SignOptions{Chain: []*x509.Certificate{a.between}})
	require.NoError(t, err)
	return data
}

func file(t testing.TB, keys map[string]any) []byte {
	t.Helper()
	content, err := plistx.MarshalIndent(keys)
	require.NoError(t, err)
	return signed(t, content)
}

// inHouse returns a profile that is valid from one day to another.
func inHouse(t testing.TB, uuid string, from, to int) *provisioning.Profile {
	t.Helper()
	p, err := provisioning.Parse(file(t, keysOf(uuid, day(from), day(to))))
	require.NoError(t, err)
	return p
}

// change returns a copy of p that differs.
func change(p *provisioning.Profile, f func(*provisioning.Profile)) *provisioning.Profile {
	other := *p
	f(&other)
	return &other
}
