package ade_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
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
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

// sessions are enroll.Sessions for tests. Each change runs twice, the second time on what it made itself, as it may in a
// database that lost a connection.
type sessions struct {
	mu   sync.Mutex
	rows map[string]enroll.Session
	fail error // of every call
}

func newSessions() *sessions { return &sessions{rows: map[string]enroll.Session{}} }

func (s *sessions) outage(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *sessions) CreateEnrollmentSession(_ context.Context, n enroll.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if _, taken := s.rows[n.ID]; taken {
		return mdm.Errorf(mdm.Malformed, "sessions", "taken")
	}
	n, err := n.Prepared()
	if err == nil {
		s.rows[n.ID] = n
	}
	return err
}

func (s *sessions) EnrollmentSession(_ context.Context, id string) (enroll.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return enroll.Session{}, s.fail
	}
	row, ok := s.rows[id]
	if !ok {
		return enroll.Session{}, mdm.Errorf(mdm.NotFound, "sessions", "no session")
	}
	return row, nil // shares the map: who changes it in place is found out
}

func (s *sessions) ChangeEnrollmentSession(ctx context.Context, id string, change func(*enroll.Session) error) (enroll.Session, error) {
	_, err := s.EnrollmentSession(ctx, id)
	if err != nil {
		return enroll.Session{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.rows[id]
	for range 2 {
		if row, err = row.Changed(change); err != nil {
			return enroll.Session{}, err
		}
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

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What takes time to make and is the same for all tests.
var (
	signingCA = sync.OnceValue(func() *scep.LocalCA { return must(scep.NewLocalCA("test devices")) })
	appleCA   = sync.OnceValue(func() *mdmtest.BuiltInCA { return must(mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})) })
	otherCA   = sync.OnceValue(func() *mdmtest.BuiltInCA { return must(mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})) })
)

// world is a Service and a phone that talks to it by hand: what it sends can be wrong.
type world struct {
	testing.TB
	sessions *sessions
	service  *ade.Service
	shift    atomic.Int64 // of the clock, which stands still
	epoch    time.Time
	finals   atomic.Int64
	states   []string // that Login was given
}

func (w *world) now() time.Time       { return w.epoch.Add(time.Duration(w.shift.Load())) }
func (w *world) wait(d time.Duration) { w.shift.Add(int64(d)) }

func newWorld(t testing.TB, change func(*ade.Service)) *world {
	t.Helper()
	w := &world{TB: t, sessions: newSessions(), epoch: time.Date(2026, 8, 1, 9, 0, 0, 0, time.UTC)}
	ca := signingCA()
	w.service = &ade.Service{Sessions: w.sessions, Signer: profile.CMSSigner{Certificate: ca.Certificate, Key: ca.Key},
		Final: func(_ context.Context, s enroll.Session) (*profile.Profile, error) {
			w.finals.Add(1)
			return webClip(s), nil
		},
		Login: func(rw http.ResponseWriter, r *http.Request, state string) {
			w.states = append(w.states, state)
			http.Redirect(rw, r, "https://login.example.com/authorize?state="+state, http.StatusFound)
		},
		Key:     mdm.SecretString("0123456789abcdef0123456789abcdef"),
		Devices: enroll.DeviceCA{Issuers: []*x509.Certificate{appleCA().Certificate}}, Clock: w.now}
	if change != nil {
		change(w.service)
	}
	return w
}

// webClip is a profile that tells for whom it was made.
func webClip(s enroll.Session) *profile.Profile {
	return &profile.Profile{Identifier: "com.example.last", Payloads: []profile.Payload{&profile.Raw{Type: "com.example.label",
		Values: map[string]any{"Label": s.User + "@" + s.Device["SERIAL"]}}}}
}

// label returns for whom a profile was made; it must be signed.
func (w *world) label(body []byte) string {
	w.Helper()
	parsed, err := profile.Parse(body)
	require.NoError(w, err)
	require.NotNil(w, parsed.Signer)
	raw, ok := parsed.Profile.Payloads[0].(*profile.Raw)
	require.True(w, ok)
	label, _ := raw.Values["Label"].(string)
	return label
}

