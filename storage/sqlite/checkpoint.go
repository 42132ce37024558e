package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"
)

// checkpointEvery is how often the log is copied into the database while there are writes.
const checkpointEvery = 500 * time.Millisecond

// checkpointer copies the write-ahead log into the database beside the requests, whose commits would do it otherwise. It
// waits for nobody and holds up nobody; what it does not get done, a commit does when the log is long (writerPragmas).
type checkpointer struct {
	pool    *sql.DB
	written atomic.Bool // since the last time
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

func startCheckpointer(name string) (*checkpointer, error) {
	pool, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	ctx, stop := context.WithCancel(context.Background())
	c := &checkpointer{pool: pool, stop: stop}
	c.stopped.Go(func() { c.run(ctx) })
	return c, nil
}

func (c *checkpointer) run(ctx context.Context) {
	ticker := time.NewTicker(checkpointEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if c.written.Swap(false) {
			_, _ = c.pool.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)") // the log keeps what is not copied
		}
	}
}

func (c *checkpointer) close() error {
	c.stop()
	c.stopped.Wait()
	return c.pool.Close()
}
