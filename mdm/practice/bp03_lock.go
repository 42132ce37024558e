package practice

import (
	"context"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// pairingUnlocked says what is wrong with a restriction that its user can remove.
const pairingUnlocked = "its user could remove it: set PayloadRemovalDisallowed, or Pairing.AllowRemovable"

// profile is what a device gets. A restriction that became one without a lock since the command was sent is not delivered.
func (p *Pairing) profile(ctx context.Context, e *mdm.Enrollment, name string) ([]byte, error) {
	data, err := p.Profiles.Profile(ctx, e, name)
	if err == nil && p.locks(e, name) && !pairingLocked(data) {
		return nil, mdm.Errorf(mdm.Forbidden, "practice.Pairing", "%s: %s", name, pairingUnlocked)
	}
	return data, err
}

// unlocked says in words that the restriction must not be sent, empty if it may. What cannot be told now, its cook finds out.
func (p *Pairing) unlocked(ctx context.Context, e *mdm.Enrollment, name string) string {
	if !p.locks(e, name) {
		return ""
	}
	data, err := setupGuard(func() ([]byte, error) { return p.Profiles.Profile(ctx, e, name) })
	if err != nil || pairingLocked(data) {
		return ""
	}
	return pairingUnlocked
}

// locks reports whether a profile has to be locked on a device: a restriction, where the lock holds or may. It holds on supervised
// devices and on Macs, and whether a device is supervised need not be known yet.
func (p *Pairing) locks(e *mdm.Enrollment, name string) bool {
	if p.AllowRemovable || !slices.Contains(p.Gate.Installed, name) || e.Channel.IsUserEnrollment() {
		return false
	}
	return e.Device.Supervised != mdm.No || schema.PlatformOf(&e.Device) == schema.MacOS
}

// pairingLocked reports whether a profile is locked. What is none is refused elsewhere.
func pairingLocked(data []byte) bool {
	parsed, err := profile.Parse(data)
	return err != nil || parsed.Profile.RemovalDisallowed
}
