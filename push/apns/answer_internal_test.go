package apns

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2/hpack"

	"github.com/gomdm/applemdm/internal/h2"
	"github.com/gomdm/applemdm/push"
)

func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Time{
		"":                              {},
		"0":                             now,
		"120":                           now.Add(2 * time.Minute),
		"4294967295":                    now.Add(24 * time.Hour),
		"99999999999":                   {},
		"-1":                            {},
		"soon":                          {},
		"Sun, 01 Mar 2026 12:01:00 GMT": now.Add(time.Minute),
		"Sun, 01 Mar 2020 12:01:00 GMT": now,
		"Sun, 01 Mar 2099 12:01:00 GMT": now.Add(24 * time.Hour),
	} {
		assert.True(t, want.Equal(retryAfter(value, now)), "%q: %s", value, retryAfter(value, now))
	}
}

func FuzzResponse(f *testing.F) {
	f.Add(200, "eabeae54-14a8-11e5-b60b-1697f925ec7b", "", []byte{})
	f.Add(410, "", "", []byte(`{"reason":"Unregistered","timestamp":1700000000123}`))
	f.Add(410, "", "", []byte(`{"reason":"ExpiredToken","timestamp":9223372036854775807}`))
	f.Add(429, "", "120", []byte(`{"reason":"TooManyRequests"}`))
	f.Add(503, "x\n", "Sun, 01 Mar 2026 12:01:00 GMT", []byte(`{"reason":"Shutdown"`))
	f.Add(403, "", "-5", []byte(`{"reason":{"reason":[]}}`))
	f.Fuzz(func(t *testing.T, status int, id, after string, body []byte) {
		sent := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		now := sent.Add(time.Second)
		r := parseAnswer(h2.Answer{Status: status, Body: body, Header: []hpack.HeaderField{
			{Name: "apns-id", Value: id}, {Name: "retry-after", Value: after},
		}}, sent, now)
		assert.Equal(t, status == 200, r.Outcome == push.Delivered)
		assert.NotZero(t, r.Outcome)
		assert.Equal(t, r.Outcome == push.Invalid, !r.Since.IsZero())
		assert.False(t, r.Since.After(sent), "never later than we asked: %s", r.Since)
		if !r.Retry.IsZero() {
			assert.Equal(t, push.Retry, r.Outcome)
			assert.False(t, r.Retry.Before(now) || r.Retry.After(now.Add(maxRetryAfter)), "%s", r.Retry)
		}
		for _, s := range []string{r.Reason, r.APNsID} {
			assert.LessOrEqual(t, len(s), maxReason)
			assert.Equal(t, s, printable(s))
		}
	})
}
