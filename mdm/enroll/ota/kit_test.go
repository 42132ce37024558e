package ota_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

// sessions are enroll.Sessions for tests. Each change runs twice, once for nothing, as it may in a database.
type sessions struct {
	mu    sync.Mutex
	rows  map[string]enroll.Session
	fail  error // of every call
	fails int   // how many calls go well before that
}

func newSessions() *sessions { return &sessions{rows: map[string]enroll.Session{}} }

// outage lets every call fail with err, after so many.
func (s *sessions) outage(err error, after int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.fails = err, after
}

func (s *sessions) down() error {
	if s.fail == nil || s.fails > 0 {
		s.fails--
		return nil
	}
	return s.fail
}

func (s *sessions) CreateEnrollmentSession(_ context.Context, n enroll.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.down(); err != nil {
		return err
	}
	s.rows[n.ID] = n
	return nil
}

func (s *sessions) EnrollmentSession(_ context.Context, id string) (enroll.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.down(); err != nil {
		return enroll.Session{}, err
	}
	return s.load(id)
}

func (s *sessions) load(id string) (enroll.Session, error) {
	row, ok := s.rows[id]
	if !ok {
		return enroll.Session{}, mdm.Errorf(mdm.NotFound, "sessions", "no session")
	}
	return row, nil // shares the map: who changes it in place is found out
}

func (s *sessions) ChangeEnrollmentSession(_ context.Context, id string, change func(*enroll.Session) error) (enroll.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.down(); err != nil {
		return enroll.Session{}, err
	}
	row, err := s.load(id)
	if err != nil {
		return enroll.Session{}, err
	}
	idle := row
	_ = change(&idle)
	if err := change(&row); err != nil {
		return enroll.Session{}, err
	}
	s.rows[id] = row
	return row, nil
}

// all returns copies of the rows.
func (s *sessions) all() map[string]enroll.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := maps.Clone(s.rows)
	for id, row := range out {
		row.Device = maps.Clone(row.Device)
		out[id] = row
	}
	return out
}

// must has what takes time to make and is the same for all tests.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	deviceCA = sync.OnceValue(func() *scep.LocalCA { return must(scep.NewLocalCA("test devices")) })
	appleCA  = sync.OnceValue(func() *mdmtest.BuiltInCA { return must(mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})) })
	keys     = sync.OnceValue(func() []*rsa.PrivateKey {
		return []*rsa.PrivateKey{must(rsa.GenerateKey(rand.Reader, 2048)), must(rsa.GenerateKey(rand.Reader, 2048))}
	})
)

// world is a Profile Service with a SCEP server, over real HTTPS.
type world struct {
	t        testing.TB
	ca       *scep.LocalCA
	stores   storage.Stores
	sessions *sessions
	service  *ota.Service
	mux      *http.ServeMux
	https    *httptest.Server
	roots    *x509.CertPool
	epoch    time.Time
	shift    atomic.Int64 // of the clock, which stands still
	finals   atomic.Int64 // how often the last profile was made
}

func (w *world) now() time.Time              { return w.epoch.Add(time.Duration(w.shift.Load())) }
func (w *world) wait(d time.Duration)        { w.shift.Add(int64(d)) }
func (w *world) must(err error, text ...any) { w.t.Helper(); require.NoError(w.t, err, text...) }

func newWorld(t testing.TB, change func(*ota.Service)) *world {
	t.Helper()
	ca := *deviceCA()
	w := &world{t: t, ca: &ca, stores: memory.New().Stores(), sessions: newSessions(), mux: http.NewServeMux(),
		roots: x509.NewCertPool(), epoch: time.Now()}
	ca.Clock = w.now
	w.https = httptest.NewUnstartedServer(w.mux)
	w.https.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	w.https.StartTLS()
	t.Cleanup(w.https.Close)
	w.roots.AddCert(w.https.Certificate())
	w.roots.AddCert(ca.Certificate)
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: ca.Chain(), Clock: w.now})
	w.must(err)
	w.service = &ota.Service{
		Sessions: w.sessions, Ledger: w.stores.SCEP, Validator: ours,
		Signer: profile.CMSSigner{Certificate: ca.Certificate, Key: ca.Key},
		URL:    w.https.URL + "/continue?customer=7", SCEP: profile.SCEPContent{URL: w.https.URL + "/scep"},
		Identifier: "com.example.enroll", DisplayName: "Enroll",
		Login: func(_ http.ResponseWriter, r *http.Request) (string, bool) { return r.URL.Query().Get("user"), true },
		Final: func(context.Context, enroll.Session) (*profile.Profile, error) {
			w.finals.Add(1)
			return webClip(), nil
		},
		Devices: enroll.DeviceCA{Issuers: []*x509.Certificate{appleCA().Certificate}}, Clock: w.now,
	}
	if change != nil {
		change(w.service)
	}
	w.mux.Handle("/start", w.service.Start())
	w.mux.Handle("/continue", w.service.Continue())
	w.mux.Handle("/scep", &scep.Server{CA: w.ca, Store: w.stores.SCEP, Clock: w.now})
	return w
}

