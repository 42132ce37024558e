package apns_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
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

func TestOneConnectionForManyPushes(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	var wg sync.WaitGroup
	for range 5 { // at once, with no connection yet
		wg.Go(func() { allDelivered(t, c, 200) })
	}
	wg.Wait()
	open, total := server.Connections()
	assert.Equal(t, 1, open)
	assert.Equal(t, 1, total, "not a dial per push that found none")
	assert.Len(t, server.Pushes(), 1000)
}

func TestASmallStreamLimitIsRespected(t *testing.T) {
	t.Parallel()
	server := startAPNs(t, mdmtest.APNsConfig{MaxStreams: 2})
	c := client(t, server, certificate(t, topic))
	c.Connections = 1
	var now, most atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		return mdmtest.PushAnswer{}
	})
	allDelivered(t, c, 500)
	_, total := server.Connections()
	assert.Equal(t, 1, total)
	assert.LessOrEqual(t, most.Load(), int64(2))
	assert.Len(t, server.Pushes(), 500, "none was refused and sent again")
}

// The first push on a connection goes alone, but it does not hold up the others for ever.
func TestAStalledFirstPush(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	server.Queue(mdmtest.PushAnswer{Stall: true})
	ctx, cancel := context.WithCancel(bg)
	done := make(chan []push.Result, 1)
	go func() {
		results, err := c.Push(ctx, targets(20))
		assert.NoError(t, err)
		done <- results
	}()
	eventually(t, func() bool { return len(server.Pushes()) == 20 })
	cancel()
	var retried int
	for _, r := range <-done {
		if r.Outcome == push.Retry {
			retried++
		}
	}
	assert.GreaterOrEqual(t, retried, 1)
	_, total := server.Connections()
	assert.Equal(t, 1, total)
}

func TestConcurrencyIsBoundedOverAllCalls(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	c.Concurrency = 3
	allDelivered(t, c, 1) // the first push on a connection goes alone
	release := make(chan struct{})
	var now, most atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-release
		return mdmtest.PushAnswer{}
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { allDelivered(t, c, 10) })
	}
	eventually(t, func() bool { return now.Load() == 3 })
	close(release)
	wg.Wait()
	assert.Equal(t, int64(3), most.Load())
}

// Each connection serves four times as many pushes as are in flight, so a push that a GOAWAY left out is among the
// first on the next connection and is answered there.
func TestGoAwayLosesNothing(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	c.Concurrency = 50
	var n atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer {
		return mdmtest.PushAnswer{GoAway: n.Add(1)%200 == 0}
	})
	allDelivered(t, c, 1000)
	assert.Len(t, server.Pushes(), 1000, "what was accepted is not sent twice")
	_, total := server.Connections()
	assert.Greater(t, total, 1)
	assert.Less(t, total, 50, "a connection per GOAWAY, not per push")
}

// When connections go away faster than they can be used, a push is given up after a few attempts, to be tried later. It
// is still never sent twice, and there are not many new connections.
func TestAStormOfGoAwaysIsBounded(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	c.Timeout = 3 * time.Second
	var n atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer {
		return mdmtest.PushAnswer{GoAway: n.Add(1)%10 == 0}
	})
	results, err := c.Push(bg, targets(500))
	require.NoError(t, err)
	var delivered int
	for _, r := range results {
		require.Contains(t, []push.Outcome{push.Delivered, push.Retry, push.Unsent}, r.Outcome, "%+v", r)
		if r.Outcome == push.Delivered {
			delivered++
		}
	}
	seen := map[string]bool{}
	for _, p := range server.Pushes() {
		require.False(t, seen[p.ID], "sent twice")
		seen[p.ID] = true
	}
	assert.Len(t, seen, delivered)
	_, total := server.Connections()
	assert.Less(t, total, 30)
}

func TestALostConnectionIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	allDelivered(t, c, 1)
	server.Queue(mdmtest.PushAnswer{Drop: true})
	r := one(t, c)
	assert.Equal(t, push.Delivered, r.Outcome, "%+v", r)
	got := server.Pushes()
	require.Len(t, got, 3)
	assert.Equal(t, got[1].ID, got[2].ID, "the same push")
	assert.NotEqual(t, got[1].Conn, got[2].Conn)

	server.Queue(mdmtest.PushAnswer{Drop: true}, mdmtest.PushAnswer{Drop: true}, mdmtest.PushAnswer{Drop: true})
	r = one(t, c)
	assert.Equal(t, push.Retry, r.Outcome)
	require.Error(t, r.Err)
	assert.Zero(t, r.Status)
	assert.Len(t, server.Pushes(), 5, "twice, not for ever")
}

func TestABrokenConnectionBetweenPushes(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	for range 5 {
		allDelivered(t, c, 20)
		server.Disconnect()
	}
	allDelivered(t, c, 20)
}

func TestAnUnreachableServerIsNotRepeated(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var dials atomic.Int64
	c := &apns.Client{Certificates: push.Fixed(certificate(t, topic)), Host: "https://" + listener.Addr().String(),
		Proxy: func(*http.Request) (*url.URL, error) { dials.Add(1); return nil, nil }}
	require.NoError(t, listener.Close())
	r := one(t, c)
	assert.Equal(t, push.Unsent, r.Outcome)
	require.Error(t, r.Err)
	assert.Equal(t, int64(1), dials.Load())
}

