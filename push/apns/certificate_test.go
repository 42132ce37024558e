package apns_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
)

func TestACertificateIsRenewedWithoutARestart(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{})
	c := client(t, server)
	certs := &shelf{}
	c.Certificates = certs
	certs.put(certificate(t, topic))
	allDelivered(t, c, 5)
	certs.put(certificate(t, topic))
	allDelivered(t, c, 5)
	allDelivered(t, c, 5)
	_, total := server.Connections()
	assert.Equal(t, 2, total)
	eventually(t, func() bool { open, _ := server.Connections(); return open == 1 })
}

func TestRenewalUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{})
	c := client(t, server)
	certs := &shelf{}
	c.Certificates = certs
	certs.put(certificate(t, topic))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				allDelivered(t, c, 10)
			}
		})
	}
	for range 10 {
		certs.put(certificate(t, topic))
		allDelivered(t, c, 1)
	}
	wg.Wait()
	eventually(t, func() bool { open, _ := server.Connections(); return open == 1 })
	assert.Len(t, server.Pushes(), 810)
}

func TestTopicsHaveConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{})
	other := "com.apple.mgmt.External.other"
	c := client(t, server, certificate(t, topic), certificate(t, other))
	mixed := targets(10)
	for i := range mixed {
		if i%2 == 1 {
			mixed[i].Topic = other
		}
	}
	mixed[4].Topic = "com.apple.mgmt.External.unknown"
	results, err := c.Push(bg, mixed)
	require.NoError(t, err)
	for i, r := range results {
		assert.Equal(t, mixed[i], r.Target)
		want := push.Delivered
		if i == 4 {
			want = push.BadCertificate
		}
		assert.Equal(t, want, r.Outcome, i)
	}
	assert.Equal(t, mdm.NotFound, mdm.CodeOf(results[4].Err))
	_, total := server.Connections()
	assert.Equal(t, 2, total)
}

func TestBadCertificatesAreFoundBeforeTheyAreUsed(t *testing.T) {
	t.Parallel()
	good := certificate(t, topic)
	pair := func(c push.Certificate) *tls.Certificate { return &c.TLS }
	mismatch := good.TLS
	mismatch.PrivateKey = certificate(t, topic).TLS.PrivateKey
	tests := []struct {
		name  string
		certs *shelf
		late  time.Duration
		want  push.Outcome
	}{
		{"of another topic", &shelf{pair: pair(certificate(t, topic+".b"))}, 0, push.BadCertificate},
		{"with another key", &shelf{pair: &mismatch}, 0, push.BadCertificate},
		{"empty", &shelf{pair: &tls.Certificate{}}, 0, push.BadCertificate},
		{"none and no error", &shelf{}, 0, push.BadCertificate},
		{"unreadable in the store", &shelf{err: mdm.Errorf(mdm.Malformed, "test", "bad")}, 0, push.BadCertificate},
		{"expired", &shelf{pair: pair(good)}, 400 * 24 * time.Hour, push.BadCertificate},
		{"the store is down", &shelf{err: errDown}, 0, push.Unsent},
	}
	server := startAPNs(t, mdmtest.APNsConfig{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, server)
			c.Certificates = tt.certs
			c.Clock = func() time.Time { return time.Now().Add(tt.late) }
			r := one(t, c)
			assert.Equal(t, tt.want, r.Outcome)
			require.Error(t, r.Err)
		})
	}
	_, total := server.Connections()
	assert.Zero(t, total, "nothing was dialed")
}

func TestACertificateThatExpiresWhileInUse(t *testing.T) {
	t.Parallel()
	_, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	allDelivered(t, c, 1)
	now.advance(400 * 24 * time.Hour)
	r := one(t, c)
	assert.Equal(t, push.BadCertificate, r.Outcome)
	require.ErrorIs(t, r.Err, push.ErrExpired)
}

