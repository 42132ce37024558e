package sqlstore

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// DuePushes implements push.Store. Who is due and cannot be pushed is parked until he can, so that looking costs the same
// however many of them there are.
func (db *DB) DuePushes(ctx context.Context, now time.Time, max int, lease time.Duration) ([]push.Target, error) {
	due, until := []any{micros(now), micros(now)}, now.Add(lease)
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
					t.write(v, opLeasePush, d.row, micros(until), micros(now))
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
				d.Lease = fromMicros(micros(until))
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
	err = t.query(ctx, dueQuery, args,
		func(scan func(...any) error) error {
			var d duePush
			var updated, state, presence, failures int64
			err := scan(&d.row, &d.Enrollment.Tenant, &d.Enrollment.Device, &d.Enrollment.User, &d.Topic, &d.Token, &d.Magic, &updated, &state, &presence, &failures)
			d.TokenUpdatedAt, d.Failures = fromMicros(updated), int(failures)
			d.possible = reachable(state, presence, d.Token)
			out = append(out, d)
			return err
		})
	return out, err
}

const dueQuery = `SELECT e.id, e.tenant, e.device, e.usr, e.topic, e.push_token, e.push_magic, e.token_updated_at, e.state, e.presence, p.failures
	FROM mdm_pushes p JOIN mdm_enrollments e ON e.id = p.enrollment WHERE p.due <= ? AND p.leased <= ? ORDER BY p.due LIMIT ? {skip}`

const neverText = "9223372036854775807"

var (
	// opLeasePush: the push that begins is also for what was asked for while a former one was under way.
	opLeasePush = newOp("enrollment lease now", `UPDATE mdm_pushes SET leased = :lease, again = CASE WHEN again <= :now THEN 0 ELSE again END {from}
		WHERE mdm_pushes.enrollment = :enrollment`)
	// opSettle settles a push. None is due then before next, but for what was asked for since, and that not before hold. Who does
	// not have the lease any more only notes what became of it. (Each column is written after those that are computed with it.)
	opSettle = newOp("enrollment lease next hold failed at outcome status reason$ apns$", `UPDATE mdm_pushes SET
		due = CASE WHEN leased <> :lease THEN due WHEN again = 0 THEN :next WHEN again < :hold AND :hold < :next THEN :hold WHEN again < :hold THEN :next
			WHEN again < :next THEN again ELSE :next END,
		again = CASE WHEN leased <> :lease THEN again ELSE 0 END, rest = CASE WHEN leased <> :lease THEN rest ELSE :hold END,
		leased = CASE WHEN leased <> :lease THEN leased ELSE 0 END, `+settled)
	opUnsent = newOp("enrollment lease next", `UPDATE mdm_pushes SET due = CASE WHEN leased <> :lease THEN due WHEN again = 0 OR again > :next THEN :next ELSE again END,
		again = CASE WHEN leased <> :lease THEN again ELSE 0 END, leased = CASE WHEN leased <> :lease THEN leased ELSE 0 END {from}
		WHERE mdm_pushes.enrollment = :enrollment`)
	// opDead is for a channel that cannot be pushed any more: what is wanted is parked.
	opDead = newOp("enrollment failed at outcome status reason$ apns$", "UPDATE mdm_pushes SET "+park+", "+settled)
	opPark = newOp("enrollment", "UPDATE mdm_pushes SET "+park+" {from} WHERE mdm_pushes.enrollment = :enrollment")
	// opUnpark makes due what was parked; opUnparkLater only what was not due yet. What is not parked stays, but is written none
	// the less: so it waits for somebody who is just parking it.
	opUnpark      = newOp("enrollment", "UPDATE mdm_pushes SET due = CASE WHEN "+notParked+" THEN due WHEN again < rest THEN rest ELSE again END, "+unparked)
	opUnparkLater = newOp("enrollment now", "UPDATE mdm_pushes SET due = CASE WHEN "+notParked+" OR again <= :now THEN due WHEN again < rest THEN rest ELSE again END, "+unparked)
)

const (
	settled = `settled_at = :at, outcome = :outcome, status = :status, reason = :reason, apns_id = :apns,
		delivered_at = CASE WHEN :outcome = 1 THEN :at ELSE delivered_at END, failures = CASE WHEN :failed = 0 THEN 0 ELSE failures + 1 END {from}
		WHERE mdm_pushes.enrollment = :enrollment`
	park      = "again = CASE WHEN due < " + neverText + " AND (again = 0 OR due < again) THEN due ELSE again END, due = " + neverText + ", leased = 0"
	notParked = "(due < " + neverText + " OR leased <> 0 OR again = 0)"
	unparked  = "again = CASE WHEN leased = 0 THEN 0 ELSE again END {from} WHERE mdm_pushes.enrollment = :enrollment"
	noLease   = -1 // of a result whose push was not taken from the store
)

// Feedback implements push.Store.
func (db *DB) Feedback(ctx context.Context, results []push.Result) error {
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b push.Result) int { return compareIDs(a.Target.Enrollment, b.Target.Enrollment) })
	return db.update(ctx, func(t *tx) error {
		if err := t.find(ctx, results); err != nil {
			return err
		}
		if err := t.lockInvalid(ctx, results); err != nil {
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

// lockInvalid locks the devices whose tokens may be dead, as requests of theirs do, before anything is written.
func (t *tx) lockInvalid(ctx context.Context, results []push.Result) error {
	var rows [][]any
	for _, r := range results { // in the order of names
		id := r.Target.Enrollment
		if r.Outcome != push.Invalid || len(rows) > 0 && rows[len(rows)-1][0] == id.Tenant && rows[len(rows)-1][1] == id.Device {
			continue
		}
		rows = append(rows, []any{id.Tenant, id.Device})
	}
	if len(rows) == 0 {
		return nil
	}
	return t.send(ctx, false, t.locks(rows)...)
}

func (t *tx) feedback(ctx context.Context, r push.Result) error {
	id := t.ids[r.Target.Enrollment]
	if id == 0 {
		return nil
	}
	lease := int64(noLease)
	if !r.Target.Lease.IsZero() {
		lease = micros(r.Target.Lease)
	}
	next, failed := int64(never), int64(1)
	switch {
	case r.Outcome == push.Unsent:
		t.write(&turn{}, opUnsent, id, lease, micros(r.Again(t.db.now())))
		return nil
	case r.Outcome == push.Retry || r.Outcome == push.BadCertificate:
		next = micros(r.Again(t.db.now()))
	case r.Outcome == push.Delivered:
		failed = 0
	case r.Outcome == push.Invalid:
		dead, err := t.dropToken(ctx, id, r)
		if err != nil {
			return err
		}
		if dead { // the device was not woken: it will be, when there is a token that works
			t.write(&turn{}, opDead, id, failed, micros(r.At), r.Outcome, r.Status, clip(r.Reason), clip(r.APNsID))
			return nil
		}
		next = micros(r.At) // it has another token: that is tried
	}
	t.write(&turn{}, opSettle, id, lease, next, micros(r.Rest), failed, micros(r.At), r.Outcome, r.Status, clip(r.Reason), clip(r.APNsID))
	return nil
}

// clip makes a text of a stranger fit its column.
func clip(s string) string {
	const most = 255
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
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
	r.Held = !r.Due.IsZero() && !reachable(state, presence, token)
	return r, nil
}

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
