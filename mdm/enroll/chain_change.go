package enroll

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Change is how a server changes its TLS chain without losing a device.
type Change struct {
	// ReplaceFirst says that devices with the old profile would not trust the new chain: the enrollment profile must be
	// replaced by one that has Carry on every device before the server switches. A device that missed it can only be enrolled
	// again.
	ReplaceFirst bool
	// Carry is what the profile has to bring while devices may meet either chain: what the old one brings, then what is new. If
	// it pins certificates it has to pin those of both chains.
	Carry []*x509.Certificate
	// Later is what the profile has to bring after the switch. That can wait for the next renewal.
	Later []*x509.Certificate
	// SwitchBy is when the old chain ends: until then every device must have the new profile, and the server the new chain.
	SwitchBy time.Time
	// Blocked are reasons not to switch at all: with them devices refuse the new chain, whatever the profile brings.
	Blocked []Finding
}

// Overlap plans the change from one TLS chain to another, each with what the profile for it brings and pins. Public and Now of
// next are used where those of old are not set.
func Overlap(old, next ServerChain) Change {
	if next.Now.IsZero() {
		next.Now = time.Now()
	}
	change := Change{Carry: slices.Clone(old.Carried), Later: slices.Clone(next.Carried)}
	for _, cert := range next.Carried {
		if !contains(change.Carry, cert) {
			change.Carry = append(change.Carry, cert)
		}
	}
	before, after := next, next
	before.Carried, before.Pinned, after.Carried = old.Carried, old.Pinned, change.Carry
	seen := before.Inspect()
	change.ReplaceFirst = !seen.Trust.OK() || seen.has(RuleNotPinned)
	for _, f := range after.Inspect().Findings {
		if f.Refused {
			change.Blocked = append(change.Blocked, f)
		}
	}
	if old.Now.IsZero() {
		old.Now = next.Now
	}
	if old.Public == nil {
		old.Public = next.Public
	}
	for _, cert := range old.Inspect().Path {
		if change.SwitchBy.IsZero() || cert.NotAfter.Before(change.SwitchBy) {
			change.SwitchBy = cert.NotAfter
		}
	}
	return change
}

// Steps says what is to be done, in order.
func (c Change) Steps() []string {
	if len(c.Blocked) > 0 {
		steps := []string{"Do not switch: devices would refuse the new chain."}
		for _, f := range c.Blocked {
			steps = append(steps, f.String())
		}
		return steps
	}
	by := c.SwitchBy.UTC().Format(time.DateOnly)
	if !c.ReplaceFirst {
		return []string{fmt.Sprintf("Switch the server to the new chain before %s: devices trust it already.", by)}
	}
	return []string{
		fmt.Sprintf("Replace the enrollment profile on every device by one with %d certificates, the old ones and the new ones.",
			len(c.Carry)),
		"Wait until every device has it: one that has not can only be enrolled again.",
		fmt.Sprintf("Switch the server to the new chain before %s.", by),
		"Leave the old certificates out of the profile when it is renewed next.",
	}
}
