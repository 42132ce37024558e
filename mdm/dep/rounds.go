package dep

import (
	"context"
	"iter"
	"time"
)

// rounds does something for all servers that have a token, again and again.
type rounds struct {
	store   Store
	servers func(context.Context) iter.Seq2[Server, error] // nil: those of the tenant ""
	every   time.Duration
	now     func() time.Time
	failed  func(Key, error)
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
// otherwise, or as Apple says; longer if it is for somebody to do something.
func (r rounds) run(ctx context.Context, do func(Key) error) error {
	waits := map[Key]wait{}
	tick := time.NewTicker(min(r.every, firstPause))
	defer tick.Stop()
	for {
		for server, err := range r.all(ctx) {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				r.failed(Key{}, err)
			case server.Token.ConsumerKey != "" && !r.now().Before(waits[server.Key].until):
				err := do(server.Key)
				if ctx.Err() != nil {
					return ctx.Err() // what ends with us did not fail
				}
				waits[server.Key] = r.after(waits[server.Key], server.Key, err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
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
