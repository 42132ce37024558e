package profile

import (
	"maps"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Pair returns one profile with the payloads of both, the restriction's first. The user has the capability only while he
// has the restriction, since a profile is removed as a whole: the simplest of Apple's ways to tie them together, and the
// only one where a server cannot see whether the restriction is kept, as with passcodes of a Mac.
//
// The profile is that of the capability: its identifier, its names and its keys in Extra. It cannot be removed if one of
// them cannot, and it is removed and expires when the first of them would be. Both texts of consent are asked for.
// Payloads keep their identifiers and UUIDs.
//
// The error is a Malformed one: a profile is encrypted, has no restriction or no capability to bring, is the initial one,
// or they differ in scope or kind of device, or share an identifier.
func Pair(restriction, capability *Profile) (*Profile, error) {
	const op = "profile.Pair"
	taken, given, err := sides(op, restriction, capability)
	if err != nil {
		return nil, err
	}
	out := *capability
	if restriction.Scope != "" && capability.Scope != "" && restriction.Scope != capability.Scope {
		return nil, mdm.Errorf(mdm.Malformed, op, "the scopes differ: %s and %s", restriction.Scope, capability.Scope)
	}
	if a, b := restriction.TargetDeviceType, capability.TargetDeviceType; a != 0 && b != 0 && a != b {
		return nil, mdm.Errorf(mdm.Malformed, op, "they are for different kinds of devices: %d and %d", a, b)
	}
	out.Scope = Scope(orElse(string(capability.Scope), string(restriction.Scope)))
	out.TargetDeviceType = max(restriction.TargetDeviceType, capability.TargetDeviceType)
	out.RemovalDisallowed = restriction.RemovalDisallowed || capability.RemovalDisallowed
	out.RemovalDate = earlier(restriction.RemovalDate, capability.RemovalDate)
	out.ExpirationDate = earlier(restriction.ExpirationDate, capability.ExpirationDate)
	if d := restriction.DurationUntilRemoval; d > 0 && (out.DurationUntilRemoval == 0 || d < out.DurationUntilRemoval) {
		out.DurationUntilRemoval = d
	}
	out.ConsentText = consent(restriction.ConsentText, capability.ConsentText)
	out.Extra = maps.Clone(capability.Extra)
	out.Payloads = nil
	for _, it := range slices.Concat(taken, given) {
		out.Payloads = append(out.Payloads, it.kept(nil))
	}
	if _, err := out.content(); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return &out, nil
}

// sides returns the payloads of both profiles of a pair.
func sides(op string, restriction, capability *Profile) (taken, given []item, err error) {
	if taken, err = restriction.items(op); err != nil {
		return nil, nil, err
	}
	if given, err = capability.items(op); err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(taken, func(it item) bool { return it.class == Restriction }) {
		return nil, nil, mdm.Errorf(mdm.Malformed, op, "%s holds no restriction", restriction.Identifier)
	}
	if !slices.ContainsFunc(given, func(it item) bool { return it.class.Gives() }) {
		return nil, nil, mdm.Errorf(mdm.Malformed, op, "%s holds no capability", capability.Identifier)
	}
	for _, it := range slices.Concat(taken, given) {
		if it.class == Enrolling {
			return nil, nil, mdm.Errorf(mdm.Malformed, op, "the profile with the com.apple.mdm payload holds only the basics")
		}
	}
	return taken, given, nil
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// consent joins the texts of each language. Where one of them is not in a language, its default stands in.
func consent(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return maps.Clone(a)
	}
	out := map[string]string{}
	for _, texts := range []map[string]string{a, b} {
		for lang := range texts {
			first, second := orElse(a[lang], a["default"]), orElse(b[lang], b["default"])
			if first != "" && second != "" && first != second {
				first += "\n\n"
			} else if first == second {
				second = ""
			}
			out[lang] = first + second
		}
	}
	return out
}

// Sequence is a restriction that is in force before its capability comes: two profiles with a gate between them, Apple's
// other way to tie them together. Make one with [NewSequence]. The waiting, and taking the capability back when the gate
// closes, are the server's.
type Sequence struct {
	Restriction *Profile // installed first; the user cannot remove it
	Capability  *Profile // installed while the gate is open, removed when it closes
	Gate        Gate
}

// Gate says what must be so before a capability is installed, and as long as it is there.
type Gate struct {
	Before    string       // PayloadIdentifier of the capability's profile
	Installed []string     // PayloadIdentifiers that the device's ProfileList must hold
	Compliant []Compliance // what its SecurityInfo must say; an absent key says nothing, and that is not enough
}

// Compliance is something that a device reports in its answer to SecurityInfo, which needs the right to query security.
type Compliance string

// What devices report. A Mac says nothing about passcodes: use [Pair] there.
const (
	// CompliantPasscode is PasscodePresent and PasscodeCompliantWithProfiles; in User Enrollment, PasscodeCompliant.
	CompliantPasscode  Compliance = "passcode"
	CompliantFileVault Compliance = "filevault" // FDE_Enabled; macOS
	CompliantFirewall  Compliance = "firewall"  // FirewallSettings.FirewallEnabled; macOS
)

// compliances are what can be asked about restrictions.
var compliances = map[string]Compliance{
	TypePasscode: CompliantPasscode, TypeFileVault: CompliantFileVault, TypeFirewall: CompliantFirewall,
}

// NewSequence returns the two profiles, the restriction locked (PayloadRemovalDisallowed, which binds the users of
// supervised devices and of Macs), and the gate that follows from what it holds. The error is a Malformed one, as that of
// [Pair]; the profiles must have different identifiers.
func NewSequence(restriction, capability *Profile) (*Sequence, error) {
	const op = "profile.NewSequence"
	taken, _, err := sides(op, restriction, capability)
	if err != nil {
		return nil, err
	}
	if restriction.Identifier == capability.Identifier {
		return nil, mdm.Errorf(mdm.Malformed, op, "both profiles are called %s; one would replace the other", capability.Identifier)
	}
	locked := *restriction
	locked.RemovalDisallowed = true
	gate := Gate{Before: capability.Identifier, Installed: []string{restriction.Identifier}}
	for _, it := range taken {
		if c, ok := compliances[it.payload.PayloadType()]; ok && !slices.Contains(gate.Compliant, c) {
			gate.Compliant = append(gate.Compliant, c)
		}
	}
	return &Sequence{Restriction: &locked, Capability: capability, Gate: gate}, nil
}
