package mdmtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/profile"
)

// front is a server with two names, an address of this computer and localhost, before the MDM server of a world.
type front struct {
	*httptest.Server
	mux  *http.ServeMux
	cert *x509.Certificate
	ip   net.IP
}

func (f *front) local() string { return strings.Replace(f.URL, f.ip.String(), "localhost", 1) }

func (w *world) front() *front { return w.frontAt(net.IPv4(127, 0, 0, 1)) }

func (w *world) frontAt(ip net.IP) *front {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{ip}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(w.t, err)
	f := &front{mux: http.NewServeMux(), ip: ip}
	f.cert, err = x509.ParseCertificate(der)
	require.NoError(w.t, err)
	f.Server = httptest.NewUnstartedServer(f.mux)
	require.NoError(w.t, f.Listener.Close())
	f.Listener, err = (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", net.JoinHostPort(ip.String(), "0"))
	if err != nil {
		w.t.Skipf("this computer has no address %s: %v", ip, err)
	}
	f.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	f.StartTLS()
	w.t.Cleanup(f.Close)
	f.mux.HandleFunc("/profile", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", profile.ContentType)
		_, _ = rw.Write(w.enrollment(mdm.PurposeEnroll, ""))
	})
	return f
}

func page(rw http.ResponseWriter, form string) {
	rw.Header().Set("Content-Type", "text/html")
	_, _ = fmt.Fprint(rw, "<html><body>", form)
}

// A device that Apple's customer has assigned finds its profile at Apple and enrolls under it.
func TestSetupAssistantByABM(t *testing.T) {
	w := newWorld(t, nil)
	f := w.front()
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	abm.AddSerials(hq, "C02XYZ")
	newABMClient(t, abm, hq, nil).call("POST", "/profile", object{"profile_name": "All", "url": f.URL + "/profile", "devices": []string{"C02XYZ"},
		"anchor_certs": []string{base64.StdEncoding.EncodeToString(f.cert.Raw)}, "is_supervised": true, "is_mdm_removable": false,
		"skip_setup_items": []string{"Siri"}}, nil)
	data, ok := abm.Activate("C02XYZ")
	require.True(t, ok)
	a, err := mdmtest.ParseAssignment(data)
	require.NoError(t, err)
	assert.Equal(t, mdmtest.Assignment{URL: f.URL + "/profile", AnchorCerts: []*x509.Certificate{f.cert}, IsSupervised: true, SkipSetupItems: []string{"Siri"}}, a)
	d := w.device(mdmtest.Config{SerialNumber: "C02XYZ"})
	report, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: a})
	require.NoError(t, err)
	assert.NotContains(t, report.Panes, "Siri")
	require.ErrorIs(t, d.CheckOut(t.Context()), mdmtest.ErrNotRemovable)

	a, err = mdmtest.ParseAssignment([]byte(`{"url":"https://a","configuration_web_url":"https://b","await_device_configured":true}`))
	require.NoError(t, err)
	assert.Equal(t, mdmtest.Assignment{URL: "https://a", WebURL: "https://b", IsMDMRemovable: true, AwaitDeviceConfigured: true}, a)
	for _, bad := range []string{``, `[]`, `{"anchor_certs":["!"]}`, `{"anchor_certs":["AAAA"]}`} {
		_, err := mdmtest.ParseAssignment([]byte(bad))
		require.Error(t, err, bad)
	}
}

