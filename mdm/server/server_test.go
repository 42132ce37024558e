package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

const (
	typeCheckin = "application/x-apple-aspen-mdm-checkin"
	typeCommand = "application/x-apple-aspen-mdm; charset=UTF-8"
)

var testCA = sync.OnceValue(func() *scep.LocalCA {
	ca, err := scep.NewLocalCA("test devices")
	if err != nil {
		panic(err)
	}
	return ca
})

// client is a device that sends bytes.
type client struct {
	h      http.Handler
	stores storage.Stores
	cert   *x509.Certificate
}

// issue returns a certificate of the device CA that the ledger knows.
func issue(t testing.TB, ca *scep.LocalCA, store scep.Store, device string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := ca.Issue(t.Context(), scep.Request{Key: key.Public()})
	require.NoError(t, err)
	record := mdm.NewCertificate("", cert)
	record.Status, record.Purpose, record.Device, record.IssuedAt = mdm.CertificateIssued, mdm.PurposeEnroll, device, time.Now()
	if store != nil {
		require.NoError(t, store.Record(t.Context(), scep.Issue{Certificate: record, DER: cert.Raw, At: time.Now()}))
	}
	return cert
}

func newClient(t testing.TB, stores storage.Stores, change func(*server.Config)) *client {
	t.Helper()
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: testCA().Chain()})
	require.NoError(t, err)
	cfg := server.Config{Stores: stores, Extractor: identity.TLS(), Validator: ours, MaxBody: 1 << 20}
	if change != nil {
		change(&cfg)
	}
	h, err := server.New(cfg)
	require.NoError(t, err)
	return &client{h: h, stores: stores, cert: issue(t, testCA(), stores.SCEP, "")}
}

func request(method, contentType string, body io.Reader, cert *x509.Certificate) *http.Request {
	r := httptest.NewRequest(method, "https://mdm.example.com/mdm", body)
	r.Header.Set("Content-Type", contentType)
	r.TLS = &tls.ConnectionState{}
	if cert != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{cert}
	}
	return r
}

func (c *client) put(contentType, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, request(http.MethodPut, contentType, strings.NewReader(body), c.cert))
	return w
}

