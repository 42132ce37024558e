package sqlstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
)

// selectRun has what every query of runs returns.
const selectRun = "SELECT r.body FROM mdm_runs r "

// runs returns the runs that a query selects.
func runs(ctx context.Context, r reader, query string, args ...any) (out []workflow.Run, err error) {
	err = r.query(ctx, query, args, func(scan func(...any) error) error {
		var body string
		if err := scan(&body); err != nil {
			return err
		}
		var run workflow.Run
		err := json.Unmarshal([]byte(body), &run)
		out = append(out, run)
		return err
	})
	return out, err
}

// run returns a run, nil if there is none. lock is empty, or {lock} in a transaction.
func run(ctx context.Context, r reader, id, lock string) (*workflow.Run, error) {
	found, err := runs(ctx, r, selectRun+"WHERE r.id = ? "+lock, id)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func noRun(op, id string) error {
	return mdm.Errorf(mdm.NotFound, op, "there is no run %q that this could be done with", id)
}

// slot is what two runs must not have in common.
func slot(r *workflow.Run) []byte {
	parts := []string{"id", r.ID}
	if r.Key != "" && !r.Status.Over() {
		parts = []string{"key", r.Enrollment.Tenant, r.Enrollment.Device, r.Enrollment.User, r.Key}
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum[:]
}

// due is when a run is to be leased, again if somebody has it.
func due(r *workflow.Run) int64 {
	if r.Status != workflow.Open || r.Due.IsZero() {
		return math.MaxInt64
	}
	return max(micros(r.Due), micros(r.LeasedUntil))
}

// BeginRun implements workflow.Store.
func (db *DB) BeginRun(ctx context.Context, r workflow.Run) (out workflow.Run, fresh bool, err error) {
	err = db.update(ctx, func(t *tx) error {
		own, err := rowOf(ctx, t, r.Enrollment)
		if err != nil {
			return err
		}
		var e *mdm.Enrollment
		if own != nil {
			e = &own.Enrollment
		}
		begun, refused := r.Begun(e)
		found, err := runs(ctx, t, selectRun+"WHERE r.id = ? OR r.slot = ?", r.ID, slot(&r))
		switch {
		case err != nil:
			return err
		case len(found) > 0:
			out, fresh = found[0], false
			return nil
		case refused != nil:
			return refused
		}
		out, fresh = begun, true
		return t.newRun(own.id, &begun)
	})
	if err != nil {
		return workflow.Run{}, false, err
	}
	return out, fresh, nil
}

// newRun writes a run whose ID and slot are free. If another one comes first, the transaction is run again.
func (t *tx) newRun(enrollment int64, r *workflow.Run) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	t.exec(&turn{}, `INSERT INTO mdm_runs (id, enrollment, tenant, workflow, version, status, step, slot, ended, due, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)`,
		r.ID, enrollment, r.Enrollment.Tenant, r.Workflow, int64(r.Version), int64(r.Status), r.Step, slot(r), due(r), string(body))
	return t.record(&turn{}, r.Event(mdm.EventWorkflowBegun, r.BegunAt))
}

// writeRun writes a run that was changed, and tells of a change of its status.
func (t *tx) writeRun(r *workflow.Run, before workflow.Status) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	t.exec(&turn{}, "UPDATE mdm_runs SET version = ?, status = ?, step = ?, slot = ?, ended = ?, due = ?, body = ? WHERE id = ?",
		int64(r.Version), int64(r.Status), r.Step, slot(r), micros(r.EndedAt), due(r), string(body), r.ID)
	if kind := r.Turned(before); kind != "" {
		return t.record(&turn{}, r.Event(kind, r.MovedAt))
	}
	return nil
}

// The runs of an enrollment, or of a device and its users, that are not over.
const (
	runsOfAll = selectRun + "JOIN mdm_enrollments e ON e.id = r.enrollment WHERE e.tenant = ? AND e.device = ? AND r.ended = 0"
	runsOf    = runsOfAll + " AND e.usr = ?"
)

