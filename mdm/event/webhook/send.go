package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// userAgent names the sender.
const userAgent = "applemdm-webhook/1"

// maxAnswer is how much of an answer is read, in bytes, so that the connection can be used again.
const maxAnswer = 16 << 10

// post sends a body and judges the answer.
func (w *Webhook) post(ctx context.Context, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return &failure{text: "the request cannot be made"} // New has parsed the URL
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", userAgent)
	r.Header.Set(IDHeader, id)
	if len(w.cfg.Secrets) > 0 {
		r.Header.Set(SignatureHeader, Sign(body, w.cfg.Clock(), w.cfg.Secrets...))
	}
	if !w.cfg.Authorization.IsZero() {
		r.Header.Set("Authorization", string(w.cfg.Authorization.Reveal()))
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return &failure{text: "no answer: " + withoutURL(err)}
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.ContentLength >= 0 && answer.ContentLength <= maxAnswer { // what is longer is not worth the connection
		_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	}
	return judge(answer, w.cfg.Clock())
}

// withoutURL leaves out the URL, which may hold a token.
func withoutURL(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return err.Error()
}

// judge says what an answer means.
func judge(answer *http.Response, now time.Time) error {
	status := answer.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	f := &failure{text: fmt.Sprintf("the receiver answered %d", status), gone: status == http.StatusGone}
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusGone, http.StatusMisdirectedRequest, http.StatusTooEarly,
		http.StatusUpgradeRequired, http.StatusTooManyRequests:
		// It would say so of any event.
	default:
		f.refused = status >= 400 && status < 500
	}
	f.after = retryAfter(answer.Header.Get("Retry-After"), now)
	return f
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
