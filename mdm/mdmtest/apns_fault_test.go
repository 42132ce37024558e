package mdmtest_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

const tooLong = time.Hour // longer than any test takes

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, time.Millisecond)
}

// post pushes with net/http.
func post(ctx context.Context, client *http.Client, server *mdmtest.APNs, token string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL()+"/3/device/"+token, strings.NewReader(`{"mdm":"m"}`))
	if err != nil {
		return 0, err
	}
	req.Header = http.Header{"Apns-Topic": {pushTopic}, "Apns-Push-Type": {"mdm"}, "Apns-Expiration": {"4102444800"}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func TestAPNsRefuse(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Refuse: true})
	refused, taken := r.push("a"), r.push("b")
	r.flush()
	r.until(func() bool { return r.seen.ended[taken] })
	assert.Equal(t, http2.ErrCodeRefusedStream, r.seen.resets[refused])
	assert.Len(t, server.Pushes(), 2)
	totals := server.Totals()
	assert.Equal(t, []int{2, 2, 1}, []int{totals.Taken, totals.Answered, totals.Refused})

	server.Queue(mdmtest.PushAnswer{Refuse: true}, mdmtest.PushAnswer{Refuse: true})
	client := plainClient(t, server, true, cert.TLS)
	status, err := post(t.Context(), client, server, "ab")
	require.NoError(t, err, "net/http tries again what was not looked at")
	assert.Equal(t, 200, status)
	assert.Equal(t, 3, server.Totals().Refused)
	assert.Len(t, server.Pushes(), 3)
}

func TestAPNsReset(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	woken, cancel := server.Subscribe([]byte("a"))
	defer cancel()
	r := proven(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Reset: true})
	reset, answered := r.push("a"), r.push("b")
	r.flush()
	r.until(func() bool { return r.seen.ended[answered] })
	assert.Equal(t, http2.ErrCodeInternal, r.seen.resets[reset])
	assert.Len(t, woken, 1, "it was taken")
	assert.Zero(t, server.Pushes()[1].Status)
	totals := server.Totals()
	assert.Equal(t, []int{3, 3, 2, 1}, []int{totals.Taken, totals.Accepted, totals.Answered, totals.Reset})
}

func TestAPNsLoseAndDrop(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	lost, cancelLost := server.Subscribe([]byte("lost"))
	defer cancelLost()
	dropped, cancelDropped := server.Subscribe([]byte("dropped"))
	defer cancelDropped()
	for _, answer := range []mdmtest.PushAnswer{{Lose: true}, {Drop: true}} {
		r := proven(t, server, cert)
		server.Queue(answer)
		token := "lost"
		if answer.Drop {
			token = "dropped"
		}
		first, second := r.push(token), r.push("not read any more")
		r.flush()
		r.untilEnd()
		assert.NotContains(t, r.seen.status, first)
		assert.NotContains(t, r.seen.status, second)
		assert.Nil(t, r.seen.away)
	}
	assert.Len(t, lost, 1)
	assert.Empty(t, dropped)
	assert.Len(t, server.Pushes(), 4, "both are recorded")
	totals := server.Totals()
	assert.Equal(t, []int{3, 3, 2, 1, 1}, []int{totals.Taken, totals.Accepted, totals.Answered, totals.Lost, totals.Dropped})
	open, total := server.Connections()
	assert.Equal(t, []int{0, 2}, []int{open, total})
}

func TestAPNsDelayLetsOthersGoOn(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Delay: 20 * time.Millisecond}, mdmtest.PushAnswer{Delay: tooLong},
		mdmtest.PushAnswer{Delay: time.Millisecond}, mdmtest.PushAnswer{})
	slow, never, quick, now := r.push("a"), r.push("b"), r.push("c"), r.push("d")
	r.flush()
	r.until(func() bool { return r.seen.ended[slow] && r.seen.ended[quick] && r.seen.ended[now] })
	assert.Len(t, server.Pushes(), 5, "all are taken")
	require.NoError(t, r.framer.WriteRSTStream(never, http2.ErrCodeCancel))
	r.sync()
	assert.NotContains(t, r.seen.status, never)
	totals := server.Totals()
	assert.Equal(t, []int{5, 4, 1}, []int{totals.Taken, totals.Answered, totals.Canceled})
}

