package enroll_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

func serviceConfig(anchors ...*pair) enroll.ServiceConfig {
	return enroll.ServiceConfig{DEPEnrollmentURL: "https://mdm.example.com/dep?a=1&b=2", AnchorCertsURL: "https://mdm.example.com/anchors",
		TrustProfileURL: "https://MDM.example.com:443/trust", Anchors: list(anchors...)}
}

func TestServiceConfigMatrix(t *testing.T) {
	private := root(t, "Example Root")
	pair := `"dep_enrollment_url":"https://mdm.example.com/dep?a=1&b=2","dep_anchor_certs_url":"https://mdm.example.com/anchors"`
	trust := `"trust_profile_url":"https://MDM.example.com:443/trust"`
	for name, c := range map[string]struct {
		config              enroll.ServiceConfig
		want                string
		anchors, trustFound int
	}{
		"private":               {serviceConfig(private), "{" + pair + "," + trust + "}", 1, http.StatusOK},
		"publicly trusted":      {serviceConfig(), "{" + pair + "}", 0, http.StatusNotFound},
		"no trust profile":      {enroll.ServiceConfig{DEPEnrollmentURL: "https://mdm.example.com/dep?a=1&b=2", AnchorCertsURL: "https://mdm.example.com/anchors"}, "{" + pair + "}", 0, http.StatusNotFound},
		"trust profile only":    {enroll.ServiceConfig{TrustProfileURL: "https://MDM.example.com:443/trust", Anchors: list(private)}, "{" + trust + "}", 0, http.StatusOK},
		"nothing needed at all": {enroll.ServiceConfig{TrustProfileURL: "https://MDM.example.com:443/trust"}, "{}", 0, http.StatusNotFound},
	} {
		h, err := c.config.Handler("mdm.example.com")
		require.NoError(t, err, name)
		res := ask(t, h, http.MethodGet, "https://mdm.example.com/MDMServiceConfig")
		assert.Equal(t, http.StatusOK, res.StatusCode, name)
		assert.Equal(t, []string{"application/json; charset=UTF8"}, res.Header["Content-Type"], name)
		assert.Equal(t, c.want, body(t, res), name)
		assert.Equal(t, c.trustFound, ask(t, h, http.MethodGet, "https://mdm.example.com/trust").StatusCode, name)
		res = ask(t, h, http.MethodGet, "https://mdm.example.com/anchors")
		if c.config.AnchorCertsURL == "" {
			assert.Equal(t, http.StatusNotFound, res.StatusCode, name)
			continue
		}
		assert.Equal(t, "application/json; charset=UTF8", res.Header.Get("Content-Type"))
		text := body(t, res)
		want, err := json.Marshal(c.config.AnchorCerts())
		require.NoError(t, err)
		assert.Equal(t, string(want), text, "usable unmodified as anchor_certs")
		read, err := enroll.ParseAnchors(strings.NewReader(text))
		require.NoError(t, err)
		assert.Len(t, read, c.anchors, name)
	}
}

func TestAnchorsDocument(t *testing.T) {
	assert.Equal(t, "[]", body(t, ask(t, serviceConfig().AnchorsHandler(), http.MethodGet, "/")))
	config := serviceConfig()
	config.EmptyAnchors = true
	res := ask(t, config.AnchorsHandler(), http.MethodGet, "/")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "0", res.Header.Get("Content-Length"))
	assert.Empty(t, body(t, res))

	private := root(t, "Example Root")
	config = serviceConfig(private, root(t, "Next Root"))
	config.EmptyAnchors = true // does not matter then
	certs := config.AnchorCerts()
	require.Len(t, certs, 2)
	assert.Equal(t, base64.StdEncoding.EncodeToString(private.cert.Raw), certs[0])
	assert.NotContains(t, certs[0], "\n")
	assert.Equal(t, `["`+certs[0]+`","`+certs[1]+`"]`, body(t, ask(t, config.AnchorsHandler(), http.MethodGet, "/")))
}

// Over a real connection: HEAD has the headers of GET, and nobody is asked who he is.
func TestServiceConfigIsForEverybody(t *testing.T) {
	h, err := serviceConfig(root(t, "Example Root")).Handler("")
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	for _, path := range []string{"/MDMServiceConfig", "/anchors", "/trust"} {
		get, err := http.Get(server.URL + path)
		require.NoError(t, err)
		text := body(t, get)
		require.NoError(t, get.Body.Close())
		assert.Equal(t, http.StatusOK, get.StatusCode, path)
		assert.Equal(t, int64(len(text)), get.ContentLength)
		head, err := http.Head(server.URL + path)
		require.NoError(t, err)
		require.NoError(t, head.Body.Close())
		assert.Equal(t, get.ContentLength, head.ContentLength, path)
		assert.Equal(t, get.Header["Content-Type"], head.Header["Content-Type"], path)
		post, err := http.Post(server.URL+path, "text/plain", strings.NewReader("x"))
		require.NoError(t, err)
		require.NoError(t, post.Body.Close())
		assert.Equal(t, http.StatusMethodNotAllowed, post.StatusCode, path)
		assert.Equal(t, "GET, HEAD", post.Header.Get("Allow"))
	}
	for _, path := range []string{"/", "/dep", "/anchors/", "/MDMServiceConfig/x"} {
		assert.Equal(t, http.StatusNotFound, ask(t, h, http.MethodGet, path).StatusCode, path)
	}
}

