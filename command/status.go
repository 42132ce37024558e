package command

// Status is the device's word for what became of a command. Others than these may come from a newer OS; they change
// nothing.
type Status string

// The statuses of Apple's command protocol.
const (
	StatusIdle               Status = "Idle"               // nothing to report; begins a session
	StatusAcknowledged       Status = "Acknowledged"       // done, or at least accepted
	StatusError              Status = "Error"              // failed; the ErrorChain says why
	StatusCommandFormatError Status = "CommandFormatError" // the command was not understood
	StatusNotNow             Status = "NotNow"             // the device cannot do it now and has forgotten it
)

// Final returns the state that a status gives to an open command, and whether it finishes it. Of NotNow it is Deferred
// and false; of Idle and of unknown statuses it is zero and false.
func (s Status) Final() (State, bool) {
	switch s {
	case StatusAcknowledged:
		return Acknowledged, true
	case StatusError:
		return Failed, true
	case StatusCommandFormatError:
		return FormatError, true
	case StatusNotNow:
		return Deferred, false
	}
	return 0, false
}

// Traits are what a store must know of a command to treat it right. They are found once, by [Prepare], and stores keep
// them: do not change the values.
type Traits uint8

// The traits.
const (
	ReplacesMDM  Traits = 1 << iota // an InstallProfile whose profile holds a com.apple.mdm payload
	Erases                          // EraseDevice
	PasscodeOnly                    // an InstallProfile whose profile holds passcode policies only
	EndsSetup                       // DeviceConfigured or UserConfigured
)

// DuringSetup reports whether a Mac in the UserConfiguration phase takes a command with these traits.
func (t Traits) DuringSetup() bool { return t&(PasscodeOnly|EndsSetup) != 0 }
