package ota_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/profile"
)

func TestStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ota.Service) {
		s.Description, s.Organization = "Describes", "Example"
		s.Attributes = []string{"UDID", "IMEI"}
	})
	res := w.get("user=ada")
	require.Equal(t, http.StatusOK, res.Code)
	assert.Equal(t, "application/x-apple-aspen-config", res.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", res.Header().Get("Cache-Control"))

	message, err := cms.ParseSigned(res.Body.Bytes(), cms.Limits{})
	require.NoError(t, err)
	require.NoError(t, message.Verify())
	assert.True(t, message.Signer.Equal(w.ca.Certificate))
	var top map[string]any
	require.NoError(t, plistx.Unmarshal(message.Content, &top))
	content := top["PayloadContent"].(map[string]any)
	delete(top, "PayloadContent")
	assert.Len(t, top["PayloadUUID"], 36)
	delete(top, "PayloadUUID")
	assert.Equal(t, map[string]any{"PayloadType": "Profile Service", "PayloadVersion": uint64(1), "PayloadIdentifier": "com.example.enroll",
		"PayloadDisplayName": "Enroll", "PayloadDescription": "Describes", "PayloadOrganization": "Example"}, top)
	assert.Equal(t, []any{"UDID", "IMEI"}, content["DeviceAttributes"])
	assert.Len(t, content, 3)

	u, err := url.Parse(content["URL"].(string))
	require.NoError(t, err)
	assert.Equal(t, "7", u.Query().Get("customer"), "the query of URL stays")
	row, ok := w.sessions.all()[u.Query().Get("session")]
	require.True(t, ok)
	challenge := content["Challenge"].(string)
	random, err := base64.RawURLEncoding.DecodeString(challenge)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(random), 16)
	assert.Equal(t, sha256.Sum256([]byte(challenge)), row.Secret)
	assert.NotContains(t, row.ID, challenge)
	assert.Equal(t, "ada", row.User)
	assert.Equal(t, enroll.SessionOpen, row.State)
	assert.Equal(t, ota.DefaultLifetime, row.OpenUntil.Sub(row.BegunAt))
	assert.True(t, row.KeepUntil.After(row.OpenUntil))
	assert.Zero(t, row.Runs)

	_, other := readService(t, w.get("").Body.Bytes())
	assert.NotEqual(t, challenge, other)
	assert.Len(t, w.sessions.all(), 2)
}

func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ota.Service) {
		s.Login = func(rw http.ResponseWriter, r *http.Request) (string, bool) {
			if user, password, ok := r.BasicAuth(); ok && password == "right" {
				return user, true
			}
			if r.URL.Query().Has("browser") {
				http.Redirect(rw, r, "/login", http.StatusFound)
				return "", false
			}
			rw.Header().Set("WWW-Authenticate", "Basic")
			http.Error(rw, "who are you", http.StatusUnauthorized)
			return "", false
		}
	})
	res := w.get("")
	assert.Equal(t, http.StatusUnauthorized, res.Code)
	assert.Equal(t, "Basic", res.Header().Get("WWW-Authenticate"))
	assert.Equal(t, "no-store", res.Header().Get("Cache-Control"))
	res = w.get("browser")
	assert.Equal(t, http.StatusFound, res.Code)
	assert.Equal(t, "/login", res.Header().Get("Location"))
	assert.Empty(t, w.sessions.all())

	req := httptest.NewRequest(http.MethodGet, "/start", nil)
	req.SetBasicAuth("ada", "right")
	res = httptest.NewRecorder()
	w.service.Start().ServeHTTP(res, req)
	assert.Equal(t, http.StatusOK, res.Code)
	assert.Len(t, w.sessions.all(), 1)
}

func TestMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, c := range []struct {
		handler http.Handler
		allowed string
	}{{w.service.Start(), http.MethodGet}, {w.service.Continue(), http.MethodPost}} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if method == c.allowed {
				continue
			}
			res := httptest.NewRecorder()
			c.handler.ServeHTTP(res, httptest.NewRequest(method, "/", nil))
			assert.Equal(t, http.StatusMethodNotAllowed, res.Code, method)
			assert.Equal(t, c.allowed, res.Header().Get("Allow"))
		}
	}
	assert.Empty(t, w.sessions.all(), "a HEAD begins no session")
}

func TestWhatIsRequired(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ota.Service){
		"Sessions":   func(s *ota.Service) { s.Sessions = nil },
		"Ledger":     func(s *ota.Service) { s.Ledger = nil },
		"Validator":  func(s *ota.Service) { s.Validator = nil },
		"Signer":     func(s *ota.Service) { s.Signer = nil },
		"Identifier": func(s *ota.Service) { s.Identifier = "" },
		"Login":      func(s *ota.Service) { s.Login = nil },
		"Final":      func(s *ota.Service) { s.Final = nil },
		"SCEP":       func(s *ota.Service) { s.SCEP.URL = "" },
		"http":       func(s *ota.Service) { s.URL = "http://mdm.example.com" },
		"no host":    func(s *ota.Service) { s.URL = "https:///x" },
		"no URL":     func(s *ota.Service) { s.URL = "https://%zz" },
	} {
		w := newWorld(t, change)
		assert.Equal(t, http.StatusInternalServerError, w.get("").Code, name)
		assert.Equal(t, http.StatusInternalServerError, w.post("/continue", nil).Code, name)
	}
	var nothing ota.Service
	res := httptest.NewRecorder()
	nothing.Start().ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusInternalServerError, res.Code)
}

type failingSigner struct{ err error }

func (f failingSigner) Sign(context.Context, []byte) ([]byte, error) { return nil, f.err }

func TestStartFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.sessions.outage(mdm.Errorf(mdm.Unavailable, "store", "down"), 0)
	res := w.get("")
	assert.Equal(t, http.StatusServiceUnavailable, res.Code)
	assert.Equal(t, "60", res.Header().Get("Retry-After"))
	w.sessions.outage(errors.New("broken"), 0)
	assert.Equal(t, http.StatusInternalServerError, w.get("").Code)

	w = newWorld(t, func(s *ota.Service) { s.Signer = failingSigner{errors.New("no HSM")} })
	assert.Equal(t, http.StatusInternalServerError, w.get("").Code)
	assert.Empty(t, w.sessions.all(), "what cannot be sent is not stored")

	w = newWorld(t, func(s *ota.Service) { s.Signer = profile.CMSSigner{} })
	assert.Equal(t, http.StatusInternalServerError, w.get("").Code)
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *ota.Service) { s.Lifetime = time.Minute })
	p := w.begun("S1")
	w.wait(61 * time.Second)
	before := w.sessions.all()
	assert.Equal(t, http.StatusForbidden, p.step2().Code)
	assert.Equal(t, before, w.sessions.all())
	p = w.begun("S1")
	w.wait(59 * time.Second)
	require.Equal(t, http.StatusOK, p.step2().Code)
	w.wait(59 * time.Second)
	assert.Equal(t, http.StatusOK, p.step2().Code, "taken up, it is open for as long again")
	w.wait(2 * time.Second)
	assert.Equal(t, http.StatusForbidden, p.step2().Code, "but that once only")
}
