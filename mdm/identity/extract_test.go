package identity_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mozilla.org/pkcs7"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	r := put()
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{device().cert, ours().intermediate.cert}}
	p, err := identity.TLS().Extract(r, nil)
	require.NoError(t, err)
	assert.True(t, p.Leaf.Equal(device().cert))
	assert.Len(t, p.Intermediates, 1)
	assert.Equal(t, "tls", p.Via)
}

// TestNoFallingBack gives each Extractor what only the others read.
func TestNoFallingBack(t *testing.T) {
	t.Parallel()
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{device().cert}}
	signature := signatureOf(t, device(), cms.SignOptions{Detached: true})
	header := ":" + base64.StdEncoding.EncodeToString(device().cert.Raw) + ":"
	extractors := map[string]struct {
		extractor identity.Extractor
		takeAway  func(*http.Request)
	}{
		"tls":           {identity.TLS(), func(r *http.Request) { r.TLS = nil }},
		"tls, empty":    {identity.TLS(), func(r *http.Request) { r.TLS = &tls.ConnectionState{} }},
		"mdm-signature": {identity.MDMSignature(), func(r *http.Request) { r.Header.Del("Mdm-Signature") }},
		"proxy":         {proxyFor(t, identity.RFC9440, ""), func(r *http.Request) { r.Header.Del("Client-Cert") }},
	}
	for name, tt := range extractors {
		r := put()
		r.TLS = state
		r.Header.Set("Mdm-Signature", signature)
		r.Header.Set("Client-Cert", header)
		p, err := tt.extractor.Extract(r, body)
		require.NoError(t, err, name)
		assert.True(t, p.Leaf.Equal(device().cert), name)
		tt.takeAway(r)
		_, err = tt.extractor.Extract(r, body)
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

var body = []byte("<plist/>")

// captured is the form of messages of real devices.
var captured = cms.SignOptions{Detached: true, Hash: crypto.SHA1, NoAttributes: true, Indefinite: true}

func signatureOf(t testing.TB, by holder, o cms.SignOptions) string {
	t.Helper()
	return signatureOver(t, body, by, o)
}

func signatureOver(t testing.TB, content []byte, by holder, o cms.SignOptions) string {
	t.Helper()
	signature, err := cms.Sign(content, by.cert, by.key, o)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(signature)
}

// signedBy is a message by another library, which can do what ours does not.
func signedBy(t testing.TB, signers ...holder) string {
	t.Helper()
	data, err := pkcs7.NewSignedData(body)
	require.NoError(t, err)
	for _, s := range signers {
		require.NoError(t, data.AddSigner(s.cert, s.key, pkcs7.SignerInfoConfig{}))
	}
	data.Detach()
	signature, err := data.Finish()
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(signature)
}

func TestMDMSignature(t *testing.T) {
	t.Parallel()
	good := signatureOf(t, rsaDevice(), captured)
	tests := map[string]struct {
		values []string
		by     holder // empty: refused
	}{
		"as captured":         {[]string{good}, rsaDevice()},
		"RSA, SHA-256":        {[]string{signatureOf(t, rsaDevice(), cms.SignOptions{Detached: true})}, rsaDevice()},
		"ECDSA":               {[]string{signatureOf(t, device(), cms.SignOptions{Detached: true})}, device()},
		"ECDSA, SHA-1":        {[]string{signatureOf(t, device(), captured)}, device()},
		"ECDSA, SHA-512":      {[]string{signatureOf(t, device(), cms.SignOptions{Detached: true, Hash: crypto.SHA512})}, device()},
		"by another library":  {[]string{signedBy(t, rsaDevice())}, rsaDevice()},
		"with line breaks":    {[]string{" " + good[:60] + "\r\n " + good[60:120] + "\n\t" + good[120:] + " "}, rsaDevice()},
		"with this body":      {[]string{signatureOf(t, device(), cms.SignOptions{})}, device()},
		"a wrong clock":       {[]string{signatureOf(t, device(), cms.SignOptions{Detached: true, SigningTime: now.Add(-9 * year)})}, device()},
		"none":                {nil, holder{}},
		"empty":               {[]string{""}, holder{}},
		"two":                 {[]string{good, good}, holder{}},
		"two in one":          {[]string{good + "," + good}, holder{}},
		"not base64":          {[]string{"!"}, holder{}},
		"not CMS":             {[]string{"AAAA"}, holder{}},
		"too long":            {[]string{strings.Repeat("A", 16<<10+4)}, holder{}},
		"too long with space": {[]string{good + strings.Repeat(" ", 16<<10)}, holder{}},
		"truncated":           {[]string{good[:len(good)-8]}, holder{}},
		"of another body":     {[]string{signatureOver(t, []byte("<other/>"), rsaDevice(), captured)}, holder{}},
		"digest of another":   {[]string{signatureOver(t, []byte("<other/>"), device(), cms.SignOptions{Detached: true})}, holder{}},
		"with another body":   {[]string{signatureOver(t, []byte("<other/>"), device(), cms.SignOptions{})}, holder{}},
		"another's key":       {[]string{signedBy(t, holder{device().cert, newKey()})}, holder{}},
		"two signers":         {[]string{signedBy(t, rsaDevice(), device())}, holder{}},
		"no signer":           {[]string{signedBy(t)}, holder{}},
		"a bomb":              {[]string{base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x30\x80", 4000)))}, holder{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := put()
			r.Header["Mdm-Signature"] = tt.values
			p, err := identity.MDMSignature().Extract(r, body)
			if tt.by.cert == nil {
				require.Error(t, err)
				assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
				assert.Empty(t, p)
				return
			}
			require.NoError(t, err)
			assert.True(t, p.Leaf.Equal(tt.by.cert))
			assert.Equal(t, "mdm-signature", p.Via)
		})
	}
}

func TestMDMSignatureOfAnEmptyBody(t *testing.T) {
	t.Parallel()
	r := put()
	r.Header.Set("Mdm-Signature", signatureOver(t, nil, device(), cms.SignOptions{Detached: true}))
	_, err := identity.MDMSignature().Extract(r, nil)
	require.NoError(t, err)
	_, err = identity.MDMSignature().Extract(r, []byte("a"))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	require.Error(t, err)
}

// TestMDMSignatureIsNoTrust: whoever signs is found out here, and judged by the Validator.
func TestMDMSignatureIsNoTrust(t *testing.T) {
	t.Parallel()
	v, err := identity.IssuedBy(identity.IssuerConfig{Roots: ours().roots()})
	require.NoError(t, err)
	foreign := newAuthority()
	tests := map[string]struct {
		by    holder
		chain []*x509.Certificate
		want  error
	}{
		"ours, with its chain":       {rsaDevice(), ours().chain(), nil},
		"ours, without":              {device(), nil, identity.ErrForeign},
		"ours, with another's chain": {device(), foreign.chain(), identity.ErrForeign},
		"expired":                    {ours().leaf(-2*time.Hour, -time.Hour), ours().chain(), identity.ErrExpired},
		"another CA":                 {foreign.leaf(-time.Hour, time.Hour), slices.Concat(foreign.chain(), foreign.roots()), identity.ErrForeign},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := put()
			r.Header.Set("Mdm-Signature", signatureOf(t, tt.by, cms.SignOptions{Detached: true, Chain: tt.chain}))
			p, err := identity.MDMSignature().Extract(r, body)
			require.NoError(t, err)
			assert.Len(t, p.Intermediates, len(tt.chain))
			err = v.Validate(t.Context(), p, identity.Claim{})
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.want)
		})
	}
}

