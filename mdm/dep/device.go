package dep

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/gomdm/applemdm/internal/clip"
)

// ProfileStatus says how far the profile of a device is.
type ProfileStatus string

// The states (Apple: Device, profile_status).
const (
	ProfileEmpty    ProfileStatus = "empty"    // none was assigned
	ProfileAssigned ProfileStatus = "assigned" // the device will get it when it is set up
	ProfilePushed   ProfileStatus = "pushed"   // the device has fetched it
	ProfileRemoved  ProfileStatus = "removed"  // it was taken away
)

// What happened to a device, in a sync. Other words may come: see [Syncer].
const (
	OpAdded    = "added"
	OpModified = "modified"
	OpDeleted  = "deleted" // it is not on this server any more
)

// Device is a device as Apple tells of it. Apple leaves out what it does not know, and everything but the serial number may
// be missing. The times are of Apple's clock. (Apple: Device.)
type Device struct {
	SerialNumber string
	Model        string
	Description  string
	Color        string
	AssetTag     string
	OS           string // "iOS", "iPadOS", "OSX", "tvOS", "watchOS", "visionOS"
	DeviceFamily string // "iPhone", "iPad", "Mac", "AppleTV", …

	ProfileStatus     ProfileStatus
	ProfileUUID       string
	ProfileAssignTime time.Time
	ProfilePushTime   time.Time

	DeviceAssignedDate   time.Time // when it was given to this server
	DeviceAssignedBy     string    // the email address of who did so
	MDMMigrationDeadline time.Time // until then it has to be moved here from another server (protocol 8)

	OpType string    // in a sync only
	OpDate time.Time // in a sync only

	ResponseStatus string // in details only: "SUCCESS" or "NOT_FOUND"

	IMEI                  []string // these are of protocol 10
	MEID                  []string
	EID                   string
	WiFiMACAddress        string
	BluetoothMACAddress   string
	EthernetMACAddress    string
	IsReplacementDevice   bool
	ReleasedByReplacement bool

	Extra map[string]json.RawMessage // keys that are not above, or whose values do not fit
}

var deviceKeys = []string{
	"serial_number", "model", "description", "color", "asset_tag", "os", "device_family", "profile_status", "profile_uuid",
	"profile_assign_time", "profile_push_time", "device_assigned_date", "device_assigned_by", "mdm_migration_deadline", "op_type",
	"op_date", "response_status", "imei", "meid", "eid", "wifi_mac_address", "bluetooth_mac_address", "ethernet_mac_address",
	"is_replacement_device", "released_by_replacement",
}

func (d *Device) field(key string) any { //nolint:gocyclo // a table
	switch key {
	case "serial_number":
		return &d.SerialNumber
	case "model":
		return &d.Model
	case "description":
		return &d.Description
	case "color":
		return &d.Color
	case "asset_tag":
		return &d.AssetTag
	case "os":
		return &d.OS
	case "device_family":
		return &d.DeviceFamily
	case "profile_status":
		return (*string)(&d.ProfileStatus)
	case "profile_uuid":
		return &d.ProfileUUID
	case "profile_assign_time":
		return &d.ProfileAssignTime
	case "profile_push_time":
		return &d.ProfilePushTime
	case "device_assigned_date":
		return &d.DeviceAssignedDate
	case "device_assigned_by":
		return &d.DeviceAssignedBy
	case "mdm_migration_deadline":
		return &d.MDMMigrationDeadline
	case "op_type":
		return &d.OpType
	case "op_date":
		return &d.OpDate
	case "response_status":
		return &d.ResponseStatus
	case "imei":
		return &d.IMEI
	case "meid":
		return &d.MEID
	case "eid":
		return &d.EID
	case "wifi_mac_address":
		return &d.WiFiMACAddress
	case "bluetooth_mac_address":
		return &d.BluetoothMACAddress
	case "ethernet_mac_address":
		return &d.EthernetMACAddress
	case "is_replacement_device":
		return &d.IsReplacementDevice
	case "released_by_replacement":
		return &d.ReleasedByReplacement
	}
	return nil
}

// UnmarshalJSON reads a device in Apple's form. A value of an odd type is no error: it goes into Extra.
func (d *Device) UnmarshalJSON(data []byte) (err error) {
	*d = Device{}
	d.Extra, err = decodeObject(data, d)
	return err
}

// MarshalJSON writes the device in Apple's form, with Extra.
func (d Device) MarshalJSON() ([]byte, error) { return encodeObject(&d, deviceKeys, d.Extra) }

// Limits of what is kept of a device; real ones are far below.
const (
	maxText  = 1024    // bytes of a text
	maxList  = 16      // texts of a list
	maxExtra = 8 << 10 // bytes of Extra
)

// bounded returns the device without what would be too much to keep: texts are cut, and an Extra that is too large is dropped, so
// that one odd device does not hold up all others.
func (d Device) bounded() Device {
	d.Extra = bound(&d, deviceKeys, d.Extra)
	return d
}

// bound cuts the texts of o, and returns extra if it is not too large.
func bound(o object, keys []string, extra map[string]json.RawMessage) map[string]json.RawMessage {
	for _, key := range keys {
		switch p := o.field(key).(type) {
		case *string:
			*p = clip.Text(*p, maxText, maxText-len("…"))
		case *[]string:
			*p = slices.Clone((*p)[:min(len(*p), maxList)])
			for i := range *p {
				(*p)[i] = clip.Text((*p)[i], maxText, maxText-len("…"))
			}
		}
	}
	size := 0
	for key, raw := range extra {
		size += len(key) + len(raw)
	}
	if size > maxExtra {
		return nil
	}
	return extra
}
