package identity_test

import (
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// plusDevice is a device whose certificate has a + in its base64, which a wrong unescaping turns into a space.
var plusDevice = sync.OnceValue(func() *x509.Certificate {
	for serial := int64(1); ; serial++ {
		template := leafTemplate(-time.Hour, time.Hour)
		template.SerialNumber = big.NewInt(serial)
		cert := create(template, newKey(), ours().intermediate).cert
		if strings.Contains(base64.StdEncoding.EncodeToString(cert.Raw), "+") {
			return cert
		}
	}
})

// sequence is a byte sequence of RFC 8941.
func sequence(c *x509.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":"
}

// escaped is PEM as load balancers escape it: + = and / are left alone.
func escaped(certs ...*x509.Certificate) string {
	return strings.NewReplacer(" ", "%20", "\n", "%0A").Replace(pemOf(certs...))
}

// fully is PEM as nginx and Envoy escape it.
func fully(certs ...*x509.Certificate) string {
	return strings.ReplaceAll(url.QueryEscape(pemOf(certs...)), "+", "%20")
}

func one(name, value string) http.Header { return http.Header{name: {value}} }

func xfcc(value string) http.Header { return one("X-Forwarded-Client-Cert", value) }

func TestProxyFormats(t *testing.T) {
	t.Parallel()
	leaf, above, root := plusDevice(), ours().intermediate.cert, ours().root.cert
	hash, other := mdm.FingerprintOf(leaf).String(), mdm.FingerprintOf(above).String()
	folded := strings.ReplaceAll(strings.TrimSpace(pemOf(leaf)), "\n", " ")
	tabbed := strings.ReplaceAll(pemOf(leaf), "\n", "\n\t")
	damaged := strings.Replace(pemOf(leaf), "MII", "M!I", 1)
	const nginx, apache, alb, passthrough = "X-Ssl-Cert", "Ssl_client_cert", "X-Amzn-Mtls-Clientcert-Leaf", "X-Amzn-Mtls-Clientcert"
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat(sequence(above)+", ", n), ", ") }
	tests := map[string]struct {
		format identity.Format
		name   string
		header http.Header
		chain  int // intermediates; -1: refused
	}{
		"RFC 9440":                   {identity.RFC9440, "", one("Client-Cert", sequence(leaf)), 0},
		"RFC 9440, chain":            {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {sequence(above) + ", " + sequence(root)}}, 2},
		"RFC 9440, chain in parts":   {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {sequence(above), sequence(root)}}, 2},
		"RFC 9440, empty chain":      {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {""}}, 0},
		"RFC 9440, longest chain":    {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {list(7)}}, 7},
		"RFC 9440, too long a chain": {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {list(8)}}, -1},
		"RFC 9440, ever more parts":  {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {list(5), list(5)}}, -1},
		"RFC 9440, huge chain":       {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {strings.Repeat("A", 33<<10)}}, -1},
		"RFC 9440, hole in a chain":  {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf)}, "Client-Cert-Chain": {sequence(above) + ",,"}}, -1},
		"RFC 9440, two headers":      {identity.RFC9440, "", http.Header{"Client-Cert": {sequence(leaf), sequence(leaf)}}, -1},
		"RFC 9440, two in one":       {identity.RFC9440, "", one("Client-Cert", sequence(leaf)+", "+sequence(above)), -1},
		"RFC 9440, chain alone":      {identity.RFC9440, "", one("Client-Cert-Chain", sequence(above)), -1},
		"RFC 9440, no colons":        {identity.RFC9440, "", one("Client-Cert", strings.Trim(sequence(leaf), ":")), -1},
		"RFC 9440, a single colon":   {identity.RFC9440, "", one("Client-Cert", ":"), -1},
		"RFC 9440, no certificate":   {identity.RFC9440, "", one("Client-Cert", ":AAAA:"), -1},
		"RFC 9440, not base64":       {identity.RFC9440, "", one("Client-Cert", ":?:"), -1},

		"nginx":                   {identity.EscapedPEM, nginx, one(nginx, fully(leaf)), 0},
		"nginx, two headers":      {identity.EscapedPEM, nginx, http.Header{nginx: {fully(leaf), fully(leaf)}}, -1},
		"nginx, two in one":       {identity.EscapedPEM, nginx, one(nginx, fully(leaf)+","+fully(leaf)), -1},
		"nginx, two certificates": {identity.EscapedPEM, nginx, one(nginx, fully(leaf, above)), -1},
		"nginx, empty":            {identity.EscapedPEM, nginx, one(nginx, ""), -1},
		"nginx, half an escape":   {identity.EscapedPEM, nginx, one(nginx, fully(leaf)+"%0"), -1},
		"nginx, another spelling": {identity.EscapedPEM, nginx, one("X_ssl_cert", fully(leaf)), -1},
		"nginx, too long":         {identity.EscapedPEM, nginx, one(nginx, fully(leaf)+strings.Repeat("%0A", 11<<10)), -1},
		"nginx, a key":            {identity.EscapedPEM, nginx, one(nginx, url.PathEscape("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")), -1},
		"nginx, words before it":  {identity.EscapedPEM, nginx, one(nginx, "SUCCESS%0A"+fully(leaf)), -1},
		"nginx, words after it":   {identity.EscapedPEM, nginx, one(nginx, fully(leaf)+"SUCCESS"), -1},
		"nginx, no end":           {identity.EscapedPEM, nginx, one(nginx, "-----BEGIN%20CERTIFICATE-----%0AAAAA"), -1},

		"Apache":        {identity.FoldedPEM, apache, one(apache, folded), 0},
		"Apache, tabs":  {identity.FoldedPEM, apache, one(apache, tabbed), 0},
		"Apache, two":   {identity.FoldedPEM, apache, one(apache, folded+" "+folded), -1},
		"Apache, null":  {identity.FoldedPEM, apache, one(apache, "(null)"), -1},
		"Apache, empty": {identity.FoldedPEM, apache, one(apache, ""), -1},

		"ALB":                         {identity.AWSALB, "", one(alb, escaped(leaf)), 0},
		"ALB, two certificates":       {identity.AWSALB, "", one(alb, escaped(leaf, above)), -1},
		"ALB, the other mode":         {identity.AWSALB, "", one(passthrough, escaped(leaf)), -1},
		"ALB passthrough":             {identity.AWSALBPassthrough, "", one(passthrough, escaped(leaf, above)), 1},
		"ALB passthrough, long":       {identity.AWSALBPassthrough, "", one(passthrough, escaped(leaf, above, above, above, above, above, above, above, above)), -1},
		"ALB passthrough, leaf lost":  {identity.AWSALBPassthrough, "", one(passthrough, url.PathEscape(damaged+pemOf(above))), -1},
		"ALB passthrough, other mode": {identity.AWSALBPassthrough, "", one(alb, escaped(leaf)), -1},

		"Envoy":                 {identity.EnvoyXFCC, "", xfcc(`By=spiffe://x;Hash=` + hash + `;Cert="` + fully(leaf) + `";Subject="CN=a,O=\"b;c\\\"";URI=`), 0},
		"Envoy, other case":     {identity.EnvoyXFCC, "", xfcc(`HASH=` + strings.ToUpper(hash) + `; CERT = "` + fully(leaf) + `"`), -1},
		"Envoy, case of keys":   {identity.EnvoyXFCC, "", xfcc(`HASH=` + strings.ToUpper(hash) + `; CERT="` + fully(leaf) + `"`), 0},
		"Envoy, without quotes": {identity.EnvoyXFCC, "", xfcc(`Cert=` + fully(leaf)), 0},
		"Envoy, + left alone":   {identity.EnvoyXFCC, "", xfcc(`Cert="` + escaped(leaf) + `"`), 0},
		"Envoy, chain":          {identity.EnvoyXFCC, "", xfcc(`Cert="` + fully(leaf) + `";Chain="` + fully(leaf, above) + `"`), 1},
		"Envoy, chain only":     {identity.EnvoyXFCC, "", xfcc(`Chain="` + fully(leaf, above) + `"`), -1},
		"Envoy, chain of words": {identity.EnvoyXFCC, "", xfcc(`Cert="` + fully(leaf) + `";Chain="x"`), -1},
		"Envoy, two elements":   {identity.EnvoyXFCC, "", xfcc(`Cert="` + fully(above) + `",Cert="` + fully(leaf) + `"`), -1},
		"Envoy, two headers":    {identity.EnvoyXFCC, "", http.Header{"X-Forwarded-Client-Cert": {`Cert=` + fully(leaf), `Cert=` + fully(leaf)}}, -1},
		"Envoy, Cert twice":     {identity.EnvoyXFCC, "", xfcc(`Cert="` + fully(leaf) + `";cert="` + fully(above) + `"`), -1},
		"Envoy, two in Cert":    {identity.EnvoyXFCC, "", xfcc(`Cert="` + fully(leaf, above) + `"`), -1},
		"Envoy, only a hash":    {identity.EnvoyXFCC, "", xfcc(`Hash=` + hash), -1},
		"Envoy, another's hash": {identity.EnvoyXFCC, "", xfcc(`Hash=` + other + `;Cert="` + fully(leaf) + `"`), -1},
		"Envoy, unclosed":       {identity.EnvoyXFCC, "", xfcc(`Cert="` + fully(leaf)), -1},
		"Envoy, unclosed by \\": {identity.EnvoyXFCC, "", xfcc(`Cert="` + fully(leaf) + `\"`), -1},
		"Envoy, empty":          {identity.EnvoyXFCC, "", xfcc(""), -1},
		// A stranger's certificate, whose names were made for this; Envoy is set to forward them and not the certificate.
		"Envoy, a forged pair":      {identity.EnvoyXFCC, "", xfcc(`Hash=` + other + `;URI=x;Cert="` + fully(leaf) + `"`), -1},
		"Envoy, a forged hash, too": {identity.EnvoyXFCC, "", xfcc(`Hash=` + other + `;URI=x;Hash=` + hash + `;Cert="` + fully(leaf) + `"`), -1},
		"Envoy, a forged element":   {identity.EnvoyXFCC, "", xfcc(`Hash=` + other + `;URI=x,Hash=` + hash + `;Cert="` + fully(leaf) + `"`), -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := put()
			r.Header = tt.header
			p, err := proxyFor(t, tt.format, tt.name).Extract(r, nil)
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

// TestOnlyItsOwnHeader sends the headers of all formats at once: a device could, if the proxy does not drop them.
func TestOnlyItsOwnHeader(t *testing.T) {
	t.Parallel()
	spoofed := ours().leaf(-time.Hour, time.Hour).cert
	headers := map[string]func(*x509.Certificate) string{
		"Client-Cert": sequence, "X-Forwarded-Client-Cert": func(c *x509.Certificate) string { return `Cert="` + fully(c) + `"` },
		"X-Amzn-Mtls-Clientcert-Leaf": func(c *x509.Certificate) string { return escaped(c) },
		"X-Amzn-Mtls-Clientcert":      func(c *x509.Certificate) string { return escaped(c) },
	}
	for format, own := range map[identity.Format]string{
		identity.RFC9440: "Client-Cert", identity.EnvoyXFCC: "X-Forwarded-Client-Cert",
		identity.AWSALB: "X-Amzn-Mtls-Clientcert-Leaf", identity.AWSALBPassthrough: "X-Amzn-Mtls-Clientcert",
	} {
		r := put()
		for name, write := range headers {
			r.Header.Set(name, write(spoofed))
		}
		r.Header.Set(own, headers[own](plusDevice()))
		p, err := proxyFor(t, format, "").Extract(r, nil)
		require.NoError(t, err, own)
		assert.True(t, p.Leaf.Equal(plusDevice()), own)
		r.Header.Del(own)
		_, err = proxyFor(t, format, "").Extract(r, nil)
		require.Error(t, err, own)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), own)
	}
}

