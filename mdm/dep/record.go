package dep

import (
	"bytes"
	"encoding/json"
	"reflect"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
)

const (
	maxName   = 255
	maxSerial = 64 // Apple's are of 10 to 14 characters
)

// Record is a device of a server, as it is kept. A device that moves has one with each of its servers: see [Store].
type Record struct {
	Server Key
	Serial string
	Device Device // as Apple told of it last

	Gone   bool      `json:",omitzero"` // it is not on the server any more: released, or moved to another
	GoneAt time.Time `json:",omitzero"` // when we heard so
	SeenAt time.Time `json:",omitzero"` // when Apple last told of it; that nothing changed is not always kept
	Round  int       `json:",omitzero"` // of the fetch of all that saw it last

	// Want is the UUID of the profile that this device ought to have; empty: that of the server.
	Want       string     `json:",omitzero"`
	Era        int        `json:",omitzero"` // Want is of a server as it was in this Era of its own
	Assignment Assignment `json:",omitzero"`
}

// Assignment is how far a device is from the profile that it ought to have.
type Assignment struct {
	Due     time.Time `json:",omitzero"` // when it is to be tried; zero: there is nothing to do
	Tries   int       `json:",omitzero"` // in vain, since the last change
	Profile string    `json:",omitzero"` // what was asked for last
	Answer  string    `json:",omitzero"` // what Apple said to it: "SUCCESS", "NOT_ACCESSIBLE", "FAILED", "THROTTLED", or a word of ours
	At      time.Time `json:",omitzero"` // when that was
}

// Change is what a message of Apple's changed.
type Change uint8

// The changes.
const (
	Unchanged Change = iota
	Added            // it is new, or back
	Modified
	Removed
)

var changeEvents = [...]mdm.EventType{"", mdm.EventDeviceAdded, mdm.EventDeviceModified, mdm.EventDeviceRemoved}

// Tell takes what Apple says of a device of the server: that it is there, or gone. What is older than what is known, by
// Apple's date, changes nothing; a message without a date is always the newest. r may be new, with only Server and Serial set.
func (r *Record) Tell(d Device, gone bool, now time.Time) Change {
	known := !r.SeenAt.IsZero()
	if known && !d.OpDate.IsZero() && d.OpDate.Before(r.Device.OpDate) {
		return Unchanged
	}
	was := *r
	if d.OpDate.IsZero() {
		d.OpDate = r.Device.OpDate // so that what is older still is
	}
	d = d.bounded()
	d.OpType, d.ResponseStatus = "", ""
	r.SeenAt = now
	if gone {
		r.Device.OpDate = d.OpDate
		if !known {
			r.Device = d
		}
		r.Gone, r.Assignment = true, Assignment{}
		if known && was.Gone {
			return Unchanged
		}
		r.GoneAt = now
		if !known {
			return Unchanged // it was never here
		}
		return Removed
	}
	r.Device, r.Gone, r.GoneAt = d, false, time.Time{}
	switch {
	case !known || was.Gone:
		return Added
	case sameDevice(was.Device, d):
		return Unchanged
	}
	return Modified
}

// sameDevice compares what Apple says, but for the date of its saying so.
func sameDevice(a, b Device) bool {
	a.OpDate, b.OpDate = time.Time{}, time.Time{}
	if reflect.DeepEqual(a, b) { // most are, and it is quick
		return true
	}
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(bytes.ToValidUTF8(x, []byte("\ufffd")), bytes.ToValidUTF8(y, []byte("\ufffd"))) // as a body has them
}

// Wanted returns the profile that the device ought to have on its server, empty if what it has is left alone.
func (r *Record) Wanted(s *Server) string {
	if r.Want != "" && r.Era == s.Era {
		return r.Want
	}
	return s.Profile
}

// Right reports whether the device has the profile that it ought to have, or nothing is to be done about it.
func (r *Record) Right(s *Server) bool {
	want := r.Wanted(s)
	return r.Gone || want == "" || r.Device.has(want)
}

// has reports whether Apple says that the device has a profile. A state that is missing, or a new one, says nothing against its UUID.
func (d *Device) has(uuid string) bool {
	return d.ProfileUUID == uuid && d.ProfileStatus != ProfileEmpty && d.ProfileStatus != ProfileRemoved
}

// Judge makes the device due if it has not the profile that it ought to have, and not due if it has. If it is due already, for the
// same profile, that is left as it is, unless it is so late that a clock was wrong.
func (r *Record) Judge(s *Server, now time.Time) {
	switch {
	case r.Right(s):
		r.Assignment.Due, r.Assignment.Tries = time.Time{}, 0
	case r.Assignment.Due.IsZero() || r.Assignment.Profile != "" && r.Assignment.Profile != r.Wanted(s) || r.Assignment.Due.Sub(now) > maxRetryAfter+oddClock:
		r.Assignment.Due, r.Assignment.Tries = now, 0
	}
}

// Event tells of the device. The event is about the tenant: it is known by its serial number only.
func (r *Record) Event(t mdm.EventType, at time.Time, reason string) mdm.Event {
	return mdm.Event{Type: t, At: at, Enrollment: mdm.EnrollmentID{Tenant: r.Server.Tenant}, Subject: r.Server.Name, Name: r.Serial, Reason: reason}
}

// IsSerial reports whether s can be a serial number: printable, without spaces, at most 64 bytes.
func IsSerial(s string) bool {
	if s == "" || !plain(s, maxSerial) {
		return false
	}
	for _, c := range s {
		if unicode.IsSpace(c) {
			return false
		}
	}
	return true
}

// plain reports whether every database keeps s as it is, as a key.
func plain(s string, max int) bool {
	if len(s) > max || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}
