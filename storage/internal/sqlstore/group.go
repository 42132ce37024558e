package sqlstore

import (
	"sync"
	"time"
)

// group runs what arrives together as one. One worker takes all that waits, so that the busier the server is the more
// shares a commit, and an idle server waits for nobody. Further workers help only when the first one is held up, as by a
// lock.
type group[T any] struct {
	run     func([]T)
	key     func(T) string // two with one key are never in one run
	most    int            // in one run
	workers int            // at most

	mu      sync.Mutex
	waiting []T
	working int
	begun   time.Time // of the last run
}

// helpAfter is how long a run may take before another worker is put beside it.
const helpAfter = 20 * time.Millisecond

// add hands in one; run gets it soon, on another goroutine.
func (g *group[T]) add(v T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, v)
	if g.working == 0 || g.working < g.workers && time.Since(g.begun) > helpAfter {
		g.working++
		go g.work()
	}
}

func (g *group[T]) work() {
	for {
		batch := g.take()
		if batch == nil {
			return
		}
		g.run(batch)
	}
}

func (g *group[T]) take() []T {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.working--
		return nil
	}
	g.begun = time.Now()
	taken := make(map[string]bool, len(g.waiting))
	var batch, rest []T
	for _, v := range g.waiting {
		if key := g.key(v); len(batch) < g.most && !taken[key] {
			taken[key] = true
			batch = append(batch, v)
		} else {
			rest = append(rest, v)
		}
	}
	g.waiting = rest
	return batch
}
