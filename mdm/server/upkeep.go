package server

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/gomdm/applemdm/internal/recur"
	"github.com/gomdm/applemdm/storage"
)

// How often a server looks for orders whose process is gone, and for what is over. All replicas together sweep once in
// sweepEvery: whoever does it keeps the lease, so that it is also the memory of when it was done.
const (
	resumeEvery = 15 * time.Second
	sweepEvery  = time.Hour
)

// resume carries out orders for many that nobody works on any more.
func (s *Server) resume(ctx context.Context) error {
	return recur.Every(ctx, resumeEvery, resumeEvery/10, func() {
		for ctx.Err() == nil {
			done, err := s.cfg.Stores.FanOuts.Resume(ctx)
			if err != nil && ctx.Err() == nil {
				s.log(ctx, slog.LevelWarn, "an order for many waits", slog.Any("error", err))
			}
			if err != nil || !done {
				return
			}
			s.log(ctx, slog.LevelInfo, "an order for many was taken over and carried out")
		}
	})
}

// sweep deletes what is over.
func (s *Server) sweep(ctx context.Context) error {
	return recur.Every(ctx, sweepEvery/4, sweepEvery/40, func() {
		if leases := s.cfg.Stores.Leases; leases != nil {
			// another owner each time: who has swept is refused like everybody else until the lease ends
			if ours, err := leases.Acquire(ctx, "sweep", rand.Text(), sweepEvery); err != nil || !ours {
				return // later is soon enough
			}
		}
		began := s.cfg.Clock()
		swept, err := s.cfg.Stores.Sweep.Sweep(ctx, began, s.cfg.Retention)
		switch {
		case err != nil && ctx.Err() == nil:
			s.log(ctx, slog.LevelWarn, "what is over was not all deleted", slog.Any("error", err))
		case swept != storage.Swept{}:
			s.log(ctx, slog.LevelInfo, "deleted what is over", slog.Int("commands", swept.Commands), slog.Int("events", swept.Events),
				slog.Int("asides", swept.Asides), slog.Int("challenges", swept.Challenges), slog.Int("waves", swept.Waves), slog.Int("sessions", swept.Sessions), slog.Int("runs", swept.Runs), slog.Duration("took", s.cfg.Clock().Sub(began)))
		}
	})
}

func (s *Server) log(ctx context.Context, level slog.Level, text string, attrs ...slog.Attr) {
	if s.cfg.Logger != nil {
		s.cfg.Logger.LogAttrs(ctx, level, text, attrs...)
	}
}
