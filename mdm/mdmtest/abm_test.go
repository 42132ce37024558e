package mdmtest_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func TestABMTokenIsWhatApplesIs(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq := abm.Server("HQ")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "upload"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)

	file := abm.Token(hq, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	outer := textproto.NewReader(bufio.NewReader(bytes.NewReader(file)))
	head, err := outer.ReadMIMEHeader()
	require.NoError(t, err)
	require.Contains(t, head.Get("Content-Type"), "smime-type=enveloped-data")
	sealed, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, outer.R))
	require.NoError(t, err)
	inner, err := cms.Decrypt(sealed, cert, key, cms.Limits{})
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(inner), "-----BEGIN MESSAGE-----\r\n")
	require.True(t, ok)
	text, _, ok = strings.Cut(text, "-----END MESSAGE-----")
	require.True(t, ok)
	require.Greater(t, strings.Count(text, "\r\n"), 2, "the JSON is broken into lines")
	var token mdmtest.ABMToken
	require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(text, "\r\n", "")), &token))
	require.Equal(t, abm.Credentials(hq), token)
	require.Equal(t, token.AccessSecret, string(token.Token().AccessSecret.Reveal()))
	require.Equal(t, now.now().AddDate(1, 0, 0), token.Expires)

	c := newABMClient(t, abm, hq, now.now)
	c.call("GET", "/account", nil, nil)
	renewed := abm.Renew(hq)
	require.Equal(t, token.ConsumerKey, renewed.ConsumerKey)
	require.NotEqual(t, token.AccessToken, renewed.AccessToken)
	require.NotEqual(t, token.ConsumerKey, abm.Credentials(abm.Server("Branch")).ConsumerKey)
	c.refused(401, "UNAUTHORIZED", "GET", "/account", nil) // the old session
	status, _ := c.login()
	require.Equal(t, 401, status, "the old token")
	c.token = renewed
	c.call("GET", "/account", nil, nil)

	now.add(366 * 24 * time.Hour)
	status, _ = c.login()
	require.Equal(t, 401, status, "it has expired")
	c.token = abm.Renew(hq)
	status, _ = c.login()
	require.Equal(t, 200, status)
	abm.Revoke(hq)
	status, _ = c.login()
	require.Equal(t, 401, status, "it was revoked")
	require.Empty(t, abm.Violations(), "none of it was the client's fault")
}

func TestABMRefusesWhatOAuthRefuses(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, now.now)
	ask := func(authorization string) (int, string) {
		status, _, _ := c.ask("GET", "/session", nil, http.Header{"Authorization": {authorization}})
		v := abm.Violations()
		if len(v) == 0 {
			return status, ""
		}
		return status, v[len(v)-1]
	}
	good := c.sign(c.oauth(), "GET", c.url+"/session")
	status, _ := ask(good)
	require.Equal(t, 200, status)
	require.Empty(t, abm.Violations())
	for _, tt := range []struct {
		name, header, why string
		status            int
	}{
		{"replayed", good, "nonce", 401},
		{"no realm", strings.Replace(c.sign(c.oauth(), "GET", c.url+"/session"), `realm="ADM", `, "", 1), "realm is missing", 400},
		{"other realm", strings.Replace(c.sign(c.oauth(), "GET", c.url+"/session"), "ADM", "XYZ", 1), "realm is not", 400},
		{"other URL", c.sign(c.oauth(), "GET", c.url+"/account"), "signature", 401},
		{"other method", c.sign(c.oauth(), "POST", c.url+"/session"), "signature", 401},
		{"basic", "Basic Zm9vOmJhcg==", "not OAuth", 400},
		{"no quotes", "OAuth realm=ADM", "quotes", 400},
		{"twice", good + `, oauth_nonce="x"`, "twice", 400},
	} {
		status, why := ask(tt.header)
		assert.Equal(t, tt.status, status, tt.name)
		assert.Contains(t, why, tt.why, tt.name)
	}
	for _, tt := range []struct {
		name, key, value, why string
		status                int
	}{
		{"late", "oauth_timestamp", strconv.FormatInt(now.now().Add(-6*time.Minute).Unix(), 10), "6m0s off", 401},
		{"early", "oauth_timestamp", strconv.FormatInt(now.now().Add(6*time.Minute).Unix(), 10), "-6m0s off", 401},
		{"no number", "oauth_timestamp", "now", "not a number", 400},
		{"no nonce", "oauth_nonce", "", "oauth_nonce is missing", 400},
		{"a method", "oauth_signature_method", "PLAINTEXT", "HMAC-SHA1", 400},
		{"a version", "oauth_version", "2.0", "version", 400},
		{"a key", "oauth_consumer_key", "CK_x", "consumer key", 401},
		{"a token", "oauth_token", "AT_x", "token is not known", 401},
	} {
		params := c.oauth()
		params[tt.key] = tt.value
		status, why := ask(c.sign(params, "GET", c.url+"/session"))
		assert.Equal(t, tt.status, status, tt.name)
		assert.Contains(t, why, tt.why, tt.name)
	}
	odd := c.oauth()
	odd["oauth_nonce"] = "a b+c/d=e~f%g"
	delete(odd, "oauth_version")
	status, why := ask(c.sign(odd, "GET", c.url+"/session"))
	require.Equal(t, 200, status, why)
}

