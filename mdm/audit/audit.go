// Package audit keeps a record of who did what and why, which nobody changes without being found out.
//
// A [Log] is append-only. The entries of a tenant are numbered from 1 without gaps and chained: each holds the hash of the one
// before, and its own [Hash] covers that and every field. So an entry that is changed, removed or moved breaks the chain, and
// [Verify] says where. Who can write to the database can also write the whole chain anew, or cut off its end; that is found by
// whoever remembers a [Head] outside of it, as a line in another system's log.
//
// An entry cannot hold an mdm.Secret: its fields are text, which a Secret does not give, and short. What is to be recorded of a
// secret is its kind and whose it is. An entry is written before what it tells of is done, as a rule: what could not be recorded
// does not happen, and what was recorded may not have happened.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
)

// Limits of an [Entry], in bytes. Entries are kept for ever, so they are short.
const (
	MaxName    = 255  // Tenant, Actor, Action
	MaxReason  = 2048 // Reason
	MaxDetails = 32   // number of Details
	MaxKey     = 64   // key of Details
	MaxValue   = 1024 // value of Details
)

// Entry is one record. All text is valid UTF-8 without NUL.
type Entry struct {
	Number int64     `json:"number"` // 1, 2, 3 … within the tenant; set by the Log
	At     time.Time `json:"at"`     // in microseconds; set by the Log if it is zero
	Tenant string    `json:"tenant,omitempty"`

	Actor  string `json:"actor"`  // who; required
	Action string `json:"action"` // what, a stable word as "secret.released"; required
	Reason string `json:"reason"` // why, in the actor's words; required

	Enrollment mdm.EnrollmentID  `json:"enrollment,omitzero"` // to whom; zero: to nobody in particular. Of the Tenant
	Details    map[string]string `json:"details,omitempty"`   // what else is to be known; no secrets

	Previous Hash `json:"previous"` // of the entry before; zero in the first. Set by the Log
	Hash     Hash `json:"hash"`     // of all other fields; set by the Log
}

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes the form of String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the form of String. The error is Malformed.
func (h *Hash) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(h) || len(text)%2 != 0 {
		return mdm.Errorf(mdm.Malformed, "audit.Hash", "a hash has %d hexadecimal digits, not %d", 2*len(h), len(text))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return mdm.Errorf(mdm.Malformed, "audit.Hash", "%w", err)
	}
	return nil
}

// Head is the last entry of a chain, and stands for all of it. The zero Head is that of an empty log.
type Head struct {
	Number int64
	Hash   Hash
}

// String returns number and hash with a colon between them, as ParseHead reads them.
func (h Head) String() string { return strconv.FormatInt(h.Number, 10) + ":" + h.Hash.String() }

// ParseHead reads the form of [Head.String]. The error is Malformed.
func ParseHead(s string) (h Head, err error) {
	const op = "audit.ParseHead"
	number, hash, _ := strings.Cut(s, ":")
	if h.Number, err = strconv.ParseInt(number, 10, 64); err != nil || h.Number < 0 || number != strconv.FormatInt(h.Number, 10) {
		return Head{}, mdm.Errorf(mdm.Malformed, op, "a head is a number, a colon and a hash")
	}
	if err := h.Hash.UnmarshalText([]byte(hash)); err != nil {
		return Head{}, err
	}
	if (h.Number == 0) != (h.Hash == Hash{}) {
		return Head{}, mdm.Errorf(mdm.Malformed, op, "only an empty log has no hash")
	}
	return h, nil
}

// Log keeps entries. Nothing in it is ever changed or deleted, whatever becomes of enrollments. It is safe for concurrent use by
// many goroutines and processes.
type Log interface {
	// Append adds an entry to the log of its tenant and returns it with its number and hash, when it is safely stored. Number,
	// Previous and Hash of e are passed over. The error is a Malformed one if Actor, Action or Reason is missing or something is
	// too long or no text; see [Entry.Chained].
	Append(ctx context.Context, e Entry) (Entry, error)
	// Entries yields the entries of a tenant with a greater Number than after, in order. A limit of 0 is no limit. After a
	// non-nil error it yields no more.
	Entries(ctx context.Context, tenant string, after int64, limit int) iter.Seq2[Entry, error]
	// Head returns the last entry of a tenant, as number and hash.
	Head(ctx context.Context, tenant string) (Head, error)
}