// What a server can do wrong in Setup Assistant, a device does not put up with.
func TestBadSetupAssistants(t *testing.T) {
	w := newWorld(t, nil)
	f := w.front()
	f.mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/elsewhere":
			http.Redirect(rw, r, f.local()+"/profile", http.StatusFound)
		case "/text":
			_, _ = rw.Write([]byte("welcome"))
		case "/no-form":
			page(rw, "<p>welcome")
		case "/endless":
			page(rw, `<form action="/endless"><input name="n" value="1"></form>`)
		case "/unknown":
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte(`{"code":"com.example.new","message":"Not today."}`))
		case "/sha":
			rw.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n", algorithm=SHA-256`)
			rw.WriteHeader(http.StatusUnauthorized)
		case "/bearer":
			rw.Header().Set("WWW-Authenticate", `Bearer`)
			rw.WriteHeader(http.StatusUnauthorized)
		default:
			http.NotFound(rw, r)
		}
	})
	for path, want := range map[string]string{
		"web /elsewhere": "not in the domain", "web /text": "instead of a profile", "web /no-form": "without a form", "web /endless": "no end",
		"web /unknown": "com.example.new Not today.", "web /nowhere": "404", "post /text": "instead of a profile", "post /unknown": "com.example.new",
		"post /sha": "does not understand", "post /bearer": "401", "post /nowhere": "404",
	} {
		d := w.device(mdmtest.Config{})
		a := mdmtest.Assignment{AnchorCerts: []*x509.Certificate{f.cert}}
		kind, at, _ := strings.Cut(path, " ")
		if kind == "web" {
			a.WebURL = f.URL + at
		} else {
			a.URL = f.URL + at
		}
		_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: a, User: "ada", Password: "x", CanUpdate: true})
		require.ErrorContains(t, err, want, path)
		assert.False(t, d.Managed(), path)
		_, assigned := d.Assigned()
		assert.False(t, assigned, path)
	}
}

func TestSetupAssistantPins(t *testing.T) {
	w := newWorld(t, nil)
	f := w.front()
	w.roots.AddCert(f.cert) // trusted by the system
	for name, tt := range map[string]struct {
		a  mdmtest.Assignment
		ok bool
	}{
		"trusted by the system": {mdmtest.Assignment{URL: f.URL + "/profile"}, true},
		"pinned":                {mdmtest.Assignment{URL: f.URL + "/profile", AnchorCerts: []*x509.Certificate{f.cert}}, true},
		"pinned to another":     {mdmtest.Assignment{URL: f.URL + "/profile", AnchorCerts: []*x509.Certificate{w.https.Certificate()}}, false},
		"web, by name":          {mdmtest.Assignment{WebURL: f.local() + "/profile", AnchorCerts: []*x509.Certificate{f.cert}}, true},
		"web, to another":       {mdmtest.Assignment{WebURL: f.local() + "/profile", AnchorCerts: []*x509.Certificate{w.https.Certificate()}}, false},
		"no https":              {mdmtest.Assignment{URL: "http://127.0.0.1/profile"}, false},
	} {
		d := w.device(mdmtest.Config{})
		_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: tt.a})
		if tt.ok {
			require.NoError(t, err, name)
		} else {
			require.Error(t, err, name)
		}
		assert.Equal(t, tt.ok, d.Managed(), name)
	}
}

// A web view goes on to hosts that the system trusts, whatever they are called; only the first is pinned. It never leaves TLS.
func TestSetupAssistantLeaves(t *testing.T) {
	w := newWorld(t, nil)
	f, other := w.front(), w.front()
	w.roots.AddCert(other.cert) // trusted by the system, as an identity provider is
	plain := httptest.NewServer(f.mux)
	t.Cleanup(plain.Close)
	to := ""
	f.mux.HandleFunc("/leave", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, to, http.StatusFound) })
	back := "https://127.0.0.1:0"
	other.mux.HandleFunc("/back", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, back, http.StatusFound) })
	for name, tt := range map[string]struct {
		first, to, back string
		want            string // empty: it is enrolled
	}{
		"from a name to an address": {f.local(), other.URL + "/back", f.local() + "/profile", ""},
		"from an address to a name": {f.URL, other.local() + "/back", f.URL + "/profile", ""},
		"to the first in capitals":  {f.local(), strings.Replace(other.local(), "localhost", "LOCALHOST", 1) + "/back", f.local() + "/profile", "unknown authority"},
		"to no TLS":                 {f.URL, plain.URL + "/profile", "", "no https"},
	} {
		d := w.device(mdmtest.Config{})
		to, back = tt.to, tt.back
		_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: mdmtest.Assignment{WebURL: tt.first + "/leave", AnchorCerts: []*x509.Certificate{f.cert}}})
		if tt.want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, tt.want, name)
		}
		assert.Equal(t, tt.want == "", d.Managed(), name)
	}
}

