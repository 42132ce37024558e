package mdmtest

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm/ddm"
)

const (
	itemDeclarations = "management.declarations"
	itemCapabilities = "management.client-capabilities"
)

// sendStatus reports what is new, or everything. Nothing new is not reported.
func (d *Device) sendStatus(ctx context.Context, m *management, ch channel, c *declared, full bool) error {
	d.mu.Lock()
	if !c.dirty && !full {
		d.mu.Unlock()
		return nil
	}
	now := d.reportable(c)
	items := map[string]any{}
	for name, value := range now {
		if full || !reflect.DeepEqual(c.told[name], value) {
			nest(items, name, value)
		}
	}
	for name := range c.told { // it has no value any more
		if _, there := now[name]; !there && !full {
			nest(items, name, nil)
		}
	}
	c.dirty = false
	d.mu.Unlock()
	if len(items) == 0 {
		return nil
	}
	report := map[string]any{"StatusItems": items, "Errors": []any{}}
	if full {
		report["FullReport"] = true
	}
	data, err := json.Marshal(report)
	if err == nil {
		_, err = d.ask(ctx, m, ch, "status", data)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		c.dirty = true
		return err
	}
	c.told = now
	return nil
}

// reportable is what a report has to say: how the declarations stand, what the device is capable of, and the items of the active
// subscriptions. d.mu is held.
func (d *Device) reportable(c *declared) map[string]any {
	standings := d.judge(c)
	out := map[string]any{itemDeclarations: declarationItems(c, standings), itemCapabilities: capabilities()}
	values := d.items()
	for id, got := range c.have {
		subscription, ok := got.Payload.(*ddm.ManagementStatusSubscriptions)
		if !ok || !standings[id].active {
			continue
		}
		for _, item := range subscription.StatusItems {
			if value, there := values[item.Name]; there {
				out[item.Name] = value
			}
		}
	}
	return out
}

// declarationItems is the value of management.declarations.
func declarationItems(c *declared, standings map[string]standing) map[string]any {
	out := map[string]any{"activations": []any{}, "assets": []any{}, "configurations": []any{}, "management": []any{}}
	for _, id := range slices.Sorted(maps.Keys(c.have)) {
		got, s := c.have[id], standings[id]
		one := map[string]any{"identifier": id, "server-token": got.ServerToken, "active": s.active, "valid": "valid"}
		if !s.valid {
			one["valid"] = "invalid"
		}
		if s.reason != "" {
			one["reasons"] = []any{map[string]any{"code": s.reason, "description": "simulated", "details": map[string]any{"Identifier": id, "ServerToken": got.ServerToken}}}
		}
		kind := string(ddm.KindOf(got.Payload.DeclarationType()))
		if kind != string(ddm.Management) {
			kind += "s"
		}
		list, _ := out[kind].([]any)
		out[kind] = append(list, one)
	}
	return out
}

// capabilities is the value of management.client-capabilities: all that the schema knows.
func capabilities() map[string]any {
	declarations := map[string]any{}
	for _, declarationType := range ddm.Types() {
		kind := string(ddm.KindOf(declarationType))
		if kind != string(ddm.Management) {
			kind += "s"
		}
		list, _ := declarations[kind].([]any)
		declarations[kind] = append(list, declarationType)
	}
	return map[string]any{"supported-versions": []any{"1.0.0"}, "supported-features": map[string]any{},
		"supported-payloads": map[string]any{"declarations": declarations, "status-items": []any{itemCapabilities, itemDeclarations,
			string(ddm.ItemPasscodeIsCompliant), string(ddm.ItemPasscodeIsPresent), string(ddm.ItemDeviceOperatingSystemVersion)}}}
}

// nest puts a value at the place that the name of its item says.
func nest(items map[string]any, name string, value any) {
	parts := strings.Split(name, ".")
	for _, part := range parts[:len(parts)-1] {
		inner, ok := items[part].(map[string]any)
		if !ok {
			inner = map[string]any{}
			items[part] = inner
		}
		items = inner
	}
	items[parts[len(parts)-1]] = value
}
