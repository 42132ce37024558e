package dep

import "encoding/json"

// Profile is what devices find when they are set up. (Apple: Profile.)
type Profile struct {
	Name                  string   // required, at most 125 characters
	URL                   string   // required, at most 2000 characters: where the device sends MachineInfo to
	ConfigurationWebURL   string   // instead of URL: a page on which the person signs in
	AnchorCerts           []string // base64 DER: whom the device trusts for URL
	SupervisingHostCerts  []string // base64 DER: which hosts a supervised device pairs with
	IsSupervised          bool     // iOS 13 and later are always
	IsMandatory           bool
	IsMDMRemovable        *bool // nil: as Apple has it, true. false needs IsSupervised
	IsMultiUser           bool  // Shared iPad
	AwaitDeviceConfigured bool  // the Setup Assistant waits for the command DeviceConfigured
	AutoAdvanceSetup      bool  // with Language and Region; tvOS, macOS 11
	Language              string
	Region                string
	AllowPairing          *bool // deprecated; nil: as Apple has it, true
	SkipSetupItems        []string
	Department            string
	SupportPhoneNumber    string
	SupportEmailAddress   string
	OrgMagic              string
	Devices               []string // serial numbers to give it to at once, in DefineProfile
	NoProfileFromBackup   bool     // do_not_use_profile_from_backup
	IsReturnToService     bool     // OS 26

	Extra map[string]json.RawMessage // keys that are not above, or whose values do not fit
}
