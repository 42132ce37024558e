package profile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// chain is a root, an intermediate and a leaf under it.
type chain struct {
	root, intermediate, leaf *x509.Certificate
	key                      *ecdsa.PrivateKey
}

var testChain = sync.OnceValue(func() chain {
	issue := func(name string, ca bool, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
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
	var c chain
	var rootKey, intermediateKey *ecdsa.PrivateKey
	c.root, rootKey = issue("root", true, nil, nil)
	c.intermediate, intermediateKey = issue("intermediate", true, c.root, rootKey)
	c.leaf, c.key = issue("signer", false, c.intermediate, intermediateKey)
	return c
})

func recipe() profile.Enrollment {
	c := testChain()
	return profile.Enrollment{
		Identifier: "com.example.mdm", DisplayName: "Example", Organization: "Example & Sons",
		Topic: "com.apple.mgmt.External.1", ServerURL: "https://mdm.example.com/mdm",
		Identity: &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://mdm.example.com/scep", Challenge: mdm.SecretString("<once & only>"),
			Subject: [][][]string{{{"O", "Example"}}, {{"CN", "phone"}}}}},
		Roots: []*x509.Certificate{c.root}, Intermediates: []*x509.Certificate{c.intermediate},
		Uses: profile.Uses{UserChannels: true, BootstrapToken: true},
	}
}

func TestEnrollmentHoldsOnlyTheBasics(t *testing.T) {
	p, err := recipe().Profile()
	require.NoError(t, err)
	var kinds []string
	for _, payload := range p.Payloads {
		kinds = append(kinds, payload.PayloadType())
	}
	assert.Equal(t, []string{profile.TypeRootCertificate, profile.TypeCertificate, profile.TypeSCEP, profile.TypeMDM}, kinds)
	m := p.Payloads[3].(*profile.MDM)
	assert.Equal(t, p.Payloads[2].(*profile.SCEP).PayloadUUID, m.IdentityCertificateUUID)
	assert.Equal(t, []profile.MDMServerCapability{profile.MDMServerCapabilityPerUserConnections, profile.MDMServerCapabilityBootstrapToken}, m.ServerCapabilities)
	assert.Equal(t, int64(mdm.AllRights), *m.AccessRights)
	assert.True(t, *m.CheckOutWhenRemoved)
	assert.Empty(t, profile.ValidateEnrollment(p))
}

// A certificate that goes from the head of the list renames none that stay.
func TestCertificatesOfTheChainKeepTheirNames(t *testing.T) {
	named := func(roots ...*x509.Certificate) map[string]string {
		r := recipe()
		r.Roots = roots
		p, err := r.Profile()
		require.NoError(t, err)
		out := map[string]string{}
		for i, id := range p.PayloadIDs() {
			if cert := profile.CertificateIn(p.Payloads[i]); cert != nil {
				out[cert.Subject.CommonName] = id.Identifier + " " + id.UUID
			}
		}
		return out
	}
	other, own := issue(t, "other", newEC(), nil).cert, testChain().root
	both, one := named(other, own), named(own)
	require.Len(t, both, 3)
	assert.Equal(t, both["root"], one["root"])
}

func TestRoundTrip(t *testing.T) {
	r := recipe()
	r.SignMessage, r.ExpirationDate = true, time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	p, err := r.Profile()
	require.NoError(t, err)
	p.ConsentText = map[string]string{"default": "Agree?"}
	data, err := p.Encode()
	require.NoError(t, err)
	again, err := p.Encode()
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, again), "a rebuilt profile is the same byte for byte")

	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	assert.Nil(t, parsed.Signer)
	assert.Empty(t, profile.ValidateEnrollment(parsed.Profile))
	scep := parsed.Profile.Payloads[2].(*profile.SCEP).PayloadContent
	assert.Equal(t, "<once & only>", string(scep.Challenge.Reveal()))
	assert.Equal(t, profile.SCEPKeysize2048, *scep.Keysize)
	assert.False(t, *scep.KeyIsExtractable)
	assert.Equal(t, [][][]string{{{"O", "Example"}}, {{"CN", "phone"}}}, scep.Subject)
	assert.Equal(t, p.ConsentText, parsed.Profile.ConsentText)
	assert.True(t, p.ExpirationDate.Equal(parsed.Profile.ExpirationDate))
	encoded, err := parsed.Profile.Encode()
	require.NoError(t, err)
	assert.Equal(t, string(data), string(encoded))
}

func TestPKCS12Identity(t *testing.T) {
	r := recipe()
	r.Identity = &profile.PKCS12{PayloadContent: []byte{1, 2, 3}, Password: mdm.SecretString("p")}
	p, err := r.Profile()
	require.NoError(t, err)
	data, err := p.Encode()
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	identity := parsed.Profile.Payloads[2].(*profile.PKCS12)
	assert.Equal(t, []byte{1, 2, 3}, identity.PayloadContent)
	assert.Equal(t, "p", string(identity.Password.Reveal()))
	assert.NotContains(t, fmt.Sprintf("%+v", identity), `"p"`)
}

