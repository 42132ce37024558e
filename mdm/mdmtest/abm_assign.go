package mdmtest

import (
	"net/http"
	"time"
)

// The answers for a device, in calls about profiles.
const (
	abmSuccess       = "SUCCESS"
	abmNotAccessible = "NOT_ACCESSIBLE"
	abmFailed        = "FAILED"
	abmThrottled     = "THROTTLED"
)

// assign answers PUT and POST /profile/devices.
func (a *ABM) assign(c *abmCall) abmReply {
	if a.config.AssignBy != "" && c.method != a.config.AssignBy {
		return sayABM(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	}
	body, reply, ok := a.serials(c)
	if !ok {
		return reply
	}
	if _, reply, ok = a.known(c, body.ProfileUUID); !ok {
		return reply
	}
	return a.assignTo(c, body.ProfileUUID, body.Devices)
}

// assignTo gives devices a profile, and answers.
func (a *ABM) assignTo(c *abmCall, uuid string, serials []string) abmReply {
	answer := struct {
		ProfileUUID string            `json:"profile_uuid"`
		Devices     map[string]string `json:"devices"`
		RetryAfter  int               `json:"retry_after_seconds,omitempty"`
	}{uuid, map[string]string{}, 0}
	for _, serial := range serials {
		status, wait := a.change(c, serial, func(d *abmDevice) {
			if d.profile == a.byUUID[uuid] {
				a.totals.Needless++
			}
			d.profile, d.status, d.assigned, d.pushed = a.byUUID[uuid], abmAssigned, abmSeconds(c.now), 0
			a.totals.Assigned++
		})
		if status != "" {
			answer.Devices[serial] = status
		}
		if c.version >= abmHardware && wait > 0 {
			answer.RetryAfter = max(answer.RetryAfter, int(wait.Seconds()))
		}
	}
	return c.json(answer)
}

// change changes the profile of a device, if it can be, and says what came of it, and how long to wait if it is throttled.
func (a *ABM) change(c *abmCall, serial string, do func(*abmDevice)) (status string, wait time.Duration) {
	const cooldown = time.Hour // that Apple asks for if a script says THROTTLED
	status, said := a.sayOf(serial)
	id, known := a.devices.find(serial)
	switch {
	case said:
		wait = cooldown
	case !known || a.devices.at(id).server != c.server.number:
		status = abmNotAccessible
	default:
		d := a.devices.at(id)
		wait = abmTime(d.assigned).Add(a.config.Cooldown).Sub(c.now)
		if d.assigned != 0 && wait > 0 {
			status = abmThrottled
			break
		}
		do(d)
		if !a.odd.QuietChanges {
			c.server.log(id, abmModified, c.now)
		}
		return abmSuccess, 0
	}
	if status != abmThrottled {
		return status, 0
	}
	if c.version < abmThrottles {
		return abmFailed, 0
	}
	return status, wait
}

// unassign answers DELETE /profile/devices.
func (a *ABM) unassign(c *abmCall) abmReply {
	body, reply, ok := a.serials(c)
	if !ok {
		return reply
	}
	var only uint32
	if body.ProfileUUID != "" {
		if only, reply, ok = a.known(c, body.ProfileUUID); !ok {
			return reply
		}
	}
	statuses := map[string]string{}
	for _, serial := range body.Devices {
		if id, known := a.devices.find(serial); known && only != 0 && a.devices.at(id).profile != only {
			statuses[serial] = abmNotAccessible
			continue
		}
		status, _ := a.change(c, serial, func(d *abmDevice) {
			if d.profile != 0 {
				d.profile, d.status, d.assigned, d.pushed = 0, abmRemoved, abmSeconds(c.now), 0
			}
		})
		if status != "" {
			statuses[serial] = status
		}
	}
	return c.json(map[string]any{"devices": statuses})
}

// disown answers POST /devices/disown.
func (a *ABM) disown(c *abmCall) abmReply {
	body, reply, ok := a.serials(c)
	if !ok {
		return reply
	}
	statuses := map[string]string{}
	for _, serial := range body.Devices {
		status, said := a.sayOf(serial)
		if id, known := a.devices.find(serial); !said {
			status = abmNotAccessible
			if known && a.devices.at(id).server == c.server.number {
				a.leave(id, c.now)
				a.devices.at(id).released = true
				status = abmSuccess
			}
		}
		statuses[serial] = status
	}
	return c.json(map[string]any{"devices": statuses})
}
