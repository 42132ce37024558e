package sqlstore

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gomdm/applemdm/storage"
)

// sweepPause is between two batches of a sweep, in which devices have the database for themselves.
const sweepPause = 20 * time.Millisecond

// Sweep implements storage.Sweeper.
func (db *DB) Sweep(ctx context.Context, now time.Time, r storage.Retention) (storage.Swept, error) {
	var done storage.Swept
	if err := db.sweepCommands(ctx, now, r, &done); err != nil {
		return done, err
	}
	if before := storage.Before(now, r.Asides, storage.DefaultAsides); !before.IsZero() {
		if err := db.sweepKeys(ctx, &done.Asides, "SELECT number FROM mdm_asides WHERE at < ? ORDER BY at LIMIT ?", opForgetAside, micros(before)); err != nil {
			return done, err
		}
	}
	if before := storage.Before(now, r.Challenges, storage.DefaultChallenges); !before.IsZero() {
		if err := db.sweepChallenges(ctx, &done.Challenges, before); err != nil {
			return done, err
		}
	}
	if err := db.sweepReminders(ctx, now); err != nil {
		return done, err
	}
	if err := db.sweepSessions(ctx, now, &done.Sessions); err != nil {
		return done, err
	}
	if err := db.sweepServers(ctx, ""); err != nil {
		return done, err
	}
	if err := db.sweepWaves(ctx, now, r, &done.Waves); err != nil {
		return done, err
	}
	if err := db.sweepRuns(ctx, now, r, &done.Runs); err != nil {
		return done, err
	}
	return done, db.sweepEvents(ctx, now, r, &done.Events)
}

var (
	opForget = newOp("enrollment seq command", "DELETE FROM mdm_history {using} WHERE mdm_history.enrollment = :enrollment AND mdm_history.seq = :seq AND mdm_history.command = :command")
	opOrphan = newOp("id", `DELETE FROM mdm_commands {using} WHERE mdm_commands.id = :id AND NOT EXISTS (SELECT 1 FROM mdm_queue q WHERE q.command = mdm_commands.id)
		AND NOT EXISTS (SELECT 1 FROM mdm_history h WHERE h.command = mdm_commands.id) AND NOT EXISTS (SELECT 1 FROM mdm_fanouts f WHERE f.uuid = mdm_commands.uuid)`)
	opForgetAside     = newOp("number", "DELETE FROM mdm_asides {using} WHERE mdm_asides.number = :number")
	opForgetChallenge = newOp("hash#", "DELETE FROM mdm_challenges {using} WHERE mdm_challenges.hash = :hash")
)

// batches runs f again and again until it finds less than a batch, with pauses. What f found is counted when it is committed.
func (db *DB) batches(ctx context.Context, f func(*tx) (n int, err error), count func(n int)) error {
	for {
		n := 0
		err := db.update(ctx, func(t *tx) (err error) {
			n, err = f(t)
			return err
		})
		if err != nil {
			return err
		}
		if count(n); n < pageSize {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sweepPause):
		}
	}
}

// sweepKeys deletes the rows whose key, a number, a query selects.
func (db *DB) sweepKeys(ctx context.Context, count *int, query string, forget *op, args ...any) error {
	return db.batches(ctx, func(t *tx) (int, error) {
		var keys []int64
		err := t.query(ctx, query, append(args, pageSize), func(scan func(...any) error) error {
			var key int64
			err := scan(&key)
			keys = append(keys, key)
			return err
		})
		for _, key := range keys {
			t.write(&turn{}, forget, key)
		}
		return len(keys), err
	}, func(n int) { *count += n })
}

func (db *DB) sweepChallenges(ctx context.Context, count *int, before time.Time) error {
	return db.batches(ctx, func(t *tx) (int, error) {
		var hashes [][]byte
		err := t.query(ctx, "SELECT hash FROM mdm_challenges WHERE expires_at < ? ORDER BY expires_at LIMIT ?", []any{micros(before), pageSize}, func(scan func(...any) error) error {
			var hash []byte
			err := scan(&hash)
			hashes = append(hashes, hash)
			return err
		})
		for _, hash := range hashes {
			t.write(&turn{}, opForgetChallenge, hash)
		}
		return len(hashes), err
	}, func(n int) { *count += n })
}

// pass is one way through the history, for commands that are kept equally long.
type pass struct {
	before time.Time
	kinds  []string
	not    bool // all but kinds
}

// passes are the ways through the history that r asks for.
func passes(now time.Time, r storage.Retention) []pass {
	byTime := map[time.Duration][]string{}
	for kind, d := range r.Kinds {
		byTime[d] = append(byTime[d], kind)
	}
	var out []pass
	for _, d := range slices.Sorted(maps.Keys(byTime)) {
		slices.Sort(byTime[d])
		out = append(out, pass{before: storage.Before(now, d, storage.DefaultCommands), kinds: byTime[d]})
	}
	out = append(out, pass{before: storage.Before(now, r.Commands, storage.DefaultCommands), kinds: slices.Sorted(maps.Keys(r.Kinds)), not: true})
	return slices.DeleteFunc(out, func(p pass) bool { return p.before.IsZero() })
}

