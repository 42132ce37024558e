package dep_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
)

// TestNothingSecretIsTold has a service that sends everything back that it is sent.
func TestNothingSecretIsTold(t *testing.T) {
	var logged bytes.Buffer
	s := newService(t, nil)
	s.client.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var told []string
	tell := func(err error) {
		require.Error(t, err)
		var e *dep.Error
		require.ErrorAs(t, err, &e)
		told = append(told, err.Error(), fmt.Sprintf("%+v %v", e, errors.Unwrap(err)), e.Text, string(e.Code))
	}
	echo := func(w http.ResponseWriter, header http.Header) {
		for _, values := range header {
			_, _ = io.WriteString(w, values[0]+" ")
		}
		_, _ = io.WriteString(w, "CS_consumer/secret+1 AS_access~secret%1 AS_access~secret%251")
	}
	s.login = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "AT_access=token&1 "+r.Header.Get("Authorization")[:60]+" "+oauthToken(r)+" ")
		echo(w, r.Header)
		return true
	}
	_, err := s.client.Account(t.Context())
	tell(err)
	s.login = nil
	s.answer = func(w http.ResponseWriter, a asked) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, a.Session+" ")
		echo(w, a.Header)
	}
	_, err = s.client.Account(t.Context())
	tell(err)
	assert.Contains(t, logged.String(), "GET /session")
	told = append(told, logged.String())
	for _, text := range told {
		for _, secret := range []string{"session-1", "CS_consumer", "AS_access", "AT_access", "AT_", "secret%251"} {
			assert.NotContains(t, text, secret)
		}
	}
}

// oauthToken returns the token as it stands in the header.
func oauthToken(r *http.Request) string {
	_, after, _ := strings.Cut(r.Header.Get("Authorization"), `oauth_token="`)
	token, _, _ := strings.Cut(after, `"`)
	return token
}
