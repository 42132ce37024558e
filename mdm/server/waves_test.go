package server_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage/memory"
)

// pushed counts the pushes to each channel.
type pushed struct {
	mu    sync.Mutex
	count map[mdm.EnrollmentID]int
}

func (p *pushed) Push(_ context.Context, targets []push.Target) ([]push.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]push.Result, len(targets))
	for i, t := range targets {
		p.count[t.Enrollment]++
		out[i].Outcome = push.Delivered
	}
	return out, nil
}

func (p *pushed) channels() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.count)
}

// TestRunCarriesOutWaves: replicas share a wave, at its pace. The one that works is stopped in the middle.
func TestRunCarriesOutWaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := memory.New().Stores()
		stores.Presence = nil // they have never been heard of, and would be pushed for that
		enrolled(t, stores, 400)
		p := &pushed{count: map[mdm.EnrollmentID]int{}}
		ctx, stop := context.WithCancel(t.Context())
		first, stopFirst := context.WithCancel(ctx)
		for _, ctx := range []context.Context{first, ctx, ctx} {
			s, err := server.New(server.Config{Stores: stores, Extractor: identity.TLS(), Pusher: p,
				Validator: identity.ValidatorFunc(func(context.Context, identity.Presented, identity.Claim) error { return nil })})
			require.NoError(t, err)
			go func() { _ = s.Run(ctx) }()
			time.Sleep(300 * time.Millisecond)
		}
		w, err := stores.Waves.BeginWave(t.Context(), push.Wave{Rate: 20})
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		assert.InDelta(t, 200, p.channels(), 25)
		stopFirst()
		time.Sleep(15 * time.Second)
		w, err = stores.Waves.Wave(t.Context(), "", w.ID)
		require.NoError(t, err)
		assert.False(t, w.Open())
		assert.InDelta(t, 20, w.Ended.Sub(w.Begun).Seconds(), 2)
		assert.Equal(t, 400, p.channels())
		for id, n := range p.count {
			assert.Equal(t, 1, n, id.String())
		}
		stop()
		synctest.Wait()
	})
}
