package sqlstore

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// wave is a wave and the row of the last enrollment that is done.
type wave struct {
	push.Wave
	row int64
}

const selectWave = "SELECT id, filter, rate, begun_at, moved_at, ended_at, canceled, total, woken, done_row FROM mdm_waves"

func (w *wave) scan(scan func(...any) error) error {
	var filter string
	var rate, begun, moved, ended, canceled, total, woken int64
	if err := scan(&w.ID, &filter, &rate, &begun, &moved, &ended, &canceled, &total, &woken, &w.row); err != nil {
		return err
	}
	w.Rate, w.Total, w.Woken, w.Canceled = int(rate), int(total), int(woken), canceled != 0
	w.Begun, w.Moved, w.Ended = fromMicros(begun), fromMicros(moved), fromMicros(ended)
	return json.Unmarshal([]byte(filter), &w.To)
}

// wave returns a wave, nil if there is none. lock is empty, or {lock} in a transaction.
func (db *DB) wave(ctx context.Context, r reader, tenant, id, lock string) (found *wave, err error) {
	err = r.query(ctx, selectWave+" WHERE id = ? AND tenant = ? "+lock, []any{id, tenant}, func(scan func(...any) error) error {
		found = &wave{}
		return found.scan(scan)
	})
	return found, err
}

func (db *DB) noWave(op, id string) error {
	return mdm.Errorf(mdm.NotFound, db.op(op), "there is no wave %q", id)
}

// BeginWave implements push.Waves. Its targets are counted before, so that nobody waits for that.
func (db *DB) BeginWave(ctx context.Context, w push.Wave) (push.Wave, error) {
	w, err := w.Prepared(db.now())
	if err != nil {
		return push.Wave{}, err
	}
	known, err := db.wave(ctx, snapshot{db}, w.To.Tenant, w.ID, "")
	if err != nil {
		return push.Wave{}, err
	}
	if known != nil {
		return known.Wave, nil
	}
	if w.Total, err = db.countTargets(ctx, w); err != nil {
		return push.Wave{}, err
	}
	filter, err := json.Marshal(w.To)
	if err != nil {
		return push.Wave{}, err
	}
	err = db.update(ctx, func(t *tx) (err error) {
		if known, err = db.wave(ctx, t, w.To.Tenant, w.ID, "{lock}"); err != nil || known != nil {
			return err
		}
		t.exec(&turn{}, `INSERT INTO mdm_waves (id, tenant, filter, rate, begun_at, moved_at, ended_at, canceled, total, woken, done_row)
			VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, 0, 0)`, w.ID, w.To.Tenant, string(filter), w.Rate, micros(w.Begun), micros(w.Moved), w.Total)
		return nil
	})
	if err == nil && known != nil {
		w = known.Wave
	}
	return w, err
}

func (db *DB) countTargets(ctx context.Context, w push.Wave) (int, error) {
	f, some := w.Targets()
	if !some {
		return 0, nil
	}
	var n int64
	query, args := inRows("SELECT id FROM mdm_enrollments", f, 0, math.MaxInt)
	_, err := one(ctx, snapshot{db}, "SELECT COUNT(*) FROM ("+query+") n", args, &n)
	return int(n), err
}

// AdvanceWave implements push.Waves. Who is next is read before the transaction, which writes only if the wave is still where
// it was then.
func (db *DB) AdvanceWave(ctx context.Context, known push.Wave, s push.Step) (push.Wave, error) {
	w, err := db.wave(ctx, snapshot{db}, known.To.Tenant, known.ID, "")
	if err != nil {
		return push.Wave{}, err
	}
	if w == nil {
		return push.Wave{}, db.noWave("AdvanceWave", known.ID)
	}
	if !w.Open() || !w.Same(known) {
		return w.Wave, nil
	}
	n, err := db.room(ctx, s)
	if err != nil || n <= 0 {
		return w.Wave, err
	}
	rows, err := db.nextRows(ctx, w, n)
	if err != nil {
		return push.Wave{}, err
	}
	var now *wave
	err = db.update(ctx, func(t *tx) (err error) {
		now, err = db.wave(ctx, t, known.To.Tenant, known.ID, "{lock}")
		if err != nil || now == nil || !now.Open() || !now.Same(known) || now.row != w.row {
			return err
		}
		t.moveWave(now, rows, n, s.At)
		return nil
	})
	switch {
	case err != nil:
		return push.Wave{}, err
	case now == nil:
		return push.Wave{}, db.noWave("AdvanceWave", known.ID)
	}
	return now.Wave, nil
}

