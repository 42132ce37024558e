package apns_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

const topic = "com.apple.mgmt.External.2c0d6a51"

var bg = context.Background()

func certificate(t testing.TB, topic string) push.Certificate {
	c, err := mdmtest.NewPushCertificate(topic)
	require.NoError(t, err)
	return c
}

// startAPNs starts a server that must have seen no violation in the end.
func startAPNs(t testing.TB, config mdmtest.APNsConfig) *mdmtest.APNs {
	server := config.Start()
	t.Cleanup(func() {
		server.Close()
		require.Empty(t, server.Violations())
	})
	return server
}

// client returns a Client for server with certs.
func client(t testing.TB, server *mdmtest.APNs, certs ...push.Certificate) *apns.Client {
	c := &apns.Client{Certificates: push.Fixed(certs...), Host: server.URL(), RootCAs: server.RootCAs()}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func fixture(t testing.TB) (*mdmtest.APNs, *apns.Client) {
	server := startAPNs(t, mdmtest.APNsConfig{})
	return server, client(t, server, certificate(t, topic))
}

func target(n int) push.Target {
	return push.Target{
		Enrollment: mdm.EnrollmentID{Device: fmt.Sprintf("device-%d", n)}, Topic: topic,
		Token: fmt.Appendf(nil, "token-%04d", n), Magic: fmt.Sprintf("magic-%d", n),
	}
}

func targets(n int) []push.Target {
	all := make([]push.Target, n)
	for i := range all {
		all[i] = target(i)
	}
	return all
}

// one pushes to one target.
func one(t testing.TB, c *apns.Client) push.Result {
	t.Helper()
	results, err := c.Push(bg, targets(1))
	require.NoError(t, err)
	require.Len(t, results, 1)
	return results[0]
}

// allDelivered pushes n times and requires success, in order.
func allDelivered(t testing.TB, c *apns.Client, n int) {
	t.Helper()
	sent := targets(n)
	results, err := c.Push(bg, sent)
	require.NoError(t, err)
	require.Len(t, results, n)
	for i, r := range results {
		require.Equal(t, push.Delivered, r.Outcome, "%d: %+v", i, r)
		require.Equal(t, sent[i], r.Target)
	}
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, time.Millisecond)
}

// shelf is Certificates whose content changes.
type shelf struct {
	mu   sync.Mutex
	pair *tls.Certificate
	err  error
}

func (s *shelf) put(c push.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pair = &c.TLS
}

func (s *shelf) PushCertificate(context.Context, string) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pair, s.err
}

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now().UTC().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

var errDown = errors.New("test: down")
