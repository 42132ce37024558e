package sqlite

import (
	"context"
	"encoding/json"
	"iter"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

const enrollmentColumns = `id, tenant, device, user, channel, state, generation, topic, rights, info, short_name, long_name, arrival,
	awaiting, push_token, push_magic, authenticated_at, enrolled_at, token_updated_at, ended_at, end_reason, last_seen_at, auth_token, erase_sent`

// row is an enrollment with what the store knows besides.
type row struct {
	mdm.Enrollment
	id        int64
	authToken []byte
	eraseSent mdm.Generation
}

func scanRow(scan func(...any) error, more ...any) (*row, error) {
	var r row
	var info string
	var authenticated, enrolled, updated, ended, seen int64
	e := &r.Enrollment
	err := scan(append([]any{&r.id, &e.ID.Tenant, &e.ID.Device, &e.ID.User, &e.Channel, &e.State, &e.Generation, &e.Topic, &e.Rights, &info,
		&e.UserShortName, &e.UserLongName, &e.Arrival, &e.AwaitingConfiguration, &e.PushToken, &e.PushMagic, &authenticated, &enrolled,
		&updated, &ended, &e.EndReason, &seen, &r.authToken, &r.eraseSent}, more...)...)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(info), &e.Device); err != nil {
		return nil, err
	}
	e.AuthenticatedAt, e.EnrolledAt, e.TokenUpdatedAt = fromMicros(authenticated), fromMicros(enrolled), fromMicros(updated)
	e.EndedAt, e.LastSeenAt = fromMicros(ended), fromMicros(seen)
	return &r, nil
}

