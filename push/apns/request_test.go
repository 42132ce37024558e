package apns_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

// The whole request, seen by a server of net/http that knows nothing of APNs.
func TestRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("apns-id", r.Header.Get("apns-id"))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	now := newClock()
	c := &apns.Client{Certificates: push.Fixed(certificate(t, topic)), Host: server.URL, Clock: now.now,
		RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	defer c.CloseIdleConnections()

	results, err := c.Push(bg, []push.Target{{Topic: topic, Token: []byte{0xAB, 0x00, 0xff}, Magic: `A"<é`}})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	assert.Equal(t, "HTTP/2.0", got.Proto)
	assert.Equal(t, http.MethodPost, got.Method)
	assert.Equal(t, "/3/device/ab00ff", got.URL.EscapedPath())
	assert.JSONEq(t, `{"mdm":"A\"<é"}`, string(body))
	assert.Equal(t, int64(len(body)), got.ContentLength)
	id := got.Header.Get("apns-id")
	require.NoError(t, uuid.Validate(id))
	assert.Equal(t, strings.ToLower(id), id)
	got.Header.Del("User-Agent")
	got.Header.Del("Content-Length")
	assert.Equal(t, http.Header{
		"Apns-Topic": {topic}, "Apns-Push-Type": {"mdm"}, "Apns-Priority": {"10"}, "Apns-Id": {id},
		"Apns-Expiration": {strconv.FormatInt(now.now().Add(7*24*time.Hour).Unix(), 10)},
	}, got.Header, "these and no others")
	assert.Equal(t, id, results[0].APNsID)
	assert.Equal(t, push.Delivered, results[0].Outcome)
	assert.Equal(t, now.now(), results[0].At)
}

func TestPayloadIsTheMagicAlone(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock, c.Expiration = now.now, 48*time.Hour
	results, err := c.Push(bg, []push.Target{{Topic: topic, Token: bytes.Repeat([]byte{0xAB}, 100), Magic: "5D3C-42"}})
	require.NoError(t, err)
	require.Equal(t, push.Delivered, results[0].Outcome)
	got := server.Pushes()[0]
	assert.Equal(t, `{"mdm":"5D3C-42"}`, string(got.Payload))
	assert.Equal(t, bytes.Repeat([]byte{0xAB}, 100), got.Token)
	assert.Equal(t, now.now().Add(48*time.Hour).Unix(), got.Expiration.Unix())
	assert.Equal(t, got.ID, results[0].APNsID)
}

func TestWhatCannotBeSentIsRejectedHere(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	results, err := c.Push(bg, []push.Target{
		{Topic: topic, Magic: "m"},
		{Topic: topic, Magic: "m", Token: make([]byte, 4<<10+1)},
		{Topic: topic, Token: []byte{1}},
		{Topic: topic, Token: []byte{1}, Magic: strings.Repeat("m", 4<<10)},
		{Topic: topic, Token: make([]byte, 4<<10), Magic: "m"},
		{Topic: topic, Token: []byte{1}, Magic: strings.Repeat("m", 4<<10-len(`{"mdm":""}`))},
	})
	require.NoError(t, err)
	for i, r := range results[:4] {
		assert.Equal(t, push.Rejected, r.Outcome, i)
		require.Error(t, r.Err, i)
		assert.Zero(t, r.Status, i)
	}
	for i, r := range results[4:] {
		assert.Equal(t, push.Delivered, r.Outcome, "at the limit: %d: %+v", i, r)
	}
	assert.Len(t, server.Pushes(), 2)
}

func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	_, err := new(apns.Client).Push(bg, targets(1))
	require.ErrorContains(t, err, "Client.Certificates is required")
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
	for _, host := range []string{"api.push.apple.com", "http://localhost", "https://", "https://user:secret@host", "https://%",
		"https://host/3/device", "https://host?x", "https://host?", "https://host#x"} {
		c := &apns.Client{Certificates: push.Fixed(), Host: host}
		_, err := c.Push(bg, targets(1))
		require.ErrorContains(t, err, "Client.Host", host)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestNothingToPush(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	results, err := c.Push(bg, nil)
	require.NoError(t, err)
	assert.Empty(t, results)
	_, total := server.Connections()
	assert.Zero(t, total)
}

func TestOnlyHTTP2(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs the refused handshake
	server.StartTLS()
	defer server.Close()
	c := &apns.Client{Certificates: push.Fixed(certificate(t, topic)), Host: server.URL,
		RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	r := one(t, c)
	assert.Equal(t, push.Unsent, r.Outcome, "%+v", r)
	require.Error(t, r.Err)
}

func TestAServerThatWeDoNotTrust(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{})
	c := &apns.Client{Certificates: push.Fixed(certificate(t, topic)), Host: server.URL()}
	r := one(t, c)
	assert.Equal(t, push.Unsent, r.Outcome)
	require.ErrorContains(t, r.Err, "certificate")
	assert.Empty(t, server.Pushes())
}

func TestCancelation(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	c.Concurrency = 2
	server.Script(func(p mdmtest.Push) mdmtest.PushAnswer {
		return mdmtest.PushAnswer{Stall: string(p.Token) != "token-0000"}
	})
	allDelivered(t, c, 1) // the first push on a connection goes alone
	ctx, cancel := context.WithCancel(bg)
	done := make(chan []push.Result, 1)
	go func() {
		results, err := c.Push(ctx, targets(50))
		assert.NoError(t, err)
		done <- results
	}()
	eventually(t, func() bool { return len(server.Pushes()) == 4 })
	cancel()
	results := <-done
	require.Len(t, results, 50)
	assert.Equal(t, push.Delivered, results[0].Outcome)
	count := map[push.Outcome]int{}
	for i, r := range results[1:] {
		count[r.Outcome]++
		assert.Equal(t, target(i+1), r.Target)
		require.ErrorIs(t, r.Err, context.Canceled)
	}
	assert.Equal(t, map[push.Outcome]int{push.Retry: 2, push.Unsent: 47}, count)
	assert.Len(t, server.Pushes(), 4, "no more than Concurrency were under way")
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	allDelivered(t, c, 1) // the connection is there
	c.Timeout = 200 * time.Millisecond
	server.Queue(mdmtest.PushAnswer{Stall: true})
	r := one(t, c)
	assert.Equal(t, push.Retry, r.Outcome)
	require.ErrorIs(t, r.Err, context.DeadlineExceeded)
	assert.Len(t, server.Pushes(), 2, "a timeout is not repeated in the same call")
}
