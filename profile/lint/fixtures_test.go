package lint_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// The fixtures in testdata are written by this file: go test ./profile/lint -run WriteFixtures -update. They hold fresh
// keys each time, so they are written when a rule changes and read otherwise.
var update = flag.Bool("update", false, "write the fixtures in testdata anew")

// A fixture is a file, or a folder of files: those of one device, or one folder for each device, or old and new.
type fixture struct {
	name  string         // "good…" or "bad…"
	path  string         // of a bad one, where the finding is
	files map[string]any // *profile.Profile or []byte; a single file has no name
}

type ruleFixtures struct {
	options  string // a line for each; see options in the test that reads them
	fixtures []fixture
}

func TestWriteFixtures(t *testing.T) {
	if !*update {
		t.Skip("writes only with -update")
	}
	require.NoError(t, os.RemoveAll("testdata"))
	for rule, r := range allFixtures(t) {
		dir := filepath.Join("testdata", rule)
		want := r.options
		for _, f := range r.fixtures {
			single, isSingle := f.files[""]
			name := f.name
			if isSingle {
				name += ".mobileconfig"
				write(t, filepath.Join(dir, name), single)
			}
			for file, content := range f.files {
				if file != "" {
					write(t, filepath.Join(dir, f.name, file+".mobileconfig"), content)
				}
			}
			if f.path != "" {
				want += name + " " + f.path + "\n"
			}
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "want"), []byte(want), 0o600))
	}
}

func write(t *testing.T, name string, content any) {
	t.Helper()
	data, ok := content.([]byte)
	if p, isProfile := content.(*profile.Profile); isProfile {
		var err error
		data, err = p.Encode()
		require.NoError(t, err, name)
		ok = true
	}
	require.True(t, ok)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
	require.NoError(t, os.WriteFile(name, data, 0o600))
}

// bad and good are fixtures of one file.
func bad(path string, content any) fixture {
	return fixture{name: "bad", path: path, files: map[string]any{"": content}}
}

func good(content any) fixture {
	return fixture{name: "good", files: map[string]any{"": content}}
}

func (f fixture) named(suffix string) fixture {
	f.name += "-" + suffix
	return f
}

// several are fixtures of a folder.
func several(name, path string, files map[string]any) fixture {
	return fixture{name: name, path: path, files: files}
}

// pki is what the fixtures are made of.
type pki struct {
	root, intermediate, expired, soon, weak, sha1, signer, oldSigner *x509.Certificate
	key, oldKey                                                      crypto.Signer
}

func day(year, month int) time.Time {
	return time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC)
}

func newPKI(t *testing.T) pki {
	t.Helper()
	ec := func() crypto.Signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return key
	}
	rsaKey := func(bits int) crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(t, err)
		return key
	}
	serial := int64(0)
	issue := func(name string, from, to time.Time, ca bool, key crypto.Signer, parent *x509.Certificate, parentKey crypto.Signer, alg x509.SignatureAlgorithm) *x509.Certificate {
		serial++
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, SignatureAlgorithm: alg}
		if ca {
			template.KeyUsage |= x509.KeyUsageCertSign
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert
	}
	rootKey, big := ec(), rsaKey(2048)
	p := pki{key: ec(), oldKey: ec()}
	p.root = issue("Example Root", day(2025, 1), day(2045, 1), true, rootKey, nil, nil, 0)
	p.intermediate = issue("Example Intermediate", day(2025, 1), day(2040, 1), true, ec(), p.root, rootKey, 0)
	p.expired = issue("Old Root", day(2015, 1), day(2026, 1), true, ec(), nil, nil, 0)
	p.soon = issue("Ending Root", day(2015, 1), day(2026, 6).AddDate(0, 0, 20), true, ec(), nil, nil, 0)
	p.weak = issue("Small Root", day(2025, 1), day(2045, 1), true, rsaKey(1024), nil, nil, 0)
	rsaRoot := issue("RSA Root", day(2025, 1), day(2045, 1), true, big, nil, nil, x509.SHA1WithRSA)
	p.sha1 = issue("SHA-1 Server", day(2025, 1), day(2045, 1), false, ec(), rsaRoot, big, x509.SHA1WithRSA)
	p.signer = issue("Signer", day(2025, 1), day(2045, 1), false, p.key, p.root, rootKey, 0)
	p.oldSigner = issue("Old Signer", day(2020, 1), day(2026, 1), false, p.oldKey, p.root, rootKey, 0)
	return p
}

func (k pki) sign(t *testing.T, p *profile.Profile, cert *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	data, err := p.Encode()
	require.NoError(t, err)
	signed, err := profile.CMSSigner{Certificate: cert, Key: key}.Sign(t.Context(), data)
	require.NoError(t, err)
	return signed
}

// initial is an initial profile without a fault, as change leaves it. Its payloads are a root, an intermediate, SCEP and MDM.
func (k pki) initial(t *testing.T, change func(p *profile.Profile, scep *profile.SCEP, m *profile.MDM)) *profile.Profile {
	t.Helper()
	p, err := profile.Enrollment{
		Identifier: "com.example.mdm", DisplayName: "Example", Topic: "com.apple.mgmt.External.1", ServerURL: "https://mdm.example.com/mdm",
		Identity: &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://mdm.example.com/scep", Challenge: mdm.SecretString("once")}},
		Roots:    []*x509.Certificate{k.root}, Intermediates: []*x509.Certificate{k.intermediate},
	}.Profile()
	require.NoError(t, err)
	if change != nil {
		change(p, p.Payloads[2].(*profile.SCEP), p.Payloads[3].(*profile.MDM))
	}
	return p
}

// managed is a profile of these payloads.
func managed(payloads ...profile.Payload) *profile.Profile {
	return &profile.Profile{Identifier: "com.example.managed", DisplayName: "Managed", Payloads: payloads}
}

func passcode() profile.Payload { return &profile.Passcode{ForcePIN: new(true)} }

func wifi() *profile.WiFi {
	return &profile.WiFi{SSIDStr: new("Office"), EncryptionType: new(profile.WiFiEncryptionTypeWPA2)}
}

func calDAV() *profile.CalDAV {
	return &profile.CalDAV{CalDAVHostName: "cal.example.com", CalDAVUsername: new("a")}
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// edit returns the file of a profile with some text replaced.
func edit(t *testing.T, p *profile.Profile, old, replacement string) []byte {
	t.Helper()
	data, err := p.Encode()
	require.NoError(t, err)
	require.Contains(t, string(data), old)
	return []byte(strings.Replace(string(data), old, replacement, 1))
}
