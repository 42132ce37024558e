package dep_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// TestAppleWords has every word of Apple's documents, in every form in which it may come.
func TestAppleWords(t *testing.T) {
	s := newService(t, nil)
	for _, c := range []struct {
		status int
		word   string
		want   dep.Code
		class  mdm.Code
		person bool
	}{
		{400, "MALFORMED_REQUEST_BODY", dep.ErrMalformedBody, mdm.Malformed, false},
		{400, "USER_AGENT_MISSING", dep.ErrUserAgentMissing, mdm.Malformed, true},
		{400, "USER_AGENT_INVALID", dep.ErrUserAgentInvalid, mdm.Malformed, true},
		{401, "UNAUTHORIZED", dep.ErrUnauthorized, mdm.Forbidden, false},
		{403, "FORBIDDEN", dep.ErrForbidden, mdm.Forbidden, true},
		{403, "ACCESS_DENIED", dep.ErrAccessDenied, mdm.Forbidden, true},
		{403, "T_C_NOT_SIGNED", dep.ErrTermsNotSigned, mdm.Unavailable, true},
		{400, "INVALID_CURSOR", dep.ErrInvalidCursor, mdm.Malformed, false},
		{400, "EXHAUSTED_CURSOR", dep.ErrExhaustedCursor, mdm.Malformed, false},
		{400, "CURSOR_REQUIRED", dep.ErrCursorRequired, mdm.Malformed, false},
		{400, "EXPIRED_CURSOR", dep.ErrExpiredCursor, mdm.Malformed, false},
		{400, "DEVICE_ID_REQUIRED", dep.ErrDeviceIDRequired, mdm.Malformed, false},
		{400, "CONFIG_NAME_REQUIRED", dep.ErrProfileNameRequired, mdm.Malformed, false},
		{400, "CONFIG_NAME_INVALID", dep.ErrProfileNameInvalid, mdm.Malformed, false},
		{400, "CONFIG_URL_REQUIRED", dep.ErrProfileURLRequired, mdm.Malformed, false},
		{400, "CONFIG_URL_INVALID", dep.ErrProfileURLInvalid, mdm.Malformed, false},
		{400, "DEPARTMENT_INVALID", dep.ErrDepartmentInvalid, mdm.Malformed, false},
		{400, "SUPPORT_PHONE_INVALID", dep.ErrSupportPhoneInvalid, mdm.Malformed, false},
		{400, "SUPPORT_EMAIL_INVALID", dep.ErrSupportEmailInvalid, mdm.Malformed, false},
		{400, "MAGIC_INVALID", dep.ErrMagicInvalid, mdm.Malformed, false},
		{400, "FLAGS_INVALID", dep.ErrFlagsInvalid, mdm.Malformed, false},
		{400, "LOCALE_INVALID", dep.ErrLocaleInvalid, mdm.Malformed, false},
		{400, "PROFILE_UUID_REQUIRED", dep.ErrProfileUUIDRequired, mdm.Malformed, false},
		{400, "NOT_FOUND", dep.ErrNotFound, mdm.NotFound, false},
		{404, "NOT_FOUND", dep.ErrNotFound, mdm.NotFound, false},
		{404, "DEVICE_NOT_FOUND", dep.ErrDeviceNotFound, mdm.NotFound, false},
		{403, "APPLE_SEED_FOR_IT_TURNED_OFF", dep.ErrBetaTurnedOff, mdm.Forbidden, true},
		{400, "MDM_SERVICE_DISCOVERY_URL_REQUIRED", dep.ErrDiscoveryURLRequired, mdm.Malformed, false},
		{400, "MDM_SERVICE_DISCOVERY_URL_NOT_VALID", dep.ErrDiscoveryURLInvalid, mdm.Malformed, false},
		{400, "ORG_NOT_SUPPORTED", dep.ErrOrgNotSupported, mdm.Malformed, false},
		{400, "A_NEWER_WORD", "A_NEWER_WORD", mdm.Malformed, false},
	} {
		for _, form := range []string{
			"%s", `"%s"`, " %s\r\n", "\"%s\"\n", `'%s'`, "\ufeff%s", `{"code":%q}`, `{"error":{"code":"%s","message":"no"}}`, `{"errors":[{"code":"%s"}]}`,
			`{"message":"%s"}`, `["%s"]`,
		} {
			body := fmt.Sprintf(form, c.word)
			s.answer = says(c.status, body)
			_, err := s.client.Account(t.Context())
			require.ErrorIs(t, err, c.want, body)
			var e *dep.Error
			require.ErrorAs(t, err, &e, body)
			assert.Equal(t, c.want, e.Code, body)
			assert.Equal(t, "GET /account", e.Call)
			assert.Contains(t, err.Error(), c.word)
			var code *mdm.Error
			require.ErrorAs(t, err, &code)
			assert.Equal(t, c.class, code.Code, body)
			p, person := dep.AsProblem(fmt.Errorf("wrapped: %w", err))
			assert.Equal(t, c.person, person, body)
			if person {
				assert.Equal(t, c.word, p.Code)
				assert.Equal(t, e.Help(), p.Text)
				assert.NotEmpty(t, p.Text)
			}
		}
		if c.want != "A_NEWER_WORD" {
			s.answer = says(c.status, "Error: "+c.word+", try again")
			_, err := s.client.Account(t.Context())
			require.ErrorIs(t, err, c.want, "in a sentence")
		}
	}
}

