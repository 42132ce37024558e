package mdmtest

import (
	"net/http"
	"time"
)

const abmSessionHeader = "X-Adm-Auth-Session"

// abmSession is a session of a server.
type abmSession struct {
	server  *ABMServer
	access  string // the token that it was begun with
	expires time.Time
	ended   bool // expired by a script
	invalid bool // made FORBIDDEN by a script
}

// begin begins a session and returns its token.
func (a *ABM) begin(s *ABMServer, access string) string {
	if len(a.sessions) > abmKept {
		for token, old := range a.sessions {
			if !old.expires.After(a.now()) {
				delete(a.sessions, token)
			}
		}
	}
	token := abmRandom(24)
	a.sessions[token] = &abmSession{server: s, access: access, expires: a.now().Add(a.config.SessionFor)}
	return token
}

// EndSessions makes Apple refuse the sessions of now with 401 UNAUTHORIZED, as when they have expired.
func (a *ABM) EndSessions() { a.eachSession(func(s *abmSession) { s.ended = true }) }

// ForbidSessions makes Apple refuse the sessions of now with 403 FORBIDDEN.
func (a *ABM) ForbidSessions() { a.eachSession(func(s *abmSession) { s.invalid = true }) }

func (a *ABM) eachSession(f func(*abmSession)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		f(s)
	}
}

// RotateSessions makes every n-th answer of a session carry a new one, which is to be used from then on; 0: none does. With
// endOld the old one ends at that, so that calls under way with it are refused with 401.
func (a *ABM) RotateSessions(n int, endOld bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rotate, a.endRotated, a.answered = n, endOld, 0
}

// admit finds out whose call it is.
func (a *ABM) admit(c *abmCall) (abmReply, bool) {
	tokens := c.header[abmSessionHeader]
	if len(tokens) != 1 || tokens[0] == "" {
		return refuseABM(http.StatusUnauthorized, "UNAUTHORIZED", "%d X-ADM-Auth-Session headers", len(tokens)), false
	}
	session := a.sessions[tokens[0]]
	switch {
	case session == nil:
		return refuseABM(http.StatusUnauthorized, "UNAUTHORIZED", "the session was never begun, or is long over"), false
	case session.invalid:
		return sayABM(http.StatusForbidden, "FORBIDDEN"), false
	case session.ended || !session.expires.After(c.now) || a.tokenOver(session.server, session.access) != "":
		return sayABM(http.StatusUnauthorized, "UNAUTHORIZED"), false
	}
	c.server = session.server
	if reply, refused := a.closed(c.server); refused {
		return reply, false
	}
	a.answered++
	if a.rotate > 0 && a.answered%a.rotate == 0 {
		c.rotated = a.begin(c.server, session.access)
		session.ended = a.endRotated
	}
	return abmReply{}, true
}

// closed tells why a server is refused whatever it asks.
func (a *ABM) closed(s *ABMServer) (abmReply, bool) {
	switch {
	case a.terms || s.org.terms:
		return sayABM(http.StatusForbidden, "T_C_NOT_SIGNED"), true
	case s.denied:
		return sayABM(http.StatusForbidden, "ACCESS_DENIED"), true
	}
	return abmReply{}, false
}