func TestABMSessionsEndAndRotate(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now, SessionFor: time.Minute})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, now.now)
	c.call("GET", "/account", nil, nil)
	now.add(time.Minute)
	c.refused(401, "UNAUTHORIZED", "GET", "/account", nil)
	c.login()
	abm.ForbidSessions()
	c.refused(403, "FORBIDDEN", "GET", "/account", nil)
	c.login()
	abm.EndSessions()
	c.refused(401, "UNAUTHORIZED", "GET", "/account", nil)
	c.login()

	abm.RotateSessions(2, true)
	first := c.session
	c.call("GET", "/account", nil, nil)
	require.Equal(t, first, c.session)
	c.call("GET", "/account", nil, nil)
	require.NotEqual(t, first, c.session)
	c.call("GET", "/account", nil, nil)
	status, _, _ := c.ask("GET", "/account", nil, http.Header{"X-Adm-Auth-Session": {first}})
	require.Equal(t, 401, status)
	abm.RotateSessions(0, false)

	abm.RequireTerms(true)
	c.refused(403, "T_C_NOT_SIGNED", "GET", "/account", nil)
	status, text := c.login()
	require.Equal(t, 403, status)
	require.Equal(t, "T_C_NOT_SIGNED", text)
	abm.RequireTerms(false)
	c.call("GET", "/account", nil, nil)
	hq.Org().RequireTerms(true)
	c.refused(403, "T_C_NOT_SIGNED", "GET", "/account", nil)
	other := newABMClient(t, abm, abm.Org("Other Ltd.").Server("HQ"), now.now)
	other.call("GET", "/account", nil, nil)
	hq.Org().RequireTerms(false)
	abm.Deny(hq, true)
	c.refused(403, "ACCESS_DENIED", "GET", "/account", nil)
	abm.Deny(hq, false)
	c.call("GET", "/account", nil, nil)
	require.Empty(t, abm.Violations())

	status, _, _ = c.ask("GET", "/account", nil, http.Header{"X-Adm-Auth-Session": {"made up"}})
	require.Equal(t, 401, status)
	require.Len(t, abm.Violations(), 1)
	require.Equal(t, 6, abm.Totals().Sessions)
}

