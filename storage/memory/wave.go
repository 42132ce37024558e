package memory

import (
	"context"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

type waveKey struct{ tenant, id string }

// wave is a wave and the last channel that is done.
type wave struct {
	push.Wave
	after mdm.EnrollmentID
}

// BeginWave implements [push.Waves].
func (db *DB) BeginWave(ctx context.Context, w push.Wave) (out push.Wave, err error) {
	err = db.tx(ctx, func() error {
		if out, err = w.Prepared(db.now()); err != nil {
			return err
		}
		key := waveKey{out.To.Tenant, out.ID}
		if known := db.waves[key]; known != nil {
			out = known.Wave
			return nil
		}
		if f, some := out.Targets(); some {
			out.Total = len(db.matching(f))
		}
		db.waves[key] = &wave{Wave: out}
		return nil
	})
	return out, err
}

// AdvanceWave implements [push.Waves]. Channels are in the order of their ids.
func (db *DB) AdvanceWave(ctx context.Context, known push.Wave, s push.Step) (out push.Wave, err error) {
	err = db.withWave(ctx, known.To.Tenant, known.ID, func(w *wave) {
		if n := db.room(s); w.Open() && w.Same(known) && n > 0 {
			db.advance(w, n, s)
		}
		out = w.Wave
	})
	return out, err
}

// room is how many a step may wake.
func (db *DB) room(s push.Step) int {
	n := min(s.Max, push.WaveStep)
	if s.Backlog <= 0 {
		return n
	}
	waiting := 0
	for id, i := range db.intents {
		if !i.due.IsZero() && !i.due.After(s.At) && db.pushable(id) {
			waiting++
		}
	}
	return min(n, s.Backlog-waiting)
}

func (db *DB) advance(w *wave, n int, s push.Step) {
	f, some := w.Targets()
	var ids []mdm.EnrollmentID
	if some {
		f.After, f.Limit = w.after, n
		ids = db.matching(f)
	}
	for _, id := range ids {
		db.wake(id, s.At)
		w.after = id
	}
	w.Woken, w.Moved = w.Woken+len(ids), s.At
	if len(ids) < n {
		w.Ended = db.now().UTC()
	}
}

// CancelWave implements [push.Waves].
func (db *DB) CancelWave(ctx context.Context, tenant, id string) (out push.Wave, err error) {
	err = db.withWave(ctx, tenant, id, func(w *wave) {
		if w.Open() {
			w.Ended, w.Canceled = db.now().UTC(), true
		}
		out = w.Wave
	})
	return out, err
}

// Wave implements [push.Waves].
func (db *DB) Wave(ctx context.Context, tenant, id string) (out push.Wave, err error) {
	err = db.withWave(ctx, tenant, id, func(w *wave) { out = w.Wave })
	return out, err
}

func (db *DB) withWave(ctx context.Context, tenant, id string, f func(*wave)) error {
	return db.tx(ctx, func() error {
		w := db.waves[waveKey{tenant, id}]
		if w == nil {
			return mdm.Errorf(mdm.NotFound, "memory.Wave", "there is no wave %q", id)
		}
		f(w)
		return nil
	})
}

// ListWaves implements [push.Waves].
func (db *DB) ListWaves(ctx context.Context, q push.WaveQuery) (out []push.Wave, err error) {
	err = db.tx(ctx, func() error {
		after := db.waves[waveKey{q.Tenant, q.After}]
		if q.After != "" && after == nil {
			return nil
		}
		for _, w := range db.waves {
			if (q.AllTenants || w.To.Tenant == q.Tenant) && (!q.Open || w.Open()) && (after == nil || compareWaves(after.Wave, w.Wave) < 0) {
				out = append(out, w.Wave)
			}
		}
		slices.SortFunc(out, compareWaves)
		if q.Limit > 0 && len(out) > q.Limit {
			out = out[:q.Limit]
		}
		return nil
	})
	return out, err
}

// compareWaves puts the latest first.
func compareWaves(a, b push.Wave) int {
	if c := b.Begun.Compare(a.Begun); c != 0 {
		return c
	}
	return compareIDs(mdm.EnrollmentID{Device: a.ID, User: a.To.Tenant}, mdm.EnrollmentID{Device: b.ID, User: b.To.Tenant})
}
