package identity_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func anyone(*http.Request) bool { return true }

// proxyFor trusts the peer of put, which is 192.0.2.1.
func proxyFor(t testing.TB, format identity.Format, header string) identity.Extractor {
	t.Helper()
	e, err := identity.Proxy(identity.ProxyConfig{Format: format, Header: header, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	require.NoError(t, err)
	return e
}

func TestProxyConfig(t *testing.T) {
	t.Parallel()
	secret := mdm.SecretString("s")
	for name, tt := range map[string]struct {
		config identity.ProxyConfig
		ok     bool
	}{
		"nothing":                   {identity.ProxyConfig{}, false},
		"no format":                 {identity.ProxyConfig{Peer: anyone}, false},
		"no such format":            {identity.ProxyConfig{Format: identity.AWSALBPassthrough + 1, Header: "X", Peer: anyone}, false},
		"trusts everybody":          {identity.ProxyConfig{Format: identity.RFC9440}, false},
		"no header to read":         {identity.ProxyConfig{Format: identity.EscapedPEM, Peer: anyone}, false},
		"nor here":                  {identity.ProxyConfig{Format: identity.FoldedPEM, Peer: anyone}, false},
		"secret without its header": {identity.ProxyConfig{Format: identity.RFC9440, Secret: secret}, false},
		"header without its secret": {identity.ProxyConfig{Format: identity.RFC9440, Peer: anyone, SecretHeader: "X-Secret"}, false},
		"empty secret":              {identity.ProxyConfig{Format: identity.RFC9440, Secret: mdm.SecretString(""), SecretHeader: "X-Secret"}, false},
		"zero prefix":               {identity.ProxyConfig{Format: identity.RFC9440, Trusted: []netip.Prefix{{}}}, false},
		"mapped prefix":             {identity.ProxyConfig{Format: identity.RFC9440, Trusted: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}, false},
		"peer":                      {identity.ProxyConfig{Format: identity.RFC9440, Peer: anyone}, true},
		"secret":                    {identity.ProxyConfig{Format: identity.AWSALB, Secret: secret, SecretHeader: "X-Secret"}, true},
		"header of one's own":       {identity.ProxyConfig{Format: identity.FoldedPEM, Header: "X", Peer: anyone}, true},
	} {
		_, err := identity.Proxy(tt.config)
		assert.Equal(t, tt.ok, err == nil, "%s: %v", name, err)
	}
}

func TestProxyMustBeTrusted(t *testing.T) {
	t.Parallel()
	local := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::/10")}
	address := identity.ProxyConfig{Trusted: local}
	secret := identity.ProxyConfig{Secret: mdm.SecretString("hunter2"), SecretHeader: "X-Proxy-Secret"}
	both := identity.ProxyConfig{Trusted: local, Secret: secret.Secret, SecretHeader: secret.SecretHeader}
	peer := identity.ProxyConfig{Peer: func(r *http.Request) bool { return r.TLS != nil && len(r.TLS.PeerCertificates) == 1 }}
	from := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
	says := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["X-Proxy-Secret"] = values }
	}
	tests := map[string]struct {
		config identity.ProxyConfig
		change []func(*http.Request)
		ok     bool
	}{
		"address":              {address, []func(*http.Request){from("10.1.2.3:4")}, true},
		"mapped address":       {address, []func(*http.Request){from("[::ffff:10.1.2.3]:4")}, true},
		"IPv6":                 {address, []func(*http.Request){from("[::1]:4")}, true},
		"another address":      {address, []func(*http.Request){from("203.0.113.1:4")}, false},
		"an address of a zone": {address, []func(*http.Request){from("[fe80::1%eth0]:4")}, false},
		"no port":              {address, []func(*http.Request){from("10.1.2.3")}, false},
		"no address":           {address, []func(*http.Request){from("@")}, false},
		"nothing":              {address, []func(*http.Request){from("")}, false},
		"an address it claims": {address, []func(*http.Request){func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.1.2.3") }}, false},
		"secret":               {secret, []func(*http.Request){says("hunter2")}, true},
		"wrong secret":         {secret, []func(*http.Request){says("hunter3")}, false},
		"a part of the secret": {secret, []func(*http.Request){says("hunter")}, false},
		"two secrets":          {secret, []func(*http.Request){says("hunter2", "hunter2")}, false},
		"no secret":            {secret, []func(*http.Request){says()}, false},
		"no peer":              {peer, nil, false},
		"both hold":            {both, []func(*http.Request){from("10.1.2.3:4"), says("hunter2")}, true},
		"only the address":     {both, []func(*http.Request){from("10.1.2.3:4")}, false},
		"only the secret":      {both, []func(*http.Request){says("hunter2")}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.config.Format = identity.RFC9440
			e, err := identity.Proxy(tt.config)
			require.NoError(t, err)
			r := put()
			for _, change := range tt.change {
				change(r)
			}
			r.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(device().cert.Raw)+":")
			p, err := e.Extract(r, nil)
			if tt.ok {
				require.NoError(t, err)
				assert.True(t, p.Leaf.Equal(device().cert))
				assert.Equal(t, "proxy", p.Via)
				return
			}
			require.Error(t, err)
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
			assert.NotContains(t, err.Error(), "hunter")
			r.Header.Set("Client-Cert", "garbage")
			_, err = e.Extract(r, nil)
			assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "of a stranger, the header is not even looked at")
		})
	}
}

func ExampleProxy() {
	_, err := identity.Proxy(identity.ProxyConfig{Format: identity.RFC9440})
	fmt.Println(err)

	nginx, err := identity.Proxy(identity.ProxyConfig{
		Format:  identity.EscapedPEM,
		Header:  "X-Ssl-Client-Cert", // proxy_set_header X-Ssl-Client-Cert $ssl_client_escaped_cert;
		Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
	})
	if err != nil {
		panic(err)
	}
	r := put() // not from the proxy
	r.Header.Set("X-Ssl-Client-Cert", "whatever")
	_, err = nginx.Extract(r, nil)
	fmt.Println(err)
	// Output:
	// identity: ProxyConfig needs Trusted, Secret or Peer: else anybody could claim any certificate
	// identity.Proxy: forbidden: the peer is not the trusted proxy
}
