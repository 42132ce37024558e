package mdmtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// Order is a command as the device received it.
type Order struct {
	UUID        string
	RequestType string
	Command     map[string]any // the whole Command dictionary
	User        string         // the user channel it came on; empty: the device channel
	Times       int            // how often this device has been offered it, this time included
}

// Answer is what the device says to an order.
type Answer struct {
	Status string // empty: Acknowledged
	Fields map[string]any
	Chain  []ChainItem // with Error
	Repeat int         // how many times more the same report is sent at once, as after a lost reply
	// Vanish drops the connection before the answer: the order was received, but the device forgets it.
	Vanish bool
}

// Reply acknowledges a command with a typed response, as a *command.SecurityInfoResponse.
func Reply(r command.Response) (Answer, error) {
	fields, err := schema.Encode(r)
	if err != nil {
		return Answer{}, fmt.Errorf("mdmtest: %w", err)
	}
	return Answer{Fields: fields}, nil
}

// ChainItem is one error of an ErrorChain.
type ChainItem struct {
	Code   int
	Domain string
	Text   string
}

// Acknowledge is the answer of a device without a script: it does what it is told and answers queries plausibly.
func (d *Device) Acknowledge(o Order) Answer { return Answer{Fields: d.plausible(o)} }

// NotNow is the answer of a locked device.
func NotNow() Answer { return Answer{Status: "NotNow"} }

// Fail is the answer of a device that cannot do it.
func Fail(domain string, code int, text string) Answer {
	return Answer{Status: "Error", Chain: []ChainItem{{Code: code, Domain: domain, Text: text}}}
}

// channel is a device channel or a user channel: who says what it says.
type channel struct {
	user  string
	ids   map[string]any
	extra map[string]any // in every report, as AuthToken
}

func (d *Device) channel() channel { return channel{ids: d.identifiers()} }

// Poll connects as after a push, takes commands and answers them until the server has no more.
func (d *Device) Poll(ctx context.Context) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	return d.session(ctx, d.channel())
}

// ErrNotManaged is returned by what needs an MDM profile.
var ErrNotManaged = errors.New("mdmtest: the device is not managed")

// session is one connection: Idle, then an answer to each command, until the body is empty, and then what declarative management
// has to do.
func (d *Device) session(ctx context.Context, c channel) error {
	m := d.managed()
	if m == nil {
		return ErrNotManaged
	}
	err := d.converse(ctx, m, c)
	if now := d.managed(); err == nil && now != nil {
		d.catchUp(ctx, now, c)
	}
	return err
}

func (d *Device) converse(ctx context.Context, m *management, c channel) error {
	body, err := d.report(ctx, m, c.ids, withExtra(c, map[string]any{"Status": "Idle"}))
	for err == nil && len(body) > 0 {
		var o Order
		if o, err = readOrder(body, c.user); err != nil {
			return err
		}
		answer := d.answer(ctx, &o)
		if answer.Vanish {
			return nil
		}
		now := d.managed()
		if now == nil && o.RequestType == "EraseDevice" { // the last thing that it says, and only once
			_, err = d.report(ctx, m, c.ids, withExtra(c, answerKeys(o, answer)))
		}
		if now == nil { // the command removed the MDM profile
			return err
		}
		m = now
		report := withExtra(c, answerKeys(o, answer))
		for range answer.Repeat + 1 {
			if body, err = d.report(ctx, m, c.ids, report); err != nil {
				break
			}
		}
	}
	return err
}

func withExtra(c channel, keys map[string]any) map[string]any {
	maps.Copy(keys, c.extra)
	return keys
}

func readOrder(body []byte, user string) (Order, error) {
	var message struct {
		CommandUUID string
		Command     map[string]any
	}
	if err := plistx.Unmarshal(body, &message); err != nil {
		return Order{}, fmt.Errorf("mdmtest: command: %w", err)
	}
	kind, _ := message.Command["RequestType"].(string)
	if message.CommandUUID == "" || kind == "" {
		return Order{}, errors.New("mdmtest: a command without CommandUUID or RequestType")
	}
	return Order{UUID: message.CommandUUID, RequestType: kind, Command: message.Command, User: user}, nil
}

func answerKeys(o Order, a Answer) map[string]any {
	keys := map[string]any{"CommandUUID": o.UUID, "Status": or(a.Status, "Acknowledged")}
	maps.Copy(keys, a.Fields)
	if len(a.Chain) > 0 {
		var chain []any
		for _, item := range a.Chain {
			chain = append(chain, map[string]any{"ErrorCode": item.Code, "ErrorDomain": item.Domain,
				"LocalizedDescription": item.Text, "USEnglishDescription": item.Text})
		}
		keys["ErrorChain"] = chain
	}
	return keys
}

// answer asks the script, and does what an acknowledged command asks for.
func (d *Device) answer(ctx context.Context, o *Order) Answer {
	o.Times = 1
	d.mu.Lock()
	for _, done := range d.log {
		if done.Order.UUID == o.UUID && done.Order.User == o.User {
			o.Times++
		}
	}
	d.mu.Unlock()
	var a Answer
	if d.cfg.Respond != nil {
		a = d.cfg.Respond(ctx, *o)
	} else {
		a = d.Acknowledge(*o)
	}
	if or(a.Status, "Acknowledged") == "Acknowledged" {
		if err := d.obey(ctx, *o); err != nil {
			a = asFailure(err)
		}
		if a.Fields == nil && d.cfg.Respond != nil {
			a.Fields = d.plausible(*o)
		}
	}
	d.mu.Lock()
	d.log = append(d.log, Done{Order: *o, Answer: a})
	d.mu.Unlock()
	return a
}

