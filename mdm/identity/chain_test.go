package identity

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/mdm"
)

func TestChainCacheIsBounded(t *testing.T) {
	var c chainCache
	now := time.Now()
	var last mdm.Fingerprint
	for n := range 2*maxChains + 10 {
		binary.BigEndian.PutUint64(last[:], uint64(n)+1)
		c.add(last, now)
	}
	assert.LessOrEqual(t, len(c.until), maxChains)
	assert.True(t, c.holds(last, now))
	assert.False(t, c.holds(last, now.Add(time.Second)))
	assert.False(t, c.holds(mdm.Fingerprint{}, now))
}
