package apns

import (
	"slices"
	"sync"
)

// slots bounds what is in flight, over all calls of Push. Calls that wait are served in order.
type slots struct {
	mu     sync.Mutex
	free   int
	claims []*claim
}

// claim is a place in the line. ready is closed when n were granted.
type claim struct {
	most  int
	n     int
	ready chan struct{}
}

// take takes up to most slots, if nobody waits for some. Else it returns a claim to be waited for.
func (s *slots) take(most int) (int, *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 && len(s.claims) == 0 {
		n := min(most, s.free)
		s.free -= n
		return n, nil
	}
	c := &claim{most: most, ready: make(chan struct{})}
	s.claims = append(s.claims, c)
	return 0, c
}

// drop gives up a claim, and what it was granted.
func (s *slots) drop(c *claim) {
	s.mu.Lock()
	s.free += c.n
	s.claims = slices.DeleteFunc(s.claims, func(other *claim) bool { return other == c })
	s.mu.Unlock()
	s.share()
}

// put returns slots. Whoever does it calls share thereafter; many are returned before one is woken.
func (s *slots) put(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
}

// share grants what is free.
func (s *slots) share() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.free > 0 && len(s.claims) > 0 {
		c := s.claims[0]
		s.claims = slices.Delete(s.claims, 0, 1)
		c.n = min(c.most, s.free)
		s.free -= c.n
		close(c.ready)
	}
}
