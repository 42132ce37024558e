package mdmtest_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func TestAPNsGoAwayWithACode(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r, idle := proven(t, server, cert), newRaw(t, server, cert)
	server.Queue(mdmtest.PushAnswer{GoAway: true, GoAwayCode: uint32(http2.ErrCodeEnhanceYourCalm)})
	id := r.push("a")
	r.flush()
	r.until(func() bool { return r.seen.away != nil })
	assert.Equal(t, http2.ErrCodeEnhanceYourCalm, r.seen.away.ErrCode)
	assert.Equal(t, id, r.seen.away.LastStreamID)
	assert.Equal(t, "200", r.seen.status[id])

	server.GoAwayAllCode(uint32(http2.ErrCodeInternal), "InternalServerError")
	idle.until(func() bool { return idle.seen.away != nil })
	assert.Equal(t, http2.ErrCodeInternal, idle.seen.away.ErrCode)
	assert.Equal(t, "InternalServerError", idle.awayReason())
	idle.untilEnd()
}

func TestAPNsHangAnswersPingsAndNoPush(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Delay: 10 * time.Millisecond})
	delayed := r.push("delayed")
	r.sync()
	resume := server.Hang()
	time.Sleep(20 * time.Millisecond) // its answer comes before or after, in any case
	waits, gone := r.push("waits"), r.push("gone")
	large := r.head(requestFields("large"))
	require.NoError(t, r.framer.WriteData(large, true, make([]byte, 4097)))
	r.sync() // pings are answered
	for _, id := range []uint32{waits, gone, large} {
		assert.NotContains(t, r.seen.status, id)
	}
	require.NoError(t, r.framer.WriteRSTStream(gone, http2.ErrCodeCancel))
	r.sync()
	assert.Len(t, server.Pushes(), 2, "they are not looked at")
	other := proven(t, server, cert)
	assert.Equal(t, "200", other.seen.status[1], "new connections work")
	resume()
	resume() // a second time does nothing
	r.until(func() bool { return r.seen.ended[delayed] && r.seen.ended[waits] && r.seen.ended[large] })
	assert.Equal(t, "200", r.seen.status[waits])
	assert.Equal(t, "413", r.seen.status[large])
	assert.NotContains(t, r.seen.status, gone)
	now := r.push("now")
	r.flush()
	r.until(func() bool { return r.seen.ended[now] })
	assert.Len(t, server.Pushes(), 5)
	totals := server.Totals()
	assert.Equal(t, []int{5, 5, 1}, []int{totals.Taken, totals.Answered, totals.Malformed})
}

// A script that is done while the connection hangs gives an answer that waits, and is counted if it never comes.
func TestAPNsHangHoldsAnswersBack(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	began, release := make(chan struct{}), make(chan struct{})
	server.Script(func(p mdmtest.Push) mdmtest.PushAnswer {
		began <- struct{}{}
		<-release
		return mdmtest.PushAnswer{}
	})
	first, second := r.push("a"), r.push("b")
	r.flush()
	<-began
	<-began
	resume := server.Hang()
	close(release)
	eventually(t, func() bool { return server.Totals().Taken == 3 })
	r.sync()
	r.sync()
	assert.NotContains(t, r.seen.status, first)
	require.NoError(t, r.framer.WriteRSTStream(second, http2.ErrCodeCancel))
	r.sync()
	resume()
	r.until(func() bool { return r.seen.ended[first] })
	totals := server.Totals()
	assert.Equal(t, []int{3, 2, 1}, []int{totals.Taken, totals.Answered, totals.Canceled})
}

func TestAPNsWithholdsWindows(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	server.WithholdWindows(true)
	r := proven(t, server, cert)
	assert.Empty(t, r.seen.updates)
	padded := r.head(requestFields("a"))
	for left := 65535 - len(`{"mdm":"m"}`); left > 0; left -= min(left, 256) { // the first push had the rest
		require.NoError(t, r.framer.WriteDataPadded(padded, false, nil, make([]byte, min(left, 256)-1)))
	}
	r.sync()
	assert.Empty(t, r.seen.updates, "all is used up")
	server.WithholdWindows(false)
	r.until(func() bool { return r.seen.updates[0] > 0 && r.seen.updates[padded] > 0 })
	assert.Equal(t, uint32(1<<20), r.seen.updates[0])
	require.NoError(t, r.framer.WriteData(padded, true, []byte(`{"mdm":"m"}`)))
	r.flush()
	r.until(func() bool { return r.seen.ended[padded] })
	assert.Equal(t, "200", r.seen.status[padded])
	assert.Empty(t, server.Violations())

	server.WithholdWindows(true)
	more := newRaw(t, server, cert)
	id := more.head(requestFields("a"))
	require.NoError(t, more.framer.WriteData(id, false, []byte(strings.Repeat("x", 4096))))
	require.NoError(t, more.framer.WriteData(id, false, make([]byte, 1)))
	for range 4 {
		require.NoError(t, more.framer.WriteData(id, false, bytes.Repeat([]byte{0}, 16<<10)))
	}
	more.flush()
	more.until(func() bool { return more.seen.away != nil })
	assert.Equal(t, http2.ErrCodeFlowControl, more.seen.away.ErrCode, "the client has sent more than it may")
}
