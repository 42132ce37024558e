package memory

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// BeginRun implements [workflow.Store].
func (db *DB) BeginRun(ctx context.Context, r workflow.Run) (out workflow.Run, fresh bool, err error) {
	err = db.tx(ctx, func() error {
		if known := db.runs[r.ID]; known != nil {
			out = known.Clone()
			return nil
		}
		for _, known := range db.runsOf(r.Enrollment) {
			if r.Key != "" && known.Key == r.Key {
				out = known.Clone()
				return nil
			}
		}
		if out, err = r.Begun(db.row(r.Enrollment)); err != nil {
			return err
		}
		fresh = true
		db.writeRun(out)
		db.record(out.Event(mdm.EventWorkflowBegun, out.BegunAt))
		return nil
	})
	return out, fresh, err
}

// runsOf returns the runs of an enrollment that are not over, in the order of their IDs.
func (db *DB) runsOf(id mdm.EnrollmentID) []*workflow.Run {
	var out []*workflow.Run
	for run := range db.living[id] {
		out = append(out, db.runs[run])
	}
	slices.SortFunc(out, func(a, b *workflow.Run) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// writeRun stores r, which may be new.
func (db *DB) writeRun(r workflow.Run) {
	r = r.Clone()
	db.runs[r.ID] = &r
	living := db.living[r.Enrollment]
	switch {
	case !r.Status.Over() && living == nil:
		db.living[r.Enrollment] = map[string]bool{r.ID: true}
	case !r.Status.Over():
		living[r.ID] = true
	default:
		delete(living, r.ID)
		if len(living) == 0 {
			delete(db.living, r.Enrollment)
		}
	}
}

// changeRun stores a run that was changed, and tells of it.
func (db *DB) changeRun(before, r *workflow.Run) {
	db.writeRun(*r)
	if kind := r.Turned(before.Status); kind != "" {
		db.record(r.Event(kind, r.MovedAt))
	}
}

// TellRuns implements [workflow.Store].
func (db *DB) TellRuns(ctx context.Context, id mdm.EnrollmentID, users bool, hear func(*workflow.Run) bool) error {
	return db.tx(ctx, func() error {
		told := db.runsOf(id)
		if users {
			for _, user := range db.users[id] {
				told = append(told, db.runsOf(user)...)
			}
		}
		for _, known := range told {
			if r := known.Clone(); hear(&r) {
				db.changeRun(known, &r)
			}
		}
		return nil
	})
}

// LeaseRuns implements [workflow.Store].
func (db *DB) LeaseRuns(ctx context.Context, known []workflow.Known, holder string, now time.Time, d time.Duration, max int) (out []workflow.Run, err error) {
	err = db.tx(ctx, func() error {
		var due []workflow.Due
		for _, ids := range db.living {
			for id := range ids {
				r := *db.runs[id]
				knows := func(k workflow.Known) bool { return k.Workflow == r.Workflow && k.Version >= r.Version }
				if slices.ContainsFunc(known, knows) && r.Lease(holder, now, d) {
					due = append(due, workflow.Due{ID: id, Workflow: r.Workflow, At: r.Due})
				}
			}
		}
		for _, selected := range workflow.Fair(due, max) {
			r := db.runs[selected.ID].Clone()
			r.Lease(holder, now, d)
			db.writeRun(r)
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

// SettleRun implements [workflow.Store].
func (db *DB) SettleRun(ctx context.Context, id, holder string, settle func(*workflow.Run, *mdm.Enrollment) workflow.Settlement) (out workflow.Run, err error) {
	err = db.tx(ctx, func() error {
		known := db.runs[id]
		if known == nil || known.Status != workflow.Open || known.Holder != holder {
			return workflow.ErrLost
		}
		r := known.Clone()
		s := settle(&r, db.row(r.Enrollment))
		items := make([]command.Item, len(s.Orders))
		for i, o := range s.Orders {
			item, err := command.Prepare(o)
			if err != nil {
				s.Refused(o.UUID, err)
				continue
			}
			if known := db.orders[orderKey{r.Enrollment.Tenant, item.UUID}]; known != nil && known.digest != item.Digest {
				return mdm.Errorf(mdm.Internal, "memory.SettleRun", "the UUID is that of another command")
			}
			items[i] = item
		}
		at := db.now()
		for i, o := range s.Orders {
			if items[i].UUID == "" {
				continue
			}
			switch state, err := db.enqueue(&command.Receipt{}, o, items[i], r.Enrollment, at, false); state {
			case command.OutcomeRefused:
				s.Refused(o.UUID, err)
			case command.OutcomeCollapsed:
				s.Refused(o.UUID, workflow.ErrCollapsed)
			}
		}
		db.dropRun(r.Enrollment, s.Drops)
		db.changeRun(known, &r)
		out = r
		return nil
	})
	return out, err
}

// dropRun withdraws commands of a run that are open.
func (db *DB) dropRun(id mdm.EnrollmentID, uuids []string) {
	q := db.queues[id]
	for _, uuid := range uuids {
		if q != nil && q.byUUID[uuid] != nil && q.byUUID[uuid].State.Open() {
			db.cancel(q, q.byUUID[uuid], db.now(), workflow.Dropped)
		}
	}
}

// ChangeRun implements [workflow.Store].
func (db *DB) ChangeRun(ctx context.Context, tenant, id string, change func(*workflow.Run) (drops []string, err error)) (out workflow.Run, err error) {
	err = db.tx(ctx, func() error {
		known := db.runs[id]
		if known == nil || known.Enrollment.Tenant != tenant || known.Status.Over() {
			return noRun(id)
		}
		out = known.Clone()
		drops, err := change(&out)
		if err != nil {
			return err
		}
		db.dropRun(out.Enrollment, drops)
		db.changeRun(known, &out)
		return nil
	})
	return out, err
}

func noRun(id string) error {
	return mdm.Errorf(mdm.NotFound, "memory", "there is no run %q that this could be done with", id)
}

// Run implements [workflow.Store].
func (db *DB) Run(ctx context.Context, tenant, id string) (out workflow.Run, err error) {
	err = db.tx(ctx, func() error {
		known := db.runs[id]
		if known == nil || known.Enrollment.Tenant != tenant {
			return noRun(id)
		}
		out = known.Clone()
		return nil
	})
	return out, err
}

// Runs implements [workflow.Store].
func (db *DB) Runs(ctx context.Context, q workflow.Query) iter.Seq2[workflow.Run, error] {
	return func(yield func(workflow.Run, error) bool) {
		var found []workflow.Run
		err := db.tx(ctx, func() error {
			for _, r := range db.runs {
				if q.Selects(r) {
					found = append(found, r.Clone())
				}
			}
			return nil
		})
		if err != nil {
			yield(workflow.Run{}, err)
			return
		}
		slices.SortFunc(found, func(a, b workflow.Run) int { return cmp.Compare(a.ID, b.ID) })
		for i, r := range found {
			if q.Limit > 0 && i == q.Limit || !yield(r, nil) {
				return
			}
		}
	}
}

// CountRuns implements [workflow.Store].
func (db *DB) CountRuns(ctx context.Context, tenant, name string) (out []workflow.Count, err error) {
	err = db.tx(ctx, func() error {
		counts := map[workflow.Count]int{}
		for _, r := range db.runs {
			if r.Enrollment.Tenant == tenant && (name == "" || name == r.Workflow) {
				counts[workflow.Count{Workflow: r.Workflow, Status: r.Status, Step: r.Step}]++
			}
		}
		for c, n := range counts {
			c.Runs = n
			out = append(out, c)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b workflow.Count) int {
		return cmp.Or(cmp.Compare(a.Workflow, b.Workflow), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Step, b.Step))
	})
	return out, err
}

// sweepRuns deletes runs that were over before a time, and returns how many.
func (db *DB) sweepRuns(before time.Time) (n int) {
	for id, r := range db.runs {
		if r.Status.Over() && r.EndedAt.Before(before) {
			delete(db.runs, id)
			n++
		}
	}
	return n
}
