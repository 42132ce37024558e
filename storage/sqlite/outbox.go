package sqlite

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// record appends events.
func (t *tx) record(ctx context.Context, events ...mdm.Event) error {
	for _, e := range events {
		e.Seq = 0 // the row's own
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO events (tenant, device, user, body) VALUES (?, ?, ?, ?)`,
			e.Enrollment.Tenant, e.Enrollment.Device, e.Enrollment.User, string(body))
		if err != nil {
			return err
		}
		t.changed.Events = true
	}
	return nil
}

func scanEvent(scan func(...any) error, more ...any) (mdm.Event, error) {
	var e mdm.Event
	var seq int64
	var body string
	if err := scan(append([]any{&seq, &body}, more...)...); err != nil {
		return e, err
	}
	err := json.Unmarshal([]byte(body), &e)
	e.Seq = seq
	return e, err
}

// Events implements event.Log.
func (db *DB) Events(ctx context.Context, tenant string, after int64, limit int) ([]mdm.Event, error) {
	if limit <= 0 {
		limit = -1
	}
	var out []mdm.Event
	err := each(ctx, db.reads, `SELECT seq, body FROM events WHERE tenant = ? AND seq > ? ORDER BY seq LIMIT ?`, []any{tenant, after, limit},
		func(scan func(...any) error) error {
			e, err := scanEvent(scan)
			out = append(out, e)
			return err
		})
	return out, err
}

// Lease implements event.Log. Events beyond a consumer's position are taken into deliveries, where they stay until they
// are acknowledged; those of an enrollment that has an earlier one in somebody's hands wait there for their turn.
func (db *DB) Lease(ctx context.Context, consumer string, max int, lease time.Duration) (out []mdm.Event, err error) {
	if work, err := db.hasEvents(ctx, consumer); err != nil || !work {
		return nil, err // looking often must cost nothing
	}
	err = db.update(ctx, func(t *tx) error {
		if err := t.takeEvents(ctx, consumer, max); err != nil {
			return err
		}
		out, err = t.lease(ctx, consumer, max, db.now().Add(lease))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (db *DB) hasEvents(ctx context.Context, consumer string) (bool, error) {
	var n int
	return one(ctx, db.reads, `SELECT 1 FROM deliveries WHERE consumer = ?1 AND until <= ?2
		UNION ALL SELECT 1 FROM events WHERE seq > COALESCE((SELECT position FROM consumers WHERE name = ?1), 0) LIMIT 1`,
		[]any{consumer, micros(db.now())}, &n)
}

// takeEvents moves a consumer's position forward over the next events.
func (t *tx) takeEvents(ctx context.Context, consumer string, max int) error {
	var position int64
	if _, err := one(ctx, t, `INSERT INTO consumers (name, position) VALUES (?, 0) ON CONFLICT (name) DO UPDATE SET name = name RETURNING position`,
		[]any{consumer}, &position); err != nil {
		return err
	}
	var waiting int
	if _, err := one(ctx, t, `SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE consumer = ? LIMIT ?)`, []any{consumer, max + 1000}, &waiting); err != nil {
		return err
	}
	if room := max + 1000 - waiting; room > 0 {
		_, err := t.exec(ctx, `INSERT INTO deliveries (consumer, seq, until) SELECT ?, seq, 0 FROM events WHERE seq > ? ORDER BY seq LIMIT ?`,
			consumer, position, min(room, max))
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE consumers SET position = COALESCE((SELECT max(seq) FROM deliveries WHERE consumer = ?1 AND seq > ?2), ?2)
			WHERE name = ?1`, consumer, position)
		return err
	}
	return nil
}

