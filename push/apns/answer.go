package apns

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/internal/h2"
	"github.com/gomdm/applemdm/push"
)

const (
	maxReason     = 64             // bytes
	maxRetryAfter = 24 * time.Hour // of what an answer may ask for
)

// parseAnswer reads APNs' answer to a request that was sent at sent. It trusts nothing: an answer may come from a proxy
// on the way.
func parseAnswer(a h2.Answer, sent, now time.Time) push.Result {
	r := push.Result{Status: a.Status, At: now, APNsID: printable(a.Get("apns-id"))}
	if a.Status == http.StatusOK {
		r.Outcome = push.Delivered
		return r
	}
	var answer struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp"` // milliseconds
	}
	_ = json.Unmarshal(a.Body, &answer) // what cannot be read is decided by the status
	r.Reason = printable(answer.Reason)
	r.Outcome = outcomeOf(a.Status, Reason(r.Reason))
	switch r.Outcome {
	case push.Invalid:
		r.Since = since(answer.Timestamp, sent)
	case push.Retry:
		r.Retry = retryAfter(a.Get("retry-after"), now)
	}
	return r
}

// since returns when the token was found invalid. Where APNs does not say, it is when we asked, not when the answer
// came: a TokenUpdate in between brought a token that the answer does not speak of.
func since(millis int64, sent time.Time) time.Time {
	if at := time.UnixMilli(millis).UTC(); millis > 0 && at.Before(sent) {
		return at
	}
	return sent
}

// retryAfter reads a Retry-After header: seconds or a date. It returns the zero time if there is none.
func retryAfter(value string, now time.Time) time.Time {
	if value == "" {
		return time.Time{}
	}
	latest := now.Add(maxRetryAfter)
	at, err := http.ParseTime(value)
	if err != nil {
		seconds, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return time.Time{}
		}
		at = now.Add(time.Duration(seconds) * time.Second)
	}
	switch {
	case at.After(latest):
		return latest
	case at.Before(now):
		return now
	}
	return at
}

// printable returns s if it is short and can be logged as it is, else nothing.
func printable(s string) string {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if len(s) > maxReason || strings.ContainsFunc(s, odd) {
		return ""
	}
	return s
}
