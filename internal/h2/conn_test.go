package h2

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func TestARequestAndItsAnswer(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	id, r := begin(t, c, "hello")
	head, body := s.request()
	assert.Equal(t, id, head.stream)
	assert.Equal(t, "hello", string(body))
	assert.Equal(t, fields("/a"), head.fields, "what is sensitive is marked so")

	s.headers(id, false, ":status", "103", "link", "x")
	s.headers(id, false, ":status", "100")
	s.headers(id, false, ":status", "410", "apns-id", "5", "retry-after", "7")
	s.check(s.framer.WriteDataPadded(id, false, []byte("good"), make([]byte, 200)))
	s.check(s.framer.WriteData(id, false, nil))
	s.check(s.framer.WriteData(id, false, []byte("bye")))
	s.headers(id, true, "trailer", "1")
	a, err := r.wait(t)
	require.NoError(t, err)
	assert.Equal(t, 410, a.Status)
	assert.Equal(t, "goodbye", string(a.Body))
	assert.Equal(t, "5", a.Get("apns-id"))
	assert.Empty(t, a.Get("trailer"))
}

func TestWhatRequestsHaveInCommonIsSentOnce(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	begin(t, c, "x")
	first, _ := s.request()
	begin(t, c, "x")
	second, _ := s.request()
	assert.Less(t, len(second.data), 15)
	assert.Equal(t, first.fields[4], second.fields[4], "sent as an index")

	s.check(s.framer.WriteSettings(streams(10), http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}))
	s.sync()
	for range 2 {
		begin(t, c, "x")
		f := s.next()
		assert.Greater(t, len(f.data), 30, "there is no table any more")
		assert.Equal(t, first.fields, f.fields)
		s.next()
	}
}

func TestOneRequestUntilThePeerTellsItsLimit(t *testing.T) {
	t.Parallel()
	changed := make(chan struct{}, 100)
	c, s := silent(t, Config{Changed: func() { changed <- struct{}{} }})
	_, first := begin(t, c, "x")
	full(t, c)
	assert.Equal(t, Load{InFlight: 1, Limit: 1, Open: true}, c.Load())
	s.check(s.framer.WriteSettings())
	<-changed
	assert.Equal(t, Load{InFlight: 1, Limit: 1000, Open: true, Room: true, Settled: true}, c.Load(), "our own limit")
	begin(t, c, "x")
	s.answer(1)
	_, err := first.wait(t)
	require.NoError(t, err)
}

func TestTheLimitShrinksAndGrows(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(3))
	for range 3 {
		begin(t, c, "x")
	}
	full(t, c)
	s.check(s.framer.WriteSettings(streams(1)))
	s.answer(1)
	s.answer(3)
	s.sync()
	full(t, c)
	s.answer(5)
	s.sync()
	begin(t, c, "x")
	full(t, c)
	s.check(s.framer.WriteSettings(streams(2)))
	s.sync()
	begin(t, c, "x")
	full(t, c)
	s.check(s.framer.WriteSettings(streams(0)))
	s.answer(7)
	s.answer(9)
	s.sync()
	full(t, c)
	assert.True(t, c.Load().Open)
}

func TestGoAwayTellsWhatWasNotProcessed(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	var all []*receiver
	for range 5 {
		_, r := begin(t, c, "x")
		all = append(all, r)
		s.request()
	}
	s.check(s.framer.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)) // a graceful peer begins with it
	s.sync()
	assert.False(t, c.Load().Open)
	_, err := c.Start(fields("/a"), nil, &receiver{})
	require.ErrorIs(t, err, ErrClosed)
	for _, r := range all {
		require.False(t, r.ended())
	}
	s.check(s.framer.WriteGoAway(5, http2.ErrCodeNo, []byte(`{"reason":"Shutdown"}`)))
	for _, r := range all[3:] {
		_, err := r.wait(t)
		require.ErrorIs(t, err, ErrUntouched)
		require.ErrorContains(t, err, "Shutdown")
		away, ok := errors.AsType[*GoAwayError](err)
		require.True(t, ok)
		assert.Equal(t, &GoAwayError{LastStream: 5, Debug: []byte(`{"reason":"Shutdown"}`)}, away)
	}
	s.check(s.framer.WriteGoAway(100, http2.ErrCodeNo, nil)) // it may not grow, and does not
	for i, r := range all[:3] {
		require.False(t, r.ended())
		s.answer(uint32(2*i + 1))
		_, err := r.wait(t)
		require.NoError(t, err)
	}
	<-s.closed // used up
}