// phone is a device by hand.
type phone struct {
	*world
	builtIn tls.Certificate
	says    map[string]any
}

func (w *world) phone(serial string) *phone {
	w.Helper()
	builtIn, err := appleCA().Issue(serial)
	require.NoError(w, err)
	return &phone{world: w, builtIn: builtIn, says: map[string]any{"UDID": "UDID-" + serial, "SERIAL": serial, "PRODUCT": "iPhone15,2",
		"VERSION": "22C152", "OS_VERSION": "18.2", "LANGUAGE": "de"}}
}

// with returns the phone saying something else; nil takes a key away.
func (p *phone) with(changes map[string]any) *phone {
	says := maps.Clone(p.says)
	for name, value := range changes {
		if says[name] = value; value == nil {
			delete(says, name)
		}
	}
	return &phone{world: p.world, builtIn: p.builtIn, says: says}
}

func (p *phone) message() []byte { return signed(p, p.says, p.builtIn, cms.SignOptions{}) }

func signed(t testing.TB, says map[string]any, by tls.Certificate, o cms.SignOptions) []byte {
	t.Helper()
	content, err := plistx.Marshal(says)
	require.NoError(t, err)
	body, err := cms.Sign(content, by.Leaf, by.PrivateKey.(crypto.Signer), o)
	require.NoError(t, err)
	return body
}

// post sends a body to Enroll.
func (w *world) post(body []byte, authorization string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "https://mdm.example.com/enroll?customer=7", bytes.NewReader(body))
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	rec := httptest.NewRecorder()
	w.service.Enroll().ServeHTTP(rec, req)
	return rec
}

func (p *phone) enroll(authorization string) *httptest.ResponseRecorder {
	p.Helper()
	return p.post(p.message(), authorization)
}

// open opens the web view with a header.
func (w *world) open(header string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, "https://mdm.example.com/web", nil)
	req.Header.Set("x-apple-aspen-deviceinfo", header)
	rec := httptest.NewRecorder()
	w.service.Web().ServeHTTP(rec, req)
	return rec
}

// visit is a session on the web: its state and the cookie of its browser.
type visit struct {
	*world
	state  string
	cookie *http.Cookie
}

// visit begins a session.
func (p *phone) visit() *visit {
	p.Helper()
	res := p.open(base64.StdEncoding.EncodeToString(p.message()))
	require.Equal(p, http.StatusFound, res.Code)
	return &visit{world: p.world, state: p.states[len(p.states)-1], cookie: p.cookie(res)}
}

func (w *world) cookie(res *httptest.ResponseRecorder) *http.Cookie {
	w.Helper()
	cookies := res.Result().Cookies()
	require.Len(w, cookies, 1)
	return cookies[0]
}

// request is the request that ends a login.
func (v *visit) request(method string) *http.Request {
	target := "https://mdm.example.com/callback?" + url.Values{"state": {v.state}, "code": {"c"}}.Encode()
	req := httptest.NewRequest(method, target, nil)
	if v.cookie != nil {
		req.AddCookie(&http.Cookie{Name: v.cookie.Name, Value: v.cookie.Value})
	}
	return req
}

func (v *visit) finish(user string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	v.service.Finish(rec, v.request(http.MethodGet), v.state, user)
	return rec
}

// refused sends what must not change anything, and checks the answer.
func (w *world) refused(name string, want int, send func() *httptest.ResponseRecorder) {
	w.Helper()
	before, finals := w.sessions.all(), w.finals.Load()
	res := send()
	require.Equal(w, want, res.Code, name)
	require.Equal(w, before, w.sessions.all(), name)
	require.Equal(w, finals, w.finals.Load(), name)
	require.NotContains(w, res.Header().Get("Content-Type"), "aspen-config", name)
	if want != http.StatusUnauthorized {
		require.Empty(w, res.Header().Values("Www-Authenticate"), name)
	}
}
