package memory

import (
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/storage"
)

// Sweep implements [storage.Sweeper].
func (db *DB) Sweep(ctx context.Context, now time.Time, r storage.Retention) (done storage.Swept, err error) {
	err = db.tx(ctx, func() error {
		db.sweepCommands(now, r, &done)
		if before := storage.Before(now, r.Asides, storage.DefaultAsides); !before.IsZero() {
			n := len(db.aside)
			db.aside = slices.DeleteFunc(db.aside, func(a command.Aside) bool { return a.At.Before(before) })
			done.Asides = n - len(db.aside)
		}
		if before := storage.Before(now, r.Challenges, storage.DefaultChallenges); !before.IsZero() {
			for hash, c := range db.challenges {
				if c.ExpiresAt.Before(before) {
					delete(db.challenges, hash)
					done.Challenges++
				}
			}
		}
		db.sweepReminders(now)
		db.sweepSessions(now, &done.Sessions)
		db.sweepEvents(now, r, &done)
		if before := storage.Before(now, r.Events, storage.DefaultEvents); !before.IsZero() {
			for key, w := range db.waves {
				if !w.Open() && w.Ended.Before(before) {
					delete(db.waves, key)
					done.Waves++
				}
			}
			done.Runs = db.sweepRuns(before)
		}
		return nil
	})
	return done, err
}

func (db *DB) sweepCommands(now time.Time, r storage.Retention, done *storage.Swept) {
	used := map[orderKey]bool{}
	for id, q := range db.queues {
		q.all = slices.DeleteFunc(q.all, func(e *entry) bool {
			d, ok := r.Kinds[e.RequestType]
			if !ok {
				d = r.Commands
			}
			before := storage.Before(now, d, storage.DefaultCommands)
			if e.State.Open() || before.IsZero() || !e.FinishedAt.Before(before) {
				used[orderKey{id.Tenant, e.UUID}] = true
				return false
			}
			delete(q.byUUID, e.UUID)
			done.Commands++
			return true
		})
	}
	for key := range db.orders {
		if !used[key] {
			delete(db.orders, key)
			done.Bodies++
		}
	}
}

func (db *DB) sweepEvents(now time.Time, r storage.Retention, done *storage.Swept) {
	before := storage.Before(now, r.Events, storage.DefaultEvents)
	if before.IsZero() {
		return
	}
	anyway := now.Add(-4 * now.Sub(before)) // its consumer is gone
	needed := db.dropped + len(db.events)
	for _, c := range db.consumers {
		needed = min(needed, c.next)
		for _, p := range c.open {
			needed = min(needed, int(p.Seq)-1)
		}
	}
	n := 0
	for ; n < len(db.events); n++ {
		at := db.events[n].At
		if !at.Before(before) || db.dropped+n >= needed && !at.Before(anyway) {
			break
		}
	}
	db.events = slices.Clone(db.events[n:])
	db.dropped += n
	done.Events = n
	for _, c := range db.consumers {
		c.open = slices.DeleteFunc(c.open, func(p pending) bool { return int(p.Seq) <= db.dropped })
	}
}

// lease is work in somebody's hands.
type lease struct {
	owner string
	until time.Time
}

// Acquire implements [storage.Leases].
func (db *DB) Acquire(ctx context.Context, name, owner string, d time.Duration) (mine bool, err error) {
	err = db.tx(ctx, func() error {
		now := db.now()
		if l := db.leases[name]; l.owner != owner && l.until.After(now) {
			return nil
		}
		db.leases[name], mine = lease{owner, now.Add(d)}, true
		return nil
	})
	return mine, err
}

// Release implements [storage.Leases].
func (db *DB) Release(ctx context.Context, name, owner string) error {
	return db.tx(ctx, func() error {
		if db.leases[name].owner == owner {
			delete(db.leases, name)
		}
		return nil
	})
}
