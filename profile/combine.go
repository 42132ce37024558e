package profile

import (
	"slices"

	"github.com/gomdm/applemdm/mdm/schema"
)

// combine checks which keys of a payload go together.
func combine(payloadType string, dict map[string]any) schema.Findings {
	return schema.Combine(dict, combinations[payloadType])
}

// combinations is what the texts of Apple's schema ask of keys together. Only what they say clearly is here: a rule too many
// would hinder a good profile. What holds for an installation by MDM only, or on one platform, is a warning.
var combinations = map[string][]schema.Condition{
	// The texts of Attest, HardwareBound and KeyType.
	TypeACME: {
		schema.Not("HardwareBound", "false").If("Attest", "true"),
		schema.Not("KeyType", "RSA").If("HardwareBound", "true"),
		schema.Not("KeySize", "192", "521").If("HardwareBound", "true"),
		schema.Not("KeySize", "1024", "2048", "3072", "4096").If("KeyType", "ECSECPrimeRandom"),
	},
	// The text of Password.
	TypeAirPlaySecurity: {schema.Needs("", "Password").If("SecurityType", "PASSWORD")},
	// The text of CalDAVUsername: nobody is asked for it in an installation by MDM.
	TypeCalDAV: {schema.Needs("", "CalDAVUsername").Warn()},
	// One of both kinds of caching has to be on, and both are by default.
	TypeContentCaching: {schema.Not("AllowSharedCaching", "false").If("AllowPersonalCaching", "false")},
	// The texts of ServerURL and ServerName.
	TypeDNSSettings: {
		schema.Needs("", "ServerURL").In("DNSSettings").If("DNSProtocol", "HTTPS"),
		schema.Excludes("DNSProtocol", "ServerName").In("DNSSettings").If("DNSProtocol", "HTTPS"),
	},
	// The texts of EnableMail and its like: one of the services has to be on, and all are by default. The texts of OAuth and UserName.
	TypeExchangeActiveSync: {
		schema.Not("EnableNotes", "false").If("EnableMail", "false").If("EnableContacts", "false").
			If("EnableCalendars", "false").If("EnableReminders", "false"),
		schema.Excludes("OAuth", "Password").If("OAuth", "true").Warn(),
		schema.Needs("", "UserName").Warn(),
	},
	// The texts of OAuth and UserName.
	TypeExchangeWebServices: {schema.Excludes("OAuth", "Password").If("OAuth", "true").Warn(), schema.Needs("", "UserName").Warn()},
	// The texts of URLs and Hosts, which Apple's own Kerberos extension can do without; then those of the keys of PlatformSSO.
	TypeExtensibleSSO: {
		schema.Needs("", "URLs").If("Type", "Redirect"),
		schema.Needs("", "Hosts").If("Type", "Credential").Unless("ExtensionIdentifier", "com.apple.AppSSOKerberos.KerberosExtension"),
		schema.Needs("", "UseSharedDeviceKeys").In("PlatformSSO").If("EnableCreateUserAtLogin", "true"),
		schema.Not("UseSharedDeviceKeys", "false").In("PlatformSSO").If("EnableCreateUserAtLogin", "true"),
		schema.Needs("", "UseSharedDeviceKeys").In("PlatformSSO").If("EnableAuthorization", "true"),
		schema.Not("UseSharedDeviceKeys", "false").In("PlatformSSO").If("EnableAuthorization", "true"),
		schema.Needs("", "WebLoginURLAllowList").In("PlatformSSO").If("AuthenticationMethod", "OpenID"),
		schema.Needs("", "WebLoginURLAllowList").In("PlatformSSO").If("NewUserAuthenticationMethods", "OpenID").
			Unless("AuthenticationMethod", "OpenID"),
		schema.Needs("", "AccessKeyReaderGroupIdentifier", "AccessKeyTerminalIdentityUUID", "AccessKeyReaderIssuerCertificateUUID").
			In("PlatformSSO").If("NewUserAuthenticationMethods", "AccessKey"),
	},
	// The text of Enable: sent through MDM, someone to enable it for, or Defer.
	TypeFileVault: {schema.AnyOf("Defer", "Username", "UserEntersMissingInfo").If("Enable", "On").Warn()},

	TypeFirstActiveEthernet:  eap,
	TypeFirstEthernet:        eap,
	TypeSecondActiveEthernet: eap,
	TypeSecondEthernet:       eap,
	TypeThirdActiveEthernet:  eap,
	TypeThirdEthernet:        eap,
	TypeGlobalEthernet:       eap,

	// The texts of ProxyServer and ProxyServerPort.
	TypeGlobalHTTPProxy: {schema.Needs("", "ProxyServer", "ProxyServerPort").If("ProxyType", "Manual")},
	// What an icon needs follows from its Type. Folders hold no folders.
	TypeHomeScreenLayout: slices.Concat(icons("Dock[]"), icons("Dock[].Pages[][]"), icons("Pages[][]"), icons("Pages[][].Pages[][]")),
	// Account-driven enrollment: the texts of EnrollmentMode, AccessRights, AssignedManagedAppleID and RequiredAppIDForMDM.
	// Profile-driven User Enrollment ignores the rights.
	TypeMDM: {
		schema.Needs("EnrollmentMode", "AssignedManagedAppleID"),
		schema.Excludes("EnrollmentMode", "AccessRights").If("EnrollmentMode", "BYOD").Warn(), // ignored there, by what Apple says
		schema.Needs("AssignedManagedAppleID", "EnrollmentMode").Warn(),
		schema.Needs("RequiredAppIDForMDM", "EnrollmentMode").Warn(),
		schema.Excludes("ManagedAppleID", "AccessRights").Warn(),
	},
	// The texts of siteAllowList and, by its older name, siteWhitelist.
	TypeParentalControlsContentFilter: {
		schema.Needs("", "siteAllowList").If("allowListEnabled", "true"),
		schema.Needs("", "siteWhitelist").If("whitelistEnabled", "true"),
	},
	// The text of minutesUntilFailedLoginReset.
	TypePasscode: {schema.Needs("minutesUntilFailedLoginReset", "maxFailedAttempts")},
	// Every entry has either Authorization or Allowed, but not both. Those of AppleEvents name a receiver. Some services can
	// be denied only: the texts of Camera, Microphone, ListenEvent and ScreenCapture.
	TypePrivacyPreferences: slices.Concat([]schema.Condition{
		schema.OneOf("Authorization", "Allowed").In("Services.*[]"),
		schema.Needs("", "AEReceiverIdentifier", "AEReceiverIdentifierType", "AEReceiverCodeRequirement").In("Services.AppleEvents[]"),
	}, denied("Camera"), denied("Microphone"), denied("ListenEvent"), denied("ScreenCapture")),
	// The texts of HTTP2RelayURL and HTTP3RelayURL: either or both.
	TypeRelay: {schema.AnyOf("HTTP2RelayURL", "HTTP3RelayURL").In("Relays[]")},
	// The texts of askForPassword and askForPasswordDelay.
	TypeScreenSaver: {
		schema.Needs("", "askForPasswordDelay").If("askForPassword", "true"),
		schema.Needs("askForPasswordDelay", "askForPassword").Warn(),
	},
	// The text of PrincipalName: nobody is asked for it in an installation by MDM.
	TypeSingleSignOn: {schema.Needs("", "PrincipalName").In("Kerberos").Warn()},
	// Each type of VPN has its dictionary; a VPN of a vendor says which. The texts of DNS, Proxies and the post-quantum key.
	// The texts of ServerCertificateIssuerCommonName and CertificateType agree only in extended authentication.
	TypeVPN: {
		schema.Needs("", "VPNSubType").If("VPNType", "VPN", "TransparentProxy"),
		schema.Needs("", "IPSec").If("VPNType", "IPSec").Warn(),
		schema.Needs("", "IKEv2").If("VPNType", "IKEv2").Warn(),
		schema.Needs("", "AlwaysOn").If("VPNType", "AlwaysOn").Warn(),
		schema.Needs("", "ServerURL").In("DNS").If("DNSProtocol", "HTTPS"),
		schema.Needs("", "ServerName").In("DNS").If("DNSProtocol", "TLS"),
		schema.Needs("HTTPProxy", "HTTPPort").In("Proxies"),
		schema.Needs("HTTPSProxy", "HTTPSPort").In("Proxies"),
		schema.Needs("PPK", "PPKIdentifier").In("IKEv2"),
		schema.Needs("PPKIdentifier", "PPK").In("IKEv2"),
		schema.Needs("CertificateType", "ServerCertificateIssuerCommonName").In("IKEv2").If("ExtendedAuthEnabled", "1").Warn(),
	},
	// What a plug-in needs, and what each kind of filter that is on; the bundle identifiers are of macOS only.
	TypeWebContentFilter: {
		schema.Needs("", "UserDefinedName", "PluginBundleID").If("FilterType", "Plugin"),
		schema.Needs("", "FilterDataProviderBundleIdentifier", "FilterDataProviderDesignatedRequirement").If("FilterSockets", "true").Warn(),
		schema.Needs("", "FilterPacketProviderBundleIdentifier", "FilterPacketProviderDesignatedRequirement").If("FilterPackets", "true").Warn(),
		schema.Needs("", "URLFilterParameters").If("FilterURLs", "true"),
		schema.Needs("PermittedURLs", "AutoFilterEnabled").Warn(),
	},
	// SSID_STR is optional if there is a DomainName. A manual proxy has an address. An open network has no secrets.
	TypeWiFi: slices.Concat(eap, []schema.Condition{
		schema.AnyOf("SSID_STR", "DomainName"),
		schema.Needs("", "ProxyServer", "ProxyServerPort").If("ProxyType", "Manual"),
		schema.Excludes("EncryptionType", "Password", "PayloadCertificateUUID", "EAPClientConfiguration").If("EncryptionType", "None").Warn(),
	}),
}

