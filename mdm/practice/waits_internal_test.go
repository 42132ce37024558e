package practice

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDoubled(t *testing.T) {
	for _, c := range []struct {
		first, most     time.Duration
		failures, times int
		want            time.Duration
	}{
		{time.Minute, time.Hour, 0, 20, time.Minute}, {time.Minute, time.Hour, 1, 20, time.Minute}, {time.Minute, time.Hour, 2, 20, 2 * time.Minute},
		{time.Minute, time.Hour, 6, 20, 32 * time.Minute}, {time.Minute, time.Hour, 7, 20, time.Hour}, {time.Minute, time.Hour, 1000, 20, time.Hour},
		{time.Hour, noLimit, 1000, 10, 1024 * time.Hour}, {2 * time.Hour, time.Hour, 1, 20, time.Hour},
		{100 * 24 * time.Hour, noLimit, 1000, 20, noLimit}, // not a negative one
	} {
		assert.Equal(t, c.want, doubled(c.first, c.most, c.failures, c.times), "%+v", c)
	}
	assert.Equal(t, time.Hour, waitOr(0, time.Hour))
	assert.Equal(t, time.Hour, waitOr(-1, time.Hour))
	assert.Equal(t, time.Minute, waitOr(time.Minute, time.Hour))
}
