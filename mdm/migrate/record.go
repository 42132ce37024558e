package migrate

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// Source reads another server's data. It never changes it.
type Source interface {
	// Records yields every channel once, in an order that stays the same from run to run, a device before its users. It
	// begins after a Position that it gave out before; empty is the beginning, one that is not its own is a Malformed
	// error. What cannot be read of one record is said in that record. An error is the end.
	Records(ctx context.Context, after string) iter.Seq2[Record, error]
	// PushCertificates yields the push certificates. An unreadable one is a Malformed error, after which the next follows;
	// any other error is the end.
	PushCertificates(ctx context.Context) iter.Seq2[push.Certificate, error]
}

// Record is one channel of a device as the source has it.
type Record struct {
	// Position names the record. A run that was interrupted goes on after it.
	Position string

	// Err says why nothing of the record can be used. NotEnrolled says why there is nothing to take over. If either is
	// set, the rest does not matter.
	Err         error
	NotEnrolled string
	// Problems are parts that could not be read. The rest of the record is used. Like Err they hold no secrets.
	Problems []error

	// Enrollment is the channel. Generation and Arrival are set by [Run], and so is the Tenant.
	Enrollment mdm.Enrollment
	// Certificates of a device, to be written in this order: at most one active, then at most one pending, then retired ones.
	Certificates []mdm.Certificate

	UnlockToken    mdm.Secret // device channel only; zero if there is none
	BootstrapToken mdm.Secret // device channel only; zero if there is none

	// Commands yields those without a final answer, in the order of their queue. It is called at most once, before the next
	// record is asked for or while it is. Nil: there are none.
	Commands iter.Seq2[Command, error]
}

// Command is one that waits in a queue.
type Command struct {
	UUID string
	Body []byte // the whole message, or its Command dictionary; a property list
}

// Arrival is the [mdm.Enrollment].Arrival of a channel that was imported and is enrolled. It tells a row that an import made
// from one that the device made itself, as long as the device does not enroll anew. There is no event of this type.
const Arrival mdm.EventType = "enrollment.imported"

// limits of texts and bytes, in bytes. A store has columns for identifiers; a device's own are much shorter.
const (
	maxText   = 255
	maxMagic  = 1 << 10
	maxToken  = 4 << 10
	maxSecret = 64 << 10 // Apple: an UnlockToken has up to 8 KiB
)

// prepare completes the enrollment of r and says what makes it unusable.
func (r *Record) prepare(tenant string) error {
	e := &r.Enrollment
	e.ID.Tenant = tenant
	e.Generation, e.Arrival, e.LastSeenAt = 1, Arrival, time.Time{}
	if e.State == mdm.Pending { // its first TokenUpdate leaves the event that this names
		e.Arrival = mdm.EventReenrolled
	}
	for _, t := range []*time.Time{&e.AuthenticatedAt, &e.EnrolledAt, &e.TokenUpdatedAt, &e.EndedAt} {
		*t = micro(*t)
	}
	for i := range r.Certificates {
		r.Certificates[i].Tenant, r.Certificates[i].Device, r.Certificates[i].Generation = tenant, e.ID.Device, 1
	}
	return r.check()
}

func (r *Record) check() error {
	e := &r.Enrollment
	for _, s := range []string{e.Device.Name, e.Device.Model, e.Device.ModelName, e.Device.ProductName, e.Device.SerialNumber,
		e.Device.OSVersion, e.Device.BuildVersion, e.Device.IMEI, e.Device.MEID, e.UserShortName, e.UserLongName, e.Topic, e.PushMagic} {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return errors.New("a name or number of the device is not text")
		}
	}
	switch {
	case e.ID.Device == "" || e.Channel.IsUser() != e.ID.IsUser() || e.Channel == 0:
		return errors.New("the record does not say of which channel it is")
	case e.State != mdm.Enrolled && e.State != mdm.Pending:
		return errors.New("the channel is neither enrolled nor pending")
	case e.Topic == "" || len(e.Topic) > maxText:
		return errors.New("the push topic is missing or too long")
	case e.PushMagic == "" || len(e.PushMagic) > maxMagic:
		return errors.New("the PushMagic is missing or too long")
	case len(e.PushToken) == 0 || len(e.PushToken) > maxToken:
		return errors.New("the push token is missing or too long")
	case len(e.Device.SerialNumber) > maxText || len(e.UserShortName) > maxText || len(e.UserLongName) > maxText:
		return errors.New("a serial number or user name is too long")
	}
	return nil
}

// micro is t as every store keeps it.
func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// page reads up to n records after a key. last is the key of the last row that was looked at, empty at the end.
type page func(ctx context.Context, after string, n int) (records []Record, last string, err error)

// phase is one table of a source. Its records' positions are "name:key".
type phase struct {
	name string
	page page
}

// pageSize bounds how much of a source is in memory.
const pageSize = 100

// walk yields what the phases hold, one after the other.
func walk(ctx context.Context, phases []phase, after string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		rest, key, err := skipTo(phases, after)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, p := range rest {
			if !p.walk(ctx, key, yield) {
				return
			}
			key = ""
		}
	}
}

func (p phase) walk(ctx context.Context, key string, yield func(Record, error) bool) bool {
	for {
		records, last, err := p.page(ctx, key, pageSize)
		if err != nil {
			return yield(Record{}, err) && false
		}
		for _, r := range records {
			r.Position = p.name + ":" + r.Position
			if !yield(r, nil) {
				return false
			}
		}
		if last == "" {
			return true
		}
		key = last
	}
}

// skipTo returns the phases from the one of a position on, and the key in the first of them.
func skipTo(phases []phase, after string) ([]phase, string, error) {
	if after == "" {
		return phases, "", nil
	}
	name, key, _ := strings.Cut(after, ":")
	for i, p := range phases {
		if p.name == name {
			return phases[i:], key, nil
		}
	}
	return nil, "", mdm.Errorf(mdm.Malformed, "migrate.Records", "not a position of this source")
}