// eap are the rules of EAPClientConfiguration, which wired networks have, too: TLS 1.3 needs an outer identity, and the
// system has one source of credentials.
var eap = []schema.Condition{
	schema.Needs("", "OuterIdentity").In("EAPClientConfiguration").If("TLSMinimumVersion", "1.3").Warn(),
	schema.Excludes("SystemModeCredentialsSource", "SystemModeUseOpenDirectoryCredentials").In("EAPClientConfiguration").
		If("SystemModeUseOpenDirectoryCredentials", "true"),
	schema.Needs("EAPFASTProvisionPAC", "EAPFASTUsePAC").In("EAPClientConfiguration").Warn(),
}

// icons are the rules of the icons at a path: the texts of BundleID, URL, DisplayName and Pages.
func icons(at string) []schema.Condition {
	return []schema.Condition{
		schema.Needs("", "BundleID").In(at).If("Type", "Application"),
		schema.Needs("", "URL").In(at).If("Type", "WebClip"),
		schema.Excludes("Type", "DisplayName", "Pages").In(at).If("Type", "Application", "WebClip").Warn(),
	}
}

// denied are the rules of a service that a profile can deny, and cannot grant.
func denied(service string) []schema.Condition {
	at := "Services." + service + "[]"
	return []schema.Condition{schema.Not("Allowed", "true").In(at).Warn(), schema.Not("Authorization", "Allow").In(at).Warn()}
}
