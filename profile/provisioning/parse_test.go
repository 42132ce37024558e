package provisioning_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile/provisioning"
)

func TestParse(t *testing.T) {
	t.Parallel()
	data := file(t, keysOf("0f0e", day(0), day(364)))
	p, err := provisioning.Parse(data)
	require.NoError(t, err)
	isExample(t, p)
	require.Equal(t, data, p.Data)
	require.True(t, p.Signer.Equal(apple().signer))
	require.Len(t, p.Certificates, 2)
	data[0] = 0
	require.NotEqual(t, data, p.Data, "a copy")
}

func isExample(t *testing.T, p *provisioning.Profile) {
	t.Helper()
	require.Equal(t, []any{"0f0e", "Example In-House", "Example", "Example Corp.", day(0), day(364)},
		[]any{p.UUID, p.Name, p.AppIDName, p.TeamName, p.CreationDate, p.ExpirationDate})
	require.Equal(t, [][]string{{"A1B2C3D4E5"}, {"iOS"}, nil}, [][]string{p.TeamIdentifiers, p.Platforms, p.ProvisionedDevices})
	require.True(t, p.ProvisionsAllDevices)
	require.Equal(t, keysOf("", day(0), day(0))["Entitlements"], p.Entitlements)
	require.Len(t, p.DeveloperCertificates, 1)
	require.True(t, p.DeveloperCertificates[0].Equal(apple().signer))
	require.Equal(t, map[string]any{"ApplicationIdentifierPrefix": []any{"A1B2C3D4E5"}, "IsXcodeManaged": false,
		"TimeToLive": uint64(364), "Version": uint64(1)}, p.Extra)
	require.Equal(t, "A1B2C3D4E5.com.example.app", p.AppID())
	require.Equal(t, "A1B2C3D4E5", p.Team())
	require.Equal(t, provisioning.InHouse, p.Distribution())
}

