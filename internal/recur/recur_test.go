package recur_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/recur"
)

func TestEvery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		over := errors.New("over")
		ctx, cancel := context.WithCancelCause(t.Context())
		last := time.Now()
		n := 0
		err := recur.Every(ctx, time.Hour, time.Minute, func() {
			since := time.Since(last)
			if n == 0 {
				assert.LessOrEqual(t, since, time.Minute)
			} else {
				assert.GreaterOrEqual(t, since, 30*time.Minute)
				assert.Less(t, since, 90*time.Minute)
			}
			last = time.Now()
			if n++; n == 50 {
				cancel(over)
			}
		})
		require.ErrorIs(t, err, over)
		assert.Equal(t, 50, n)
	})
}
