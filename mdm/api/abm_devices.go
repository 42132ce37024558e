package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/practice"
)

// maxProfile is the size of the largest profile that is read, in bytes: a few certificates.
const maxProfile = 256 << 10

// abmDevice is a device of a server as the API shows it.
type abmDevice struct {
	Server      string `json:"server"`
	Serial      string `json:"serial"`
	Model       string `json:"model,omitempty"`
	Description string `json:"description,omitempty"`
	Color       string `json:"color,omitempty"`
	AssetTag    string `json:"assetTag,omitempty"`
	OS          string `json:"os,omitempty"`
	Family      string `json:"family,omitempty"`

	Status     dep.ProfileStatus `json:"status,omitempty"`
	Profile    string            `json:"profile,omitempty"` // that it has
	AssignedAt time.Time         `json:"assignedAt,omitzero"`
	PushedAt   time.Time         `json:"pushedAt,omitzero"`
	Wanted     string            `json:"wanted,omitempty"` // that it ought to have
	Own        bool              `json:"own,omitempty"`    // wanted of this device, not of all
	Assignment *abmAssignment    `json:"assignment,omitempty"`
	Hold       abmHold           `json:"hold"`

	AddedAt  time.Time `json:"addedAt,omitzero"`
	AddedBy  string    `json:"addedBy,omitempty"`
	Deadline time.Time `json:"migrationDeadline,omitzero"`
	SeenAt   time.Time `json:"seenAt,omitzero"`
	Gone     bool      `json:"gone"`
	GoneAt   time.Time `json:"goneAt,omitzero"`
}

