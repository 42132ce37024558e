package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/profile"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func onStage(t *testing.T, o options) *stage {
	t.Helper()
	s, err := newStage(t.Context(), o, quiet())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.stop()) })
	return s
}

func TestFake(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-fake"}, func(string) string { return "" }, &out))
	assert.Contains(t, out.String(), "C02EXAMPLE is enrolled")
}

func TestFlags(t *testing.T) {
	none := func(string) string { return "" }
	_, err := parse(nil, none)
	require.ErrorContains(t, err, "is required")
	all := []string{"-tls-cert", "c", "-tls-key", "k", "-push-cert", "p", "-issuer", "https://login.example.com", "-client-id", "mdm", "-public-url"}
	_, err = parse(append(all, "http://mdm.example.com"), none)
	require.ErrorContains(t, err, "no https URL")
	o, err := parse(append(all, "https://mdm.example.com/"), func(string) string { return "secret" })
	require.NoError(t, err)
	assert.Equal(t, "https://mdm.example.com", o.publicURL)
	assert.Equal(t, "secret", o.secret)
}

func TestPasswords(t *testing.T) {
	s := onStage(t, options{})
	d := s.device("S1")
	report, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assignment(), Fill: signIn("ada", "wrong", "lovelace")})
	require.NoError(t, err)
	assert.Len(t, report.Pages, 3)
	assert.False(t, d.InSetup())
	e, err := s.stores.Roster.Enrollment(t.Context(), mdm.EnrollmentID{Device: d.ID()})
	require.NoError(t, err)
	assert.Equal(t, mdm.Enrolled, e.State)

	_, err = s.device("S2").SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assignment(), Fill: signIn("eve", "lovelace")})
	require.ErrorContains(t, err, "gives up")
}

func TestInventory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serials.txt")
	require.NoError(t, os.WriteFile(file, []byte("S1\nS2\n"), 0o600))
	s := onStage(t, options{serials: file})
	_, err := s.device("S2").SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assignment(), Fill: signIn("ada", "lovelace")})
	require.NoError(t, err)
	var refused *mdmtest.RefusedError
	_, err = s.device("S3").SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assignment(), Fill: signIn("ada", "lovelace")})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusForbidden, refused.Answer.Status)
}

// An ID token that is not for this login ends it.
func TestSpoiledTokens(t *testing.T) {
	s := onStage(t, options{})
	for name, spoil := range map[string]func(map[string]any){
		"another nonce": func(c map[string]any) { c["nonce"] = "x" }, "no nonce": func(c map[string]any) { delete(c, "nonce") },
		"another audience": func(c map[string]any) { c["aud"] = "other" }, "another issuer": func(c map[string]any) { c["iss"] = "https://evil.example.com" },
		"over": func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, "nobody": func(c map[string]any) { delete(c, "email") },
		"an address that is not verified": func(c map[string]any) { c["email_verified"] = false },
	} {
		s.provider.spoil = spoil
		d := s.device("S1")
		_, err := d.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assignment(), Fill: signIn("ada", "lovelace")})
		var refused *mdmtest.RefusedError
		require.ErrorAs(t, err, &refused, name)
		assert.Equal(t, http.StatusForbidden, refused.Answer.Status, name)
		assert.False(t, d.Managed(), name)
	}
	s.provider.spoil = nil
	_, err := s.device("S1").SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: s.assignment(), Fill: signIn("ada", "lovelace")})
	require.NoError(t, err)
}

// browser is a web view by hand. It follows no redirects.
type browser struct {
	*testing.T
	s      *stage
	client *http.Client
}

func newBrowser(t *testing.T, s *stage) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(s.tls.Leaf)
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	return &browser{T: t, s: s, client: client}
}

func (b *browser) get(address string, header http.Header) (int, string, *url.URL) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, address, nil)
	require.NoError(b, err)
	for name, values := range header {
		req.Header[name] = values
	}
	return b.do(req)
}

