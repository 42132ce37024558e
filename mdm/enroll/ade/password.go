package ade

import (
	"context"
	"crypto/md5" // of HTTP's Digest
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// ErrWrong is what a hook of [Password] returns for a wrong name or password, whereupon the device asks its user again; and what
// [Service.Bearer] returns for a wrong token, which is a refusal.
var ErrWrong = errors.New("ade: wrong name or password")

const (
	maxPassword = 1024     // the longest password, in bytes
	maxToken    = 16 << 10 // the longest token of Platform SSO, in bytes
)

// Password says how a user logs in by name and password. Digest, Basic or both are required; a device takes Digest if it can.
// How many guesses there may be is for the hooks to limit, by the name and by the device, which [Service.Authenticate] knows:
// an error of theirs that is Forbidden ends the enrollment, an Unavailable one asks for patience.
type Password struct {
	Realm  string // what the name and password are for; shown, and a part of what Digest hashes; required
	Prompt string // what the device shows above the fields; empty: nothing much

	// Basic checks a password that comes as it is, over TLS (iOS 7.1). It returns ErrWrong if it is not the user's.
	Basic func(ctx context.Context, user string, password mdm.Secret) error
	// Digest returns [HA1] of a user, with which the password need not travel. It returns ErrWrong if there is no such user.
	// Nothing is proven yet when it is asked. It needs the Key of the Service.
	Digest func(ctx context.Context, user string) (mdm.Secret, error)
}

// HA1 is the form in which a password can be kept for Digest: the MD5, in hexadecimal, of name, realm and password with
// colons between. It is as good as the password in this realm.
func HA1(user, realm string, password mdm.Secret) mdm.Secret {
	return mdm.SecretString(md5Hex(user, realm, string(password.Reveal())))
}

func md5Hex(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(sum[:])
}

// authenticate learns who uses a device. The answer of r is set if it must ask.
func (s *Service) authenticate(r *request) error {
	scheme, rest, _ := strings.Cut(r.r.Header.Get("Authorization"), " ")
	if s.Bearer != nil && strings.EqualFold(scheme, "Bearer") {
		return s.bearer(r, strings.TrimSpace(rest))
	}
	if s.Authenticate == nil {
		return nil
	}
	p, err := s.Authenticate(r.ctx(), r.session)
	if err != nil || p == nil {
		return ours(err)
	}
	if p.Realm == "" || !plain(p.Realm) || p.Basic == nil && p.Digest == nil {
		return mdm.Errorf(mdm.Internal, "ade.Password", "Realm, and Basic or Digest, are required")
	}
	r.password = p
	switch {
	case strings.EqualFold(scheme, "Digest") && p.Digest != nil:
		return s.digest(r, rest)
	case strings.EqualFold(scheme, "Basic") && p.Basic != nil:
		return s.basic(r)
	}
	return s.ask(r, false)
}

// bearer learns whose a token is. There is nothing to ask again for: a device that comes with a wrong one is turned away.
func (s *Service) bearer(r *request, token string) error {
	user, err := "", ErrWrong
	if token != "" && len(token) <= maxToken && plain(token) {
		user, err = s.Bearer(r.ctx(), r.session, mdm.SecretString(token))
	}
	if errors.Is(err, ErrWrong) {
		return mdm.Errorf(mdm.Forbidden, "ade.Bearer", "the token is wrong")
	}
	if err == nil {
		r.session.User = user
	}
	return ours(err)
}

func (s *Service) basic(r *request) error {
	user, password, ok := r.r.BasicAuth()
	if !ok || !isUser(user) || len(password) > maxPassword {
		return s.ask(r, false)
	}
	return s.loggedIn(r, user, r.password.Basic(r.ctx(), user, mdm.SecretString(password)))
}

// loggedIn takes the verdict about a login.
func (s *Service) loggedIn(r *request, user string, err error) error {
	if errors.Is(err, ErrWrong) {
		r.note = "wrong name or password"
		return s.ask(r, false)
	}
	if err == nil {
		r.session.User = user
	}
	return ours(err)
}

func isUser(user string) bool { return user != "" && len(user) <= mdm.MaxIdentifier && plain(user) }

// askAgain asks for what was right to be said with a fresh nonce, which devices do without their user.
func (s *Service) askAgain(r *request) error { return s.ask(r, true) }

// ask makes the request to log in the answer.
func (s *Service) ask(r *request, stale bool) error {
	p := r.password
	r.reply = reply{status: http.StatusUnauthorized, contentType: "text/plain; charset=utf-8", body: []byte(p.Prompt)}
	if p.Digest != nil {
		nonce, err := s.newNonce(r)
		if err != nil {
			r.reply = reply{}
			return err
		}
		challenge := "Digest realm=" + quoted(p.Realm) + `, nonce="` + nonce + `", qop="auth", algorithm=MD5`
		if stale {
			challenge += ", stale=true"
		}
		r.reply.challenges = append(r.reply.challenges, challenge)
	}
	if p.Basic != nil {
		r.reply.challenges = append(r.reply.challenges, "Basic realm="+quoted(p.Realm)+`, charset="UTF-8"`)
	}
	return nil
}

func quoted(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
