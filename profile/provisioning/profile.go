// Package provisioning keeps the provisioning profiles of in-house apps on devices valid (Apple, "MDM Best Practices":
// provisioning profiles can be installed and replaced by MDM).
//
// An app that a company signs itself runs as long as a provisioning profile allows it, a year as a rule. [Parse] reads such a
// profile, a file of the name extension mobileprovision. A [Planner] says what to do about one device: it installs what is
// missing, replaces what is about to end by a newer one of the same app, and removes the old one after the device has listed the
// new one. What is known of the device is in a [State]. [Expiry] tells people which profiles they have to renew.
//
//	Profiles, State → Planner.Plan → Plan → commands → State.Sent, State.Answered, State.Listed → Planner.Plan → …
//
// To remove a provisioning profile is no revocation, and nothing here pretends that it is. The app may run on until the device
// starts anew (Apple, RemoveProvisioningProfile), and the profile may come back from a computer or from within the app. To take
// an app away, remove the app.
package provisioning

import (
	"cmp"
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// Profile is a provisioning profile.
type Profile struct {
	UUID           string
	Name           string
	ExpirationDate time.Time // the app does not start after it
	CreationDate   time.Time

	AppIDName       string   // a name for people; AppID is what systems compare
	TeamIdentifiers []string // key TeamIdentifier, one as a rule
	TeamName        string
	Platforms       []string // key Platform, as "iOS", "xrOS", "OSX"

	ProvisionedDevices   []string // UDIDs that it is limited to
	ProvisionsAllDevices bool     // it is limited to none

	// Entitlements are what the app may do, as a property list: string, bool, int64, uint64, float64, []byte, time.Time, []any
	// and map[string]any.
	Entitlements          map[string]any
	DeveloperCertificates []*x509.Certificate // whose apps it is for
	Extra                 map[string]any      // keys that are not here

	Data []byte // the file as it was read, which is what is installed
	// Signer has signed the file. Its signature is verified, its chain only by VerifyChain. Certificates is what came with it.
	Signer       *x509.Certificate
	Certificates []*x509.Certificate
}

// Distribution is for whom a profile is.
type Distribution string

// The distributions.
const (
	Development Distribution = "development" // for debugging on listed devices
	AdHoc       Distribution = "ad hoc"      // for listed devices
	InHouse     Distribution = "in-house"    // for all devices of a company
	Store       Distribution = "store"       // for the App Store; it allows no installation
)

// Distribution tells them apart as Apple's tools do: by the entitlement get-task-allow and by the devices.
func (p *Profile) Distribution() Distribution {
	for _, key := range []string{"get-task-allow", "com.apple.security.get-task-allow"} {
		if allowed, _ := p.Entitlements[key].(bool); allowed {
			return Development
		}
	}
	switch {
	case p.ProvisionsAllDevices:
		return InHouse
	case len(p.ProvisionedDevices) > 0:
		return AdHoc
	}
	return Store
}

// AppID returns the identifier of the app with the prefix of the team, as "A1B2C3D4E5.com.example.app", or with "*" in place of
// apps. It is empty if the entitlements have none.
func (p *Profile) AppID() string {
	return p.entitlement("application-identifier", "com.apple.application-identifier") // the second is that of macOS
}

// Team returns the identifier of the team, or the first if there are several.
func (p *Profile) Team() string {
	if len(p.TeamIdentifiers) > 0 {
		return p.TeamIdentifiers[0]
	}
	return p.entitlement("com.apple.developer.team-identifier")
}

func (p *Profile) entitlement(keys ...string) string {
	for _, key := range keys {
		if s, _ := p.Entitlements[key].(string); s != "" {
			return s
		}
	}
	return ""
}

// Covers reports whether the profile is for the device with this UDID.
func (p *Profile) Covers(udid string) bool {
	return p.ProvisionsAllDevices ||
		slices.ContainsFunc(p.ProvisionedDevices, func(d string) bool { return strings.EqualFold(d, udid) })
}

// Succeeds reports whether p can take the place of old: it is of the same app, team, platform and Distribution, and ends later.
func (p *Profile) Succeeds(old *Profile) bool {
	return p.family() == old.family() && p.ExpirationDate.After(old.ExpirationDate)
}

// family is the same for profiles of which the newest is enough. One that does not say what it is for is alone.
func (p *Profile) family() string {
	if p.AppID() == "" || p.Team() == "" {
		return "\x00" + key(p.UUID)
	}
	return strings.Join([]string{p.AppID(), p.Team(), string(p.Distribution()), p.platform()}, "\x00")
}

// platform names the platforms so that a profile and its successor have the same: those of iOS list more systems than they used
// to, since its apps run on visionOS.
func (p *Profile) platform() string {
	for _, name := range []string{"iOS", "tvOS", "OSX"} {
		if slices.Contains(p.Platforms, name) {
			return name
		}
	}
	return strings.Join(slices.Sorted(slices.Values(p.Platforms)), ",")
}

// newer orders profiles of a family: the one to prefer comes last.
func newer(a, b *Profile) int {
	return cmp.Or(a.ExpirationDate.Compare(b.ExpirationDate), a.CreationDate.Compare(b.CreationDate),
		cmp.Compare(key(a.UUID), key(b.UUID)))
}

// key is a UUID for comparison: its case does not matter.
func key(uuid string) string { return strings.ToLower(uuid) }
