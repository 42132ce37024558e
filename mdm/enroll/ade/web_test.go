package ade_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
)

func TestWeb(t *testing.T) {
	t.Parallel()
	var admitted []enroll.Session
	w := newWorld(t, func(s *ade.Service) {
		s.Admit = func(_ context.Context, session enroll.Session) error {
			admitted = append(admitted, session)
			return nil
		}
	})
	p := w.phone("S1")
	v := p.visit()
	assert.Equal(t, "__Host-ade", v.cookie.Name)
	assert.True(t, v.cookie.Secure && v.cookie.HttpOnly)
	assert.Equal(t, http.SameSiteLaxMode, v.cookie.SameSite)
	assert.Equal(t, "/", v.cookie.Path)
	assert.Empty(t, v.cookie.Domain)
	assert.Equal(t, int(ade.DefaultLifetime.Seconds()), v.cookie.MaxAge)
	assert.NotContains(t, v.state, v.cookie.Value)
	session, err := w.service.Pending(v.request(http.MethodGet), v.state)
	require.NoError(t, err)
	assert.Equal(t, "S1", session.Device["SERIAL"])
	assert.Equal(t, mdm.FingerprintOf(p.builtIn.Leaf), session.BuiltIn)

	res := v.finish("ada")
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "same-origin", res.Header().Get("Referrer-Policy"), "the state and the code are in its address")
	assert.Equal(t, "no-store", res.Header().Get("Cache-Control"))
	assert.Equal(t, "nosniff", res.Header().Get("X-Content-Type-Options"))
	assert.Equal(t, "application/x-apple-aspen-config", res.Header().Get("Content-Type"))
	assert.Equal(t, "ada@S1", w.label(res.Body.Bytes()))
	assert.Negative(t, w.cookie(res).MaxAge)
	require.Len(t, admitted, 2)
	assert.Empty(t, admitted[0].User)
	assert.Equal(t, "ada", admitted[1].User)
	row := w.sessions.all()[session.ID]
	assert.Equal(t, enroll.SessionDelivered, row.State)
	assert.Equal(t, "ada", row.User)
	assert.NotEqual(t, session.Secret, row.Secret)
	_, err = w.service.Pending(v.request(http.MethodGet), v.state)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	w.refused("once more", http.StatusForbidden, func() *httptest.ResponseRecorder { return v.finish("ada") })
}

// The header comes in more than one spelling.
func TestHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	message := w.phone("S1").message()
	std := base64.StdEncoding.EncodeToString(message)
	var wrapped strings.Builder
	for i := 0; i < len(std); i += 76 {
		wrapped.WriteString(std[i:min(i+76, len(std))] + "\r\n ")
	}
	for name, header := range map[string]string{
		"as Apple's": std, "URL": base64.URLEncoding.EncodeToString(message), "URL, not padded": base64.RawURLEncoding.EncodeToString(message),
		"not padded": base64.RawStdEncoding.EncodeToString(message), "with spaces": " " + std[:10] + "\t " + std[10:] + " ", "in lines": wrapped.String(),
	} {
		assert.Equal(t, http.StatusFound, w.open(header).Code, name)
	}
	open := func(change func(http.Header)) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder {
			req := httptest.NewRequest(http.MethodGet, "https://mdm.example.com/web", nil)
			change(req.Header)
			rec := httptest.NewRecorder()
			w.service.Web().ServeHTTP(rec, req)
			return rec
		}
	}
	const name = "X-Apple-Aspen-Deviceinfo"
	w.refused("none", 400, open(func(http.Header) {}))
	w.refused("empty", 400, open(func(h http.Header) { h.Set(name, "") }))
	w.refused("two", 400, open(func(h http.Header) { h.Add(name, std); h.Add(name, std) }))
	w.refused("no base64", 400, open(func(h http.Header) { h.Set(name, "!"+std) }))
	w.refused("padding inside", 400, open(func(h http.Header) { h.Set(name, "AA=="+std) }))
	w.refused("huge", 413, open(func(h http.Header) { h.Set(name, strings.Repeat("A", 100<<10)) }))
	w.refused("a little too large", 413, open(func(h http.Header) {
		h.Set(name, base64.RawStdEncoding.EncodeToString(make([]byte, enroll.MaxMessage+6)))
	}))
	w.refused("cut off", 400, open(func(h http.Header) { h.Set(name, std[:400]) }))
	w.refused("a property list", 400, open(func(h http.Header) { h.Set(name, base64.StdEncoding.EncodeToString([]byte("<plist/>"))) }))
	forged := w.phone("S1").message()
	forged[len(forged)-1] ^= 1
	w.refused("forged", 403, open(func(h http.Header) { h.Set(name, base64.StdEncoding.EncodeToString(forged)) }))
	for _, method := range []string{http.MethodPost, http.MethodHead} {
		rec := httptest.NewRecorder()
		w.service.Web().ServeHTTP(rec, httptest.NewRequest(method, "/", nil))
		assert.Equal(t, http.StatusMethodNotAllowed, rec.Code)
	}
	w.service.Login = nil
	w.refused("no Login", 500, open(func(h http.Header) { h.Set(name, std) }))
}

func TestFinishRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ade.Service) { s.Tenant = func(r *http.Request) string { return r.Header.Get("Tenant") } })
	v, other, p := w.phone("S1").visit(), w.phone("S2").visit(), w.phone("S3")
	require.Equal(t, http.StatusOK, p.enroll("").Code)
	var posted string // a session of the other way in
	for id, s := range w.sessions.all() {
		if s.State == enroll.SessionDelivered {
			posted = id
		}
	}
	require.NotEmpty(t, posted)
	foreign := enroll.Session{ID: enroll.NewSessionID("ota"), Kind: "ota", State: enroll.SessionIdentified, BegunAt: w.now(), OpenUntil: w.now().Add(time.Hour)}
	require.NoError(t, w.sessions.CreateEnrollmentSession(t.Context(), foreign))
	bare := foreign // of our kind, without a secret
	bare.ID, bare.Kind = enroll.NewSessionID(ade.Kind), ade.Kind
	require.NoError(t, w.sessions.CreateEnrollmentSession(t.Context(), bare))
	id, token, _ := strings.Cut(v.state, ".")
	_, otherToken, _ := strings.Cut(other.state, ".")
	as := func(state string, cookie *http.Cookie) *visit { return &visit{world: w, state: state, cookie: cookie} }
	for name, wrong := range map[string]*visit{
		"a leaked state alone":           as(v.state, nil),
		"a leaked state, own browser":    as(v.state, other.cookie),
		"own state, another's browser":   as(other.state, v.cookie),
		"a token of another session":     as(id+"."+otherToken, v.cookie),
		"a guess":                        as(id+"."+strings.Repeat("A", 43), v.cookie),
		"no token":                       as(id, v.cookie),
		"an empty token":                 as(id+".", v.cookie),
		"no state":                       as("", v.cookie),
		"no session":                     as(enroll.NewSessionID(ade.Kind)+"."+token, v.cookie),
		"a session of a POST":            as(posted+"."+token, v.cookie),
		"a session of another way in":    as(foreign.ID+"."+token, v.cookie),
		"a session without a secret":     as(bare.ID+"."+token, v.cookie),
		"a long state":                   as(v.state+strings.Repeat("x", 1000), v.cookie),
		"another cookie":                 as(v.state, &http.Cookie{Name: v.cookie.Name, Value: "x"}),
		"a cookie without the prefix":    as(v.state, &http.Cookie{Name: "ade", Value: v.cookie.Value}),
		"odd characters":                 as("ade-../x."+token, v.cookie),
		"cookie and token the other way": as(id+"."+v.cookie.Value, &http.Cookie{Name: v.cookie.Name, Value: token}),
	} {
		w.refused(name, http.StatusForbidden, func() *httptest.ResponseRecorder { return wrong.finish("ada") })
	}
	w.refused("another tenant", http.StatusForbidden, func() *httptest.ResponseRecorder {
		rec, req := httptest.NewRecorder(), v.request(http.MethodGet)
		req.Header.Set("Tenant", "other")
		w.service.Finish(rec, req, v.state, "ada")
		return rec
	})
	w.refused("HEAD", http.StatusMethodNotAllowed, func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		w.service.Finish(rec, v.request(http.MethodHead), v.state, "ada")
		return rec
	})
	w.refused("a user that cannot be kept", 500, func() *httptest.ResponseRecorder { return v.finish(strings.Repeat("a", 300)) })
	require.Equal(t, http.StatusOK, v.finish("ada").Code, "nothing of it used the session up")

	w.wait(ade.DefaultLifetime + time.Second)
	w.refused("too late", http.StatusForbidden, func() *httptest.ResponseRecorder { return other.finish("ada") })
}

// Of many that end a login one gets the profile.
func TestFinishOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	v := w.phone("S1").visit()
	again := *w.service // another process
	var wg sync.WaitGroup
	var good atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			service := w.service
			if i%2 == 0 {
				service = &again
			}
			rec := httptest.NewRecorder()
			service.Finish(rec, v.request(http.MethodGet), v.state, "ada")
			if rec.Code == http.StatusOK {
				good.Add(1)
			} else {
				assert.Equal(t, http.StatusForbidden, rec.Code)
				assert.NotContains(t, rec.Body.String(), "label")
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, good.Load())
}

func TestCallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	v, asked, verdict := w.phone("S1").visit(), 0, true
	callback := w.service.Callback(func(rw http.ResponseWriter, r *http.Request, session enroll.Session) (string, bool) {
		asked++
		assert.Equal(t, "S1", session.Device["SERIAL"])
		assert.Equal(t, "c", r.FormValue("code"))
		if !verdict {
			assert.Equal(t, "same-origin", rw.Header().Get("Referrer-Policy"), "pages of hooks have it, too")
			http.Error(rw, "wrong code", http.StatusForbidden)
		}
		return "ada", verdict
	})
	call := func(req *http.Request) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		callback.ServeHTTP(rec, req)
		return rec
	}
	leaked := &visit{world: w, state: v.state}
	w.refused("a leaked state", http.StatusForbidden, func() *httptest.ResponseRecorder { return call(leaked.request(http.MethodGet)) })
	w.refused("no form", http.StatusBadRequest, func() *httptest.ResponseRecorder {
		return call(httptest.NewRequest(http.MethodGet, "/callback?state=%zz", nil))
	})
	w.refused("a huge form", http.StatusBadRequest, func() *httptest.ResponseRecorder {
		req := httptest.NewRequest(http.MethodPost, "/callback", strings.NewReader("state="+strings.Repeat("x", 100<<10)))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return call(req)
	})
	assert.Zero(t, asked, "the state comes first")
	verdict = false
	w.refused("a login that failed", http.StatusForbidden, func() *httptest.ResponseRecorder { return call(v.request(http.MethodGet)) })
	verdict = true
	form := strings.NewReader(url.Values{"state": {v.state}, "code": {"c"}}.Encode())
	req := httptest.NewRequest(http.MethodPost, "/callback", form)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.AddCookie(&http.Cookie{Name: v.cookie.Name, Value: v.cookie.Value})
	res := call(req)
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "ada@S1", w.label(res.Body.Bytes()))
	w.refused("again", http.StatusForbidden, func() *httptest.ResponseRecorder { return call(v.request(http.MethodGet)) })
}

func TestDerive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	seen := map[string]bool{}
	for _, in := range [][2]string{{"s", "nonce"}, {"s", "pkce"}, {"t", "nonce"}, {"sn", "once"}} {
		text, err := w.service.Derive(in[0], in[1])
		require.NoError(t, err)
		assert.Regexp(t, `^[\w-]{43}$`, text)
		seen[text] = true
		again, err := w.service.Derive(in[0], in[1])
		require.NoError(t, err)
		assert.Equal(t, text, again)
	}
	assert.Len(t, seen, 4)
	w.service.Key = mdm.Secret{}
	_, err := w.service.Derive("s", "nonce")
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
	require.Error(t, err)
}

// Page is for what users see, not for devices.
func TestPage(t *testing.T) {
	t.Parallel()
	var admit error
	w := newWorld(t, func(s *ade.Service) {
		s.Page = func(rw http.ResponseWriter, _ *http.Request, status int) { http.Error(rw, "a page of ours", status) }
		s.Admit = func(context.Context, enroll.Session) error { return admit }
	})
	p := w.phone("S1")
	v := p.visit()
	admit = mdm.Errorf(mdm.Unavailable, "test", "later")
	open := func() *httptest.ResponseRecorder { return p.open(base64.StdEncoding.EncodeToString(p.message())) }
	for name, tt := range map[string]struct {
		send func() *httptest.ResponseRecorder
		page bool
	}{
		"web": {open, true}, "finish": {func() *httptest.ResponseRecorder { return v.finish("ada") }, true},
		"post": {func() *httptest.ResponseRecorder { return p.enroll("") }, false},
	} {
		w.refused(name, http.StatusServiceUnavailable, func() *httptest.ResponseRecorder {
			res := tt.send()
			assert.Equal(t, tt.page, strings.Contains(res.Body.String(), "a page of ours"), name)
			assert.Equal(t, "60", res.Header().Get("Retry-After"), name)
			return res
		})
	}
	admit = nil
	requires(update("18.3", ""))(w.service)
	p = p.with(map[string]any{canUpdate: true})
	w.refused("what the device reads", http.StatusForbidden, func() *httptest.ResponseRecorder {
		res := open()
		assert.NotContains(t, res.Body.String(), "a page of ours")
		return res
	})
}
