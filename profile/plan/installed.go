package plan

import (
	"slices"
	"strings"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// SourceDeclarative is the Source of a profile that declarative management has installed. Commands cannot change it.
const SourceDeclarative = "Declarative Device Management"

// Installed is a profile that a device has.
type Installed struct {
	Identifier string       // PayloadIdentifier
	UUID       string       // PayloadUUID
	Managed    mdm.Tristate // key IsManaged; supervised devices and macOS do not say it
	Source     string       // as SourceDeclarative; devices before iOS 18 and macOS 15 do not say it
	Types      []string     // of its payloads; empty if the device does not list them
}

// holdsManagement reports whether it is the profile whose removal unenrolls the device.
func (i Installed) holdsManagement() bool { return slices.Contains(i.Types, profile.TypeMDM) }

// FromProfileList returns what the answer to a ProfileList lists.
func FromProfileList(r command.ProfileListResponse) []Installed {
	out := make([]Installed, 0, len(r.ProfileList))
	for _, item := range r.ProfileList {
		i := Installed{Identifier: item.PayloadIdentifier, UUID: item.PayloadUUID, Source: schema.Or(item.Source, "")}
		if item.IsManaged != nil {
			i.Managed = mdm.No
			if *item.IsManaged {
				i.Managed = mdm.Yes
			}
		}
		for _, payload := range item.PayloadContent {
			i.Types = append(i.Types, payload.PayloadType)
		}
		out = append(out, i)
	}
	return out
}

// merge returns two profiles of one identifier as one, with all that speaks against touching them.
func merge(a, b Installed) Installed {
	if a.Managed == mdm.No || b.Managed == mdm.No {
		a.Managed = mdm.No
	} else {
		a.Managed = min(a.Managed, b.Managed)
	}
	if b.Source == SourceDeclarative {
		a.Source = b.Source
	}
	if len(b.Types) == 0 {
		a.Types = nil
	}
	return a
}

// Under returns a predicate for Options.Owns: identifiers that are one of the domains or begin with one and a dot, as
// "com.example.wifi" under "com.example". An empty domain has none.
func Under(domains ...string) func(identifier string) bool {
	return func(identifier string) bool {
		return slices.ContainsFunc(domains, func(domain string) bool {
			rest, ok := strings.CutPrefix(identifier, domain)
			return ok && domain != "" && (rest == "" || rest[0] == '.')
		})
	}
}
