package mdmtest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm/dep"
)

const (
	abmNobody = math.MaxUint32 // no device
	abmNamed  = 1 << 31        // from here on are devices that were given to ABM.Add; those below are made from their number
)

// abmDevice is what changes of a device. There may be a million of them.
type abmDevice struct {
	server   uint16 // its number; 0: none
	released bool   // the organization has it no more
	status   uint8  // of abmStatuses
	profile  uint32 // its number, from 1; 0: none
	place    uint32 // in the members of the server

	given, assigned, pushed uint32 // when, in seconds of Unix; 0: never
}

// abmStatuses are the values of profile_status.
var abmStatuses = [...]dep.ProfileStatus{dep.ProfileEmpty, dep.ProfileAssigned, dep.ProfilePushed, dep.ProfileRemoved}

const (
	abmEmpty = iota
	abmAssigned
	abmPushed
	abmRemoved
)

// abmDevices are all devices, by their number.
type abmDevices struct {
	made   []abmDevice
	named  []abmDevice
	about  []dep.Device // of named, what does not change
	serial map[string]uint32
	notes  map[uint32]*abmNote
}

// abmNote is what few devices have.
type abmNote struct {
	deadline time.Time
	replaces string // the serial number of the device that this one came for
	replaced time.Time
	gone     bool // it was replaced
}

func (d *abmDevices) at(id uint32) *abmDevice {
	if id >= abmNamed {
		return &d.named[id-abmNamed]
	}
	return &d.made[id]
}

// find returns the number of a device.
func (d *abmDevices) find(serial string) (uint32, bool) {
	if id, ok := d.serial[serial]; ok {
		return id, true
	}
	id, ok := abmNumber(serial)
	return id, ok && int64(id) < int64(len(d.made))
}

func (d *abmDevices) note(id uint32) *abmNote {
	if d.notes == nil {
		d.notes = map[uint32]*abmNote{}
	}
	if d.notes[id] == nil {
		d.notes[id] = &abmNote{}
	}
	return d.notes[id]
}

const (
	abmSymbols = "0123456789ABCDEFGHJKLMNPQRSTVWXY" // 32
	abmMix     = 0x9E3779B97B                       // odd: it has an inverse modulo 2^40
	abmMask    = 1<<40 - 1
)

// ABMSerial returns the serial number of the device i that [ABM.AddMany] makes, from 0. They are not in order.
func ABMSerial(i int) string {
	mixed := uint64(i+1) * abmMix & abmMask
	var b [10]byte
	b[0], b[1] = 'M', 'T'
	for at := 9; at >= 2; at-- {
		b[at] = abmSymbols[mixed&31]
		mixed >>= 5
	}
	return string(b[:])
}

// abmNumber is the way back.
func abmNumber(serial string) (uint32, bool) {
	if len(serial) != 10 || serial[:2] != "MT" {
		return 0, false
	}
	var mixed uint64
	for _, c := range []byte(serial[2:]) {
		at := strings.IndexByte(abmSymbols, c)
		if at < 0 {
			return 0, false
		}
		mixed = mixed<<5 | uint64(at)
	}
	inverse := uint64(abmMix) // Newton's way: each step doubles the bits that are right
	for range 6 {
		inverse *= 2 - abmMix*inverse
	}
	i := mixed * inverse & abmMask
	return uint32(i - 1), i > 0 && i < abmNamed
}

// serialOf returns the serial number of a device.
func (d *abmDevices) serialOf(id uint32) string {
	if id >= abmNamed {
		return d.about[id-abmNamed].SerialNumber
	}
	return ABMSerial(int(id))
}

type abmModel struct{ model, description, color, os, family string }

// abmModels are what devices are, in turn.
var abmModels = [...]abmModel{
	{"iPhone 16", "IPHONE 16 BLACK 128GB-USA", "BLACK", "iOS", "iPhone"},
	{"iPad Air", "IPAD AIR WI-FI 128GB SPACE GRAY-USA", "SPACE GRAY", "iPadOS", "iPad"},
	{"MacBook Air", "MBA 13.6 MIDNIGHT/10C GPU/16GB/512GB-USA", "MIDNIGHT", "OSX", "Mac"},
	{"Apple TV", "APPLE TV 4K WI-FI 64GB-USA", "BLACK", "tvOS", "AppleTV"},
}