func (b *browser) do(req *http.Request) (int, string, *url.URL) {
	b.Helper()
	res, err := b.client.Do(req)
	require.NoError(b, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(b, err)
	to, err := res.Location()
	if err != nil && !errors.Is(err, http.ErrNoLocation) {
		require.NoError(b, err)
	}
	return res.StatusCode, string(body), to
}

// begin opens the web view and returns where the user is sent to log in.
func (b *browser) begin(serial string) *url.URL {
	b.Helper()
	builtIn, err := b.s.factory.Issue(serial)
	require.NoError(b, err)
	message, err := signed(builtIn, `<plist version="1.0"><dict><key>UDID</key><string>U-`+serial+`</string><key>SERIAL</key><string>`+serial+`</string></dict></plist>`)
	require.NoError(b, err)
	status, _, to := b.get(b.s.o.publicURL+webPath, http.Header{"X-Apple-Aspen-Deviceinfo": {base64.StdEncoding.EncodeToString(message)}})
	require.Equal(b, http.StatusFound, status)
	return to
}

// login signs ada in and returns where the provider leads back to.
func (b *browser) login(at *url.URL) *url.URL {
	b.Helper()
	form := at.Query()
	form.Set("username", "ada")
	form.Set("password", "lovelace")
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.s.provider.issuer+"/authorize", strings.NewReader(form.Encode()))
	require.NoError(b, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, _, to := b.do(req)
	require.Equal(b, http.StatusFound, status)
	return to
}

func TestBrowsers(t *testing.T) {
	s := onStage(t, options{organization: "Lovelace & Sons"})
	mine, theirs := newBrowser(t, s), newBrowser(t, s)
	back := mine.login(mine.begin("S1"))
	foreign := theirs.login(theirs.begin("S2"))

	status, _, _ := theirs.get(back.String(), nil)
	assert.Equal(t, http.StatusForbidden, status, "an address that leaked, with its code")
	mixed := *back
	query := back.Query()
	query.Set("code", foreign.Query().Get("code"))
	mixed.RawQuery = query.Encode()
	status, page, _ := mine.get(mixed.String(), nil)
	assert.Equal(t, http.StatusForbidden, status, "a code of another login: PKCE and the nonce are of this one")
	assert.Contains(t, page, "Lovelace &amp; Sons")

	denied := *back
	denied.RawQuery = url.Values{"state": {back.Query().Get("state")}, "error": {"access_denied"}}.Encode()
	status, page, _ = mine.get(denied.String(), nil)
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, page, "Try again")
	assert.Contains(t, page, `name="viewport"`)

	status, body, _ := mine.get(back.String(), nil)
	require.Equal(t, http.StatusOK, status, "the state is still good")
	assert.NotEmpty(t, body)
	status, page, _ = mine.get(back.String(), nil)
	assert.Equal(t, http.StatusForbidden, status, "once")
	assert.Contains(t, page, "That did not work")
}

// While the provider is away nobody is turned away for good.
func TestOutage(t *testing.T) {
	s := onStage(t, options{})
	b := newBrowser(t, s)
	back := b.login(b.begin("S1"))
	transport := s.login.http.Transport
	s.login.http.Transport = down{}
	status, _, _ := b.get(back.String(), nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	s.login.http.Transport = transport
	status, _, _ = b.get(back.String(), nil)
	assert.Equal(t, http.StatusOK, status)
}

// keysAway is a provider without its keys.
type keysAway struct{ http.RoundTripper }

func (k keysAway) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/jwks" {
		return nil, errors.New("no route")
	}
	return k.RoundTripper.RoundTrip(r)
}

