package mdmtest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// postBare pushes with these headers alone.
func postBare(t *testing.T, client *http.Client, server *mdmtest.APNs, token string, header http.Header) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+"/3/device/"+token, strings.NewReader(`{"mdm":"m"}`))
	require.NoError(t, err)
	req.Header = header
	resp, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

func TestAPNsTakesWhatIsUnwise(t *testing.T) {
	t.Parallel()
	full := http.Header{"Apns-Topic": {pushTopic}, "Apns-Push-Type": {"mdm"}, "Apns-Expiration": {"4102444800"}}
	with := func(name string, values ...string) http.Header {
		h := full.Clone()
		h[name] = values
		return h
	}
	tests := []struct {
		name   string
		header http.Header
		says   []string
	}{
		{"as it should be", full, nil},
		{"no topic", with("Apns-Topic"), []string{"apns-topic"}},
		{"no type", with("Apns-Push-Type"), []string{"apns-push-type"}},
		{"no expiration", with("Apns-Expiration"), []string{`apns-expiration ""`}},
		{"not kept", with("Apns-Expiration", "0"), []string{`apns-expiration "0"`}},
		{"expired", with("Apns-Expiration", "1"), []string{`apns-expiration "1"`}},
		{"nothing", http.Header{}, []string{"apns-topic", "apns-push-type", "apns-expiration"}},
	}
	for _, lenient := range []bool{false, true} {
		server := mdmtest.APNsConfig{Lenient: lenient}.Start()
		t.Cleanup(server.Close)
		cert, err := mdmtest.NewPushCertificate(pushTopic)
		require.NoError(t, err)
		client := plainClient(t, server, true, cert.TLS)
		for i, tt := range tests {
			before := len(server.Violations())
			assert.Equal(t, 200, postBare(t, client, server, "ab", tt.header), tt.name)
			require.Len(t, server.Pushes(), i+1)
			assert.Equal(t, pushTopic, server.Pushes()[i].Topic, tt.name)
			added := server.Violations()[before:]
			if lenient || tt.says == nil {
				assert.Empty(t, added, tt.name)
				continue
			}
			require.Len(t, added, 1, tt.name)
			assert.True(t, strings.HasPrefix(added[0], "unwise: "), added[0])
			for _, word := range tt.says {
				assert.Contains(t, added[0], word, tt.name)
			}
		}
		assert.Equal(t, len(tests), server.Totals().Accepted)
	}
}

// A device that sleeps gets a push only if APNs was asked to keep it, and only until then.
func TestAPNsKeepsWhatHasAnExpiration(t *testing.T) {
	t.Parallel()
	var minutes atomic.Int64
	start := time.Unix(2_000_000_000, 0)
	clock := func() time.Time { return start.Add(time.Duration(minutes.Load()) * time.Minute) }
	server := mdmtest.APNsConfig{Clock: clock}.Start()
	t.Cleanup(server.Close)
	client := plainClient(t, server, true, certificate(t, pushTopic, start.AddDate(1, 0, 0)))
	push := func(token, expiration string) {
		assert.Equal(t, 200, postBare(t, client, server, token,
			http.Header{"Apns-Topic": {pushTopic}, "Apns-Push-Type": {"mdm"}, "Apns-Expiration": {expiration}}))
	}
	woken := func(token string) bool {
		sub, cancel := server.Subscribe([]byte(token))
		defer cancel()
		return len(sub) > 0
	}
	push("aa", "0")
	push("bb", "1999999999")
	push("cc", "2000000030")
	push("dd", "2000000090")
	minutes.Add(1)
	for token, want := range map[string]bool{"\xaa": false, "\xbb": false, "\xcc": false, "\xdd": true} {
		assert.Equal(t, want, woken(token), "%x", token)
	}
	sub, cancel := server.Subscribe([]byte("\xee"))
	defer cancel()
	push("ee", "0")
	assert.Len(t, sub, 1, "a device that is there is woken")
}

// The order of pushes is that in which they came, though a script is done with the first one last.
func TestAPNsPushesAreInOrderOfArrival(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	release := make(chan struct{})
	server.Script(func(p mdmtest.Push) mdmtest.PushAnswer {
		if string(p.Token) == "slow" {
			<-release
		}
		return mdmtest.PushAnswer{}
	})
	slow, quick := r.push("slow"), r.push("quick")
	r.flush()
	r.until(func() bool { return r.seen.ended[quick] })
	close(release)
	r.until(func() bool { return r.seen.ended[slow] })
	var tokens []string
	for _, p := range server.Pushes() {
		tokens = append(tokens, string(p.Token))
	}
	assert.Equal(t, []string{"first", "slow", "quick"}, tokens)
}

// certificate returns one for TLS clients, with a topic if there is one.
func certificate(t *testing.T, topic string, until time.Time) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: until}
	if topic != "" {
		push, err := mdmtest.NewPushCertificate(topic)
		require.NoError(t, err)
		template.RawSubject = push.TLS.Leaf.RawSubject
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAPNsDemandsATopicInTheCertificate(t *testing.T) {
	t.Parallel()
	server := mdmtest.NewAPNs()
	t.Cleanup(server.Close)
	year := time.Now().AddDate(1, 0, 0)
	for topic, let := range map[string]bool{"": false, pushTopic: true} {
		client := plainClient(t, server, true, certificate(t, topic, year))
		resp, err := client.Post(server.URL()+"/3/device/ab", "", bytes.NewReader([]byte(`{"mdm":"m"}`)))
		if err == nil {
			require.NoError(t, resp.Body.Close())
		}
		assert.Equal(t, let, err == nil, "%q: %v", topic, err)
	}
}