func TestValidateEnrollment(t *testing.T) {
	base := func() *profile.Profile {
		p, err := recipe().Profile()
		require.NoError(t, err)
		return p
	}
	theMDM := func(p *profile.Profile) *profile.MDM { return p.Payloads[3].(*profile.MDM) }
	tests := map[string]struct {
		rule   string
		change func(*profile.Profile)
	}{
		"another payload": {"basics-only", func(p *profile.Profile) {
			p.Payloads = append(p.Payloads, &profile.Raw{Type: "com.apple.wifi.managed"})
		}},
		"two identities":      {"one-identity", func(p *profile.Profile) { p.Payloads = append(p.Payloads, &profile.PKCS12{PayloadContent: []byte{1}}) }},
		"no identity":         {"one-identity", func(p *profile.Profile) { p.Payloads = append(p.Payloads[:2:2], p.Payloads[3]) }},
		"no MDM":              {"one-mdm", func(p *profile.Profile) { p.Payloads = p.Payloads[:3] }},
		"wrong identity":      {"identity", func(p *profile.Profile) { theMDM(p).IdentityCertificateUUID = "X" }},
		"wrong topic":         {"topic", func(p *profile.Profile) { theMDM(p).Topic = "com.example" }},
		"plain http":          {"url", func(p *profile.Profile) { theMDM(p).ServerURL = "http://mdm.example.com" }},
		"plain http check-in": {"url", func(p *profile.Profile) { theMDM(p).CheckInURL = new("http://mdm.example.com") }},
		"2 without 1":         {"rights", func(p *profile.Profile) { theMDM(p).AccessRights = new(int64(2)) }},
		"128 without 64":      {"rights", func(p *profile.Profile) { theMDM(p).AccessRights = new(int64(128)) }},
		"no rights":           {"rights", func(p *profile.Profile) { theMDM(p).AccessRights = new(int64(0)) }},
		"rights in BYOD": {"rights", func(p *profile.Profile) {
			theMDM(p).EnrollmentMode, theMDM(p).AssignedManagedAppleID = new(profile.MDMEnrollmentModeBYOD), new("a@b.c")
		}},
		"account missing":         {"account", func(p *profile.Profile) { theMDM(p).EnrollmentMode = new(profile.MDMEnrollmentModeADDE) }},
		"silent removal":          {"check-out", func(p *profile.Profile) { theMDM(p).CheckOutWhenRemoved = nil }},
		"pin without certificate": {"pinning", func(p *profile.Profile) { theMDM(p).ServerURLPinningCertificateUUIDs = []string{"X"} }},
		"trust after MDM":         {"trust-first", func(p *profile.Profile) { p.Payloads = append(p.Payloads, profile.NewCertificate(testChain().leaf)) }},
		"intermediate as root": {"certificate", func(p *profile.Profile) {
			p.Payloads[1] = &profile.RootCertificate{PayloadContent: testChain().intermediate.Raw}
		}},
		"not a certificate":      {"certificate", func(p *profile.Profile) { p.Payloads[1].(*profile.Certificate).PayloadContent = []byte{1} }},
		"same UUID twice":        {"unique", func(p *profile.Profile) { theMDM(p).PayloadUUID = p.Payloads[2].(*profile.SCEP).PayloadUUID }},
		"scep without challenge": {"scep-challenge", func(p *profile.Profile) { p.Payloads[2].(*profile.SCEP).PayloadContent.Challenge = mdm.Secret{} }},
		"scep over http, unpinned": {"scep-pin", func(p *profile.Profile) {
			p.Payloads[2].(*profile.SCEP).PayloadContent.URL = "http://mdm.example.com/scep"
		}},
		"short key":     {"scep-key", func(p *profile.Profile) { p.Payloads[2].(*profile.SCEP).PayloadContent.Keysize = nil }},
		"no identifier": {"identifier", func(p *profile.Profile) { p.Identifier = "" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := base()
			tt.change(p)
			var rules []string
			for _, problem := range profile.ValidateEnrollment(p) {
				rules = append(rules, problem.Rule)
			}
			assert.Contains(t, rules, tt.rule)
		})
	}
}