func TestARevokedCertificateFailsTheHandshake(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startAPNs(t, mdmtest.APNsConfig{MaxTLS: version})
			cert := certificate(t, topic)
			server.Revoke(cert)
			c := client(t, server, cert)
			// With TLS 1.3 the refusal comes after the handshake and may overtake the first request. What is
			// certain is that it is found out and that nothing is delivered.
			odd := push.Result{}
			eventually(t, func() bool {
				results, _ := c.Push(bg, targets(1))
				switch results[0].Outcome {
				case push.BadCertificate:
					return true
				case push.Retry, push.Unsent:
				default:
					odd = results[0]
				}
				return false
			})
			assert.Zero(t, odd)
			assert.Empty(t, server.Pushes())
		})
	}
}

func TestARefusedCertificateRestsUntilItIsReplaced(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{})
	certs := &shelf{}
	c := client(t, server)
	now := newClock()
	c.Certificates, c.Clock, c.Concurrency = certs, now.now, 1
	certs.put(certificate(t, topic))
	server.Queue(mdmtest.RefusePush(403, "BadCertificate"))
	results, err := c.Push(bg, targets(20))
	require.NoError(t, err)
	for i, r := range results {
		assert.Equal(t, push.BadCertificate, r.Outcome)
		assert.Equal(t, "BadCertificate", r.Reason)
		assert.Equal(t, target(i), r.Target)
	}
	assert.Len(t, server.Pushes(), 1, "one refusal is enough")

	now.advance(time.Minute)
	allDelivered(t, c, 1) // the pause is over

	server.Queue(mdmtest.RefusePush(403, "Forbidden"))
	assert.Equal(t, push.BadCertificate, one(t, c).Outcome)
	assert.Equal(t, push.BadCertificate, one(t, c).Outcome)
	certs.put(certificate(t, topic))
	allDelivered(t, c, 1) // at once
}

func TestAPanicIsOneResult(t *testing.T) {
	t.Parallel()
	for call, want := range map[int]string{2: "unsent apns: panic: clock", 3: "retry apns: panic: clock"} { // before it is sent, and after
		_, c := fixture(t)
		var calls int
		c.Concurrency = 1
		c.Clock = func() time.Time {
			if calls++; calls == call {
				panic("clock")
			}
			return time.Now()
		}
		results, err := c.Push(bg, targets(3))
		require.NoError(t, err)
		var failed []string
		for _, r := range results {
			if r.Err != nil {
				failed = append(failed, fmt.Sprint(r.Outcome, r.Err))
			}
		}
		assert.Equal(t, []string{want}, failed)
	}
}

// hesitant is Certificates that hands out what it had when it was asked, when it may.
type hesitant struct {
	shelf
	asked, goOn chan struct{}
}

func (h *hesitant) PushCertificate(ctx context.Context, topic string) (*tls.Certificate, error) {
	pair, err := h.shelf.PushCertificate(ctx, topic)
	if ctx.Value(hesitant{}) != nil {
		close(h.asked)
		<-h.goOn
	}
	return pair, err
}

func TestACallThatIsLateWithTheFormerCertificate(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{})
	c := client(t, server)
	certs := &hesitant{asked: make(chan struct{}), goOn: make(chan struct{})}
	c.Certificates = certs
	former := certificate(t, topic)
	certs.put(former)
	allDelivered(t, c, 1)
	late := begin(context.WithValue(bg, hesitant{}, true), t, c, 1)
	<-certs.asked
	certs.put(certificate(t, topic))
	allDelivered(t, c, 1)
	close(certs.goOn)
	assert.Equal(t, push.Delivered, late()[0].Outcome)
	allDelivered(t, c, 1)
	_, total := server.Connections()
	assert.Equal(t, 2, total, "the former certificate did not come back")
	certs.put(former)
	allDelivered(t, c, 1)
	_, total = server.Connections()
	assert.Equal(t, 3, total, "unless it is meant to")
}

func TestAPauseOfConnectingOutlivesACertificate(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{})
	c := client(t, server)
	certs := &shelf{}
	c.Certificates, c.Clock = certs, newClock().now
	c.Proxy = func(*http.Request) (*url.URL, error) { return nil, errDown }
	certs.put(certificate(t, topic))
	require.ErrorIs(t, one(t, c).Err, errDown)
	certs.put(certificate(t, topic))
	paused(t, server, c)
}