func TestGoAwayAndGone(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	_, r := begin(t, c, "x")
	s.request()
	s.check(s.framer.WriteGoAway(1, http2.ErrCodeInternal, []byte("oops\n")))
	s.check(s.conn.Close())
	_, err := r.wait(t)
	require.ErrorIs(t, err, ErrLost)
	require.ErrorContains(t, err, `INTERNAL_ERROR, "oops\n"`)
	require.ErrorContains(t, c.Err(), "INTERNAL_ERROR")
}

func TestResets(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	for code, want := range map[http2.ErrCode]error{
		http2.ErrCodeRefusedStream: ErrUntouched, http2.ErrCodeInternal: ErrLost, http2.ErrCodeNo: ErrLost,
	} {
		id, r := begin(t, c, "x")
		s.check(s.framer.WriteRSTStream(id, code))
		_, err := r.wait(t)
		require.ErrorIs(t, err, want)
	}
	id, r := begin(t, c, "x")
	s.headers(id, false, ":status", "200")
	s.check(s.framer.WriteRSTStream(id, http2.ErrCodeInternal))
	a, err := r.wait(t)
	require.NoError(t, err, "the status is known")
	assert.Equal(t, 200, a.Status)
	assert.True(t, c.Load().Room)
}

func TestALostConnection(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	_, sent := begin(t, c, "x")
	s.request()
	unsent := &receiver{done: make(chan struct{})}
	_, err := c.Start(fields("/b"), []byte("x"), unsent) // and no Flush
	require.NoError(t, err)
	s.check(s.conn.Close())
	_, err = sent.wait(t)
	require.ErrorIs(t, err, ErrLost)
	require.ErrorIs(t, err, io.EOF)
	_, err = unsent.wait(t)
	require.ErrorIs(t, err, ErrUntouched, "it was never sent")
	require.ErrorIs(t, c.Err(), io.EOF)
	c.Cancel(1)
	c.Close()
}

func TestCancel(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(1))
	id, r := begin(t, c, "x")
	s.request()
	c.Cancel(id)
	c.Cancel(id)
	_, err := r.wait(t)
	require.ErrorIs(t, err, ErrCanceled)
	f := s.next()
	assert.Equal(t, frame{kind: http2.FrameRSTStream, stream: id, code: http2.ErrCodeCancel, length: 4}, f)
	_, other := begin(t, c, "x")
	s.headers(id, false, ":status", "200", "a-field", "for the table") // too late
	s.check(s.framer.WriteData(id, true, []byte("x")))
	s.check(s.framer.WriteRSTStream(id, http2.ErrCodeNo))
	s.headers(id+2, true, ":status", "200", "a-field", "for the table")
	a, err := other.wait(t)
	require.NoError(t, err)
	assert.Equal(t, "for the table", a.Get("a-field"))
}

func TestCloseWaitsForAnswers(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	id, r := begin(t, c, "x")
	s.request()
	c.Close()
	_, err := c.Start(fields("/a"), nil, &receiver{})
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, c.Err())
	s.answer(id)
	_, err = r.wait(t)
	require.NoError(t, err)
	f := s.next()
	assert.Equal(t, http2.FrameGoAway, f.kind)
	<-s.closed
	require.NoError(t, c.Err())
}

func TestStreamsRunOut(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	c.mu.Lock()
	c.next = maxStream - 2
	c.mu.Unlock()
	_, first := begin(t, c, "x")
	id, last := begin(t, c, "x")
	assert.Equal(t, uint32(maxStream), id)
	_, err := c.Start(fields("/a"), nil, &receiver{})
	require.ErrorIs(t, err, ErrClosed)
	s.answer(id - 2)
	s.answer(id)
	for _, r := range []*receiver{first, last} {
		_, err := r.wait(t)
		require.NoError(t, err)
	}
	<-s.closed
}

