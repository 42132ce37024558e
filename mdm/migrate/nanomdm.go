package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// Dialect is the kind of SQL server that a [NanoMDM] database is on.
type Dialect uint8

// The dialects. MySQL is MariaDB, too.
const (
	PostgreSQL Dialect = iota
	MySQL
)

// NanoMDM is a [Source] on the database of github.com/micromdm/nanomdm, as version 0.9.0 has it: its tables devices, users,
// enrollments, commands, command_results, enrollment_queue, cert_auth_associations and push_certs. It reads pages by key, so
// it needs little memory, and nothing is locked.
//
// An enrollment that is not enabled is one of two. NanoMDM disables it at a CheckOut, and at every Authenticate, until the
// TokenUpdate. If the last Authenticate came after the last TokenUpdate, an enrollment or a renewal is under way, or failed
// and the device went on with what it had; it is imported as pending, with both certificates, so that the device is admitted
// either way. Else it checked out, and is NotEnrolled.
//
// NanoMDM accepts every certificate that was ever associated with a device. Here the one of the last Authenticate speaks for
// it, else the newest; the others become retired ones, with which a device may still send a TokenUpdate. Times in PostgreSQL
// have no zone there; they are read in the session's, which is NanoMDM's too unless it was told otherwise.
type NanoMDM struct {
	DB      *sql.DB
	Dialect Dialect
}

// Records implements [Source].
func (n NanoMDM) Records(ctx context.Context, after string) iter.Seq2[Record, error] {
	return walk(ctx, []phase{{"device", n.devices}, {"user", n.users}}, after)
}

// micros is a SQL expression for a time column, as microseconds since 1970 or NULL.
func (n NanoMDM) micros(column string) string {
	if n.Dialect == MySQL {
		return "CAST(UNIX_TIMESTAMP(" + column + ") * 1000000 AS SIGNED)"
	}
	return "CAST(EXTRACT(EPOCH FROM CAST(" + column + " AS TIMESTAMPTZ)) * 1000000 AS BIGINT)"
}

// query numbers the placeholders for PostgreSQL.
func (n NanoMDM) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if n.Dialect == PostgreSQL {
		for i := 1; strings.Contains(query, "?"); i++ {
			query = strings.Replace(query, "?", fmt.Sprintf("$%d", i), 1)
		}
	}
	return n.DB.QueryContext(ctx, query, args...)
}

// each calls f for every row. It always closes them.
func each(rows *sql.Rows, err error, f func(scan func(...any) error) error) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// maxMessage bounds what is read of a stored message, in characters; they have some kilobytes.
const maxMessage = 1 << 20

// upTo is a SQL expression for the beginning of a column, one longer than its limit if it is too long.
func upTo(limit int, column string) string {
	return fmt.Sprintf("SUBSTRING(%s FROM 1 FOR %d)", column, limit+1)
}

const pushColumns = "e.enabled, e.topic, e.push_magic, e.token_hex"

