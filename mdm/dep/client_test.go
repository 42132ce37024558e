package dep_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

func TestHeaders(t *testing.T) {
	s := newService(t, nil)
	_, err := s.client.Account(t.Context())
	require.NoError(t, err)
	h := s.last().Header
	assert.Equal(t, "session-1", h.Get("X-ADM-Auth-Session"))
	assert.Equal(t, "10", h.Get("X-Server-Protocol-Version"))
	assert.Equal(t, "application/json;charset=UTF8", h.Get("Content-Type"))
	assert.Equal(t, "application/json;charset=UTF8", h.Get("Accept"))
	assert.NotEmpty(t, h.Get("User-Agent"))
	assert.Empty(t, h.Get("Authorization"), "it is for sessions only")

	other := &dep.Client{Token: s.client.Token, BaseURL: s.server.URL + "/", HTTP: s.server.Client(), UserAgent: "Console/2.1", ProtocolVersion: 7}
	_, err = other.Account(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "GET /account", s.last().Name)
	assert.Equal(t, "7", s.last().Header.Get("X-Server-Protocol-Version"))
	assert.Equal(t, "Console/2.1", s.last().Header.Get("User-Agent"))
}

func TestSessionIsRenewedOnce(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		renewed bool
		want    dep.Code
	}{
		{401, "UNAUTHORIZED", true, dep.ErrUnauthorized},
		{401, "", true, ""},
		{403, `"FORBIDDEN"`, true, dep.ErrForbidden},
		{403, "ACCESS_DENIED", false, dep.ErrAccessDenied},
		{403, "T_C_NOT_SIGNED", false, dep.ErrTermsNotSigned},
		{403, "<html>FORBIDDEN</html>", false, ""},
		{400, "UNAUTHORIZED", false, dep.ErrUnauthorized},
	} {
		t.Run(fmt.Sprint(c.status, c.body), func(t *testing.T) {
			refuse := true
			s := newService(t, func(w http.ResponseWriter, a asked) {
				if refuse {
					refuse = !c.renewed
					says(c.status, c.body)(w, a)
					return
				}
				says(200, "{}")(w, a)
			})
			_, err := s.client.Account(t.Context())
			if c.renewed {
				require.NoError(t, err)
				assert.Equal(t, 2, s.logins)
				assert.Equal(t, "session-2", s.last().Session)
				assert.Len(t, s.names(), 2)

				s.answer = says(c.status, c.body) // for ever
				_, err = s.client.Account(t.Context())
				require.Error(t, err)
				assert.Equal(t, 3, s.logins, "one new session, and one repetition")
				assert.Len(t, s.names(), 4)
			} else {
				assert.Equal(t, 1, s.logins)
				assert.Len(t, s.names(), 1)
			}
			var e *dep.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.status, e.Status)
			assert.Equal(t, c.want, e.Code)
		})
	}
}

func TestRenewedForARefusedCallWithABody(t *testing.T) {
	s := newService(t, says(200, `{"cursor":"c1","devices":[]}`))
	_, err := s.client.FetchDevices(t.Context(), "", 5)
	require.NoError(t, err)
	s.expire()
	_, err = s.client.FetchDevices(t.Context(), "abc", 5)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"cursor": "abc", "limit": 5.0}, s.last().Body, "the body is sent again")
}

func TestNewSessionIsAdopted(t *testing.T) {
	status := 200
	var s *service
	s = newService(t, func(w http.ResponseWriter, a asked) {
		s.mu.Lock()
		s.session = a.Session + "x"
		w.Header().Set("X-ADM-Auth-Session", s.session)
		s.mu.Unlock()
		says(status, "{}")(w, a)
	})
	for _, status = range []int{200, 404, 500, 200} { // of any answer
		_, _ = s.client.Account(t.Context())
	}
	assert.Equal(t, 1, s.logins)
	assert.Equal(t, "session-1xxx", s.last().Session)

	s.answer = func(w http.ResponseWriter, _ asked) { // what cannot be a session is none
		w.Header().Set("X-ADM-Auth-Session", strings.Repeat("x", 5000))
		_, _ = io.WriteString(w, "{}")
	}
	for range 2 {
		_, err := s.client.Account(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, "session-1xxxx", s.last().Session)
}

// TestSessionOfTheEndIsNotAdopted: what comes with the refusal of a session is not tried.
func TestSessionOfTheEndIsNotAdopted(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, a asked) {
		if a.Session == "session-1" {
			w.Header().Set("X-ADM-Auth-Session", "of-no-use")
			says(401, "UNAUTHORIZED")(w, a)
			return
		}
		says(200, "{}")(w, a)
	})
	_, err := s.client.Account(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "session-2", s.last().Session)
}