func TestBodiesThatAreNoWord(t *testing.T) {
	s := newService(t, nil)
	for body, want := range map[string]string{
		"":                                       "",
		"<html><b>T_C_NOT_SIGNED</b>":            "", // a page of a proxy is not Apple
		"oauth problem\x00\x1b[31m\nof a kind":   "oauth problem  [31m of a kind",
		"\xff\xfe bad":                           "� bad",
		`{"a":1}`:                                `{"a":1}`,
		`{"code":7}`:                             `{"code":7}`,
		`{"code":`:                               `{"code":`,
		strings.Repeat(`[`, 50) + "x":            strings.Repeat(`[`, 50) + "x",
		strings.Repeat("ü", 50000):               strings.Repeat("ü", 98) + "…",
		strings.Repeat("A", 65):                  strings.Repeat("A", 65),
		"lower_case":                             "lower_case",
		"ERR_ACCESS_DENIED by the proxy at hand": "ERR_ACCESS_DENIED by the proxy at hand",
	} {
		s.answer = says(400, body)
		_, err := s.client.Account(t.Context())
		var e *dep.Error
		require.ErrorAs(t, err, &e, body)
		assert.Equal(t, 400, e.Status)
		assert.Empty(t, e.Code, body)
		assert.Equal(t, want, e.Text)
		assert.LessOrEqual(t, len(e.Text), 200)
		assert.Equal(t, -1, strings.IndexFunc(err.Error(), unicode.IsControl))
		assert.NotErrorIs(t, err, dep.Code(""))
	}
}

func TestStatuses(t *testing.T) {
	s := newService(t, nil)
	for status, want := range map[int]mdm.Code{
		302: mdm.Unavailable, 400: mdm.Malformed, 401: mdm.Forbidden, 403: mdm.Forbidden, 404: mdm.NotFound, 405: mdm.Malformed, 409: mdm.Malformed,
		429: mdm.Unavailable, 500: mdm.Unavailable, 502: mdm.Unavailable, 503: mdm.Unavailable, 504: mdm.Unavailable,
	} {
		s.answer = says(status, "")
		_, err := s.client.Account(t.Context())
		require.Error(t, err)
		assert.Equal(t, want, mdm.CodeOf(err), status)
		assert.Equal(t, status == 404, errors.Is(err, dep.ErrNotFound), status)
		assert.Equal(t, status == 429, errors.Is(err, dep.ErrThrottled), status)
		assert.Equal(t, status >= 500 || status < 400, errors.Is(err, dep.ErrUnavailable), status)
		_, person := dep.AsProblem(err)
		assert.False(t, person, status)
	}
}

// TestSessionIsRefused: why no session is given, and who has to do what.
func TestSessionIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		date   time.Duration // of Apple's clock, from ours
		now    time.Duration // of ours, from callsNow
		want   dep.Code
		class  mdm.Code
	}{
		{"revoked", 401, "token_rejected", 0, 0, dep.ErrTokenRefused, mdm.Forbidden},
		{"revoked, with nothing said", 401, "", 0, 0, dep.ErrTokenRefused, mdm.Forbidden},
		{"forbidden", 403, "FORBIDDEN", 0, 0, dep.ErrTokenRefused, mdm.Forbidden},
		{"expired", 401, "", 0, 366 * 24 * time.Hour, dep.ErrTokenExpired, mdm.Forbidden},
		{"expired by Apple's word", 401, "oauth_problem: token_expired", 0, 0, dep.ErrTokenExpired, mdm.Forbidden},
		{"our clock", 401, "", time.Hour, 0, dep.ErrClockWrong, mdm.Forbidden},
		{"our clock, ahead", 401, "", -6 * time.Minute, 0, dep.ErrClockWrong, mdm.Forbidden},
		{"our clock, by Apple's word", 401, "timestamp_refused", 0, 0, dep.ErrClockWrong, mdm.Forbidden},
		{"a little off", 401, "", 4 * time.Minute, 0, dep.ErrTokenRefused, mdm.Forbidden},
		{"terms", 403, "T_C_NOT_SIGNED", time.Hour, 0, dep.ErrTermsNotSigned, mdm.Unavailable},
		{"denied", 403, "ACCESS_DENIED", 0, 0, dep.ErrAccessDenied, mdm.Forbidden},
		{"user agent", 400, "USER_AGENT_INVALID", 0, 0, dep.ErrUserAgentInvalid, mdm.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, nil)
			now := callsNow.Add(c.now)
			s.client.Clock = func() time.Time { return now }
			s.login = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Date", now.Add(c.date).Format(http.TimeFormat))
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
				return true
			}
			_, err := s.client.Account(t.Context())
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, c.class, mdm.CodeOf(err))
			p, ok := dep.AsProblem(err)
			require.True(t, ok)
			assert.Equal(t, string(c.want), p.Code)
			assert.NotEmpty(t, p.Text)
			assert.Zero(t, p.Since)
			assert.Empty(t, s.names(), "nothing is asked without a session")
		})
	}
	s := newService(t, nil)
	for _, body := range []string{"", "{}", `{"auth_session_token":""}`, `{"auth_session_token":"a\nb"}`, `{"auth_session_token":7}`} {
		s.login = func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, body)
			return true
		}
		_, err := s.client.Account(t.Context())
		require.ErrorContains(t, err, "no session", body)
		assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))
	}
}

func TestProblemsOfOurs(t *testing.T) {
	_, err := (&dep.Client{Token: dep.StaticToken(dep.Token{})}).Account(t.Context())
	p, ok := dep.AsProblem(err)
	require.True(t, ok)
	assert.Equal(t, "NO_TOKEN", p.Code)
	p, ok = dep.AsProblem(callsToken().Check(callsNow.AddDate(1, 0, 0)))
	require.True(t, ok)
	assert.Equal(t, "TOKEN_EXPIRED", p.Code)
	for _, err := range []error{nil, io.EOF, dep.ErrThrottled, mdm.Errorf(mdm.Forbidden, "x", "y")} {
		_, ok := dep.AsProblem(err)
		assert.False(t, ok, "%v", err)
	}
}
