package mdmtest

import (
	"errors"
	"fmt"
	"maps"

	"github.com/gomdm/applemdm/profile"
)

// state is what commands change of a device and a wipe resets, all but the system.
type state struct {
	lost   bool
	sounds int
	where  map[string]any // the answer to DeviceLocation; nil: it cannot be located
	pin    string         // locked with it
	locked bool
	system string // OSVersion, if another than Config's

	status  map[string]any    // of status items, where another than usual
	refused map[string]string // declarations that are invalid, and why
}

// domainMDM is the domain of errors of the MDM client.
const domainMDM = "MCMDMErrorDomain"

// failure is what a command comes to that cannot be done, as a device says it.
type failure ChainItem

func (f failure) Error() string { return fmt.Sprintf("%s %d: %s", f.Domain, f.Code, f.Text) }

// Lost reports whether the device is in Lost Mode.
func (d *Device) Lost() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.lost
}

// SetLost switches Lost Mode on or off without a command, as nobody should be able to.
func (d *Device) SetLost(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.lost = on
}

// Sounds returns how often the device has played the sound of Lost Mode.
func (d *Device) Sounds() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.sounds
}

// SetLocation says where the device is from now on.
func (d *Device) SetLocation(latitude, longitude float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.where = map[string]any{"Latitude": latitude, "Longitude": longitude, "HorizontalAccuracy": 5.0, "VerticalAccuracy": 5.0,
		"Altitude": 12.0, "Speed": 0.0, "Course": 0.0, "Timestamp": "2026-08-01T09:00:00Z"}
}

// Locked reports whether a DeviceLock took effect, and with which PIN. A Mac that is locked should not be polled.
func (d *Device) Locked() (pin string, locked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.pin, d.state.locked
}

// SetOSVersion is an update of the system: it shows in the next DeviceInformation.
func (d *Device) SetOSVersion(version string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.system = version
	d.soil()
}

// OSVersion returns the version of the system.
func (d *Device) OSVersion() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return or(d.state.system, d.cfg.OSVersion)
}

// change carries out the commands that change the state. A device that is erased says so once, unless its Answer is to Vanish.
func (d *Device) change(o Order) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch o.RequestType {
	case "EnableLostMode":
		if d.state.lost {
			return failure{Domain: domainMDM, Code: 12067, Text: "the device is in Lost Mode already"}
		}
		d.state.lost = true
	case "DisableLostMode":
		if !d.state.lost {
			return failure{Domain: domainMDM, Code: 12069, Text: "the device is not in Lost Mode"}
		}
		d.state.lost = false
	case "PlayLostModeSound":
		if !d.state.lost {
			return failure{Domain: domainMDM, Code: 12080, Text: "the device is not in Lost Mode"}
		}
		d.state.sounds++
	case "DeviceLocation":
		if !d.state.lost || d.state.where == nil {
			return failure{Domain: domainMDM, Code: 12068, Text: "the device cannot be located"}
		}
	case "DeviceLock":
		d.state.pin, _ = o.Command["PIN"].(string)
		d.state.locked = true
	case "EraseDevice":
		pin, _ := o.Command["PIN"].(string)
		d.erase()
		d.state.pin = pin
	}
	return nil
}

// erase forgets everything but the system. d.mu is held.
func (d *Device) erase() {
	d.current, d.profiles, d.users, d.unlock, d.setup, d.delivery = nil, map[string]*profile.Profile{}, nil, nil, false, nil
	d.assigned, d.declared = nil, nil
	d.state = state{system: d.state.system}
}

// asked is what a device that has this state answers; nil if it is not about that.
func (d *Device) asked(o Order) map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch o.RequestType {
	case "DeviceLocation":
		return maps.Clone(d.state.where)
	case "DeviceLock":
		return map[string]any{"MessageResult": "Success"}
	}
	return nil
}

// asFailure turns what obey says into an answer.
func asFailure(err error) Answer {
	if f, ok := errors.AsType[failure](err); ok {
		return Fail(f.Domain, f.Code, f.Text)
	}
	return Fail("MCInstallationErrorDomain", 4001, err.Error())
}
