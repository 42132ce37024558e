package push_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/push"
)

func TestAnswersAreToldOnce(t *testing.T) {
	t.Parallel()
	since := time.Unix(1_700_000_000, 0)
	outcomes := map[string]push.Result{
		"dead":    {Outcome: push.Invalid, Reason: "Unregistered", Since: since},
		"when?":   {Outcome: push.Invalid, Reason: "BadDeviceToken"},
		"alive":   {Outcome: push.Delivered},
		"put off": {Outcome: push.Retry},
	}
	c := newClock()
	a := &push.Answers{Clock: c.now, Pusher: pusherFunc(func(_ context.Context, targets []push.Target) ([]push.Result, error) {
		var out []push.Result
		for _, t := range targets {
			out = append(out, outcomes[t.Enrollment.Device])
		}
		return out, nil
	})}
	var targets []push.Target
	for device := range outcomes {
		targets = append(targets, target(device))
	}
	for range 2 {
		results, err := a.Push(t.Context(), targets)
		require.NoError(t, err)
		assert.Len(t, results, len(targets))
	}
	tokens, err := all(t.Context(), a)
	require.NoError(t, err)
	assert.ElementsMatch(t, []push.InvalidToken{
		{Token: []byte("dead"), Topic: topic, Since: since, Reason: "Unregistered"},
		{Token: []byte("when?"), Topic: topic, Since: c.now(), Reason: "BadDeviceToken"},
	}, tokens)
	tokens, err = all(t.Context(), a)
	require.NoError(t, err)
	assert.Empty(t, tokens)
}

func TestAnswersKeepWhatNobodyTook(t *testing.T) {
	t.Parallel()
	a := &push.Answers{Max: 2, Pusher: always(push.Result{Outcome: push.Invalid, Since: time.Unix(5, 0)})}
	_, err := a.Push(t.Context(), []push.Target{target("a"), target("b"), target("c"), target("a"), target("d")})
	require.NoError(t, err)
	for range a.InvalidTokens(t.Context()) {
		break
	}
	tokens, err := all(t.Context(), a)
	require.ErrorIs(t, err, push.ErrForgotten)
	require.ErrorContains(t, err, "2 of them")
	assert.Len(t, tokens, 1)
	ended, stop := context.WithCancel(t.Context())
	stop()
	_, err = a.Push(t.Context(), []push.Target{target("a"), target("b")})
	require.NoError(t, err)
	tokens, err = all(ended, a)
	require.ErrorIs(t, err, context.Canceled)
	assert.Len(t, tokens, 1)
}

func TestAnswersOfAPusherThatFails(t *testing.T) {
	t.Parallel()
	a := &push.Answers{Pusher: pusherFunc(func(context.Context, []push.Target) ([]push.Result, error) { return nil, errDown })}
	_, err := a.Push(t.Context(), []push.Target{target("a")})
	require.ErrorIs(t, err, errDown)
	tokens, err := all(t.Context(), a)
	require.NoError(t, err)
	assert.Empty(t, tokens)
}

func TestAnswersAtOnce(t *testing.T) {
	t.Parallel()
	a := &push.Answers{Pusher: always(push.Result{Outcome: push.Invalid, Since: time.Unix(5, 0)})}
	var group sync.WaitGroup
	var mu sync.Mutex
	var tokens []push.InvalidToken
	take := func() {
		some, err := all(t.Context(), a)
		assert.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		tokens = append(tokens, some...)
	}
	for _, device := range devices(100) {
		group.Go(func() { _, _ = a.Push(t.Context(), []push.Target{target(device)}) })
		group.Go(take)
	}
	group.Wait()
	take()
	assert.Len(t, tokens, 100)
}

func TestFeedbackService(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(conn net.Conn) { _, _ = conn.Write(append(tuple(5, 1, 2), tuple(6, 3)...)) })
	tokens, err := all(t.Context(), p.service())
	require.NoError(t, err)
	assert.Equal(t, []push.InvalidToken{
		{Token: []byte{1, 2}, Topic: topic, Since: time.Unix(5, 0).UTC()}, {Token: []byte{3}, Topic: topic, Since: time.Unix(6, 0).UTC()},
	}, tokens)

	limited := p.service()
	limited.Max = 1
	tokens, err = all(t.Context(), limited)
	require.ErrorIs(t, err, push.ErrFeedbackLimit)
	assert.Len(t, tokens, 1)
}