func (t *tx) lease(ctx context.Context, consumer string, max int, until time.Time) ([]mdm.Event, error) {
	now := micros(t.w.db.now())
	held := map[mdm.EnrollmentID]bool{} // an earlier event is in somebody's hands
	var out []mdm.Event
	err := each(ctx, t, `SELECT e.seq, e.body, d.until FROM deliveries d JOIN events e ON e.seq = d.seq WHERE d.consumer = ? ORDER BY d.seq`,
		[]any{consumer}, func(scan func(...any) error) error {
			var leased int64
			e, err := scanEvent(scan, &leased)
			if err != nil {
				return err
			}
			if leased > now || held[e.Enrollment] {
				held[e.Enrollment] = true
			} else if len(out) < max {
				out = append(out, e)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	for _, e := range out {
		if _, err := t.exec(ctx, `UPDATE deliveries SET until = ? WHERE consumer = ? AND seq = ?`, micros(until), consumer, e.Seq); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Ack implements event.Log.
func (db *DB) Ack(ctx context.Context, consumer string, done []mdm.Event) error {
	return db.update(ctx, func(t *tx) error {
		now := micros(db.now())
		for _, e := range done {
			if _, err := t.exec(ctx, `DELETE FROM deliveries WHERE consumer = ? AND seq = ? AND until > ?`, consumer, e.Seq, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// wake leaves a push for a channel.
func (t *tx) wake(ctx context.Context, id mdm.EnrollmentID, due time.Time) error {
	n, err := t.rowID(ctx, id)
	if err != nil || n == 0 {
		return err
	}
	return t.wakeRow(ctx, n, due)
}

// wakeRow leaves a push, or brings one forward.
func (t *tx) wakeRow(ctx context.Context, enrollment int64, due time.Time) error {
	t.changed.Pushes = true
	_, err := t.exec(ctx, `INSERT INTO pushes (enrollment, due) VALUES (?1, ?2)
		ON CONFLICT (enrollment) DO UPDATE SET due = min(due, ?2), renews = renews + 1`, enrollment, micros(due))
	return err
}

// DuePushes implements push.Store.
func (db *DB) DuePushes(ctx context.Context, now time.Time, max int, lease time.Duration) ([]push.Target, error) {
	const due = ` FROM pushes p JOIN enrollments e ON e.id = p.enrollment
		WHERE p.due <= ?1 AND p.leased <= ?1 AND e.state = ?2 AND e.push_token IS NOT NULL ORDER BY p.due LIMIT ?3`
	args := []any{micros(now), mdm.Enrolled, max}
	var n int
	if any, err := one(ctx, db.reads, `SELECT 1`+due, args, &n); err != nil || !any {
		return nil, err // looking often must cost nothing
	}
	var out []push.Target
	err := db.update(ctx, func(t *tx) error {
		out = nil
		var ids []int64
		err := each(ctx, t, `SELECT e.id, e.tenant, e.device, e.user, e.topic, e.push_token, e.push_magic, e.token_updated_at`+due, args,
			func(scan func(...any) error) error {
				var target push.Target
				var id, updated int64
				err := scan(&id, &target.Enrollment.Tenant, &target.Enrollment.Device, &target.Enrollment.User, &target.Topic, &target.Token,
					&target.Magic, &updated)
				target.TokenUpdatedAt = fromMicros(updated)
				ids, out = append(ids, id), append(out, target)
				return err
			})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := t.exec(ctx, `UPDATE pushes SET leased = ?, given = renews WHERE enrollment = ?`, micros(now.Add(lease)), id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Feedback implements push.Store.
func (db *DB) Feedback(ctx context.Context, results []push.Result) error {
	return db.update(ctx, func(t *tx) error {
		for _, r := range results {
			if err := t.feedback(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) feedback(ctx context.Context, r push.Result) error {
	id, err := t.rowID(ctx, r.Target.Enrollment)
	if err != nil || id == 0 {
		return err
	}
	if !r.Retry.IsZero() && (r.Outcome == push.Retry || r.Outcome == push.BadCertificate) {
		_, err := t.exec(ctx, `UPDATE pushes SET leased = 0, due = CASE WHEN renews = given THEN ?2 ELSE due END WHERE enrollment = ?1`, id, micros(r.Retry))
		return err
	}
	if r.Outcome == push.Invalid {
		if err := t.dropToken(ctx, id, r); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, `DELETE FROM pushes WHERE enrollment = ? AND renews = given`, id); err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE pushes SET leased = 0 WHERE enrollment = ?`, id)
	return err
}

// dropToken forgets a token that APNs called dead, unless the device has sent one since.
func (t *tx) dropToken(ctx context.Context, id int64, r push.Result) error {
	n, err := t.exec(ctx, `UPDATE enrollments SET push_token = NULL WHERE id = ? AND push_token = ? AND token_updated_at <= ?`,
		id, r.Target.Token, micros(r.Since))
	if err != nil || n == 0 {
		return err
	}
	var generation mdm.Generation
	if _, err := one(ctx, t, `SELECT generation FROM enrollments WHERE id = ?`, []any{id}, &generation); err != nil {
		return err
	}
	return t.record(ctx, mdm.Event{Type: mdm.EventPushFailed, At: r.At, Enrollment: r.Target.Enrollment, Generation: generation, Reason: r.Reason})
}

// Wake implements push.Store.
func (db *DB) Wake(ctx context.Context, to mdm.Targets, due time.Time) (int, error) {
	n := 0
	err := db.update(ctx, func(t *tx) error {
		n = 0
		var rows []*row
		if f, ok := to.Filter(); ok {
			var err error
			if rows, err = selectRows(ctx, t, f); err != nil {
				return err
			}
		}
		for _, id := range to.List() {
			r := &row{}
			found, err := one(ctx, t, `SELECT id, state FROM enrollments WHERE tenant = ? AND device = ? AND user = ?`,
				[]any{id.Tenant, id.Device, id.User}, &r.id, &r.State)
			if err != nil {
				return err
			}
			if found {
				rows = append(rows, r)
			}
		}
		for _, r := range rows {
			if r.State != mdm.Enrolled {
				continue
			}
			if err := t.wakeRow(ctx, r.id, due); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func pushKeyName(topic string) []byte { return []byte("push_certificates/key/" + topic) }

// PushCertificate implements push.Certificates. An expired one is returned, too: whoever uses it reports that.
func (db *DB) PushCertificate(ctx context.Context, topic string) (*tls.Certificate, error) {
	var cert, sealed []byte
	found, err := one(ctx, db.reads, `SELECT certificate, key FROM push_certificates WHERE topic = ?`, []any{topic}, &cert, &sealed)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, mdm.Errorf(mdm.NotFound, "sqlite.PushCertificate", "no push certificate for topic %q", topic)
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
		_, err := t.exec(ctx, `INSERT OR REPLACE INTO push_certificates (topic, certificate, key, not_after) VALUES (?, ?, ?, ?)`,
			c.Topic, cert, sealed, micros(c.NotAfter))
		return err
	})
}

// PushTopics implements push.CertificateStore.
func (db *DB) PushTopics(ctx context.Context) ([]push.Topic, error) {
	var out []push.Topic
	err := each(ctx, db.reads, `SELECT topic, not_after FROM push_certificates ORDER BY topic`, nil, func(scan func(...any) error) error {
		var topic push.Topic
		var notAfter int64
		err := scan(&topic.Name, &notAfter)
		topic.NotAfter = fromMicros(notAfter)
		out = append(out, topic)
		return err
	})
	return out, err
}
