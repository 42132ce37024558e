package mdm

import (
	"fmt"
	"slices"
)

// Presence says whether a device that enrolled is still there (Apple, "MDM Best Practices": a device that does not check out
// when its profile is removed is found by its silence). It is a finding, not a verdict: any accepted request makes a device
// Active again, and the enrollment, its queue and its secrets stay as they are.
type Presence uint8

// The states of presence. When a device becomes Quiet and Inactive is for the policy of package presence to say.
const (
	Active   Presence = iota // heard of lately
	Quiet                    // silent for a while: pushed about once a day
	Inactive                 // silent for long, pushes unanswered: what it may reach should be closed to it
	Gone                     // ended, or APNs calls its token dead: presumed unmanaged, neither pushed nor sent commands until it speaks
)

var presenceNames = [...]string{"active", "quiet", "inactive", "gone"}

// String returns the state in a word.
func (p Presence) String() string {
	if int(p) < len(presenceNames) {
		return presenceNames[p]
	}
	return fmt.Sprintf("presence(%d)", uint8(p))
}

// ParsePresence is the inverse of String. The error is Malformed.
func ParsePresence(s string) (Presence, error) {
	if i := slices.Index(presenceNames[:], s); i >= 0 {
		return Presence(i), nil
	}
	return 0, Errorf(Malformed, "mdm.ParsePresence", "%q is not one of active, quiet, inactive and gone", s)
}

// MarshalText writes the word.
func (p Presence) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the word.
func (p *Presence) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePresence(string(text))
	return err
}

// Event returns the type of the event that tells of a change to p.
func (p Presence) Event() EventType { return EventType("presence." + p.String()) }
