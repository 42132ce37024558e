package h2

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestManyCanceledRequestsAreNotAllReset(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(300))
	var all []*receiver
	for range 300 {
		_, r := begin(t, c, "x")
		all = append(all, r)
	}
	for i, r := range all {
		c.Cancel(uint32(2*i + 1))
		c.Cancel(uint32(2*i + 1))
		_, err := r.wait(t)
		require.ErrorIs(t, err, ErrCanceled)
	}
	resets := map[uint32]bool{}
	count := func() (n int) {
		for _, f := range s.sync() {
			if f.kind == http2.FrameRSTStream {
				resets[f.stream] = true
				n++
			}
		}
		return n
	}
	assert.Equal(t, maxResets, count())
	assert.Equal(t, 300-maxResets, c.Load().InFlight, "the peer counts them")
	for id := uint32(599); id > 599-2*50; id -= 2 {
		s.answer(id) // late
	}
	s.sync()
	assert.Equal(t, 250-maxResets, c.Load().InFlight)
	c.tick()
	assert.Equal(t, maxResets, count())
	c.tick()
	assert.Equal(t, 50, count())
	assert.Len(t, resets, 250)
	assert.Equal(t, 0, c.Load().InFlight)
	_, r := begin(t, c, "x")
	s.answer(601)
	_, err := r.wait(t)
	require.NoError(t, err)
}

func TestWhatNobodyWaitsForDoesNotKeepAConnection(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(300))
	for range 200 {
		begin(t, c, "x")
	}
	for id := uint32(1); id < 400; id += 2 {
		c.Cancel(id)
	}
	c.Close()
	<-s.closed
}

// A usual request is not to blame if the peer takes none.
func TestAPeerThatTakesShortHeadersOnly(t *testing.T) {
	t.Parallel()
	c, _ := dial(t, Config{}, streams(10), http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 100})
	_, err := c.Start(fields("/a"), nil, nil)
	require.ErrorIs(t, err, ErrNarrow)
	_, err = c.Start(fields("/"+string(make([]byte, usualList))), nil, nil)
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestAnIdlePeerIsAskedWhenARequestComes(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{PingInterval: time.Second}, streams(10))
	s.sync()
	c.heard.Store(-int64(time.Minute)) // nothing was heard since then
	c.tick()
	for _, f := range s.sync() {
		assert.NotEqual(t, http2.FramePing, f.kind, "nothing waits")
	}
	c.heard.Store(-int64(time.Minute))
	begin(t, c, "x")
	assert.Equal(t, http2.FramePing, s.next().kind)
	assert.Equal(t, http2.FrameHeaders, s.next().kind)
}

func TestLostRequestsAreCounted(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	begin(t, c, "x")
	begin(t, c, "x")
	_, r := begin(t, c, "x")
	s.sync()
	s.answer(1)
	s.sync()
	s.check(s.conn.Close())
	_, err := r.wait(t)
	require.ErrorIs(t, err, ErrLost)
	assert.Equal(t, Load{Limit: 10, Settled: true, Lost: 2}, c.Load())
}

// broken is a connection that takes nothing more, and tells later why.
type broken struct {
	net.Conn
	why chan error
}

func (b broken) Read([]byte) (int, error)         { return 0, <-b.why }
func (b broken) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (b broken) Close() error                     { return nil }
func (b broken) SetReadDeadline(time.Time) error  { return nil }
func (b broken) SetWriteDeadline(time.Time) error { return nil }

func TestWhyAConnectionBrokeIsWaitedFor(t *testing.T) {
	t.Parallel()
	why := make(chan error)
	c := New(broken{why: why}, Config{})
	require.Eventually(t, func() bool { return c.Load().Breaking }, 20*time.Second, time.Millisecond)
	assert.False(t, c.Load().Open)
	alert := errors.New("an alert")
	why <- alert
	<-c.dead
	assert.False(t, c.Load().Breaking)
	require.ErrorIs(t, c.Err(), alert)
}

func TestAWriteThatTakesTooLong(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := New(ours, Config{WriteTimeout: 10 * time.Millisecond}) // nobody reads
	<-c.dead
	require.ErrorIs(t, c.Err(), os.ErrDeadlineExceeded)
}
