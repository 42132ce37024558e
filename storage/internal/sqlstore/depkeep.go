package sqlstore

import (
	"context"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm/dep"
)

const selectDevices = "SELECT d.body FROM mdm_dep_devices d "

// opDevice writes a record.
var opDevice = newOp("server= serial$ device gone due round body$", `INSERT INTO mdm_dep_devices (server, serial, device, gone, due, round, body)
	{values :server, :serial, :device, :gone, :due, :round, :body}
	{upsert server, serial: gone = {new gone}, due = {new due}, round = {new round}, body = {new body}}`)

// mostBytes is how much of records is sent at once: servers limit what they take, escaped.
const mostBytes = 4 << 20

// notDue is in the column due of what is not, and whileDue is a condition that such an index is known by.
const (
	notDue   = math.MaxInt64
	whileDue = "due < 9223372036854775807"
)

// deviceID is the same for a device on whatever server of a tenant, and hardly ever for two.
func deviceID(tenant, serial string) int64 { return commandID(tenant, serial) }

func devices(ctx context.Context, r reader, query string, args ...any) (out []dep.Record, err error) {
	err = r.query(ctx, query, args, func(scan func(...any) error) error {
		var body string
		if err := scan(&body); err != nil {
			return err
		}
		var found dep.Record
		err := found.SetBody(body)
		out = append(out, found)
		return err
	})
	return out, err
}

// opKnown selects a record, one by one: a list of serial numbers, or a join, leaves PostgreSQL free to read all that a server has if
// the statement was prepared when that was little. The limit keeps it a subquery for each.
var opKnown = newOp("server= serial$", "SELECT {i}, d.body FROM mdm_dep_devices d WHERE d.server = :server AND d.serial = :serial LIMIT 1")

// knownSizes are how many serial numbers a list has room for, so that there are few statements to prepare. (MariaDB makes a join of
// lists of 1,000.)
var knownSizes = []int{1, 10, 100, 500}

// knownDevices returns the calls that select records by their serial numbers.
func knownDevices(d *Dialect, server int64, serials []string, row func(scan func(...any) error) error) (out []*Call) {
	if d.Dollar {
		rows := make([][]any, len(serials))
		for i, serial := range serials {
			rows[i] = []any{server, serial}
		}
		out = opKnown.calls(d, rows)
	} else {
		for part := range slices.Chunk(serials, knownSizes[len(knownSizes)-1]) {
			i, _ := slices.BinarySearch(knownSizes, len(part))
			args := append([]any{server}, list(part)...)
			for len(args) <= knownSizes[i] {
				args = append(args, part[0])
			}
			out = append(out, &Call{Text: d.text("SELECT 0, d.body FROM mdm_dep_devices d WHERE d.server = ? AND d.serial IN (" + marks(knownSizes[i]) + ")"), Args: args})
		}
	}
	for _, c := range out {
		c.Rows = row
	}
	return out
}

// known returns the records of those devices that are known.
func (t *tx) known(ctx context.Context, server int64, serials []string) (map[string]*dep.Record, error) {
	out := make(map[string]*dep.Record, len(serials))
	if len(serials) == 0 {
		return out, nil
	}
	return out, t.send(ctx, false, knownDevices(t.db.dialect, server, serials, func(scan func(...any) error) error {
		var n int64
		var body string
		if err := scan(&n, &body); err != nil {
			return err
		}
		found := &dep.Record{}
		if err := found.SetBody(body); err != nil {
			return err
		}
		out[found.Serial] = found
		return nil
	})...)
}

// Keep implements dep.Store. Whoever changes the server or keeps records of it waits at its row.
func (db *DB) Keep(ctx context.Context, key dep.Key, serials []string, keep func(*dep.Server, map[string]*dep.Record) (dep.Kept, error)) error {
	if err := dep.CheckSerials(serials); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		s, err := db.server(ctx, t, lockServer, key)
		if err != nil {
			return err
		}
		if s == nil {
			return db.noServer("Keep", key)
		}
		known, err := t.known(ctx, s.id, serials)
		if err != nil {
			return err
		}
		var kept dep.Kept
		err = t.changeServer(s, func(next *dep.Server) (err error) {
			kept, err = keep(next, known)
			return err
		})
		if err == nil {
			err = kept.Check(key)
		}
		if err == nil {
			err = t.record(&turn{}, kept.Events...)
		}
		if err != nil {
			return err
		}
		return t.writeDevices(ctx, s.id, kept.Records)
	})
}

