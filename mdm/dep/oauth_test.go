package dep_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dghubble/oauth1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSignatureVectors checks what checks the client, and the library, against the examples of RFC 5849.
func TestSignatureVectors(t *testing.T) {
	// section 3.4.1.1
	base := rfcBase("POST", "http://example.com/request", [][2]string{
		{"b5", "=%3D"}, {"a3", "a"}, {"c@", ""}, {"a2", "r b"}, {"oauth_consumer_key", "9djdj82h48djs9d2"}, {"oauth_token", "kkk9d7dh3k39sjv7"},
		{"oauth_signature_method", "HMAC-SHA1"}, {"oauth_timestamp", "137131201"}, {"oauth_nonce", "7d8f3e4a"}, {"c2", ""}, {"a3", "2 q"},
	})
	require.Equal(t, "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D"+
		"%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201"+
		"%26oauth_token%3Dkkk9d7dh3k39sjv7", base)
	// section 1.2
	base = rfcBase("GET", "http://photos.example.net/photos", [][2]string{
		{"file", "vacation.jpg"}, {"size", "original"}, {"oauth_consumer_key", "dpf43f3p2l4k3l03"}, {"oauth_token", "nnch734d00sl2jdk"},
		{"oauth_signature_method", "HMAC-SHA1"}, {"oauth_timestamp", "137131202"}, {"oauth_nonce", "chapoH"},
	})
	const want = "MdpQcU8iPSUjWoN/UDMsK2sui9I="
	require.Equal(t, want, rfcSign(base, "kd94hf93k423kf44", "pfkkdhi9sl3r4s00"))
	got, err := (&oauth1.HMACSigner{ConsumerSecret: "kd94hf93k423kf44"}).Sign("pfkkdhi9sl3r4s00", base)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestSessionIsSigned reads the header that a session is asked with.
func TestSessionIsSigned(t *testing.T) {
	s := newService(t, nil)
	nonces := map[string]bool{}
	s.login = func(_ http.ResponseWriter, r *http.Request) bool {
		assert.Equal(t, http.MethodGet, r.Method)
		assert.Empty(t, r.Header.Get("X-ADM-Auth-Session"))
		assert.Equal(t, "applemdm/1.0", r.UserAgent())
		kind, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		assert.Equal(t, "OAuth", kind)
		params := map[string]string{}
		for _, part := range strings.Split(rest, ", ") {
			key, value, _ := strings.Cut(part, "=")
			value, err := url.PathUnescape(strings.Trim(value, `"`))
			assert.NoError(t, err)
			params[key] = value
		}
		var signed [][2]string
		for key, value := range params {
			if key != "realm" && key != "oauth_signature" {
				signed = append(signed, [2]string{key, value})
			}
		}
		base := rfcBase("GET", s.server.URL+"/session", signed)
		assert.Equal(t, rfcSign(base, "CS_consumer/secret+1", "AS_access~secret%1"), params["oauth_signature"])
		at, err := strconv.ParseInt(params["oauth_timestamp"], 10, 64)
		assert.NoError(t, err)
		assert.Less(t, time.Since(time.Unix(at, 0)).Abs(), time.Hour)
		assert.GreaterOrEqual(t, len(params["oauth_nonce"]), 32)
		nonces[params["oauth_nonce"]] = true
		for key, want := range map[string]string{
			"realm": "ADM", "oauth_consumer_key": "CK_0123456789abcdef", "oauth_token": "AT_access=token&1",
			"oauth_signature_method": "HMAC-SHA1", "oauth_version": "1.0",
		} {
			assert.Equal(t, want, params[key], key)
		}
		return false
	}
	for range 3 {
		_, err := s.client.Account(t.Context())
		require.NoError(t, err)
		s.expire()
	}
	assert.Equal(t, 3, s.logins)
	assert.Len(t, nonces, 3)
}
