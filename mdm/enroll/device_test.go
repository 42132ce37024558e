package enroll_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func builtInCA(t testing.TB, o mdmtest.BuiltInOptions) *mdmtest.BuiltInCA {
	t.Helper()
	ca, err := mdmtest.NewBuiltInCA(o)
	require.NoError(t, err)
	return ca
}

func issue(t testing.TB, ca *mdmtest.BuiltInCA) tls.Certificate {
	t.Helper()
	device, err := ca.Issue("device")
	require.NoError(t, err)
	return device
}

func sign(t testing.TB, content []byte, by tls.Certificate, o cms.SignOptions) []byte {
	t.Helper()
	message, err := cms.Sign(content, by.Leaf, by.PrivateKey.(crypto.Signer), o)
	require.NoError(t, err)
	return message
}

func TestBuiltInCertificates(t *testing.T) {
	t.Parallel()
	apple := builtInCA(t, mdmtest.BuiltInOptions{})
	assert.True(t, apple.Certificate.NotAfter.Before(time.Now()), "as Apple's")
	for name, o := range map[string]mdmtest.BuiltInOptions{
		"as Apple's": {},
		"SHA-256":    {Algorithm: x509.SHA256WithRSA},
		"ECDSA":      {Algorithm: x509.ECDSAWithSHA256},
		"not yet":    {NotBefore: time.Now().AddDate(1, 0, 0), NotAfter: time.Now().AddDate(2, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := builtInCA(t, o)
			device := issue(t, ca)
			require.NoError(t, enroll.DeviceCA{Issuers: []*x509.Certificate{ca.Certificate}}.Verify(device.Leaf))
			require.NoError(t, enroll.DeviceCA{Issuers: []*x509.Certificate{apple.Certificate, ca.Certificate}}.Verify(device.Leaf),
				"two of one name")
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(enroll.DeviceCA{Issuers: []*x509.Certificate{apple.Certificate}}.Verify(device.Leaf)),
				"another key under the same name")
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(enroll.DeviceCA{Issuers: []*x509.Certificate{ca.Root}}.Verify(device.Leaf)),
				"the issuer is pinned, not the root")
		})
	}
}

func TestNotBuiltIn(t *testing.T) {
	t.Parallel()
	ca := builtInCA(t, mdmtest.BuiltInOptions{})
	device := issue(t, ca)
	pinned := enroll.DeviceCA{Issuers: []*x509.Certificate{ca.Certificate, ca.Root}}
	require.NoError(t, pinned.Verify(device.Leaf))

	raw := bytes.Replace(device.Leaf.Raw, []byte("device"), []byte("devise"), 1)
	tampered, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	renamed := *device.Leaf // the same signature, if one issuer had two names
	renamed.RawIssuer = ca.Certificate.RawIssuer
	namesake, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{Name: enroll.AppleIPhoneDeviceCA().Subject.CommonName})
	require.NoError(t, err)
	selfMade, err := mdmtest.NewDevice(mdmtest.Config{}).BuiltIn()
	require.NoError(t, err)
	for name, cert := range map[string]*x509.Certificate{
		"none":              nil,
		"the authority":     ca.Certificate,
		"the root":          ca.Root,
		"a tampered one":    tampered,
		"of another name":   &renamed,
		"by a namesake":     issue(t, namesake).Leaf,
		"by itself":         selfMade.Leaf,
		"of another issuer": issue(t, builtInCA(t, mdmtest.BuiltInOptions{Name: "Other"})).Leaf,
	} {
		err := pinned.Verify(cert)
		require.Error(t, err, name)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
		assert.Error(t, enroll.DeviceCA{}.Verify(cert), name)
		assert.Error(t, enroll.DeviceCA{Issuers: []*x509.Certificate{}}.Verify(cert), "an empty list trusts nobody")
	}
	assert.Error(t, enroll.DeviceCA{}.Verify(device.Leaf), "Apple did not sign it")
	assert.Error(t, enroll.DeviceCA{}.Verify(enroll.AppleIPhoneDeviceCA()))
}