func (t *tx) writeDevices(ctx context.Context, server int64, records []dep.Record) error {
	size := 0
	for i := range records {
		body, err := records[i].Body()
		if err != nil {
			return err
		}
		if size += len(body); size > mostBytes && size > len(body) {
			if err := t.send(ctx, false); err != nil {
				return err
			}
			size = len(body)
		}
		r := &records[i]
		t.write(&turn{}, opDevice, server, r.Serial, deviceID(r.Server.Tenant, r.Serial), r.Gone, dueAt(r.Assignment.Due), r.Round, body)
	}
	return nil
}

func dueAt(due time.Time) int64 {
	if due = due.Truncate(time.Microsecond); due.IsZero() { // as its body has it
		return notDue
	}
	return due.UnixMicro()
}

// deviceRecords selects what servers have of a device. The device comes first: there may be many servers.
const deviceRecords = selectDevices + "CROSS JOIN mdm_dep_servers s WHERE d.device = ? AND d.serial = ? AND s.id = d.server AND s.tenant = ? AND s.deleted = 0"

// DeviceRecords implements dep.Store.
func (db *DB) DeviceRecords(ctx context.Context, tenant, serial string) ([]dep.Record, error) {
	if (dep.Key{Tenant: tenant, Name: "any"}).Check() != nil || !dep.IsSerial(serial) {
		return nil, nil
	}
	found, err := devices(ctx, snapshot{db}, deviceRecords, deviceID(tenant, serial), serial, tenant)
	slices.SortFunc(found, dep.CompareRecords)
	return found, err
}

// serverID returns the row of a server, 0 if there is none.
func (db *DB) serverID(ctx context.Context, key dep.Key) (id int64, err error) {
	if key.Check() != nil {
		return 0, nil
	}
	_, err = one(ctx, snapshot{db}, "SELECT id FROM mdm_dep_servers WHERE tenant = ? AND name = ? AND deleted = 0", []any{key.Tenant, key.Name}, &id)
	return id, err
}

// Records implements dep.Store. It reads in pages, between which no connection is held.
func (db *DB) Records(ctx context.Context, q dep.Query) iter.Seq2[dep.Record, error] {
	return func(yield func(dep.Record, error) bool) {
		err := q.Check()
		var server int64
		if err == nil {
			server, err = db.serverID(ctx, q.Server)
		}
		var last dep.Record
		for left := q.Limit; err == nil && server != 0; {
			page := pageSize
			if q.Limit > 0 {
				page = min(left, pageSize)
			}
			query, args := devicePage(server, q, last, page)
			var found []dep.Record
			if found, err = devices(ctx, snapshot{db}, query, args...); err != nil {
				break
			}
			for _, r := range found {
				if !yield(r, nil) {
					return
				}
				last, q.After = r, r.Serial
			}
			left -= len(found)
			if len(found) < page || q.Limit > 0 && left == 0 {
				return
			}
		}
		if err != nil {
			yield(dep.Record{}, err)
		}
	}
}

// devicePage selects the page after the last record.
func devicePage(server int64, q dep.Query, last dep.Record, limit int) (query string, args []any) {
	query, args = selectDevices+"WHERE d.server = ?", []any{server}
	and := func(condition string, values ...any) {
		query, args = query+" AND "+condition, append(args, values...)
	}
	order := "d.serial"
	switch {
	case q.DueBefore.IsZero():
		and("d.serial > ?", q.After)
	case last.Serial == "":
		order = "d.due, d.serial"
		and("d."+whileDue+" AND d.due <= ?", q.DueBefore.UnixMicro())
	default:
		order = "d.due, d.serial"
		due := dueAt(last.Assignment.Due)
		and("d."+whileDue+" AND d.due <= ? AND d.due >= ? AND (d.due > ? OR d.serial > ?)", q.DueBefore.UnixMicro(), due, due, last.Serial)
	}
	if !q.Gone {
		and("d.gone = 0")
	}
	if q.NotRound != 0 {
		and("d.round <> ?", q.NotRound)
	}
	return query + " ORDER BY " + order + " LIMIT ?", append(args, limit)
}

// countDevices counts the devices of a server, and those that are due.
const countDevices = "SELECT COUNT(*), (SELECT COUNT(*) FROM mdm_dep_devices u WHERE u.server = ? AND u.gone = 0 AND u." + whileDue + `)
	FROM mdm_dep_devices d WHERE d.server = ? AND d.gone = 0`

// CountRecords implements dep.Store.
func (db *DB) CountRecords(ctx context.Context, key dep.Key) (dep.Counts, error) {
	var all, due int64
	server, err := db.serverID(ctx, key)
	if err == nil && server != 0 {
		_, err = one(ctx, snapshot{db}, countDevices, []any{server, server}, &all, &due)
	}
	return dep.Counts{Devices: int(all), Due: int(due)}, err
}
