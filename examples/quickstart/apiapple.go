package main

import (
	"context"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/practice"
)

// appleView is our server at Apple as the console shows it.
type appleView struct {
	TokenEnds time.Time     `json:"tokenEnds"`
	Stopped   string        `json:"stopped,omitempty"` // what somebody has to do there
	Devices   []appleDevice `json:"devices"`
}

// appleDevice is a device of ours, whether it is enrolled or still in its box.
type appleDevice struct {
	Serial     string           `json:"serial"`
	Model      string           `json:"model"`
	Profile    string           `json:"profile"` // "assigned", "pushed"
	ID         mdm.EnrollmentID `json:"id"`      // empty: it never enrolled
	State      string           `json:"state"`   // the same
	Supervised string           `json:"supervised"`
	Removable  string           `json:"removable"`
	Confirmed  bool             `json:"confirmed"` // the device says so
	Note       string           `json:"note"`      // from what that follows
}

// listApple tells of the devices that Apple says are ours, and how firmly they hold their management.
func (a *app) listApple(ctx context.Context, _ *http.Request) (any, error) {
	if a.apple == nil {
		return nil, mdm.Errorf(mdm.NotFound, "quickstart", "there is no server at Apple")
	}
	server, err := a.stores.DEP.Server(ctx, appleKey)
	if err != nil {
		return nil, err
	}
	view := appleView{TokenEnds: server.Token.Expires, Devices: []appleDevice{}}
	if server.Stopped != nil {
		view.Stopped = server.Stopped.Text
	}
	for r, err := range a.stores.DEP.Records(ctx, dep.Query{Server: appleKey, Limit: 500}) {
		if err != nil {
			return nil, err
		}
		e, hold, err := a.holdOf(ctx, &r, &server)
		if err != nil {
			return nil, err
		}
		d := appleDevice{Serial: r.Serial, Model: r.Device.Model, Profile: string(r.Device.ProfileStatus), Supervised: inWords(hold.Supervised),
			Removable: inWords(hold.Removable), Confirmed: hold.Confirmed, Note: hold.Note}
		if e != nil {
			d.ID, d.State = e.ID, e.State.String()
		}
		view.Devices = append(view.Devices, d)
	}
	return view, nil
}

// holdOf says how firmly a device holds its management, and which enrollment it is; nil if it has none.
func (a *app) holdOf(ctx context.Context, r *dep.Record, server *dep.Server) (*mdm.Enrollment, practice.Hold, error) {
	for e, err := range a.stores.Roster.Enrollments(ctx, mdm.Filter{SerialNumber: r.Serial, Channels: []mdm.Channel{mdm.DeviceChannel}, Limit: 1}) {
		if err != nil {
			return nil, practice.Hold{}, err
		}
		said := practice.Said{}
		if e.State == mdm.Enrolled {
			said, err = a.said(ctx, e)
		}
		return e, practice.HoldOf(r, server, said), err
	}
	return nil, practice.HoldOf(r, server, practice.Said{}), nil
}

// said is what a device answered last to the questions that tell how it is managed. An answer that cannot be read says nothing.
func (a *app) said(ctx context.Context, e *mdm.Enrollment) (practice.Said, error) {
	said := practice.Said{MDMProfile: profileIdentifier}
	answered := command.Query{From: e.ID, States: []command.State{command.Acknowledged}, Results: true}
	for c, err := range a.stores.Command.Entries(ctx, answered) {
		if err != nil {
			return said, err
		}
		if c.Generation != e.Generation {
			continue // of before it was erased
		}
		switch c.RequestType {
		case "DeviceInformation":
			v := &command.DeviceInformationResponse{}
			if command.DecodeResult(c.Result, v) == nil && v.QueryResponses.IsSupervised != nil {
				said.Information = v
			}
		case "SecurityInfo":
			v := &command.SecurityInfoResponse{}
			if command.DecodeResult(c.Result, v) == nil {
				said.Security = v
			}
		case "ProfileList":
			v := &command.ProfileListResponse{}
			if command.DecodeResult(c.Result, v) == nil {
				said.Profiles = v
			}
		}
	}
	return said, nil
}

// inWords says what is known.
func inWords(t mdm.Tristate) string {
	switch t {
	case mdm.Yes:
		return "yes"
	case mdm.No:
		return "no"
	}
	return "unknown"
}
