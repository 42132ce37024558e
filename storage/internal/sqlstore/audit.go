package sqlstore

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
)

// auditLog implements [audit.Log].
type auditLog struct{ db *DB }

const (
	selectAudit = `SELECT number, at, actor, action, reason, device, usr, details, previous, hash FROM mdm_audit
		WHERE tenant = ? AND number > ? ORDER BY number LIMIT ?`
	insertAudit = `INSERT INTO mdm_audit (tenant, number, at, actor, action, reason, device, usr, details, previous, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	auditHead = "SELECT number, hash FROM mdm_audit_heads WHERE tenant = ?"
)

// Append implements [audit.Log]. Whoever appends to a tenant's log waits until the one before has committed.
func (l auditLog) Append(ctx context.Context, e audit.Entry) (out audit.Entry, err error) {
	if e.At.IsZero() {
		e.At = l.db.now()
	}
	if _, err := e.Chained(audit.Head{}, e.At); err != nil { // before the database has to make sense of it
		return audit.Entry{}, err
	}
	tenant := e.Owner()
	var tried audit.Entry // the answer to its commit was lost, perhaps
	err = l.db.update(ctx, func(t *tx) error {
		// The row is there before it is looked at, so that of several who append at once one has it and the others wait.
		t.exec(&turn{}, "INSERT INTO mdm_audit_heads (tenant, number, hash) VALUES (?, 0, ?) {keep tenant}", tenant, make([]byte, len(audit.Hash{})))
		head, err := readHead(ctx, t, auditHead+" {lock}", tenant)
		if err != nil {
			return err
		}
		if done, err := appended(ctx, t, tried); done || err != nil {
			out = tried
			return err
		}
		if out, err = e.Chained(head, e.At); err != nil {
			return err
		}
		tried = out
		return t.writeAudit(&out)
	})
	if err != nil {
		return audit.Entry{}, err
	}
	return out, nil
}

// writeAudit writes an entry and makes it the head.
func (t *tx) writeAudit(e *audit.Entry) error {
	details, err := json.Marshal(e.Details)
	if err != nil {
		return err
	}
	v := &turn{}
	t.exec(v, insertAudit, e.Tenant, e.Number, e.At.UnixMicro(), e.Actor, e.Action, e.Reason, e.Enrollment.Device, e.Enrollment.User, string(details),
		e.Previous[:], e.Hash[:])
	t.exec(v, "UPDATE mdm_audit_heads SET number = ?, hash = ? WHERE tenant = ?", e.Number, e.Hash[:], e.Tenant)
	return nil
}

// appended reports whether an entry that was tried before is there.
func appended(ctx context.Context, r reader, e audit.Entry) (bool, error) {
	if e.Number == 0 {
		return false, nil
	}
	found, err := auditPage(ctx, r, e.Tenant, e.Number-1, 1)
	return err == nil && len(found) == 1 && found[0].Head() == e.Head(), err
}

func readHead(ctx context.Context, r reader, query, tenant string) (h audit.Head, err error) {
	var hash []byte
	_, err = one(ctx, r, query, []any{tenant}, &h.Number, &hash)
	h.Hash = hashOf(hash)
	return h, err
}

// hashOf is the zero Hash for what is none.
func hashOf(b []byte) (h audit.Hash) {
	if len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}

// auditPage reads some entries. What was tampered with is read as far as it goes: Verify is to find it.
func auditPage(ctx context.Context, r reader, tenant string, after int64, limit int) (out []audit.Entry, err error) {
	err = r.query(ctx, selectAudit, []any{tenant, after, limit}, func(scan func(...any) error) error {
		e := audit.Entry{Tenant: tenant}
		var at int64
		var details string
		var previous, hash []byte
		if err := scan(&e.Number, &at, &e.Actor, &e.Action, &e.Reason, &e.Enrollment.Device, &e.Enrollment.User, &details, &previous, &hash); err != nil {
			return err
		}
		if e.Enrollment != (mdm.EnrollmentID{}) {
			e.Enrollment.Tenant = tenant
		}
		e.At, e.Previous, e.Hash = time.UnixMicro(at).UTC(), hashOf(previous), hashOf(hash)
		_ = json.Unmarshal([]byte(details), &e.Details)
		out = append(out, e)
		return nil
	})
	return out, err
}

// Entries implements [audit.Log]. It reads in pages, between which no connection is held.
func (l auditLog) Entries(ctx context.Context, tenant string, after int64, limit int) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for left := limit; ; {
			page := pageSize
			if limit > 0 {
				page = min(left, pageSize)
			}
			found, err := auditPage(ctx, snapshot(l), tenant, after, page)
			if err != nil {
				yield(audit.Entry{}, err)
				return
			}
			for _, e := range found {
				if !yield(e, nil) {
					return
				}
				after = e.Number
			}
			left -= len(found)
			if len(found) < page || limit > 0 && left == 0 {
				return
			}
		}
	}
}

// Head implements [audit.Log].
func (l auditLog) Head(ctx context.Context, tenant string) (audit.Head, error) {
	return readHead(ctx, snapshot(l), auditHead, tenant)
}
