package api

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/presence"
	"github.com/gomdm/applemdm/push"
)

func TestPresenceAndPushes(t *testing.T) {
	k := newKit(t)
	a, b := mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Device: "B"}
	k.enroll(a, b)
	one := k.do(200, "GET", "/v1/enrollments/A", "")
	assert.Equal(t, "active", one["presence"])
	assert.NotContains(t, one, "push", "there was none")

	k.do(200, "POST", "/v1/push?to=A,B", "")
	at := time.Now().Add(time.Second)
	targets, err := k.stores.Push.DuePushes(t.Context(), at, 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, targets, 2)
	var results []push.Result
	for _, target := range targets {
		r := push.Result{Target: target, Outcome: push.Delivered, Status: 200, APNsID: "eabeae54-14a8-11e5-b60b-1697f925ec7b", At: at}
		if target.Enrollment == b {
			r = push.Result{Target: target, Outcome: push.Invalid, Status: 410, Reason: "Unregistered", Since: at, At: at}
		}
		results = append(results, r)
	}
	require.NoError(t, k.stores.Push.Feedback(t.Context(), results))
	_, err = k.stores.Presence.Look(t.Context(), at, 10, func(presence.Sighting) presence.Finding {
		return presence.Finding{Presence: mdm.Inactive, Next: at.Add(time.Hour)}
	})
	require.NoError(t, err)

	one = k.do(200, "GET", "/v1/enrollments/A", "")
	assert.Equal(t, "inactive", one["presence"])
	assert.NotEmpty(t, one["presenceSince"])
	last := one["push"].(map[string]any)
	assert.Equal(t, "delivered", last["outcome"])
	assert.Equal(t, "eabeae54-14a8-11e5-b60b-1697f925ec7b", last["apnsID"])
	assert.NotContains(t, last, "due")
	two := k.do(200, "GET", "/v1/enrollments/B", "")
	assert.Equal(t, "gone", two["presence"])
	assert.Equal(t, false, two["reachable"])
	last = two["push"].(map[string]any)
	assert.Equal(t, []any{"invalid", "Unregistered", 410., true}, []any{last["outcome"], last["reason"], last["status"], last["held"]})

	listed := func(query string) (ids []string) {
		for _, e := range k.do(200, "GET", "/v1/enrollments?"+query, "")["enrollments"].([]any) {
			ids = append(ids, e.(map[string]any)["id"].(string))
		}
		return ids
	}
	assert.Equal(t, []string{"A"}, listed("presence=quiet,inactive"))
	assert.Equal(t, []string{"B"}, listed("presence=gone&limit=1"))
	assert.Empty(t, listed("presence=active"))
	k.do(400, "GET", "/v1/enrollments?presence=away", "")
	assert.EqualValues(t, 1, k.do(200, "POST", "/v1/push?all=1&presence=inactive", "")["woken"])
}

func TestPushCertificates(t *testing.T) {
	k := newKit(t)
	cert, err := mdmtest.NewPushCertificate("com.apple.mgmt.x")
	require.NoError(t, err)
	pem, key, err := cert.PEM()
	require.NoError(t, err)
	answer := k.do(200, "PUT", "/v1/push-certificates", string(pem)+string(key.Reveal()))
	assert.Equal(t, "com.apple.mgmt.x", answer["topic"])
	list := k.do(200, "GET", "/v1/push-certificates", "")["pushCertificates"].([]any)
	require.Len(t, list, 1)
	for _, body := range []string{"", "hello", string(pem)} {
		k.do(400, "PUT", "/v1/push-certificates", body)
	}
	k.do(400, "PUT", "/v1/push-certificates?forse=1", string(pem)+string(key.Reveal()))
}

// TestPushCertificatesOfTenants: nobody sees, or replaces, what is another's.
func TestPushCertificatesOfTenants(t *testing.T) {
	owner := func(owns func(context.Context, string, string) bool) *kit {
		return newKit(t, func(c *Config) {
			c.Tokens, c.OwnsTopic = nil, owns
			c.Authorize = func(*http.Request) (string, error) { return "acme", nil }
		})
	}
	cert, err := mdmtest.NewPushCertificate("com.apple.mgmt.x")
	require.NoError(t, err)
	pem, key, err := cert.PEM()
	require.NoError(t, err)
	body := string(pem) + string(key.Reveal())
	k := owner(nil)
	k.do(403, "PUT", "/v1/push-certificates?force=1", body)
	require.NoError(t, k.stores.PushCertificates.SavePushCertificate(t.Context(), cert))
	assert.Empty(t, k.do(200, "GET", "/v1/push-certificates", "")["pushCertificates"])
	k = owner(func(_ context.Context, tenant, topic string) bool {
		return tenant == "acme" && topic == "com.apple.mgmt.x"
	})
	k.do(200, "PUT", "/v1/push-certificates", body)
	assert.Len(t, k.do(200, "GET", "/v1/push-certificates", "")["pushCertificates"], 1)
}

// TestPushCertificateOfAnotherTopic: a certificate that was made anew instead of renewed would cut the fleet off.
func TestPushCertificateOfAnotherTopic(t *testing.T) {
	k := newKit(t)
	k.enroll(mdm.EnrollmentID{Device: "A"})
	put := func(status int, topic, query string) map[string]any {
		cert, err := mdmtest.NewPushCertificate(topic)
		require.NoError(t, err)
		pem, key, err := cert.PEM()
		require.NoError(t, err)
		return k.do(status, "PUT", "/v1/push-certificates"+query, string(pem)+string(key.Reveal()))
	}
	ours := k.do(200, "GET", "/v1/enrollments/A", "")["topic"].(string)
	put(200, ours, "")
	put(200, ours, "")
	refused := put(400, "com.apple.mgmt.another", "")
	assert.Contains(t, fmt.Sprint(refused["error"]), "force=1")
	assert.Len(t, k.do(200, "GET", "/v1/push-certificates", "")["pushCertificates"], 1)
	put(200, "com.apple.mgmt.another", "?force=1")
	assert.Len(t, k.do(200, "GET", "/v1/push-certificates", "")["pushCertificates"], 2)
}