// madeOf returns what a device is that was made from its number. hardware is asked for by few, and costs.
func (d *abmDevices) madeOf(id uint32, hardware bool) dep.Device {
	m := &abmModels[int(id)%len(abmModels)]
	v := dep.Device{SerialNumber: ABMSerial(int(id)), Model: m.model, Description: m.description, Color: m.color, OS: m.os, DeviceFamily: m.family,
		DeviceAssignedBy: "it@example.com"}
	if !hardware {
		return v
	}
	v.WiFiMACAddress = fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	v.BluetoothMACAddress = "06" + v.WiFiMACAddress[2:]
	if m.os == "iOS" {
		v.IMEI, v.MEID = []string{fmt.Sprintf("35%013d", id)}, []string{fmt.Sprintf("35%012d", id)}
		v.EID = fmt.Sprintf("8904903200%022d", id)
	}
	return v
}

// describe returns a device as Apple would tell of it to its server.
func (a *ABM) describe(id uint32, hardware bool) dep.Device {
	var v dep.Device
	if id >= abmNamed {
		v = a.devices.about[id-abmNamed]
	} else {
		v = a.devices.madeOf(id, hardware)
	}
	d := a.devices.at(id)
	v.ProfileStatus, v.DeviceAssignedDate = abmStatuses[d.status], abmTime(d.given)
	v.ProfileAssignTime, v.ProfilePushTime = abmTime(d.assigned), abmTime(d.pushed)
	if d.profile != 0 {
		v.ProfileUUID = a.profiles[d.profile-1].uuid
	}
	if note := a.devices.notes[id]; note != nil {
		v.MDMMigrationDeadline = note.deadline
		v.IsReplacementDevice, v.ReleasedByReplacement = note.replaces != "", note.gone
	}
	return v
}

func abmTime(seconds uint32) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// abmSeconds is the way back, for clocks from 1970 to 2106.
func abmSeconds(t time.Time) uint32 { return uint32(min(max(t.Unix(), 1), math.MaxUint32)) }

// Device returns what Apple knows of a device, and the server that has it, nil if none has. It is false for one that was
// never added.
func (a *ABM) Device(serial string) (dep.Device, *ABMServer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := a.devices.find(serial)
	if !ok {
		return dep.Device{}, nil, false
	}
	return a.describe(id, true), a.serverOf(id), true
}

func (a *ABM) serverOf(id uint32) *ABMServer {
	if n := a.devices.at(id).server; n != 0 {
		return a.servers[n-1]
	}
	return nil
}

// Count returns how many devices a server has.
func (a *ABM) Count(s *ABMServer) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.count
}

// Serials yields the serial numbers of a server's devices, in the order in which it was given them. Devices that it is given
// meanwhile may be among them, or not.
func (a *ABM) Serials(s *ABMServer) iter.Seq[string] {
	return func(yield func(string) bool) {
		for from := 0; ; {
			var page []string
			a.mu.Lock()
			for ; from < len(s.members) && len(page) < 1000; from++ {
				if id := s.members[from]; id != abmNobody {
					page = append(page, a.devices.serialOf(id))
				}
			}
			a.mu.Unlock()
			if len(page) == 0 {
				return
			}
			for _, serial := range page {
				if !yield(serial) {
					return
				}
			}
		}
	}
}

// Fingerprint returns a number that differs when a server's devices or their profiles do, to compare with what a client knows:
// see [ABMFingerprint].
func (a *ABM) Fingerprint(s *ABMServer) uint64 {
	var sum uint64
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range s.members {
		if id == abmNobody {
			continue
		}
		uuid := ""
		if p := a.devices.at(id).profile; p != 0 {
			uuid = a.profiles[p-1].uuid
		}
		sum += ABMFingerprint(a.devices.serialOf(id), uuid)
	}
	return sum
}

// ABMFingerprint is what one device adds to [ABM.Fingerprint]: the sum over all of a client's is that of the server, if the client
// knows the same devices, each once, and their profiles.
func ABMFingerprint(serial, profileUUID string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint32([]byte(serial), uint32(len(serial))))
	_, _ = h.Write([]byte(profileUUID))
	return h.Sum64()
}

// join puts a device that no server has at the end of a server's, and tells of it.
func (s *ABMServer) join(a *ABM, id uint32, now time.Time) {
	d := a.devices.at(id)
	d.server, d.released, d.given, d.place = s.number, false, abmSeconds(now), uint32(len(s.members))
	s.members = append(s.members, id)
	s.count++
	s.log(id, abmAdded, now)
}

// leave takes a device from its server, if it has one, and tells of it.
func (a *ABM) leave(id uint32, now time.Time) {
	s := a.serverOf(id)
	if s == nil {
		return
	}
	d := a.devices.at(id)
	s.members[d.place] = abmNobody
	s.count--
	d.server, d.status, d.profile, d.given, d.assigned, d.pushed = 0, abmEmpty, 0, 0, 0, 0
	s.log(id, abmDeleted, now)
}

// grow makes room for n more devices of a server.
func (s *ABMServer) grow(n int) {
	s.members, s.ops = slices.Grow(s.members, n), slices.Grow(s.ops, n)
}