// message returns a property list of strings and raw elements ("<true/>").
func message(pairs ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict>`)
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "<key>%s</key>", pairs[i])
		if strings.HasPrefix(pairs[i+1], "<") {
			b.WriteString(pairs[i+1])
		} else {
			fmt.Fprintf(&b, "<string>%s</string>", pairs[i+1])
		}
	}
	return b.String() + "</dict></plist>"
}

func authenticate(udid string) string {
	return message("MessageType", "Authenticate", "Topic", "com.apple.mgmt.x", "UDID", udid, "ProductName", "iPhone15,2", "OSVersion", "18.0")
}

func tokenUpdate(udid string) string {
	return message("MessageType", "TokenUpdate", "Topic", "com.apple.mgmt.x", "UDID", udid, "Token", "<data>AQIDBA==</data>", "PushMagic", "magic")
}

func idle(udid string) string { return message("Status", "Idle", "UDID", udid) }

func (c *client) enroll(t testing.TB, udid string) {
	t.Helper()
	require.Equal(t, http.StatusOK, c.put(typeCheckin, authenticate(udid)).Code)
	require.Equal(t, http.StatusOK, c.put(typeCheckin, tokenUpdate(udid)).Code)
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	_, err := server.New(server.Config{})
	for _, field := range []string{"Stores.Checkin", "Stores.Command", "Extractor", "Validator"} {
		require.ErrorContains(t, err, field)
	}
}

func TestReplies(t *testing.T) {
	c := newClient(t, memory.New().Stores(), nil)
	c.enroll(t, "U")
	w := c.put(typeCommand, idle("U"))
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "0", w.Header().Get("Content-Length"))
	assert.Zero(t, w.Body.Len(), "nothing to do is a body of zero bytes")

	receipt, err := c.stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(mdm.EnrollmentID{Device: "U"})})
	require.NoError(t, err)
	w = c.put(typeCommand, idle("U"))
	assert.Equal(t, "application/xml; charset=UTF-8", w.Header().Get("Content-Type"))
	assert.Contains(t, w.Body.String(), receipt.UUID)
	w = c.put(typeCommand, message("Status", "Acknowledged", "UDID", "U", "CommandUUID", receipt.UUID))
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Zero(t, w.Body.Len())
}

func TestStatusOf(t *testing.T) {
	unmanaged := mdm.Errorf(mdm.Unmanaged, "op", "gone")
	modern := mdm.Errorf(mdm.Unmanaged, "op", "gone")
	modern.KnowsUnrecognized = true
	for want, errs := range map[int][]error{
		500: {errors.New("disk full"), mdm.Errorf(mdm.Internal, "op", "x"), context.DeadlineExceeded},
		503: {mdm.Errorf(mdm.Unavailable, "op", "x")},
		400: {mdm.Errorf(mdm.Malformed, "op", "x"), fmt.Errorf("wrapped: %w", mdm.Errorf(mdm.Malformed, "op", "x"))},
		413: {mdm.Errorf(mdm.TooLarge, "op", "x")},
		403: {mdm.Errorf(mdm.Forbidden, "op", "x"), modern},
		404: {mdm.Errorf(mdm.NotFound, "op", "x")},
		410: {mdm.Errorf(mdm.UserDeclined, "op", "x")},
		401: {unmanaged, fmt.Errorf("wrapped: %w", unmanaged)},
	} {
		for _, err := range errs {
			assert.Equal(t, want, server.StatusOf(err), "%v", err)
		}
	}
}

// failing is a store that is down.
type failing struct {
	command.Store
	err error
}

func (f failing) Update(context.Context, checkin.Key, func(*checkin.Situation) (checkin.Plan, error)) error {
	return f.err
}

func (f failing) Exchange(context.Context, *command.Report, func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	return nil, f.err
}

// TestNoOutageUnenrolls is the promise of the library: whatever fails on our side, a device keeps its management.
func TestNoOutageUnenrolls(t *testing.T) {
	for name, err := range map[string]error{
		"plain":       errors.New("disk full"),
		"canceled":    context.Canceled,
		"unavailable": mdm.Errorf(mdm.Unavailable, "store", "locked"),
	} {
		stores := memory.New().Stores()
		stores.Checkin, stores.Command = failing{err: err}, failing{err: err}
		c := newClient(t, stores, nil)
		for _, m := range [][2]string{{typeCheckin, authenticate("U")}, {typeCheckin, tokenUpdate("U")}, {typeCommand, idle("U")},
			{typeCheckin, message("MessageType", "CheckOut", "Topic", "t", "UDID", "U")}} {
			w := c.put(m[0], m[1])
			assert.GreaterOrEqual(t, w.Code, 500, "%s: %s", name, m[1])
			assert.NotContains(t, w.Body.String(), "disk full", "the text of an error stays on the server")
		}
	}
}

func TestAnEmptiedStoreUnenrollsNobody(t *testing.T) {
	before := newClient(t, memory.New().Stores(), nil)
	before.enroll(t, "U")
	after := newClient(t, memory.New().Stores(), nil)
	after.cert = before.cert
	for _, m := range [][2]string{{typeCommand, idle("U")}, {typeCheckin, tokenUpdate("U")}} {
		w := after.put(m[0], m[1])
		assert.Equal(t, http.StatusForbidden, w.Code)
		assert.NotContains(t, w.Body.String(), "unrecognized")
	}
}

func TestUnknownDeviceWithAKnownCertificateIsRefused(t *testing.T) {
	c := newClient(t, memory.New().Stores(), nil)
	w := c.put(typeCommand, idle("never-enrolled"))
	assert.Equal(t, http.StatusUnauthorized, w.Code)
}

func TestEndedDeviceIsRefused(t *testing.T) {
	c := newClient(t, memory.New().Stores(), nil)
	c.enroll(t, "U")
	require.Equal(t, http.StatusOK, c.put(typeCheckin, message("MessageType", "CheckOut", "Topic", "com.apple.mgmt.x", "UDID", "U")).Code)
	w := c.put(typeCommand, idle("U"))
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var body map[string]string
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	assert.Equal(t, "com.apple.unrecognized.device", body["code"])
}

// hostile bodies are answered with a clear 4xx that unenrolls nobody, and leave nothing behind.
func TestHostileRequests(t *testing.T) {
	c := newClient(t, memory.New().Stores(), nil)
	c.enroll(t, "U")
	deep := strings.Repeat("<array>", 5000) + strings.Repeat("</array>", 5000)
	many := "<array>" + strings.Repeat("<true/>", 300_000/2) + "</array>"
	tests := map[string]struct {
		contentType, body string
		want              int
	}{
		"empty":                 {typeCheckin, "", 400},
		"text":                  {typeCheckin, "hello", 400},
		"json":                  {typeCheckin, `{"MessageType":"TokenUpdate"}`, 400},
		"wrong content type":    {"text/xml", idle("U"), 415},
		"no content type":       {"", idle("U"), 415},
		"no MessageType":        {typeCheckin, idle("U"), 400},
		"unknown MessageType":   {typeCheckin, message("MessageType", "Frobnicate", "UDID", "U"), 400},
		"no Status":             {typeCommand, message("UDID", "U"), 400},
		"no identifier":         {typeCommand, message("Status", "Idle"), 400},
		"both identifiers":      {typeCommand, message("Status", "Idle", "UDID", "U", "EnrollmentID", "E"), 400},
		"UDID with newline":     {typeCommand, message("Status", "Idle", "UDID", "U&#10;U"), 400},
		"UDID like SQL":         {typeCommand, message("Status", "Idle", "UDID", "'; DROP TABLE enrollments;--"), 403}, // another device than the certificate's, that is all
		"UDID too long":         {typeCommand, message("Status", "Idle", "UDID", strings.Repeat("U", 300)), 400},
		"UDID twice":            {typeCommand, message("Status", "Idle", "UDID", "U", "UDID", "V"), 400},
		"UDID as data":          {typeCommand, message("Status", "Idle", "UDID", "<data>VQ==</data>"), 400},
		"deep":                  {typeCommand, message("Status", "Idle", "UDID", "U", "X", deep), 400},
		"unclosed":              {typeCommand, strings.TrimSuffix(idle("U"), "</plist>"), 400},
		"entity bomb":           {typeCommand, `<!DOCTYPE plist [<!ENTITY a "aaaa">]><plist version="1.0"><dict><key>Status</key><string>&a;</string></dict></plist>`, 400},
		"cyclic binary plist":   {typeCommand, "bplist00\xa1\x00\x08\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a", 400},
		"over the limit":        {typeCommand, message("Status", "Idle", "UDID", "U", "X", many), 413},
		"token of a wrong type": {typeCheckin, strings.Replace(tokenUpdate("U"), "<data>AQIDBA==</data>", "<true/>", 1), 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := c.put(tt.contentType, tt.body)
			assert.Equal(t, tt.want, w.Code)
		})
	}
	e, err := c.stores.Roster.Enrollment(t.Context(), mdm.EnrollmentID{Device: "U"})
	require.NoError(t, err)
	assert.Equal(t, mdm.Enrolled, e.State)
	for range c.stores.Command.Aside(t.Context(), "", 0, 0) {
		t.Fatal("nothing hostile may be stored")
	}
}

func TestReportWithAControlCharacterDoesNotJamTheQueue(t *testing.T) {
	c := newClient(t, memory.New().Stores(), nil)
	c.enroll(t, "U")
	receipt, err := c.stores.Command.Enqueue(t.Context(), command.Order{Command: command.InstalledApplicationList{}, To: mdm.IDs(mdm.EnrollmentID{Device: "U"})})
	require.NoError(t, err)
	c.put(typeCommand, idle("U"))
	w := c.put(typeCommand, message("Status", "Acknowledged", "UDID", "U", "CommandUUID", receipt.UUID, "Name", "An app\x03"))
	require.Equal(t, http.StatusOK, w.Code)
	for e, err := range c.stores.Command.Entries(t.Context(), command.Query{UUID: receipt.UUID, Results: true}) {
		require.NoError(t, err)
		assert.Equal(t, command.Acknowledged, e.State)
		result, err := command.ParseResult(e.Result)
		require.NoError(t, err)
		assert.Equal(t, "An app\uFFFD", result.Extra["Name"])
	}
	assert.Equal(t, http.StatusBadRequest, c.put(typeCheckin, strings.Replace(tokenUpdate("U"), "magic", "mag\x03ic", 1)).Code, "check-in messages are taken as they are or not at all")
}

func TestMethodsAndEncodings(t *testing.T) {
	c := newClient(t, memory.New().Stores(), nil)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, request(method, typeCommand, strings.NewReader(idle("U")), c.cert))
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
		assert.Equal(t, http.MethodPut, w.Header().Get("Allow"))
	}
	r := request(http.MethodPut, typeCommand, strings.NewReader(idle("U")), c.cert)
	r.Header.Set("Content-Encoding", "gzip")
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	assert.Equal(t, http.StatusUnsupportedMediaType, w.Code)
}

func TestBodyLimitWithoutContentLength(t *testing.T) {
	c := newClient(t, memory.New().Stores(), nil)
	r := request(http.MethodPut, typeCommand, io.MultiReader(strings.NewReader(strings.Repeat(" ", 2<<20))), c.cert)
	r.ContentLength = -1
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	assert.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
}

func TestCertificates(t *testing.T) {
	foreign, err := scep.NewLocalCA("test devices") // the same name, another key
	require.NoError(t, err)
	expired := *testCA()
	expired.Clock = func() time.Time { return time.Now().AddDate(-2, 0, 0) }
	c := newClient(t, memory.New().Stores(), nil)
	for name, tt := range map[string]struct {
		cert *x509.Certificate
		want int
	}{
		"none":    {nil, 400},
		"foreign": {issue(t, foreign, nil, ""), 403},
		"expired": {issue(t, &expired, nil, ""), 403},
		"a CA":    {testCA().Certificate, 403},
	} {
		t.Run(name, func(t *testing.T) {
			c.cert = tt.cert
			for _, m := range [][2]string{{typeCheckin, authenticate("U")}, {typeCommand, idle("U")}} {
				w := c.put(m[0], m[1])
				assert.Equal(t, tt.want, w.Code)
				assert.NotContains(t, w.Body.String(), "unrecognized")
			}
		})
	}
	_, err = c.stores.Roster.Enrollment(t.Context(), mdm.EnrollmentID{Device: "U"})
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err), "nothing is stored")
}

func TestSlowBody(t *testing.T) {
	c := newClient(t, memory.New().Stores(), func(cfg *server.Config) { cfg.ReadTimeout = 50 * time.Millisecond })
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.cert}}
		c.h.ServeHTTP(w, r)
	}))
	s.Start()
	defer s.Close()
	body, feed := io.Pipe()
	defer feed.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL, body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", typeCommand)
	go func() { _, _ = feed.Write([]byte("<plist")) }() // and never the rest
	res, err := s.Client().Do(req)
	if err != nil {
		return // the connection was closed, as good an answer
	}
	defer res.Body.Close()
	assert.Equal(t, http.StatusBadRequest, res.StatusCode)
}

func TestPanicsAreContained(t *testing.T) {
	var logged bytes.Buffer
	c := newClient(t, memory.New().Stores(), func(cfg *server.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		cfg.Wrap = func(checkin.Handler) checkin.Handler {
			return checkin.HandlerFunc(func(context.Context, *checkin.Request) (*checkin.Reply, error) { panic("bug") })
		}
	})
	assert.Equal(t, http.StatusInternalServerError, c.put(typeCheckin, authenticate("U")).Code)
	assert.Contains(t, logged.String(), "bug")
	assert.Contains(t, logged.String(), "server_test.go", "the log says where")
}

func TestLogHoldsNoSecrets(t *testing.T) {
	var logged bytes.Buffer
	c := newClient(t, memory.New().Stores(), func(cfg *server.Config) { cfg.Logger = slog.New(slog.NewJSONHandler(&logged, nil)) })
	c.enroll(t, "U")
	secret := "<data>c2VjcmV0c2VjcmV0c2VjcmV0</data>"
	c.put(typeCheckin, message("MessageType", "TokenUpdate", "Topic", "t", "UDID", "U", "Token", "<true/>", "UnlockToken", secret)) // malformed
	c.put(typeCheckin, message("MessageType", "SetBootstrapToken", "UDID", "U", "BootstrapToken", secret))
	assert.NotContains(t, logged.String(), "c2VjcmV0")
	assert.NotContains(t, logged.String(), "secretsecret")
	assert.Contains(t, logged.String(), `"enrollment":"U"`)
}

func TestTenants(t *testing.T) {
	c := newClient(t, memory.New().Stores(), func(cfg *server.Config) {
		cfg.Tenant = func(r *http.Request) string { return r.Header.Get("X-Tenant") }
	})
	r := request(http.MethodPut, typeCheckin, strings.NewReader(authenticate("U")), c.cert)
	r.Header.Set("X-Tenant", "acme")
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	_, err := c.stores.Roster.Enrollment(t.Context(), mdm.EnrollmentID{Tenant: "acme", Device: "U"})
	require.NoError(t, err)
	_, err = c.stores.Roster.Enrollment(t.Context(), mdm.EnrollmentID{Device: "U"})
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
}

func ExampleNew() {
	_, err := server.New(server.Config{Stores: memory.New().Stores(), Extractor: identity.TLS()})
	fmt.Println(err)
	// Output: server: Config.Validator is required
}

func ExampleStatusOf() {
	fmt.Println(server.StatusOf(errors.New("the disk is full")))
	fmt.Println(server.StatusOf(mdm.Errorf(mdm.Malformed, "checkin.Decode", "Topic is missing")))
	// Output:
	// 500
	// 400
}
