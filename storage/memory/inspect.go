package memory

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Entries implements [command.Inspector]. It yields a snapshot.
func (db *DB) Entries(ctx context.Context, q command.Query) iter.Seq2[command.Entry, error] {
	return snapshot(ctx, db, func() []command.Entry { return db.entries(q) })
}

func (db *DB) entries(q command.Query) []command.Entry {
	var out []command.Entry
	for _, id := range db.queuesOf(q) {
		for _, e := range db.queues[id].all {
			if !selects(q, e) {
				continue
			}
			out = append(out, shown(q, e))
			if q.Limit > 0 && len(out) == q.Limit {
				return out
			}
		}
	}
	return out
}

// queuesOf returns the channels whose queues q is about, in order.
func (db *DB) queuesOf(q command.Query) []mdm.EnrollmentID {
	tenant := q.Tenant
	if !q.From.IsZero() {
		tenant = q.From.Tenant
	}
	var out []mdm.EnrollmentID
	for id := range db.queues {
		if id.Tenant == tenant && (q.From.IsZero() || q.From == id) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, compareIDs)
	return out
}

func selects(q command.Query, e *entry) bool {
	after := q.AfterEnrollment
	if after.IsZero() {
		after = q.From // pages through one queue by Seq alone
	}
	switch n := compareIDs(e.Enrollment, after); {
	case n < 0, n == 0 && e.Seq <= q.AfterSeq:
		return false
	}
	return (q.UUID == "" || q.UUID == e.UUID) && (len(q.States) == 0 || slices.Contains(q.States, e.State))
}

// shown is e as q asks for it.
func shown(q command.Query, e *entry) command.Entry {
	out := e.Entry
	out.Result = nil
	if q.Results {
		out.Result = bytes.Clone(e.Result)
	}
	if q.Bodies {
		out.Body = bytes.Clone(e.body)
	}
	return out
}

// Aside implements [command.Inspector]. It yields a snapshot.
func (db *DB) Aside(ctx context.Context, tenant string, after int64, limit int) iter.Seq2[command.Aside, error] {
	return snapshot(ctx, db, func() []command.Aside {
		var out []command.Aside
		for _, a := range db.aside[min(max(after, 0), int64(len(db.aside))):] {
			if a.Enrollment.Tenant != tenant {
				continue
			}
			a.Raw = bytes.Clone(a.Raw)
			out = append(out, a)
			if limit > 0 && len(out) == limit {
				break
			}
		}
		return out
	})
}
