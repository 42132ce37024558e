package ade

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
)

// cookieName has the prefix with which browsers take a cookie only over TLS and for this one host (RFC 6265bis).
const cookieName = "__Host-ade"

// maxForm is how long the body of the request that ends a login may be for Callback, in bytes.
const maxForm = 64 << 10

const (
	tokenBytes = 32
	maxState   = 128 // bytes; ours have 80
)

// web begins a session of the web.
func (s *Service) web(r *request) error {
	if s.Login == nil {
		return mdm.Errorf(mdm.Internal, "ade.Service", "Login is required")
	}
	message, err := fromHeader(r.r.Header)
	if err != nil {
		return err
	}
	if err := s.introduce(r, message); err != nil || r.said() {
		return err
	}
	token, cookie := newToken(), newToken()
	r.session.Secret = webSecret(token, cookie)
	if err := s.Sessions.CreateEnrollmentSession(r.ctx(), r.session); err != nil {
		return ours(err)
	}
	s.setCookie(r.w, cookie, int(s.lifetime().Seconds()))
	r.answered = true
	s.Login(r.w, r.r, r.session.ID+"."+token)
	return nil
}

// newToken returns 256 random bits in letters, digits, - and _.
func newToken() string {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// webSecret is what a session keeps of the two things that its browser has.
func webSecret(token, cookie string) [sha256.Size]byte {
	return sha256.Sum256([]byte(token + "." + cookie))
}

// setCookie sets the cookie, which comes along when an identity provider leads back (Lax) but with no request that another
// site makes.
func (s *Service) setCookie(w http.ResponseWriter, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
}

// Pending returns the session of a state, if the request comes from the browser that began it, and as long as its user can log
// in. Use it before anything is done with what else the request says. The error is Forbidden for any other state, or what
// the store says.
func (s *Service) Pending(r *http.Request, state string) (enroll.Session, error) {
	const op = "ade.Pending"
	if err := s.check(); err != nil {
		return enroll.Session{}, err
	}
	id, token, _ := strings.Cut(state, ".")
	cookie, err := r.Cookie(cookieName)
	switch {
	case len(state) > maxState || !strings.HasPrefix(id, Kind+"-") || !enroll.IsSessionID(id) || token == "":
		return enroll.Session{}, mdm.Errorf(mdm.Forbidden, op, "no state of ours")
	case err != nil:
		return enroll.Session{}, mdm.Errorf(mdm.Forbidden, op, "the browser has no cookie of ours")
	}
	session, err := s.Sessions.EnrollmentSession(r.Context(), id)
	switch {
	case err != nil && mdm.CodeOf(err) == mdm.NotFound:
		return enroll.Session{}, mdm.Errorf(mdm.Forbidden, op, "no such session")
	case err != nil:
		return enroll.Session{}, ours(err)
	}
	if err := s.owns(&session, s.tenant(r), webSecret(token, cookie.Value)); err != nil {
		return enroll.Session{}, err
	}
	return session, nil
}

// owns checks that a session waits for the end of a login and that this is its browser.
func (s *Service) owns(session *enroll.Session, tenant string, secret [sha256.Size]byte) error {
	const op = "ade.Pending"
	switch {
	case session.Kind != Kind || session.Tenant != tenant || session.Secret == [sha256.Size]byte{} ||
		subtle.ConstantTimeCompare(session.Secret[:], secret[:]) != 1:
		return mdm.Errorf(mdm.Forbidden, op, "the state, the browser and the session do not belong together")
	case session.State != enroll.SessionIdentified:
		return mdm.Errorf(mdm.Forbidden, op, "the session is over")
	case s.now().After(session.OpenUntil):
		return mdm.Errorf(mdm.Forbidden, op, "the login took too long")
	}
	return nil
}

// Finish hands the enrollment profile over to user, who has just logged in under state. It does so once: the same state
// later, another one, or one from another browser is answered 403. What the user is called is yours to say, as it is to verify
// that it was he; it may be empty if nobody logged in, as where the pages only ask for consent.
//
// An outage is answered 503 and can be tried again with the same state; where it is not known whether the delivery was noted, the
// user may have to open the web view again.
func (s *Service) Finish(w http.ResponseWriter, r *http.Request, state, user string) {
	s.serve("finish", &request{w: w, r: r, page: true}, func(x *request) error { return s.finish(x, state, user) }, http.MethodGet, http.MethodPost)
}

func (s *Service) finish(r *request, state, user string) error {
	session, err := s.Pending(r.r, state)
	if err != nil {
		return err
	}
	before := session.Secret
	session.User, session.DeliveredAt = user, s.now()
	session.State, session.Secret = enroll.SessionDelivered, sha256.Sum256([]byte(newToken())) // the secret of this delivery
	r.session = session
	if _, err := session.Prepared(); err != nil {
		return ours(err) // the name of a user is the vendor's
	}
	if err := s.admit(r); err != nil {
		return err
	}
	signed, err := s.profile(r.ctx(), session)
	if err != nil {
		return err
	}
	_, err = s.Sessions.ChangeEnrollmentSession(r.ctx(), session.ID, func(now *enroll.Session) error {
		if now.State == session.State && now.Secret == session.Secret {
			return nil // once more, after a lost connection
		}
		if err := s.owns(now, session.Tenant, before); err != nil {
			return err
		}
		now.User, now.State, now.Secret, now.DeliveredAt = session.User, session.State, session.Secret, session.DeliveredAt
		return nil
	})
	if err != nil {
		return ours(err)
	}
	s.setCookie(r.w, "", -1)
	r.hand(signed)
	return nil
}

// Callback answers the request that ends a login, GET or POST, with the state as its parameter state. It looks at the state
// first, and then asks who to verify the login: with what else the request says, as a code. Who returns what the user is
// called, or false if it has answered the request itself; the state is good for another try then. The request of a browser that
// another site makes it POST comes without the cookie and is refused: let an identity provider lead back by GET.
func (s *Service) Callback(who func(w http.ResponseWriter, r *http.Request, session enroll.Session) (user string, ok bool)) http.Handler {
	return s.handler("finish", func(r *request) error {
		r.r.Body = http.MaxBytesReader(r.w, r.r.Body, maxForm)
		if err := r.r.ParseForm(); err != nil {
			return mdm.Errorf(mdm.Malformed, "ade.Callback", "%w", err)
		}
		state := r.r.Form.Get("state")
		session, err := s.Pending(r.r, state)
		if err != nil {
			return err
		}
		r.session = session
		user, ok := who(r.w, r.r, session)
		if !ok {
			r.answered = true
			return nil
		}
		return s.finish(r, state, user)
	}, http.MethodGet, http.MethodPost)
}

// Derive returns a secret text of 43 letters, digits, - and _ for a state and a use of yours: the nonce of an OpenID request, or
// the verifier of PKCE (RFC 7636), which then need not be kept between Login and Callback. It needs Key; the error is Internal.
func (s *Service) Derive(state, use string) (string, error) {
	mac, err := s.mac("derive", state, use)
	return base64.RawURLEncoding.EncodeToString(mac), err
}
