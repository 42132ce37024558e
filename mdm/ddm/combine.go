package ddm

import "github.com/gomdm/applemdm/mdm/schema"

// combine checks which keys of a declaration go together.
func combine(declarationType string, payload map[string]any) schema.Findings {
	return schema.Combine(payload, combinations[declarationType])
}

// combinations is what the texts of Apple's schema ask of keys together. Only what they say clearly is here.
var combinations = map[string][]schema.Condition{
	// "Only one of … needs to be present": which app it is.
	TypeAppManaged: {schema.OneOf("AppStoreID", "BundleID", "ManifestURL", "AppComposedIdentifier")},
	// The profile is at a URL, or is the data of an asset.
	TypeLegacy:            {schema.OneOf("ProfileURL", "ProfileAssetReference")},
	TypeLegacyInteractive: {schema.OneOf("ProfileURL", "ProfileAssetReference")},
	TypeNetworkDNSSettings: {
		schema.Needs("", "ServerURL").In("DNSSettings").If("DNSProtocol", "HTTPS"),
		schema.Excludes("DNSProtocol", "ServerName").In("DNSSettings").If("DNSProtocol", "HTTPS"),
	},
	TypeSafariBookmarks: {schema.OneOf("URL", "Folder").In("ManagedBookmarks[].Bookmarks[]")},
	TypeSafariSettings: {
		schema.Needs("", "HomepageURL").In("NewTabStartPage").If("PageType", "Home"),
		schema.Needs("", "ExtensionIdentifier").In("NewTabStartPage").If("PageType", "Extension"),
	},
	TypeSoftwareUpdateSettings: {schema.AtMostOne("OfferPrograms", "RequireProgram").In("Beta")},
}
