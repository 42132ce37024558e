package dep

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Run syncs all servers, each when it is due, one after another, until ctx ends, whose error it returns. What fails is tried again, a
// little later each time. A server that another process is at is passed over, so that several processes are at several servers.
func (s *Syncer) Run(ctx context.Context) error {
	return rounds{store: s.Store, servers: s.Servers, every: or(s.Every, DefaultSyncEvery), now: s.now, calls: &s.calls, failed: func(key Key, err error) {
		s.log(ctx, slog.LevelError, "devices cannot be synced", key, slog.Any("error", err))
	}}.run(ctx, func(key Key) error {
		_, err := s.Sync(ctx, key)
		if errors.Is(err, ErrHeld) {
			return nil // whoever has it does it
		}
		return err
	})
}

// Notify makes Run of this process sync a server at once, however long it would wait otherwise; in other processes it changes
// nothing. As long as Apple asks not to be called it is not called all the same. It does not block.
func (s *Syncer) Notify(key Key) { s.calls.call(key) }

// Run assigns the devices of all servers, as they are due, until ctx ends, whose error it returns. Servers take turns: one with many
// devices that are due does not hold up the others for long.
func (a *Assigner) Run(ctx context.Context) error {
	return rounds{store: a.Store, servers: a.Servers, every: or(a.Every, DefaultAssignEvery), now: a.now, calls: &a.calls, failed: func(key Key, err error) {
		if a.Logger != nil {
			a.Logger.LogAttrs(ctx, slog.LevelError, "devices cannot be assigned", slog.String("server", key.String()), slog.Any("error", err))
		}
	}}.run(ctx, func(key Key) error {
		_, err := a.assign(ctx, key, a.now().Add(turnFor))
		return err
	})
}

// Notify makes Run of this process assign the devices of a server that are due at once, however long it would wait otherwise; in other
// processes it changes nothing. It does not block.
func (a *Assigner) Notify(key Key) { a.calls.call(key) }

// rounds does something for all servers that have a token, again and again.
type rounds struct {
	store   Store
	servers func(context.Context) iter.Seq2[Server, error] // nil: those of the tenant ""
	every   time.Duration
	now     func() time.Time
	failed  func(Key, error)
	calls   *calls
}

// calls are the servers that somebody wants something done for at once. The zero value is ready for use.
type calls struct {
	mu   sync.Mutex
	keys map[Key]bool
	bell chan struct{} // has one if there are any
}

// call adds one.
func (c *calls) call(key Key) {
	bell := c.heard()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = map[Key]bool{}
	}
	c.keys[key] = true
	select {
	case bell <- struct{}{}:
	default:
	}
}

// heard returns what wakes up who waits for calls.
func (c *calls) heard() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bell == nil {
		c.bell = make(chan struct{}, 1)
	}
	return c.bell
}

// take returns the calls, which are somebody's then.
func (c *calls) take() map[Key]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.bell: // nil: nobody has called
	default:
	}
	taken := c.keys
	c.keys = nil
	return taken
}

// wait is until when nothing is done for a server, and after how many failures.
type wait struct {
	until    time.Time
	failures int
}

const (
	firstPause   = 30 * time.Second
	problemPause = 30 * time.Minute // if somebody has to do something first
)

// run goes on until ctx ends, and returns its error. After a failure it waits a little longer each time, at most as long as
// otherwise, or as Apple says; longer if it is for somebody to do something. For a server that is called it does not wait.
func (r rounds) run(ctx context.Context, do func(Key) error) error {
	waits, called := map[Key]wait{}, map[Key]bool{}
	tick := time.NewTicker(min(r.every, firstPause))
	defer tick.Stop()
	for {
		maps.Copy(called, r.calls.take())
		if r.round(ctx, waits, called, do) {
			clear(called) // those that are left are no servers of ours, or have no token
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-r.calls.heard():
		}
	}
}

// round does once what is due. It is false if not all servers were seen.
func (r rounds) round(ctx context.Context, waits map[Key]wait, called map[Key]bool, do func(Key) error) (all bool) {
	keys, err := r.keys(ctx)
	if err != nil && ctx.Err() == nil {
		r.failed(Key{}, err)
	}
	for _, key := range keys {
		if !called[key] && r.now().Before(waits[key].until) {
			continue
		}
		delete(called, key)
		err := do(key)
		if ctx.Err() != nil {
			return false // what ends with us did not fail
		}
		waits[key] = r.after(waits[key], key, err)
	}
	return err == nil
}

// keys lists the servers that have a token, to the end: a store should not be read from for as long as a sync may take.
func (r rounds) keys(ctx context.Context) (keys []Key, err error) {
	for server, err := range r.all(ctx) {
		if err != nil {
			return keys, err
		}
		if server.Token.ConsumerKey != "" {
			keys = append(keys, server.Key)
		}
	}
	return keys, nil
}

func (r rounds) all(ctx context.Context) iter.Seq2[Server, error] {
	if r.servers != nil {
		return r.servers(ctx)
	}
	return r.store.Servers(ctx, "")
}

// after returns how long a server waits after what was done for it.
func (r rounds) after(was wait, key Key, err error) wait {
	if err == nil {
		return wait{until: r.now().Add(r.every)}
	}
	r.failed(key, err)
	pause := max(min(firstPause<<min(was.failures, 10), r.every), RetryAfter(err))
	if _, ok := AsProblem(err); ok {
		pause = max(pause, problemPause)
	}
	return wait{r.now().Add(pause), was.failures + 1}
}
