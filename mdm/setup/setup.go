// Package setup names the panes of Setup Assistant that a server can have a device skip: the values of skip_setup_items in
// the profile of Automated Device Enrollment, and of SkipSetupItems in the payload com.apple.SetupAssistant.managed.
package setup

import (
	"slices"

	"github.com/gomdm/applemdm/mdm/schema"
)

// Pane is a pane of Setup Assistant, by its skip key. Others than the constants may come with newer systems.
type Pane string

// Panes lists the panes of the schema, in its order.
func Panes() []Pane {
	out := make([]Pane, len(panesSchema.Keys))
	for i := range out {
		out[i] = Pane(panesSchema.Keys[i].Name)
	}
	return out
}

// Check says what speaks against skipping a pane on a target: that its system does not have the pane, or not yet, or not
// any more. A pane that the schema does not know gives a warning.
func (p Pane) Check(t schema.Target) schema.Findings {
	return schema.Check(&panesSchema, map[string]any{string(p): ""}, t)
}

// AlwaysSkippable reports whether skipping a pane works at every time on a platform (key always-skippable of the schema).
// Others are skipped in some situations only, as Accessibility for further users of a Mac.
func (p Pane) AlwaysSkippable(platform schema.Platform) bool {
	i := slices.IndexFunc(panesSchema.Keys, func(k schema.Key) bool { return k.Name == string(p) })
	if i < 0 {
		return false
	}
	outer, own := panesSchema.Support.On(platform), panesSchema.Keys[i].Support.On(platform)
	switch {
	case own != nil && own.Introduced == schema.NotAvailable, outer == nil, outer.Introduced == schema.NotAvailable:
		return false
	case own != nil && own.AlwaysSkippable != schema.Unsaid:
		return own.AlwaysSkippable == schema.True
	}
	return outer.AlwaysSkippable == schema.True
}
