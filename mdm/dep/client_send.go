package dep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// answer is what Apple sent back, of any status.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// once sends a request of a session and reads the answer. It keeps the new session that may come with it, but not one that comes
// with the news that the session has ended.
func (c *Client) once(ctx context.Context, r *request, s *session, out any) *Error {
	begun := c.begin()
	a, e := c.send(ctx, c.http(), r, s, append(s.token.secrets(), s.value))
	if e == nil || e.Status != 0 && !e.ended() {
		c.adopt(a.header.Get(sessionHeader), s, begun)
	}
	if e != nil || out == nil {
		return e
	}
	if json.Unmarshal(a.body, out) != nil { // the cause could tell of the content
		return &Error{Call: r.name(), Status: a.status, Reason: ErrUnavailable, Err: errors.New("the answer cannot be read")}
	}
	return nil
}

// send sends a request. An answer whose status is none of success is an error, too, and comes with it.
func (c *Client) send(ctx context.Context, h *http.Client, r *request, s *session, secrets []string) (a answer, e *Error) {
	began := time.Now()
	defer func() { c.log(ctx, r, e, a.status, time.Since(began)) }()
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	to, err := c.url(r)
	if err != nil {
		return a, &Error{Call: r.name(), Reason: ErrUnavailable, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, to, bytes.NewReader(r.body))
	if err != nil {
		return a, &Error{Call: r.name(), Reason: ErrUnavailable, Err: err}
	}
	if r.body == nil {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	req.Header = c.header(r, s)
	resp, err := h.Do(req)
	if err != nil {
		return a, &Error{Call: r.name(), Reason: ErrUnavailable, Err: withoutURL(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	a.status, a.header = resp.StatusCode, resp.Header
	good := a.status >= 200 && a.status < 300
	limit := c.MaxBody
	if limit <= 0 {
		limit = 16 << 20
	}
	if !good {
		limit = maxErrorBody
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case !good: // as much as came of it
		return a, refusal(r.name(), resp, a.body, c.now(), secrets)
	case err != nil:
		return a, &Error{Call: r.name(), Status: a.status, Reason: ErrUnavailable, Err: withoutURL(err)}
	case int64(len(a.body)) > limit:
		return a, &Error{Call: r.name(), Status: a.status, Reason: ErrUnavailable, Err: errors.New("the answer is too large")}
	}
	return a, nil
}

// withoutURL returns the cause of an error of net/http, whose text would repeat the call and what it is about.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *Client) log(ctx context.Context, r *request, e *Error, status int, took time.Duration) {
	if c.Logger == nil {
		return
	}
	attrs := []slog.Attr{slog.String("call", r.name()), slog.Int("status", status), slog.Duration("took", took)}
	if e != nil {
		attrs = append(attrs, slog.String("error", e.Error()))
	}
	c.Logger.LogAttrs(ctx, slog.LevelDebug, "device enrollment service", attrs...)
}
