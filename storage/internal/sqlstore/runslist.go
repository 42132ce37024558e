package sqlstore

import (
	"context"
	"iter"

	"github.com/gomdm/applemdm/mdm/workflow"
)

// Run implements workflow.Store.
func (db *DB) Run(ctx context.Context, tenant, id string) (workflow.Run, error) {
	r, err := run(ctx, snapshot{db}, id, "")
	if err == nil && (r == nil || r.Enrollment.Tenant != tenant) {
		err = noRun(db.op("Run"), id)
	}
	if err != nil {
		return workflow.Run{}, err
	}
	return *r, nil
}

// Runs implements workflow.Store. It reads in pages, between which no connection is held.
func (db *DB) Runs(ctx context.Context, q workflow.Query) iter.Seq2[workflow.Run, error] {
	return func(yield func(workflow.Run, error) bool) {
		for left := q.Limit; ; {
			page := pageSize
			if q.Limit > 0 {
				page = min(left, pageSize)
			}
			found, err := db.runPage(ctx, q, page)
			if err != nil {
				yield(workflow.Run{}, err)
				return
			}
			for _, r := range found {
				if !yield(r, nil) {
					return
				}
				q.After = r.ID
			}
			left -= len(found)
			if len(found) < page || q.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

func (db *DB) runPage(ctx context.Context, q workflow.Query, limit int) ([]workflow.Run, error) {
	from, where, args := "", "WHERE r.tenant = ? AND r.id > ?", []any{q.Tenant, q.After}
	and := func(condition string, values ...any) {
		where, args = where+" AND "+condition, append(args, values...)
	}
	if !q.Enrollment.IsZero() {
		from = "JOIN mdm_enrollments e ON e.id = r.enrollment "
		and("e.tenant = ? AND e.device = ? AND e.usr = ?", q.Enrollment.Tenant, q.Enrollment.Device, q.Enrollment.User)
	}
	if q.Workflow != "" {
		and("r.workflow = ?", q.Workflow)
	}
	if len(q.Status) > 0 {
		and("r.status IN ("+marks(len(q.Status))+")", list(q.Status)...)
	}
	if q.Step != "" {
		and("r.step = ?", q.Step)
	}
	return runs(ctx, snapshot{db}, selectRun+from+where+" ORDER BY r.id LIMIT ?", append(args, limit)...)
}

// CountRuns implements workflow.Store.
func (db *DB) CountRuns(ctx context.Context, tenant, name string) (out []workflow.Count, err error) {
	where, args := "WHERE tenant = ?", []any{tenant}
	if name != "" {
		where, args = where+" AND workflow = ?", append(args, name)
	}
	err = snapshot{db}.query(ctx, "SELECT workflow, status, step, COUNT(*) FROM mdm_runs "+where+" GROUP BY workflow, status, step ORDER BY workflow, status, step", args,
		func(scan func(...any) error) error {
			var c workflow.Count
			var status, n int64
			err := scan(&c.Workflow, &status, &c.Step, &n)
			c.Status, c.Runs = workflow.Status(status), int(n)
			out = append(out, c)
			return err
		})
	return out, err
}
