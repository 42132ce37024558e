package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Page sizes.
const (
	defaultPage = 100
	maxPage     = 1000
)

// maxObject is the size of the largest body that is an object of ours, in bytes: a thousand serial numbers have some 20 KB.
const maxObject = 128 << 10

// one checks that a request has no parameters but these, so that a misspelled one is no silent surprise, and each once.
func (c *call) one(names ...string) error {
	for name, values := range c.URL.Query() {
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			return malformed("there is no parameter %q", name)
		}
		if len(values) > 1 && name != "to" {
			return malformed("the parameter %q is there twice", name)
		}
	}
	return nil
}

func (c *call) param(name string) string { return c.URL.Query().Get(name) }

func (c *call) flag(name string, otherwise bool) (bool, error) {
	switch c.param(name) {
	case "":
		return otherwise, nil
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, malformed("%s is neither 0 nor 1", name)
}

func (c *call) limit() (int, error) {
	text := c.param("limit")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, malformed("limit is not a number from 1 to %d", maxPage)
	}
	return n, nil
}

// read reads the body, at most so many bytes of it.
func (c *call) read(most int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, most))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, malformed("there is no body")
	}
	return body, nil
}

// object reads the body, a JSON object that has no keys but those of v.
func (c *call) object(v any) error {
	body, err := c.read(maxObject)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return malformed("the body is not the JSON that is described: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed("there is something behind the JSON")
	}
	return nil
}

func (c *call) number(name string) (int64, error) {
	text := c.param(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, malformed("%s is not a number", name)
	}
	return n, nil
}

func (c *call) time(name string) (time.Time, error) {
	text := c.param(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, malformed("%s is no time as 2006-01-02T15:04:05Z", name)
	}
	return t, nil
}

// id reads an enrollment id. One without a tenant is the caller's; one of another tenant is not there.
func (c *call) id(text string) (mdm.EnrollmentID, error) {
	id, err := mdm.ParseEnrollmentID(text)
	if err != nil {
		return id, malformed("%.100q is no enrollment id", text)
	}
	if id.Tenant == "" {
		id.Tenant = c.tenant
	}
	if id.Tenant != c.tenant {
		return id, mdm.Errorf(mdm.NotFound, "api", "no such enrollment")
	}
	return id, nil
}

// filterNames are the parameters of filter.
var filterNames = []string{"state", "channel", "device", "serial", "topic", "presence"}

var states = []mdm.State{mdm.Pending, mdm.Enrolled, mdm.Ended}

var presences = []mdm.Presence{mdm.Active, mdm.Quiet, mdm.Inactive, mdm.Gone}

var channels = []mdm.Channel{mdm.DeviceChannel, mdm.UserChannel, mdm.SharedIPadChannel, mdm.UserEnrollmentChannel, mdm.UserEnrollmentUser}

var commandStates = []command.State{command.Queued, command.Sent, command.Deferred, command.Acknowledged, command.Failed, command.FormatError,
	command.Canceled, command.Expired, command.Presumed}

// named finds the values of a list by their names, which are separated by commas.
func named[T interface{ String() string }](all []T, text, what string) ([]T, error) {
	if text == "" {
		return nil, nil
	}
	var out []T
next:
	for _, name := range strings.Split(text, ",") {
		for _, v := range all {
			if v.String() == name {
				out = append(out, v)
				continue next
			}
		}
		return nil, malformed("%.40q is no %s", name, what)
	}
	return out, nil
}

func (c *call) filter() (f mdm.Filter, err error) {
	f = mdm.Filter{Tenant: c.tenant, Device: c.param("device"), SerialNumber: c.param("serial"), Topic: c.param("topic")}
	if f.States, err = named(states, c.param("state"), "state"); err != nil {
		return f, err
	}
	if f.Presence, err = named(presences, c.param("presence"), "presence"); err != nil {
		return f, err
	}
	f.Channels, err = named(channels, c.param("channel"), "channel")
	return f, err
}

// to reads whom a request is for: a list of ids, or all=1 with what a filter has. Nobody is meant by mistake.
func (c *call) to() (mdm.Targets, error) {
	all, err := c.flag("all", false)
	if err != nil {
		return mdm.Targets{}, err
	}
	var ids []mdm.EnrollmentID
	for _, list := range c.URL.Query()["to"] {
		for _, text := range strings.Split(list, ",") {
			id, err := c.id(text)
			if err != nil {
				return mdm.Targets{}, err
			}
			ids = append(ids, id)
		}
	}
	filtered := false
	for _, name := range filterNames {
		filtered = filtered || c.param(name) != ""
	}
	switch {
	case len(ids) > 0 && (all || filtered), len(ids) == 0 && !all:
		return mdm.Targets{}, malformed("for whom? to=<id>,<id>… or all=1, which may be narrowed by %s", strings.Join(filterNames, ", "))
	case len(ids) > 0:
		return mdm.IDs(ids...), nil
	}
	f, err := c.filter()
	if len(f.States) == 0 {
		f.States = []mdm.State{mdm.Enrolled}
	}
	return mdm.Matching(f), err
}