// writeEnrollment writes a row whole, but for what the store keeps itself.
func (t *tx) writeEnrollment(ctx context.Context, e *mdm.Enrollment) error {
	info, err := json.Marshal(e.Device)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO enrollments (tenant, device, user, channel, state, generation, topic, rights, info, serial, short_name,
			long_name, arrival, awaiting, push_token, push_magic, authenticated_at, enrolled_at, token_updated_at, ended_at, end_reason)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
		ON CONFLICT (tenant, device, user) DO UPDATE SET channel = ?4, state = ?5, generation = ?6, topic = ?7, rights = ?8, info = ?9,
			serial = ?10, short_name = ?11, long_name = ?12, arrival = ?13, awaiting = ?14, push_token = ?15, push_magic = ?16,
			authenticated_at = ?17, enrolled_at = ?18, token_updated_at = ?19, ended_at = ?20, end_reason = ?21`,
		e.ID.Tenant, e.ID.Device, e.ID.User, e.Channel, e.State, e.Generation, e.Topic, e.Rights, string(info), e.Device.SerialNumber,
		e.UserShortName, e.UserLongName, string(e.Arrival), e.AwaitingConfiguration, e.PushToken, e.PushMagic, micros(e.AuthenticatedAt),
		micros(e.EnrolledAt), micros(e.TokenUpdatedAt), micros(e.EndedAt), e.EndReason)
	return err
}

// row returns the record of a channel, nil if there is none.
func (t *tx) row(ctx context.Context, id mdm.EnrollmentID) (found *row, err error) {
	err = each(ctx, t, `SELECT `+enrollmentColumns+` FROM enrollments WHERE tenant = ? AND device = ? AND user = ?`,
		[]any{id.Tenant, id.Device, id.User}, func(scan func(...any) error) error {
			found, err = scanRow(scan)
			return err
		})
	return found, err
}

// rowID returns the row of an enrollment, 0 if there is none.
func (t *tx) rowID(ctx context.Context, id mdm.EnrollmentID) (int64, error) {
	if n := t.ids[id]; n != 0 {
		return n, nil
	}
	var n int64
	_, err := one(ctx, t, `SELECT id FROM enrollments WHERE tenant = ? AND device = ? AND user = ?`, []any{id.Tenant, id.Device, id.User}, &n)
	t.ids[id] = n
	return n, err
}

// standing loads what is known of a caller, in two statements. The rows are nil where there are none.
func standing(ctx context.Context, r runner, id mdm.EnrollmentID, fp mdm.Fingerprint) (s identity.Standing, own, device *row, err error) {
	err = each(ctx, r, `SELECT `+enrollmentColumns+` FROM enrollments WHERE tenant = ? AND device = ? AND user IN ('', ?)`,
		[]any{id.Tenant, id.Device, id.User}, func(scan func(...any) error) error {
			found, err := scanRow(scan)
			if err != nil {
				return err
			}
			if found.ID == id {
				own = found
			}
			if !found.ID.IsUser() {
				device = found
			}
			return nil
		})
	if err != nil {
		return s, nil, nil, err
	}
	if own != nil {
		s.Enrollment, s.AuthTokenHash = &own.Enrollment, own.authToken
	}
	if device != nil {
		s.Device = &device.Enrollment
	}
	return s, own, device, certificates(ctx, r, &s, id, fp)
}

// certificates loads the presented certificate, the device's active and pending ones, and a denial of either.
func certificates(ctx context.Context, r runner, s *identity.Standing, id mdm.EnrollmentID, fp mdm.Fingerprint) error {
	return each(ctx, r, `SELECT 0, '', `+certificateColumns+` FROM certificates WHERE tenant = ?1 AND fingerprint = ?3
		UNION ALL SELECT 1, '', `+certificateColumns+` FROM certificates WHERE tenant = ?1 AND device = ?2 AND status IN (?4, ?5)
		UNION ALL SELECT 2, reason, tenant, fingerprint, device, '', 0, 0, 0, '', '', 0, 0, 0, 0, 0 FROM denials
			WHERE tenant = ?1 AND device = ?2 AND fingerprint = x''
		UNION ALL SELECT 2, reason, tenant, fingerprint, device, '', 0, 0, 0, '', '', 0, 0, 0, 0, 0 FROM denials
			WHERE tenant = ?1 AND device = '' AND fingerprint = ?3`,
		[]any{id.Tenant, id.Device, fp[:], mdm.CertificateActive, mdm.CertificatePending}, func(scan func(...any) error) error {
			var part int
			var reason string
			c, err := scanCertificate(scan, &part, &reason)
			if err != nil {
				return err
			}
			switch {
			case part == 2:
				s.Denied = "on the deny list"
				if reason != "" {
					s.Denied = reason
				}
			case part == 0:
				s.Certificate = c
			case c.Status == mdm.CertificateActive:
				s.Active = c
			default:
				s.Pending = c
			}
			return nil
		})
}

const certificateColumns = `tenant, fingerprint, device, device_serial, status, purpose, generation, serial, subject, not_before, not_after,
	issued_at, bound_at, retired_at`

func scanCertificate(scan func(...any) error, before ...any) (*mdm.Certificate, error) {
	var c mdm.Certificate
	var fp []byte
	var notBefore, notAfter, issued, bound, retired int64
	err := scan(append(before, &c.Tenant, &fp, &c.Device, &c.DeviceSerial, &c.Status, &c.Purpose, &c.Generation, &c.SerialNumber, &c.Subject,
		&notBefore, &notAfter, &issued, &bound, &retired)...)
	if err != nil {
		return nil, err
	}
	copy(c.Fingerprint[:], fp)
	c.NotBefore, c.NotAfter = fromMicros(notBefore), fromMicros(notAfter)
	c.IssuedAt, c.BoundAt, c.RetiredAt = fromMicros(issued), fromMicros(bound), fromMicros(retired)
	return &c, nil
}

func (t *tx) writeCertificates(ctx context.Context, certs []mdm.Certificate) error {
	for _, c := range certs {
		_, err := t.exec(ctx, `INSERT OR REPLACE INTO certificates (`+certificateColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.Tenant, c.Fingerprint[:], c.Device, c.DeviceSerial, c.Status, c.Purpose, c.Generation, c.SerialNumber, c.Subject,
			micros(c.NotBefore), micros(c.NotAfter), micros(c.IssuedAt), micros(c.BoundAt), micros(c.RetiredAt))
		if err != nil {
			return err
		}
	}
	return nil
}

// Enrollment implements checkin.Roster.
func (db *DB) Enrollment(ctx context.Context, id mdm.EnrollmentID) (*mdm.Enrollment, error) {
	var found *row
	err := each(ctx, db.reads, `SELECT `+enrollmentColumns+` FROM enrollments WHERE tenant = ? AND device = ? AND user = ?`,
		[]any{id.Tenant, id.Device, id.User}, func(scan func(...any) error) (err error) {
			found, err = scanRow(scan)
			return err
		})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, notFound("sqlite.Enrollment", id)
	}
	db.seen.apply(&found.Enrollment)
	return &found.Enrollment, nil
}

// pageSize is how many rows a stream reads at once. Between pages no connection is held.
const pageSize = 500

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
			rows, err := selectRows(ctx, db.reads, page)
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

// selectRows returns what f selects, in order. A Limit of 0 is no limit.
func selectRows(ctx context.Context, r runner, f mdm.Filter) ([]*row, error) {
	where, args := []string{"tenant = ?"}, []any{f.Tenant}
	and := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if !f.After.IsZero() {
		and("(device, user) > (?, ?)", f.After.Device, f.After.User)
	}
	if f.Device != "" {
		and("device = ?", f.Device)
	}
	if f.Topic != "" {
		and("topic = ?", f.Topic)
	}
	if f.SerialNumber != "" {
		and("serial = ? AND serial <> ''", f.SerialNumber)
	}
	if len(f.States) > 0 {
		and("state IN ("+marks(len(f.States))+")", list(f.States)...)
	}
	if len(f.Channels) > 0 {
		and("channel IN ("+marks(len(f.Channels))+")", list(f.Channels)...)
	}
	limit := -1
	if f.Limit > 0 {
		limit = f.Limit
	}
	var rows []*row
	err := each(ctx, r, `SELECT `+enrollmentColumns+` FROM enrollments WHERE `+strings.Join(where, " AND ")+` ORDER BY device, user LIMIT ?`,
		append(args, limit), func(scan func(...any) error) error {
			found, err := scanRow(scan)
			rows = append(rows, found)
			return err
		})
	return rows, err
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