func TestEnrollmentRefuses(t *testing.T) {
	for name, change := range map[string]func(*profile.Enrollment){
		"no identity":   func(e *profile.Enrollment) { e.Identity = nil },
		"raw identity":  func(e *profile.Enrollment) { e.Identity = &profile.Raw{Type: profile.TypeSCEP} },
		"no topic":      func(e *profile.Enrollment) { e.Topic = "" },
		"no identifier": func(e *profile.Enrollment) { e.Identifier = "" },
	} {
		r := recipe()
		change(&r)
		_, err := r.Profile()
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

func TestEncodeRefusesDuplicates(t *testing.T) {
	p := &profile.Profile{Identifier: "a", Payloads: []profile.Payload{
		&profile.Raw{Type: "x", Values: map[string]any{"PayloadIdentifier": "same", "PayloadUUID": "1"}},
		&profile.Raw{Type: "y", Values: map[string]any{"PayloadIdentifier": "same", "PayloadUUID": "2"}},
	}}
	_, err := p.Encode()
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	require.ErrorContains(t, err, "used twice")
	_, err = (&profile.Profile{}).Encode()
	require.ErrorContains(t, err, "PayloadIdentifier")
}

type webClip struct {
	profile.Common
	URL   string
	Label string
}

func (webClip) PayloadType() string { return "com.apple.webClip.managed" }

func TestVendorPayload(t *testing.T) {
	data, err := (&profile.Profile{Identifier: "a", Payloads: []profile.Payload{webClip{URL: "https://example.com/?a&b", Label: "L"}}}).Encode()
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	clip := parsed.Profile.Payloads[0].(*profile.WebClip)
	assert.Equal(t, "https://example.com/?a&b", clip.URL)
	assert.Equal(t, "a.com.apple.webClip.managed", clip.PayloadIdentifier)
}

func TestSign(t *testing.T) {
	c := testChain()
	p, err := recipe().Profile()
	require.NoError(t, err)
	plain, err := p.Encode()
	require.NoError(t, err)
	signer := profile.CMSSigner{Certificate: c.leaf, Chain: []*x509.Certificate{c.intermediate, c.root}, Key: c.key}
	signed, err := signer.Sign(t.Context(), plain)
	require.NoError(t, err)
	parsed, err := profile.Parse(signed)
	require.NoError(t, err)
	assert.Equal(t, plain, parsed.Plain)
	assert.True(t, parsed.Signer.Equal(c.leaf))
	assert.Len(t, parsed.Certificates, 3)

	signed[len(signed)-5] ^= 1 // in the signature
	_, err = profile.Parse(signed)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	require.Error(t, err)
	_, err = profile.CMSSigner{}.Sign(t.Context(), plain)
	require.Error(t, err)
}

func TestParseRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":        "",
		"text":           "hello",
		"not a profile":  `<plist version="1.0"><dict><key>PayloadType</key><string>Profile Service</string></dict></plist>`,
		"an array":       `<plist version="1.0"><array/></plist>`,
		"no content":     `<plist version="1.0"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadIdentifier</key><string>a</string></dict></plist>`,
		"broken CMS":     "\x30\x82\x01\x00",
		"strings inside": `<plist version="1.0"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadIdentifier</key><string>a</string><key>PayloadContent</key><array><string>x</string></array></dict></plist>`,
	} {
		_, err := profile.Parse([]byte(data))
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

func FuzzParse(f *testing.F) {
	p, err := recipe().Profile()
	require.NoError(f, err)
	data, err := p.Encode()
	require.NoError(f, err)
	f.Add(data)
	c := testChain()
	signed, err := profile.CMSSigner{Certificate: c.leaf, Key: c.key}.Sign(f.Context(), data)
	require.NoError(f, err)
	f.Add(signed)
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := profile.Parse(data)
		if err != nil {
			return
		}
		profile.ValidateEnrollment(parsed.Profile)
		if encoded, err := parsed.Profile.Encode(); err == nil {
			_, err := profile.Parse(encoded)
			require.NoError(t, err, "what we encode, we read")
		}
	})
}

func ExampleEnrollment() {
	p, err := profile.Enrollment{
		Identifier: "com.example.mdm",
		Topic:      "com.apple.mgmt.External.00000000-0000-0000-0000-000000000000",
		ServerURL:  "https://mdm.example.com/mdm",
		Identity:   &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://mdm.example.com/scep", Challenge: mdm.SecretString("from scep.NewChallenge")}},
	}.Profile()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, payload := range p.Payloads {
		fmt.Println(payload.PayloadType())
	}
	// Output:
	// com.apple.security.scep
	// com.apple.mdm
}

func ExampleValidateEnrollment() {
	p := &profile.Profile{Identifier: "com.example.mdm", Payloads: []profile.Payload{&profile.WiFi{}}}
	for _, problem := range profile.ValidateEnrollment(p) {
		fmt.Println(problem)
	}
	// Output:
	// PayloadContent[0]: com.apple.wifi.managed belongs in a managed profile that is installed after enrollment (basics-only)
	// PayloadContent: holds 0 identities; exactly one is needed (one-identity)
	// PayloadContent: holds 0 com.apple.mdm payloads; exactly one is needed (one-mdm)
}
