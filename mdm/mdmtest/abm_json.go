package mdmtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gomdm/applemdm/mdm/dep"
)

// The versions of the protocol at which Apple began to tell more.
const (
	abmSystems   = 2 // os and device_family
	abmAccounts  = 3
	abmIPadOS    = 7
	abmDeadlines = 8
	abmThrottles = 9
	abmHardware  = 10
)

// abmWriter writes an object of JSON; a page has a thousand of them.
type abmWriter struct{ b []byte }

func (w *abmWriter) key(k string) {
	if last := w.b[len(w.b)-1]; last != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), k...), '"', ':')
}

func (w *abmWriter) text(k, v string) {
	if v == "" {
		return
	}
	w.key(k)
	w.quote(v)
}

func (w *abmWriter) quote(v string) {
	for _, c := range []byte(v) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(v) // of a string
			w.b = append(w.b, quoted...)
			return
		}
	}
	w.b = append(append(append(w.b, '"'), v...), '"')
}

func (w *abmWriter) time(k string, t time.Time) {
	if t.IsZero() {
		return
	}
	w.key(k)
	w.b = append(t.AppendFormat(append(w.b, '"'), time.RFC3339), '"')
}

func (w *abmWriter) list(k string, values []string) {
	if len(values) == 0 {
		return
	}
	w.key(k)
	for i, v := range values {
		w.b = append(w.b, "[,"[min(i, 1)])
		w.quote(v)
	}
	w.b = append(w.b, ']')
}

func (w *abmWriter) flag(k string, v bool) {
	if v {
		w.key(k)
		w.b = append(w.b, "true"...)
	}
}

// device writes a device as Apple tells of it in a version of the protocol.
func (w *abmWriter) device(d *dep.Device, version int) {
	w.b = append(w.b, '{')
	w.text("serial_number", d.SerialNumber)
	w.text("model", d.Model)
	w.text("description", d.Description)
	w.text("color", d.Color)
	w.text("asset_tag", d.AssetTag)
	w.text("profile_status", string(d.ProfileStatus))
	w.text("profile_uuid", d.ProfileUUID)
	w.time("profile_assign_time", d.ProfileAssignTime)
	w.time("profile_push_time", d.ProfilePushTime)
	w.time("device_assigned_date", d.DeviceAssignedDate)
	w.text("device_assigned_by", d.DeviceAssignedBy)
	w.text("op_type", d.OpType)
	w.time("op_date", d.OpDate)
	w.text("response_status", d.ResponseStatus)
	if version >= abmSystems {
		os := d.OS
		if os == "iPadOS" && version < abmIPadOS {
			os = "iOS"
		}
		w.text("os", os)
		w.text("device_family", d.DeviceFamily)
	}
	if version >= abmDeadlines {
		w.time("mdm_migration_deadline", d.MDMMigrationDeadline)
	}
	if version >= abmHardware {
		w.list("imei", d.IMEI)
		w.list("meid", d.MEID)
		w.text("eid", d.EID)
		w.text("wifi_mac_address", d.WiFiMACAddress)
		w.text("bluetooth_mac_address", d.BluetoothMACAddress)
		w.text("ethernet_mac_address", d.EthernetMACAddress)
		w.flag("is_replacement_device", d.IsReplacementDevice)
		w.flag("released_by_replacement", d.ReleasedByReplacement)
	}
	for _, k := range slices.Sorted(maps.Keys(d.Extra)) {
		w.key(k)
		w.b = append(w.b, d.Extra[k]...)
	}
	w.b = append(w.b, '}')
}

// pageJSON writes a page.
func (a *ABM) pageJSON(c *abmCall, entries []abmEntry, cursor string, more bool) []byte {
	w := abmWriter{make([]byte, 0, 256+512*len(entries))}
	w.b = append(w.b, '{')
	w.text("cursor", cursor)
	w.key("devices")
	w.b = append(w.b, '[')
	for i, e := range entries {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		d := a.entryDevice(c, e, i)
		w.device(&d, c.version)
	}
	w.b = append(w.b, ']')
	w.time("fetched_until", c.now)
	w.key("more_to_follow")
	if a.odd.TextMore {
		w.quote(strconv.FormatBool(more))
	} else {
		w.b = strconv.AppendBool(w.b, more)
	}
	w.b = append(w.b, '}')
	return w.b
}

// entryDevice is the i-th device of a page. One that the server has no more is told of without its assignment.
func (a *ABM) entryDevice(c *abmCall, e abmEntry, i int) dep.Device {
	d := a.describe(e.device, c.version >= abmHardware)
	if a.devices.at(e.device).server != c.server.number {
		d.ProfileStatus, d.ProfileUUID, d.ProfileAssignTime, d.ProfilePushTime = "", "", time.Time{}, time.Time{}
		d.DeviceAssignedDate, d.DeviceAssignedBy, d.MDMMigrationDeadline = time.Time{}, "", time.Time{}
	}
	if e.op == nil {
		return d
	}
	d.OpType, d.OpDate = a.words[e.op.word], abmTime(e.op.at)
	if a.odd.NoOpDate > 0 && (i+1)%a.odd.NoOpDate == 0 {
		d.OpDate = time.Time{}
	}
	switch {
	case a.odd.NoOpType > 0 && (i+1)%a.odd.NoOpType == 0:
		d.OpType = ""
	case a.odd.OpType != "" && (i+1)%3 == 0:
		d.OpType = a.odd.OpType
	}
	return d
}

// abmSerials is the body of calls about devices.
type abmSerials struct {
	ProfileUUID string   `json:"profile_uuid"`
	Devices     []string `json:"devices"`
}

// serials reads the body of a call about devices.
func (a *ABM) serials(c *abmCall) (abmSerials, abmReply, bool) {
	var body abmSerials
	if reply, ok := c.decode(&body); !ok {
		return body, reply, false
	}
	if len(body.Devices) == 0 {
		return body, refuseABM(http.StatusBadRequest, "DEVICE_ID_REQUIRED", "no devices"), false
	}
	if len(body.Devices) > a.config.MaxLimit {
		return body, refuseABM(http.StatusBadRequest, "MALFORMED_REQUEST_BODY", "%d devices, of %d at most", len(body.Devices), a.config.MaxLimit), false
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(body.Devices)))); n < len(body.Devices) {
		a.violate("unwise: %s of %s: %d devices are there more than once", c.name(), c.server.name, len(body.Devices)-n)
	}
	return body, abmReply{}, true
}

// details answers POST /devices.
func (a *ABM) details(c *abmCall) abmReply {
	body, reply, ok := a.serials(c)
	if !ok {
		return reply
	}
	w := abmWriter{[]byte(`{"devices":{`)}
	for _, serial := range slices.Compact(slices.Sorted(slices.Values(body.Devices))) {
		w.key(abmEscaped(serial))
		d := dep.Device{SerialNumber: serial, ResponseStatus: "NOT_FOUND"}
		if id, ok := a.devices.find(serial); ok && a.devices.at(id).server == c.server.number {
			d = a.describe(id, c.version >= abmHardware)
			d.ResponseStatus = "SUCCESS"
		}
		w.device(&d, c.version)
	}
	return c.raw(append(w.b, '}', '}'))
}

// abmEscaped returns a string as it is between the quotes of JSON.
func abmEscaped(s string) string {
	quoted, _ := json.Marshal(s) // of a string
	return string(quoted[1 : len(quoted)-1])
}
