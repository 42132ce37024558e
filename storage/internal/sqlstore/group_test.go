package sqlstore

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroupTakesAllThatWaits(t *testing.T) {
	runs, release := make(chan []string), make(chan struct{})
	g := &group[string]{most: 3, workers: 1, key: func(v string) string { return v[:1] }, run: func(batch []string) {
		runs <- batch
		<-release
	}}
	g.add("a1")
	assert.Equal(t, []string{"a1"}, <-runs, "an idle worker waits for nobody")
	for _, v := range []string{"b1", "c1", "b2", "d1", "e1"} {
		g.add(v)
	}
	close(release)
	assert.Equal(t, []string{"b1", "c1", "d1"}, <-runs, "as many as may be, of each key one")
	assert.Equal(t, []string{"b2", "e1"}, <-runs, "in the order in which they came")
}

func TestGroupGetsHelp(t *testing.T) {
	var running sync.WaitGroup
	running.Add(2)
	held := make(chan struct{})
	g := &group[string]{most: 3, workers: 2, key: func(v string) string { return v }, run: func([]string) {
		running.Done()
		<-held
	}}
	g.add("a")
	require.Eventually(t, func() bool { // the first is held up, as by a lock
		g.mu.Lock()
		defer g.mu.Unlock()
		return !g.begun.IsZero() && time.Since(g.begun) > helpAfter
	}, 5*time.Second, time.Millisecond)
	g.add("b")
	running.Wait() // both at once
	close(held)
}
