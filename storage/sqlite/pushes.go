package sqlite

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

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
	_, err := t.exec(ctx, `INSERT INTO pushes (enrollment, due) VALUES (?1, ?2) ON CONFLICT (enrollment) DO UPDATE SET
		due = CASE WHEN leased = 0 THEN min(due, ?2) ELSE due END,
		next = CASE WHEN leased = 0 THEN 0 WHEN next = 0 THEN ?2 ELSE min(next, ?2) END`, enrollment, micros(due))
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
			if _, err := t.exec(ctx, `UPDATE pushes SET leased = ? WHERE enrollment = ?`, micros(now.Add(lease)), id); err != nil {
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
	switch {
	case !r.Retry.IsZero() && (r.Outcome == push.Retry || r.Outcome == push.BadCertificate):
		_, err = t.exec(ctx, `UPDATE pushes SET leased = 0, due = CASE WHEN next = 0 THEN ?2 ELSE min(next, ?2) END, next = 0 WHERE enrollment = ?1`,
			id, micros(r.Retry))
		return err
	case r.Outcome == push.Invalid: // the device was not woken: it will be, when there is a token that works
		if err := t.dropToken(ctx, id, r); err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE pushes SET leased = 0, next = 0 WHERE enrollment = ?`, id)
		return err
	}
	if _, err := t.exec(ctx, `DELETE FROM pushes WHERE enrollment = ? AND next = 0`, id); err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE pushes SET leased = 0, due = next, next = 0 WHERE enrollment = ?`, id)
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
