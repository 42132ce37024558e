package apns

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/push"
)

// Connections that break at once, as the way to them does, are one failure, and none if no push was lost.
func TestABlipIsOneFailure(t *testing.T) {
	t.Parallel()
	l := new(Client).newLink(push.Certificate{}, endpoint{})
	s := &session{made: time.Now()}
	s.proven.Store(true)
	l.lost(s, io.EOF, 0)
	assert.Zero(t, l.breaker.failures)
	for range 20 {
		l.lost(s, io.EOF, 3)
	}
	assert.Equal(t, 1, l.breaker.failures)
	l.blip = l.blip.Add(-blipPause)
	l.lost(s, io.EOF, 3)
	assert.Equal(t, 2, l.breaker.failures)
	assert.False(t, l.dials.trial())
}
