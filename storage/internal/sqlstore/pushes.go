package sqlstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// DuePushes implements push.Store. Who is due and cannot be pushed is parked until he can, so that looking costs the same
// however many of them there are.
func (db *DB) DuePushes(ctx context.Context, now time.Time, max int, lease time.Duration) ([]push.Target, error) {
	due := []any{micros(now), micros(now)}
	for {
		var n int64
		if any, err := one(ctx, snapshot{db}, `SELECT 1 FROM mdm_pushes WHERE due <= ? AND leased <= ? LIMIT 1`, due, &n); err != nil || !any {
			return nil, err // looking often must cost nothing
		}
		var found []duePush
		err := db.update(ctx, func(t *tx) (err error) {
			found, err = t.duePushes(ctx, append(due, max))
			v := &turn{}
			for _, d := range found {
				if d.possible {
					t.write(v, opLeasePush, d.row, micros(now.Add(lease)))
				} else {
					t.write(v, opPark, d.row)
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		var out []push.Target
		for _, d := range found {
			if d.possible {
				out = append(out, d.Target)
			}
		}
		if len(out) > 0 || len(found) < max {
			return out, nil
		}
	}
}

// duePush is a push that is due.
type duePush struct {
	push.Target
	row      int64
	possible bool
}

func (t *tx) duePushes(ctx context.Context, args []any) (out []duePush, err error) {
	err = t.query(ctx, `SELECT e.id, e.tenant, e.device, e.usr, e.topic, e.push_token, e.push_magic, e.token_updated_at, e.state, e.presence, p.failures
		FROM mdm_pushes p JOIN mdm_enrollments e ON e.id = p.enrollment WHERE p.due <= ? AND p.leased <= ? ORDER BY p.due LIMIT ? {skip}`, args,
		func(scan func(...any) error) error {
			var d duePush
			var updated, state, presence, failures int64
			err := scan(&d.row, &d.Enrollment.Tenant, &d.Enrollment.Device, &d.Enrollment.User, &d.Topic, &d.Token, &d.Magic, &updated, &state, &presence, &failures)
			d.TokenUpdatedAt, d.Failures = fromMicros(updated), int(failures)
			d.possible = mdm.State(state) == mdm.Enrolled && len(d.Token) > 0 && mdm.Presence(presence) != mdm.Gone
			out = append(out, d)
			return err
		})
	return out, err
}

const neverText = "9223372036854775807"

var (
	opLeasePush = newOp("enrollment leased", "UPDATE mdm_pushes SET leased = :leased {from} WHERE mdm_pushes.enrollment = :enrollment")
	// opSettle settles a push. None is due then before due, but for what was asked for since, and that not before rest.
	opSettle = newOp("enrollment due rest failed at outcome status reason$ apns$", `UPDATE mdm_pushes SET
		due = CASE WHEN again = 0 THEN :due WHEN again < :rest AND :rest < :due THEN :rest WHEN again < :rest THEN :due WHEN again < :due THEN again ELSE :due END,
		leased = 0, again = 0, rest = :rest, `+settled)
	opUnsent = newOp("enrollment due", `UPDATE mdm_pushes SET due = CASE WHEN again = 0 OR again > :due THEN :due ELSE again END, leased = 0, again = 0 {from}
		WHERE mdm_pushes.enrollment = :enrollment`)
	// opDead is for a channel that cannot be pushed any more: what is wanted is parked.
	opDead = newOp("enrollment failed at outcome status reason$ apns$", "UPDATE mdm_pushes SET "+park+", "+settled)
	opPark = newOp("enrollment", "UPDATE mdm_pushes SET "+park+" {from} WHERE mdm_pushes.enrollment = :enrollment")
	// opUnpark makes due what was parked; opUnparkLater only what was not due yet.
	opUnpark      = newOp("enrollment", "UPDATE mdm_pushes SET due = CASE WHEN again < rest THEN rest ELSE again END, again = 0 {from} WHERE mdm_pushes.enrollment = :enrollment"+parked)
	opUnparkLater = newOp("enrollment now", "UPDATE mdm_pushes SET due = CASE WHEN again <= :now THEN due WHEN again < rest THEN rest ELSE again END, again = 0 {from} WHERE mdm_pushes.enrollment = :enrollment"+parked)
)

const (
	settled = `settled_at = :at, outcome = :outcome, status = :status, reason = :reason, apns_id = :apns,
		delivered_at = CASE WHEN :outcome = 1 THEN :at ELSE delivered_at END, failures = CASE WHEN :failed = 0 THEN 0 ELSE failures + 1 END {from}
		WHERE mdm_pushes.enrollment = :enrollment`
	park = "again = CASE WHEN due < " + neverText + " AND (again = 0 OR due < again) THEN due ELSE again END, due = " + neverText + ", leased = 0"
)

// parked is what tells such a row.
const parked = " AND mdm_pushes.due = " + neverText + " AND mdm_pushes.leased = 0 AND mdm_pushes.again > 0"

// Feedback implements push.Store.
func (db *DB) Feedback(ctx context.Context, results []push.Result) error {
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b push.Result) int { return compareIDs(a.Target.Enrollment, b.Target.Enrollment) })
	return db.update(ctx, func(t *tx) error {
		if err := t.find(ctx, results); err != nil {
			return err
		}
		for _, r := range results {
			if err := t.feedback(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

var opFind = newOp("tenant$ device$ usr$", "SELECT {i}, id FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = :usr")

// find looks up the rows of many results at once.
func (t *tx) find(ctx context.Context, results []push.Result) error {
	rows := make([][]any, len(results))
	for i, r := range results {
		id := r.Target.Enrollment
		t.ids[id] = 0 // looked for
		rows[i] = []any{id.Tenant, id.Device, id.User}
	}
	calls := opFind.calls(t.db.dialect, rows)
	for _, c := range calls {
		c.Rows = func(scan func(...any) error) error {
			var i, id int64
			err := scan(&i, &id)
			t.ids[results[i].Target.Enrollment] = id
			return err
		}
	}
	return t.send(ctx, false, calls...)
}

func (t *tx) feedback(ctx context.Context, r push.Result) error {
	id := t.ids[r.Target.Enrollment]
	if id == 0 {
		return nil
	}
	due, failed := int64(never), int64(1)
	switch {
	case r.Outcome == push.Unsent:
		t.write(&turn{}, opUnsent, id, micros(r.Retry))
		return nil
	case !r.Retry.IsZero() && (r.Outcome == push.Retry || r.Outcome == push.BadCertificate):
		due = micros(r.Retry)
	case r.Outcome == push.Delivered:
		failed = 0
	case r.Outcome == push.Invalid:
		dead, err := t.dropToken(ctx, id, r)
		if err != nil {
			return err
		}
		if dead { // the device was not woken: it will be, when there is a token that works
			t.write(&turn{}, opDead, id, failed, micros(r.At), r.Outcome, r.Status, r.Reason, r.APNsID)
			return nil
		}
		due = micros(r.At) // it has another token: that is tried
	}
	v := &turn{}
	t.write(v, opSettle, id, due, micros(r.Rest), failed, micros(r.At), r.Outcome, r.Status, r.Reason, r.APNsID)
	return nil
}

// dropToken presumes a channel gone whose token APNs calls dead, unless the device has sent one since: then it is false.
func (t *tx) dropToken(ctx context.Context, id int64, r push.Result) (bool, error) {
	var presence, generation int64
	dead, err := one(ctx, t, `SELECT presence, generation FROM mdm_enrollments WHERE id = ? AND state = ? AND push_token = ? AND token_updated_at <= ? {lock}`,
		[]any{id, mdm.Enrolled, r.Target.Token, micros(r.Since)}, &presence, &generation)
	if err != nil || !dead || mdm.Presence(presence) == mdm.Gone {
		return dead, err
	}
	v := &turn{}
	t.write(v, opPresence, id, mdm.Gone, micros(r.At), int64(never))
	e := mdm.Event{Type: mdm.EventPushFailed, At: r.At, Enrollment: r.Target.Enrollment, Generation: mdm.Generation(generation), Reason: r.Reason}
	gone := e
	gone.Type, gone.Reason = mdm.EventGone, "APNs calls its push token dead: "+r.Reason
	return true, t.record(v, e, gone)
}

// LastPush implements push.Store.
func (db *DB) LastPush(ctx context.Context, id mdm.EnrollmentID) (push.Record, error) {
	r := push.Record{Enrollment: id}
	var due, again, at, outcome, status, delivered, failures, state, presence int64
	var token []byte
	found, err := one(ctx, snapshot{db}, `SELECT p.due, p.again, p.settled_at, p.outcome, p.status, p.reason, p.apns_id, p.delivered_at, p.failures,
			e.state, e.presence, e.push_token
		FROM mdm_enrollments e JOIN mdm_pushes p ON p.enrollment = e.id WHERE e.tenant = ? AND e.device = ? AND e.usr = ?`,
		[]any{id.Tenant, id.Device, id.User}, &due, &again, &at, &outcome, &status, &r.Reason, &r.APNsID, &delivered, &failures, &state, &presence, &token)
	if err != nil || !found {
		return r, err
	}
	r.At, r.Outcome, r.Status, r.Delivered, r.Failures = fromMicros(at), push.Outcome(outcome), int(status), fromMicros(delivered), int(failures)
	switch {
	case due != never:
		r.Due = fromMicros(due)
	case again != 0: // parked
		r.Due = fromMicros(again)
	}
	r.Held = !r.Due.IsZero() && !(mdm.State(state) == mdm.Enrolled && mdm.Presence(presence) != mdm.Gone && len(token) > 0)
	return r, nil
}

// wakeChunk is how many targets one transaction wakes.
const wakeChunk = 1000

// Wake implements push.Store. Many are woken in several transactions, in the order of rows.
func (db *DB) Wake(ctx context.Context, to mdm.Targets, due time.Time) (int, error) {
	f, matching := to.Filter()
	if !matching {
		return db.wakeList(ctx, to.List(), due)
	}
	if paged(f) {
		rows, err := selectRows(ctx, snapshot{db}, f)
		if err != nil {
			return 0, err
		}
		var ids []mdm.EnrollmentID
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
		return db.wakeList(ctx, ids, due)
	}
	n, after := 0, int64(0)
	for {
		var rows []int64
		err := db.update(ctx, func(t *tx) (err error) {
			rows, err = t.wakeNext(ctx, f, after, wakeChunk, due)
			return err
		})
		if err != nil {
			return n, err
		}
		if n += len(rows); len(rows) < wakeChunk {
			return n, nil
		}
		after = rows[len(rows)-1]
	}
}

// wakeNext wakes up to max enrolled channels that f selects, in the order of rows after one of them, and returns theirs.
func (t *tx) wakeNext(ctx context.Context, f mdm.Filter, after int64, max int, due time.Time) (rows []int64, err error) {
	if len(f.States) > 0 && !slices.Contains(f.States, mdm.Enrolled) {
		return nil, nil
	}
	f.States = []mdm.State{mdm.Enrolled}
	query, args := inRows("SELECT id FROM mdm_enrollments", f, after, max)
	v := &turn{}
	err = t.query(ctx, query, args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		rows = append(rows, id)
		return err
	})
	for _, id := range rows {
		t.wake(v, id, due)
	}
	return rows, err
}

// wakeList wakes those of a list that are enrolled.
func (db *DB) wakeList(ctx context.Context, ids []mdm.EnrollmentID, due time.Time) (n int, err error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, compareIDs)
	for part := range slices.Chunk(slices.Compact(ids), wakeChunk) {
		woken := 0
		err := db.update(ctx, func(t *tx) error {
			woken = 0
			rows := make([][]any, len(part))
			for i, id := range part {
				rows[i] = []any{id.Tenant, id.Device, id.User}
			}
			calls := opEnrolled.calls(t.db.dialect, rows)
			var found []int64
			for _, c := range calls {
				c.Rows = func(scan func(...any) error) error {
					var i, id int64
					err := scan(&i, &id)
					found = append(found, id)
					return err
				}
			}
			if err := t.send(ctx, false, calls...); err != nil {
				return err
			}
			v := &turn{}
			for _, id := range found {
				t.wake(v, id, due)
				woken++
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		n += woken
	}
	return n, nil
}

var opEnrolled = newOp("tenant$ device$ usr$", fmt.Sprintf("SELECT {i}, id FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = :usr AND state = %d", mdm.Enrolled))

// PushCertificate implements push.Certificates. An expired one is returned, too: whoever uses it reports that.
func (db *DB) PushCertificate(ctx context.Context, topic string) (*tls.Certificate, error) {
	var cert, sealed []byte
	found, err := one(ctx, snapshot{db}, `SELECT certificate, sealed FROM mdm_push_certificates WHERE topic = ?`, []any{topic}, &cert, &sealed)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, mdm.Errorf(mdm.NotFound, db.op("PushCertificate"), "no push certificate for topic %q", topic)
	}
	key, err := db.cfg.Sealer.Open(sealed, pushKeyName(topic))
	if err != nil {
		return nil, err
	}
	loaded, err := push.LoadCertificate(cert, key)
	if err != nil && !errors.Is(err, push.ErrExpired) {
		return nil, err
	}
	return &loaded.TLS, nil
}

// SavePushCertificate implements push.CertificateStore.
func (db *DB) SavePushCertificate(ctx context.Context, c push.Certificate) error {
	cert, key, err := c.PEM()
	if err != nil {
		return err
	}
	sealed, err := db.cfg.Sealer.Seal(key.Reveal(), pushKeyName(c.Topic))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, `INSERT INTO mdm_push_certificates (topic, certificate, sealed, not_after) VALUES (?, ?, ?, ?)
			{upsert topic: certificate = {new certificate}, sealed = {new sealed}, not_after = {new not_after}}`,
			c.Topic, cert, sealed, micros(c.NotAfter))
		return err
	})
}

// PushTopics implements push.CertificateStore.
func (db *DB) PushTopics(ctx context.Context) ([]push.Topic, error) {
	var out []push.Topic
	err := snapshot{db}.query(ctx, `SELECT topic, not_after FROM mdm_push_certificates ORDER BY topic`, nil, func(scan func(...any) error) error {
		var topic push.Topic
		var notAfter int64
		err := scan(&topic.Name, &notAfter)
		topic.NotAfter = fromMicros(notAfter)
		out = append(out, topic)
		return err
	})
	return out, err
}
