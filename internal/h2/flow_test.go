package h2

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

func window(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}
}

func TestABodyWaitsForTheWindowOfItsStream(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10), window(3))
	id, r := begin(t, c, "abcdefgh")
	other, r2 := begin(t, c, "12345678")
	want := func(stream uint32, data string) {
		t.Helper()
		f := s.next()
		assert.Equal(t, http2.FrameData, f.kind)
		assert.Equal(t, stream, f.stream)
		assert.Equal(t, data, string(f.data))
	}
	s.next()
	want(id, "abc")
	s.next()
	want(other, "123")
	s.check(s.framer.WriteWindowUpdate(id, 2))
	want(id, "de")
	s.check(s.framer.WriteSettings(window(1))) // one less than nothing
	assert.Equal(t, http2.FrameSettings, s.next().kind)
	s.check(s.framer.WriteWindowUpdate(id, 2))
	s.sync()
	s.check(s.framer.WriteWindowUpdate(id, 1))
	want(id, "f")
	s.check(s.framer.WriteSettings(window(100)))
	rest := map[uint32]string{}
	for range 3 {
		f := s.next()
		rest[f.stream] += string(f.data)
	}
	assert.Equal(t, map[uint32]string{0: "", id: "gh", other: "45678"}, rest)
	s.answer(id)
	s.answer(other)
	for _, r := range []*receiver{r, r2} {
		_, err := r.wait(t)
		require.NoError(t, err)
	}
}

func TestRequestsWaitForTheWindowOfTheConnection(t *testing.T) {
	t.Parallel()
	changed := make(chan struct{}, 100)
	c, s := dial(t, Config{Changed: func() { changed <- struct{}{} }}, streams(100))
	body := strings.Repeat("x", 16_000)
	for range 4 { // of 65,535 bytes
		begin(t, c, body)
	}
	assert.True(t, c.Load().Room)
	_, err := c.Start(fields("/a"), []byte(body), &receiver{})
	require.ErrorIs(t, err, ErrFull)
	begin(t, c, strings.Repeat("x", 1535))
	assert.False(t, c.Load().Room, "nothing is left")
	assert.True(t, c.Load().Open)
	for len(changed) > 0 {
		<-changed
	}
	s.check(s.framer.WriteWindowUpdate(0, 16_000))
	<-changed
	begin(t, c, body)
}

func TestAnAnswerBeforeTheBodyIsSent(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10), window(0))
	id, r := begin(t, c, "abc")
	assert.Equal(t, id, s.next().stream)
	s.headers(id, true, ":status", "413")
	a, err := r.wait(t)
	require.NoError(t, err)
	assert.Equal(t, 413, a.Status)
	f := s.next()
	assert.Equal(t, http2.FrameRSTStream, f.kind)
	assert.Equal(t, http2.ErrCodeCancel, f.code)
	s.check(s.framer.WriteWindowUpdate(id, 100))
	s.sync() // nothing is sent on it
}

// A peer with no windows that answers early, or never: what has ended is not kept.
func TestRequestsThatEndedAreNotKept(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10), window(0))
	waiting, _ := begin(t, c, "abc")
	for n := range 300 {
		id, r := begin(t, c, "abc")
		if n%2 == 0 {
			c.Cancel(id)
		} else {
			s.headers(id, true, ":status", "413")
		}
		_, _ = r.wait(t)
	}
	s.sync()
	c.mu.Lock()
	kept := len(c.blocked)
	require.Contains(t, c.blocked, c.streams[waiting])
	for _, s := range c.blocked {
		assert.True(t, !s.ended || s.to == nil)
	}
	c.mu.Unlock()
	assert.LessOrEqual(t, kept, 2)
}

func TestOfAnEndlessBodyTheBeginningIsKept(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	id, r := begin(t, c, "abc")
	s.request()
	s.headers(id, false, ":status", "500")
	part := []byte(strings.Repeat("x", 10_000))
	s.check(s.framer.WriteData(id, false, part))
	a, err := r.wait(t)
	require.NoError(t, err)
	assert.Len(t, a.Body, maxBody)
	f := s.next()
	assert.Equal(t, http2.FrameRSTStream, f.kind)
	for range 2 * connWindow / len(part) { // what is discarded counts, too
		s.check(s.framer.WriteData(id, false, part))
	}
	given := s.sync()
	assert.NotEmpty(t, given)
	assert.LessOrEqual(t, len(given), 8, "not in small change")
	for _, f := range given {
		assert.Equal(t, http2.FrameWindowUpdate, f.kind)
	}
	_, other := begin(t, c, "abc")
	s.answer(id + 2)
	_, err = other.wait(t)
	require.NoError(t, err)
}
