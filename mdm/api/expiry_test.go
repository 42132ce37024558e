package api

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/expiry"
)

// broken is a source of which an item is known, and no more.
func broken(i expiry.Item) expiry.Source {
	return expiry.One(i, func(context.Context) (time.Time, error) { return time.Time{}, errors.New("password wrong") })
}

func TestExpiry(t *testing.T) {
	now := time.Now()
	var log bytes.Buffer
	calendar := &expiry.Calendar{Sources: []expiry.Source{
		broken(expiry.Item{Kind: expiry.DEPToken, Name: "main"}),
		broken(expiry.Item{Kind: expiry.DEPToken, Name: "main", Tenant: "red"}),
		expiry.Fixed(
			expiry.Item{Kind: expiry.DeviceCA, Name: "devices", NotAfter: now.AddDate(5, 0, 0)},
			expiry.Item{Kind: expiry.PushCertificate, Name: "com.apple.mgmt.x", NotAfter: now.Add(6*expiry.Day + time.Hour), Action: "renew it"},
			expiry.Item{Kind: expiry.TLSServer, Name: "mdm", NotAfter: now.Add(-expiry.Day - time.Hour)},
			expiry.Item{Kind: expiry.ContentToken, Tenant: "red", NotAfter: now.AddDate(1, 0, 0)},
		),
		expiry.SourceFunc(func(context.Context) iter.Seq2[expiry.Item, error] { panic("deep inside") }),
	}}
	k := newKit(t, func(c *Config) {
		c.Expiry, c.Logger = calendar, slog.New(slog.NewTextHandler(&log, nil))
		c.Tokens, c.Authorize = nil, func(r *http.Request) (string, error) { return r.Header.Get("X-Tenant"), nil }
	})
	answer := k.do(200, "GET", "/v1/expiry", "")
	list := answer["credentials"].([]any)
	require.Len(t, list, 3)
	var kinds []any
	for _, c := range list {
		kinds = append(kinds, c.(map[string]any)["kind"])
	}
	assert.Equal(t, []any{"tls-server", "push-certificate", "device-ca"}, kinds, "the earliest first")
	assert.Equal(t, map[string]any{"kind": "push-certificate", "name": "com.apple.mgmt.x", "daysLeft": 7., "stage": 7., "expired": false, "action": "renew it",
		"notAfter": now.Add(6*expiry.Day + time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)}, list[1])
	first := list[0].(map[string]any)
	assert.Equal(t, []any{0., true, -1.}, []any{first["stage"], first["expired"], first["daysLeft"]})
	assert.NotContains(t, list[2], "stage")
	assert.Equal(t, []any{"dep-token main is not known; the server's log says why", "a part of the calendar is not known; the server's log says why"}, answer["errors"])
	assert.Contains(t, log.String(), "password wrong")

	answer = k.do(200, "GET", "/v1/expiry", "", "X-Tenant", "red")
	assert.Len(t, answer["credentials"], 1)
	assert.Len(t, answer["errors"], 2)
	answer = k.do(200, "GET", "/v1/expiry", "", "X-Tenant", "blue")
	assert.Empty(t, answer["credentials"])
	assert.Len(t, answer["errors"], 1)
	k.do(400, "GET", "/v1/expiry?days=7", "")

	assert.Equal(t, 404, newKit(t).raw("GET", "/v1/expiry", "", "Authorization", "Bearer "+token).Code, "it is not offered")
	assert.Equal(t, []error{errors.ErrUnsupported}, apart(errors.ErrUnsupported))
}