func (n NanoMDM) devices(ctx context.Context, after string, limit int) (records []Record, last string, err error) {
	rows, err := n.query(ctx, "SELECT d.id, d.identity_cert, "+upTo(maxSecret, "d.unlock_token")+", "+upTo(2*maxSecret, "d.bootstrap_token_b64")+", "+
		upTo(maxMessage, "d.authenticate")+", "+upTo(maxMessage, "d.token_update")+", "+n.micros("d.authenticate_at")+", "+
		n.micros("d.token_update_at")+", "+pushColumns+`
		FROM devices d LEFT JOIN enrollments e ON e.id = d.id
		WHERE d.id > ? ORDER BY d.id LIMIT ?`, after, limit)
	var page []nanoDevice
	err = each(rows, err, func(scan func(...any) error) error {
		var d nanoDevice
		err := scan(&d.id, &d.identity, &d.unlockToken, &d.bootstrapToken, &d.authenticate, &d.tokenUpdate, &d.authenticatedAt,
			&d.tokenUpdatedAt, &d.push.enabled, &d.push.topic, &d.push.magic, &d.push.token)
		page = append(page, d)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("devices: %w", err)
	}
	for i := range page {
		if page[i].associations, err = n.associations(ctx, page[i].id); err != nil {
			return nil, "", fmt.Errorf("certificates: %w", err)
		}
		r := page[i].record()
		r.Commands = n.queue(ctx, page[i].id)
		records, last = append(records, r), page[i].id
	}
	return records, last, nil
}

func (n NanoMDM) users(ctx context.Context, after string, limit int) (records []Record, last string, err error) {
	rows, err := n.query(ctx, "SELECT u.id, u.device_id, u.user_short_name, u.user_long_name, "+upTo(maxMessage, "u.token_update")+", "+
		n.micros("u.token_update_at")+", "+pushColumns+`
		FROM users u LEFT JOIN enrollments e ON e.user_id = u.id AND e.device_id = u.device_id
		WHERE u.id > ? ORDER BY u.id LIMIT ?`, after, limit)
	err = each(rows, err, func(scan func(...any) error) error {
		var u nanoUser
		if err := scan(&u.id, &u.device, &u.shortName, &u.longName, &u.tokenUpdate, &u.tokenUpdatedAt,
			&u.push.enabled, &u.push.topic, &u.push.magic, &u.push.token); err != nil {
			return err
		}
		r := u.record()
		r.Commands = n.queue(ctx, u.id)
		records, last = append(records, r), u.id
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("users: %w", err)
	}
	return records, last, nil
}

// maxAssociations is how many certificates of one device are taken over, the newest first.
const maxAssociations = 8

func (n NanoMDM) associations(ctx context.Context, id string) (out []association, err error) {
	rows, err := n.query(ctx, "SELECT sha256, "+n.micros("updated_at")+` FROM cert_auth_associations
		WHERE id = ? ORDER BY updated_at DESC, created_at DESC, sha256 LIMIT ?`, id, maxAssociations)
	err = each(rows, err, func(scan func(...any) error) error {
		var a association
		err := scan(&a.sha256, &a.at)
		out = append(out, a)
		return err
	})
	return out, err
}

// queue yields the commands that NanoMDM would still offer: active ones without a result, or with NotNow as the last one. It
// orders by priority, then time; what was queued at once keeps a fixed order by UUID.
func (n NanoMDM) queue(ctx context.Context, id string) iter.Seq2[Command, error] {
	return func(yield func(Command, error) bool) {
		rows, err := n.query(ctx, "SELECT c.command_uuid, "+upTo(command.MaxBody, "c.command")+`
			FROM enrollment_queue q
			JOIN commands c ON c.command_uuid = q.command_uuid
			LEFT JOIN command_results r ON r.id = q.id AND r.command_uuid = q.command_uuid
			WHERE q.id = ? AND q.active AND (r.status IS NULL OR r.status = 'NotNow')
			ORDER BY q.priority DESC, q.created_at, q.command_uuid`, id)
		more := true
		err = each(rows, err, func(scan func(...any) error) error {
			var c Command
			err := scan(&c.UUID, &c.Body)
			if err == nil {
				if more = yield(c, nil); !more {
					return errStopped
				}
			}
			return err
		})
		if err != nil && more {
			yield(Command{}, fmt.Errorf("queue: %w", err))
		}
	}
}

// PushCertificates implements [Source].
func (n NanoMDM) PushCertificates(ctx context.Context) iter.Seq2[push.Certificate, error] {
	return func(yield func(push.Certificate, error) bool) {
		more := true
		rows, err := n.query(ctx, "SELECT topic, cert_pem, key_pem FROM push_certs ORDER BY topic")
		err = each(rows, err, func(scan func(...any) error) error {
			var topic string
			var cert, key []byte
			if err := scan(&topic, &cert, &key); err != nil {
				return err
			}
			if more = yield(loadPushCertificate(cert, key)); !more {
				return errStopped
			}
			return nil
		})
		if err != nil && more {
			yield(push.Certificate{}, err)
		}
	}
}

var _ Source = NanoMDM{}

// nanoPush is the row of an enrollment, all NULL if there is none.
type nanoPush struct {
	enabled             sql.NullBool
	topic, magic, token sql.NullString
}

// association is one of the certificates that NanoMDM accepts from a device.
type association struct {
	sha256 string
	at     sql.NullInt64
}

// fill sets the push trifecta of an enrollment.
func (p nanoPush) fill(e *mdm.Enrollment) (err error) {
	e.Topic, e.PushMagic = p.topic.String, p.magic.String
	e.PushToken, err = fromHex(p.token.String)
	return err
}
