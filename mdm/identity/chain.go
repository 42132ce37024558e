package identity

import (
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// maxChains bounds what a chainCache remembers, about 8 MB.
const maxChains = 100_000

// chainCache remembers which certificates have passed, and until when they and all above them are valid: the signatures of
// a chain cost more than all the rest of a request, and they do not change.
type chainCache struct {
	mu    sync.RWMutex
	until map[mdm.Fingerprint]time.Time
}

// holds reports whether fp has passed and nothing in its chain has expired at this time.
func (c *chainCache) holds(fp mdm.Fingerprint, at time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	until, known := c.until[fp]
	return known && !at.After(until)
}

func (c *chainCache) add(fp mdm.Fingerprint, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until == nil {
		c.until = map[mdm.Fingerprint]time.Time{}
	}
	if len(c.until) >= maxChains { // make room by forgetting some, no matter which
		n := maxChains / 8
		for old := range c.until {
			if delete(c.until, old); n == 0 {
				break
			}
			n--
		}
	}
	c.until[fp] = until
}