// A 403 is what its Content-Type says, with Apple's keys as Apple writes them and all that it needs, or it is nothing.
func TestSetupAssistantDemands(t *testing.T) {
	const asks = `{"code":"com.apple.softwareupdate.required","details":{"OSVersion":"18.3"}}`
	const plist = `<plist version="1.0"><dict><key>code</key><string>com.apple.softwareupdate.required</string>
		<key>details</key><dict><key>OSVersion</key><string>18.3</string></dict></dict></plist>`
	w := newWorld(t, nil)
	for name, tt := range map[string]struct{ kind, body, want string }{
		"JSON":                      {"application/json; charset=utf-8", asks, ""},
		"a property list":           {"application/xml", plist, ""},
		"JSON that says it is XML":  {"application/xml", asks, "ends: 403"},
		"XML that says it is JSON":  {"application/json", plist, "ends: 403"},
		"another type":              {"text/plain", asks, "ends: 403"},
		"keys in capitals":          {"application/json", strings.ReplaceAll(asks, "code", "Code"), "ends: 403"},
		"details in capitals":       {"application/json", strings.ReplaceAll(asks, "details", "Details"), "details"},
		"no version":                {"application/json", strings.ReplaceAll(asks, `"OSVersion":"18.3"`, ""), "OSVersion"},
		"a version that is no text": {"application/json", strings.ReplaceAll(asks, `"18.3"`, "18.3"), "OSVersion"},
	} {
		f := w.front()
		updated := false
		f.mux.HandleFunc("/enroll", func(rw http.ResponseWriter, r *http.Request) {
			if updated {
				http.Redirect(rw, r, "/profile", http.StatusSeeOther)
				return
			}
			rw.Header().Set("Content-Type", tt.kind)
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte(tt.body))
		})
		d := w.device(mdmtest.Config{})
		report, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: mdmtest.Assignment{URL: f.URL + "/enroll", AnchorCerts: []*x509.Certificate{f.cert}},
			CanUpdate: true, Update: func(to enroll.ErrorSoftwareUpdateRequiredDetails) error { updated = true; return nil }})
		if tt.want == "" {
			require.NoError(t, err, name)
			assert.Equal(t, []string{"18.3"}, report.Updates, name)
			continue
		}
		require.ErrorContains(t, err, tt.want, name)
		assert.False(t, updated, name)
	}
}

// Cookies are a browser's: SameSite keeps them from what another site sends, and a prefix from what it must not come with.
func TestSetupAssistantCookies(t *testing.T) {
	w := newWorld(t, nil)
	f, other := w.front(), w.front()
	w.roots.AddCert(other.cert)
	var seen []string
	note := func(r *http.Request) {
		var names []string
		for _, c := range r.Cookies() {
			names = append(names, c.Name)
		}
		seen = append(seen, r.Method+" "+r.URL.Path+" "+strings.Join(names, " "))
	}
	f.mux.HandleFunc("/begin", func(rw http.ResponseWriter, r *http.Request) {
		for _, c := range []http.Cookie{
			{Name: "strict", SameSite: http.SameSiteStrictMode}, {Name: "lax", SameSite: http.SameSiteLaxMode}, {Name: "none", SameSite: http.SameSiteNoneMode}, {Name: "unset"},
			{Name: "__Host-good"}, {Name: "__Host-path", Path: "/back"}, {Name: "__Host-domain", Domain: "localhost"}, {Name: "__Secure-good", Path: "/back"},
		} {
			c.Value, c.Secure = "1", true
			if c.Path == "" {
				c.Path = "/"
			}
			http.SetCookie(rw, &c)
		}
		http.SetCookie(rw, &http.Cookie{Name: "__Host-plain", Value: "1", Path: "/"})
		http.SetCookie(rw, &http.Cookie{Name: "__Secure-plain", Value: "1", Path: "/"})
		http.Redirect(rw, r, "/here", http.StatusFound)
	})
	f.mux.HandleFunc("/here", func(rw http.ResponseWriter, r *http.Request) {
		note(r)
		page(rw, `<form method="post" action="`+other.URL+`/leave">`)
	})
	other.mux.HandleFunc("/leave", func(rw http.ResponseWriter, r *http.Request) {
		note(r)
		page(rw, `<form method="post" action="`+f.local()+`/back">`)
	})
	f.mux.HandleFunc("/back", func(rw http.ResponseWriter, r *http.Request) {
		note(r)
		if r.Method == http.MethodPost {
			http.Redirect(rw, r, "/back", http.StatusSeeOther)
			return
		}
		http.Redirect(rw, r, "/profile", http.StatusFound)
	})
	_, err := w.device(mdmtest.Config{}).SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: mdmtest.Assignment{WebURL: f.local() + "/begin",
		AnchorCerts: []*x509.Certificate{f.cert}}})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"GET /here strict lax none unset __Host-good", "POST /leave ", "POST /back __Secure-good none unset __Host-good", "GET /back __Secure-good lax none unset __Host-good",
	}, seen)
}

