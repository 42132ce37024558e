package sqlstore

import (
	"context"
	"iter"
	"strings"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Entries implements command.Inspector. It reads in pages, between which no connection is held.
func (db *DB) Entries(ctx context.Context, q command.Query) iter.Seq2[command.Entry, error] {
	return func(yield func(command.Entry, error) bool) {
		left := q.Limit
		for {
			page := q
			page.Limit = pageSize
			if q.Limit > 0 {
				page.Limit = min(left, pageSize)
			}
			entries, err := db.entries(ctx, page)
			if err != nil {
				yield(command.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
				q.AfterEnrollment, q.AfterSeq = e.Enrollment, e.Seq
			}
			left -= len(entries)
			if len(entries) < page.Limit || q.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

const openColumns = `q.enrollment, q.seq, q.command, q.generation, q.state, q.priority, q.collapse, q.not_before, q.not_after, q.queued_at,
		q.sent_at, q.sends, q.deferred_at, q.deferrals`

// entries returns one page.
func (db *DB) entries(ctx context.Context, q command.Query) ([]command.Entry, error) {
	tenant := q.Tenant
	if !q.From.IsZero() {
		tenant = q.From.Tenant
	}
	where, args := []string{"e.tenant = ?"}, []any{tenant}
	and := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if !q.From.IsZero() {
		and("e.device = ? AND e.usr = ?", q.From.Device, q.From.User)
	}
	if q.UUID != "" {
		and("c.tenant = ? AND c.uuid = ?", tenant, q.UUID)
	}
	if len(q.States) > 0 {
		and("q.state IN ("+marks(len(q.States))+")", list(q.States)...)
	}
	switch {
	case !q.AfterEnrollment.IsZero():
		and("(e.device, e.usr, q.seq) > (?, ?, ?)", q.AfterEnrollment.Device, q.AfterEnrollment.User, q.AfterSeq)
	case q.AfterSeq > 0:
		and("q.seq > ?", q.AfterSeq)
	}
	from := func(columns, table string) string {
		return `SELECT e.tenant, e.device, e.usr, ` + columns + `, c.uuid, c.request_type, c.body
			FROM mdm_enrollments e JOIN ` + table + ` q ON q.enrollment = e.id JOIN mdm_commands c ON c.id = q.command WHERE ` + strings.Join(where, " AND ")
	}
	query := from(openColumns+`, 0 AS finished_at, '' AS note, NULL AS result`, "mdm_queue") + ` UNION ALL ` +
		from(openColumns+`, q.finished_at, q.note, q.result`, "mdm_history") + ` ORDER BY 2, 3, 5 LIMIT ?`
	var out []command.Entry
	err := snapshot{db}.query(ctx, query, append(append(append([]any{}, args...), args...), q.Limit), func(scan func(...any) error) error {
		e, err := db.scanEntry(scan, q)
		out = append(out, e)
		return err
	})
	return out, err
}

func (db *DB) scanEntry(scan func(...any) error, q command.Query) (command.Entry, error) {
	var e command.Entry
	var enrollment, commandID, notBefore, notAfter, queued, sent, deferred, finished int64
	var generation, state, priority, sends, deferrals int64
	var body, result []byte
	err := scan(&e.Enrollment.Tenant, &e.Enrollment.Device, &e.Enrollment.User, &enrollment, &e.Seq, &commandID, &generation, &state,
		&priority, &e.Collapse, &notBefore, &notAfter, &queued, &sent, &sends, &deferred, &deferrals, &finished, &e.Note, &result,
		&e.UUID, &e.RequestType, &body)
	if err != nil {
		return e, err
	}
	e.Generation, e.State, e.Priority = mdm.Generation(generation), command.State(state), command.Priority(priority)
	e.Sends, e.Deferrals = int(sends), int(deferrals)
	e.NotBefore, e.NotAfter, e.QueuedAt, e.SentAt = fromMicros(notBefore), fromMicros(notAfter), fromMicros(queued), fromMicros(sent)
	e.DeferredAt, e.FinishedAt = fromMicros(deferred), fromMicros(finished)
	if q.Bodies {
		if e.Body, err = db.cfg.Sealer.Open(body, bodyName(e.Enrollment.Tenant, e.UUID)); err != nil {
			return e, err
		}
	}
	if q.Results && result != nil {
		e.Result, err = db.cfg.Sealer.Open(result, resultName(enrollment, e.Seq))
	}
	return e, err
}

// Aside implements command.Inspector.
func (db *DB) Aside(ctx context.Context, tenant string, after int64, limit int) iter.Seq2[command.Aside, error] {
	return func(yield func(command.Aside, error) bool) {
		for n := 0; limit <= 0 || n < limit; {
			size := pageSize
			if limit > 0 {
				size = min(limit-n, pageSize)
			}
			page, err := db.asides(ctx, tenant, after, size)
			if err != nil {
				yield(command.Aside{}, err)
				return
			}
			for _, a := range page {
				if !yield(a, nil) {
					return
				}
				after = a.Number
				n++
			}
			if len(page) < size {
				return
			}
		}
	}
}

func (db *DB) asides(ctx context.Context, tenant string, after int64, limit int) ([]command.Aside, error) {
	var out []command.Aside
	err := snapshot{db}.query(ctx, `SELECT number, device, usr, at, status, uuid, reason, raw FROM mdm_asides WHERE tenant = ? AND number > ? ORDER BY number LIMIT ?`,
		[]any{tenant, after, limit}, func(scan func(...any) error) error {
			a := command.Aside{Enrollment: mdm.EnrollmentID{Tenant: tenant}}
			var at int64
			var status string
			var sealed []byte
			if err := scan(&a.Number, &a.Enrollment.Device, &a.Enrollment.User, &at, &status, &a.CommandUUID, &a.Reason, &sealed); err != nil {
				return err
			}
			a.At, a.Status = fromMicros(at), command.Status(status)
			var err error
			a.Raw, err = db.cfg.Sealer.Open(sealed, asideName(a.Enrollment))
			out = append(out, a)
			return err
		})
	return out, err
}
