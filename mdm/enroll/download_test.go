package enroll_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

func ask(t testing.TB, h http.Handler, method, target string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Result()
}

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	_, err := b.ReadFrom(res.Body)
	require.NoError(t, err)
	return b.String()
}

func TestDownload(t *testing.T) {
	recipe := scepRecipe(stores(t).SCEP)
	made := &counted{Identities: recipe.Identities}
	recipe.Identities = made
	d := &enroll.Download{Profile: recipe.Bytes, Login: enroll.Anybody}
	challenges := map[string]bool{}
	for range 2 {
		res := ask(t, d, http.MethodGet, "/enroll")
		require.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "application/x-apple-aspen-config", res.Header.Get("Content-Type"))
		assert.Equal(t, `attachment; filename=enroll.mobileconfig`, res.Header.Get("Content-Disposition"))
		assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		parsed, err := profile.Parse([]byte(body(t, res)))
		require.NoError(t, err)
		challenges[string(identityOf[*profile.SCEP](t, parsed.Profile).PayloadContent.Challenge.Reveal())] = true
	}
	assert.Len(t, challenges, 2, "each download has a challenge of its own")
	assert.Equal(t, 2, made.made)
}

func TestDownloadHeadMakesNothing(t *testing.T) {
	asked := 0
	d := &enroll.Download{Filename: "geräte.mobileconfig",
		Login:   func(http.ResponseWriter, *http.Request) (enroll.For, bool) { asked++; return enroll.For{}, true },
		Profile: func(context.Context, enroll.For) ([]byte, error) { asked++; return nil, nil }}
	res := ask(t, d, http.MethodHead, "/enroll")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "application/x-apple-aspen-config", res.Header.Get("Content-Type"))
	assert.Equal(t, "attachment; filename*=utf-8''ger%C3%A4te.mobileconfig", res.Header.Get("Content-Disposition"))
	assert.Empty(t, body(t, res))
	res = ask(t, d, http.MethodPost, "/enroll")
	assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
	assert.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
	assert.Zero(t, asked, "neither the user nor the recipe")
}

func TestDownloadLogin(t *testing.T) {
	var made []enroll.For
	d := &enroll.Download{
		Login: func(w http.ResponseWriter, r *http.Request) (enroll.For, bool) {
			user := r.URL.Query().Get("user")
			if user == "" {
				http.Redirect(w, r, "/login", http.StatusFound)
			}
			return enroll.For{Tenant: "red", User: user}, user != ""
		},
		Profile: func(_ context.Context, f enroll.For) ([]byte, error) {
			made = append(made, f)
			return []byte("profile"), nil
		},
	}
	res := ask(t, d, http.MethodGet, "/enroll")
	assert.Equal(t, http.StatusFound, res.StatusCode)
	assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	assert.NotContains(t, body(t, res), "profile")
	assert.Empty(t, made)
	res = ask(t, d, http.MethodGet, "/enroll?user=anna")
	assert.Equal(t, "profile", body(t, res))
	assert.Equal(t, []enroll.For{{Tenant: "red", User: "anna"}}, made)
}

func TestDownloadFails(t *testing.T) {
	for want, err := range map[int]error{
		http.StatusForbidden:           mdm.Errorf(mdm.Forbidden, "x", "PLAIN"),
		http.StatusServiceUnavailable:  mdm.Errorf(mdm.Unavailable, "x", "PLAIN"),
		http.StatusInternalServerError: errors.New("PLAIN"),
	} {
		var logged bytes.Buffer
		d := &enroll.Download{Login: enroll.Anybody, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
			Profile: func(context.Context, enroll.For) ([]byte, error) { return nil, err }}
		res := ask(t, d, http.MethodGet, "/enroll")
		assert.Equal(t, want, res.StatusCode)
		assert.NotEqual(t, profile.ContentType, res.Header.Get("Content-Type"))
		assert.NotContains(t, body(t, res), "PLAIN")
		assert.Contains(t, logged.String(), "PLAIN")
	}
	made := 0
	d := &enroll.Download{Profile: func(context.Context, enroll.For) ([]byte, error) { made++; return nil, nil }}
	assert.Equal(t, http.StatusInternalServerError, ask(t, d, http.MethodGet, "/enroll").StatusCode, "nobody said that everybody may")
	assert.Zero(t, made)
}
