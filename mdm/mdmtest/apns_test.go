package mdmtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
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

const pushTopic = "com.apple.mgmt.External.test"

func startAPNs(t testing.TB) (*mdmtest.APNs, push.Certificate) {
	server := mdmtest.NewAPNs()
	t.Cleanup(server.Close)
	cert, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(t, err)
	return server, cert
}

func pusher(t *testing.T, server *mdmtest.APNs, cert push.Certificate) func(token string) push.Result {
	client := &apns.Client{Certificates: push.Fixed(cert), Host: server.URL(), RootCAs: server.RootCAs()}
	t.Cleanup(client.CloseIdleConnections)
	return func(token string) push.Result {
		results, err := client.Push(context.Background(), []push.Target{{Topic: cert.Topic, Token: []byte(token), Magic: "magic"}})
		require.NoError(t, err)
		return results[0]
	}
}

// plainClient is an HTTP client of net/http that may send anything.
func plainClient(t *testing.T, server *mdmtest.APNs, h2 bool, certs ...tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.RootCAs(), Certificates: certs},
		Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(h2)
	transport.Protocols.SetHTTP1(!h2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestAPNsRefusesWhatAppleRefuses(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	client := plainClient(t, server, true, cert.TLS)
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
	}
	body := func(s string) func(*http.Request) {
		return func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader(s)), int64(len(s)) }
	}
	path := func(s string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = s } }
	tests := []struct {
		name   string
		change func(*http.Request)
		status int
		reason string
	}{
		{"as it should be", func(*http.Request) {}, 200, ""},
		{"the least", func(r *http.Request) { r.Header.Del("Apns-Priority"); r.Header.Del("Apns-Id") }, 200, ""},
		{"a GET", func(r *http.Request) { r.Method = "GET" }, 405, "MethodNotAllowed"},
		{"another path", path("/3/devices/ab"), 404, "BadPath"},
		{"a query", func(r *http.Request) { r.URL.RawQuery = "a=b" }, 404, "BadPath"},
		{"no token", path("/3/device/"), 400, "MissingDeviceToken"},
		{"token in capitals", path("/3/device/AB"), 400, "BadDeviceToken"},
		{"half a byte", path("/3/device/abc"), 400, "BadDeviceToken"},
		{"topic of another", set("Apns-Topic", pushTopic+"2"), 400, "TopicDisallowed"},
		{"two topics", set("Apns-Topic", pushTopic, pushTopic), 400, "DuplicateHeaders"},
		{"an alert", set("Apns-Push-Type", "alert"), 400, "InvalidPushType"},
		{"priority 1", set("Apns-Priority", "1"), 200, ""},
		{"priority 7", set("Apns-Priority", "7"), 400, "BadPriority"},
		{"id in capitals", set("Apns-Id", "EABEAE54-14A8-11E5-B60B-1697F925EC7B"), 400, "BadMessageId"},
		{"id that is none", set("Apns-Id", "1"), 400, "BadMessageId"},
		{"expiration in words", set("Apns-Expiration", "soon"), 400, "BadExpirationDate"},
		{"expiration below zero", set("Apns-Expiration", "-1"), 400, "BadExpirationDate"},
		{"a collapse id", set("Apns-Collapse-Id", strings.Repeat("c", 64)), 200, ""},
		{"a long collapse id", set("Apns-Collapse-Id", strings.Repeat("c", 65)), 400, "BadCollapseId"},
		{"no body", body(""), 400, "PayloadEmpty"},
		{"no magic", body(`{"mdm":""}`), 400, "PayloadEmpty"},
		{"an app's payload", body(`{"aps":{}}`), 400, "PayloadEmpty"},
		{"more than the magic", body(`{"mdm":"m","aps":{}}`), 400, "PayloadEmpty"},
		{"too large", body(`{"mdm":"` + strings.Repeat("m", 4096) + `"}`), 413, "PayloadTooLarge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(server.Violations())
			req, err := http.NewRequest(http.MethodPost, server.URL()+"/3/device/ab00", bytes.NewReader([]byte(`{"mdm":"m"}`)))
			require.NoError(t, err)
			req.Header = http.Header{"Apns-Topic": {pushTopic}, "Apns-Push-Type": {"mdm"}, "Apns-Priority": {"5"},
				"Apns-Expiration": {"4102444800"}, "Apns-Id": {"eabeae54-14a8-11e5-b60b-1697f925ec7b"}}
			tt.change(req)
			resp, err := client.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, tt.status, resp.StatusCode)
			assert.NotEmpty(t, resp.Header.Get("apns-id"))
			if tt.reason == "" {
				assert.Empty(t, answer)
				assert.Len(t, server.Violations(), before)
				return
			}
			assert.JSONEq(t, `{"reason":"`+tt.reason+`"}`, string(answer))
			require.Len(t, server.Violations(), before+1)
			assert.Contains(t, server.Violations()[before], tt.reason)
		})
	}
	assert.Len(t, server.Pushes(), 4, "those in order alone")
}