func FuzzMDMSignature(f *testing.F) {
	for _, o := range []cms.SignOptions{captured, {Detached: true}, {}} {
		f.Add(signatureOf(f, rsaDevice(), o))
		f.Add(signatureOf(f, device(), o))
	}
	f.Add(signedBy(f, rsaDevice(), device()))
	f.Add("MIAGCSqGSIb3DQEHAqCA")
	f.Fuzz(func(t *testing.T, value string) {
		r := put()
		r.Header["Mdm-Signature"] = []string{value}
		p, err := identity.MDMSignature().Extract(r, body)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		require.NotNil(t, p.Leaf)
		// What signs this body signs no other one.
		_, err = identity.MDMSignature().Extract(r, []byte("<other/>"))
		require.Error(t, err)
	})
}

func BenchmarkMDMSignature(b *testing.B) {
	for name, value := range map[string]string{
		"RSA": signatureOf(b, rsaDevice(), captured), "ECDSA": signatureOf(b, device(), cms.SignOptions{Detached: true}),
	} {
		b.Run(name, func(b *testing.B) {
			r := put()
			r.Header.Set("Mdm-Signature", value)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := identity.MDMSignature().Extract(r, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleMDMSignature() {
	signature, _ := cms.Sign(body, device().cert, device().key, cms.SignOptions{Detached: true}) // the device does this
	r := put()
	r.Header.Set("Mdm-Signature", base64.StdEncoding.EncodeToString(signature))

	presented, err := identity.MDMSignature().Extract(r, body)
	fmt.Println(presented.Via, presented.Leaf.Subject, err)
	_, err = identity.MDMSignature().Extract(r, []byte("another body"))
	fmt.Println(mdm.CodeOf(err))
	// Output:
	// mdm-signature CN=device <nil>
	// malformed
}
