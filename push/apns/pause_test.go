package apns_test

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

// paused requires that a push is not tried, and returns how long that lasts.
func paused(t *testing.T, server *mdmtest.APNs, c *apns.Client) time.Duration {
	t.Helper()
	before := len(server.Pushes())
	r := one(t, c)
	require.Equal(t, push.Unsent, r.Outcome)
	require.ErrorIs(t, r.Err, apns.ErrPaused)
	require.Len(t, server.Pushes(), before)
	require.Equal(t, r.Retry, c.Stats()[0].PausedUntil)
	return r.Retry.Sub(c.Clock())
}

func between(t *testing.T, d, least, most time.Duration) {
	t.Helper()
	assert.GreaterOrEqual(t, d, least)
	assert.LessOrEqual(t, d, most)
}

func TestPushesPauseAfterFailuresInARow(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	var status atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return mdmtest.PushAnswer{Status: int(status.Load())} })
	for range 3 { // refusals are no failures, and end the row
		status.Store(500)
		for range 9 {
			assert.Equal(t, 500, one(t, c).Status)
		}
		status.Store(400)
		assert.Equal(t, 400, one(t, c).Status)
	}
	status.Store(500)
	for range 10 {
		assert.Equal(t, 500, one(t, c).Status)
	}
	between(t, paused(t, server, c), 5*time.Second, 7*time.Second)
	for _, seconds := range []time.Duration{10, 20, 40, 60, 60} {
		now.advance(paused(t, server, c))
		assert.Equal(t, 500, one(t, c).Status, "a probe")
		between(t, paused(t, server, c), seconds*time.Second, seconds*time.Second*5/4)
	}
	now.advance(paused(t, server, c))
	status.Store(200)
	allDelivered(t, c, 20)
	status.Store(500)
	assert.Equal(t, 500, one(t, c).Status)
	assert.Equal(t, 500, one(t, c).Status, "the row begins anew")
	assert.Zero(t, c.Stats()[0].PausedUntil)
}

func TestTheProbeGoesAlone(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	server.Queue(mdmtest.PushAnswer{Status: 503, RetryAfter: time.Minute})
	assert.Equal(t, 503, one(t, c).Status)
	assert.Equal(t, time.Minute, paused(t, server, c))
	now.advance(time.Minute)

	before := len(server.Pushes())
	answer := make(chan mdmtest.PushAnswer)
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return <-answer })
	results := begin(bg, t, c, 20)
	eventually(t, func() bool { s := c.Stats()[0]; return s.InFlight == 1 && s.Waiting == 19 })
	answer <- mdmtest.PushAnswer{Status: 503}
	assert.Equal(t, map[push.Outcome]int{push.Retry: 1, push.Unsent: 19}, outcomes(results()))
	assert.Len(t, server.Pushes(), before+1, "the others shared its fate")

	now.advance(paused(t, server, c))
	results = begin(bg, t, c, 20)
	eventually(t, func() bool { s := c.Stats()[0]; return s.InFlight == 1 && s.Waiting == 19 })
	close(answer)
	assert.Equal(t, map[push.Outcome]int{push.Delivered: 20}, outcomes(results()))
}

func TestAProbeThatIsCanceledDecidesNothing(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	server.Queue(mdmtest.PushAnswer{Status: 503, RetryAfter: time.Minute}, mdmtest.PushAnswer{Stall: true})
	assert.Equal(t, 503, one(t, c).Status)
	now.advance(time.Minute)
	ctx, cancel := context.WithCancel(bg)
	results := begin(ctx, t, c, 1)
	eventually(t, func() bool { return len(server.Pushes()) == 2 })
	others := begin(bg, t, c, 5)
	eventually(t, func() bool { return c.Stats()[0].Waiting == 5 })
	cancel()
	assert.Equal(t, push.Retry, results()[0].Outcome)
	assert.Equal(t, map[push.Outcome]int{push.Delivered: 5}, outcomes(others()))
}

func TestTimeoutsPausePushes(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	allDelivered(t, c, 1) // the connection is there
	c.Timeout = 2 * time.Second
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return mdmtest.PushAnswer{Stall: true} })
	results, err := c.Push(bg, targets(12))
	require.NoError(t, err)
	assert.Equal(t, map[push.Outcome]int{push.Retry: 12}, outcomes(results))
	paused(t, server, c)
}

func TestTooManyRequestsConcernOneDevice(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	for range 20 {
		server.Queue(mdmtest.PushAnswer{Status: http.StatusTooManyRequests, RetryAfter: time.Minute})
	}
	results, err := c.Push(bg, targets(20))
	require.NoError(t, err)
	for _, r := range results {
		assert.Equal(t, http.StatusTooManyRequests, r.Status)
		assert.False(t, r.Retry.IsZero())
	}
	allDelivered(t, c, 1)
}

