package command

import "github.com/gomdm/applemdm/mdm"

// The commands of daily use. Their keys are those of Apple's schema; a zero value leaves an optional key out, which is
// what its default says. "Needs" names the right that the installed MDM profile must hold (its key AccessRights; see
// mdm.AccessRights); User Enrollment ignores rights. Every other command, and every other key, can be sent as [Raw].

// DeviceInformation asks for facts about a device. Needs the right QueryDevice, for some queries another.
type DeviceInformation struct {
	Queries []string // as "OSVersion"; required
}

// ProfileList asks for the installed profiles, on a user channel for those of the user. Needs InspectProfiles.
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
	Identifiers     []string `plist:",omitempty"` // bundle identifiers; empty: all
	Items           []string `plist:",omitempty"` // keys of the answer, as "ShortVersion"; empty: all. Not on macOS
	ManagedAppsOnly bool     `plist:",omitempty"`
}

// DeviceLock locks a device at once. Needs LockAndPasscode. It is meant for lost devices: a message is shown only if a
// passcode is set, and a Mac restarts into its lock.
type DeviceLock struct {
	Message     string
	PhoneNumber string
	PIN         mdm.Secret // macOS only: six characters, for Find My
}

// EraseDevice erases a device. Needs Erase. Its answer is sent once, and may never come.
type EraseDevice struct {
	PIN                    mdm.Secret // macOS only: six characters, for Find My
	PreserveDataPlan       bool       // iOS
	DisallowProximitySetup bool       // iOS
	ObliterationBehavior   string     // macOS 12, if erasing content and settings fails: "Default", "DoNotObliterate", …
	ReturnToService        *ReturnToService
}

// ReturnToService lets an erased device enroll again by itself (iOS 17, tvOS 18, visionOS 26). Profiles are whole, plain
// or signed.
type ReturnToService struct {
	Enabled               bool
	WiFiProfileData       []byte     // needed without Ethernet
	MDMProfileData        []byte     // not needed with Automated Device Enrollment without a web page
	BootstrapToken        mdm.Secret // iOS 26, visionOS 26
	ShouldRetryEnrollment bool       // iOS 27
}

// ClearPasscode clears the passcode and ends data protection. Needs LockAndPasscode. Make sure that the owner has the
// device in hand. macOS answers Error.
type ClearPasscode struct {
	UnlockToken mdm.Secret // the last one of TokenUpdate, from the escrow; required
}

// RestartDevice restarts a device; iOS and tvOS must be supervised. Needs LockAndPasscode. An iOS device with a passcode
// does not join a Wi-Fi network before it is unlocked.
type RestartDevice struct {
	RebuildKernelCache bool     `plist:",omitempty"` // macOS 11
	KextPaths          []string `plist:",omitempty"` // macOS 11, with RebuildKernelCache
	NotifyUser         bool     `plist:",omitempty"` // macOS 11.4
}

// ShutDownDevice shuts a device down; iOS must be supervised. Needs LockAndPasscode.
type ShutDownDevice struct{}

// DeviceConfigured lets a device out of Setup Assistant that awaits its configuration (AwaitingConfiguration in its
// TokenUpdate); on the user channel of a Mac, its user.
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
