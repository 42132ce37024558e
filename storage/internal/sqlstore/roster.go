package sqlstore

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Enrollment implements checkin.Roster.
func (db *DB) Enrollment(ctx context.Context, id mdm.EnrollmentID) (*mdm.Enrollment, error) {
	found, err := rowOf(ctx, snapshot{db}, id)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, notFound(db.op("Enrollment"), id)
	}
	db.seen.apply(&found.Enrollment)
	return &found.Enrollment, nil
}

// Enrollments implements checkin.Roster.
func (db *DB) Enrollments(ctx context.Context, f mdm.Filter) iter.Seq2[*mdm.Enrollment, error] {
	return func(yield func(*mdm.Enrollment, error) bool) {
		left := f.Limit
		for {
			page := f
			page.Limit = pageSize
			if f.Limit > 0 {
				page.Limit = min(left, pageSize)
			}
			rows, err := selectRows(ctx, snapshot{db}, page)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range rows {
				db.seen.apply(&r.Enrollment)
				if !yield(&r.Enrollment, nil) {
					return
				}
				f.After = r.ID
			}
			left -= len(rows)
			if len(rows) < page.Limit || f.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

// selectRows returns what f selects, in order. A Limit of 0 is no limit. The index has each presence in order, so several are
// asked for one by one.
func selectRows(ctx context.Context, r reader, f mdm.Filter) ([]*row, error) {
	if len(f.Presence) > 1 {
		var all []*row
		for _, p := range slices.Compact(slices.Sorted(slices.Values(f.Presence))) {
			one := f
			one.Presence = []mdm.Presence{p}
			rows, err := selectRows(ctx, r, one)
			if err != nil {
				return nil, err
			}
			all = append(all, rows...)
		}
		slices.SortFunc(all, func(a, b *row) int { return compareIDs(a.ID, b.ID) })
		if f.Limit > 0 && len(all) > f.Limit {
			all = all[:f.Limit]
		}
		return all, nil
	}
	query, args := filtered(selectRow, f)
	var rows []*row
	err := r.query(ctx, query, args, func(scan func(...any) error) error {
		var fact fact
		if err := fact.scan(scan); err != nil {
			return err
		}
		found, err := fact.row()
		rows = append(rows, found)
		return err
	})
	return rows, err
}

// filtered returns a query on the enrollments with what f asks for, in the order of their ids.
func filtered(query string, f mdm.Filter) (string, []any) {
	where, args := conditions(f)
	if !f.After.IsZero() {
		where = append(where, "(device > ? OR device = ? AND usr > ?)", "device >= ?")
		args = append(args, f.After.Device, f.After.Device, f.After.User, f.After.Device)
	}
	if f.SerialNumber == "" && len(f.Presence) == 0 {
		query += "{roster}" // the order of which is wanted
	}
	query += " WHERE " + strings.Join(where, " AND ") + " ORDER BY device, usr"
	if f.Limit > 0 {
		query, args = query+" LIMIT ?", append(args, f.Limit)
	}
	return query, args
}

// inRows is filtered in the order of rows, after one of them, whatever f says of pages. It goes through the table once for
// all its pages; no index may find the tenant's rows for each page, only to sort them.
func inRows(query string, f mdm.Filter, after int64, limit int) (string, []any) {
	where, args := conditions(f)
	where[0] = "COALESCE(tenant, '') = ?"
	for i := range where {
		where[i] = strings.Replace(where[i], "presence IN", "presence + 0 IN", 1)
	}
	return query + " WHERE " + strings.Join(append(where, "id > ?"), " AND ") + " ORDER BY id LIMIT ?", append(args, after, limit)
}

// conditions returns what f asks for, without regard to pages.
func conditions(f mdm.Filter) (where []string, args []any) {
	and := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	and("tenant = ?", f.Tenant) // the first: see inRows
	if f.Device != "" {
		and("device = ?", f.Device)
	}
	if f.Topic != "" {
		and("topic = ?", f.Topic)
	}
	if f.SerialNumber != "" {
		and("serial = ?", f.SerialNumber)
	}
	if len(f.States) > 0 {
		and("state IN ("+marks(len(f.States))+")", list(f.States)...)
	}
	if len(f.Presence) > 0 {
		and("presence IN ("+marks(len(f.Presence))+")", list(f.Presence)...)
	}
	if len(f.Channels) > 0 {
		and("channel IN ("+marks(len(f.Channels))+")", list(f.Channels)...)
	}
	return where, args
}

// marks returns n placeholders.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func list[T any](values []T) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}