func TestASilentPeerIsGivenUp(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{PingInterval: time.Second, PingTimeout: time.Second}, streams(10))
	_, r := begin(t, c, "x")
	_, err := r.wait(t) // the pings are read, and not answered
	require.ErrorIs(t, err, ErrLost)
	require.ErrorIs(t, err, ErrSilent)
	<-s.closed
}

func TestAPeerThatAnswersPingsIsKept(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{PingInterval: time.Millisecond, PingTimeout: time.Second}, streams(10))
	id, r := begin(t, c, "x")
	for pings := 0; pings < 3; {
		if f := s.next(); f.kind == http2.FramePing {
			pings++
			s.check(s.framer.WritePing(true, [8]byte(f.data)))
		}
	}
	s.answer(id)
	_, err := r.wait(t)
	require.NoError(t, err)
}

// A peer that takes nothing: what was begun to be written may have arrived, what waits behind it has not.
func TestAPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := New(ours, Config{PingInterval: time.Second, PingTimeout: time.Second})
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.out.handed > 0 }, 20*time.Second, time.Millisecond)
	_, r := begin(t, c, "x")
	_, err := r.wait(t)
	require.ErrorIs(t, err, ErrUntouched)
}

func TestRequestsWaitForAPeerThatReadsSlowly(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	changed := make(chan struct{}, 10_000)
	c := New(ours, Config{Changed: func() { changed <- struct{}{} }})
	c.mu.Lock()
	c.peer.settled, c.peer.streams, c.peer.window = true, 1000, 1<<30
	c.mu.Unlock()
	var err error
	for range 100 {
		if _, err = c.Start(fields("/"+strings.Repeat("x", 10_000)), nil, &receiver{done: make(chan struct{})}); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, ErrFull)
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	<-changed
	require.Eventually(t, func() bool { return c.Load().Room }, 20*time.Second, time.Millisecond)
	_ = theirs.Close()
	<-c.dead
}

func TestNoGoroutineIsLeft(t *testing.T) {
	for range 10 {
		c, s := dial(t, Config{}, streams(10))
		begin(t, c, "x")
		_ = s.conn.Close()
		c, s = dial(t, Config{}, streams(10))
		c.Close()
		<-s.closed
	}
	noLeak(t)
}

// What is reported untouched when the connection ends is not written any more.
func TestWhatIsUntouchedIsNeverWritten(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := New(ours, Config{})
	read := http2.NewFramer(theirs, theirs)
	_, err := io.ReadFull(theirs, make([]byte, len(http2.ClientPreface)))
	require.NoError(t, err)
	go func() { _ = http2.NewFramer(theirs, nil).WriteSettings(streams(100)) }()
	for range 3 { // settings, a window and an acknowledgment; then the peer reads no more
		_, err = read.ReadFrame()
		require.NoError(t, err)
	}
	var all []*receiver
	for range 20 {
		_, r := begin(t, c, "x")
		all = append(all, r)
		if len(all) == 1 { // the writer is stuck with the first
			require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.out.handed == c.out.total }, 20*time.Second, time.Millisecond)
		}
	}
	require.NoError(t, read.WriteRawFrame(http2.FrameData, 0, 0, []byte("of no stream")))
	untouched := map[uint32]bool{}
	for i, r := range all {
		_, err := r.wait(t)
		if errors.Is(err, ErrUntouched) {
			untouched[uint32(2*i+1)] = true
		}
	}
	assert.NotEmpty(t, untouched)
	away := false
	for {
		f, err := read.ReadFrame()
		if err != nil {
			break
		}
		away = away || f.Header().Type == http2.FrameGoAway
		assert.False(t, untouched[f.Header().StreamID], "%v was written", f)
	}
	assert.True(t, away, "the peer is told")
}
