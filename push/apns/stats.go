package apns

import (
	"slices"
	"strings"
	"time"
)

// Stats is how the way to APNs for one topic is used.
type Stats struct {
	Topic       string
	Connections int       // that take pushes
	InFlight    int       // pushes without an answer on them
	Waiting     int       // pushes for which no stream is free
	PausedUntil time.Time // pushes get a result with ErrPaused until then; the zero time: none do
}

// Stats returns the topics that have been pushed to, in order.
func (c *Client) Stats() []Stats {
	now := c.steadyNow()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Stats, 0, len(c.links))
	for topic, l := range c.links {
		s := l.stats(now)
		s.Topic = topic
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stats) int { return strings.Compare(a.Topic, b.Topic) })
	return all
}

func (l *link) stats(now time.Time) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Connections: len(l.sessions), Waiting: l.queue.len}
	for _, session := range l.sessions {
		s.InFlight += session.conn.Load().InFlight
	}
	switch {
	case l.breaker.active(now):
		s.PausedUntil = l.breaker.until
	case len(l.sessions) == 0 && l.dials.active(now):
		s.PausedUntil = l.dials.until
	}
	return s
}
