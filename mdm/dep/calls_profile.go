package dep

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Assigned is the answer to AssignProfile.
type Assigned struct {
	Devices    map[string]string // the status of each serial number, as StatusSuccess
	RetryAfter time.Duration     // when those that are StatusThrottled may be tried again (protocol 10); 0 if Apple does not say
}

const pathProfileDevices = "/profile/devices"

// DefineProfile stores a profile with Apple, which gives it a UUID, and gives it to the devices that it lists. A profile cannot be changed:
// a new one is defined and assigned instead. The map has the status of each device that was listed: see AssignProfile.
func (c *Client) DefineProfile(ctx context.Context, p Profile) (uuid string, devices map[string]string, err error) {
	if err := p.Check(); err != nil {
		return "", nil, err
	}
	r, err := post(http.MethodPost, "/profile", p)
	if err != nil {
		return "", nil, err
	}
	var out struct {
		UUID    string          `json:"profile_uuid"`
		Devices json.RawMessage `json:"devices"`
	}
	if err := c.do(ctx, r, &out); err != nil {
		return "", nil, err
	}
	if !isUUID(out.UUID) {
		return "", nil, unreadable(&r, "the answer has no profile_uuid")
	}
	list := devicesOf{}
	_ = json.Unmarshal(out.Devices, &list.devices) // what is not there, or odd, is no status
	devices = map[string]string{}
	list.statuses(devices)
	return out.UUID, devices, nil
}

// Profile returns a profile by its UUID. The error is [ErrNotFound] if there is none.
func (c *Client) Profile(ctx context.Context, uuid string) (Profile, error) {
	if !isUUID(uuid) {
		return Profile{}, badUUID("dep.Profile")
	}
	var p Profile
	err := c.do(ctx, request{method: http.MethodGet, path: "/profile", query: url.Values{"profile_uuid": {uuid}}}, &p)
	return p, err
}

// AssignProfile gives devices a profile, which they find when they are set up the next time, in as many calls as it takes. Each
// has a status: [StatusSuccess], [StatusNotAccessible], [StatusFailed], [StatusThrottled], or a newer word. If a call fails, what
// was answered before comes with the error, which is [ErrNotFound] if there is no such profile.
//
// Apple has documented the call with PUT and with POST: POST is used once PUT was refused.
func (c *Client) AssignProfile(ctx context.Context, uuid string, serials []string) (Assigned, error) {
	const op = "dep.AssignProfile"
	done := Assigned{Devices: map[string]string{}}
	if !isUUID(uuid) {
		return done, badUUID(op)
	}
	err := c.batches(op, c.assignMethod(), pathProfileDevices, serials, func(batch []string) error {
		var out devicesOf
		if err := c.assign(ctx, map[string]any{"profile_uuid": uuid, "devices": batch}, &out); err != nil {
			return err
		}
		out.statuses(done.Devices)
		done.RetryAfter = max(done.RetryAfter, wire(out.keys["retry_after_seconds"]).seconds())
		return nil
	})
	return done, err
}

func (c *Client) assign(ctx context.Context, in map[string]any, out *devicesOf) error {
	method := c.assignMethod()
	r, err := post(method, pathProfileDevices, in)
	if err != nil {
		return err
	}
	err = c.do(ctx, r, out)
	var e *Error
	if method == http.MethodPost || !errors.As(err, &e) || e.Status != http.StatusMethodNotAllowed {
		return err
	}
	r.method = http.MethodPost
	if err := c.do(ctx, r, out); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byPost = true
	return nil
}

func (c *Client) assignMethod() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byPost {
		return http.MethodPost
	}
	return http.MethodPut
}

// UnassignProfile takes the profile away from devices, in as many calls as it takes; uuid says which one, and may be empty. Devices
// that are set up keep what they have. For the statuses and the error see AssignProfile.
func (c *Client) UnassignProfile(ctx context.Context, uuid string, serials []string) (map[string]string, error) {
	const op = "dep.UnassignProfile"
	done := map[string]string{}
	if uuid != "" && !isUUID(uuid) {
		return done, badUUID(op)
	}
	err := c.batches(op, http.MethodDelete, pathProfileDevices, serials, func(batch []string) error {
		in := map[string]any{"devices": batch}
		if uuid != "" {
			in["profile_uuid"] = uuid
		}
		out, err := c.devicesOf(ctx, http.MethodDelete, pathProfileDevices, in)
		if err != nil {
			return err
		}
		out.statuses(done)
		return nil
	})
	return done, err
}

// isUUID reports whether s can be the UUID of a profile, whose form is Apple's affair.
func isUUID(s string) bool { return IsSerial(s) }

func badUUID(op string) error {
	return mdm.Errorf(mdm.Malformed, op, "the UUID of a profile is missing, or cannot be one")
}
