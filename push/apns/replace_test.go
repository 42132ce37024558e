package apns_test

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
)

// swallow reads pushes until the connection is closed, and answers pings alone.
func (c *rawConn) swallow() (ended <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ok := true; ok; {
			_, ok = c.tryPush()
		}
	}()
	return done
}

func TestAConnectionWithoutAnswersIsReplaced(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	first := s.proved(c, streams(10))
	c.Timeout = 300 * time.Millisecond
	ended := first.swallow()
	for range 3 {
		r := one(t, c)
		assert.Equal(t, push.Retry, r.Outcome)
		require.ErrorContains(t, r.Err, "no answer in time")
	}
	<-ended
	s.proved(c, streams(10))
}

func TestAnAnswerToOthersKeepsAConnection(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	allDelivered(t, c, 1)
	c.Timeout = 300 * time.Millisecond
	for range 5 {
		server.Queue(mdmtest.PushAnswer{Stall: true})
		results := begin(bg, t, c, 1)
		eventually(t, func() bool { return c.Stats()[0].InFlight == 1 })
		allDelivered(t, c, 1)
		assert.Equal(t, push.Retry, results()[0].Outcome)
	}
	_, total := server.Connections()
	assert.Equal(t, 1, total)
}

func TestTheProbeTakesANewConnection(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	now := newClock()
	c.Clock = now.now
	conn := s.proved(c, streams(20))
	c.Timeout = 300 * time.Millisecond
	for range 3 {
		ended := conn.swallow()
		for range 10 { // or one, as a probe
			if one(t, c).Outcome != push.Retry {
				break
			}
		}
		<-ended
		now.advance(time.Hour)
		c.Timeout = 5 * time.Second
		conn = s.proved(c, streams(20))
		c.Timeout = 300 * time.Millisecond
	}
}

// A connection that takes no pushes, although none is in flight, is of no use.
func TestAConnectionWithoutRoomIsReplaced(t *testing.T) {
	t.Parallel()
	t.Run("no streams", func(t *testing.T) {
		t.Parallel()
		s := startRaw(t)
		c := s.client(certificate(t, topic))
		c.Connections = 1
		first := s.proved(c, streams(10))
		require.NoError(t, first.framer.WriteSettings(streams(0)))
		ended := first.swallow()
		time.Sleep(50 * time.Millisecond)
		results := begin(bg, t, c, 1)
		second := s.accept(streams(10))
		second.answer(second.push().stream, "200")
		assert.Equal(t, map[push.Outcome]int{push.Delivered: 1}, outcomes(results()))
		<-ended
	})
	t.Run("no window", func(t *testing.T) {
		t.Parallel()
		s := startRaw(t)
		c := s.client(certificate(t, topic))
		c.Connections = 1
		first := s.proved(c, streams(1))
		long := targets(30)
		for i := range long {
			long[i].Magic = strings.Repeat("m", 4000)
		}
		done := make(chan []push.Result, 1)
		go func() {
			results, err := c.Push(bg, long)
			assert.NoError(t, err)
			done <- results
		}()
		go func() {
			for {
				p, ok := first.tryPush()
				if !ok {
					return
				}
				first.answer(p.stream, "200")
			}
		}()
		second := s.accept(streams(20))
		for range 14 {
			second.answer(second.push().stream, "200")
		}
		assert.Equal(t, map[push.Outcome]int{push.Delivered: 30}, outcomes(<-done))
	})
}

// A server that answers once on each connection is not connected to all the time.
func TestConnectingHasAPace(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*rawConn, rawPush){
		"closed":    func(*rawConn, rawPush) {},
		"sent away": func(c *rawConn, p rawPush) { _ = c.framer.WriteGoAway(p.stream, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRaw(t)
			var connections atomic.Int64
			go func() {
				for {
					conn, ok := s.tryAccept()
					if !ok {
						return
					}
					connections.Add(1)
					go func() {
						defer conn.conn.Close()
						_ = conn.framer.WriteSettings(streams(10))
						p, _ := conn.tryPush()
						conn.answer(p.stream, "200")
						end(conn, p)
					}()
				}
			}()
			c := s.client(certificate(t, topic))
			c.Timeout = time.Second
			begun := time.Now()
			for time.Since(begun) < 3*time.Second {
				_, err := c.Push(bg, targets(20))
				require.NoError(t, err)
			}
			assert.LessOrEqual(t, connections.Load(), 17+int64(time.Since(begun).Seconds()))
		})
	}
}

func TestAGoAwayOfAnAngryServer(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]struct {
		code   http2.ErrCode
		reason string
	}{
		"code": {http2.ErrCodeEnhanceYourCalm, ""}, "reason": {http2.ErrCodeNo, `{"reason":"InternalServerError"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRaw(t)
			c := s.client(certificate(t, topic))
			conn := s.proved(c, streams(10))
			require.NoError(t, conn.framer.WriteGoAway(1, away.code, []byte(away.reason)))
			conn.gone()
			eventually(t, func() bool { return c.Stats()[0].Connections == 0 })
			assert.False(t, c.Stats()[0].PausedUntil.IsZero())
			assert.Equal(t, push.Unsent, one(t, c).Outcome)
		})
	}
}

func TestResetsPausePushes(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]http2.ErrCode{"lost": http2.ErrCodeInternal, "untouched": http2.ErrCodeRefusedStream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRaw(t)
			c := s.client(certificate(t, topic))
			conn := s.proved(c, streams(10))
			go func() {
				for {
					p, ok := conn.tryPush()
					if !ok {
						return
					}
					_ = conn.framer.WriteRSTStream(p.stream, code)
				}
			}()
			for range 10 {
				assert.Equal(t, push.Retry, one(t, c).Outcome)
			}
			assert.Equal(t, push.Unsent, one(t, c).Outcome)
			assert.False(t, c.Stats()[0].PausedUntil.IsZero())
		})
	}
}

func TestAServerThatTakesNoUsualHeaders(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	conn := s.proved(c, streams(10))
	require.NoError(t, conn.framer.WriteSettings(streams(10), http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 300}))
	ended := conn.swallow()
	time.Sleep(50 * time.Millisecond)
	r := one(t, c)
	assert.Equal(t, push.Unsent, r.Outcome, "%+v", r)
	require.ErrorContains(t, r.Err, "no request of a usual size")
	<-ended
	eventually(t, func() bool { return !time.Now().Before(r.Retry) })
	s.proved(c, streams(10))
}

func TestAPushThatWaitsInVain(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() // nobody accepts
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	c.Host, c.Timeout = "https://"+listener.Addr().String(), 100*time.Millisecond
	r := one(t, c)
	assert.Equal(t, push.Unsent, r.Outcome)
	require.ErrorContains(t, r.Err, "not sent in time")
}
