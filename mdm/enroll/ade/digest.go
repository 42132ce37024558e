package ade

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// maxAuthorization is the longest Authorization header of a Digest, in bytes.
const maxAuthorization = 4096

// A nonce is the time, random bytes, and a MAC over both and for whom it is. Nothing is stored when it is made; the session
// of the login that used it up is named by it.
const (
	nonceTime   = 8
	nonceRandom = 16
	nonceSize   = nonceTime + nonceRandom + sha256.Size
)

// newNonce returns a nonce for the device of r.
func (s *Service) newNonce(r *request) (string, error) {
	head := make([]byte, nonceTime+nonceRandom, nonceSize)
	binary.BigEndian.PutUint64(head, uint64(s.now().Unix()))
	_, _ = rand.Read(head[nonceTime:]) // never fails (crypto/rand)
	mac, err := s.nonceMAC(r, head)
	return base64.RawURLEncoding.EncodeToString(append(head, mac...)), err
}

func (s *Service) nonceMAC(r *request, head []byte) ([]byte, error) {
	return s.mac("nonce", r.session.Tenant, string(r.session.BuiltIn[:]), r.password.Realm, string(head))
}

// mac is a MAC over parts with Key.
func (s *Service) mac(parts ...string) ([]byte, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // to a hash: cannot fail
		h.Write([]byte(part))
	}
	return h.Sum(nil), nil
}

// isNonce reports whether a nonce is ours and for the device of r, and whether its time is not over.
func (s *Service) isNonce(r *request, nonce string) (fresh, is bool, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(raw) != nonceSize {
		return false, false, nil
	}
	head, mac := raw[:nonceTime+nonceRandom], raw[nonceTime+nonceRandom:]
	want, err := s.nonceMAC(r, head)
	if err != nil || !hmac.Equal(mac, want) {
		return false, false, err
	}
	age := s.now().Sub(time.Unix(int64(binary.BigEndian.Uint64(head)), 0))
	return age < s.lifetime() && age > -s.lifetime(), true, nil // the clocks of our processes differ a little
}

// nonceSession is the ID of the session that uses a nonce up.
func nonceSession(nonce string) string {
	sum := sha256.Sum256([]byte(nonce))
	return Kind + "-" + hex.EncodeToString(sum[:16])
}

// digest checks a login by Digest (RFC 7616, with MD5 and qop auth; RFC 2069 is taken, too). The password is looked at before
// it is said whether the nonce is still good: who does not know it learns nothing.
func (s *Service) digest(r *request, header string) error {
	d, ok := parseDigest(header)
	if !ok || !isUser(d["username"]) || d["realm"] != r.password.Realm || !r.isTarget(d["uri"]) {
		return s.ask(r, false)
	}
	fresh, is, err := s.isNonce(r, d["nonce"])
	if err != nil || !is {
		if err == nil {
			err = s.ask(r, false)
		}
		return err
	}
	secret, err := r.password.Digest(r.ctx(), d["username"])
	if err == nil && !d.proves(secret, r.r.Method) {
		err = ErrWrong
	}
	if err := s.loggedIn(r, d["username"], err); err != nil || r.said() {
		return err
	}
	r.session.ID, r.once = nonceSession(d["nonce"]), true
	_, err = s.Sessions.EnrollmentSession(r.ctx(), r.session.ID)
	switch {
	case err == nil || !fresh:
		r.note = "the nonce is used up or too old"
		return s.askAgain(r)
	case mdm.CodeOf(err) == mdm.NotFound:
		return nil
	}
	return ours(err)
}

// isTarget reports whether a Digest's uri is what was asked for. A proxy may have another path than we, so only what
// follows the path must be the same.
func (r *request) isTarget(uri string) bool {
	_, query, _ := strings.Cut(uri, "?")
	return uri != "" && query == r.r.URL.RawQuery
}

// digest is the parameters of an Authorization header, by their names in lower case.
type digest map[string]string

// proves reports whether the response was made with the secret.
func (d digest) proves(secret mdm.Secret, method string) bool {
	ha1 := strings.ToLower(string(secret.Reveal()))
	ha2 := md5Hex(method, d["uri"])
	want := md5Hex(ha1, d["nonce"], ha2)
	if d["qop"] != "" {
		want = md5Hex(ha1, d["nonce"], d["nc"], d["cnonce"], d["qop"], ha2)
	}
	got := strings.ToLower(d["response"])
	return len(ha1) == 32 && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// parseDigest reads what follows the word Digest.
func parseDigest(s string) (digest, bool) {
	if len(s) > maxAuthorization {
		return nil, false
	}
	d := digest{}
	for s = strings.Trim(s, " \t,"); s != ""; s = strings.TrimLeft(s, " \t,") {
		name, rest, ok := strings.Cut(s, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := d[name]; !ok || twice || name == "" {
			return nil, false
		}
		if d[name], s, ok = digestValue(strings.TrimLeft(rest, " \t")); !ok {
			return nil, false
		}
	}
	if a := d["algorithm"]; a != "" && !strings.EqualFold(a, "MD5") {
		return nil, false
	}
	if q := d["qop"]; q != "" && (q != "auth" || len(d["nc"]) != 8 || d["cnonce"] == "") {
		return nil, false
	}
	return d, d["nonce"] != "" && d["response"] != ""
}

// digestValue splits off a quoted string or a token.
func digestValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