// extracted checks what holds of every header, and returns the leaf; nil if the header was refused.
func extracted(t *testing.T, e identity.Extractor, h http.Header) *x509.Certificate {
	r := put()
	r.Header = h
	p, err := e.Extract(r, nil)
	if err != nil {
		require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		return nil
	}
	require.NotNil(t, p.Leaf)
	require.NotContains(t, p.Intermediates, nil)
	return p.Leaf
}

func FuzzClientCert(f *testing.F) {
	f.Add(sequence(device().cert), sequence(ours().intermediate.cert)+", "+sequence(ours().root.cert))
	f.Add(sequence(device().cert)+";a=1", "")
	f.Add(":AAAA:", ":BBBB:,,")
	f.Add("::", ":")
	e := proxyFor(f, identity.RFC9440, "")
	f.Fuzz(func(t *testing.T, value, chain string) {
		leaf := extracted(t, e, http.Header{"Client-Cert": {value}, "Client-Cert-Chain": {chain}})
		if leaf != nil { // what is accepted has one spelling; base64 passes over line ends, which no header has
			spelling := strings.NewReplacer("\r", "", "\n", "").Replace(strings.TrimSpace(value))
			require.Equal(t, sequence(leaf), spelling)
		}
	})
}

func FuzzXFCC(f *testing.F) {
	cert, chain := fully(device().cert), fully(device().cert, ours().intermediate.cert)
	hash := mdm.FingerprintOf(device().cert).String()
	f.Add(`By=spiffe://x;Hash=` + hash + `;Cert="` + cert + `";Chain="` + chain + `";Subject="CN=\"a;b\",O=c";URI=,`)
	f.Add(`Hash=` + hash + `;Cert=` + cert)
	f.Add(`Cert="` + cert + `",Cert="` + cert + `"`)
	f.Add(`Cert="\"%2D";Chain=x,By="\"`)
	e := proxyFor(f, identity.EnvoyXFCC, "")
	f.Fuzz(func(t *testing.T, value string) {
		leaf := extracted(t, e, xfcc(value))
		if leaf == nil {
			return
		}
		// Nobody can put his pairs or elements behind, or before, those of the proxy.
		more := `Cert="` + fully(ours().intermediate.cert) + `"`
		for _, forged := range []string{value + "," + more, value + ";" + more, more + "," + value, more + ";" + value} {
			require.Nil(t, extracted(t, e, xfcc(forged)))
		}
	})
}

func FuzzPEM(f *testing.F) {
	f.Add(fully(device().cert))
	f.Add(escaped(device().cert, ours().intermediate.cert))
	f.Add("-----BEGIN%20CERTIFICATE-----AAAA-----END%20CERTIFICATE-----")
	escapedPEM, folded := proxyFor(f, identity.AWSALBPassthrough, "X"), proxyFor(f, identity.FoldedPEM, "X")
	f.Fuzz(func(t *testing.T, value string) {
		leaf := extracted(t, escapedPEM, one("X", value))
		if leaf == nil {
			return
		}
		text, err := url.PathUnescape(value)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN CERTIFICATE-----"), "nothing was passed over")
		if same := extracted(t, folded, one("X", strings.Join(strings.Fields(text), " "))); same != nil {
			require.True(t, leaf.Equal(same), "however lines end, it is the same leaf")
		}
	})
}
