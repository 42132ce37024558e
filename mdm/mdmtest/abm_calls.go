package mdmtest

import (
	"encoding/hex"
	"net/http"
	"strings"
)

// account answers GET /account.
func (a *ABM) account(c *abmCall) abmReply {
	o := c.server.org
	answer := map[string]any{
		"server_name": c.server.name, "server_uuid": c.server.uuid, "admin_id": "it@example.com", "facilitator_id": "it@example.com",
		"org_name": o.name, "org_email": "it@example.com", "org_phone": "111-222-3333", "org_address": "1 Example Way, Cupertino",
	}
	if c.version < abmAccounts {
		return c.json(answer)
	}
	answer["org_id"], answer["org_id_hash"] = o.id, strings.Repeat(o.id, 4)
	answer["org_type"], answer["org_version"] = a.config.OrgType, a.config.OrgVersion
	limit := map[string]int{"default": a.config.DefaultLimit, "maximum": a.config.MaxLimit}
	var urls []map[string]any
	for _, one := range []struct {
		uri     string
		methods []string
		limited bool
	}{
		{"/account", []string{"GET"}, false}, {"/server/devices", []string{"POST"}, true}, {"/devices/sync", []string{"POST"}, true},
		{"/devices", []string{"POST"}, true}, {"/devices/disown", []string{"POST"}, true}, {"/profile", []string{"GET", "POST"}, true},
		{"/profile/devices", a.profileMethods(), true}, {"/device/activationlock", []string{"POST"}, false},
		{"/os-beta-enrollment/tokens", []string{"GET"}, false}, {"/account-driven-enrollment/profile", []string{"GET", "POST", "DELETE"}, false},
	} {
		u := map[string]any{"uri": one.uri, "http_method": one.methods}
		if one.limited {
			u["limit"] = limit
		}
		urls = append(urls, u)
	}
	answer["urls"] = urls
	return c.json(answer)
}

func (a *ABM) profileMethods() []string {
	if a.config.AssignBy != "" {
		return []string{a.config.AssignBy, "DELETE"}
	}
	return []string{"PUT", "POST", "DELETE"}
}

// abmLock is the Activation Lock of a device.
type abmLock struct{ escrow, message string }

// Locked returns the hash of the bypass code that a device was locked with through the web service, and the message; false if it is
// not locked.
func (a *ABM) Locked(serial string) (escrowKey, message string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lock, ok := a.locks[serial]
	return lock.escrow, lock.message, ok
}

// Lock locks a device as its user does, and Unlock ends any Activation Lock.
func (a *ABM) Lock(serial string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.locks[serial] = abmLock{}
}

// Unlock ends the Activation Lock of a device. It is no error if it is not locked.
func (a *ABM) Unlock(serial string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.locks, serial)
}

// activationLock answers POST /device/activationlock.
func (a *ABM) activationLock(c *abmCall) abmReply {
	var body struct {
		Device  string `json:"device"`
		Escrow  string `json:"escrow_key"`
		Message string `json:"lost_message"`
	}
	if reply, ok := c.decode(&body); !ok {
		return reply
	}
	if body.Device == "" {
		return refuseABM(http.StatusBadRequest, "DEVICE_ID_REQUIRED", "no device")
	}
	if key, err := hex.DecodeString(body.Escrow); body.Escrow != "" && (err != nil || len(key) != 32 || strings.ToUpper(body.Escrow) != body.Escrow) {
		return refuseABM(http.StatusBadRequest, "MALFORMED_REQUEST_BODY", "escrow_key is no hash in upper-case hexadecimal")
	}
	status, said := a.sayOf(body.Device)
	if !said {
		status = a.lock(c, body.Device, abmLock{body.Escrow, body.Message})
	}
	return c.json(map[string]string{"serial_number": body.Device, "response_status": status})
}

