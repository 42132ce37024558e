package push_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// waves is a push.Waves in memory with one wave, whose targets are only counted.
type waves struct {
	push.Waves
	mu    sync.Mutex
	wave  push.Wave
	steps []push.Step
	due   int // pushes that wait
	err   error
}

func (s *waves) ListWaves(_ context.Context, q push.WaveQuery) ([]push.Wave, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Open && !s.wave.Open() {
		return nil, nil
	}
	return []push.Wave{s.wave}, nil
}

func (s *waves) AdvanceWave(_ context.Context, w push.Wave, step push.Step) (push.Wave, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(step.Max, step.Backlog-s.due)
	if s.err != nil || !w.Same(s.wave) || !s.wave.Open() || n <= 0 {
		return s.wave, s.err
	}
	s.steps = append(s.steps, step)
	woken := min(n, s.wave.Total-s.wave.Woken)
	s.wave.Woken, s.wave.Moved = s.wave.Woken+woken, step.At
	s.due += woken
	if woken < n {
		s.wave.Ended = step.At
	}
	return s.wave, nil
}

func (s *waves) sent(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = max(0, s.due-n)
}

func (s *waves) woken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wave.Woken
}

func newWave(now time.Time, rate, total int) *waves {
	return &waves{wave: push.Wave{ID: "wave", Rate: rate, Begun: now, Moved: now, Total: total}}
}

func TestWaveKeepsItsRate(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := newWave(clock.now(), 30, 1000)
	replicas := []*push.WaveRunner{{Store: store, Clock: clock.now}, {Store: store, Clock: clock.now}, {Store: store, Clock: clock.now}}
	for i := range 1000 { // they look whenever they like
		clock.advance(time.Duration(7+i%13) * 10 * time.Millisecond)
		require.NoError(t, replicas[i%3].Flush(bg))
		store.sent(1000)
		took := clock.now().Sub(store.wave.Begun).Seconds()
		if store.wave.Open() {
			require.InDelta(t, 30*took, store.woken(), 1.5)
		}
	}
	assert.Equal(t, 1000, store.woken())
	assert.InDelta(t, 1000./30, store.wave.Ended.Sub(store.wave.Begun).Seconds(), 1)
}

// TestASlowWaveGoesOn although it makes less than one push in an interval.
func TestASlowWaveGoesOn(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := newWave(clock.now(), 4, 20)
	r := &push.WaveRunner{Store: store, Clock: clock.now, Interval: 10 * time.Millisecond}
	for range 1000 {
		clock.advance(10 * time.Millisecond)
		require.NoError(t, r.Flush(bg))
	}
	assert.Equal(t, 20, store.woken())
	assert.False(t, store.wave.Open())
}

func TestWaveAfterAStandstill(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := newWave(clock.now(), 0, 1_000_000)
	r := &push.WaveRunner{Store: store, Clock: clock.now, Rate: 200}
	clock.advance(time.Hour)
	require.NoError(t, r.Flush(bg))
	assert.Equal(t, 400, store.woken(), "what it missed does not come at once")
	require.NoError(t, r.Flush(bg))
	assert.Equal(t, 400, store.woken())
	clock.advance(-time.Minute) // another replica's clock
	require.NoError(t, r.Flush(bg))
	assert.Equal(t, 400, store.woken())
}

func TestWaveWaitsForTheBacklog(t *testing.T) {
	t.Parallel()
	clock := newClock()
	store := newWave(clock.now(), 50_000, 1_000_000)
	r := &push.WaveRunner{Store: store, Clock: clock.now, Backlog: 1500}
	clock.advance(time.Second)
	require.NoError(t, r.Flush(bg))
	assert.Equal(t, 1500, store.woken(), "so many wait that a push of somebody else would be late")
	for _, s := range store.steps {
		assert.LessOrEqual(t, s.Max, push.WaveStep)
	}
	store.sent(200)
	require.NoError(t, r.Flush(bg))
	assert.Equal(t, 1700, store.woken())
}

func TestWaveRunnerRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newWave(time.Now(), 100, 1000)
		var text bytes.Buffer
		r := &push.WaveRunner{Store: store, Logger: slog.New(slog.NewTextHandler(&text, nil))}
		ctx, stop := context.WithCancel(t.Context())
		go func() { assert.ErrorIs(t, r.Run(ctx), context.Canceled) }()
		time.Sleep(5*time.Second + 10*time.Millisecond)
		assert.InDelta(t, 500, store.woken(), 2)
		store.mu.Lock()
		store.err = errors.New("the database is away")
		store.mu.Unlock()
		time.Sleep(2 * time.Second)
		store.mu.Lock()
		store.err = nil
		store.mu.Unlock()
		for range 20 {
			time.Sleep(time.Second)
			store.sent(1000)
		}
		stop()
		synctest.Wait()
		assert.Equal(t, 1000, store.woken())
		log := text.String()
		assert.Equal(t, 1, strings.Count(log, "begins"), log)
		assert.Equal(t, 1, strings.Count(log, "has ended"), log)
		assert.Contains(t, log, "the database is away")
		assert.LessOrEqual(t, strings.Count(log, "goes on"), 10, log)
		assert.GreaterOrEqual(t, strings.Count(log, "goes on"), 5, log)
	})
}

func TestWaveTells(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	w := push.Wave{Begun: now, Total: 200}
	assert.Zero(t, w.Percent())
	assert.True(t, w.Estimate(now.Add(time.Minute)).IsZero(), "nobody can say yet")
	w.Woken = 50
	assert.Equal(t, 25, w.Percent())
	assert.Equal(t, now.Add(4*time.Minute), w.Estimate(now.Add(time.Minute)))
	w.Woken = 201 // some have enrolled meanwhile
	assert.Equal(t, 99, w.Percent())
	assert.Equal(t, now.Add(time.Minute), w.Estimate(now.Add(time.Minute)))
	w.Ended = now.Add(time.Hour)
	assert.Equal(t, 100, w.Percent())
	assert.True(t, w.Estimate(now.Add(time.Minute)).IsZero())
	w.Canceled, w.Woken = true, 20
	assert.Equal(t, 10, w.Percent())

	_, some := push.Wave{To: mdm.Filter{States: []mdm.State{mdm.Ended}}}.Targets()
	assert.False(t, some)
}