func TestServiceConfigOnSeveralHosts(t *testing.T) {
	config := serviceConfig(root(t, "Example Root"))
	config.AnchorCertsURL = "https://cdn.example.com/anchors"
	for host, want := range map[string][2]int{"mdm.example.com": {404, 200}, "CDN.example.com": {200, 404}, "": {200, 200}, "example.com": {404, 404}} {
		h, err := config.Handler(host)
		require.NoError(t, err)
		assert.Equal(t, want[0], ask(t, h, http.MethodGet, "/anchors").StatusCode, host)
		assert.Equal(t, want[1], ask(t, h, http.MethodGet, "/trust").StatusCode, host)
		assert.Equal(t, 200, ask(t, h, http.MethodGet, enroll.ServiceConfigPath).StatusCode, host)
	}
	config.AnchorCertsURL = "https://cdn.example.com/trust"
	_, err := config.Handler("cdn.example.com")
	require.NoError(t, err)
	_, err = config.Handler("")
	require.ErrorContains(t, err, "same path")
	config.AnchorCertsURL, config.TrustProfileURL = "https://cdn.example.com", "https://mdm.example.com/{x...}"
	h, err := config.Handler("")
	require.NoError(t, err, "a path is no pattern")
	assert.Equal(t, 200, ask(t, h, http.MethodGet, "/").StatusCode)
	assert.Equal(t, 404, ask(t, h, http.MethodGet, "/y").StatusCode)
}

func TestTrustProfile(t *testing.T) {
	first, second := root(t, "Example Root"), root(t, "Next Root")
	h := serviceConfig(first, second).TrustProfileHandler()
	res := ask(t, h, http.MethodGet, "/trust")
	assert.Equal(t, "application/x-apple-aspen-config", res.Header.Get("Content-Type"))
	text := body(t, res)
	assert.Equal(t, text, body(t, ask(t, serviceConfig(first, second).TrustProfileHandler(), http.MethodGet, "/")), "always the same")
	parsed, err := profile.Parse([]byte(text))
	require.NoError(t, err)
	p := parsed.Profile
	assert.Equal(t, "com.apple.config.mdm.example.com.ssl", p.Identifier)
	assert.Equal(t, profile.ScopeSystem, p.Scope)
	require.Len(t, p.Payloads, 2)
	for n, want := range []*pair{first, second} {
		require.Equal(t, "com.apple.security.root", p.Payloads[n].PayloadType())
		assert.Equal(t, want.cert.Raw, p.Payloads[n].(*profile.RootCertificate).PayloadContent)
	}
	alone, err := serviceConfig(second).TrustProfile()
	require.NoError(t, err)
	assert.Equal(t, p.Payloads[1].(*profile.RootCertificate).PayloadUUID, alone.Payloads[0].(*profile.RootCertificate).PayloadUUID,
		"a payload stays the same when others go")

	config := serviceConfig(first)
	config.Identifier, config.DisplayName, config.Organization = "com.example.trust", "Trust", "Example"
	p, err = config.TrustProfile()
	require.NoError(t, err)
	assert.Equal(t, []string{"com.example.trust", "Trust", "Example"}, []string{p.Identifier, p.DisplayName, p.Organization})
	_, err = serviceConfig().TrustProfile()
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err), "never an empty one")
	require.Error(t, err)
}

func TestTrustProfileIsAPropertyList(t *testing.T) {
	plistutil, err := exec.LookPath("plistutil")
	if err != nil && os.Getenv("APPLEMDM_TEST_TOOLS") != "" {
		require.NoError(t, err)
	}
	if err != nil {
		t.Skip("needs plistutil on the PATH")
	}
	config := serviceConfig(root(t, "Example Root"))
	file := filepath.Join(t.TempDir(), "trust.mobileconfig")
	text := body(t, ask(t, config.TrustProfileHandler(), http.MethodGet, "/"))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	out, err := exec.CommandContext(t.Context(), plistutil, "-i", file, "-f", "bin").Output()
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(out, []byte("bplist")))
	parsed, err := profile.Parse(out)
	require.NoError(t, err)
	want, err := config.TrustProfile()
	require.NoError(t, err)
	require.Len(t, parsed.Profile.Payloads, 1)
	assert.Equal(t, want.Payloads[0].(*profile.RootCertificate).PayloadContent, parsed.Profile.Payloads[0].(*profile.RootCertificate).PayloadContent)
}

