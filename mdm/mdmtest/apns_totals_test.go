package mdmtest_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
)

// Whatever happens to pushes, each is counted once.
func TestAPNsTotalsAddUp(t *testing.T) {
	t.Parallel()
	server, cert := startAPNs(t)
	faults := []mdmtest.PushAnswer{
		{}, mdmtest.RefusePush(500, "InternalServerError"), {Reset: true}, {Delay: time.Millisecond}, {GoAway: true}, {},
		mdmtest.Unregistered(time.Now()), {Delay: 2 * time.Millisecond, GoAway: true}, {Lose: true}, {Stall: true}, {Drop: true},
		{Reset: true, Status: 503},
	}
	var scripted, taken, delivered atomic.Int64
	server.Script(func(mdmtest.Push) mdmtest.PushAnswer { return faults[scripted.Add(1)%int64(len(faults))] })
	server.OnTaken(func(mdmtest.Push) { taken.Add(1) })
	server.OnDelivery(func(mdmtest.Push) { delivered.Add(1) })
	server.Latency(time.Millisecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				pushTen(t, server, cert)
			}
		})
	}
	wg.Wait()
	server.Close()
	eventually(t, func() bool {
		n := server.Totals()
		return n.Taken == n.Answered+n.Reset+n.Lost+n.Canceled && n.Taken+n.Dropped == int(scripted.Load())
	})
	n := server.Totals()
	assert.Equal(t, n.Taken, int(taken.Load()))
	assert.Equal(t, n.Accepted, int(delivered.Load()))
	assert.Len(t, server.Pushes(), n.Taken+n.Dropped)
	var answered int
	for _, count := range n.ByStatus {
		answered += count
	}
	assert.Equal(t, n.Answered, answered)
	for what, count := range map[string]int{"reset": n.Reset, "lost": n.Lost, "canceled": n.Canceled, "dropped": n.Dropped,
		"200": n.ByStatus[200], "410": n.ByStatus[410], "500": n.ByStatus[500]} {
		assert.Positive(t, count, what)
	}
	assert.Empty(t, server.Violations())
}

// pushTen pushes on a connection, one push and then nine together, until all have ended, the connection is lost, or
// nothing comes any more because some are stalled.
func pushTen(t *testing.T, server *mdmtest.APNs, cert push.Certificate) {
	r := dialRaw(t, server, cert)
	defer r.conn.Close()
	r.out.WriteString(http2.ClientPreface)
	assert.NoError(t, r.framer.WriteSettings())
	ids := []uint32{r.push("first")}
	send := func() {
		_, _ = r.conn.Write(r.out.Bytes()) // it may be lost
		r.out.Reset()
	}
	send()
	pending := func() bool {
		return slices.ContainsFunc(ids, func(id uint32) bool {
			_, reset := r.seen.resets[id]
			return !reset && !r.seen.ended[id]
		})
	}
	assert.NoError(t, r.conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	for pending() && r.read() {
		if len(r.seen.limits) > 1 && len(ids) == 1 {
			for range 9 {
				ids = append(ids, r.push("more"))
			}
			send()
		}
	}
}