// TestOvertakenAnswers has the answer to an early request, with a session of its own, arrive after that to a late one.
func TestOvertakenAnswers(t *testing.T) {
	slow, arrived := make(chan struct{}), make(chan struct{})
	var s *service
	s = newService(t, func(w http.ResponseWriter, a asked) {
		switch a.Query.Get("device") {
		case "SLOW":
			close(arrived)
			<-slow
			w.Header().Set("X-ADM-Auth-Session", "early")
		case "FAST":
			s.mu.Lock()
			s.session = "late"
			s.mu.Unlock()
			w.Header().Set("X-ADM-Auth-Session", "late")
		case "ECHO":
			w.Header().Set("X-ADM-Auth-Session", a.Session)
		}
		_, _ = io.WriteString(w, "{}")
	})
	done := make(chan error, 1)
	go func() {
		_, err := s.client.Replacement(context.WithoutCancel(t.Context()), "SLOW")
		done <- err
	}()
	<-arrived
	_, err := s.client.Replacement(t.Context(), "FAST")
	require.NoError(t, err)
	close(slow)
	require.NoError(t, <-done)
	_, err = s.client.Replacement(t.Context(), "ECHO")
	require.NoError(t, err)
	assert.Equal(t, "late", s.last().Session)
	assert.Equal(t, 1, s.logins)
}

// TestEchoedSession: an answer that repeats the session of its own request does not bring that back.
func TestEchoedSession(t *testing.T) {
	arrived := make(chan string, 2)
	release := map[string]chan struct{}{"FIRST": make(chan struct{}), "SECOND": make(chan struct{})}
	var s *service
	s = newService(t, func(w http.ResponseWriter, a asked) {
		serial := a.Query.Get("device")
		if wait, ok := release[serial]; ok {
			arrived <- serial
			<-wait
			w.Header().Set("X-ADM-Auth-Session", a.Session)
		}
		if serial == "FIRST" {
			s.mu.Lock()
			s.session = "new"
			s.mu.Unlock()
			w.Header().Set("X-ADM-Auth-Session", "new")
		}
		_, _ = io.WriteString(w, "{}")
	})
	done := make(chan error, 2)
	for _, serial := range []string{"FIRST", "SECOND"} {
		go func() {
			_, err := s.client.Replacement(t.Context(), serial)
			done <- err
		}()
		assert.Equal(t, serial, <-arrived)
	}
	for _, serial := range []string{"FIRST", "SECOND"} {
		close(release[serial])
		require.NoError(t, <-done)
	}
	_, err := s.client.Replacement(t.Context(), "THIRD")
	require.NoError(t, err)
	assert.Equal(t, "new", s.last().Session)
	assert.Equal(t, 1, s.logins)
}

func TestOneRenewalAtATime(t *testing.T) {
	s := newService(t, nil)
	for round := 1; round <= 3; round++ {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := s.client.Account(t.Context())
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, round, s.logins, "one for all of them")
		s.expire()
	}
}

// TestWhoRenewsGivesUp: the others are not told that, and one of them goes on. Who waits does so for as long as it wants.
func TestWhoRenewsGivesUp(t *testing.T) {
	s := newService(t, nil)
	entered := make(chan struct{}, 2)
	var once sync.Once
	s.login = func(_ http.ResponseWriter, r *http.Request) bool {
		entered <- struct{}{}
		hung := false
		once.Do(func() { hung = true })
		if hung {
			<-r.Context().Done()
		}
		return hung
	}
	first, giveUp := context.WithCancel(t.Context())
	results := make(chan error, 2)
	go func() {
		_, err := s.client.Account(first)
		results <- err
	}()
	<-entered
	short, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.client.Account(short)
	require.ErrorIs(t, err, context.Canceled, "who waits has an end of its own")
	go func() {
		_, err := s.client.Account(t.Context())
		results <- err
	}()
	giveUp()
	a, b := <-results, <-results
	if a == nil {
		a, b = b, a
	}
	require.ErrorIs(t, a, context.Canceled)
	require.NoError(t, b)
	assert.Equal(t, 1, s.logins)
}