// abmAssignment is how far a device is from the profile that it ought to have.
type abmAssignment struct {
	Due     time.Time `json:"due,omitzero"`
	Tries   int       `json:"tries,omitempty"`
	Profile string    `json:"profile,omitempty"`
	Answer  string    `json:"answer,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// abmHold is how firmly a device holds its management, as far as its profile at Apple promises.
type abmHold struct {
	Supervised *bool  `json:"supervised,omitempty"`
	Removable  *bool  `json:"removable,omitempty"`
	Note       string `json:"note"`
}

// shownDevice shows a device. s is nil if its server is not there any more.
func shownDevice(r *dep.Record, s *dep.Server) abmDevice {
	d, h := &r.Device, practice.HoldOf(r, s, practice.Said{})
	shown := abmDevice{Server: r.Server.Name, Serial: r.Serial, Model: d.Model, Description: d.Description, Color: d.Color, AssetTag: d.AssetTag,
		OS: d.OS, Family: d.DeviceFamily, Status: d.ProfileStatus, Profile: d.ProfileUUID, AssignedAt: d.ProfileAssignTime, PushedAt: d.ProfilePushTime,
		Own: r.Want != "", Hold: abmHold{truth(h.Supervised), truth(h.Removable), h.Note}, AddedAt: d.DeviceAssignedDate, AddedBy: d.DeviceAssignedBy,
		Deadline: d.MDMMigrationDeadline, SeenAt: r.SeenAt, Gone: r.Gone, GoneAt: r.GoneAt}
	if s != nil {
		shown.Wanted = r.Wanted(s)
	}
	if x := r.Assignment; x != (dep.Assignment{}) {
		shown.Assignment = &abmAssignment{x.Due, x.Tries, x.Profile, x.Answer, x.At}
	}
	return shown
}

// abmDevices lists the devices of a server.
func (a *api) abmDevices(c *call) (any, error) {
	if err := c.one("after", "limit", "gone"); err != nil {
		return nil, err
	}
	gone, err := c.flag("gone", false)
	if err != nil {
		return nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	v, err := a.cfg.Stores.DEP.Server(c.Context(), c.server())
	if err != nil {
		return nil, noServer(err)
	}
	answer := struct {
		Devices []abmDevice `json:"devices"`
		Next    string      `json:"next,omitempty"`
	}{Devices: []abmDevice{}}
	q := dep.Query{Server: v.Key, After: c.param("after"), Gone: gone, Limit: limit + 1} // one more, to see whether there is more
	for r, err := range a.cfg.Stores.DEP.Records(c.Context(), q) {
		if err != nil {
			return nil, err
		}
		if len(answer.Devices) == limit {
			answer.Next = answer.Devices[limit-1].Serial
			break
		}
		answer.Devices = append(answer.Devices, shownDevice(&r, &v))
	}
	return answer, nil
}

// abmDevice shows what each server knows of a device, first the one that has it.
func (a *api) abmDevice(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	serial := c.PathValue("serial")
	if !dep.IsSerial(serial) {
		return nil, malformed("%.100q is no serial number", serial)
	}
	records, err := a.cfg.Stores.DEP.DeviceRecords(c.Context(), c.tenant, serial)
	if err != nil {
		return nil, err
	}
	list := []abmDevice{}
	for i := range records {
		v, err := a.cfg.Stores.DEP.Server(c.Context(), records[i].Server)
		switch {
		case err != nil && mdm.CodeOf(err) == mdm.NotFound: // it was deleted just now
		case err != nil:
			return nil, err
		default:
			list = append(list, shownDevice(&records[i], &v))
		}
	}
	if len(list) == 0 {
		return nil, mdm.Errorf(mdm.NotFound, "api", "no server knows this device")
	}
	return map[string]any{"devices": list}, nil
}

// assigner is who keeps wishes, even if nobody here carries them out.
func (a *api) assigner() *dep.Assigner {
	if a.cfg.Assigner != nil {
		return a.cfg.Assigner
	}
	return &dep.Assigner{Store: a.cfg.Stores.DEP}
}

// profileUUID reads a UUID that a request must have; empty means none.
func profileUUID(uuid *string) (string, error) {
	switch {
	case uuid == nil:
		return "", malformed("there must be a uuid; an empty one means none")
	case *uuid != "" && !dep.IsSerial(*uuid):
		return "", malformed("%.100q is no UUID of a profile", *uuid)
	}
	return *uuid, nil
}

// setProfile sets the profile of all devices of a server that have none of their own.
func (a *api) setProfile(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	var in struct {
		UUID *string `json:"uuid"`
	}
	if err := c.object(&in); err != nil {
		return nil, err
	}
	uuid, err := profileUUID(in.UUID)
	if err != nil {
		return nil, err
	}
	if err := a.assigner().SetProfile(c.Context(), c.server(), uuid); err != nil {
		return nil, noServer(err)
	}
	a.assigner().Notify(c.server())
	return a.abmServer(c)
}

// want sets the profile of some devices.
func (a *api) want(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	var in struct {
		UUID    *string  `json:"uuid"`
		Serials []string `json:"serials"`
	}
	if err := c.object(&in); err != nil {
		return nil, err
	}
	uuid, err := profileUUID(in.UUID)
	if err != nil {
		return nil, err
	}
	if n := len(in.Serials); n == 0 || n > dep.MaxBatch { // what one step of the store is for: all are kept, or none
		return nil, malformed("there must be 1 to %d serials", dep.MaxBatch)
	}
	for _, serial := range in.Serials {
		if !dep.IsSerial(serial) {
			return nil, malformed("%.100q is no serial number", serial)
		}
	}
	serials := slices.Compact(slices.Sorted(slices.Values(in.Serials)))
	unknown, err := a.assigner().Want(c.Context(), c.server(), uuid, serials...)
	if err != nil {
		return nil, noServer(err)
	}
	a.assigner().Notify(c.server())
	if unknown == nil {
		unknown = []string{}
	}
	return map[string]any{"uuid": uuid, "devices": len(serials) - len(unknown), "unknown": unknown}, nil
}

// abmProfile is a profile of a server as the API shows it.
type abmProfile struct {
	UUID    string      `json:"uuid"`
	Default bool        `json:"default"` // it is the server's
	Profile dep.Profile `json:"profile"` // in Apple's form
}

// abmProfiles lists the profiles that are known.
func (a *api) abmProfiles(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	v, err := a.cfg.Stores.DEP.Server(c.Context(), c.server())
	if err != nil {
		return nil, noServer(err)
	}
	list := []abmProfile{}
	for _, uuid := range slices.Sorted(maps.Keys(v.Profiles)) {
		list = append(list, abmProfile{uuid, uuid == v.Profile, v.Profiles[uuid]})
	}
	return map[string]any{"profiles": list}, nil
}

// define defines a profile at Apple. The body is in Apple's form, without devices.
func (a *api) define(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	body, err := c.read(maxProfile)
	if err != nil {
		return nil, err
	}
	var p dep.Profile
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, malformed("the profile is not JSON in Apple's form: %w", err)
	}
	if _, odd := p.Extra["devices"]; odd || len(p.Devices) > 0 {
		return nil, malformed("devices are given a profile once it is defined, not by that")
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	v, err := a.cfg.Stores.DEP.Server(c.Context(), c.server())
	if err != nil {
		return nil, noServer(err)
	}
	if v.Token.ConsumerKey == "" {
		return nil, v.Token.Check(time.Now())
	}
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{})                // it takes as long as Apple takes
	uuid, err := a.cfg.Assigner.Define(context.WithoutCancel(c.Context()), v.Key, p) // what is defined is remembered, too
	switch {
	case err != nil && uuid != "":
		return nil, mdm.Errorf(mdm.CodeOf(err), "api", "the profile %s is defined at Apple, but not remembered here: %w", uuid, err)
	case err != nil:
		return nil, err
	}
	return abmProfile{uuid, uuid == v.Profile, p}, nil
}