func TestServiceConfigValidate(t *testing.T) {
	private := root(t, "Example Root")
	require.NoError(t, serviceConfig(private).Validate())
	for want, change := range map[string]func(*enroll.ServiceConfig){
		"no URL":                                        func(c *enroll.ServiceConfig) { *c = enroll.ServiceConfig{} },
		"both or none":                                  func(c *enroll.ServiceConfig) { c.AnchorCertsURL = "" },
		"set both":                                      func(c *enroll.ServiceConfig) { c.DEPEnrollmentURL = "" },
		"DEPEnrollmentURL is not https":                 func(c *enroll.ServiceConfig) { c.DEPEnrollmentURL = "http://mdm.example.com/dep" },
		"AnchorCertsURL is not https":                   func(c *enroll.ServiceConfig) { c.AnchorCertsURL = "mdm.example.com/anchors" },
		"TrustProfileURL is no URL":                     func(c *enroll.ServiceConfig) { c.TrustProfileURL = "https://%zz" },
		"TrustProfileURL has no host":                   func(c *enroll.ServiceConfig) { c.TrustProfileURL = "https:///trust" },
		"TrustProfileURL has a fragment":                func(c *enroll.ServiceConfig) { c.TrustProfileURL += "#x" },
		"holds a user name":                             func(c *enroll.ServiceConfig) { c.TrustProfileURL = "https://a:b@mdm.example.com/trust" },
		"too long":                                      func(c *enroll.ServiceConfig) { c.DEPEnrollmentURL += strings.Repeat("x", 2000) },
		"and TrustProfileURL are the same":              func(c *enroll.ServiceConfig) { c.TrustProfileURL = c.AnchorCertsURL + "?x=1" },
		"the service configuration itself":              func(c *enroll.ServiceConfig) { c.TrustProfileURL = "https://mdm.example.com/MDMServiceConfig" },
		"is nil":                                        func(c *enroll.ServiceConfig) { c.Anchors = []*x509.Certificate{nil} },
		"is no CA certificate":                          func(c *enroll.ServiceConfig) { c.Anchors = append(c.Anchors, private.server(t, nil)) },
		"name the root":                                 func(c *enroll.ServiceConfig) { c.Anchors = list(private.intermediate(t, "between")) },
		"anchor 2, \"CN=Example Root\", is there twice": func(c *enroll.ServiceConfig) { c.Anchors = list(private, private) },
	} {
		config := serviceConfig(private)
		change(&config)
		err := config.Validate()
		require.ErrorContains(t, err, want)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), want)
		_, err = config.Handler("")
		require.Error(t, err, want)
	}
}

func TestParseAnchors(t *testing.T) {
	private := root(t, "Example Root")
	text := serviceConfig(private).AnchorCerts()[0]
	broken := text[:64] + `\n` + text[64:128] + `\r\n` + text[128:] + `\n`
	for name, doc := range map[string]string{"plain": `["` + text + `"]`, "line breaks": "\n[ \"" + broken + "\" ]\n"} {
		certs, err := enroll.ParseAnchors(strings.NewReader(doc))
		require.NoError(t, err, name)
		require.Len(t, certs, 1, name)
		assert.True(t, certs[0].Equal(private.cert), name)
	}
	for _, doc := range []string{"", "  \n", "[]"} {
		certs, err := enroll.ParseAnchors(strings.NewReader(doc))
		require.NoError(t, err, doc)
		assert.Empty(t, certs)
	}
	for _, doc := range []string{"null", "{}", "x", `"` + text + `"`, "[1]", "[null]", `[""]`, `["x"]`, `["AAAA"]`, `["` + text + `"`, `["` + text + `"] x`} {
		_, err := enroll.ParseAnchors(strings.NewReader(doc))
		require.Error(t, err, doc)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), doc)
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(fmt.Sprintf("%q,", text), enroll.MaxAnchors+1), ",") + "]"
	require.Less(t, len(many), enroll.MaxAnchorsSize, "so that it is the number that is too large")
	for _, doc := range []string{many, "[" + strings.Repeat(" ", enroll.MaxAnchorsSize) + "]"} {
		_, err := enroll.ParseAnchors(strings.NewReader(doc))
		require.Error(t, err)
		assert.Equal(t, mdm.TooLarge, mdm.CodeOf(err))
	}
}

func FuzzParseAnchors(f *testing.F) {
	config := serviceConfig(root(f, "Example Root"), root(f, "Next Root"))
	doc, err := json.Marshal(config.AnchorCerts())
	require.NoError(f, err)
	f.Add(doc)
	f.Add([]byte(`["AAAA\n"]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := enroll.ParseAnchors(bytes.NewReader(data))
		if err != nil {
			require.Contains(t, []mdm.Code{mdm.Malformed, mdm.TooLarge}, mdm.CodeOf(err))
			return
		}
		again, err := json.Marshal(enroll.ServiceConfig{Anchors: certs}.AnchorCerts())
		require.NoError(t, err)
		same, err := enroll.ParseAnchors(bytes.NewReader(again))
		require.NoError(t, err)
		require.Len(t, same, len(certs))
		for n := range certs {
			require.True(t, certs[n].Equal(same[n]))
		}
	})
}