func TestPanicWhileRenewing(t *testing.T) {
	s := newService(t, nil)
	bad := true
	good := s.server.Client().Transport
	s.client.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if bad {
			panic("of a transport")
		}
		return good.RoundTrip(r)
	})}
	assert.Panics(t, func() { _, _ = s.client.Account(t.Context()) })
	bad = false
	_, err := s.client.Account(t.Context())
	require.NoError(t, err, "nobody waits for ever")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTokenChange(t *testing.T) {
	s := newService(t, nil)
	token := callsToken()
	s.client.Token = func(context.Context) (dep.Token, error) { return token, nil }
	for range 2 {
		_, err := s.client.Account(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, 1, s.logins)
	token.AccessToken = mdm.SecretString("AT_renewed")
	_, err := s.client.Account(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, s.logins)
	assert.Equal(t, "session-2", s.last().Session)

	token = dep.Token{}
	_, err = s.client.Account(t.Context())
	require.ErrorIs(t, err, dep.ErrNoToken)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	s.client.Token = func(context.Context) (dep.Token, error) { return dep.Token{}, io.ErrUnexpectedEOF }
	_, err = s.client.Account(t.Context())
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

type oneServer struct{ kept dep.Server }

func (s *oneServer) Server(_ context.Context, key dep.Key) (dep.Server, error) {
	if key != s.kept.Key {
		return dep.Server{}, mdm.Errorf(mdm.NotFound, "oneServer", "no such server")
	}
	return s.kept, nil
}

func TestStoredToken(t *testing.T) {
	store := &oneServer{dep.Server{Key: dep.Key{Tenant: "t", Name: "main"}, Token: callsToken()}}
	token, err := dep.StoredToken(store, store.kept.Key)(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "CK_0123456789abcdef", token.ConsumerKey)
	_, err = dep.StoredToken(store, dep.Key{Name: "other"})(t.Context())
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
}

func TestMisconfigured(t *testing.T) {
	_, err := (&dep.Client{}).Account(t.Context())
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
	for _, base := range []string{"ftp://host", "mdmenrollment.apple.com", "https://", "https://a:b@host", "https://host?x=1", "://"} {
		_, err := (&dep.Client{Token: dep.StaticToken(callsToken()), BaseURL: base}).Account(t.Context())
		require.Error(t, err)
		assert.Equal(t, mdm.Internal, mdm.CodeOf(err), base)
	}
}

func TestRedirectionsAreNotFollowed(t *testing.T) {
	followed := false
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	t.Cleanup(elsewhere.Close)
	s := newService(t, func(w http.ResponseWriter, _ asked) {
		w.Header().Set("Location", elsewhere.URL+"/account")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, err := s.client.Account(t.Context())
	require.ErrorIs(t, err, dep.ErrUnavailable)
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))
	assert.False(t, followed)
}

func TestBoundedAnswers(t *testing.T) {
	s := newService(t, says(200, `{"server_name":"`+strings.Repeat("x", 2000)+`"}`))
	s.client.MaxBody = 2000
	_, err := s.client.Account(t.Context())
	require.ErrorContains(t, err, "too large")
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))

	for _, body := range []string{"", "<html>captive</html>", "[]", `"x"`, "{"} {
		s.answer = says(200, body)
		_, err = s.client.Account(t.Context())
		require.ErrorContains(t, err, "cannot be read", body)
		require.ErrorIs(t, err, dep.ErrUnavailable, body)
	}
}

func TestTimeoutAndOutage(t *testing.T) {
	s := newService(t, nil)
	_, err := s.client.Account(t.Context())
	require.NoError(t, err)
	hang := make(chan struct{})
	s.answer = func(http.ResponseWriter, asked) { <-hang }
	s.client.Timeout = 20 * time.Millisecond
	_, err = s.client.Account(t.Context())
	close(hang)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, dep.ErrUnavailable)
	require.NotContains(t, err.Error(), s.server.URL)

	s.server.Close()
	s.client.Timeout = 0
	_, err = s.client.Replacement(t.Context(), "C01234567890")
	require.ErrorIs(t, err, dep.ErrUnavailable)
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))
	assert.NotContains(t, err.Error(), "C01234567890")
	var e *dep.Error
	require.ErrorAs(t, err, &e)
	assert.Zero(t, e.Status)
	_, person := dep.AsProblem(err)
	assert.False(t, person)
}