func TestAPNsDemandsHTTP2AndACertificate(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	for name, client := range map[string]*http.Client{
		"no certificate": plainClient(t, server, true),
		"HTTP/1.1":       plainClient(t, server, false, cert.TLS),
	} {
		resp, err := client.Post(server.URL()+"/3/device/ab", "", strings.NewReader("{}"))
		if err == nil {
			resp.Body.Close()
		}
		require.Error(t, err, name)
	}
	assert.Empty(t, server.Pushes())
}

func TestAPNsWakesSubscribers(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	send := pusher(t, server, cert)
	var hooked []string
	server.OnDelivery(func(p mdmtest.Push) { hooked = append(hooked, string(p.Token)) })

	first, cancelFirst := server.Subscribe([]byte("a"))
	second, cancelSecond := server.Subscribe([]byte("a"))
	other, cancelOther := server.Subscribe([]byte("b"))
	defer cancelSecond()
	defer cancelOther()
	for range 3 {
		require.Equal(t, push.Delivered, send("a").Outcome)
	}
	for _, woken := range []<-chan struct{}{first, second} {
		assert.Len(t, woken, 1, "pushes that were not read are one")
		<-woken
	}
	assert.Empty(t, other)
	assert.Equal(t, []string{"a", "a", "a"}, hooked)

	cancelFirst()
	server.OnDelivery(nil)
	send("a")
	assert.Empty(t, first)
	assert.Len(t, second, 1)
	assert.Len(t, hooked, 3)
}

func TestAPNsKeepsTheLastPushForADeviceThatIsOff(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	send := pusher(t, server, cert)
	send("a")
	send("a")
	woken, cancel := server.Subscribe([]byte("a"))
	defer cancel()
	assert.Len(t, woken, 1)
	again, cancelAgain := server.Subscribe([]byte("a"))
	defer cancelAgain()
	assert.Empty(t, again, "it was delivered already")
}

func TestAPNsAnswersByQueueThenScript(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	send := pusher(t, server, cert)
	woken, cancel := server.Subscribe([]byte("dead"))
	defer cancel()
	since := time.UnixMilli(1_700_000_000_123).UTC()
	server.Script(func(p mdmtest.Push) mdmtest.PushAnswer {
		if string(p.Token) == "dead" {
			return mdmtest.Unregistered(since)
		}
		return mdmtest.PushAnswer{}
	})
	server.Queue(mdmtest.RefusePush(500, "InternalServerError"))
	assert.Equal(t, 500, send("alive").Status)
	assert.Equal(t, 200, send("alive").Status)
	r := send("dead")
	assert.Equal(t, 410, r.Status)
	assert.Equal(t, since, r.Since)
	assert.Empty(t, woken, "a refused push wakes nobody")
	server.Script(nil)
	assert.Equal(t, 200, send("dead").Status)
	var statuses []int
	for _, p := range server.Pushes() {
		statuses = append(statuses, p.Status)
	}
	assert.Equal(t, []int{500, 200, 410, 200}, statuses)
}

func TestAPNsForgetsTheOldestPushes(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	client := &apns.Client{Certificates: push.Fixed(cert), Host: server.URL(), RootCAs: server.RootCAs()}
	defer client.CloseIdleConnections()
	targets := make([]push.Target, 20_050)
	for i := range targets {
		targets[i] = push.Target{Topic: cert.Topic, Token: []byte{1}, Magic: "m"}
	}
	results, err := client.Push(context.Background(), targets)
	require.NoError(t, err)
	for _, r := range results {
		require.Equal(t, push.Delivered, r.Outcome, "%+v", r)
	}
	assert.Len(t, server.Pushes(), 10_000)
	_, err = client.Push(context.Background(), []push.Target{{Topic: cert.Topic, Token: []byte{2}, Magic: "m"}})
	require.NoError(t, err)
	assert.Equal(t, []byte{2}, server.Pushes()[9_999].Token, "the newest is kept")
}

func TestAPNsConnections(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	send := pusher(t, server, cert)
	send("a")
	open, total := server.Connections()
	assert.Equal(t, []int{1, 1}, []int{open, total})
	server.Disconnect()
	require.Eventually(t, func() bool { open, _ := server.Connections(); return open == 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, push.Delivered, send("a").Outcome)
	assert.Equal(t, 2, server.Pushes()[1].Conn)
}

func TestAPNsCloseEndsStalledPushes(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	send := pusher(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Stall: true})
	done := make(chan push.Result, 1)
	go func() { done <- send("a") }()
	require.Eventually(t, func() bool { return len(server.Pushes()) == 1 }, 10*time.Second, time.Millisecond)
	server.Close()
	server.Close() // a second time does nothing
	select {
	case r := <-done:
		assert.Equal(t, push.Retry, r.Outcome)
	case <-time.After(10 * time.Second):
		require.Fail(t, "the push still waits")
	}
}

func TestNewPushCertificate(t *testing.T) {
	t.Parallel()
	c, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(t, err)
	assert.Equal(t, pushTopic, c.Topic)
	certPEM, key, err := c.PEM()
	require.NoError(t, err)
	again, err := push.LoadCertificate(certPEM, key.Reveal())
	require.NoError(t, err)
	assert.Equal(t, pushTopic, again.Topic)
	_, err = mdmtest.NewPushCertificate("com.example.app")
	require.ErrorIs(t, err, push.ErrNoTopic)
}