func (db *DB) sweepCommands(ctx context.Context, now time.Time, r storage.Retention, done *storage.Swept) error {
	for _, p := range passes(now, r) {
		query, args := "", []any{}
		if len(p.kinds) > 0 {
			query, args = " AND c.request_type "+map[bool]string{true: "NOT "}[p.not]+"IN ("+marks(len(p.kinds))+")", list(p.kinds)
		}
		query = "SELECT h.enrollment, h.seq, h.command, h.finished_at FROM mdm_history h JOIN mdm_commands c ON c.id = h.command WHERE h.finished_at >= ? AND h.finished_at < ?" +
			query + " ORDER BY h.finished_at LIMIT ?"
		var b, from batch
		err := db.batches(ctx, func(t *tx) (n int, err error) {
			b, err = t.sweepHistory(ctx, query, append(append([]any{from.last, micros(p.before)}, args...), pageSize))
			return b.commands, err
		}, func(int) {
			from = b
			done.Commands += b.commands
			done.Bodies += b.bodies
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// batch is what a transaction of a sweep did to the history.
type batch struct {
	commands, bodies int
	last             int64 // when the last of them finished: the next batch begins there, to pass over what is kept once
}

// sweepHistory deletes a batch of finished commands, and the bodies that nobody needs any more.
func (t *tx) sweepHistory(ctx context.Context, query string, args []any) (b batch, err error) {
	commands := map[int64]bool{}
	var keys [][3]int64
	err = t.query(ctx, query, args, func(scan func(...any) error) error {
		var enrollment, seq, command int64
		err := scan(&enrollment, &seq, &command, &b.last)
		keys = append(keys, [3]int64{enrollment, seq, command})
		commands[command] = true
		return err
	})
	if err != nil || len(keys) == 0 {
		return b, err
	}
	var v turn
	for _, key := range keys {
		t.write(&v, opForget, key[0], key[1], key[2])
	}
	ids := slices.Sorted(maps.Keys(commands))
	if t.db.dialect.locks() { // nobody queues one of them meanwhile: see keepBody
		lock := "SELECT id FROM mdm_commands WHERE id IN (" + marks(len(ids)) + ") ORDER BY id {lock}"
		if err := t.query(ctx, lock, list(ids), func(func(...any) error) error { return nil }); err != nil {
			return b, err
		}
	}
	b.commands = len(keys)
	for _, call := range opOrphan.calls(t.db.dialect, ones(ids)) {
		if err := t.send(ctx, false, call); err != nil {
			return b, err
		}
		b.bodies += int(call.N)
	}
	return b, nil
}

func ones(values []int64) [][]any {
	rows := make([][]any, len(values))
	for i, v := range values {
		rows[i] = []any{v}
	}
	return rows
}

// sweepEvents deletes from the oldest event on, up to the first that is young enough or that a consumer still needs.
func (db *DB) sweepEvents(ctx context.Context, now time.Time, r storage.Retention, count *int) error {
	before := storage.Before(now, r.Events, storage.DefaultEvents)
	if before.IsZero() {
		return nil
	}
	keep := r.Events
	if keep == 0 {
		keep = storage.DefaultEvents
	}
	for _, limit := range []struct {
		before    time.Time
		delivered bool
	}{{now.Add(-4 * keep), false}, {before, true}} {
		err := db.batches(ctx, func(t *tx) (int, error) { return t.forgetEvents(ctx, limit.before, limit.delivered) },
			func(n int) { *count += n })
		if err != nil {
			return err
		}
	}
	return nil
}

// needed is the first event that a consumer may still ask for; a big number if there is none.
const needed = `SELECT COALESCE(MIN(seq), 9223372036854775807) FROM (SELECT pos + 1 AS seq FROM mdm_consumers UNION ALL SELECT seq FROM mdm_deliveries
	UNION ALL SELECT seq FROM mdm_backlogs UNION ALL SELECT low FROM mdm_gaps) h`

func (t *tx) forgetEvents(ctx context.Context, before time.Time, delivered bool) (int, error) {
	first := int64(1<<63 - 1)
	if delivered {
		if _, err := one(ctx, t, needed, nil, &first); err != nil {
			return 0, err
		}
	}
	events, err := readEvents(ctx, t, "SELECT seq, body FROM mdm_events WHERE seq < ? ORDER BY seq LIMIT ?", first, pageSize)
	if err != nil {
		return 0, err
	}
	n, last := 0, int64(0)
	for _, e := range events {
		if !e.At.Before(before) {
			break
		}
		n, last = n+1, e.Seq
	}
	if n == 0 {
		return 0, nil
	}
	for _, query := range []string{"DELETE FROM mdm_events WHERE seq <= ?", "DELETE FROM mdm_deliveries WHERE seq <= ?"} {
		if _, err := t.change(ctx, query, last); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Acquire implements storage.Leases.
func (db *DB) Acquire(ctx context.Context, name, owner string, d time.Duration) (bool, error) {
	mine := false
	err := db.update(ctx, func(t *tx) error {
		mine = false
		var has string
		var until int64
		now := db.now()
		found, err := one(ctx, t, "SELECT owner, leased FROM mdm_leases WHERE name = ? {lock}", []any{name}, &has, &until)
		if err != nil || found && has != owner && until > micros(now) {
			return err
		}
		mine = true
		if !found { // if somebody else is quicker, this fails, and all is looked at again
			t.exec(&turn{}, "INSERT INTO mdm_leases (name, owner, leased) VALUES (?, ?, ?)", name, owner, micros(now.Add(d)))
			return nil
		}
		t.exec(&turn{}, "UPDATE mdm_leases SET owner = ?, leased = ? WHERE name = ?", owner, micros(now.Add(d)), name)
		return nil
	})
	return mine && err == nil, err
}

// Release implements storage.Leases.
func (db *DB) Release(ctx context.Context, name, owner string) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, "UPDATE mdm_leases SET leased = 0 WHERE name = ? AND owner = ?", name, owner)
		return err
	})
}
