package apns_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

// Apple's table of statuses and reasons ("Handling notification responses from APNs"), and what each means for MDM.
var documented = []struct {
	status  int
	outcome push.Outcome
	reasons []apns.Reason
}{
	{400, push.Invalid, []apns.Reason{apns.ReasonBadDeviceToken, apns.ReasonDeviceTokenNotForTopic}},
	{400, push.Retry, []apns.Reason{apns.ReasonIdleTimeout}},
	{400, push.Rejected, []apns.Reason{
		apns.ReasonBadCollapseID, apns.ReasonBadExpirationDate, apns.ReasonBadMessageID, apns.ReasonBadPriority,
		apns.ReasonBadTopic, apns.ReasonDuplicateHeaders, apns.ReasonInvalidPushType, apns.ReasonMissingDeviceToken,
		apns.ReasonMissingTopic, apns.ReasonPayloadEmpty, apns.ReasonTopicDisallowed}},
	{403, push.BadCertificate, []apns.Reason{
		apns.ReasonBadCertificate, apns.ReasonBadCertificateEnv, apns.ReasonForbidden, apns.ReasonExpiredProviderToken,
		apns.ReasonInvalidProviderToken, apns.ReasonMissingProviderToken, apns.ReasonUnrelatedKeyID,
		apns.ReasonBadEnvironmentKeyID}},
	{404, push.Rejected, []apns.Reason{apns.ReasonBadPath}},
	{405, push.Rejected, []apns.Reason{apns.ReasonMethodNotAllowed}},
	{410, push.Invalid, []apns.Reason{apns.ReasonUnregistered, apns.ReasonExpiredToken}},
	{413, push.Rejected, []apns.Reason{apns.ReasonPayloadTooLarge}},
	{429, push.Retry, []apns.Reason{apns.ReasonTooManyRequests, apns.ReasonTooManyTokenUpdates}},
	{500, push.Retry, []apns.Reason{apns.ReasonInternalServerError}},
	{503, push.Retry, []apns.Reason{apns.ReasonServiceUnavailable, apns.ReasonShutdown}},
}

func TestEveryDocumentedAnswer(t *testing.T) {
	t.Parallel()
	cert := certificate(t, topic)
	server := startAPNs(t, mdmtest.APNsConfig{})
	for _, row := range documented {
		for _, reason := range row.reasons {
			t.Run(string(reason), func(t *testing.T) {
				c := client(t, server, cert) // a new one: bad certificates pause it
				server.Queue(mdmtest.RefusePush(row.status, string(reason)))
				r := one(t, c)
				assert.Equal(t, row.outcome, r.Outcome)
				assert.Equal(t, row.status, r.Status)
				assert.Equal(t, string(reason), r.Reason)
				assert.NotEmpty(t, r.APNsID)
				require.NoError(t, r.Err)
				o, ok := reason.Outcome()
				assert.True(t, ok)
				assert.Equal(t, row.outcome, o)
			})
		}
	}
}

func TestUnknownReasonsGoByStatus(t *testing.T) {
	t.Parallel()
	_, ok := apns.Reason("Novelty").Outcome()
	assert.False(t, ok)
	tests := []struct {
		name    string
		answer  mdmtest.PushAnswer
		outcome push.Outcome
		reason  string
	}{
		{"400", mdmtest.RefusePush(400, "Novelty"), push.Rejected, "Novelty"},
		{"401", mdmtest.RefusePush(401, "Novelty"), push.Rejected, "Novelty"},
		{"403", mdmtest.RefusePush(403, "Novelty"), push.BadCertificate, "Novelty"},
		{"408", mdmtest.RefusePush(408, ""), push.Retry, ""},
		{"410", mdmtest.RefusePush(410, "Novelty"), push.Invalid, "Novelty"},
		{"421", mdmtest.RefusePush(421, ""), push.Retry, ""},
		{"429", mdmtest.RefusePush(429, "Novelty"), push.Retry, "Novelty"},
		{"500", mdmtest.RefusePush(500, "Novelty"), push.Retry, "Novelty"},
		{"599", mdmtest.RefusePush(599, ""), push.Retry, ""},
		{"a redirect is not followed", mdmtest.RefusePush(302, ""), push.Retry, ""},
		{"another success", mdmtest.RefusePush(202, "Unregistered"), push.Retry, "Unregistered"},
		{"not JSON", mdmtest.PushAnswer{Status: 502, Body: "<html>bad gateway"}, push.Retry, ""},
		{"a reason that is no string", mdmtest.PushAnswer{Status: 400, Body: `{"reason":7}`}, push.Rejected, ""},
		{"a reason with a line break", mdmtest.RefusePush(400, "Bad\nPath"), push.Rejected, ""},
		{"an endless reason", mdmtest.RefusePush(400, strings.Repeat("x", 1000)), push.Rejected, ""},
		{"an endless body", mdmtest.PushAnswer{Status: 410, Body: strings.Repeat(" ", 1<<20)}, push.Invalid, ""},
	}
	cert := certificate(t, topic)
	server := startAPNs(t, mdmtest.APNsConfig{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server.Queue(tt.answer)
			r := one(t, client(t, server, cert))
			assert.Equal(t, tt.outcome, r.Outcome)
			assert.Equal(t, tt.answer.Status, r.Status)
			assert.Equal(t, tt.reason, r.Reason)
		})
	}
}