// Owner returns whose log e belongs to: Tenant or, if that is empty, the tenant of its Enrollment.
func (e *Entry) Owner() string {
	if e.Tenant == "" {
		return e.Enrollment.Tenant
	}
	return e.Tenant
}

// Chained returns e as a Log stores it behind head: with its number, its time (now, if it has none, in microseconds), the hash of
// the entry before and its own. The error is a Malformed one.
func (e Entry) Chained(head Head, now time.Time) (Entry, error) {
	e.Tenant = e.Owner()
	if e.Enrollment.Device == "" && e.Enrollment.User == "" {
		e.Enrollment = mdm.EnrollmentID{} // of a tenant alone: that is Tenant's to say, and not every database keeps it twice
	}
	if e.At.IsZero() {
		e.At = now
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Details = maps.Clone(e.Details)
	if len(e.Details) == 0 {
		e.Details = nil
	}
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	e.Number, e.Previous = head.Number+1, head.Hash
	e.Hash = e.Sum()
	return e, nil
}

func (e *Entry) check() error {
	const op = "audit.Append"
	for _, f := range []struct {
		name, value string
		most        int
		required    bool
	}{
		{"Tenant", e.Tenant, MaxName, false}, {"Actor", e.Actor, MaxName, true}, {"Action", e.Action, MaxName, true},
		{"Reason", e.Reason, MaxReason, true}, {"Enrollment.Device", e.Enrollment.Device, mdm.MaxIdentifier, false},
		{"Enrollment.User", e.Enrollment.User, mdm.MaxIdentifier, false},
	} {
		switch {
		case f.required && strings.TrimSpace(f.value) == "":
			return mdm.Errorf(mdm.Malformed, op, "%s is required", f.name)
		case !text(f.value, f.most):
			return mdm.Errorf(mdm.Malformed, op, "%s is no text of at most %d bytes", f.name, f.most)
		}
	}
	if !e.Enrollment.IsZero() && e.Enrollment.Tenant != e.Tenant {
		return mdm.Errorf(mdm.Malformed, op, "the enrollment is another tenant's")
	}
	if !e.Enrollment.IsZero() { // an export of what cannot be read back could never be verified
		if back, err := mdm.ParseEnrollmentID(e.Enrollment.String()); err != nil || back != e.Enrollment {
			return mdm.Errorf(mdm.Malformed, op, "the enrollment is none that has a text")
		}
	}
	if year := e.At.Year(); year < 1 || year > 9999 { // JSON has no others
		return mdm.Errorf(mdm.Malformed, op, "there is no year %d", year)
	}
	if len(e.Details) > MaxDetails {
		return mdm.Errorf(mdm.Malformed, op, "there are more than %d details", MaxDetails)
	}
	for key, value := range e.Details {
		if key == "" || !text(key, MaxKey) || !text(value, MaxValue) {
			return mdm.Errorf(mdm.Malformed, op, "a detail is no text of at most %d bytes under a key of 1 to %d", MaxValue, MaxKey)
		}
	}
	return nil
}

// text reports whether every database and every reader takes s as it is.
func text(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// form begins what is hashed. It changes if the encoding ever does.
const form = "applemdm audit entry 1"

// Sum returns the hash that e ought to have: the SHA-256 of its fields but Hash, in a form that no other entry has. Each text is
// preceded by its length as eight bytes, a number is eight bytes, big-endian, the time is its seconds since 1970 and its
// nanoseconds, and the details come behind their number, in the order of their keys.
func (e *Entry) Sum() Hash {
	var b []byte
	number := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	text := func(s string) {
		number(int64(len(s)))
		b = append(b, s...)
	}
	text(form)
	number(e.Number)
	number(e.At.Unix())
	number(int64(e.At.Nanosecond()))
	for _, s := range []string{e.Tenant, e.Actor, e.Action, e.Reason, e.Enrollment.Tenant, e.Enrollment.Device, e.Enrollment.User} {
		text(s)
	}
	number(int64(len(e.Details)))
	for _, key := range slices.Sorted(maps.Keys(e.Details)) {
		text(key)
		text(e.Details[key])
	}
	text(string(e.Previous[:]))
	return sha256.Sum256(b)
}

// Head returns e as the head of the chain that ends with it.
func (e *Entry) Head() Head { return Head{Number: e.Number, Hash: e.Hash} }
