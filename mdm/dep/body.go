package dep

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// MaxBody is the most bytes that a server or a record has in the form in which stores keep it.
const MaxBody = 1 << 20

// Body returns the record in the form in which stores keep it: JSON in UTF-8. Its times are in UTC and of whole microseconds;
// those of its Device are kept as Apple gave them, in UTC. The error is Malformed if it cannot be kept.
func (r Record) Body() (string, error) {
	round(&r.GoneAt, &r.SeenAt, &r.Assignment.Due, &r.Assignment.At)
	return body("dep.Record", r)
}

// SetBody is the way back.
func (r *Record) SetBody(body string) error {
	*r = Record{}
	if err := json.Unmarshal([]byte(body), r); err != nil {
		return mdm.Errorf(mdm.Internal, "dep.Record", "the stored record cannot be read: %w", err)
	}
	return nil
}

// Body returns the server in the form in which stores keep it, as [Record.Body] does, without its secrets: see Secrets.
func (s Server) Body() (string, error) {
	y := &s.Sync
	round(&s.AddedAt, &y.HeldUntil, &y.FetchBegunAt, &y.FetchedAt, &y.At, &y.Until, &y.NotBefore)
	if s.Stopped != nil {
		stopped := *s.Stopped
		round(&stopped.Since, &stopped.At)
		s.Stopped = &stopped
	}
	return body("dep.Server", s)
}

// SetBody is the way back. The server has no secrets then: see SetSecrets.
func (s *Server) SetBody(body string) error {
	*s = Server{}
	if err := json.Unmarshal([]byte(body), s); err != nil {
		return mdm.Errorf(mdm.Internal, "dep.Server", "the stored server cannot be read: %w", err)
	}
	return nil
}

func body(op string, v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", mdm.Errorf(mdm.Malformed, op, "it cannot be kept: %w", err)
	}
	if len(data) > MaxBody {
		return "", mdm.Errorf(mdm.Malformed, op, "it has %d bytes, more than %d", len(data), MaxBody)
	}
	return strings.ToValidUTF8(string(data), "\ufffd"), nil // json leaves raw parts as they are
}

func round(times ...*time.Time) {
	for _, t := range times {
		*t = t.UTC().Truncate(time.Microsecond)
	}
}

// Date is when Apple did something about the device last, by its own word: changed it, or gave it to the server. A fetch of all
// says only the latter.
func (r *Record) Date() time.Time {
	if d := r.Device.DeviceAssignedDate; d.After(r.Device.OpDate) {
		return d
	}
	return r.Device.OpDate
}

// CompareRecords orders the records that several servers have of one device: first those that are not gone, then by Date, newest first,
// then by the name of the server.
func CompareRecords(a, b Record) int {
	gone := func(r *Record) int {
		if r.Gone {
			return 1
		}
		return 0
	}
	return cmp.Or(gone(&a)-gone(&b), b.Date().Compare(a.Date()), cmp.Compare(a.Server.Name, b.Server.Name))
}