func webClip() *profile.Profile {
	return &profile.Profile{Identifier: "com.example.last", Payloads: []profile.Payload{
		&profile.Raw{Type: "com.apple.webClip.managed", Values: map[string]any{"URL": "https://intranet.example.com", "Label": "Intranet"}}}}
}

// restart is a new process on the same stores.
func (w *world) restart() {
	again := *w.service
	w.service = &again
}

// phone is a device by hand: what it sends can be wrong.
type phone struct {
	w         *world
	builtIn   tls.Certificate
	identity  tls.Certificate // of step 2
	key       *rsa.PrivateKey // of it
	url       string
	challenge string
	says      map[string]any
}

func (w *world) phone(serial string) *phone {
	w.t.Helper()
	builtIn, err := appleCA().Issue(serial)
	w.must(err)
	return &phone{w: w, builtIn: builtIn, key: keys()[0], says: map[string]any{"UDID": "UDID-" + serial, "SERIAL": serial, "VERSION": "22C152"}}
}

// begun is a phone with the profile of step 1.
func (w *world) begun(serial string) *phone {
	w.t.Helper()
	p := w.phone(serial)
	res := w.get("user=ada")
	require.Equal(w.t, http.StatusOK, res.Code)
	p.url, p.challenge = readService(w.t, res.Body.Bytes())
	return p
}

// identified is one that got its identity, delivered one with its profile.
func (w *world) identified(serial string) *phone {
	w.t.Helper()
	p := w.begun(serial)
	p.getIdentity(p.key)
	return p
}

func (w *world) delivered(serial string) *phone {
	w.t.Helper()
	p := w.identified(serial)
	require.Equal(w.t, http.StatusOK, p.step3().Code)
	return p
}

func (p *phone) getIdentity(key *rsa.PrivateKey) {
	p.w.t.Helper()
	res := p.step2()
	require.Equal(p.w.t, http.StatusOK, res.Code)
	p.certify(key, scepOf(p.w.t, res.Body.Bytes()).PayloadContent.Challenge)
}

// certify gets an identity by a challenge.
func (p *phone) certify(key *rsa.PrivateKey, challenge mdm.Secret) {
	p.w.t.Helper()
	cert, err := scep.Client{URL: p.w.https.URL + "/scep", HTTP: p.w.https.Client()}.Enroll(p.w.t.Context(), key, challenge)
	p.w.must(err)
	p.identity = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (p *phone) step2() *httptest.ResponseRecorder {
	p.w.t.Helper()
	says := maps.Clone(p.says)
	says["CHALLENGE"] = p.challenge
	return p.w.post(p.url, signed(p.w.t, says, p.builtIn, cms.SignOptions{}))
}

func (p *phone) step3() *httptest.ResponseRecorder {
	p.w.t.Helper()
	return p.w.post(p.url, signed(p.w.t, p.says, p.identity, cms.SignOptions{}))
}

func (p *phone) session() enroll.Session {
	p.w.t.Helper()
	u, err := url.Parse(p.url)
	p.w.must(err)
	row, ok := p.w.sessions.all()[u.Query().Get("session")]
	require.True(p.w.t, ok)
	return row
}

func signed(t testing.TB, says map[string]any, by tls.Certificate, o cms.SignOptions) []byte {
	t.Helper()
	content, err := plistx.Marshal(says)
	require.NoError(t, err)
	body, err := cms.Sign(content, by.Leaf, by.PrivateKey.(crypto.Signer), o)
	require.NoError(t, err)
	return body
}

func (w *world) get(query string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.service.Start().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/start?"+query, nil))
	return rec
}

func (w *world) post(url string, body []byte) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.service.Continue().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, url, bytes.NewReader(body)))
	return rec
}

// readService checks a profile of step 1 and returns its URL and challenge.
func readService(t testing.TB, body []byte) (string, string) {
	t.Helper()
	message, err := cms.ParseSigned(body, cms.Limits{})
	require.NoError(t, err)
	require.NoError(t, message.Verify())
	var top map[string]any
	require.NoError(t, plistx.Unmarshal(message.Content, &top))
	content, ok := top["PayloadContent"].(map[string]any)
	require.True(t, ok, "a dictionary")
	return content["URL"].(string), content["Challenge"].(string)
}

// scepOf returns the payload of a profile of step 2.
func scepOf(t testing.TB, body []byte) *profile.SCEP {
	t.Helper()
	parsed, err := profile.Parse(body)
	require.NoError(t, err)
	require.NotNil(t, parsed.Signer)
	require.Len(t, parsed.Profile.Payloads, 1)
	payload, ok := parsed.Profile.Payloads[0].(*profile.SCEP)
	require.True(t, ok)
	return payload
}
