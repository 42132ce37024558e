package profile

import "github.com/gomdm/applemdm/mdm/schema"

// combine checks which keys of a payload go together.
func combine(payloadType string, dict map[string]any) schema.Findings {
	return schema.Combine(dict, combinations[payloadType])
}

// combinations is what the texts of Apple's schema ask of keys together. Only what they say clearly is here.
var combinations = map[string][]schema.Condition{
	// Account-driven enrollment: the texts of EnrollmentMode and AccessRights.
	TypeMDM: {
		schema.Needs("EnrollmentMode", "AssignedManagedAppleID"),
		schema.Excludes("EnrollmentMode", "AccessRights").If("EnrollmentMode", "BYOD"),
	},
	// SSID_STR is optional if there is a DomainName. A manual proxy has an address; TLS 1.3 needs an outer identity.
	TypeWiFi: {
		schema.AnyOf("SSID_STR", "DomainName"),
		schema.Needs("", "ProxyServer", "ProxyServerPort").If("ProxyType", "Manual"),
		schema.Needs("", "OuterIdentity").In("EAPClientConfiguration").If("TLSMinimumVersion", "1.3").Warn(),
		schema.Excludes("EncryptionType", "Password", "PayloadCertificateUUID", "EAPClientConfiguration").If("EncryptionType", "None").Warn(),
	},
	TypeGlobalHTTPProxy: {schema.Needs("", "ProxyServer", "ProxyServerPort").If("ProxyType", "Manual")},
	// Each type of VPN has its dictionary; a VPN of a vendor says which.
	TypeVPN: {
		schema.Needs("", "VPNSubType").If("VPNType", "VPN"),
		schema.Needs("", "IKEv2").If("VPNType", "IKEv2").Warn(),
		schema.Needs("", "AlwaysOn").If("VPNType", "AlwaysOn").Warn(),
		schema.Needs("HTTPProxy", "HTTPPort").In("Proxies"),
		schema.Needs("HTTPSProxy", "HTTPSPort").In("Proxies"),
		schema.Needs("PPK", "PPKIdentifier").In("IKEv2"),
		schema.Needs("PPKIdentifier", "PPK").In("IKEv2"),
	},
	TypeDNSSettings: {
		schema.Needs("", "ServerURL").In("DNSSettings").If("DNSProtocol", "HTTPS"),
		schema.Excludes("DNSProtocol", "ServerName").In("DNSSettings").If("DNSProtocol", "HTTPS"),
	},
	TypeWebContentFilter: {
		schema.Needs("", "UserDefinedName", "PluginBundleID").If("FilterType", "Plugin"),
		schema.Needs("", "FilterDataProviderBundleIdentifier", "FilterDataProviderDesignatedRequirement").If("FilterSockets", "true").Warn(), // macOS only
		schema.Needs("", "FilterPacketProviderBundleIdentifier", "FilterPacketProviderDesignatedRequirement").If("FilterPackets", "true").Warn(),
		schema.Needs("", "URLFilterParameters").If("FilterURLs", "true"),
	},
	// The texts of URLs and Hosts.
	TypeExtensibleSSO: {
		schema.Needs("", "URLs").If("Type", "Redirect"),
		schema.Needs("", "Hosts").If("Type", "Credential"),
	},
	// Every entry has either Authorization or Allowed, but not both.
	TypePrivacyPreferences: {schema.OneOf("Authorization", "Allowed").In("Services.*[]")},
	// What an icon needs follows from its Type.
	TypeHomeScreenLayout: {
		schema.Needs("", "BundleID").In("Dock[]").If("Type", "Application"), schema.Needs("", "URL").In("Dock[]").If("Type", "WebClip"),
		schema.Needs("", "BundleID").In("Pages[][]").If("Type", "Application"), schema.Needs("", "URL").In("Pages[][]").If("Type", "WebClip"),
	},
}
