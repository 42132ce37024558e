package apns_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

func ids(all []rawPush) map[string]bool {
	m := map[string]bool{}
	for _, p := range all {
		m[p.id] = true
	}
	return m
}

func outcomes(results []push.Result) map[push.Outcome]int {
	m := map[push.Outcome]int{}
	for _, r := range results {
		m[r.Outcome]++
	}
	return m
}

// Those above the last stream are repeated, once; those below never, though their answers come late.
func TestGoAwayIsExact(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	conn := s.proved(c, streams(100))
	results := begin(bg, t, c, 50)
	got := conn.pushes(50)
	require.NoError(t, conn.framer.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil))
	require.NoError(t, conn.framer.WriteGoAway(got[19].stream, http2.ErrCodeNo, []byte(`{"reason":"Shutdown"}`)))

	next := s.accept(streams(100))
	first := next.push()
	next.answer(first.stream, "200")
	again := append(next.pushes(29), first)
	assert.Equal(t, ids(got[20:]), ids(again), "the same pushes with the same IDs")
	for _, p := range again[:29] {
		next.answer(p.stream, "200")
	}
	for _, p := range got[:20] {
		conn.answer(p.stream, "410")
	}
	conn.gone()
	assert.Equal(t, map[push.Outcome]int{push.Delivered: 30, push.Invalid: 20}, outcomes(results()))
}

// Those that APNs may have taken are repeated once, the others more often.
func TestHowOftenAPushIsRepeated(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	conn := s.proved(c, streams(100))
	results := begin(bg, t, c, 2)
	got := conn.pushes(2)
	require.NoError(t, conn.framer.WriteRSTStream(got[0].stream, http2.ErrCodeInternal))
	require.NoError(t, conn.framer.WriteRSTStream(got[1].stream, http2.ErrCodeRefusedStream))
	again := conn.pushes(2)
	assert.Equal(t, ids(got), ids(again))
	for _, p := range again {
		if p.id == got[0].id {
			require.NoError(t, conn.framer.WriteRSTStream(p.stream, http2.ErrCodeInternal))
		} else {
			require.NoError(t, conn.framer.WriteRSTStream(p.stream, http2.ErrCodeRefusedStream))
		}
	}
	for range 3 {
		p := conn.push()
		assert.Equal(t, got[1].id, p.id)
		require.NoError(t, conn.framer.WriteRSTStream(p.stream, http2.ErrCodeRefusedStream))
	}
	rs := results()
	assert.Equal(t, map[push.Outcome]int{push.Retry: 2}, outcomes(rs))
	require.ErrorContains(t, rs[0].Err, "INTERNAL_ERROR")
	require.ErrorContains(t, rs[1].Err, "REFUSED_STREAM")
}

func TestARepeatedPushTakesAnotherConnection(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	first := s.proved(c, streams(1))
	one := begin(bg, t, c, 1)
	p := first.push()
	two := begin(bg, t, c, 1) // makes another connection
	second := s.accept(streams(5))
	second.answer(second.push().stream, "200")
	two()
	require.NoError(t, first.framer.WriteRSTStream(p.stream, http2.ErrCodeRefusedStream))
	again := second.push()
	assert.Equal(t, p.id, again.id)
	second.answer(again.stream, "200")
	assert.Equal(t, push.Delivered, one()[0].Outcome)
}

func TestASilentServer(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	c.PingInterval = 100 * time.Millisecond
	results := begin(bg, t, c, 1)
	s.acceptSilently() // no settings, and no answer to pings
	rs := results()
	assert.Equal(t, push.Retry, rs[0].Outcome)
	require.ErrorIs(t, rs[0].Err, apns.ErrPaused, "the connection broke before an answer: there is none for a while")
	require.ErrorContains(t, rs[0].Err, "silent")
}

func TestAReasonOfGoAway(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	conn := s.proved(c, streams(10))
	results := begin(bg, t, c, 1)
	conn.push()
	require.NoError(t, conn.framer.WriteGoAway(0, http2.ErrCodeNo, []byte(`{"reason":"BadCertificate"}`)))
	rs := results()
	assert.Equal(t, push.BadCertificate, rs[0].Outcome)
	require.ErrorContains(t, rs[0].Err, "BadCertificate")
	assert.Equal(t, push.BadCertificate, one(t, c).Outcome, "for a while")
}

func TestACanceledPushIsReset(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	conn := s.proved(c, streams(10))
	ctx, cancel := context.WithCancel(bg)
	results := begin(ctx, t, c, 1)
	p := conn.push()
	cancel()
	require.ErrorIs(t, results()[0].Err, context.Canceled)
	f, err := conn.framer.ReadFrame()
	require.NoError(t, err)
	reset, ok := f.(*http2.RSTStreamFrame)
	require.True(t, ok, "%v", f)
	assert.Equal(t, p.stream, reset.StreamID)
	assert.Equal(t, http2.ErrCodeCancel, reset.ErrCode)
}

func TestAServerThatTakesShortHeadersOnly(t *testing.T) {
	t.Parallel()
	s := startRaw(t)
	c := s.client(certificate(t, topic))
	conn := s.proved(c, streams(10), http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
	long := append(targets(2), targets(1)...)
	long[1].Token = make([]byte, 1000)
	done := make(chan []push.Result, 1)
	go func() {
		results, err := c.Push(bg, long)
		assert.NoError(t, err)
		done <- results
	}()
	for _, p := range conn.pushes(2) {
		conn.answer(p.stream, "200")
	}
	rs := <-done
	assert.Equal(t, map[push.Outcome]int{push.Delivered: 2, push.Rejected: 1}, outcomes(rs))
	require.ErrorContains(t, rs[1].Err, "too large")
}

// A handler of a client's clock that fails concerns one push, wherever it is called.
func TestAClockThatPanics(t *testing.T) {
	t.Parallel()
	_, c := fixture(t)
	var calls atomic.Int64
	c.Clock = func() time.Time {
		if n := calls.Add(1); n > 1 && n%3 == 0 {
			panic("clock")
		}
		return time.Now()
	}
	results, err := c.Push(bg, targets(200))
	require.NoError(t, err)
	for _, r := range results {
		require.Contains(t, []push.Outcome{push.Delivered, push.Retry, push.Unsent}, r.Outcome)
	}
}
