package dep_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

var callsNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func callsToken() dep.Token {
	return dep.Token{
		ConsumerKey: "CK_0123456789abcdef", ConsumerSecret: mdm.SecretString("CS_consumer/secret+1"),
		AccessToken: mdm.SecretString("AT_access=token&1"), AccessSecret: mdm.SecretString("AS_access~secret%1"),
		Expires: callsNow.AddDate(1, 0, 0),
	}
}

// asked is a request that came in.
type asked struct {
	Name    string // method and path
	Query   url.Values
	Header  http.Header
	Session string
	Body    map[string]any
}

// service is Apple's side, as far as calls need it: sessions, and one answer for everything else.
type service struct {
	t      *testing.T
	server *httptest.Server
	client *dep.Client

	mu      sync.Mutex
	session string // the one that is good; empty: the next is made by /session
	logins  int
	asked   []asked

	// answer is called without the lock; nil answers {}.
	answer func(w http.ResponseWriter, a asked)
	// login is called before a session is made, and true if it has answered.
	login func(w http.ResponseWriter, r *http.Request) bool
}

func newService(t *testing.T, answer func(w http.ResponseWriter, a asked)) *service {
	t.Helper()
	s := &service{t: t, answer: answer}
	s.server = httptest.NewUnstartedServer(s)
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // connections that a test gives up
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.client = &dep.Client{
		Token: dep.StaticToken(callsToken()), BaseURL: s.server.URL, HTTP: s.server.Client(), MaxWait: -1,
		Clock: func() time.Time { return callsNow },
	}
	return s
}

// says answers every call with a status and a body.
func says(status int, body string) func(http.ResponseWriter, asked) {
	return func(w http.ResponseWriter, _ asked) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/session" {
		s.serveSession(w, r)
		return
	}
	a := asked{Name: r.Method + " " + r.URL.Path, Query: r.URL.Query(), Header: r.Header, Session: r.Header.Get("X-ADM-Auth-Session")}
	data, err := io.ReadAll(r.Body)
	assert.NoError(s.t, err)
	if len(data) > 0 {
		assert.NoError(s.t, json.Unmarshal(data, &a.Body))
	}
	s.mu.Lock()
	s.asked = append(s.asked, a)
	good := s.session != "" && s.session == a.Session
	s.mu.Unlock()
	switch {
	case !good:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "UNAUTHORIZED")
	case s.answer == nil:
		_, _ = io.WriteString(w, "{}")
	default:
		s.answer(w, a)
	}
}

func (s *service) serveSession(w http.ResponseWriter, r *http.Request) {
	if s.login != nil && s.login(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins++
	s.session = fmt.Sprintf("session-%d", s.logins)
	w.Header().Set("Date", callsNow.Format(http.TimeFormat))
	_, _ = fmt.Fprintf(w, `{"auth_session_token": %q}`, s.session)
}

// names returns the calls so far.
func (s *service) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, a := range s.asked {
		names = append(names, a.Name)
	}
	return names
}

func (s *service) last() asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NotEmpty(s.t, s.asked)
	return s.asked[len(s.asked)-1]
}

// expire ends the session, as Apple does.
func (s *service) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = "ended"
}

// rfcEncode is percent-encoding by RFC 5849, section 3.6, written for the tests.
func rfcEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// rfcBase is the base string by RFC 5849, section 3.4.1; the URL is without query.
func rfcBase(method, to string, params [][2]string) string {
	var pairs [][2]string
	for _, p := range params {
		pairs = append(pairs, [2]string{rfcEncode(p[0]), rfcEncode(p[1])})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var joined []string
	for _, p := range pairs {
		joined = append(joined, p[0]+"="+p[1])
	}
	return method + "&" + rfcEncode(to) + "&" + rfcEncode(strings.Join(joined, "&"))
}

func rfcSign(base, consumerSecret, tokenSecret string) string {
	mac := hmac.New(sha1.New, []byte(rfcEncode(consumerSecret)+"&"+rfcEncode(tokenSecret)))
	_, _ = mac.Write([]byte(base))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
