package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

var device = mdm.EnrollmentID{Device: "8D4C3B2A"}

// report is a report with more keys.
func report(uuid, status, keys string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>UDID</key><string>8D4C3B2A</string>
<key>Status</key><string>%s</string><key>CommandUUID</key><string>%s</string>%s</dict></plist>`, status, uuid, keys)
}

// answered has a device answer a command, and returns the event of that.
func answered(t *testing.T, stores storage.Stores, c command.Command, status command.Status, keys string) mdm.Event {
	t.Helper()
	require.NoError(t, stores.Checkin.Update(t.Context(), checkin.Key{ID: device}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Enrollments: []mdm.Enrollment{{ID: device, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: "com.apple.mgmt.x",
			PushToken: []byte("PUSHTOKEN"), PushMagic: "PUSHMAGIC", Device: mdm.Device{SerialNumber: "SN1", OSVersion: "26.1"}}}}, nil
	}))
	receipt, err := stores.Command.Enqueue(t.Context(), command.Order{Command: c, To: mdm.IDs(device), Relax: schema.AllRules})
	require.NoError(t, err)
	require.Equal(t, 1, receipt.Queued, receipt.Refused)
	for _, r := range []*command.Report{
		{ID: device, Channel: mdm.DeviceChannel, Status: command.StatusIdle, At: noon},
		{ID: device, Channel: mdm.DeviceChannel, Status: status, CommandUUID: receipt.UUID, Raw: report(receipt.UUID, string(status), keys), At: noon},
	} {
		_, err := stores.Command.Exchange(t.Context(), r, func(*identity.Standing) identity.Verdict { return identity.Verdict{} })
		require.NoError(t, err)
	}
	events, err := stores.Events.Events(t.Context(), "", 0, 1000)
	require.NoError(t, err)
	return events[len(events)-1]
}

func (k *kit) delivered(e mdm.Event) (d Delivery) {
	k.Helper()
	require.NoError(k, k.Consume(k.Context(), e))
	got := k.requests()
	require.NoError(k, json.Unmarshal(got[len(got)-1].body, &d))
	return d
}

const bypass = `<key>ActivationLockBypassCode</key><string>SECRET-CODE</string><key>NewInOS30</key><string>PERHAPS-SECRET</string>`

func TestResults(t *testing.T) {
	stores := memory.New().Stores()
	e := answered(t, stores, command.ActivationLockBypassCode{}, command.StatusAcknowledged, bypass)
	require.Equal(t, mdm.EventCommandAcknowledged, e.Type)
	assert.Nil(t, newKit(t).delivered(e).Result, "it is there if it is asked for")

	k := newKit(t, func(c *Config) { c.Results, c.Commands = true, stores.Command })
	assert.Equal(t, &Result{Status: "Acknowledged", LeftOut: []string{"ActivationLockBypassCode", "NewInOS30"}}, k.delivered(e).Result)
	assert.NotContains(t, string(k.requests()[0].body), "SECRET")

	k = newKit(t, func(c *Config) { c.Results, c.Reveal, c.Commands = true, true, stores.Command })
	assert.JSONEq(t, `{"ActivationLockBypassCode": "SECRET-CODE", "NewInOS30": "PERHAPS-SECRET"}`, string(k.delivered(e).Result.Response))

	k = newKit(t, func(c *Config) { c.Results, c.MaxResult, c.Commands = true, 100, stores.Command })
	assert.Equal(t, &Result{Note: "it has more than 100 bytes"}, k.delivered(e).Result)
	other := e
	other.Generation++
	assert.Nil(t, k.delivered(other).Result)
	e.CommandUUID = "swept"
	assert.Nil(t, k.delivered(e).Result)
}

func TestResultsThatAreErrorsOrOdd(t *testing.T) {
	stores := memory.New().Stores()
	k := newKit(t, func(c *Config) { c.Results, c.Commands = true, stores.Command })
	e := answered(t, stores, command.SecurityInfo{}, command.StatusError, `<key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>12007</integer>
<key>ErrorDomain</key><string>MCMDMErrorDomain</string><key>LocalizedDescription</key><string>Nicht erlaubt</string></dict></array>`)
	assert.Equal(t, &Result{Status: "Error", Errors: []ResultError{{12007, "MCMDMErrorDomain", "Nicht erlaubt"}}}, k.delivered(e).Result)

	e = answered(t, stores, command.SecurityInfo{}, command.StatusAcknowledged,
		`<key>SecurityInfo</key><dict><key>PasscodePresent</key><true/><key>Unheard</key><string>SECRET</string><key>FirewallSettings</key><string>SECRET</string></dict>`)
	r := k.delivered(e).Result
	assert.JSONEq(t, `{"SecurityInfo": {"PasscodePresent": true}}`, string(r.Response))
	assert.Equal(t, []string{"SecurityInfo.FirewallSettings", "SecurityInfo.Unheard"}, r.LeftOut)
	assert.Equal(t, &Result{Note: "it cannot be read"}, k.result("SecurityInfo", []byte("no plist")))
}

// broken is an Inspector that cannot read.
type broken struct{ command.Inspector }

func (broken) Entries(context.Context, command.Query) iter.Seq2[command.Entry, error] {
	return func(yield func(command.Entry, error) bool) { yield(command.Entry{}, errors.New("disk full")) }
}

func TestAStoreThatFailsIsNotTheReceiver(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Results, c.Commands = true, broken{} })
	require.ErrorContains(t, k.Consume(t.Context(), mdm.Event{Type: mdm.EventCommandFailed, Enrollment: device}), "disk full")
	assert.Empty(t, k.requests())
	assert.Zero(t, k.failures)
}

func TestRedact(t *testing.T) {
	leaf := func() map[string]any { return map[string]any{"good": "1", "bad": "SECRET", "odd": "SECRET"} }
	keys := []schema.Key{{Name: "good", Kind: schema.String}, {Name: "bad", Kind: schema.String, Secret: true}}
	described := []schema.Key{
		{Name: "list", Kind: schema.Array, Item: &schema.Key{Kind: schema.Dictionary, Keys: keys}},
		{Name: "free", Kind: schema.Dictionary, Value: &schema.Key{Kind: schema.Dictionary, Keys: keys}},
		{Name: "union", Kind: schema.Array, Union: []schema.Key{{Name: "one", Kind: schema.Dictionary, Keys: append(keys, schema.Key{Name: "Item", Kind: schema.String})}}},
		{Name: "secrets", Kind: schema.Array, Item: &schema.Key{Kind: schema.String, Secret: true}},
		{Name: "tree", Kind: schema.Dictionary, Keys: append(keys, schema.Key{Name: "inner", Kind: schema.Dictionary, Up: 1})},
		{Name: "shape", Kind: schema.Dictionary, Keys: keys}, {Name: "text", Kind: schema.String}, {Name: "any", Kind: schema.Any},
	}
	one := leaf()
	one["Item"] = "one"
	tree := leaf()
	tree["inner"] = leaf()
	dict := map[string]any{"list": []any{leaf()}, "free": map[string]any{"x": leaf(), "y": "SECRET"}, "union": []any{one, leaf(), "SECRET"},
		"secrets": []any{"SECRET"}, "tree": tree, "shape": "SECRET", "text": []any{"SECRET"}, "any": map[string]any{"x": "1"}}
	unheard := map[string]any{"key": "SECRET"}
	assert.Equal(t, []string{"key"}, redact("Unheard", unheard), "of what nobody knows nothing is told")
	assert.Empty(t, unheard)
	r := redactor{}
	r.keys(described, "", dict)
	assert.NotContains(t, fmt.Sprint(dict), "SECRET")
	good := map[string]any{"good": "1"}
	assert.Equal(t, map[string]any{"list": []any{good}, "free": map[string]any{"x": good}, "union": []any{map[string]any{"good": "1", "Item": "one"}},
		"secrets": []any{}, "tree": map[string]any{"good": "1", "inner": good}, "any": map[string]any{"x": "1"}}, dict)
	assert.Contains(t, r.leftOut, "list[0].bad")
	assert.Contains(t, r.leftOut, "free.y")
	assert.Contains(t, r.leftOut, "tree.inner.odd")
}

func TestMicroMDM(t *testing.T) {
	stores := memory.New().Stores()
	acknowledged := answered(t, stores, command.ActivationLockBypassCode{}, command.StatusAcknowledged, bypass)
	micro := func(e mdm.Event, change func(*Config)) (m MicroEvent, payload map[string]any) {
		k := newKit(t, func(c *Config) { c.MicroMDM = true }, change)
		require.NoError(t, k.Consume(t.Context(), e))
		require.Len(t, k.requests(), 1)
		body := k.requests()[0].body
		require.NoError(t, json.Unmarshal(body, &m))
		raw := m.Checkin
		if m.Acknowledge != nil {
			require.NoError(t, plistx.Unmarshal(m.Acknowledge.RawPayload, &payload))
		} else {
			require.NoError(t, plistx.Unmarshal(raw.RawPayload, &payload))
		}
		assert.NotContains(t, fmt.Sprint(payload), "PUSH")
		assert.Equal(t, k.requests()[0].header.Get(IDHeader), m.ID)
		assert.True(t, e.At.Equal(m.CreatedAt))
		assert.Contains(t, string(body), `"url_params":{}`)
		return m, payload
	}
	ack := map[string]any{"UDID": "8D4C3B2A", "Status": "Acknowledged", "CommandUUID": acknowledged.CommandUUID}
	m, payload := micro(acknowledged, func(*Config) {})
	assert.Equal(t, "mdm.Connect", m.Topic)
	assert.Equal(t, []string{"8D4C3B2A", "", "Acknowledged", acknowledged.CommandUUID}, []string{m.Acknowledge.UDID, m.Acknowledge.EnrollmentID, m.Acknowledge.Status, m.Acknowledge.CommandUUID})
	assert.Equal(t, ack, payload)
	_, payload = micro(acknowledged, func(c *Config) { c.Results, c.Commands = true, stores.Command })
	assert.Equal(t, ack, payload, "all of it was secret or not known")
	m, _ = micro(acknowledged, func(c *Config) { c.Results, c.Reveal, c.Commands = true, true, stores.Command })
	assert.Equal(t, report(acknowledged.CommandUUID, "Acknowledged", bypass), m.Acknowledge.RawPayload)

	failed := answered(t, stores, command.SecurityInfo{}, command.StatusError, `<key>ErrorChain</key><array><dict><key>ErrorCode</key><integer>12007</integer></dict></array>`)
	_, payload = micro(failed, func(c *Config) { c.Results, c.Commands = true, stores.Command })
	assert.Equal(t, []any{map[string]any{"ErrorCode": uint64(12007)}}, payload["ErrorChain"])

	m, payload = micro(mdm.Event{Type: mdm.EventAuthenticated, At: noon, Enrollment: device}, func(c *Config) { c.Roster = stores.Roster })
	assert.Equal(t, "mdm.Authenticate", m.Topic)
	assert.Equal(t, map[string]any{"MessageType": "Authenticate", "Topic": "com.apple.mgmt.x", "UDID": "8D4C3B2A", "SerialNumber": "SN1", "OSVersion": "26.1"}, payload)
	m, payload = micro(mdm.Event{Type: mdm.EventTokenUpdated, At: noon, Enrollment: mdm.EnrollmentID{Device: "X", User: "anna"}}, func(c *Config) { c.Roster = stores.Roster })
	assert.Equal(t, "mdm.TokenUpdate", m.Topic)
	assert.Equal(t, map[string]any{"MessageType": "TokenUpdate", "UDID": "X", "UserID": "anna"}, payload)
	m, payload = micro(mdm.Event{Type: mdm.EventCheckedOut, At: noon, Enrollment: device}, func(c *Config) { c.Roster = byod{} })
	assert.Equal(t, "mdm.CheckOut", m.Topic)
	assert.Equal(t, []string{"", "8D4C3B2A"}, []string{m.Checkin.UDID, m.Checkin.EnrollmentID})
	assert.Equal(t, map[string]any{"MessageType": "CheckOut", "EnrollmentID": "8D4C3B2A"}, payload)

	k := newKit(t, func(c *Config) { c.MicroMDM = true })
	require.NoError(t, k.Consume(t.Context(), mdm.Event{Type: mdm.EventPushFailed, Enrollment: device}))
	assert.Empty(t, k.requests(), "there is no such topic")
}

// byod says of everybody that it is a User Enrollment.
type byod struct{}

func (byod) Enrollment(_ context.Context, id mdm.EnrollmentID) (*mdm.Enrollment, error) {
	return &mdm.Enrollment{ID: id, Channel: mdm.UserEnrollmentChannel}, nil
}

func TestSharedIPadInMicroMDM(t *testing.T) {
	who := whoOf(mdm.EnrollmentID{Device: "D", User: "anna@example.com"}, &mdm.Enrollment{Channel: mdm.SharedIPadChannel})
	assert.Equal(t, map[string]string{"UDID": "D", "UserID": mdm.SharedIPadUserID, "UserShortName": "anna@example.com"}, who)
}

func TestIDs(t *testing.T) {
	e := mdm.Event{Seq: 1, Type: mdm.EventEnrolled, At: noon, Enrollment: device}
	same, later, other := e, e, e
	same.At = noon.In(time.FixedZone("X", 3600))
	later.At = noon.Add(time.Second)
	other.Enrollment.Tenant = "red"
	assert.Equal(t, eventID(&e), eventID(&same))
	assert.NotEqual(t, eventID(&e), eventID(&later), "of a database that began anew")
	assert.NotEqual(t, eventID(&e), eventID(&other))
	assert.True(t, strings.HasPrefix(eventID(&e), "evt_"))
}
