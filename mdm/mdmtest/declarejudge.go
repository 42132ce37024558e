package mdmtest

import (
	"regexp"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// standing is what the device makes of a declaration.
type standing struct {
	active, valid bool
	reason        string
}

// judge says how each declaration stands. d.mu is held.
func (d *Device) judge(c *declared) map[string]standing {
	out := map[string]standing{}
	if c == nil {
		return out
	}
	on := map[string]bool{} // configurations that an activation switches on
	referenced := map[string]bool{}
	for id, got := range c.have {
		if ddm.KindOf(got.Payload.DeclarationType()) != ddm.Activation {
			continue
		}
		s := d.valid(id, got)
		activation, ok := got.Payload.(*ddm.ActivationSimple)
		if ok && s.valid {
			s = d.activation(c, activation)
			for _, configuration := range activation.StandardConfigurations {
				referenced[configuration] = true
				on[configuration] = on[configuration] || s.active
			}
		}
		out[id] = s
	}
	for id, got := range c.have {
		switch ddm.KindOf(got.Payload.DeclarationType()) {
		case ddm.Activation:
		case ddm.Configuration:
			s := d.valid(id, got)
			switch {
			case !s.valid:
			case !referenced[id]:
				s.reason = ddm.ReasonInfoNotReferencedByActivation
			default:
				s.active = on[id]
			}
			out[id] = s
		default: // never active, as on real devices
			out[id] = d.valid(id, got)
		}
	}
	return out
}

// activation says whether an activation is on.
func (d *Device) activation(c *declared, a *ddm.ActivationSimple) standing {
	for _, id := range a.StandardConfigurations {
		if _, there := c.have[id]; !there {
			return standing{reason: ddm.ReasonErrorMissingConfigurations}
		}
	}
	is, known := true, true
	if a.Predicate != nil {
		is, known = d.predicate(*a.Predicate)
	}
	switch {
	case !known:
		return standing{reason: ddm.ReasonErrorUnableToParsePredicate}
	case !is:
		return standing{valid: true, reason: ddm.ReasonInfoPredicate}
	}
	return standing{active: true, valid: true}
}

var statusPredicate = regexp.MustCompile(`^\s*\(?\s*@status\(([a-z0-9.-]+)\)\s*==\s*(TRUE|FALSE|YES|NO|'[^']*'|"[^"]*")\s*\)?\s*$`)

// predicate evaluates what this device understands: one status item, compared with a truth or a text.
func (d *Device) predicate(text string) (is, known bool) {
	parts := statusPredicate.FindStringSubmatch(text)
	if parts == nil {
		return false, false
	}
	value := d.items()[parts[1]]
	switch parts[2] {
	case "TRUE", "YES":
		return value == true, true
	case "FALSE", "NO":
		return value == false, true
	}
	return value == strings.Trim(parts[2], `'"`), true
}

// valid says whether a declaration is one that this device can have.
func (d *Device) valid(id string, got ddm.Declaration) standing {
	declarationType := got.Payload.DeclarationType()
	target := schema.Target{Platform: schema.PlatformOf(&mdm.Device{ProductName: d.cfg.ProductName}), OSVersion: or(d.state.system, d.cfg.OSVersion), Supervised: schema.True}
	if d.cfg.EnrollmentID != "" {
		target.Supervised, target.Channel = schema.False, mdm.UserEnrollmentChannel
	}
	switch findings := ddm.Validate(got.Payload, target); {
	case d.state.refused[id] != "":
		return standing{reason: d.state.refused[id]}
	case ddm.New(declarationType) == nil:
		return standing{reason: ddm.ReasonErrorUnknownDeclarationType}
	case slices.ContainsFunc(findings, func(f schema.Finding) bool { return !f.Warning && f.Path == "" }):
		return standing{reason: ddm.ReasonErrorConfigurationNotSupported}
	case findings.Err() != nil:
		return standing{reason: ddm.ReasonErrorInvalidPayload}
	}
	return standing{valid: true}
}

// items are the values of the status items that this device has. d.mu is held.
func (d *Device) items() map[string]any {
	system := or(d.state.system, d.cfg.OSVersion)
	out := map[string]any{"device.operating-system.version": system, "device.operating-system.build-version": "22C152",
		"device.model.identifier": d.cfg.ProductName, "device.model.family": strings.TrimRight(d.cfg.ProductName, "0123456789,"),
		"softwareupdate.install-state": "none"}
	if d.cfg.EnrollmentID == "" {
		out["device.identifier.serial-number"], out["device.identifier.udid"] = d.cfg.SerialNumber, d.cfg.UDID
	}
	if schema.PlatformOf(&mdm.Device{ProductName: d.cfg.ProductName}) != schema.MacOS {
		out["passcode.is-compliant"], out["passcode.is-present"] = true, true
	}
	for name, value := range d.state.status {
		if out[name] = value; value == nil {
			delete(out, name)
		}
	}
	return out
}