// A login that cannot be verified just now is not one that is wrong.
func TestOutageOfKeys(t *testing.T) {
	s := onStage(t, options{})
	b := newBrowser(t, s)
	back := b.login(b.begin("S1"))
	transport := s.login.http.Transport
	s.login.http.Transport = keysAway{transport}
	status, page, _ := b.get(back.String(), nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	s.login.http.Transport = transport
	_, again, _ := strings.Cut(page, `class="button" href="`)
	again, _, _ = strings.Cut(again, `"`)
	to, err := url.Parse(html.UnescapeString(again))
	require.NoError(t, err)
	status, _, _ = b.get(b.login(to).String(), nil)
	assert.Equal(t, http.StatusOK, status, "the button of the page leads on")
}

// What the provider has against this server is not the user's fault.
func TestOwnFault(t *testing.T) {
	s := onStage(t, options{})
	b := newBrowser(t, s)
	back := b.login(b.begin("S1"))
	secret := s.login.config.ClientSecret
	s.login.config.ClientSecret = "changed at the provider"
	status, page, _ := b.get(back.String(), nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, page, "Try again")
	s.login.config.ClientSecret = secret
	status, _, _ = b.get(back.String(), nil)
	assert.Equal(t, http.StatusOK, status)
}

// Where this server fails after a login, the code is used up: the page leads back to the provider. For a stranger it does not.
func TestOwnOutage(t *testing.T) {
	s := onStage(t, options{})
	b, stranger := newBrowser(t, s), newBrowser(t, s)
	back := b.login(b.begin("S1"))
	final := s.ade.Final
	s.ade.Final = func(context.Context, enroll.Session) (*profile.Profile, error) {
		return nil, mdm.Errorf(mdm.Unavailable, "test", "later")
	}
	status, page, _ := b.get(back.String(), nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, page, "Try again</a>")
	assert.Contains(t, page, s.provider.issuer+"/authorize?")
	status, page, _ = stranger.get(back.String(), nil)
	assert.Equal(t, http.StatusForbidden, status)
	assert.NotContains(t, page, "</a>")
	s.ade.Final = final
}

// down is a network that is not there.
type down struct{}

func (down) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

// TestReal serves with the flags for real devices. A simulated one is none.
func TestReal(t *testing.T) {
	s := onStage(t, options{})
	dir := t.TempDir()
	cert, err := mdmtest.NewPushCertificate("com.apple.mgmt.External.test")
	require.NoError(t, err)
	certPEM, key, err := cert.PEM()
	require.NoError(t, err)
	pushCert := filepath.Join(dir, "push.pem")
	require.NoError(t, os.WriteFile(pushCert, append(certPEM, key.Reveal()...), 0o600))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o := options{publicURL: "https://" + listener.Addr().String(), db: filepath.Join(dir, "mdm.db"), ca: filepath.Join(dir, "ca.pem"), pushCert: pushCert,
		issuer: s.provider.issuer, clientID: "mdm", claim: "email", organization: "Example"}
	actual, err := open(t.Context(), o, s.tls, s.login.http, quiet())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- actual.serve(ctx, listener) }()
	a := s.assignment()
	a.WebURL = o.publicURL + webPath
	var refused *mdmtest.RefusedError
	_, err = s.device("S1").SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: a})
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusForbidden, refused.Answer.Status)
	cancel()
	require.NoError(t, <-ended)
	actual.close()

	first, err := os.ReadFile(o.ca)
	require.NoError(t, err)
	block, _ := pem.Decode(first)
	require.NotNil(t, block)
	again, err := open(t.Context(), o, s.tls, s.login.http, quiet())
	require.NoError(t, err)
	defer again.close()
	assert.True(t, actual.ca.Certificate.Equal(again.ca.Certificate), "the CA is kept")
	one, err := actual.key()
	require.NoError(t, err)
	other, err := again.key()
	require.NoError(t, err)
	assert.True(t, one.Equal(other))

	o.issuer = "https://127.0.0.1:1"
	_, err = open(t.Context(), o, s.tls, s.login.http, quiet())
	require.ErrorContains(t, err, "the identity provider")
}

// signed signs a MachineInfo.
func signed(by tls.Certificate, plist string) ([]byte, error) {
	key, ok := by.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("no signer")
	}
	return cms.Sign([]byte(plist), by.Leaf, key, cms.SignOptions{})
}
