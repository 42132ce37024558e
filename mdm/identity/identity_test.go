package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// authority is a CA with an intermediate.
type authority struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey // of the intermediate
}

// holder is a certificate with its key.
type holder struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func create(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
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

func newAuthority() authority {
	ca := func(name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(-2, 0, 0),
			NotAfter: now.AddDate(2, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	root, rootKey := create(ca("root"), nil, nil)
	intermediate, key := create(ca("intermediate"), root, rootKey)
	return authority{root, intermediate, key}
}

var (
	now  = time.Now()
	ours = sync.OnceValue(newAuthority)
)

// leaf issues a client certificate that is valid from and until so long from now.
func (a authority) leaf(from, until time.Duration, usage ...x509.ExtKeyUsage) holder {
	if usage == nil {
		usage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	cert, key := create(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "device"}, NotBefore: now.Add(from),
		NotAfter: now.Add(until), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage}, a.intermediate, a.key)
	return holder{cert, key}
}

var device = sync.OnceValue(func() holder { return ours().leaf(-time.Hour, time.Hour) })

func put() *http.Request {
	return httptest.NewRequest(http.MethodPut, "https://mdm.example.com/mdm", nil)
}

func TestTLS(t *testing.T) {
	r := put()
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{device().cert, ours().intermediate}}
	p, err := identity.TLS().Extract(r, nil)
	require.NoError(t, err)
	assert.True(t, p.Leaf.Equal(device().cert))
	assert.Len(t, p.Intermediates, 1)
	assert.Equal(t, "tls", p.Via)
	for _, state := range []*tls.ConnectionState{nil, {}} {
		r.TLS = state
		r.Header.Set("Client-Cert", "never a fallback")
		_, err = identity.TLS().Extract(r, nil)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		require.Error(t, err)
	}
}

func TestMDMSignature(t *testing.T) {
	body := []byte("<plist/>")
	sign := func(o cms.SignOptions, body []byte) string {
		o.Detached = o.Hash != 1 // 1 is no hash that is used here: a mark for "with content"
		if o.Hash == 1 {
			o.Hash = 0
		}
		signature, err := cms.Sign(body, device().cert, device().key, o)
		require.NoError(t, err)
		return base64.StdEncoding.EncodeToString(signature)
	}
	captured := cms.SignOptions{Hash: crypto.SHA1, NoAttributes: true, Indefinite: true} // the form of real devices
	folded := sign(captured, body)
	good := map[string]string{
		"as captured":      folded,
		"today's":          sign(cms.SignOptions{}, body),
		"with line breaks": folded[:60] + "\r\n " + folded[60:120] + "\n\t" + folded[120:],
		"with the content": sign(cms.SignOptions{Hash: 1}, body),
		"with its chain":   sign(cms.SignOptions{Chain: []*x509.Certificate{ours().intermediate}}, body),
	}
	for name, value := range good {
		r := put()
		r.Header.Set("Mdm-Signature", value)
		p, err := identity.MDMSignature().Extract(r, body)
		require.NoError(t, err, name)
		assert.True(t, p.Leaf.Equal(device().cert), name)
	}
	bad := map[string][]string{
		"none":            nil,
		"two":             {folded, folded},
		"not base64":      {"!"},
		"too long":        {strings.Repeat("A", 17<<10)},
		"truncated":       {folded[:len(folded)-8]},
		"another body":    {sign(captured, []byte("<other/>"))},
		"another content": {sign(cms.SignOptions{Hash: 1}, []byte("<other/>"))},
		"a bomb":          {base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x30\x80", 4000)))},
	}
	for name, values := range bad {
		r := put()
		r.Header["Mdm-Signature"] = values
		_, err := identity.MDMSignature().Extract(r, body)
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

func pemOf(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

// escaped is PEM as load balancers escape it: + = and / are left alone.
func escaped(certs ...*x509.Certificate) string {
	return strings.NewReplacer("%2B", "+", "%3D", "=", "%2F", "/", "+", "%20").Replace(strings.ReplaceAll(url.QueryEscape(strings.ReplaceAll(pemOf(certs...), " ", "\x00")), "%00", "%20"))
}

func TestProxyFormats(t *testing.T) {
	leaf, intermediate := device().cert, ours().intermediate
	b64 := func(c *x509.Certificate) string { return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":" }
	folded := strings.ReplaceAll(strings.TrimSpace(pemOf(leaf)), "\n", " ")
	require.Contains(t, escaped(leaf), "+", "the test must hold the character that a wrong unescaping breaks; run it again")
	tests := map[string]struct {
		format identity.Format
		name   string
		header http.Header
		chain  int // intermediates; -1: refused
	}{
		"RFC 9440":                  {identity.RFC9440, "", http.Header{"Client-Cert": {b64(leaf)}}, 0},
		"RFC 9440 with chain":       {identity.RFC9440, "", http.Header{"Client-Cert": {b64(leaf)}, "Client-Cert-Chain": {b64(intermediate) + ", " + b64(ours().root)}}, 2},
		"RFC 9440, two values":      {identity.RFC9440, "", http.Header{"Client-Cert": {b64(leaf), b64(intermediate)}}, -1},
		"RFC 9440, chain alone":     {identity.RFC9440, "", http.Header{"Client-Cert-Chain": {b64(intermediate)}}, -1},
		"RFC 9440, no colons":       {identity.RFC9440, "", http.Header{"Client-Cert": {strings.Trim(b64(leaf), ":")}}, -1},
		"RFC 9440, long chain":      {identity.RFC9440, "", http.Header{"Client-Cert": {b64(leaf)}, "Client-Cert-Chain": {strings.Repeat(b64(intermediate)+",", 20)}}, -1},
		"nginx":                     {identity.EscapedPEM, "X-Ssl-Cert", http.Header{"X-Ssl-Cert": {url.PathEscape(pemOf(leaf))}}, 0},
		"nginx, fully escaped":      {identity.EscapedPEM, "X-Ssl-Cert", http.Header{"X-Ssl-Cert": {strings.ReplaceAll(url.QueryEscape(pemOf(leaf)), "+", "%20")}}, 0},
		"nginx, empty":              {identity.EscapedPEM, "X-Ssl-Cert", http.Header{"X-Ssl-Cert": {""}}, -1},
		"Apache":                    {identity.FoldedPEM, "Ssl_client_cert", http.Header{"Ssl_client_cert": {folded}}, 0},
		"Apache, null":              {identity.FoldedPEM, "Ssl_client_cert", http.Header{"Ssl_client_cert": {"(null)"}}, -1},
		"ALB":                       {identity.AWSALB, "", http.Header{"X-Amzn-Mtls-Clientcert-Leaf": {escaped(leaf)}}, 0},
		"ALB passthrough":           {identity.AWSALBPassthrough, "", http.Header{"X-Amzn-Mtls-Clientcert": {escaped(leaf, intermediate)}}, 1},
		"Envoy":                     {identity.EnvoyXFCC, "", xfcc(`By=spiffe://x;Hash=ab;Cert="` + escaped(leaf) + `";Subject="CN=a,O=\"b;c\"";URI=`), 0},
		"Envoy with chain":          {identity.EnvoyXFCC, "", xfcc(`Cert="` + escaped(leaf) + `";Chain="` + escaped(leaf, intermediate) + `"`), 1},
		"Envoy, two elements":       {identity.EnvoyXFCC, "", xfcc(`Cert="` + escaped(intermediate) + `",Cert="` + escaped(leaf) + `"`), -1},
		"Envoy, Cert twice":         {identity.EnvoyXFCC, "", xfcc(`Cert="` + escaped(leaf) + `";cert="` + escaped(intermediate) + `"`), -1},
		"Envoy, only a hash":        {identity.EnvoyXFCC, "", xfcc(`Hash=ab`), -1},
		"Envoy, unclosed":           {identity.EnvoyXFCC, "", xfcc(`Cert="` + escaped(leaf)), -1},
		"too long":                  {identity.EscapedPEM, "X-Ssl-Cert", http.Header{"X-Ssl-Cert": {strings.Repeat("A", 64<<10)}}, -1},
		"a key instead":             {identity.EscapedPEM, "X-Ssl-Cert", http.Header{"X-Ssl-Cert": {url.PathEscape("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}}, -1},
		"the header of another one": {identity.AWSALB, "", http.Header{"Client-Cert": {b64(leaf)}}, -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := identity.Proxy(identity.ProxyConfig{Format: tt.format, Header: tt.name, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
			require.NoError(t, err)
			r := put() // httptest's peer is 192.0.2.1
			r.Header = tt.header
			p, err := e.Extract(r, nil)
			if tt.chain < 0 {
				require.Error(t, err)
				assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
				return
			}
			require.NoError(t, err)
			assert.True(t, p.Leaf.Equal(leaf))
			assert.Len(t, p.Intermediates, tt.chain)
		})
	}
}

func xfcc(value string) http.Header { return http.Header{"X-Forwarded-Client-Cert": {value}} }

func TestProxyMustBeTrusted(t *testing.T) {
	for _, c := range []identity.ProxyConfig{
		{}, {Format: identity.RFC9440}, {Format: identity.EscapedPEM, Peer: func(*http.Request) bool { return true }},
		{Format: identity.RFC9440, Secret: mdm.SecretString("s")},
	} {
		_, err := identity.Proxy(c)
		require.Error(t, err, "%+v", c)
	}
	header := ":" + base64.StdEncoding.EncodeToString(device().cert.Raw) + ":"
	try := func(c identity.ProxyConfig, change func(*http.Request)) error {
		c.Format = identity.RFC9440
		e, err := identity.Proxy(c)
		require.NoError(t, err)
		r := put()
		r.Header.Set("Client-Cert", header)
		change(r)
		_, err = e.Extract(r, nil)
		return err
	}
	local := identity.ProxyConfig{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	secret := identity.ProxyConfig{Secret: mdm.SecretString("hunter2"), SecretHeader: "X-Proxy-Secret"}
	peer := identity.ProxyConfig{Peer: func(r *http.Request) bool { return r.TLS != nil && len(r.TLS.PeerCertificates) == 1 }}
	from := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
	says := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["X-Proxy-Secret"] = values }
	}
	for name, tt := range map[string]struct {
		config identity.ProxyConfig
		change func(*http.Request)
		ok     bool
	}{
		"address":         {local, from("10.1.2.3:4"), true},
		"mapped address":  {local, from("[::ffff:10.1.2.3]:4"), true},
		"IPv6":            {local, from("[::1]:4"), true},
		"another address": {local, from("203.0.113.1:4"), false},
		"no address":      {local, from("@"), false},
		"secret":          {secret, says("hunter2"), true},
		"wrong secret":    {secret, says("hunter3"), false},
		"two secrets":     {secret, says("hunter2", "hunter2"), false},
		"no secret":       {secret, says(), false},
		"no peer":         {peer, says(), false},
		"both must hold":  {identity.ProxyConfig{Trusted: local.Trusted, Secret: secret.Secret, SecretHeader: "X-Proxy-Secret"}, from("10.1.2.3:4"), false},
	} {
		err := try(tt.config, tt.change)
		assert.Equal(t, tt.ok, err == nil, name)
		if !tt.ok {
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
		}
	}
}

func TestIssuedBy(t *testing.T) {
	_, err := identity.IssuedBy(identity.IssuerConfig{})
	require.Error(t, err)
	v, err := identity.IssuedBy(identity.IssuerConfig{Roots: []*x509.Certificate{ours().root}, Intermediates: []*x509.Certificate{ours().intermediate}})
	require.NoError(t, err)
	presented, err := identity.IssuedBy(identity.IssuerConfig{Roots: []*x509.Certificate{ours().root}})
	require.NoError(t, err)
	bare, err := identity.IssuedBy(identity.IssuerConfig{Roots: []*x509.Certificate{ours().root}}) // has not seen the chain
	require.NoError(t, err)
	imposter := newAuthority() // the same names, other keys
	many := make([]*x509.Certificate, 20)
	for i := range many {
		many[i] = ours().intermediate
	}
	tests := map[string]struct {
		v    identity.Validator
		p    identity.Presented
		want error
	}{
		"ours":                           {v, identity.Presented{Leaf: device().cert}, nil},
		"with the chain that came":       {presented, identity.Presented{Leaf: device().cert, Intermediates: []*x509.Certificate{ours().intermediate}}, nil},
		"without a chain":                {bare, identity.Presented{Leaf: device().cert}, identity.ErrForeign},
		"too long a chain":               {presented, identity.Presented{Leaf: device().cert, Intermediates: many}, identity.ErrForeign},
		"a little early":                 {v, identity.Presented{Leaf: ours().leaf(4*time.Minute, time.Hour).cert}, nil},
		"a little late":                  {v, identity.Presented{Leaf: ours().leaf(-time.Hour, -4*time.Minute).cert}, nil},
		"too early":                      {v, identity.Presented{Leaf: ours().leaf(time.Hour, 2*time.Hour).cert}, identity.ErrExpired},
		"expired":                        {v, identity.Presented{Leaf: ours().leaf(-2*time.Hour, -time.Hour).cert}, identity.ErrExpired},
		"foreign":                        {v, identity.Presented{Leaf: imposter.leaf(-time.Hour, time.Hour).cert, Intermediates: []*x509.Certificate{imposter.intermediate}}, identity.ErrForeign},
		"foreign and expired":            {v, identity.Presented{Leaf: imposter.leaf(-2*time.Hour, -time.Hour).cert}, identity.ErrForeign},
		"a server's":                     {v, identity.Presented{Leaf: ours().leaf(-time.Hour, time.Hour, x509.ExtKeyUsageServerAuth).cert}, identity.ErrForeign},
		"an authority instead of a leaf": {v, identity.Presented{Leaf: ours().intermediate}, identity.ErrForeign},
		"nothing":                        {v, identity.Presented{}, identity.ErrForeign},
	}
	for name, tt := range tests {
		err := tt.v.Validate(t.Context(), tt.p, identity.Claim{})
		if tt.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, tt.want, name)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "%s: never Unmanaged", name)
	}
	renewing, err := identity.IssuedBy(identity.IssuerConfig{Roots: []*x509.Certificate{ours().root}, Intermediates: []*x509.Certificate{ours().intermediate},
		AllowExpired: func(_ context.Context, _ identity.Presented, c identity.Claim) bool {
			return c.Message == "Authenticate"
		}})
	require.NoError(t, err)
	old := identity.Presented{Leaf: ours().leaf(-2*time.Hour, -time.Hour).cert}
	require.NoError(t, renewing.Validate(t.Context(), old, identity.Claim{Message: "Authenticate"}))
	require.ErrorIs(t, renewing.Validate(t.Context(), old, identity.Claim{Message: "TokenUpdate"}), identity.ErrExpired)
}

func TestAKnownChainStillExpires(t *testing.T) {
	a := newAuthority()
	leaf := a.leaf(-time.Hour, 10*365*24*time.Hour) // outlives the authorities above it
	at := now
	v, err := identity.IssuedBy(identity.IssuerConfig{Roots: []*x509.Certificate{a.root}, Clock: func() time.Time { return at }})
	require.NoError(t, err)
	first := identity.Presented{Leaf: leaf.cert, Intermediates: []*x509.Certificate{a.intermediate}}
	require.ErrorIs(t, v.Validate(t.Context(), identity.Presented{Leaf: leaf.cert}, identity.Claim{}), identity.ErrForeign)
	require.NoError(t, v.Validate(t.Context(), first, identity.Claim{}))
	require.NoError(t, v.Validate(t.Context(), identity.Presented{Leaf: leaf.cert}, identity.Claim{}), "its chain is known now")
	at = now.AddDate(3, 0, 0)
	require.ErrorIs(t, v.Validate(t.Context(), first, identity.Claim{}), identity.ErrExpired, "an authority has expired")
	short := a.leaf(-time.Hour, time.Hour)
	at = now
	presented := identity.Presented{Leaf: short.cert, Intermediates: first.Intermediates}
	require.NoError(t, v.Validate(t.Context(), presented, identity.Claim{}))
	at = now.Add(2 * time.Hour)
	require.ErrorIs(t, v.Validate(t.Context(), presented, identity.Claim{}), identity.ErrExpired, "the leaf has expired")
}

func TestAllAndNotRevoked(t *testing.T) {
	pass := identity.ValidatorFunc(func(context.Context, identity.Presented, identity.Claim) error { return nil })
	down := errors.New("down")
	revoked := identity.NotRevoked(func(_ context.Context, fp mdm.Fingerprint) (bool, error) {
		if fp.IsZero() {
			return false, down
		}
		return fp[0] == 1, nil
	})
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(identity.All().Validate(t.Context(), identity.Presented{}, identity.Claim{})), "of none it passes nobody")
	require.NoError(t, identity.All(pass, revoked).Validate(t.Context(), identity.Presented{}, identity.Claim{Fingerprint: mdm.Fingerprint{2}}))
	err := identity.All(pass, revoked).Validate(t.Context(), identity.Presented{}, identity.Claim{Fingerprint: mdm.Fingerprint{1}})
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	err = identity.All(pass, revoked).Validate(t.Context(), identity.Presented{}, identity.Claim{})
	require.ErrorIs(t, err, down)
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err), "an outage is no refusal")
}

func FuzzProxy(f *testing.F) {
	f.Add(byte(1), ":AAAA:", ":BBBB:")
	f.Add(byte(4), `Cert="%2D";Chain=x,By="\""`, "")
	f.Add(byte(2), url.PathEscape(pemOf(device().cert)), "")
	f.Fuzz(func(t *testing.T, format byte, value, chain string) {
		e, err := identity.Proxy(identity.ProxyConfig{Format: identity.Format(format%6 + 1), Header: "X-Cert", Peer: func(*http.Request) bool { return true }})
		require.NoError(t, err)
		r := put()
		r.Header = http.Header{"X-Cert": {value}, "Client-Cert-Chain": {chain}}
		p, err := e.Extract(r, nil)
		require.True(t, err != nil || p.Leaf != nil)
	})
}

func FuzzMDMSignature(f *testing.F) {
	signature, err := cms.Sign([]byte("body"), device().cert, device().key, cms.SignOptions{Detached: true})
	require.NoError(f, err)
	f.Add(base64.StdEncoding.EncodeToString(signature))
	f.Fuzz(func(t *testing.T, value string) {
		r := put()
		r.Header["Mdm-Signature"] = []string{value}
		p, err := identity.MDMSignature().Extract(r, []byte("body"))
		require.True(t, err != nil || p.Leaf != nil)
	})
}

func BenchmarkIssuedBy(b *testing.B) {
	v, err := identity.IssuedBy(identity.IssuerConfig{Roots: []*x509.Certificate{ours().root}, Intermediates: []*x509.Certificate{ours().intermediate}})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Validate(context.Background(), identity.Presented{Leaf: device().cert}, identity.Claim{}); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleProxy() {
	_, err := identity.Proxy(identity.ProxyConfig{Format: identity.RFC9440})
	fmt.Println(err)
	// Output: identity: ProxyConfig needs Trusted, Secret or Peer: else anybody could claim any certificate
}

func ExampleValidatorFunc() {
	// A vendor's own rule, beside the usual one.
	office := identity.ValidatorFunc(func(_ context.Context, p identity.Presented, _ identity.Claim) error {
		if p.Leaf.Issuer.CommonName != "intermediate" {
			return mdm.Errorf(mdm.Forbidden, "office", "not from our office")
		}
		return nil
	})
	fmt.Println(identity.All(office).Validate(context.Background(), identity.Presented{Leaf: device().cert}, identity.Claim{}))
	// Output: <nil>
}
