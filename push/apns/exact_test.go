package apns_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/gomdm/applemdm/push"
)

// ledger is a server whose connections go away again and again, and that keeps account of what it processed.
type ledger struct {
	*rawServer
	mu        sync.Mutex
	processed map[string]int // by path
}

// serve processes pushes up to a stream that it tells when it goes away, and refuses a few of them. It does not look at
// those above.
func (l *ledger) serve(c *rawConn, random *rand.Rand) {
	defer c.conn.Close()
	_ = c.framer.WriteSettings(streams(20))
	var held []rawPush
	var many bool
	var last uint32
	process := func(p rawPush) {
		l.mu.Lock()
		l.processed[p.path]++
		many = len(l.processed) > 4000
		l.mu.Unlock()
		c.answer(p.stream, "200")
	}
	number := 300 + random.IntN(300)
	for n := 0; n < number || many; n++ {
		p, ok := c.tryPush()
		switch {
		case !ok:
			return
		case n == 0: // the others wait for it
			process(p)
		case random.IntN(10) == 0:
			_ = c.framer.WriteRSTStream(p.stream, http2.ErrCodeRefusedStream)
		case !many && random.IntN(3) == 0 && len(held) < 10:
			held = append(held, p)
		default:
			process(p)
		}
		if many { // none is held in the end, when nothing comes any more
			for _, p := range held {
				process(p)
			}
			held = nil
		}
		last = p.stream
	}
	_ = c.framer.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
	if len(held) > 0 {
		held = held[:1+random.IntN(len(held))]
		last = held[len(held)-1].stream
	}
	_ = c.framer.WriteGoAway(last, http2.ErrCodeNo, []byte(`{"reason":"Shutdown"}`))
	for _, p := range held {
		process(p)
	}
	for { // until the client closes
		if _, err := c.framer.ReadFrame(); err != nil {
			return
		}
	}
}

func TestWhatAPNsTookIsNeverRepeated(t *testing.T) {
	t.Parallel()
	l := &ledger{rawServer: startRaw(t), processed: map[string]int{}}
	c := l.client(certificate(t, topic))
	c.Connections, c.Concurrency = 4, 60
	go func() {
		for seed := uint64(1); ; seed++ {
			conn, ok := l.tryAccept()
			if !ok {
				return
			}
			go l.serve(conn, rand.New(rand.NewPCG(seed, 0)))
		}
	}()
	results, err := c.Push(bg, targets(5000))
	require.NoError(t, err)
	delivered := 0
	for _, r := range results {
		switch r.Outcome {
		case push.Delivered:
			delivered++
		case push.Retry:
			require.Error(t, r.Err)
		default:
			require.Fail(t, "odd", "%+v", r)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for path, times := range l.processed {
		require.Equal(t, 1, times, path)
	}
	assert.Len(t, l.processed, delivered, "what was processed is known to be delivered")
	assert.Greater(t, delivered, 4500)
}

// tryAccept is accept for other goroutines than the test's.
func (s *rawServer) tryAccept() (*rawConn, bool) {
	conn, err := s.listener.Accept()
	if err != nil {
		return nil, false
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return s.newConn(conn)
}