func TestOpen(t *testing.T) {
	t.Parallel()
	ca := builtInCA(t, mdmtest.BuiltInOptions{})
	device := issue(t, ca)
	pinned := enroll.DeviceCA{Issuers: []*x509.Certificate{ca.Certificate}}
	content := []byte("<plist/>")
	for name, o := range map[string]cms.SignOptions{
		"SHA-256":    {},
		"SHA-1":      {Hash: crypto.SHA1},
		"as iOS":     {Hash: crypto.SHA1, NoAttributes: true, Indefinite: true},
		"with chain": {Chain: []*x509.Certificate{ca.Certificate, ca.Root, enroll.AppleIPhoneDeviceCA()}},
	} {
		got, leaf, err := pinned.Open(sign(t, content, device, o))
		require.NoError(t, err, name)
		assert.Equal(t, content, got, name)
		assert.True(t, leaf.Equal(device.Leaf), name)
	}

	good := sign(t, content, device, cms.SignOptions{})
	foreign := issue(t, builtInCA(t, mdmtest.BuiltInOptions{}))
	for name, c := range map[string]struct {
		message []byte
		want    mdm.Code
	}{
		"nothing":              {nil, mdm.Malformed},
		"a property list":      {content, mdm.Malformed},
		"cut off":              {good[:len(good)-9], mdm.Malformed},
		"no content":           {sign(t, content, device, cms.SignOptions{Detached: true}), mdm.Malformed},
		"a bomb":               {bytes.Repeat([]byte{0x30, 0x80}, 20_000), mdm.Malformed},
		"too large":            {sign(t, make([]byte, enroll.MaxMessage), device, cms.SignOptions{}), mdm.TooLarge},
		"other content":        {bytes.Replace(good, content, []byte("<Plist/>"), 1), mdm.Forbidden},
		"a foreign signer":     {sign(t, content, foreign, cms.SignOptions{Chain: []*x509.Certificate{ca.Certificate}}), mdm.Forbidden},
		"a chain that only is": {sign(t, content, foreign, cms.SignOptions{Chain: []*x509.Certificate{device.Leaf, ca.Certificate}}), mdm.Forbidden},
	} {
		got, leaf, err := pinned.Open(c.message)
		require.Error(t, err, name)
		assert.Equal(t, c.want, mdm.CodeOf(err), "%s: %v", name, err)
		assert.Nil(t, got, name)
		assert.Nil(t, leaf, name)
	}
}

// FuzzOpen damages a good message: what is cut out of it at a place, and what is put in there. Keys are of this process, so
// whole messages cannot be given from one to another.
func FuzzOpen(f *testing.F) {
	ca := builtInCA(f, mdmtest.BuiltInOptions{})
	device := issue(f, ca)
	content := []byte("<plist/>")
	good := [][]byte{
		sign(f, content, device, cms.SignOptions{Chain: []*x509.Certificate{ca.Certificate}}),
		sign(f, content, device, cms.SignOptions{Hash: crypto.SHA1, NoAttributes: true, Indefinite: true}),
	}
	for at := range uint16(400) {
		f.Add(at*3, uint16(1), []byte{0x30}, at%2 == 0)
	}
	f.Add(uint16(0), uint16(0), []byte{}, true)
	f.Add(uint16(0), uint16(9999), []byte("<plist/>"), true)
	pinned := enroll.DeviceCA{Issuers: []*x509.Certificate{ca.Certificate}}
	f.Fuzz(func(t *testing.T, at, cut uint16, put []byte, attributes bool) {
		message := good[1]
		if attributes {
			message = good[0]
		}
		from := min(int(at), len(message))
		to := min(from+int(cut), len(message))
		got, leaf, err := pinned.Open(bytes.Join([][]byte{message[:from], put, message[to:]}, nil))
		if err != nil {
			code := mdm.CodeOf(err)
			require.True(t, code == mdm.Malformed || code == mdm.TooLarge || code == mdm.Forbidden, "%v", err)
			return
		}
		require.Equal(t, content, got, "nothing else was ever signed")
		require.True(t, leaf.Equal(device.Leaf))
	})
}

// MachineInfo comes signed by the device: who signed is told before what it says.
func ExampleDeviceCA_Open() {
	ca, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{}) // yours: none, the zero DeviceCA knows Apple's
	if err != nil {
		fmt.Println(err)
		return
	}
	device, err := ca.Issue("device")
	if err != nil {
		fmt.Println(err)
		return
	}
	message, err := cms.Sign([]byte(`<plist version="1.0"><dict><key>SERIAL</key><string>C02XYZ</string></dict></plist>`),
		device.Leaf, device.PrivateKey.(crypto.Signer), cms.SignOptions{Hash: crypto.SHA1})
	if err != nil {
		fmt.Println(err)
		return
	}

	content, leaf, err := enroll.DeviceCA{Issuers: []*x509.Certificate{ca.Certificate}}.Open(message)
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := enroll.ParseMachineInfo(content)
	fmt.Println(leaf.Subject.CommonName, info.Serial, err)
	_, _, err = enroll.DeviceCA{}.Open(message)
	fmt.Println("made by Apple:", mdm.CodeOf(err) != mdm.Forbidden)
	// Output:
	// device C02XYZ <nil>
	// made by Apple: false
}
