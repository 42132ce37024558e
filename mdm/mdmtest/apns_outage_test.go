package mdmtest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func TestAPNsLatency(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Latency(tooLong)
	late := r.push("late")
	r.sync()
	assert.NotContains(t, r.seen.status, late)
	assert.Len(t, server.Pushes(), 2, "it is taken already")
	server.Latency(time.Millisecond)
	ids := make([]uint32, 500)
	for i := range ids {
		ids[i] = r.push("a")
	}
	r.flush()
	for _, id := range ids {
		r.until(func() bool { return r.seen.ended[id] })
	}
	server.Latency(0)
	now := r.push("now")
	r.flush()
	r.until(func() bool { return r.seen.ended[now] })
	assert.NotContains(t, r.seen.status, late)
}

func TestAPNsGoAwayAll(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	idle := newRaw(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Stall: true})
	stalled := r.push("a")
	r.sync()
	server.GoAwayAll("IdleTimeout")
	idle.untilEnd()
	assert.Equal(t, "IdleTimeout", idle.awayReason())
	r.until(func() bool { return r.seen.away != nil })
	assert.Equal(t, "IdleTimeout", r.awayReason())
	require.NoError(t, r.framer.WriteRSTStream(stalled, http2.ErrCodeCancel))
	r.flush()
	r.untilEnd()
	assert.Equal(t, 1, server.Totals().Canceled)
	fresh := proven(t, server, cert)
	assert.Nil(t, fresh.seen.away)
}

func TestAPNsStreamLimits(t *testing.T) {
	t.Parallel()
	server := mdmtest.APNsConfig{MaxStreams: 3}.Start()
	t.Cleanup(server.Close)
	cert, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(t, err)
	r := newRaw(t, server, cert)
	assert.Equal(t, []uint32{1}, r.seen.limits)
	server.Queue(mdmtest.RefusePush(403, "BadCertificate"), mdmtest.PushAnswer{Stall: true})
	r.push("a")
	r.sync()
	assert.Equal(t, []uint32{1}, r.seen.limits, "a refusal of the certificate raises nothing")
	r.push("b")
	r.sync()
	assert.Equal(t, []uint32{1, 3}, r.seen.limits)

	server.Queue(mdmtest.PushAnswer{Stall: true}, mdmtest.PushAnswer{Stall: true})
	r.push("c")
	r.push("d")
	over := r.push("e")
	r.sync()
	assert.Equal(t, http2.ErrCodeRefusedStream, r.seen.resets[over])
	assert.Equal(t, []string{"HTTP/2: more than the 3 streams that were announced"}, server.Violations())
	assert.Equal(t, 1, server.Totals().Refused)

	server.SetStreams(5)
	r.until(func() bool { return len(r.seen.limits) == 3 })
	r.sync()
	more := r.push("f")
	r.flush()
	r.until(func() bool { return r.seen.ended[more] })
	server.SetStreams(0)
	r.until(func() bool { return len(r.seen.limits) == 4 })
	// It may have been on its way when the limit was lowered: no violation.
	over = r.next
	r.next += 2
	acks := bytes.Clone(r.out.Bytes())
	r.out.Reset()
	require.NoError(t, r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: over, EndHeaders: true, EndStream: true,
		BlockFragment: r.encode(requestFields("g")...)}))
	r.out.Write(acks)
	r.sync()
	assert.Equal(t, http2.ErrCodeRefusedStream, r.seen.resets[over])
	assert.Equal(t, []uint32{1, 3, 5, 0}, r.seen.limits)
	assert.Len(t, server.Violations(), 1)
}

func TestAPNsOutage(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Unavailable(true)
	r.untilEnd()
	config := &tls.Config{RootCAs: server.RootCAs(), Certificates: []tls.Certificate{cert.TLS}, NextProtos: []string{"h2"}}
	_, err := tls.Dial("tcp", strings.TrimPrefix(server.URL(), "https://"), config)
	require.Error(t, err)
	open, total := server.Connections()
	assert.Equal(t, []int{0, 1}, []int{open, total})
	server.Unavailable(false)
	proven(t, server, cert)
}

func TestAPNsSilence(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	server.Silent(true)
	ctx, cancel := context.WithCancel(t.Context())
	dialed := make(chan error, 1)
	go func() {
		config := &tls.Config{RootCAs: server.RootCAs(), Certificates: []tls.Certificate{cert.TLS}}
		_, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", strings.TrimPrefix(server.URL(), "https://"))
		dialed <- err
	}()
	eventually(t, func() bool { open, _ := server.Connections(); return open == 1 })
	assert.Empty(t, dialed)
	server.Silent(false)
	proven(t, server, cert)
	assert.Empty(t, dialed, "who was met with silence gets no more")
	cancel()
	require.ErrorIs(t, <-dialed, context.Canceled)
}

func TestAPNsFreezeHoldsEverythingBack(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	thaw := server.Freeze()
	r.push("a")
	r.flush()
	require.NoError(t, r.conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := r.framer.ReadFrame()
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "%v", err)
	assert.Len(t, server.Pushes(), 1)
	thaw()
	thaw() // a second time does nothing
	eventually(t, func() bool { return server.Totals().Answered == 2 })
}

func TestAPNsTokenInterval(t *testing.T) {
	t.Parallel()
	var minutes atomic.Int64
	start := time.Now()
	clock := func() time.Time { return start.Add(time.Duration(minutes.Load()) * time.Minute) }
	server := mdmtest.APNsConfig{TokenInterval: time.Minute, Clock: clock}.Start()
	t.Cleanup(server.Close)
	cert, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(t, err)
	client := plainClient(t, server, true, cert.TLS)
	push := func(token string) int {
		status, err := post(t.Context(), client, server, token)
		require.NoError(t, err)
		return status
	}
	assert.Equal(t, 200, push("aa"))
	assert.Equal(t, 429, push("aa"))
	assert.Equal(t, 200, push("bb"))
	minutes.Add(1)
	assert.Equal(t, 200, push("aa"))
	assert.Equal(t, map[int]int{200: 3, 429: 1}, server.Totals().ByStatus)
}

func TestAPNsCountsRepeats(t *testing.T) {
	t.Parallel()
	server := mdmtest.APNsConfig{CountRepeats: true, Lean: true}.Start()
	t.Cleanup(server.Close)
	cert, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(t, err)
	var taken, delivered atomic.Int64
	r := proven(t, server, cert)
	server.OnTaken(func(mdmtest.Push) { taken.Add(1) })
	server.OnDelivery(func(mdmtest.Push) { delivered.Add(1) })
	server.Queue(mdmtest.PushAnswer{Refuse: true}, mdmtest.RefusePush(500, "InternalServerError"))
	for _, id := range []string{rawID, rawID, rawID, strings.Replace(rawID, "e", "f", 1)} {
		stream := r.pushID("a", id)
		r.flush()
		r.until(func() bool { return r.seen.ended[stream] || r.seen.resets[stream] != 0 })
	}
	totals := server.Totals()
	assert.Equal(t, mdmtest.APNsTotals{Taken: 4, Accepted: 3, Repeated: 1, Answered: 4, Refused: 1,
		ByStatus: map[int]int{200: 3, 500: 1}}, totals)
	assert.Equal(t, int64(3), taken.Load())
	assert.Equal(t, int64(2), delivered.Load())
	assert.Empty(t, server.Pushes(), "it is lean")
}
