// Package plan finds out what is to be done so that a device has the profiles that it should have.
//
// [Make] is a pure function. It compares what is [Desired] with what is [Installed], as the answer to a ProfileList tells it
// ([FromProfileList]), and returns a [Plan]: the fewest installations and removals, in an order that is safe at every moment, and
// the [Drift], which is every difference, also those that no command can mend. [Plan.Commands] makes the commands.
//
//	desired, installed → Make → Plan → commands → ProfileList → Make → an empty Plan
//
// A device tells of a profile no more than its identifier and UUID. So the UUID has to say which version it is: [Stamp] derives
// it from the content of a profile.
//
// A plan never touches the profile that holds the management, since its removal would unenroll the device, nor what declarative
// management has installed. It removes what nobody desires only if it is said whose that is: [Options].Owns.
//
// The device channel and the channel of each user have plans of their own.
package plan

import (
	"maps"
	"slices"

	"github.com/gomdm/applemdm/mdm"
)

// Max is how many profiles may be desired, and how many may be installed. Devices have some dozens.
const Max = 10_000

// Weight orders profiles of which none requires the other: a lower one is installed earlier and removed later.
type Weight int

// Weights for the order that Apple recommends after enrollment. Zero is for settings that are neither of these.
const (
	Trust       Weight = -200 // certificates and identities, which others rely on
	Restriction Weight = -100 // what the user has to accept, as a passcode policy
	Capability  Weight = 100  // what the user gets, as an account or a network
)

// Desired is what is wanted of one profile.
type Desired struct {
	// Identifier is its PayloadIdentifier. A device has one profile of an identifier on each channel. Required.
	Identifier string
	// UUID is the PayloadUUID of the version that is wanted, as [Stamp] sets it. Empty: any version will do.
	UUID string
	// Absent says that it must not be installed. It is removed whatever Options.Owns says, and what it Requires orders that.
	Absent bool
	// Requires lists profiles of the same list. They are installed before this one, and this one is removed before them: a
	// user gets no capability without its restriction (Apple, "MDM Best Practices": pair restrictions with capabilities).
	Requires []string
	// Conflicts lists identifiers that must not be installed beside this one. They are removed before it is installed, if
	// they may be removed, and else it is not installed. They need not be in the list.
	Conflicts []string
	Weight    Weight
	// Recreate says that an outdated version is removed before the new one is installed, for payloads that a device does
	// not update in place. What requires it is taken away before, and installed again after it.
	Recreate bool
}

// Options says what a plan may do.
type Options struct {
	// Supervised: the device is supervised, so any profile may be replaced or removed. Else it must be a managed one.
	Supervised bool
	// ManagedOnly: the list was asked for with the key ManagedOnly, so all that it holds are managed. Without it, one that
	// does not say whether it is managed is left alone: macOS never says it.
	ManagedOnly bool
	// Owns tells which identifiers are this server's. Installed ones among them that nobody desires are removed. Nil: none
	// are. [Under] makes one.
	Owns func(identifier string) bool
	// Protected lists identifiers that are never touched. The profile of the management is recognised by its com.apple.mdm
	// payload, and need not be named if the device lists payloads. While nothing tells which it is, none whose payloads are
	// not listed is removed.
	Protected []string
	// Elsewhere is what is installed on the other channel of the device, if that is known. It is only compared: an
	// identifier that is desired here and installed there is a Drift.
	Elsewhere []Installed
}

// Plan is what is to be done, and what is different. There are no Steps if there is nothing to do, or nothing that can be done.
type Plan struct {
	Steps []Step
	Drift []Drift // by identifier; empty: the device is as desired
	// Protected are the profiles that no step may be about, in order. Keep them with a plan that is stored.
	Protected []string
}

// Action is what a step does.
type Action string

// The actions.
const (
	Install Action = "install" // a first time, or in place of the installed version
	Remove  Action = "remove"
)

// Step is one command. An identifier has one removal and one installation in a plan at most.
type Step struct {
	Action     Action
	Identifier string
	UUID       string // of the profile to install; empty: any version will do
	Why        string
	// Blocks lists later steps, by index, that must not be done if this one failed, and so on from those. A device goes on
	// with the next command in its queue whatever became of the last.
	Blocks []int
}

// Make plans how a device gets from what is installed to what is desired, for one channel. The order of the arguments does not
// matter: the same profiles give the same plan. If some of it cannot be reached, the plan does the rest, and Drift says why.
//
// The error is a Malformed one: an identifier that is missing or desired twice, a requirement that is not in the list, is Absent,
// or leads back to itself, a conflict between two that are wanted, or more than Max profiles.
func Make(desired []Desired, installed []Installed, o Options) (*Plan, error) {
	if len(desired) > Max || len(installed) > Max {
		return nil, mdm.Errorf(mdm.Malformed, op, "more than %d profiles", Max)
	}
	b := newBoard(installed, o)
	if err := b.want(desired); err != nil {
		return nil, err
	}
	if err := b.sort(); err != nil {
		return nil, err
	}
	b.judge()
	b.choose()
	return &Plan{Steps: b.steps(), Drift: b.drift(), Protected: slices.Sorted(maps.Keys(b.protected))}, nil
}

const op = "plan.Make"