func TestSinceWhenATokenIsDead(t *testing.T) {
	t.Parallel()
	now := newClock()
	asked := now.now()
	tests := []struct {
		name   string
		answer mdmtest.PushAnswer
		since  time.Time
	}{
		{"410 in milliseconds", mdmtest.Unregistered(time.UnixMilli(1_700_000_000_123)), time.UnixMilli(1_700_000_000_123)},
		{"410 without a timestamp", mdmtest.RefusePush(410, "Unregistered"), asked},
		{"410 from the future", mdmtest.Unregistered(asked.Add(time.Hour)), asked},
		{"410 from before the epoch", mdmtest.PushAnswer{Status: 410, Body: `{"reason":"Unregistered","timestamp":-5}`}, asked},
		{"410 with an odd timestamp", mdmtest.PushAnswer{Status: 410, Body: `{"reason":"Unregistered","timestamp":"x"}`}, asked},
		{"400", mdmtest.RefusePush(400, "BadDeviceToken"), asked},
	}
	server, c := fixture(t)
	c.Clock = now.now
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server.Queue(tt.answer)
			r := one(t, c)
			assert.Equal(t, push.Invalid, r.Outcome)
			assert.True(t, tt.since.Equal(r.Since), "%s, not %s", tt.since, r.Since)
		})
	}
}

// A TokenUpdate while the push is under way brings a token that the answer does not speak of.
func TestSinceIsWhenWeAskedNotWhenTheAnswerCame(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	asked := now.now()
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer {
		now.advance(time.Minute)
		return mdmtest.RefusePush(400, "BadDeviceToken")
	})
	r := one(t, c)
	assert.Equal(t, asked, r.Since)
	assert.Equal(t, asked.Add(time.Minute), r.At)
}

func TestARefusedTokenThatIsNewIsTriedAgain(t *testing.T) {
	t.Parallel()
	now := newClock()
	tests := []struct {
		name   string
		age    time.Duration
		settle time.Duration
		want   push.Outcome
	}{
		{"new", time.Minute, 0, push.Retry},
		{"settled", 5 * time.Minute, 0, push.Invalid},
		{"set shorter", time.Minute, 30 * time.Second, push.Invalid},
		{"never doubt", 0, -1, push.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, c := fixture(t)
			c.Clock, c.Settle = now.now, tt.settle
			server.Queue(mdmtest.Unregistered(now.now().Add(-time.Hour)))
			fresh := target(0)
			fresh.TokenUpdatedAt = now.now().Add(-tt.age)
			results, err := c.Push(bg, []push.Target{fresh})
			require.NoError(t, err)
			r := results[0]
			assert.Equal(t, tt.want, r.Outcome)
			assert.Equal(t, "Unregistered", r.Reason)
			if tt.want == push.Retry {
				assert.Equal(t, fresh.TokenUpdatedAt.Add(5*time.Minute), r.Retry)
				assert.Zero(t, r.Since)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		server.Queue(mdmtest.PushAnswer{Status: status, RetryAfter: 90 * time.Second},
			mdmtest.PushAnswer{Status: status, RetryAfter: 1000 * time.Hour}, mdmtest.PushAnswer{Status: status})
		assert.Equal(t, now.now().Add(90*time.Second), one(t, c).Retry, status)
		now.advance(90 * time.Second) // a 503 is meant for all pushes
		assert.Equal(t, now.now().Add(24*time.Hour), one(t, c).Retry, "no more than a day")
		now.advance(24 * time.Hour)
		assert.Zero(t, one(t, c).Retry, "left to the Dispatcher")
	}
}
