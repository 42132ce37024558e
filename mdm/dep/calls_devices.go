package dep

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// DevicePage is a part of the devices, or of what changed.
type DevicePage struct {
	Devices      []Device
	Unreadable   int       // entries that were left out because they have no serial number
	Cursor       string    // to go on with; Apple gives it a life of 7 days
	FetchedUntil time.Time // up to when Apple has told everything; zero if it does not say
	More         bool      // whether there is more to fetch at once
}

// What Apple says of a device in a call that is for several. Other words may come.
const (
	StatusSuccess            = "SUCCESS"
	StatusNotFound           = "NOT_FOUND"      // in details
	StatusNotAccessible      = "NOT_ACCESSIBLE" // the device is not on this server
	StatusFailed             = "FAILED"         // it did not work: to be tried again
	StatusThrottled          = "THROTTLED"      // to be tried again later (protocol 9)
	StatusOrgNotSupported    = "ORG_NOT_SUPPORTED"
	StatusDeviceNotSupported = "DEVICE_NOT_SUPPORTED"
	StatusAlreadyLocked      = "DEVICE_ALREADY_LOCKED"
)

const maxCursor = 4096 // Apple's have at most 1000 characters

// FetchDevices returns a page of all devices of the server: the first one without a cursor, and then with that of the page
// before. The limit is how many devices a page has at most; 0 is Apple's, 100, and one that is too large becomes what Apple
// allows. What changes meanwhile comes in the SyncDevices that the last cursor is for. The error is [ErrExhaustedCursor] if
// the cursor is that of the last page, [ErrExpiredCursor] or [ErrInvalidCursor].
func (c *Client) FetchDevices(ctx context.Context, cursor string, limit int) (DevicePage, error) {
	return c.page(ctx, "/server/devices", cursor, limit)
}

// SyncDevices returns a page of the devices that were added, modified and deleted since a cursor of FetchDevices or of
// SyncDevices, in no order: Device.OpType and OpDate say what happened and when. For limit and the error see FetchDevices,
// but here an exhausted cursor says that nothing has changed.
func (c *Client) SyncDevices(ctx context.Context, cursor string, limit int) (DevicePage, error) {
	if cursor == "" {
		return DevicePage{}, mdm.Errorf(mdm.Malformed, "dep.SyncDevices", "there is no cursor: devices are fetched first")
	}
	return c.page(ctx, "/devices/sync", cursor, limit)
}

func (c *Client) page(ctx context.Context, path, cursor string, limit int) (DevicePage, error) {
	in := struct {
		Cursor string `json:"cursor,omitempty"`
		Limit  int    `json:"limit,omitempty"`
	}{Cursor: cursor}
	if limit > 0 {
		in.Limit = min(limit, c.limit(http.MethodPost, path))
	}
	r, err := post(http.MethodPost, path, in)
	if err != nil {
		return DevicePage{}, err
	}
	var out struct {
		Cursor       string            `json:"cursor"`
		Devices      []json.RawMessage `json:"devices"`
		FetchedUntil wire              `json:"fetched_until"`
		More         wire              `json:"more_to_follow"`
	}
	if err := c.do(ctx, r, &out); err != nil {
		return DevicePage{}, err
	}
	page := DevicePage{Cursor: out.Cursor, FetchedUntil: out.FetchedUntil.time(), More: out.More.bool()}
	if len(out.Cursor) > maxCursor || out.Cursor == "" && (page.More || out.Devices == nil) {
		return DevicePage{}, unreadable(&r, "the answer has no cursor to go on with")
	}
	for _, raw := range out.Devices {
		var d Device
		if json.Unmarshal(raw, &d) != nil || !IsSerial(d.SerialNumber) {
			page.Unreadable++
			continue
		}
		page.Devices = append(page.Devices, d)
	}
	return page, nil
}

// DeviceDetails returns devices by their serial numbers, in as many calls as it takes. A device that is not on the server
// has the ResponseStatus [StatusNotFound]. If a call fails, what was answered before comes with the error.
func (c *Client) DeviceDetails(ctx context.Context, serials []string) (map[string]Device, error) {
	const path = "/devices"
	found := map[string]Device{}
	err := c.batches("dep.DeviceDetails", http.MethodPost, path, serials, func(batch []string) error {
		out, err := c.devicesOf(ctx, http.MethodPost, path, map[string]any{"devices": batch})
		if err != nil {
			return err
		}
		for serial, raw := range out.devices {
			var d Device
			if json.Unmarshal(raw, &d) != nil || !IsSerial(serial) {
				continue
			}
			if d.SerialNumber == "" {
				d.SerialNumber = serial
			}
			found[serial] = d
		}
		return nil
	})
	return found, err
}

// Disown gives devices up FOR EVER: they leave the organization, and only a reseller, or a person with the device in hand,
// can bring them back. Apple has deprecated the call; devices are released in Apple Business Manager and Apple School Manager. The
// map has the status of each: [StatusSuccess], [StatusNotAccessible], [StatusFailed]. If a call fails, what was answered before
// comes with the error.
func (c *Client) Disown(ctx context.Context, serials []string) (map[string]string, error) {
	const path = "/devices/disown"
	done := map[string]string{}
	err := c.batches("dep.Disown", http.MethodPost, path, serials, func(batch []string) error {
		out, err := c.devicesOf(ctx, http.MethodPost, path, map[string]any{"devices": batch})
		if err != nil {
			return err
		}
		out.statuses(done)
		return nil
	})
	return done, err
}

// devicesOf makes a call that says something of each device.
func (c *Client) devicesOf(ctx context.Context, method, path string, in map[string]any) (out devicesOf, err error) {
	r, err := post(method, path, in)
	if err != nil {
		return out, err
	}
	err = c.do(ctx, r, &out)
	return out, err
}

// batches calls for serial numbers, each of them once, as many at a time as Apple allows.
func (c *Client) batches(op, method, path string, serials []string, call func(batch []string) error) error {
	seen := make(map[string]bool, len(serials))
	unique := make([]string, 0, len(serials))
	for _, serial := range serials {
		if !IsSerial(serial) {
			return badSerial(op, serial)
		}
		if !seen[serial] {
			seen[serial] = true
			unique = append(unique, serial)
		}
	}
	size := c.limit(method, path)
	for len(unique) > 0 {
		n := min(size, len(unique))
		if err := call(unique[:n]); err != nil {
			return err
		}
		unique = unique[n:]
	}
	return nil
}

// devicesOf is an answer about several devices by their serial numbers, in a key of its own or, in some of Apple's documents, at the top.
type devicesOf struct {
	keys    map[string]json.RawMessage
	devices map[string]json.RawMessage
}

// UnmarshalJSON reads it.
func (d *devicesOf) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &d.keys); err != nil {
		return err
	}
	raw, there := d.keys["devices"]
	if !there {
		d.devices = map[string]json.RawMessage{}
		for key, value := range d.keys {
			if !strings.Contains(key, "_") { // no serial number has one, and most keys do
				d.devices[key] = value
			}
		}
		return nil
	}
	return json.Unmarshal(raw, &d.devices)
}

// statuses adds the status of each device to a map.
func (d *devicesOf) statuses(to map[string]string) {
	for serial, raw := range d.devices {
		var status string
		if json.Unmarshal(raw, &status) != nil {
			var in struct {
				Status string `json:"response_status"`
			}
			if json.Unmarshal(raw, &in) != nil {
				continue
			}
			status = in.Status
		}
		if status != "" && IsSerial(serial) {
			to[serial] = printable(status)
		}
	}
}
