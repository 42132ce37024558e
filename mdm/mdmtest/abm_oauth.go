package mdmtest

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // OAuth 1.0 has it
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// abmOAuth is an Authorization header of OAuth 1.0 (RFC 5849, section 3.5.1).
type abmOAuth map[string]string

// parseABMOAuth reads the header, as strictly as it is defined.
func parseABMOAuth(header []string) (abmOAuth, error) {
	if len(header) != 1 {
		return nil, fmt.Errorf("%d Authorization headers", len(header))
	}
	scheme, rest, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "OAuth") {
		return nil, errors.New("not OAuth")
	}
	o := abmOAuth{}
	for _, part := range strings.Split(rest, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
			return nil, fmt.Errorf("the value of %q is not in quotes", key)
		}
		decoded, err := url.PathUnescape(value[1 : len(value)-1])
		if err != nil {
			return nil, fmt.Errorf("the value of %q is not percent-encoded", key)
		}
		if _, twice := o[key]; twice {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		o[key] = decoded
	}
	return o, nil
}

// wrong tells what is wrong with the parameters, whoever they are from.
func (o abmOAuth) wrong() string {
	for _, key := range []string{"realm", "oauth_consumer_key", "oauth_token", "oauth_signature_method", "oauth_signature", "oauth_timestamp", "oauth_nonce"} {
		if o[key] == "" {
			return key + " is missing"
		}
	}
	_, err := strconv.ParseInt(o["oauth_timestamp"], 10, 64)
	version, versioned := o["oauth_version"]
	switch {
	case o["realm"] != "ADM":
		return "the realm is not ADM"
	case o["oauth_signature_method"] != "HMAC-SHA1":
		return "the signature method is not HMAC-SHA1"
	case versioned && version != "1.0":
		return "the version is not 1.0"
	case err != nil:
		return "the timestamp is not a number"
	}
	return ""
}

// base returns what is signed (RFC 5849, section 3.4.1).
func (o abmOAuth) base(c *abmCall) string {
	var pairs []string
	for key, value := range o {
		if key != "realm" && key != "oauth_signature" {
			pairs = append(pairs, abmPercent(key)+"="+abmPercent(value))
		}
	}
	for key, values := range c.query {
		for _, value := range values {
			pairs = append(pairs, abmPercent(key)+"="+abmPercent(value))
		}
	}
	slices.Sort(pairs)
	where := "https://" + strings.TrimSuffix(strings.ToLower(c.host), ":443") + c.path
	return c.method + "&" + abmPercent(where) + "&" + abmPercent(strings.Join(pairs, "&"))
}

// signed reports whether the signature is that of the token.
func (o abmOAuth) signed(c *abmCall, t ABMToken) bool {
	mac := hmac.New(sha1.New, []byte(abmPercent(t.ConsumerSecret)+"&"+abmPercent(t.AccessSecret)))
	mac.Write([]byte(o.base(c)))
	got, err := base64.StdEncoding.DecodeString(o["oauth_signature"])
	return err == nil && hmac.Equal(got, mac.Sum(nil))
}

// abmPercent encodes as RFC 5849, section 3.6, has it.
func abmPercent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// session answers GET /session.
func (a *ABM) session(c *abmCall) abmReply {
	o, err := parseABMOAuth(c.header["Authorization"])
	if err != nil {
		return refuseABM(http.StatusBadRequest, "BAD_REQUEST", "%v", err)
	}
	if wrong := o.wrong(); wrong != "" {
		return refuseABM(http.StatusBadRequest, "BAD_REQUEST", "%s", wrong)
	}
	s, wrong, excused := a.authorize(c, o)
	switch {
	case wrong != "" && excused:
		return sayABM(http.StatusUnauthorized, "UNAUTHORIZED")
	case wrong != "":
		return refuseABM(http.StatusUnauthorized, "UNAUTHORIZED", "%s", wrong)
	}
	c.server = s
	if reply, refused := a.closed(s); refused {
		return reply
	}
	a.totals.Sessions++
	return c.json(map[string]string{"auth_session_token": a.begin(s, s.token.AccessToken)})
}

// authorize finds the server that asks, or tells what is wrong; excused if the client could not know.
func (a *ABM) authorize(c *abmCall, o abmOAuth) (s *ABMServer, wrong string, excused bool) {
	for _, one := range a.servers {
		if one.token.ConsumerKey != "" && one.token.ConsumerKey == o["oauth_consumer_key"] {
			s = one
		}
	}
	if s == nil {
		return nil, "the consumer key is not known", false
	}
	if over := a.tokenOver(s, o["oauth_token"]); over != "" {
		return nil, over, true
	}
	if o["oauth_token"] != s.token.AccessToken {
		return nil, "the token is not known", false
	}
	if !o.signed(c, s.token) {
		return nil, "the signature is wrong", false
	}
	seconds, _ := strconv.ParseInt(o["oauth_timestamp"], 10, 64) // checked before
	at, now := time.Unix(seconds, 0), a.config.SignClock().Truncate(time.Second)
	if d := now.Sub(at); d > a.config.Skew || d < -a.config.Skew {
		return nil, fmt.Sprintf("the timestamp is %v off", d), false
	}
	for nonce, used := range a.nonces {
		if len(a.nonces) < abmKept {
			break
		}
		if now.Sub(used) > 2*a.config.Skew {
			delete(a.nonces, nonce)
		}
	}
	nonce := s.token.AccessToken + "&" + o["oauth_timestamp"] + "&" + o["oauth_nonce"]
	if _, used := a.nonces[nonce]; used {
		return nil, "the nonce was used before", false
	}
	a.nonces[nonce] = at
	return s, "", false
}
