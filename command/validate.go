package command

import (
	"errors"
	"strings"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// Validate checks a command, typed or raw, against Apple's schema and a target: whether its keys are there and right, and
// whether the target's platform, system, supervision, enrollment, channel and access rights allow it. What is not known of
// the target is not held against it; of a command that the schema does not know, nothing is. [Prepare] does the same when a
// command is queued, and a store when it is offered: see [Order.Relax].
//
// Of an InstallProfile it also says what the profile in it has against the target, if that can be read: as warnings, because
// devices pass over much of it.
func Validate(c Command, t schema.Target) schema.Findings {
	message, err := encode(c)
	if err != nil {
		return schema.Findings{{Rule: schema.RuleType, Text: err.Error()}}
	}
	dict := message["Command"].(map[string]any)
	kind, _ := dict["RequestType"].(string)
	found := inspect(kind, dict).Check(t)
	if payload, ok := dict["Payload"].([]byte); ok && kind == "InstallProfile" {
		found = append(found, inside(payload, t)...)
	}
	return found
}

// inside checks the profile that an InstallProfile brings.
func inside(payload []byte, t schema.Target) schema.Findings {
	parsed, err := profile.Parse(payload)
	if err != nil { // encrypted, or nothing that we know: the device may know better
		return nil
	}
	found := parsed.Profile.Validate(t).Relaxed(schema.AllRules)
	for i := range found {
		found[i].Path = strings.TrimSuffix("Payload."+found[i].Path, ".")
	}
	return found
}

// envelope are keys of the Command dictionary that every command may have.
var envelope = []string{"RequestType", "RequestRequiresNetworkTether"}

// inspect holds a Command dictionary against the schema.
func inspect(kind string, dict map[string]any) *schema.Inspection {
	object, _ := SchemaOf(kind)
	if object == nil {
		return (&schema.Inspection{}).Add(schema.Findings{{Rule: schema.RuleUnknown, Path: "RequestType",
			Text: "the schema does not know the command", Warning: true}})
	}
	keys := make(map[string]any, len(dict))
	for key, value := range dict {
		keys[key] = value
	}
	for _, key := range envelope {
		delete(keys, key)
	}
	return schema.Inspect(object, keys).Add(combine(kind, keys))
}

// Check holds the prepared command against a target, but for the rules that its order relaxes. The error is a Forbidden
// one that says which key breaks which rule; errors.As finds the [schema.Findings] in it. Stores call it for every target
// of an order, and refuse those that it has an error for.
func (i *Item) Check(t schema.Target) error {
	if i.inspection == nil {
		return nil
	}
	if err := i.inspection.Check(t).Relaxed(i.Relax).Err(); err != nil {
		return mdm.Errorf(mdm.Forbidden, "command.Check", "%s: %w", i.RequestType, err)
	}
	return nil
}

// Recheck is [Item.Check] for a command that was queued before: body is the whole message as it is stored, relax what
// its order relaxed. Stores call it before they offer a command to a device of which they know something else than when
// it was queued: [schema.Target.Digest] tells. Rules that have nothing to do with the target are not asked again, so that
// a newer schema cancels nothing. A body that cannot be read passes: it passed before.
func Recheck(body []byte, relax schema.Rules, t schema.Target) error {
	var message struct{ Command map[string]any }
	if err := plistx.UnmarshalLimits(body, &message, plistx.Limits{Bytes: MaxBody, Depth: plistx.DefaultDepth + 2}); err != nil {
		return nil
	}
	kind, _ := message.Command["RequestType"].(string)
	item := Item{RequestType: kind, Relax: relax | schema.ShapeRules, inspection: inspect(kind, message.Command)}
	return item.Check(t)
}

// NoLongerFits is the Note of a command that [Recheck] had the error err for.
func NoLongerFits(err error) string {
	const most = 500
	text := "does not fit any more"
	var findings schema.Findings
	if errors.As(err, &findings) {
		text += ": " + findings.Error()
	}
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