// room is how many a step may wake.
func (db *DB) room(ctx context.Context, s push.Step) (int, error) {
	n := min(s.Max, push.WaveStep)
	if s.Backlog <= 0 || n <= 0 {
		return n, nil
	}
	var waiting int64 // no more than Backlog are counted
	_, err := one(ctx, snapshot{db}, "SELECT COUNT(*) FROM (SELECT 1 AS n FROM mdm_pushes WHERE due <= ? AND leased <= ? LIMIT ?) n",
		[]any{micros(s.At), micros(s.At), s.Backlog}, &waiting)
	return min(n, s.Backlog-int(waiting)), err
}

// nextRows returns the rows of the next channels of a wave.
func (db *DB) nextRows(ctx context.Context, w *wave, n int) ([]int64, error) {
	f, some := w.Targets()
	if !some {
		return nil, nil
	}
	return db.rowsAfter(ctx, f, w.row, n)
}

// moveWave wakes a chunk of a wave that is locked. One of fewer than n is the last.
func (t *tx) moveWave(w *wave, rows []int64, n int, at time.Time) {
	for _, id := range rows {
		t.wake(&turn{}, id, at)
		w.row = id
	}
	w.Woken, w.Moved = w.Woken+len(rows), fromMicros(micros(at))
	if len(rows) < n {
		w.Ended = fromMicros(micros(t.db.now()))
	}
	t.exec(&turn{}, "UPDATE mdm_waves SET woken = ?, moved_at = ?, ended_at = ?, done_row = ? WHERE id = ? AND tenant = ?",
		w.Woken, micros(w.Moved), micros(w.Ended), w.row, w.ID, w.To.Tenant)
}

// CancelWave implements push.Waves.
func (db *DB) CancelWave(ctx context.Context, tenant, id string) (push.Wave, error) {
	var w *wave
	err := db.update(ctx, func(t *tx) (err error) {
		w, err = db.wave(ctx, t, tenant, id, "{lock}")
		if err != nil || w == nil || !w.Open() {
			return err
		}
		w.Ended, w.Canceled = fromMicros(micros(db.now())), true
		t.exec(&turn{}, "UPDATE mdm_waves SET ended_at = ?, canceled = 1 WHERE id = ? AND tenant = ?", micros(w.Ended), id, tenant)
		return nil
	})
	if err == nil && w == nil {
		err = db.noWave("CancelWave", id)
	}
	if err != nil {
		return push.Wave{}, err
	}
	return w.Wave, nil
}

// Wave implements push.Waves.
func (db *DB) Wave(ctx context.Context, tenant, id string) (push.Wave, error) {
	w, err := db.wave(ctx, snapshot{db}, tenant, id, "")
	if err == nil && w == nil {
		err = db.noWave("Wave", id)
	}
	if err != nil {
		return push.Wave{}, err
	}
	return w.Wave, nil
}

// ListWaves implements push.Waves.
func (db *DB) ListWaves(ctx context.Context, q push.WaveQuery) (out []push.Wave, err error) {
	query, args := selectWave+" WHERE 1 = 1", []any{}
	and := func(condition string, values ...any) {
		query, args = query+" AND "+condition, append(args, values...)
	}
	if q.Open {
		and("ended_at = 0")
	}
	if !q.AllTenants {
		and("tenant = ?", q.Tenant)
	}
	if q.After != "" {
		w, err := db.wave(ctx, snapshot{db}, q.Tenant, q.After, "")
		if err != nil || w == nil {
			return nil, err
		}
		and("(begun_at < ? OR begun_at = ? AND id > ?)", micros(w.Begun), micros(w.Begun), q.After)
	}
	query += " ORDER BY begun_at DESC, id, tenant"
	if q.Limit > 0 {
		query, args = query+" LIMIT ?", append(args, q.Limit)
	}
	err = snapshot{db}.query(ctx, query, args, func(scan func(...any) error) error {
		var w wave
		err := w.scan(scan)
		out = append(out, w.Wave)
		return err
	})
	return out, err
}

// sweepWaves deletes waves that ended before the events that are kept.
func (db *DB) sweepWaves(ctx context.Context, now time.Time, r storage.Retention, count *int) error {
	before := storage.Before(now, r.Events, storage.DefaultEvents)
	if before.IsZero() {
		return nil
	}
	return db.update(ctx, func(t *tx) error {
		n, err := t.change(ctx, "DELETE FROM mdm_waves WHERE ended_at > 0 AND ended_at < ?", micros(before))
		*count = int(n)
		return err
	})
}
