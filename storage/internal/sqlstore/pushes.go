package sqlstore

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// DuePushes implements push.Store.
func (db *DB) DuePushes(ctx context.Context, now time.Time, max int, lease time.Duration) ([]push.Target, error) {
	const due = ` FROM mdm_pushes p JOIN mdm_enrollments e ON e.id = p.enrollment
		WHERE p.due <= ? AND p.leased <= ? AND e.state = ? AND e.push_token IS NOT NULL ORDER BY p.due LIMIT ?`
	args := []any{micros(now), micros(now), mdm.Enrolled, max}
	var n int64
	if any, err := one(ctx, snapshot{db}, `SELECT 1`+due, args, &n); err != nil || !any {
		return nil, err // looking often must cost nothing
	}
	var out []push.Target
	err := db.update(ctx, func(t *tx) error {
		out = nil
		v := &turn{}
		var ids []int64
		err := t.query(ctx, `SELECT e.id, e.tenant, e.device, e.usr, e.topic, e.push_token, e.push_magic, e.token_updated_at`+due+` {skip}`, args,
			func(scan func(...any) error) error {
				var target push.Target
				var id, updated int64
				err := scan(&id, &target.Enrollment.Tenant, &target.Enrollment.Device, &target.Enrollment.User, &target.Topic, &target.Token,
					&target.Magic, &updated)
				target.TokenUpdatedAt = fromMicros(updated)
				ids, out = append(ids, id), append(out, target)
				return err
			})
		for _, id := range ids {
			t.write(v, opLeasePush, id, micros(now.Add(lease)))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

var (
	opLeasePush = newOp("enrollment leased", "UPDATE mdm_pushes SET leased = :leased {from} WHERE mdm_pushes.enrollment = :enrollment")
	opPutOff    = newOp("enrollment due", `UPDATE mdm_pushes SET leased = 0, due = CASE WHEN again > 0 AND again < :due THEN again ELSE :due END, again = 0 {from}
		WHERE mdm_pushes.enrollment = :enrollment`)
	opPushed   = newOp("enrollment", "DELETE FROM mdm_pushes {using} WHERE mdm_pushes.enrollment = :enrollment AND mdm_pushes.again = 0")
	opPushNext = newOp("enrollment", "UPDATE mdm_pushes SET leased = 0, due = again, again = 0 {from} WHERE mdm_pushes.enrollment = :enrollment")
	opKeepPush = newOp("enrollment", "UPDATE mdm_pushes SET leased = 0, again = 0 {from} WHERE mdm_pushes.enrollment = :enrollment")
)

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
	v := &turn{}
	switch {
	case !r.Retry.IsZero() && (r.Outcome == push.Retry || r.Outcome == push.BadCertificate):
		t.write(v, opPutOff, id, micros(r.Retry))
	case r.Outcome == push.Invalid: // the device was not woken: it will be, when there is a token that works
		if err := t.dropToken(ctx, id, r); err != nil {
			return err
		}
		t.write(v, opKeepPush, id)
	default:
		t.write(v, opPushed, id)
		t.write(v, opPushNext, id)
	}
	return nil
}

// dropToken forgets a token that APNs called dead, unless the device has sent one since.
func (t *tx) dropToken(ctx context.Context, id int64, r push.Result) error {
	n, err := t.change(ctx, `UPDATE mdm_enrollments SET push_token = NULL WHERE id = ? AND push_token = ? AND token_updated_at <= ?`,
		id, r.Target.Token, micros(r.Since))
	if err != nil || n == 0 {
		return err
	}
	var generation int64
	if _, err := one(ctx, t, `SELECT generation FROM mdm_enrollments WHERE id = ?`, []any{id}, &generation); err != nil {
		return err
	}
	return t.record(&turn{}, mdm.Event{Type: mdm.EventPushFailed, At: r.At, Enrollment: r.Target.Enrollment, Generation: mdm.Generation(generation), Reason: r.Reason})
}

// Wake implements push.Store.
func (db *DB) Wake(ctx context.Context, to mdm.Targets, due time.Time) (int, error) {
	n := 0
	err := db.update(ctx, func(t *tx) error {
		n = 0
		rows := map[mdm.EnrollmentID]*row{}
		if f, ok := to.Filter(); ok {
			found, err := selectRows(ctx, t, f)
			if err != nil {
				return err
			}
			for _, r := range found {
				rows[r.ID] = r
			}
		}
		for _, id := range to.List() {
			r, err := rowOf(ctx, t, id)
			if err != nil {
				return err
			}
			if r != nil {
				rows[id] = r
			}
		}
		for _, id := range slices.SortedFunc(maps.Keys(rows), compareIDs) {
			if rows[id].State == mdm.Enrolled {
				t.wake(&turn{}, rows[id].id, due)
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
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
