package mdmtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm/dep"
)

// AddMany gives a server n new devices, a million if need be, and returns the number of the first: their serial numbers are
// [ABMSerial] of that and those after it.
func (a *ABM) AddMany(s *ABMServer, n int) (first int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, first := a.now(), len(a.devices.made)
	a.devices.made = slices.Grow(a.devices.made, n)
	s.grow(n)
	for range n {
		a.devices.made = append(a.devices.made, abmDevice{})
		s.join(a, uint32(len(a.devices.made)-1), now)
	}
	return first
}

// Add gives a server devices with these serial numbers. What else is set of them is what Apple tells of them, also of
// Extra, but for the profile and the operation; what is not set is left out. Of one that [ABM.AddMany] has made only the serial number
// counts. A device that some server has comes from there, and one that was released is back. It panics for a device without a serial number.
func (a *ABM) Add(s *ABMServer, devices ...dep.Device) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all := a.now(), &a.devices
	for _, d := range devices {
		if d.SerialNumber == "" {
			panic("mdmtest: a device without a serial number")
		}
		id, known := all.find(d.SerialNumber)
		if !known {
			if all.serial == nil {
				all.serial = map[string]uint32{}
			}
			id = abmNamed + uint32(len(all.named))
			all.serial[d.SerialNumber] = id
			all.named, all.about = append(all.named, abmDevice{}), append(all.about, dep.Device{})
		}
		if id >= abmNamed {
			all.about[id-abmNamed] = d
		}
		if !d.MDMMigrationDeadline.IsZero() {
			all.note(id).deadline = d.MDMMigrationDeadline
		}
		a.leave(id, now)
		s.join(a, id, now)
	}
}

// AddSerials is Add for devices of which Apple tells nothing but the serial number.
func (a *ABM) AddSerials(s *ABMServer, serials ...string) {
	devices := make([]dep.Device, len(serials))
	for i, serial := range serials {
		devices[i].SerialNumber = serial
	}
	a.Add(s, devices...)
}

// each calls f for devices that were added, in one step. It panics for others.
func (a *ABM) each(serials []string, f func(id uint32, now time.Time)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for _, serial := range serials {
		id, ok := a.devices.find(serial)
		if !ok {
			panic(fmt.Sprintf("mdmtest: there is no device %q", serial))
		}
		f(id, now)
	}
}

// Move gives devices to another server, without their profiles: the one tells of them as deleted, and the other as added. It panics for
// devices that were never added, as do the others below, and for those that were released.
func (a *ABM) Move(to *ABMServer, serials ...string) {
	a.each(serials, func(id uint32, now time.Time) {
		if a.devices.at(id).released {
			panic("mdmtest: a device that was released cannot be moved")
		}
		a.leave(id, now)
		to.join(a, id, now)
	})
}

// Unassign takes devices from their servers. The organization keeps them.
func (a *ABM) Unassign(serials ...string) { a.each(serials, a.leave) }

// Release takes devices from the organization, as by its administrator.
func (a *ABM) Release(serials ...string) {
	a.each(serials, func(id uint32, now time.Time) {
		a.leave(id, now)
		a.devices.at(id).released = true
	})
}

// Replace makes a device of a server come for another, which is released, as after a repair.
func (a *ABM) Replace(old, with string) {
	a.each([]string{old}, func(id uint32, now time.Time) {
		next, known := a.devices.find(with)
		s := a.serverOf(id)
		if !known || s == nil {
			panic(fmt.Sprintf("mdmtest: there is no device %q, or no server has %q", with, old))
		}
		a.leave(id, now)
		a.devices.at(id).released = true
		a.devices.note(id).gone = true
		note := a.devices.note(next)
		note.replaces, note.replaced = old, now
		if a.serverOf(next) == nil {
			s.join(a, next, now)
		}
		a.serverOf(next).log(next, abmModified, now)
	})
}

// SetMigrationDeadline sets until when devices have to be moved to the server that they were given to; zero: there is none.
func (a *ABM) SetMigrationDeadline(deadline time.Time, serials ...string) {
	a.each(serials, func(id uint32, now time.Time) {
		a.devices.note(id).deadline = deadline
		a.touch(id, now)
	})
}

// touch tells that a device was changed.
func (a *ABM) touch(id uint32, now time.Time) {
	if s := a.serverOf(id); s != nil {
		s.log(id, abmModified, now)
	}
}

// Activate sets a device up, new or erased: it asks Apple for its profile, which is pushed from then on, and gets it as
// JSON: see [ParseAssignment]. It is false if the device has none; then it is set up without management.
func (a *ABM) Activate(serial string) (profile []byte, ok bool) {
	a.each([]string{serial}, func(id uint32, now time.Time) {
		d := a.devices.at(id)
		if d.profile == 0 {
			return
		}
		d.status, d.pushed = abmPushed, abmSeconds(now)
		profile, ok = a.profiles[d.profile-1].given(), true
		a.touch(id, now)
	})
	return profile, ok
}

// abmSaid is what a device is answered.
type abmSaid struct {
	status string
	times  int
}

// Say makes Apple answer the next calls that assign or remove profiles, times for each device, with a status as "FAILED" or
// "THROTTLED" for these, whose profiles stay as they are; "" leaves them out of the answer. It panics if times is not positive.
func (a *ABM) Say(status string, times int, serials ...string) {
	if times <= 0 {
		panic("mdmtest: times")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, serial := range serials {
		a.said[serial] = abmSaid{status, times}
	}
}

// sayOf takes the next answer for a device.
func (a *ABM) sayOf(serial string) (string, bool) {
	said, ok := a.said[serial]
	if !ok {
		return "", false
	}
	said.times--
	a.said[serial] = said
	if said.times == 0 {
		delete(a.said, serial)
	}
	return said.status, true
}

// TellOp adds an operation to those that a sync of the server tells of, with any word for its type and any date: one that is out of
// order, or of a type that nobody knows. Nothing happens to the device. It panics beyond 60,000 different words, and for a
// device that was never added.
func (a *ABM) TellOp(s *ABMServer, serial, opType string, at time.Time) {
	a.each([]string{serial}, func(id uint32, _ time.Time) { s.log(id, a.word(opType), at) })
}

// word returns the number of a type of operation.
func (a *ABM) word(opType string) uint16 {
	at := slices.Index(a.words, opType)
	if at < 0 {
		if len(a.words) > 60_000 {
			panic("mdmtest: too many types of operations")
		}
		at = len(a.words)
		a.words = append(a.words, opType)
	}
	return uint16(at)
}
