package ade_test

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
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

const realm = `Example "Inc"`

// passwords let in ada with lovelace.
func passwords() *ade.Password {
	return &ade.Password{Realm: realm, Prompt: "Log in with your account of Example.",
		Basic: func(_ context.Context, user string, password mdm.Secret) error {
			if user != "ada" || !password.Equal(mdm.SecretString("lovelace")) {
				return ade.ErrWrong
			}
			return nil
		},
		Digest: func(_ context.Context, user string) (mdm.Secret, error) {
			if user != "ada" {
				return mdm.Secret{}, fmt.Errorf("%q: %w", user, ade.ErrWrong)
			}
			return ade.HA1(user, realm, mdm.SecretString("lovelace")), nil
		}}
}

func withPasswords(change func(*ade.Password)) func(*ade.Service) {
	return func(s *ade.Service) {
		s.Authenticate = func(context.Context, enroll.Session) (*ade.Password, error) {
			p := passwords()
			if change != nil {
				change(p)
			}
			return p, nil
		}
	}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

var nonceOf = regexp.MustCompile(`nonce="([^"]+)"`)

// nonce returns the nonce of a 401.
func nonce(t testing.TB, res *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, res.Code)
	found := nonceOf.FindStringSubmatch(res.Header().Get("Www-Authenticate"))
	require.Len(t, found, 2)
	return found[1]
}

func hash(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(sum[:])
}

// digest answers a nonce as RFC 7616 says.
func digest(user, password, nonce, uri string) string {
	response := hash(hash(user, realm, password), nonce, "00000001", "abcd", "auth", hash(http.MethodPost, uri))
	return fmt.Sprintf(`Digest username="%s", realm="Example \"Inc\"", nonce="%s", uri="%s", response="%s", qop=auth, nc=00000001, cnonce="abcd", algorithm=MD5`,
		user, nonce, uri, response)
}

const uri = "/enroll?customer=7"

func TestPrompt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPasswords(nil))
	res := w.phone("S1").enroll("")
	require.Equal(t, http.StatusUnauthorized, res.Code)
	assert.Equal(t, "Log in with your account of Example.", res.Body.String())
	assert.Equal(t, "text/plain; charset=utf-8", res.Header().Get("Content-Type"))
	challenges := res.Header().Values("Www-Authenticate")
	require.Len(t, challenges, 2)
	assert.Regexp(t, `^Digest realm="Example \\"Inc\\"", nonce="[\w-]+", qop="auth", algorithm=MD5$`, challenges[0])
	assert.Equal(t, `Basic realm="Example \"Inc\"", charset="UTF-8"`, challenges[1])
	assert.Empty(t, w.sessions.all(), "a nonce is not stored")

	w = newWorld(t, withPasswords(func(p *ade.Password) { p.Basic = nil }))
	assert.Len(t, w.phone("S1").enroll(basic("ada", "lovelace")).Header().Values("Www-Authenticate"), 1, "Basic is not offered")
	w = newWorld(t, func(s *ade.Service) {
		s.Authenticate = func(context.Context, enroll.Session) (*ade.Password, error) { return nil, nil }
	})
	assert.Equal(t, http.StatusOK, w.phone("S1").enroll("").Code, "this one need not")
}

func TestBasic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPasswords(func(p *ade.Password) { p.Digest = nil }))
	p := w.phone("S1")
	for name, authorization := range map[string]string{
		"wrong password": basic("ada", "x"), "wrong name": basic("eve", "lovelace"), "no name": basic("", "lovelace"), "no base64": "Basic ???",
		"no colon": "Basic " + base64.StdEncoding.EncodeToString([]byte("ada")), "another scheme": "Bearer x", "a long name": basic(strings.Repeat("a", 300), "x"),
		"a long password": basic("ada", strings.Repeat("x", 2000)), "a name of two lines": basic("ada\n", "lovelace"),
		"Digest, which is not offered": digest("ada", "lovelace", "n", uri),
	} {
		w.refused(name, http.StatusUnauthorized, func() *httptest.ResponseRecorder { return p.enroll(authorization) })
	}
	res := p.enroll(strings.Replace(basic("ada", "lovelace"), "Basic", "bAsIC", 1))
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "ada@S1", w.label(res.Body.Bytes()))
}

