package ddm

import (
	"slices"

	"github.com/gomdm/applemdm/mdm/schema"
)

// combine checks which keys of a declaration go together.
func combine(declarationType string, payload map[string]any) schema.Findings {
	return schema.Combine(payload, combinations[declarationType])
}

// combinations is what the texts of Apple's schema ask of keys together. Only what they say clearly is here: a rule too many
// would hinder a good declaration.
var combinations = map[string][]schema.Condition{
	// The texts of AuthenticationCredentialsAssetReference: what AuthenticationMethod None must not have, and the others must.
	TypeAccountMail: slices.Concat(mailServer("IncomingServer"), mailServer("OutgoingServer")),
	// The texts of all four: one of them says which app it is.
	TypeAppManaged: {schema.OneOf("AppStoreID", "BundleID", "ManifestURL", "AppComposedIdentifier")},
	// The note on binary identifiers: what a list needs of them.
	TypeAppSettings: {
		schema.AnyOf("CDHash", "TeamID").In("Allowed.AllowedBinaries[]"),
		schema.AnyOf("CDHash", "TeamID", "SigningID").In("Allowed.DeniedBinaries[]"),
	},
	// The texts of Configuration and Hour.
	TypeAudioAccessorySettings: {
		schema.Needs("", "Configuration").In("TemporaryPairing").Unless("Disabled", "true"),
		schema.Needs("", "Hour").In("TemporaryPairing.Configuration.UnpairingTime").If("Policy", "Hour"),
	},
	// One of both kinds of caching has to be on, and both are by default. The text of ManagementStatusCertificateReference.
	TypeContentCacheSettings: {
		schema.Not("AllowSharedCaching", "false").If("AllowPersonalCaching", "false"),
		schema.Needs("", "ManagementStatusCertificateReference").If("ManagementSecurityConfig", "signedByCACert", "specificServerCert"),
	},
	// The texts of URLs, Hosts and URLAllowList.
	TypeExtensibleSSO: {
		schema.Needs("", "URLs").If("Type", "Redirect"),
		schema.Needs("", "Hosts").If("Type", "Credential"),
		schema.Needs("", "WebAuthentication").In("PlatformSSO").If("AuthenticationMethod", "OpenID"),
	},
	// The profile is at a URL, or is the data of an asset.
	TypeLegacy:            {schema.OneOf("ProfileURL", "ProfileAssetReference")},
	TypeLegacyInteractive: {schema.OneOf("ProfileURL", "ProfileAssetReference")},
	// The texts of ServerURL and ServerName.
	TypeNetworkDNSSettings: {
		schema.Needs("", "ServerURL").In("DNSSettings").If("DNSProtocol", "HTTPS"),
		schema.Excludes("DNSProtocol", "ServerName").In("DNSSettings").If("DNSProtocol", "HTTPS"),
	},
	// The texts of HTTP2RelayURL and HTTP3RelayURL: either or both.
	TypeNetworkRelay:       {schema.AnyOf("HTTP2RelayURL", "HTTP3RelayURL").In("Relays[]")},
	TypeNetworkVPNAlwaysOn: slices.Concat(vpn, ikev2("TunnelConfigurations[].IKEV2.")),
	TypeNetworkVPNIKEv2:    slices.Concat(vpn, ikev2("")),
	// The text of XAuth.CredentialsAssetReference.
	TypeNetworkVPNIPsec: slices.Concat(vpn, []schema.Condition{
		schema.Needs("", "CredentialsAssetReference").In("Authentication.XAuth").If("Enabled", "true"),
	}),
	// The texts of the asset references.
	TypeNetworkVPNPlugin: slices.Concat(vpn, []schema.Condition{
		schema.Needs("", "CredentialsAssetReference").In("Authentication").If("Method", "Password"),
		schema.Needs("", "IdentityAssetReference").In("Authentication").If("Method", "Certificate"),
	}),
	// A bookmark is a page or a folder. Folders of folders go on without end; two levels are checked.
	TypeSafariBookmarks: {
		schema.OneOf("URL", "Folder").In("ManagedBookmarks[].Bookmarks[]"),
		schema.OneOf("URL", "Folder").In("ManagedBookmarks[].Bookmarks[].Folder[]"),
	},
	// The texts of HomepageURL and ExtensionIdentifier.
	TypeSafariSettings: {
		schema.Needs("", "HomepageURL").In("NewTabStartPage").If("PageType", "Home"),
		schema.Needs("", "ExtensionIdentifier").In("NewTabStartPage").If("PageType", "Extension"),
	},
	// The note: one or both of them.
	TypeServicesBackgroundTasks: {schema.AnyOf("ExecutableAssetReference", "LaunchdConfigurations")},
	// The texts of OfferPrograms and RequireProgram. ProgramEnrollment is Allowed if absent.
	TypeSoftwareUpdateSettings: {
		schema.AtMostOne("OfferPrograms", "RequireProgram").In("Beta"),
		schema.Not("ProgramEnrollment", "AlwaysOff").In("Beta").If("OfferPrograms"),
		schema.Needs("RequireProgram", "ProgramEnrollment").In("Beta"),
		schema.Not("ProgramEnrollment", "Allowed", "AlwaysOff").In("Beta").If("RequireProgram"),
	},
	// The texts of ProviderComposedIdentifier and Parameters: what a filter that is on needs.
	TypeWebContentFilterPlugin: {
		schema.Needs("", "ProviderComposedIdentifier").In("Filter.Sockets").If("Enabled", "true"),
		schema.Needs("", "ProviderComposedIdentifier").In("Filter.Packets").If("Enabled", "true"),
		schema.Needs("", "Parameters").In("Filter.URLs").If("Enabled", "true"),
	},
}

// mailServer are the rules of one server of a mail account. "Blank" may mean an empty reference, so that is a warning.
func mailServer(at string) []schema.Condition {
	const credentials = "AuthenticationCredentialsAssetReference"
	return []schema.Condition{
		schema.Needs("", credentials).In(at).If("AuthenticationMethod", "Password", "CRAMMD5", "NTLM", "HTTPMD5"),
		schema.Excludes("AuthenticationMethod", credentials).In(at).If("AuthenticationMethod", "None").Warn(),
	}
}

// vpn are the rules of every VPN: the texts of DNS.ServerURL, DNS.ServerName (which call the key Protocol by its name in a
// profile) and Proxies.Protocol.
var vpn = []schema.Condition{
	schema.Needs("", "ServerURL").In("DNS").If("Protocol", "HTTPS"),
	schema.Needs("", "ServerName").In("DNS").If("Protocol", "TLS"),
	schema.Needs("HostName", "Port").In("Proxies.Protocol.HTTP"),
	schema.Needs("HostName", "Port").In("Proxies.Protocol.HTTPS"),
}

// ikev2 are the rules of an IKEv2 tunnel: a pre-shared key has a name, and shared secrets have an asset. Extended
// authentication may have a certificate instead of a password, so the text that asks for one is a warning.
func ikev2(at string) []schema.Condition {
	return []schema.Condition{
		schema.Needs("", "CredentialsAssetReference").In(at+"Authentication").If("Method", "SharedSecret"),
		schema.Needs("", "CredentialsAssetReference").In(at+"Authentication.ExtendedAuth").If("Enabled", "true").Warn(),
		schema.Needs("PPK", "PPKIdentifier").In(at + "PostQuantumKeyExchange"),
		schema.Needs("PPKIdentifier", "PPK").In(at + "PostQuantumKeyExchange"),
	}
}
