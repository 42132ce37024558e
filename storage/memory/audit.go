package memory

import (
	"context"
	"iter"
	"maps"

	"github.com/gomdm/applemdm/mdm/audit"
)

// auditLog implements [audit.Log].
type auditLog struct{ db *DB }

// Append implements [audit.Log].
func (l auditLog) Append(ctx context.Context, e audit.Entry) (out audit.Entry, err error) {
	err = l.db.tx(ctx, func() error {
		made, err := e.Chained(l.head(e.Owner()), l.db.now())
		if err != nil {
			return err
		}
		l.db.audit[made.Tenant] = append(l.db.audit[made.Tenant], made)
		out = given(made)
		return nil
	})
	return out, err
}

func (l auditLog) head(tenant string) audit.Head {
	log := l.db.audit[tenant]
	if len(log) == 0 {
		return audit.Head{}
	}
	return log[len(log)-1].Head()
}

// given returns an entry whose details the caller may change.
func given(e audit.Entry) audit.Entry {
	e.Details = maps.Clone(e.Details)
	return e
}

// Entries implements [audit.Log].
func (l auditLog) Entries(ctx context.Context, tenant string, after int64, limit int) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		var found []audit.Entry
		err := l.db.tx(ctx, func() error {
			log := l.db.audit[tenant] // entry n is at n-1, and is never changed
			found = log[min(max(after, 0), int64(len(log))):]
			return nil
		})
		if err != nil {
			yield(audit.Entry{}, err)
			return
		}
		for i, e := range found {
			if limit > 0 && i == limit || !yield(given(e), nil) {
				return
			}
		}
	}
}

// Head implements [audit.Log].
func (l auditLog) Head(ctx context.Context, tenant string) (head audit.Head, err error) {
	err = l.db.tx(ctx, func() error {
		head = l.head(tenant)
		return nil
	})
	return head, err
}
