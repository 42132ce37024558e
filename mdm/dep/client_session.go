package dep

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

const (
	sessionHeader = "X-ADM-Auth-Session"
	maxSession    = 4096
)

// session is one that Apple gave for a token.
type session struct {
	value string
	token Token
	begun uint64 // the request that brought it
}

// renewal is the making of a session that others wait for.
type renewal struct {
	token Token
	done  chan struct{} // closed when the rest is set
	err   error
	left  bool // whoever made it has given up, which is no answer for others
}

// session returns the session for a token. If there is none, one of those who ask makes it, for as long as its own ctx lasts, and
// the others wait, for as long as theirs do.
func (c *Client) session(ctx context.Context, token Token) (*session, error) {
	for {
		c.mu.Lock()
		if s := c.current; s.value != "" && s.token.same(token) {
			c.mu.Unlock()
			return &s, nil
		}
		other := c.renewing
		if other == nil {
			own := &renewal{token: token, done: make(chan struct{}), left: true}
			c.renewing = own
			c.mu.Unlock()
			return c.renew(ctx, own)
		}
		c.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, &Error{Call: "GET /session", Reason: ErrUnavailable, Err: ctx.Err()}
		}
		if other.err != nil && !other.left && other.token.same(token) {
			return nil, other.err
		}
	}
}

// renew makes a session and tells those who wait.
func (c *Client) renew(ctx context.Context, own *renewal) (*session, error) {
	defer func() { // also if the transport panics
		c.mu.Lock()
		defer c.mu.Unlock()
		c.renewing = nil
		close(own.done)
	}()
	s, e := c.login(ctx, own.token)
	own.left = ctx.Err() != nil
	if e != nil {
		own.err = e
		return nil, e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = *s
	return s, nil
}

// login asks Apple for a session.
func (c *Client) login(ctx context.Context, token Token) (*session, *Error) {
	r := &request{method: http.MethodGet, path: "/session"}
	begun := c.begin()
	a, e := c.send(ctx, token.signing(c.http()), r, nil, token.secrets())
	if e != nil {
		e.explain(token, a.header, c.now())
		return nil, e
	}
	var body struct {
		Token string `json:"auth_session_token"`
	}
	if json.Unmarshal(a.body, &body) != nil || !isSession(body.Token) {
		if body.Token = a.header.Get(sessionHeader); !isSession(body.Token) {
			return nil, &Error{Call: r.name(), Status: a.status, Reason: ErrUnavailable, Err: errors.New("the answer has no session")}
		}
	}
	return &session{value: body.Token, token: token, begun: begun}, nil
}

// isSession reports whether s can be a session, which goes into a header.
func isSession(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxSession
}

// begin counts a request.
func (c *Client) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	return c.begun
}

// adopt takes the session that came with an answer to a request of session s, if it is a new one. Of several the one
// whose request was begun last stays: answers overtake each other.
func (c *Client) adopt(value string, s *session, begun uint64) {
	if value == s.value || !isSession(value) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if begun > c.current.begun && c.current.token.same(s.token) {
		c.current = session{value: value, token: s.token, begun: begun}
	}
}

// drop forgets a session that has ended, unless there is another one already.
func (c *Client) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.value == s.value {
		c.current.value = ""
	}
}