func TestConnectingPausesLongerEachTime(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	var dials atomic.Int64
	var up atomic.Bool
	c.Proxy = func(*http.Request) (*url.URL, error) {
		dials.Add(1)
		if up.Load() {
			return nil, nil
		}
		return nil, errDown
	}
	for i, seconds := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		results, err := c.Push(bg, targets(20))
		require.NoError(t, err)
		for _, r := range results {
			require.ErrorIs(t, r.Err, errDown)
			require.Equal(t, push.Unsent, r.Outcome)
		}
		assert.Equal(t, int64(i+1), dials.Load())
		rest := paused(t, server, c)
		between(t, rest, seconds*time.Second, seconds*time.Second*5/4)
		now.advance(rest)
	}
	up.Store(true)
	allDelivered(t, c, 20)
	up.Store(false)
	server.Disconnect()
	eventually(t, func() bool { return c.Stats()[0].Connections == 0 })
	require.ErrorIs(t, one(t, c).Err, errDown)
	between(t, paused(t, server, c), time.Second, 5*time.Second/4)
}

// An answer to an early push may end a pause before the probe does. The next pause has a probe of its own.
func TestAProbeThatIsTooLateToDecide(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	allDelivered(t, c, 1)
	early, probe := make(chan mdmtest.PushAnswer), make(chan mdmtest.PushAnswer)
	var next atomic.Pointer[chan mdmtest.PushAnswer]
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return <-*next.Load() })
	fail := func() {
		server.Queue(mdmtest.PushAnswer{Status: 503, RetryAfter: time.Minute})
		assert.Equal(t, 503, one(t, c).Status)
		now.advance(paused(t, server, c))
	}
	inFlight := func(n int) { eventually(t, func() bool { return c.Stats()[0].InFlight == n }) }
	next.Store(&early)
	first := begin(bg, t, c, 1)
	inFlight(1)
	time.Sleep(50 * time.Millisecond) // until the script has its channel
	fail()
	next.Store(&probe)
	second := begin(bg, t, c, 1)
	inFlight(2)
	early <- mdmtest.PushAnswer{}
	assert.Equal(t, push.Delivered, first()[0].Outcome)
	probe <- mdmtest.PushAnswer{}
	assert.Equal(t, push.Delivered, second()[0].Outcome)
	server.Script(nil)
	fail()
	allDelivered(t, c, 2)
}

func TestAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	server, c := fixture(t)
	now := newClock()
	c.Clock = now.now
	for range 10 {
		server.Queue(mdmtest.PushAnswer{Status: 500})
		one(t, c)
	}
	paused(t, server, c)
	now.advance(-24 * time.Hour)
	between(t, paused(t, server, c), time.Second, 75*time.Second)
	now.advance(75 * time.Second)
	allDelivered(t, c, 1)

	server.Queue(mdmtest.RefusePush(403, "BadCertificate"))
	assert.Equal(t, push.BadCertificate, one(t, c).Outcome)
	now.advance(-24 * time.Hour)
	assert.Equal(t, push.BadCertificate, one(t, c).Outcome)
	now.advance(time.Minute)
	allDelivered(t, c, 1)
}

// An answer to a push that was sent before does not end a pause that APNs asked for, but one that we made ourselves.
func TestWhatEndsAPause(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]mdmtest.PushAnswer{
		"asked for": {Status: 503, RetryAfter: time.Minute}, "our own": {Status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, c := fixture(t)
			now := newClock()
			c.Clock = now.now
			allDelivered(t, c, 1)
			entered, release := make(chan struct{}), make(chan struct{})
			server.Script(func(mdmtest.Push) mdmtest.PushAnswer { close(entered); <-release; return mdmtest.PushAnswer{} })
			early := begin(bg, t, c, 1)
			<-entered
			server.Queue(answer, answer, answer, answer, answer, answer, answer, answer, answer, answer)
			for range 10 {
				if r := one(t, c); r.Status != 503 {
					break
				}
			}
			paused(t, server, c)
			close(release)
			assert.Equal(t, push.Delivered, early()[0].Outcome)
			assert.Equal(t, answer.RetryAfter == 0, c.Stats()[0].PausedUntil.IsZero())
		})
	}
}

// One answer does not show that connecting is well again.
func TestAConnectionThatDoesNotLastEndsNoPause(t *testing.T) {
	t.Parallel()
	for answers, most := range map[int]time.Duration{1: 5 * time.Second / 2, 10: 5 * time.Second / 4} {
		server, c := fixture(t)
		now := newClock()
		c.Clock = now.now
		var up atomic.Bool
		c.Proxy = func(*http.Request) (*url.URL, error) {
			if up.Load() {
				return nil, nil
			}
			return nil, errDown
		}
		require.ErrorIs(t, one(t, c).Err, errDown)
		now.advance(paused(t, server, c))
		up.Store(true)
		allDelivered(t, c, answers)
		up.Store(false)
		server.Disconnect()
		eventually(t, func() bool { return c.Stats()[0].Connections == 0 })
		if answers > 1 {
			assert.Zero(t, c.Stats()[0].PausedUntil)
			require.ErrorIs(t, one(t, c).Err, errDown)
		}
		between(t, paused(t, server, c), most*4/5, most)
	}
}
