package enroll

import (
	"encoding/json"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
)

// MaxSessionDevice is how long the Device of a [Session] may be, as JSON, in bytes.
const MaxSessionDevice = 16 << 10

// The last year that stores keep, of four digits as everywhere.
const lastYear = 9999

// Prepared is a session as stores keep it: its times in UTC and to the microsecond, its Device a copy, and nil if it is empty.
// The error is Malformed, for what not every store can keep:
//   - ID and Kind are 1 to [mdm.MaxIdentifier] bytes: ASCII letters, digits, - and _, because they are in URLs.
//   - Tenant and User are at most that long, UTF-8 without a zero byte.
//   - Device is at most [MaxSessionDevice] long, and of the same text.
//   - State is one of the states, and Runs is not negative.
//   - A time is zero, or from 1970 on and of a year of four digits.
//
// It is for stores.
func (s Session) Prepared() (Session, error) {
	switch {
	case !IsSessionID(s.ID) || !IsSessionID(s.Kind):
		return Session{}, badSession("its ID and its kind are letters, digits, - and _, not too long")
	case len(s.Tenant) > mdm.MaxIdentifier || len(s.User) > mdm.MaxIdentifier || !isText(s.Tenant) || !isText(s.User):
		return Session{}, badSession("its tenant or its user is too long or no text")
	case s.State < SessionOpen || s.State > SessionDelivered:
		return Session{}, badSession("it has no state")
	case s.Runs < 0:
		return Session{}, badSession("it was run a negative number of times")
	}
	device, err := keptDevice(s.Device)
	if err != nil {
		return Session{}, err
	}
	s.Device = device
	for _, t := range []*time.Time{&s.BegunAt, &s.OpenUntil, &s.DeliveredAt, &s.UpdateFrom, &s.KeepUntil} {
		if *t = t.UTC().Truncate(time.Microsecond); !t.IsZero() && (t.UnixMicro() <= 0 || t.Year() > lastYear) {
			return Session{}, badSession("one of its times is too long ago, or too far away")
		}
	}
	return s, nil
}

// Changed is a session as change makes it, prepared. Its ID, Kind, Tenant and BegunAt are as they were. The error is that of
// change, as it is, or Malformed. The session itself stays as it is. It is for stores.
func (s Session) Changed(change func(*Session) error) (Session, error) {
	next := s
	next.Device = maps.Clone(s.Device)
	if err := change(&next); err != nil {
		return Session{}, err
	}
	next.ID, next.Kind, next.Tenant, next.BegunAt = s.ID, s.Kind, s.Tenant, s.BegunAt
	return next.Prepared()
}

// keptDevice returns a copy of what a device said.
func keptDevice(device map[string]string) (map[string]string, error) {
	if len(device) == 0 {
		return nil, nil
	}
	size := 0
	for name, value := range device {
		if size += len(name) + len(value); size > MaxSessionDevice || !isText(name) || !isText(value) {
			return nil, badSession("what its device said is too long or no text")
		}
	}
	if text, err := json.Marshal(device); err != nil || len(text) > MaxSessionDevice {
		return nil, badSession("what its device said is too long")
	}
	return maps.Clone(device), nil
}

// IsSessionID reports whether s may be the ID of a session. Stores find none of any other, whatever a URL said.
func IsSessionID(s string) bool {
	return s != "" && len(s) <= mdm.MaxIdentifier && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// isText reports whether every database can keep s as text.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func badSession(text string) error {
	return mdm.Errorf(mdm.Malformed, "enroll.Session", "a session cannot be kept: %s", text)
}