func (a *ABM) lock(c *abmCall, serial string, lock abmLock) string {
	id, known := a.devices.find(serial)
	_, locked := a.locks[serial]
	switch {
	case a.config.OrgVersion == "v1":
		return "ORG_NOT_SUPPORTED"
	case !known || a.devices.at(id).server != c.server.number:
		return abmNotAccessible
	case a.describe(id, false).OS == "tvOS":
		return "DEVICE_NOT_SUPPORTED"
	case locked:
		return "DEVICE_ALREADY_LOCKED"
	}
	a.locks[serial] = lock
	return abmSuccess
}

// TurnOffSeedForIT makes Apple refuse beta tokens with APPLE_SEED_FOR_IT_TURNED_OFF, or ends that.
func (a *ABM) TurnOffSeedForIT(off bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seedForIT = !off
}

// betaTokens answers GET /os-beta-enrollment/tokens.
func (a *ABM) betaTokens(c *abmCall) abmReply {
	if !a.seedForIT {
		return sayABM(http.StatusForbidden, "APPLE_SEED_FOR_IT_TURNED_OFF")
	}
	var tokens []map[string]string
	for _, os := range []string{"iOS", "OSX"} {
		tokens = append(tokens, map[string]string{"os": os, "title": os + " 27 AppleSeed Beta", "token": "seed-" + os + "-" + c.server.org.id})
	}
	return c.json(map[string]any{"betaEnrollmentTokens": tokens})
}

// setDiscovery answers POST /account-driven-enrollment/profile.
func (a *ABM) setDiscovery(c *abmCall) abmReply {
	if a.config.OrgVersion == "v1" {
		return sayABM(http.StatusForbidden, "ORG_NOT_SUPPORTED")
	}
	var body struct {
		URL string `json:"mdm_service_discovery_url"`
	}
	if reply, ok := c.decode(&body); !ok {
		return reply
	}
	switch {
	case body.URL == "":
		return refuseABM(http.StatusBadRequest, "MDM_SERVICE_DISCOVERY_URL_REQUIRED", "no URL")
	case !abmHTTPS(body.URL) || len(body.URL) > 2000:
		return refuseABM(http.StatusBadRequest, "MDM_SERVICE_DISCOVERY_URL_NOT_VALID", "no https URL")
	}
	c.server.discovery, c.server.discAt = body.URL, c.now.Unix()
	return c.discovery()
}

// discovery tells what is set.
func (c *abmCall) discovery() abmReply {
	return c.json(map[string]string{"mdm_service_discovery_url": c.server.discovery,
		"last_updated_timestamp": abmTime(uint32(c.server.discAt)).Format("2006-01-02T15:04:05Z")})
}

// getDiscovery answers GET /account-driven-enrollment/profile.
func (a *ABM) getDiscovery(c *abmCall) abmReply {
	switch {
	case a.config.OrgVersion == "v1":
		return sayABM(http.StatusForbidden, "ORG_NOT_SUPPORTED")
	case c.server.discovery == "":
		return sayABM(http.StatusNotFound, "NOT_FOUND")
	}
	return c.discovery()
}

// endDiscovery answers DELETE /account-driven-enrollment/profile.
func (a *ABM) endDiscovery(c *abmCall) abmReply {
	reply := a.getDiscovery(c)
	if reply.status == http.StatusOK {
		c.server.discovery = ""
		return c.json(struct{}{})
	}
	return reply
}

// replacement answers GET /device/replacementDetails.
func (a *ABM) replacement(c *abmCall) abmReply {
	if c.version < abmHardware {
		return refuseABM(http.StatusNotFound, "NOT_FOUND", "the call is of protocol version %d", abmHardware)
	}
	serial := c.query.Get("device")
	if serial == "" {
		return refuseABM(http.StatusBadRequest, "DEVICE_ID_REQUIRED", "no device")
	}
	id, known := a.devices.find(serial)
	note := a.devices.notes[id]
	if !known || a.devices.at(id).server != c.server.number || note == nil || note.replaces == "" {
		return sayABM(http.StatusNotFound, "DEVICE_NOT_FOUND")
	}
	return c.json(map[string]string{"serial_number": serial, "original_device_serial_number": note.replaces,
		"replacement_date": note.replaced.Format("2006-01-02T15:04:05Z")})
}
