package apns_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

func TestConnectionsGrowWithTheLoadAndShrink(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{MaxStreams: 4, FirstStreams: 4})
	c := client(t, server, certificate(t, topic))
	c.Connections, c.IdleTimeout = 3, 50*time.Millisecond
	allDelivered(t, c, 1)
	assert.Equal(t, []apns.Stats{{Topic: topic, Connections: 1}}, c.Stats())

	release := make(chan struct{})
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { <-release; return mdmtest.PushAnswer{} })
	results := begin(bg, t, c, 4)
	eventually(t, func() bool { return c.Stats()[0].InFlight == 4 })
	assert.Equal(t, 1, c.Stats()[0].Connections, "there was room for all")
	more := begin(bg, t, c, 20)
	eventually(t, func() bool {
		return c.Stats()[0] == apns.Stats{Topic: topic, Connections: 3, InFlight: 12, Waiting: 12}
	})
	close(release)
	results()
	more()
	server.Script(nil)
	eventually(t, func() bool { open, total := server.Connections(); return open == 1 && total == 3 })
	allDelivered(t, c, 1)
	assert.Equal(t, 1, c.Stats()[0].Connections)
	assert.Len(t, server.Pushes(), 26, "none was refused")
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{MaxStreams: 7})
	c := client(t, server, certificate(t, topic))
	c.Concurrency = 30
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if i%4 == 3 { // some do not wait
				ctx, cancel := context.WithTimeout(bg, time.Duration(i)*time.Millisecond)
				defer cancel()
				results, err := c.Push(ctx, targets(100))
				assert.NoError(t, err)
				assert.Len(t, results, 100)
				return
			}
			allDelivered(t, c, 100)
		})
	}
	wg.Wait()
	eventually(t, func() bool { return c.Stats()[0].InFlight == 0 })
	assert.Zero(t, c.Stats()[0].Waiting)
	_, total := server.Connections()
	assert.LessOrEqual(t, total, 8)
}

func TestConnectionsThatBreakAllTheTime(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	c.Concurrency, c.Timeout = 20, 3*time.Second
	var n atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer {
		switch n.Add(1) % 100 {
		case 33:
			return mdmtest.PushAnswer{GoAway: true}
		case 66:
			return mdmtest.PushAnswer{Drop: true}
		}
		return mdmtest.PushAnswer{}
	})
	results, err := c.Push(bg, targets(1000))
	require.NoError(t, err)
	for i, r := range results {
		require.Contains(t, []push.Outcome{push.Delivered, push.Retry, push.Unsent}, r.Outcome)
		require.Equal(t, target(i), r.Target)
	}
}

func TestNoGoroutineIsLeft(t *testing.T) { // not beside others
	server := mdmtest.NewAPNs()
	defer server.Close()
	c := client(t, server, certificate(t, topic))
	allDelivered(t, c, 1)
	c.CloseIdleConnections()
	settled := func() int {
		var n int
		eventually(t, func() bool {
			open, _ := server.Connections()
			before := n
			n = runtime.NumGoroutine()
			return open == 0 && n == before
		})
		return n
	}
	base := settled()
	for range 20 {
		allDelivered(t, c, 50)
		server.Disconnect()
		allDelivered(t, c, 50)
		c.CloseIdleConnections()
	}
	eventually(t, func() bool { return runtime.NumGoroutine() <= base })
}