// obey carries out the commands that change the device.
func (d *Device) obey(ctx context.Context, o Order) error {
	switch o.RequestType {
	case "InstallProfile":
		return d.installProfile(ctx, o)
	case "RemoveProfile":
		return d.removeProfile(o)
	case "DeviceConfigured":
		d.mu.Lock()
		d.setup = false
		d.mu.Unlock()
	case "ClearPasscode":
		token, _ := o.Command["UnlockToken"].([]byte)
		d.mu.Lock()
		defer d.mu.Unlock()
		if string(token) != string(d.unlock) {
			return errors.New("wrong unlock token")
		}
	case "DeclarativeManagement":
		d.declare(o)
	default:
		return d.change(o)
	}
	return nil
}

func (d *Device) installProfile(ctx context.Context, o Order) error {
	payload, _ := o.Command["Payload"].([]byte)
	p, err := d.open(payload)
	if err != nil {
		return err
	}
	if !holdsMDM(p) {
		d.keep(p)
		return nil
	}
	if d.cfg.FailReplacement {
		return errors.New("the replacement failed; the old profile was restored")
	}
	return d.replace(ctx, p)
}

func holdsMDM(p *profile.Profile) bool {
	return slices.ContainsFunc(p.Payloads, func(payload profile.Payload) bool { return payload.PayloadType() == profile.TypeMDM })
}

// keep installs a profile without com.apple.mdm.
func (d *Device) keep(p *profile.Profile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.profiles[p.Identifier] = p
}

func (d *Device) removeProfile(o Order) error {
	id, _ := o.Command["Identifier"].(string)
	m := d.managed()
	if m != nil && id == m.profile.Identifier {
		d.remove(m)
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.profiles[id] == nil {
		return fmt.Errorf("no profile %q", id)
	}
	delete(d.profiles, id)
	return nil
}

// remove takes the MDM profile off and everything that came with it.
func (d *Device) remove(m *management) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != m {
		return
	}
	d.current, d.profiles, d.users, d.declared, d.assigned = nil, map[string]*profile.Profile{}, nil, nil, nil
}

// plausible returns the answer keys that a real device would send.
func (d *Device) plausible(o Order) map[string]any {
	switch o.RequestType {
	case "DeviceInformation":
		all := map[string]any{
			"DeviceName": d.cfg.Name, "OSVersion": d.OSVersion(), "IsMDMLostModeEnabled": d.Lost(), "BuildVersion": "22C152", "ModelName": d.cfg.ProductName,
			"ProductName": d.cfg.ProductName, "SerialNumber": d.cfg.SerialNumber, "UDID": d.ID(), "IsSupervised": d.supervised(), "BatteryLevel": 0.87,
			"DeviceCapacity": 128.0, "AvailableDeviceCapacity": 97.5, "WiFiMAC": "f0:18:98:00:00:01",
			"AwaitingConfiguration": d.InSetup(),
		}
		responses := map[string]any{}
		queries, _ := o.Command["Queries"].([]any)
		for _, q := range queries {
			if name, ok := q.(string); ok && all[name] != nil {
				responses[name] = all[name]
			}
		}
		return map[string]any{"QueryResponses": responses}
	case "SecurityInfo":
		info := map[string]any{"PasscodePresent": true, "PasscodeCompliant": true, "PasscodeCompliantWithProfiles": true,
			"HardwareEncryptionCaps": 3}
		if status := d.managementStatus(); status != nil {
			info["ManagementStatus"] = status
		}
		return map[string]any{"SecurityInfo": info}
	case "ProfileList":
		list := []any{}
		if m := d.managed(); m != nil {
			list = append(list, d.listed(m.profile))
		}
		for _, id := range d.Profiles() {
			list = append(list, map[string]any{"PayloadIdentifier": id, "PayloadUUID": profile.UUID(id), "PayloadVersion": 1, "IsManaged": true})
		}
		return map[string]any{"ProfileList": list}
	case "InstalledApplicationList":
		return map[string]any{"InstalledApplicationList": []any{map[string]any{"Identifier": "com.apple.mobilesafari", "Name": "Safari"}}}
	}
	return d.asked(o)
}

// listed is how a device lists its enrollment profile. One that came through Setup Assistant says whether it can be removed.
func (d *Device) listed(p *profile.Profile) map[string]any {
	item := map[string]any{"PayloadIdentifier": p.Identifier, "PayloadUUID": profile.UUID(p.Identifier), "PayloadVersion": 1, "IsManaged": true}
	if a, ok := d.Assigned(); ok {
		item["PayloadRemovalDisallowed"] = !a.IsMDMRemovable
	}
	data, err := p.Encode()
	if err != nil {
		return item
	}
	var whole struct{ PayloadContent []map[string]any }
	if err := plistx.Unmarshal(data, &whole); err != nil {
		return item
	}
	content := []any{}
	for _, payload := range whole.PayloadContent {
		head := map[string]any{}
		for _, key := range []string{"PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID"} {
			head[key] = payload[key]
		}
		content = append(content, head)
	}
	item["PayloadContent"] = content
	return item
}

func randomUUID() string { return uuid.NewString() }
