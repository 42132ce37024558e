package command

import "github.com/gomdm/applemdm/mdm"

// The commands of daily use. Keys are those of Apple's schema; a zero value leaves an optional key out. Every other
// command can be sent as [Raw].

// DeviceInformation asks for facts about a device. Needs the right QueryDevice, for some queries another.
type DeviceInformation struct {
	Queries []string // as "OSVersion"; required
}

// ProfileList asks for the installed profiles. Needs InspectProfiles.
type ProfileList struct {
	ManagedOnly bool `plist:",omitempty"`
}

// InstallProfile installs a profile, or replaces one of the same identifier. Needs InstallProfiles.
type InstallProfile struct {
	Payload []byte // the profile, plain or signed; required
}

// RemoveProfile removes a managed profile. Needs InstallProfiles, except for the MDM profile itself.
type RemoveProfile struct {
	Identifier string // the PayloadIdentifier; required
}

// SecurityInfo asks for passcode, encryption and management status. Needs QuerySecurity.
type SecurityInfo struct{}

// CertificateList asks for the installed certificates. Needs InspectProfiles.
type CertificateList struct {
	ManagedOnly bool `plist:",omitempty"`
}

// InstalledApplicationList asks for the installed applications. Needs InspectApplications.
type InstalledApplicationList struct {
	Identifiers     []string `plist:",omitempty"`
	Items           []string `plist:",omitempty"`
	ManagedAppsOnly bool     `plist:",omitempty"`
}

// DeviceLock locks a device at once. Needs LockAndPasscode.
type DeviceLock struct {
	Message     string
	PhoneNumber string
	PIN         mdm.Secret // six digits, macOS only
}

// EraseDevice erases a device. Needs Erase. Its answer is sent once, and may never come.
type EraseDevice struct {
	PIN              mdm.Secret // six digits, macOS only
	PreserveDataPlan bool
}

// ClearPasscode clears the passcode. Needs LockAndPasscode. Make sure that the owner has the device in hand.
type ClearPasscode struct {
	UnlockToken mdm.Secret // from the escrow; required
}

// RestartDevice restarts a supervised device. Needs LockAndPasscode.
type RestartDevice struct{}

// ShutDownDevice shuts a supervised device down. Needs LockAndPasscode.
type ShutDownDevice struct{}

// DeviceConfigured lets a device out of Setup Assistant that awaits its configuration.
type DeviceConfigured struct{}

// UserConfigured does the same for the user of a Shared iPad.
type UserConfigured struct{}

// DeclarativeManagement switches declarative management on, or tells of new declarations.
type DeclarativeManagement struct {
	Data []byte `plist:",omitempty"` // the tokens document, JSON
}

// RequestType implements [Command].
func (DeviceInformation) RequestType() string { return "DeviceInformation" }

// RequestType implements [Command].
func (ProfileList) RequestType() string { return "ProfileList" }

// RequestType implements [Command].
func (InstallProfile) RequestType() string { return "InstallProfile" }

// RequestType implements [Command].
func (RemoveProfile) RequestType() string { return "RemoveProfile" }

// RequestType implements [Command].
func (SecurityInfo) RequestType() string { return "SecurityInfo" }

// RequestType implements [Command].
func (CertificateList) RequestType() string { return "CertificateList" }

// RequestType implements [Command].
func (InstalledApplicationList) RequestType() string { return "InstalledApplicationList" }

// RequestType implements [Command].
func (DeviceLock) RequestType() string { return "DeviceLock" }

// RequestType implements [Command].
func (EraseDevice) RequestType() string { return "EraseDevice" }

// RequestType implements [Command].
func (ClearPasscode) RequestType() string { return "ClearPasscode" }

// RequestType implements [Command].
func (RestartDevice) RequestType() string { return "RestartDevice" }

// RequestType implements [Command].
func (ShutDownDevice) RequestType() string { return "ShutDownDevice" }

// RequestType implements [Command].
func (DeviceConfigured) RequestType() string { return "DeviceConfigured" }

// RequestType implements [Command].
func (UserConfigured) RequestType() string { return "UserConfigured" }

// RequestType implements [Command].
func (DeclarativeManagement) RequestType() string { return "DeclarativeManagement" }

func (c DeviceLock) dictionary() map[string]any {
	dict := map[string]any{}
	put(dict, "Message", c.Message)
	put(dict, "PhoneNumber", c.PhoneNumber)
	put(dict, "PIN", string(c.PIN.Reveal()))
	return dict
}

func (c EraseDevice) dictionary() map[string]any {
	dict := map[string]any{}
	put(dict, "PIN", string(c.PIN.Reveal()))
	put(dict, "PreserveDataPlan", c.PreserveDataPlan)
	return dict
}

func (c ClearPasscode) dictionary() map[string]any {
	return map[string]any{"UnlockToken": c.UnlockToken.Reveal()}
}

// put sets key unless v is its zero value.
func put[T comparable](dict map[string]any, key string, v T) {
	var zero T
	if v != zero {
		dict[key] = v
	}
}