func TestABMLooksAtHeaders(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	c := newABMClient(t, abm, abm.Server("HQ"), nil)
	c.login()
	for _, tt := range []struct {
		method, path string
		body         any
		header       http.Header
		status       int
		code         string
	}{
		{"GET", "/account", nil, http.Header{"User-Agent": {""}}, 400, "USER_AGENT_MISSING"},
		{"GET", "/account", nil, http.Header{"User-Agent": {"curl"}}, 400, "USER_AGENT_INVALID"},
		{"GET", "/account", nil, http.Header{"User-Agent": {"mdm/ü"}}, 400, "USER_AGENT_INVALID"},
		{"GET", "/account", nil, http.Header{"X-Server-Protocol-Version": {"x"}}, 400, "BAD_REQUEST"},
		{"GET", "/account", nil, http.Header{"Accept": {"text/html"}}, 406, "NOT_ACCEPTABLE"},
		{"POST", "/account", object{}, nil, 405, "METHOD_NOT_ALLOWED"},
		{"GET", "/accounts", nil, nil, 404, "NOT_FOUND"},
		{"POST", "/devices", object{"devices": []string{"x"}}, http.Header{"Content-Type": {"text/plain"}}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"POST", "/devices", []byte(`{"devices":["x"]`), nil, 400, "MALFORMED_REQUEST_BODY"},
		{"POST", "/devices", []byte(`{"devices":["x"]}{}`), nil, 400, "MALFORMED_REQUEST_BODY"},
		{"POST", "/devices", []byte(`{"devices":["x"]}}`), nil, 400, "MALFORMED_REQUEST_BODY"},
		{"POST", "/devices", []byte(`{"devices":["x"]}]`), nil, 400, "MALFORMED_REQUEST_BODY"},
		{"POST", "/devices", []byte(`{"Devices":["x"]}`), nil, 400, "DEVICE_ID_REQUIRED"},
		{"POST", "/devices/sync", []byte(`{"CURSOR":"x"}`), nil, 400, "CURSOR_REQUIRED"},
		{"POST", "/devices", []byte(`null`), nil, 400, "MALFORMED_REQUEST_BODY"},
		{"POST", "/devices", bytes.Repeat([]byte{' '}, 5<<20), nil, 413, "MALFORMED_REQUEST_BODY"},
		{"POST", "/server/devices", nil, nil, 400, "MALFORMED_REQUEST_BODY"},
	} {
		before := len(abm.Violations())
		status, text, _ := c.ask(tt.method, tt.path, tt.body, tt.header)
		assert.Equal(t, tt.code, text)
		assert.Equal(t, tt.status, status, tt.code)
		assert.Len(t, abm.Violations(), before+1, "%s is a violation", tt.code)
	}
	c.call("POST", "/profile", []byte(`{"profile_name":"x","url":"https://x","Devices":5}`), nil) // a key that nobody knows
	before := len(abm.Violations())
	status, _, _ := c.ask("GET", "/account", nil, http.Header{"User-Agent": {"Go-http-client/1.1"}})
	require.Equal(t, 200, status)
	require.Contains(t, abm.Violations()[before], "unwise: ")
	require.Equal(t, 1, abm.Calls("POST /server/devices"))
	require.Equal(t, 2, abm.Calls("other"))
}

func TestABMAccountTellsOfLimitsByVersion(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{MaxLimit: 50, AssignBy: "POST"})
	c := newABMClient(t, abm, abm.Org("School").Server("HQ"), nil)
	var account struct {
		Name string `json:"server_name"`
		Org  string `json:"org_name"`
		ID   string `json:"org_id"`
		URLs []struct {
			URI     string   `json:"uri"`
			Methods []string `json:"http_method"`
			Limit   *struct {
				Default, Maximum int
			}
		}
	}
	c.call("GET", "/account", nil, &account)
	require.Equal(t, "HQ", account.Name)
	require.Equal(t, "School", account.Org)
	require.NotEmpty(t, account.ID)
	for _, u := range account.URLs {
		if u.URI == "/profile/devices" {
			require.Equal(t, 50, u.Limit.Maximum)
			require.Equal(t, []string{"POST", "DELETE"}, u.Methods)
		}
	}
	require.Len(t, account.URLs, 10)
	c.header["X-Server-Protocol-Version"] = []string{"2"}
	account.URLs, account.ID = nil, ""
	c.call("GET", "/account", nil, &account)
	require.Empty(t, account.URLs)
	require.Empty(t, account.ID)
}