// A router that forgets a connection answers nothing. The ping finds out, and the push is repeated on a new connection.
func TestAStalledConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	c.PingInterval = time.Second
	allDelivered(t, c, 10)
	thaw := server.Freeze()
	defer thaw()
	allDelivered(t, c, 10)
	_, total := server.Connections()
	assert.Equal(t, 2, total)
	eventually(t, func() bool { open, _ := server.Connections(); return open == 1 || closeFrozen(thaw) })
}

// closeFrozen lets the server notice that the frozen connection was closed.
func closeFrozen(thaw func()) bool {
	thaw()
	return false
}

func TestAPushWaitsForItsConnectionInsteadOfFailing(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	thaw := server.Freeze() // none is open yet: no effect on later ones
	defer thaw()
	allDelivered(t, c, 1)
}

func TestServiceUnavailableTakesANewConnectionButNotTooOften(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	unavailable := mdmtest.RefusePush(http.StatusServiceUnavailable, "Shutdown")
	server.Queue(unavailable, unavailable)
	for range 2 {
		assert.Equal(t, push.Retry, one(t, c).Outcome)
	}
	_, total := server.Connections()
	assert.Equal(t, 1, total, "a young connection stays")

	now.advance(time.Hour)
	server.Queue(unavailable)
	assert.Equal(t, push.Retry, one(t, c).Outcome)
	allDelivered(t, c, 1)
	_, total = server.Connections()
	assert.Equal(t, 2, total)
	eventually(t, func() bool { open, _ := server.Connections(); return open == 1 })
}

func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	allDelivered(t, c, 10)
	c.CloseIdleConnections()
	eventually(t, func() bool { open, _ := server.Connections(); return open == 0 })
	allDelivered(t, c, 1)
	_, total := server.Connections()
	assert.Equal(t, 2, total, "the client stays usable")

	entered, release := make(chan struct{}), make(chan struct{})
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer {
		close(entered)
		<-release
		return mdmtest.PushAnswer{}
	})
	done := make(chan push.Result, 1)
	go func() { results, _ := c.Push(bg, targets(1)); done <- results[0] }()
	<-entered
	c.CloseIdleConnections()
	close(release)
	assert.Equal(t, push.Delivered, (<-done).Outcome, "what is under way is not broken off")
	eventually(t, func() bool { open, _ := server.Connections(); return open == 0 })
}

// A server that hangs up on every connection is not dialed once per push.
func TestAServerThatHangsUpIsLeftAlone(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var accepted atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			_ = conn.Close()
		}
	}()
	c := &apns.Client{Certificates: push.Fixed(certificate(t, topic)), Host: "https://" + listener.Addr().String()}
	results, err := c.Push(bg, targets(500))
	require.NoError(t, err)
	for _, r := range results {
		require.Contains(t, []push.Outcome{push.Retry, push.Unsent}, r.Outcome)
		require.Error(t, r.Err)
	}
	assert.Less(t, accepted.Load(), int64(20))
}

func TestAClientThatIsClosedWhileItConnects(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	connecting, goOn := make(chan struct{}), make(chan struct{})
	c.Proxy = func(*http.Request) (*url.URL, error) {
		close(connecting)
		<-goOn
		return nil, nil
	}
	ctx, cancel := context.WithCancel(bg)
	done := make(chan push.Result, 1)
	go func() {
		results, err := c.Push(ctx, targets(1))
		assert.NoError(t, err)
		done <- results[0]
	}()
	<-connecting
	cancel()
	require.ErrorIs(t, (<-done).Err, context.Canceled)
	c.CloseIdleConnections()
	close(goOn)
	eventually(t, func() bool { open, total := server.Connections(); return total == 1 && open == 0 })
}

func TestAPanicOfProxyIsContained(t *testing.T) {
	t.Parallel()
	_, c := fixture(t)
	c.Proxy = func(*http.Request) (*url.URL, error) { panic("proxy") }
	r := one(t, c)
	assert.Equal(t, push.Unsent, r.Outcome)
	require.ErrorContains(t, r.Err, "panic: proxy")
}

func TestAProxyIsUsed(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	var asked atomic.Pointer[string]
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := r.Method + " " + r.Host
		asked.Store(&line)
		tunnel(w, r.Host)
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = proxy.Serve(listener) }()
	defer proxy.Close()
	c.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: listener.Addr().String()})
	allDelivered(t, c, 5)
	assert.Equal(t, "CONNECT "+strings.TrimPrefix(server.URL(), "https://"), *asked.Load())
}

// tunnel joins the client of w with addr until one of them closes.
func tunnel(w http.ResponseWriter, addr string) {
	out, err := net.Dial("tcp", addr)
	if err != nil {
		http.Error(w, "no", http.StatusBadGateway)
		return
	}
	in, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = out.Close()
		return
	}
	// Only now: what the client sends after it would be read by the server, as the beginning of another request.
	_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
}
