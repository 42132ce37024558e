package command

import "github.com/gomdm/applemdm/mdm/schema"

// combine checks which keys of a command go together.
func combine(requestType string, dict map[string]any) schema.Findings {
	return schema.Combine(dict, combinations[requestType])
}

// combinations is what the texts of Apple's schema ask of keys together. Only what they say clearly is here: a rule too many
// would hinder a good command.
var combinations = map[string][]schema.Condition{
	// The texts of iTunesStoreID, Identifier and ManifestURL: where the app comes from. The text of ChangeManagementState;
	// only a Mac knows InstallAsManaged, so it may be absent.
	"InstallApplication": {
		schema.OneOf("iTunesStoreID", "Identifier", "ManifestURL"),
		schema.Not("InstallAsManaged", "false").If("ChangeManagementState", "Managed"),
	},
	// Manifest and ManifestURL are the two ways to name the package; pins are for the connection to the latter. The text of
	// ChangeManagementState.
	"InstallEnterpriseApplication": {
		schema.OneOf("Manifest", "ManifestURL"),
		schema.Needs("ManifestURLPinningCerts", "ManifestURL").Warn(),
		schema.Needs("ChangeManagementState", "InstallAsManaged").Warn(),
		schema.Not("InstallAsManaged", "false").If("ChangeManagementState", "Managed").Warn(),
	},
	// The texts of both: each is needed where the other is absent.
	"EnableLostMode": {schema.AnyOf("Message", "PhoneNumber")},
	// UserName is required when DeleteAllUsers is absent or false.
	"DeleteUser": {schema.AnyOf("UserName", "DeleteAllUsers"), schema.Needs("", "UserName").If("DeleteAllUsers", "false")},
	// The text of PrivateKeyExportPassword: Password, or both of the others; the text of NewCertificate.
	"RotateFileVaultKey": {
		schema.AnyOf("Password", "PrivateKeyExport").In("FileVaultUnlock"),
		schema.Needs("PrivateKeyExport", "PrivateKeyExportPassword").In("FileVaultUnlock"),
		schema.Needs("", "NewCertificate").If("KeyType", "institutional"),
	},
	// The texts of SkipPrimarySetupAccountCreation, SetPrimarySetupAccountAsRegularUser and LockPrimaryAccountInfo.
	"AccountConfiguration": {
		schema.Needs("", "AutoSetupAdminAccounts").If("SkipPrimarySetupAccountCreation", "true"),
		schema.Needs("", "AutoSetupAdminAccounts").If("SetPrimarySetupAccountAsRegularUser", "true"),
		schema.Not("DontAutoPopulatePrimaryAccountInfo", "true").If("LockPrimaryAccountInfo", "true"),
	},
	// One of both says where to.
	"RequestMirroring": {schema.AnyOf("DestinationName", "DestinationDeviceID")},
	// A book comes from the store or from a URL, and then needs an id of its own.
	"InstallMedia": {schema.OneOf("iTunesStoreID", "MediaURL"), schema.Needs("MediaURL", "PersistentID").Warn()},
	"RemoveMedia":  {schema.AnyOf("iTunesStoreID", "PersistentID")},
	// ProductVersion is required if there is no ProductKey; MaxUserDeferrals works with one InstallAction only.
	"ScheduleOSUpdate": {
		schema.AnyOf("ProductKey", "ProductVersion").In("Updates[]"),
		schema.Excludes("InstallAction", "MaxUserDeferrals").In("Updates[]").
			If("InstallAction", "Default", "DownloadOnly", "InstallASAP", "NotifyOnly", "InstallForceRestart").Warn(),
	},
	// The text of KextPaths: they are read where RebuildKernelCache is true.
	"RestartDevice": {schema.Needs("KextPaths", "RebuildKernelCache").Warn()},
	// A device without Ethernet and a preset network stays off the network. The server cannot know.
	"EraseDevice": {schema.Needs("", "WiFiProfileData").In("ReturnToService").If("Enabled", "true").Warn()},
}