// Addresses have no labels to share.
func TestSetupAssistantAddresses(t *testing.T) {
	w := newWorld(t, nil)
	f, other := w.front(), w.frontAt(net.IPv4(127, 9, 0, 1))
	f.mux.HandleFunc("/leave", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, other.URL+"/profile", http.StatusFound)
	})
	d := w.device(mdmtest.Config{})
	_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: mdmtest.Assignment{WebURL: f.URL + "/leave", AnchorCerts: []*x509.Certificate{f.cert, other.cert}}})
	require.ErrorContains(t, err, "not in the domain")
}

// The header with what a device says is on the first request only; cookies and forms are a browser's.
func TestSetupAssistantBrowses(t *testing.T) {
	w := newWorld(t, nil)
	f := w.front()
	var headers []string
	seen := func(r *http.Request) {
		headers = append(headers, fmt.Sprint(r.URL.Path, " ", r.Header.Get("X-Apple-Aspen-Deviceinfo") != "", " ", r.Header.Get("Cookie"), " ", r.FormValue("name")))
	}
	f.mux.HandleFunc("/begin", func(rw http.ResponseWriter, r *http.Request) {
		seen(r)
		http.SetCookie(rw, &http.Cookie{Name: "c", Value: "1", Secure: true})
		http.Redirect(rw, r, "/ask", http.StatusFound)
	})
	f.mux.HandleFunc("/ask", func(rw http.ResponseWriter, r *http.Request) {
		seen(r)
		page(rw, `<form action="end?a=b" method="post"><input name="name" value=""><input name="kept" value="&amp;"></form><form action="/other">`)
	})
	f.mux.HandleFunc("POST /end", func(rw http.ResponseWriter, r *http.Request) {
		seen(r)
		assert.Equal(t, "&", r.FormValue("kept"))
		http.Redirect(rw, r, "/profile", http.StatusSeeOther)
	})
	d := w.device(mdmtest.Config{})
	report, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: mdmtest.Assignment{WebURL: f.URL + "/begin", AnchorCerts: []*x509.Certificate{f.cert},
		IsMDMRemovable: true}, Fill: func(p *mdmtest.Page) error { p.Form.Values.Set("name", "ada"); return nil }})
	require.NoError(t, err)
	assert.Equal(t, []string{"/begin true  ", "/ask false c=1 ", "/end false c=1 ada"}, headers)
	assert.Equal(t, []string{f.URL + "/ask", f.URL + "/profile"}, report.Pages)
	a, ok := d.Assigned()
	assert.True(t, ok && a.IsMDMRemovable)
	require.NoError(t, d.CheckOut(t.Context()), "it may be removed")
	_, ok = d.Assigned()
	assert.False(t, ok)
}