func TestAPNsGoAwayAnswersWhatItTookAndNothingElse(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Queue(mdmtest.PushAnswer{Delay: 10 * time.Millisecond}, mdmtest.PushAnswer{GoAway: true, GoAwayReason: "Rebalance"})
	slow, last, beyond := r.push("a"), r.push("b"), r.push("c")
	r.flush()
	r.until(func() bool { return r.seen.away != nil })
	require.NoError(t, r.framer.WritePing(false, [8]byte{}))
	more := r.push("d")
	r.flush()
	r.untilEnd()
	assert.Equal(t, "200", r.seen.status[slow])
	assert.Equal(t, "200", r.seen.status[last])
	assert.NotContains(t, r.seen.status, beyond)
	assert.NotContains(t, r.seen.status, more)
	assert.Equal(t, "Rebalance", r.awayReason())
	assert.Len(t, server.Pushes(), 3)
	assert.Empty(t, server.Violations())
	require.NoError(t, r.conn.Close())
	eventually(t, func() bool { open, _ := server.Connections(); return open == 0 })
}

func TestAPNsGoAwayHasTheLastStream(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	server.Queue(mdmtest.PushAnswer{GoAway: true})
	id := r.push("a")
	r.push("b")
	r.flush()
	var last uint32
	r.until(func() bool {
		if r.seen.away != nil && last == 0 {
			last = r.seen.away.LastStreamID
		}
		return last != 0
	})
	assert.Equal(t, id, last)
	assert.Equal(t, "Shutdown", r.awayReason())
}

// net/http takes another connection after GOAWAY and repeats what was not looked at.
func TestAPNsGoAwayForNetHTTP(t *testing.T) {
	t.Parallel()
	server := mdmtest.APNsConfig{CountRepeats: true, FirstStreams: 1000}.Start()
	t.Cleanup(server.Close)
	cert, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(t, err)
	client := plainClient(t, server, true, cert.TLS)
	var n atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return mdmtest.PushAnswer{GoAway: n.Add(1)%100 == 0} })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 50 {
				status, err := post(t.Context(), client, server, "ab")
				assert.NoError(t, err)
				assert.Equal(t, 200, status)
			}
		})
	}
	wg.Wait()
	totals := server.Totals()
	assert.Equal(t, []int{500, 500, 500, 0}, []int{totals.Taken, totals.Accepted, totals.Answered, totals.Repeated})
	_, total := server.Connections()
	assert.Greater(t, total, 1)
}

func TestAPNsScriptsThatFail(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	for _, fail := range []func(){func() { panic("oh") }, runtime.Goexit} {
		server.Script(func(mdmtest.Push) mdmtest.PushAnswer { fail(); return mdmtest.PushAnswer{} })
		id := r.push("a")
		r.flush()
		r.until(func() bool { return r.seen.resets[id] != 0 })
		assert.Equal(t, http2.ErrCodeInternal, r.seen.resets[id])
	}
	require.Len(t, server.Violations(), 2)
	assert.Contains(t, server.Violations()[0], "oh")
	server.Script(nil)
	server.OnDelivery(func(mdmtest.Push) { panic("hook") })
	id := r.push("a")
	r.flush()
	r.until(func() bool { return r.seen.resets[id] != 0 })
	eventually(t, func() bool { return server.Totals().Reset == 1 })
}

// Many streams that wait in a script do not hold up the connection.
func TestAPNsScriptsMayWait(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	r := proven(t, server, cert)
	release := make(chan struct{})
	var waiting atomic.Int64
	server.Script(func(p mdmtest.Push) mdmtest.PushAnswer {
		if string(p.Token) == "wait" {
			waiting.Add(1)
			<-release
		}
		return mdmtest.PushAnswer{}
	})
	ids := make([]uint32, 300)
	for i := range ids {
		ids[i] = r.push("wait")
	}
	quick := r.push("quick")
	r.flush()
	r.until(func() bool { return r.seen.ended[quick] })
	eventually(t, func() bool { return waiting.Load() == 300 })
	close(release)
	for _, id := range ids {
		r.until(func() bool { return r.seen.ended[id] })
	}
}
