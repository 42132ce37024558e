package dep

import (
	"context"
	"iter"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// MaxBatch is the most devices that one call of a store, or of Apple's, is for.
const MaxBatch = 1000

// Store keeps servers and their devices. It loads and writes; what becomes of them is decided by the functions that it is given,
// which are quick, have no effects of their own, do not call the store and may be called more than once, perhaps on what they have
// decided before: the answer to a commit can be lost. It is safe for concurrent use by many goroutines and processes.
//
// A device is known by its serial number and the server, so that one that moves between servers loses nothing: it is gone
// from one and present on the other, in whatever order that is heard. Records stay until their server is deleted, also those that are
// gone: nothing sweeps them.
//
// What is written comes back as [Record.Body] and [Server.Body] keep it: times in UTC, to the microsecond. A server whose key
// cannot be kept is one that there is not.
type Store interface {
	// CreateServer stores a new server. The error is Malformed if its key cannot be kept or is taken.
	CreateServer(ctx context.Context, s Server) error
	// ChangeServer loads a server, lets change decide what becomes of it, and writes that, in one step that nothing comes
	// between, neither another ChangeServer nor a Keep. If change fails nothing is written, and its error is returned as it is.
	// The key and AddedAt cannot be changed. It returns the server as it was written, or a NotFound error.
	ChangeServer(ctx context.Context, key Key, change func(*Server) error) (Server, error)
	// Server returns a server with its secrets, or a NotFound error.
	Server(ctx context.Context, key Key) (Server, error)
	// Servers yields the servers of a tenant, ordered by name, with all of their secrets. After a non-nil error it yields no more.
	Servers(ctx context.Context, tenant string) iter.Seq2[Server, error]
	// DeleteServer deletes a server and, after it, all its records, in bounded transactions. It is no error if there is none.
	// Devices are not told, here or at Apple.
	DeleteServer(ctx context.Context, key Key) error

	// Keep loads a server and the records of these devices of it, at most [MaxBatch], lets keep decide, and writes the server,
	// the records that keep returns and its events, in one transaction. known has no entry for a device that is not known.
	// A record that is returned is written whole; its Server must be key. If keep fails nothing is written, and its error is
	// returned as it is. It returns a NotFound error if there is no such server, and a Malformed one for what cannot be asked for or kept: see
	// [CheckSerials] and [Kept.Check].
	Keep(ctx context.Context, key Key, serials []string, keep func(s *Server, known map[string]*Record) (Kept, error)) error

	// DeviceRecords returns the records of a device, one for each server of the tenant that knows it: first those that are not gone,
	// then by Apple's last date, newest first: see [CompareRecords].
	DeviceRecords(ctx context.Context, tenant, serial string) ([]Record, error)
	// Records yields what q selects, ordered by serial number (in bytes), or if q.DueBefore is set by when it is due, then by serial number.
	// After a non-nil error, as that of [Query.Check], it yields no more.
	Records(ctx context.Context, q Query) iter.Seq2[Record, error]
	// CountRecords counts the devices of a server that are not gone, and of those what there is to do. There are none if there is no such
	// server.
	CountRecords(ctx context.Context, key Key) (Counts, error)
}

// Kept is what is to be written of devices.
type Kept struct {
	Records []Record
	Events  []mdm.Event
}

// Check reports as a Malformed error what a store does not keep of a server: more than [MaxBatch] records, a record of another server,
// without a serial number or for the second time, and an event of another tenant.
func (k Kept) Check(key Key) error {
	const op = "dep.Keep"
	if len(k.Records) > MaxBatch {
		return mdm.Errorf(mdm.Malformed, op, "%d records at once", len(k.Records))
	}
	seen := make(map[string]bool, len(k.Records))
	for i := range k.Records {
		r := &k.Records[i]
		if r.Server != key || !IsSerial(r.Serial) {
			return mdm.Errorf(mdm.Malformed, op, "record %d is of another server, or has no serial number", i)
		}
		if seen[r.Serial] {
			return mdm.Errorf(mdm.Malformed, op, "record %d is there twice", i)
		}
		seen[r.Serial] = true
	}
	for i := range k.Events {
		if k.Events[i].Enrollment.Tenant != key.Tenant {
			return mdm.Errorf(mdm.Malformed, op, "event %d is of another tenant", i)
		}
	}
	return nil
}

// CheckSerials reports as a Malformed error that there are more than [MaxBatch] serial numbers, or that one is none.
func CheckSerials(serials []string) error {
	const op = "dep.Keep"
	if len(serials) > MaxBatch {
		return mdm.Errorf(mdm.Malformed, op, "%d devices at once", len(serials))
	}
	for i, s := range serials {
		if !IsSerial(s) {
			return mdm.Errorf(mdm.Malformed, op, "serial number %d is none", i)
		}
	}
	return nil
}

// Query selects records of one server.
type Query struct {
	Server    Key
	After     string    // the serial number of the last one of the page before
	Gone      bool      // those that are gone, too
	DueBefore time.Time // only those whose assignment is due then, or before; not with After
	NotRound  int       // only those that a fetch of this round did not see; 0: any
	Limit     int       // 0: no limit
}

// Counts is how many devices of a server there are.
type Counts struct {
	Devices int // that are not gone
	Due     int // of these, whose profile has to be changed
}

// Check reports as a Malformed error what cannot be asked for: an After that is no serial number, or together with DueBefore.
func (q *Query) Check() error {
	if q.After != "" && (!IsSerial(q.After) || !q.DueBefore.IsZero()) {
		return mdm.Errorf(mdm.Malformed, "dep.Records", "After is a serial number, and not together with DueBefore")
	}
	return nil
}

// Selects reports whether q selects r, but for Limit.
func (q *Query) Selects(r *Record) bool {
	return r.Server == q.Server && r.Serial > q.After && (q.Gone || !r.Gone) && (q.NotRound == 0 || r.Round != q.NotRound) &&
		(q.DueBefore.IsZero() || !r.Assignment.Due.IsZero() && !r.Assignment.Due.After(q.DueBefore))
}
