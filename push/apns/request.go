package apns

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/push"
)

const (
	maxToken   = 4 << 10     // bytes; today's have 32
	maxPayload = 4 << 10     // bytes; Apple's limit
	renewPause = time.Minute // how old a connection must be to be given up for a 503
)

// payload returns the body that wakes an MDM client: its PushMagic and nothing else.
func payload(magic string) ([]byte, error) {
	if magic == "" {
		return nil, errors.New("apns: no PushMagic")
	}
	quoted, err := json.Marshal(magic)
	if err != nil {
		return nil, fmt.Errorf("apns: PushMagic: %w", err)
	}
	body := append(append([]byte(`{"mdm":`), quoted...), '}')
	if len(body) > maxPayload {
		return nil, fmt.Errorf("apns: a payload of %d bytes is too large", len(body))
	}
	return body, nil
}

func (c *Client) newRequest(ctx context.Context, base string, t push.Target) (*http.Request, error) {
	if len(t.Token) == 0 || len(t.Token) > maxToken {
		return nil, fmt.Errorf("apns: a device token of %d bytes", len(t.Token))
	}
	body, err := payload(t.Magic)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+hex.EncodeToString(t.Token), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("apns: %w", err)
	}
	expiration := c.now().Add(orDefault(c.Expiration, 7*24*time.Hour))
	req.Header = http.Header{
		"Apns-Topic":      {t.Topic},
		"Apns-Push-Type":  {"mdm"},
		"Apns-Priority":   {"10"},
		"Apns-Expiration": {strconv.FormatInt(expiration.Unix(), 10)},
		"Apns-Id":         {uuid.NewString()}, // the same when the request is repeated
	}
	return req, nil
}

// send pushes once, and again if the connection was lost before the answer: once if APNs may have taken the push (a
// device that is pushed to twice connects once), a few times if it said that it has not.
func (c *Client) send(ctx context.Context, to endpoint, l *link, t push.Target) push.Result {
	ctx, cancel := context.WithTimeout(ctx, orDefault(c.Timeout, 30*time.Second))
	defer cancel()
	req, err := c.newRequest(ctx, to.base, t)
	if err != nil {
		return c.failure(t, push.Rejected, err)
	}
	for attempts := 1; ; attempts++ {
		sent := c.now()
		answer, err := l.roundTrip(req)
		if err == nil {
			r := parseAnswer(answer.status, answer.header, answer.body, sent, c.now())
			r.Target = t
			return r
		}
		switch {
		case certificateRefused(err):
			return c.failure(t, push.BadCertificate, fmt.Errorf("apns: refused in the TLS handshake: %w", err))
		case ctx.Err() != nil || attempts >= maxAttempts(err):
			return c.failure(t, push.Retry, fmt.Errorf("apns: %w", err))
		}
		if req, err = again(req); err != nil {
			return c.failure(t, push.Retry, err)
		}
	}
}

// again returns req with its body at the start.
func again(req *http.Request) (*http.Request, error) {
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("apns: %w", err)
	}
	req = req.Clone(req.Context())
	req.Body = body
	return req, nil
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

var errProtocol = errors.New("apns: the answer did not come over HTTP/2")

// roundTrip follows no redirects and reads a bounded body. A body that breaks off does not matter: the status is known.
func (l *link) roundTrip(req *http.Request) (answer, error) {
	s, err := l.acquire(req.Context())
	if err != nil {
		return answer{}, err
	}
	answered := false
	defer func() { l.release(s, answered) }()
	resp, err := s.conn.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.ProtoMajor != 2 {
		return answer{}, errProtocol
	}
	answered = true
	if resp.StatusCode == http.StatusServiceUnavailable {
		l.renew(s, renewPause)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}
