package command

// SecurityInfoResponse answers SecurityInfo.
type SecurityInfoResponse struct {
	SecurityInfo SecurityStatus
}

// SecurityStatus is how a device is protected. Nil is a key that the device did not send, which is not false: devices send
// what their system has, and a Mac most of it on its device channel only. Data protection is on if HardwareEncryptionCaps
// is 3 and PasscodePresent is true.
type SecurityStatus struct {
	PasscodePresent                 *bool
	PasscodeCompliant               *bool
	PasscodeCompliantWithProfiles   *bool
	PasscodeLockGracePeriod         *int64 // seconds, as the user wants it
	PasscodeLockGracePeriodEnforced *int64 // seconds
	AutoLockTime                    *int64 // seconds; Shared iPad
	HardwareEncryptionCaps          *int64 // 1: blocks, 2: files, 3: both

	FDEEnabled                     *bool  `plist:"FDE_Enabled"` // FileVault
	FDEHasPersonalRecoveryKey      *bool  `plist:"FDE_HasPersonalRecoveryKey"`
	FDEHasInstitutionalRecoveryKey *bool  `plist:"FDE_HasInstitutionalRecoveryKey"`
	FDEPersonalRecoveryKeyCMS      []byte `plist:"FDE_PersonalRecoveryKeyCMS"`       // encrypted for the escrow certificate
	FDEPersonalRecoveryKeyDevice   string `plist:"FDE_PersonalRecoveryKeyDeviceKey"` // the serial number of the device

	SystemIntegrityProtectionEnabled                 *bool
	AuthenticatedRootVolumeEnabled                   *bool
	RemoteDesktopEnabled                             *bool
	IsRecoveryLockEnabled                            *bool
	BootstrapTokenAllowedForAuthentication           string // "allowed", "disallowed" or "not supported"
	BootstrapTokenRequiredForSoftwareUpdate          *bool
	BootstrapTokenRequiredForKernelExtensionApproval *bool

	FirewallSettings       *FirewallSettings
	FirmwarePasswordStatus *FirmwarePasswordStatus
	ManagementStatus       *ManagementStatus
	SecureBoot             *SecureBoot
}

// FirewallSettings is the state of the firewall of a Mac.
type FirewallSettings struct {
	FirewallEnabled  *bool
	BlockAllIncoming *bool
	StealthMode      *bool
	LoggingEnabled   *bool
	LoggingOption    string // "throttled", "brief" or "detail"
	Applications     []FirewallApplication
}

// FirewallApplication is a rule of the firewall.
type FirewallApplication struct {
	Allowed  *bool
	BundleID string
	Name     string
}

// FirmwarePasswordStatus is the state of the EFI password of an Intel Mac.
type FirmwarePasswordStatus struct {
	PasswordExists *bool
	ChangePending  *bool
	AllowOroms     *bool
}

// ManagementStatus is how a device is enrolled.
type ManagementStatus struct {
	EnrolledViaDEP             *bool
	UserApprovedEnrollment     *bool
	IsUserEnrollment           *bool
	IsActivationLockManageable *bool
}

// SecureBoot is how a Mac starts.
type SecureBoot struct {
	SecureBootLevel   string // "off", "medium", "full" or "not supported"
	ExternalBootLevel string // "allowed", "disallowed" or "not supported"
	ReducedSecurity   any    // what is disabled in recoveryOS; the schema says a list of names, its text a dictionary of flags
}
