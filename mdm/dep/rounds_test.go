package dep_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// heard returns the calls to Apple since the last time, once everything is at rest.
func (w *world) heard() []string {
	synctest.Wait()
	w.apple.mu.Lock()
	defer w.apple.mu.Unlock()
	calls := w.apple.calls
	w.apple.calls = nil
	return calls
}

func TestNotifySyncsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fetched(t, "A")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		assert.Equal(t, []string{"account", "sync c"}, w.heard())
		time.Sleep(10 * time.Minute)
		assert.Empty(t, w.heard(), "it is not due: the clock stands still")
		w.Notify(key)
		assert.Equal(t, []string{"account", "sync c"}, w.heard())
		w.Notify(dep.Key{Name: "no such server"})
		assert.Empty(t, w.heard())

		w.apple.fails["account"] = &dep.Error{Status: 403, Code: dep.ErrTermsNotSigned}
		w.Notify(key)
		assert.Equal(t, []string{"account"}, w.heard())
		time.Sleep(10 * time.Minute)
		assert.Empty(t, w.heard(), "somebody has to do something first")
		delete(w.apple.fails, "account")
		w.Notify(key)
		assert.Equal(t, []string{"account", "sync c"}, w.heard(), "somebody has done it")
		assert.Nil(t, w.server().Stopped)

		w.apple.fails["account"] = &dep.Error{Status: 429, Code: dep.ErrThrottled, RetryAfter: time.Hour}
		w.Notify(key)
		assert.Equal(t, []string{"account"}, w.heard())
		w.Notify(key)
		assert.Empty(t, w.heard(), "Apple asked not to be called")
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

func TestNotifyAssignsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fetched(t, "A")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.assigner.Run(ctx) }()
		assert.Empty(t, w.heard())
		require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
		assert.Empty(t, w.heard())
		w.assigner.Notify(key)
		assert.Equal(t, []string{"details", "assign", "details"}, w.heard())
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// TestNotifyOutlastsAnOutage loses the list of servers when somebody calls.
func TestNotifyOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fetched(t, "A")
		var lost atomic.Bool
		w.Servers = func(ctx context.Context) iter.Seq2[dep.Server, error] {
			if lost.Load() {
				return func(yield func(dep.Server, error) bool) {
					yield(dep.Server{}, mdm.Errorf(mdm.Unavailable, "test", "the store is away"))
				}
			}
			return w.store.Servers(ctx, "")
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		assert.Len(t, w.heard(), 2)
		lost.Store(true)
		w.Notify(key)
		assert.Empty(t, w.heard())
		lost.Store(false)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"account", "sync c"}, w.heard())
		time.Sleep(time.Minute)
		assert.Empty(t, w.heard(), "once")
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}