func TestDigest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPasswords(nil))
	p := w.phone("S1")
	fresh := func() string { return nonce(t, p.enroll("")) }
	res := p.enroll(digest("ada", "lovelace", fresh(), uri))
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "ada@S1", w.label(res.Body.Bytes()))
	// the form of RFC 2069, and a proxy in front
	n := fresh()
	assert.Equal(t, http.StatusOK, p.enroll(fmt.Sprintf(`Digest username=ada, realm="Example \"Inc\"",nonce="%s",uri="/public/path?customer=7",response=%s`,
		n, hash(hash("ada", realm, "lovelace"), n, hash(http.MethodPost, "/public/path?customer=7")))).Code)

	used, foreign := fresh(), nonce(t, w.phone("S2").enroll(""))
	require.Equal(t, http.StatusOK, p.enroll(digest("ada", "lovelace", used, uri)).Code)
	forged := base64.RawURLEncoding.EncodeToString(make([]byte, 56))
	ok := digest("ada", "lovelace", fresh(), uri)
	for name, authorization := range map[string]string{
		"wrong password": digest("ada", "x", fresh(), uri), "wrong name": digest("eve", "lovelace", fresh(), uri), "another's nonce": digest("ada", "lovelace", foreign, uri),
		"a nonce of his own": digest("ada", "lovelace", forged, uri), "no nonce": digest("ada", "lovelace", "", uri), "another query": digest("ada", "lovelace", fresh(), "/enroll?customer=8"),
		"nothing": "Digest ", "no end": `Digest username="ada`, "twice": ok + `, username="ada"`, "SHA-256": strings.Replace(ok, "=MD5", "=SHA-256", 1),
		"another realm": strings.Replace(ok, "Inc", "Ink", 1), "qop without nc": strings.Replace(ok, "nc=00000001, ", "", 1), "auth-int": strings.Replace(ok, "qop=auth", "qop=auth-int", 1),
		"long": ok + ", x=" + strings.Repeat("x", 5000), "a used nonce, wrong password": digest("ada", "x", used, uri),
	} {
		w.refused(name, http.StatusUnauthorized, func() *httptest.ResponseRecorder {
			res := p.enroll(authorization)
			assert.NotContains(t, res.Header().Get("Www-Authenticate"), "stale", name)
			return res
		})
	}
	stale := func(name, authorization string) {
		w.refused(name, http.StatusUnauthorized, func() *httptest.ResponseRecorder {
			res := p.enroll(authorization)
			assert.Contains(t, res.Header().Get("Www-Authenticate"), "stale=true", name)
			return res
		})
	}
	stale("a replay", digest("ada", "lovelace", used, uri))
	old := fresh()
	w.wait(ade.DefaultLifetime + time.Second)
	stale("too late", digest("ada", "lovelace", old, uri))
	require.Equal(t, http.StatusOK, p.enroll(digest("ada", "lovelace", fresh(), uri)).Code)
}

// A nonce is good once, also at once and in another process.
func TestDigestOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPasswords(nil))
	p := w.phone("S1")
	authorization, body := digest("ada", "lovelace", nonce(t, p.enroll("")), uri), p.message()
	again := *w.service // another process
	var wg sync.WaitGroup
	var good atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			service := w.service
			if i%2 == 0 {
				service = &again
			}
			req := httptest.NewRequest(http.MethodPost, uri, strings.NewReader(string(body)))
			req.Header.Set("Authorization", authorization)
			rec := httptest.NewRecorder()
			service.Enroll().ServeHTTP(rec, req)
			if rec.Code == http.StatusOK {
				good.Add(1)
			} else {
				assert.Equal(t, http.StatusUnauthorized, rec.Code)
				assert.Contains(t, rec.Header().Get("Www-Authenticate"), "stale=true")
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, good.Load())
	assert.Len(t, w.sessions.all(), 1)
}

func TestPasswordHooks(t *testing.T) {
	t.Parallel()
	var err error
	w := newWorld(t, withPasswords(func(p *ade.Password) {
		p.Basic = func(context.Context, string, mdm.Secret) error { return err }
		p.Digest = func(context.Context, string) (mdm.Secret, error) { return mdm.Secret{}, err }
	}))
	p := w.phone("S1")
	for e, want := range hookErrors() {
		authorization := digest("ada", "lovelace", nonce(t, p.enroll("")), uri)
		err = e
		w.refused(e.Error(), want, func() *httptest.ResponseRecorder { return p.enroll(basic("ada", "lovelace")) })
		w.refused(e.Error(), want, func() *httptest.ResponseRecorder { return p.enroll(authorization) })
	}
	err = nil
	authorization := digest("ada", "lovelace", nonce(t, p.enroll("")), uri)
	w.refused("no secret is no password", http.StatusUnauthorized, func() *httptest.ResponseRecorder { return p.enroll(authorization) })

	authorization = digest("ada", "lovelace", nonce(t, p.enroll("")), uri)
	w.service.Authenticate = func(context.Context, enroll.Session) (*ade.Password, error) { return passwords(), nil }
	w.sessions.outage(mdm.Errorf(mdm.Unavailable, "test", "later"))
	assert.Equal(t, http.StatusServiceUnavailable, p.enroll(authorization).Code)
	w.sessions.outage(nil)
	assert.Equal(t, http.StatusOK, p.enroll(authorization).Code, "an outage does not use the nonce up")

	for name, change := range map[string]func(*ade.Password){
		"no realm": func(p *ade.Password) { p.Realm = "" }, "two lines": func(p *ade.Password) { p.Realm = "a\r\nb" },
		"no way": func(p *ade.Password) { p.Basic, p.Digest = nil, nil },
	} {
		withPasswords(change)(w.service)
		w.refused(name, 500, func() *httptest.ResponseRecorder { return p.enroll("") })
	}
	withPasswords(nil)(w.service)
	w.service.Key = mdm.SecretString("short")
	w.refused("a short key", 500, func() *httptest.ResponseRecorder { return p.enroll("") })
	assert.NotErrorIs(t, errors.New("x"), ade.ErrWrong)
}

// TestHA1 holds the example of RFC 2617, 3.5.
func TestHA1(t *testing.T) {
	t.Parallel()
	ha1 := ade.HA1("Mufasa", "testrealm@host.com", mdm.SecretString("Circle Of Life"))
	assert.Equal(t, "939e7578ed9e3c518a452acee763bce9", string(ha1.Reveal()))
}