func TestFeedbackServiceThatBreaksOff(t *testing.T) {
	t.Parallel()
	stream := append(tuple(5, 1, 2), tuple(6, 3)[:4]...)
	closes := newProvider(t, func(conn net.Conn) { _, _ = conn.Write(stream) })
	tokens, err := all(t.Context(), closes.service())
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Len(t, tokens, 1, "what came whole counts")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	hangs := newProvider(t, func(conn net.Conn) {
		_, _ = conn.Write(stream)
		_, _ = io.Copy(io.Discard, conn) // until the client goes
	})
	n := 0
	for token, err := range hangs.service().InvalidTokens(ctx) {
		if n++; n == 1 {
			assert.Equal(t, []byte{1, 2}, token.Token)
			stop()
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
	}
	assert.Equal(t, 2, n)

	silent := newProvider(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }).service()
	silent.Timeout = 20 * time.Millisecond
	_, err = all(t.Context(), silent)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// noCertificate is a push.Certificates that breaks its word.
type noCertificate struct{}

func (noCertificate) PushCertificate(context.Context, string) (*tls.Certificate, error) {
	return nil, nil
}

func TestFeedbackServiceThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(net.Conn) {})
	for name, change := range map[string]func(*push.FeedbackService){
		"nothing for a certificate": func(s *push.FeedbackService) { s.Certificates = noCertificate{} },
		"no certificate":            func(s *push.FeedbackService) { s.Topic = "another" },
		"not trusted":               func(s *push.FeedbackService) { s.TLS = nil },
		"no address":                func(s *push.FeedbackService) { s.Addr = "nowhere" },
		"not reached": func(s *push.FeedbackService) {
			s.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errDown }
		},
		"nothing that is TLS": func(s *push.FeedbackService) {
			s.Dial = func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				_ = far.Close()
				return near, nil
			}
		},
	} {
		s := p.service()
		change(s)
		tokens, err := all(t.Context(), s)
		require.ErrorContains(t, err, "feedback service", name)
		assert.Empty(t, tokens)
	}
}

// The provider clears its list when it sends it: a slow caller must not lose the rest.
func TestFeedbackServiceOfASlowCaller(t *testing.T) {
	t.Parallel()
	var stream []byte
	for range 200_000 { // more than buffers of TCP hold
		stream = append(stream, tuple(5, make([]byte, 32)...)...)
	}
	sent := make(chan error, 1)
	p := newProvider(t, func(conn net.Conn) {
		_, err := conn.Write(stream)
		sent <- err
	})
	s := p.service()
	s.Timeout = 10 * time.Second
	n := 0
	for _, err := range s.InvalidTokens(t.Context()) {
		require.NoError(t, err)
		if n++; n == 1 {
			require.NoError(t, <-sent, "it need not wait for us")
		}
	}
	assert.Equal(t, 200_000, n)

	n = 0
	for range s.InvalidTokens(t.Context()) {
		if n++; n == 10 {
			break
		}
	}
	assert.Equal(t, 10, n)
}

// What was read when the time is over is not lost, however long the caller worked.
func TestFeedbackServiceYieldsWhatItReadInTime(t *testing.T) {
	t.Parallel()
	s := provided(t, append(tuple(5, 1), tuple(6, 2)...))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	n := 0
	for _, err := range s.InvalidTokens(ctx) {
		if err == nil {
			n++
		}
		stop()
	}
	assert.Equal(t, 2, n, "both came together")
}

func TestFeedbackServiceOfBytesWithoutEnd(t *testing.T) {
	t.Parallel()
	s := newProvider(t, func(conn net.Conn) {
		for {
			if _, err := conn.Write(tuple(5, make([]byte, 60_000)...)); err != nil {
				return
			}
		}
	}).service()
	s.Max = 3000
	tokens, err := all(t.Context(), s)
	require.ErrorIs(t, err, push.ErrFeedbackLimit)
	assert.Less(t, len(tokens), 10)
}

// TestFeedbackServiceOnlyWithACertificate: the provider tells a stranger nothing.
func TestFeedbackServiceOnlyWithACertificate(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(conn net.Conn) { _, _ = conn.Write(tuple(5, 1)) })
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{RootCAs: p.roots})
	if err == nil {
		defer conn.Close()
		tokens, _ := readAll(conn)
		assert.Empty(t, tokens)
	}
}