// TellRuns implements workflow.Store. Most events are about no run, which is found out without a transaction: a run that is
// begun or leased meanwhile looks at what is known itself.
func (db *DB) TellRuns(ctx context.Context, id mdm.EnrollmentID, users bool, hear func(*workflow.Run) bool) error {
	query, args := runsOf, []any{id.Tenant, id.Device, id.User}
	if users {
		query, args = runsOfAll, args[:2]
	}
	found, err := runs(ctx, snapshot{db}, query, args...)
	if err != nil {
		return err
	}
	var ids []string
	for i := range found {
		if hear(&found[i]) {
			ids = append(ids, found[i].ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return db.update(ctx, func(t *tx) error {
		found, err := runs(ctx, t, selectRun+"WHERE r.id IN ("+marks(len(ids))+") AND r.ended = 0 ORDER BY r.id {lock}", list(ids)...)
		for i := range found {
			r := &found[i]
			before := r.Status
			if err == nil && hear(r) {
				err = t.writeRun(r, before)
			}
		}
		return err
	})
}

// dueRuns selects runs of a workflow to be leased; %d numbers the workflows.
const dueRuns = `SELECT * FROM (SELECT r.id, r.workflow, r.due FROM mdm_runs r WHERE r.workflow = ? AND r.due <= ? AND r.version <= ? ORDER BY r.due LIMIT ?) q%d`

// due returns what may be leased now, without a transaction.
func (db *DB) due(ctx context.Context, known []workflow.Known, now time.Time, most int) (out []workflow.Due, err error) {
	parts := make([]string, len(known))
	var args []any
	for i, k := range known {
		parts[i] = fmt.Sprintf(dueRuns, i)
		args = append(args, k.Workflow, micros(now), k.Version, most)
	}
	err = snapshot{db}.query(ctx, strings.Join(parts, " UNION ALL "), args, func(scan func(...any) error) error {
		var d workflow.Due
		var at int64
		err := scan(&d.ID, &d.Workflow, &at)
		d.At = fromMicros(at)
		out = append(out, d)
		return err
	})
	return workflow.Fair(out, most), err
}

// leaseTries is how often LeaseRuns looks anew if others have taken all that it found.
const leaseTries = 3

// LeaseRuns implements workflow.Store. Looking costs no transaction.
func (db *DB) LeaseRuns(ctx context.Context, known []workflow.Known, holder string, now time.Time, d time.Duration, max int) (out []workflow.Run, err error) {
	for n := 0; len(known) > 0 && max > 0 && len(out) == 0 && n < leaseTries; n++ {
		due, err := db.due(ctx, known, now, max)
		if err != nil || len(due) == 0 {
			return nil, err
		}
		if out, err = db.lease(ctx, due, holder, now, d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lease leases what of due nobody else has.
func (db *DB) lease(ctx context.Context, due []workflow.Due, holder string, now time.Time, d time.Duration) (out []workflow.Run, err error) {
	ids, place := make([]string, len(due)), map[string]int{}
	for i := range due {
		ids[i], place[due[i].ID] = due[i].ID, i
	}
	err = db.update(ctx, func(t *tx) error {
		out = nil
		found, err := runs(ctx, t, selectRun+"WHERE r.id IN ("+marks(len(ids))+") ORDER BY r.id {skip r}", list(ids)...)
		for i := range found {
			r := &found[i]
			if err == nil && r.Lease(holder, now, d) {
				err = t.writeRun(r, r.Status)
				out = append(out, *r)
			}
		}
		return err
	})
	slices.SortFunc(out, func(a, b workflow.Run) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	return out, err
}

// SettleRun implements workflow.Store.
func (db *DB) SettleRun(ctx context.Context, id, holder string, settle func(*workflow.Run, *mdm.Enrollment) workflow.Settlement) (out workflow.Run, err error) {
	err = db.update(ctx, func(t *tx) error {
		r, err := run(ctx, t, id, "{lock}")
		if err != nil {
			return err
		}
		if r == nil || r.Status != workflow.Open || r.Holder != holder {
			return workflow.ErrLost
		}
		own, err := rowOf(ctx, t, r.Enrollment)
		if err != nil {
			return err
		}
		var e *mdm.Enrollment
		if own != nil {
			e = &own.Enrollment
		}
		before := r.Status
		s := settle(r, e)
		for _, o := range s.Orders {
			if err := t.settleOrder(ctx, o, s.Refused); err != nil {
				return err
			}
		}
		if err := t.dropRun(ctx, own, s.Drops); err != nil {
			return err
		}
		out = *r
		return t.writeRun(r, before)
	})
	return out, err
}

// settleOrder queues an order of a step, or says why not.
func (t *tx) settleOrder(ctx context.Context, o command.Order, refused func(string, error)) error {
	item, err := command.Prepare(o)
	if err != nil {
		refused(o.UUID, err)
		return nil
	}
	p, err := t.enqueueAll(ctx, o, item)
	if err != nil {
		return err
	}
	for _, r := range p.receipt.Refused {
		refused(o.UUID, r.Err)
	}
	if p.receipt.Collapsed > 0 {
		refused(o.UUID, workflow.ErrCollapsed)
	}
	return nil
}

// dropRun withdraws commands of a run that are open. own is nil if the enrollment is gone, and its queue with it.
func (t *tx) dropRun(ctx context.Context, own *row, uuids []string) error {
	if own == nil {
		return nil
	}
	for _, uuid := range uuids {
		found, err := t.selectOpen(ctx, own.id, "AND q.command = ?", commandID(own.ID.Tenant, uuid))
		if err != nil {
			return err
		}
		for _, o := range found {
			if err := t.cancel(&turn{}, own.ID, o, command.Canceled, workflow.Dropped); err != nil {
				return err
			}
		}
	}
	return nil
}

// ChangeRun implements workflow.Store.
func (db *DB) ChangeRun(ctx context.Context, tenant, id string, change func(*workflow.Run) (drops []string, err error)) (out workflow.Run, err error) {
	err = db.update(ctx, func(t *tx) error {
		r, err := run(ctx, t, id, "{lock}")
		if err != nil {
			return err
		}
		if r == nil || r.Enrollment.Tenant != tenant || r.Status.Over() {
			return noRun(db.op("ChangeRun"), id)
		}
		before := r.Status
		drops, err := change(r)
		if err != nil {
			return err
		}
		if len(drops) > 0 {
			own, err := rowOf(ctx, t, r.Enrollment)
			if err != nil {
				return err
			}
			if err := t.dropRun(ctx, own, drops); err != nil {
				return err
			}
		}
		out = *r
		return t.writeRun(r, before)
	})
	return out, err
}

var opForgetRun = newOp("id$", "DELETE FROM mdm_runs {using} WHERE mdm_runs.id = :id")

// sweepRuns deletes runs that were over before the events that are kept.
func (db *DB) sweepRuns(ctx context.Context, now time.Time, r storage.Retention, count *int) error {
	before := storage.Before(now, r.Events, storage.DefaultEvents)
	if before.IsZero() {
		return nil
	}
	return db.batches(ctx, func(t *tx) (int, error) {
		var ids []string
		err := t.query(ctx, "SELECT id FROM mdm_runs WHERE ended > 0 AND ended < ? ORDER BY ended LIMIT ?", []any{micros(before), pageSize}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
		for _, id := range ids {
			t.write(&turn{}, opForgetRun, id)
		}
		return len(ids), err
	}, func(n int) { *count += n })
}