func TestParseLeast(t *testing.T) {
	t.Parallel()
	p, err := provisioning.Parse(file(t, map[string]any{"UUID": "u", "Name": "n", "ExpirationDate": day(1)}))
	require.NoError(t, err)
	require.Nil(t, p.Extra)
	require.Empty(t, p.AppID()+p.Team())
	require.Equal(t, provisioning.Store, p.Distribution())
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	set := func(key string, value any) []byte {
		keys := maps.Clone(keysOf("0f0e", day(0), day(364)))
		if keys[key] = value; value == nil {
			delete(keys, key)
		}
		return file(t, keys)
	}
	good := set("Version", uint64(1))
	content := bytes.Index(good, []byte("Example Corp."))
	tampered := bytes.Clone(good)
	tampered[content] = 'e'
	detached, err := cms.Sign([]byte("x"), apple().signer, apple().key, cms.SignOptions{Detached: true})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":              {nil, "signature"},
		"a plain list":         {[]byte("<plist><dict/></plist>"), "signature"},
		"another content":      {tampered, "does not verify"},
		"no content":           {detached, "does not verify"},
		"cut off":              {good[:len(good)-1], "signature"},
		"too large":            {append(bytes.Clone(good), make([]byte, provisioning.MaxSize)...), "too large"},
		"no list":              {signed(t, []byte("text")), "plistx"},
		"an array":             {signed(t, []byte("<plist><array/></plist>")), "plistx"},
		"too many":             {signed(t, []byte("<plist><array>"+strings.Repeat("<true/>", 50_000)+"</array></plist>")), "too many"},
		"no UUID":              {set("UUID", nil), "required"},
		"empty UUID":           {set("UUID", ""), "required"},
		"no Name":              {set("Name", nil), "required"},
		"no ExpirationDate":    {set("ExpirationDate", nil), "required"},
		"UUID of another type": {set("UUID", uint64(1)), "UUID is of a wrong type"},
		"date as a string":     {set("ExpirationDate", "2026"), "ExpirationDate is of a wrong type"},
		"long UUID":            {set("UUID", strings.Repeat("x", 256)), "longer"},
		"long Name":            {set("Name", strings.Repeat("x", 256)), "longer"},
		"entitlements":         {set("Entitlements", []any{}), "Entitlements is of a wrong type"},
		"devices":              {set("ProvisionedDevices", []any{"x", true}), "ProvisionedDevices[1] is of a wrong type"},
		"team":                 {set("TeamIdentifier", "x"), "TeamIdentifier is of a wrong type"},
		"a certificate":        {set("DeveloperCertificates", []any{[]byte{0x30, 0}}), "DeveloperCertificates[0]"},
	} {
		_, err := provisioning.Parse(c.data)
		require.ErrorContains(t, err, c.want, name)
		require.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

func TestVerifyChain(t *testing.T) {
	t.Parallel()
	p := inHouse(t, "u", 0, 364)
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(apple().root)
	stranger := newAuthority(asn1.ObjectIdentifier{1, 2, 3})
	others.AddCert(stranger.root)
	require.NoError(t, p.VerifyChain(roots, begin))
	require.NotEmpty(t, p.Signer.UnhandledCriticalExtensions, "the parsed certificate is as it was")
	require.ErrorContains(t, p.VerifyChain(nil, begin), "no roots", "those of the system are not asked")
	for name, err := range map[string]error{
		"other roots":  p.VerifyChain(others, begin),
		"no roots":     p.VerifyChain(nil, begin),
		"no signer":    (&provisioning.Profile{}).VerifyChain(roots, begin),
		"later":        p.VerifyChain(roots, day(2000)),
		"between lost": change(p, func(p *provisioning.Profile) { p.Certificates = p.Certificates[:1] }).VerifyChain(roots, begin),
		"an extension that is not Apple's": change(p, func(p *provisioning.Profile) {
			p.Signer, p.Certificates = stranger.signer, []*x509.Certificate{stranger.between}
		}).VerifyChain(others, begin),
	} {
		require.Error(t, err, name)
		require.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
	}
}

func TestDistribution(t *testing.T) {
	t.Parallel()
	p := inHouse(t, "u", 0, 364)
	devices := func(p *provisioning.Profile) {
		p.ProvisionsAllDevices, p.ProvisionedDevices = false, []string{"UDID-1"}
	}
	debug := func(p *provisioning.Profile) {
		devices(p)
		p.Entitlements = map[string]any{"com.apple.security.get-task-allow": true, "com.apple.application-identifier": "T.mac"}
		p.TeamIdentifiers = nil
	}
	require.Equal(t, provisioning.AdHoc, change(p, devices).Distribution())
	require.Equal(t, provisioning.Development, change(p, debug).Distribution())
	require.Equal(t, "T.mac", change(p, debug).AppID())
	require.True(t, p.Covers("any"))
	require.True(t, change(p, devices).Covers("udid-1"))
	require.False(t, change(p, devices).Covers("udid-2"))
}

func TestSucceeds(t *testing.T) {
	t.Parallel()
	old := inHouse(t, "old", 0, 364)
	next := inHouse(t, "next", 300, 664)
	require.True(t, next.Succeeds(old))
	require.False(t, old.Succeeds(next))
	require.False(t, old.Succeeds(old))
	for name, f := range map[string]func(*provisioning.Profile){
		"app": func(p *provisioning.Profile) {
			p.Entitlements = map[string]any{"application-identifier": "A1B2C3D4E5.other"}
		},
		"no app":       func(p *provisioning.Profile) { p.Entitlements = nil },
		"team":         func(p *provisioning.Profile) { p.TeamIdentifiers = []string{"X"} },
		"platform":     func(p *provisioning.Profile) { p.Platforms = []string{"tvOS"} },
		"no platform":  func(p *provisioning.Profile) { p.Platforms = nil },
		"distribution": func(p *provisioning.Profile) { p.ProvisionsAllDevices = false },
	} {
		require.False(t, change(next, f).Succeeds(old), name)
	}
	for name, f := range map[string]func(*provisioning.Profile){
		"name":                func(p *provisioning.Profile) { p.Name = "Example 2027" },
		"more platforms":      func(p *provisioning.Profile) { p.Platforms = []string{"xrOS", "iOS", "visionOS"} },
		"team by entitlement": func(p *provisioning.Profile) { p.TeamIdentifiers = nil },
	} {
		require.True(t, change(next, f).Succeeds(old), name)
	}
}

// TestOpenSSLSigned reads a file that openssl has signed.
func TestOpenSSLSigned(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("APPLEMDM_TEST_TOOLS") != "" {
			t.Fatal("openssl is not on the PATH")
		}
		t.Skip("needs openssl on the PATH")
	}
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(apple().key)
	require.NoError(t, err)
	content, err := plistx.MarshalIndent(keysOf("0f0e", day(0), day(364)))
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"cert.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: apple().signer.Raw}),
		"between.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: apple().between.Raw}),
		"key.pem":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"in":          content,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), path, strings.Fields(
		"cms -sign -binary -nodetach -in in -signer cert.pem -inkey key.pem -certfile between.pem -outform DER -out out")...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	data, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	p, err := provisioning.Parse(data)
	require.NoError(t, err)
	isExample(t, p)
	roots := x509.NewCertPool()
	roots.AddCert(apple().root)
	require.NoError(t, p.VerifyChain(roots, begin))
}

// FuzzParse reads files as strangers may send them.
func FuzzParse(f *testing.F) {
	f.Add(file(f, keysOf("0f0e", day(0), day(364))))
	f.Add([]byte("<plist><dict/></plist>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := provisioning.Parse(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		again, err := provisioning.Parse(p.Data)
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

// FuzzDecode reads what may be signed.
func FuzzDecode(f *testing.F) {
	content, err := plistx.Marshal(keysOf("0f0e", day(0), day(364)))
	require.NoError(f, err)
	f.Add(content)
	f.Add([]byte("<plist><dict><key>UUID</key><string>u</string><key>Name</key><string>n</string><key>ExpirationDate</key><date>2026-01-01T00:00:00Z</date></dict></plist>"))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := provisioning.Decode(content)
		if err != nil {
			require.Nil(t, p)
			return
		}
		require.NotEmpty(t, p.UUID)
		require.NotEmpty(t, p.Name)
		require.False(t, p.ExpirationDate.IsZero())
		_, _, _ = p.AppID(), p.Team(), p.Distribution()
		plan := provisioning.Planner{}.Plan(provisioning.Goal{Profiles: []*provisioning.Profile{p}},
			provisioning.State{ListedAt: p.ExpirationDate.Add(-time.Minute)}, p.ExpirationDate.Add(-time.Second))
		require.Len(t, plan.Steps, 1)
	})
}
