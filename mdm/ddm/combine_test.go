package ddm_test

import (
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Which keys go together, with keys that are right and keys that are not for each rule.
func TestCombinations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, kind string
		good, bad  dict
		path       string
		warning    bool
	}{
		{"no app", ddm.TypeAppManaged, dict{"BundleID": "b"}, dict{}, "", false},
		{"two apps", ddm.TypeAppManaged, dict{"AppStoreID": "1"}, dict{"AppStoreID": "1", "ManifestURL": "u"}, "", false},
		{"no profile", ddm.TypeLegacy, dict{"ProfileURL": "u"}, dict{}, "", false},
		{"two profiles", ddm.TypeLegacyInteractive, dict{"ProfileAssetReference": "a"}, dict{"ProfileURL": "u", "ProfileAssetReference": "a"}, "", false},
		{"DNS over HTTPS without a URL", ddm.TypeNetworkDNSSettings, dict{"DNSSettings": dict{"DNSProtocol": "TLS"}}, dict{"DNSSettings": dict{"DNSProtocol": "HTTPS"}}, "DNSSettings.ServerURL", false},
		{"DNS over HTTPS with a name", ddm.TypeNetworkDNSSettings, dict{"DNSSettings": dict{"DNSProtocol": "TLS", "ServerName": "n"}},
			dict{"DNSSettings": dict{"DNSProtocol": "HTTPS", "ServerURL": "u", "ServerName": "n"}}, "DNSSettings.ServerName", false},
		{"a bookmark of nothing", ddm.TypeSafariBookmarks, dict{"ManagedBookmarks": []any{dict{"Bookmarks": []any{dict{"URL": "u"}}}}},
			dict{"ManagedBookmarks": []any{dict{"Bookmarks": []any{dict{"Title": "t"}}}}}, "ManagedBookmarks[0].Bookmarks[0]", false},
		{"a home page of nothing", ddm.TypeSafariSettings, dict{"NewTabStartPage": dict{"PageType": "Home", "HomepageURL": "u"}}, dict{"NewTabStartPage": dict{"PageType": "Home"}}, "NewTabStartPage.HomepageURL", false},
		{"a page of no extension", ddm.TypeSafariSettings, dict{"NewTabStartPage": dict{"PageType": "Start"}}, dict{"NewTabStartPage": dict{"PageType": "Extension"}}, "NewTabStartPage.ExtensionIdentifier", false},
		{"a beta that is offered and required", ddm.TypeSoftwareUpdateSettings, dict{"Beta": dict{"OfferPrograms": []any{}}},
			dict{"Beta": dict{"ProgramEnrollment": "AlwaysOn", "OfferPrograms": []any{}, "RequireProgram": dict{}}}, "Beta", false},
		{"IKEv2: DNS over HTTPS without a URL", ddm.TypeNetworkVPNIKEv2, dict{"DNS": dict{"Protocol": "HTTPS", "ServerURL": "u"}}, dict{"DNS": dict{"Protocol": "HTTPS"}}, "DNS.ServerURL", false},
		{"IKEv2: DNS over TLS without a name", ddm.TypeNetworkVPNIKEv2, dict{"DNS": dict{"Protocol": "Cleartext"}}, dict{"DNS": dict{"Protocol": "TLS"}}, "DNS.ServerName", false},
		{"IKEv2: a proxy without a port", ddm.TypeNetworkVPNIKEv2, dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h", "Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTP.Port", false},
		{"IKEv2: a secure proxy without a port", ddm.TypeNetworkVPNIKEv2, dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTPS.Port", false},
		{"always on: DNS over HTTPS without a URL", ddm.TypeNetworkVPNAlwaysOn, dict{"DNS": dict{"Protocol": "HTTPS", "ServerURL": "u"}}, dict{"DNS": dict{"Protocol": "HTTPS"}}, "DNS.ServerURL", false},
		{"always on: DNS over TLS without a name", ddm.TypeNetworkVPNAlwaysOn, dict{"DNS": dict{"Protocol": "Cleartext"}}, dict{"DNS": dict{"Protocol": "TLS"}}, "DNS.ServerName", false},
		{"always on: a proxy without a port", ddm.TypeNetworkVPNAlwaysOn, dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h", "Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTP.Port", false},
		{"always on: a secure proxy without a port", ddm.TypeNetworkVPNAlwaysOn, dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTPS.Port", false},
		{"IPsec: DNS over HTTPS without a URL", ddm.TypeNetworkVPNIPsec, dict{"DNS": dict{"Protocol": "HTTPS", "ServerURL": "u"}}, dict{"DNS": dict{"Protocol": "HTTPS"}}, "DNS.ServerURL", false},
		{"IPsec: DNS over TLS without a name", ddm.TypeNetworkVPNIPsec, dict{"DNS": dict{"Protocol": "Cleartext"}}, dict{"DNS": dict{"Protocol": "TLS"}}, "DNS.ServerName", false},
		{"IPsec: a proxy without a port", ddm.TypeNetworkVPNIPsec, dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h", "Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTP.Port", false},
		{"IPsec: a secure proxy without a port", ddm.TypeNetworkVPNIPsec, dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTPS.Port", false},
		{"plug-in: DNS over HTTPS without a URL", ddm.TypeNetworkVPNPlugin, dict{"DNS": dict{"Protocol": "HTTPS", "ServerURL": "u"}}, dict{"DNS": dict{"Protocol": "HTTPS"}}, "DNS.ServerURL", false},
		{"plug-in: DNS over TLS without a name", ddm.TypeNetworkVPNPlugin, dict{"DNS": dict{"Protocol": "Cleartext"}}, dict{"DNS": dict{"Protocol": "TLS"}}, "DNS.ServerName", false},
		{"plug-in: a proxy without a port", ddm.TypeNetworkVPNPlugin, dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h", "Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTP": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTP.Port", false},
		{"plug-in: a secure proxy without a port", ddm.TypeNetworkVPNPlugin, dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"Port": int64(1)}}}},
			dict{"Proxies": dict{"Protocol": dict{"HTTPS": dict{"HostName": "h"}}}}, "Proxies.Protocol.HTTPS.Port", false},
		{"IKEv2: a shared secret of no asset", ddm.TypeNetworkVPNIKEv2, dict{"Authentication": dict{"Method": "Certificate"}},
			dict{"Authentication": dict{"Method": "SharedSecret"}}, "Authentication.CredentialsAssetReference", false},
		{"IKEv2: extended authentication without a password", ddm.TypeNetworkVPNIKEv2, dict{"Authentication": dict{"ExtendedAuth": dict{"Enabled": false}}},
			dict{"Authentication": dict{"ExtendedAuth": dict{"Enabled": true}}}, "Authentication.ExtendedAuth.CredentialsAssetReference", true},
		{"IKEv2: a quantum key of no name", ddm.TypeNetworkVPNIKEv2, dict{"PostQuantumKeyExchange": dict{"PPK": "a", "PPKIdentifier": "i"}},
			dict{"PostQuantumKeyExchange": dict{"PPK": "a"}}, "PostQuantumKeyExchange.PPKIdentifier", false},
		{"IKEv2: a name of no quantum key", ddm.TypeNetworkVPNIKEv2, dict{"PostQuantumKeyExchange": dict{}},
			dict{"PostQuantumKeyExchange": dict{"PPKIdentifier": "i"}}, "PostQuantumKeyExchange.PPK", false},
		{"always on: a shared secret of no asset", ddm.TypeNetworkVPNAlwaysOn, dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"Authentication": dict{"Method": "Certificate"}}}}},
			dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"Authentication": dict{"Method": "SharedSecret"}}}}}, "TunnelConfigurations[0].IKEV2.Authentication.CredentialsAssetReference", false},
		{"always on: extended authentication without a password", ddm.TypeNetworkVPNAlwaysOn, dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"Authentication": dict{"ExtendedAuth": dict{"Enabled": false}}}}}},
			dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"Authentication": dict{"ExtendedAuth": dict{"Enabled": true}}}}}}, "TunnelConfigurations[0].IKEV2.Authentication.ExtendedAuth.CredentialsAssetReference", true},
		{"always on: a quantum key of no name", ddm.TypeNetworkVPNAlwaysOn, dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"PostQuantumKeyExchange": dict{"PPK": "a", "PPKIdentifier": "i"}}}}},
			dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"PostQuantumKeyExchange": dict{"PPK": "a"}}}}}, "TunnelConfigurations[0].IKEV2.PostQuantumKeyExchange.PPKIdentifier", false},
		{"always on: a name of no quantum key", ddm.TypeNetworkVPNAlwaysOn, dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"PostQuantumKeyExchange": dict{}}}}},
			dict{"TunnelConfigurations": []any{dict{"IKEV2": dict{"PostQuantumKeyExchange": dict{"PPKIdentifier": "i"}}}}}, "TunnelConfigurations[0].IKEV2.PostQuantumKeyExchange.PPK", false},
		{"IncomingServer without credentials", ddm.TypeAccountMail, dict{"IncomingServer": dict{"AuthenticationMethod": "Password", "AuthenticationCredentialsAssetReference": "a"}},
			dict{"IncomingServer": dict{"AuthenticationMethod": "Password"}}, "IncomingServer.AuthenticationCredentialsAssetReference", false},
		{"IncomingServer with credentials that it does not ask for", ddm.TypeAccountMail, dict{"IncomingServer": dict{"AuthenticationMethod": "None"}},
			dict{"IncomingServer": dict{"AuthenticationMethod": "None", "AuthenticationCredentialsAssetReference": "a"}}, "IncomingServer.AuthenticationCredentialsAssetReference", true},
		{"OutgoingServer without credentials", ddm.TypeAccountMail, dict{"OutgoingServer": dict{"AuthenticationMethod": "Password", "AuthenticationCredentialsAssetReference": "a"}},
			dict{"OutgoingServer": dict{"AuthenticationMethod": "Password"}}, "OutgoingServer.AuthenticationCredentialsAssetReference", false},
		{"OutgoingServer with credentials that it does not ask for", ddm.TypeAccountMail, dict{"OutgoingServer": dict{"AuthenticationMethod": "None"}},
			dict{"OutgoingServer": dict{"AuthenticationMethod": "None", "AuthenticationCredentialsAssetReference": "a"}}, "OutgoingServer.AuthenticationCredentialsAssetReference", true},
		{"an allowed binary of no maker", ddm.TypeAppSettings, dict{"Allowed": dict{"AllowedBinaries": []any{dict{"TeamID": "t", "SigningID": "s"}}}},
			dict{"Allowed": dict{"AllowedBinaries": []any{dict{"SigningID": "s"}}}}, "Allowed.AllowedBinaries[0]", false},
		{"a denied binary of no name", ddm.TypeAppSettings, dict{"Allowed": dict{"DeniedBinaries": []any{dict{"SigningID": "s"}}}},
			dict{"Allowed": dict{"DeniedBinaries": []any{dict{"PathPrefix": "p"}}}}, "Allowed.DeniedBinaries[0]", false},
		{"a pairing without settings", ddm.TypeAudioAccessorySettings, dict{"TemporaryPairing": dict{"Disabled": true}}, dict{"TemporaryPairing": dict{}}, "TemporaryPairing.Configuration", false},
		{"a pairing until no hour", ddm.TypeAudioAccessorySettings,
			dict{"TemporaryPairing": dict{"Configuration": dict{"UnpairingTime": dict{"Policy": "None"}}}},
			dict{"TemporaryPairing": dict{"Configuration": dict{"UnpairingTime": dict{"Policy": "Hour"}}}}, "TemporaryPairing.Configuration.UnpairingTime.Hour", false},
		{"a cache of nothing", ddm.TypeContentCacheSettings, dict{"AllowPersonalCaching": false}, dict{"AllowPersonalCaching": false, "AllowSharedCaching": false}, "AllowSharedCaching", false},
		{"a target of no certificate", ddm.TypeContentCacheSettings, dict{"ManagementSecurityConfig": "no-cert"},
			dict{"ManagementSecurityConfig": "signedByCACert"}, "ManagementStatusCertificateReference", false},
		{"a redirect from nowhere", ddm.TypeExtensibleSSO, dict{"Type": "Redirect", "URLs": []any{"u"}}, dict{"Type": "Redirect"}, "URLs", false},
		{"a credential for nowhere", ddm.TypeExtensibleSSO, dict{"Type": "Credential", "Hosts": []any{"h"}}, dict{"Type": "Credential"}, "Hosts", false},
		{"OpenID without hosts", ddm.TypeExtensibleSSO, dict{"PlatformSSO": dict{"AuthenticationMethod": "OpenID", "WebAuthentication": dict{}}},
			dict{"PlatformSSO": dict{"AuthenticationMethod": "OpenID"}}, "PlatformSSO.WebAuthentication", false},
		{"a presented profile that is nowhere", ddm.TypeLegacyInteractive, dict{"ProfileURL": "u"}, dict{}, "", false},
		{"a relay to nowhere", ddm.TypeNetworkRelay, dict{"Relays": []any{dict{"HTTP3RelayURL": "u"}}}, dict{"Relays": []any{dict{}}}, "Relays[0]", false},
		{"extended authentication of nobody", ddm.TypeNetworkVPNIPsec, dict{"Authentication": dict{"XAuth": dict{"Enabled": false}}},
			dict{"Authentication": dict{"XAuth": dict{"Enabled": true}}}, "Authentication.XAuth.CredentialsAssetReference", false},
		{"a plug-in without a password", ddm.TypeNetworkVPNPlugin, dict{"Authentication": dict{"Method": "Password", "CredentialsAssetReference": "a"}},
			dict{"Authentication": dict{"Method": "Password"}}, "Authentication.CredentialsAssetReference", false},
		{"a plug-in without an identity", ddm.TypeNetworkVPNPlugin, dict{"Authentication": dict{"Method": "Certificate", "IdentityAssetReference": "a"}},
			dict{"Authentication": dict{"Method": "Certificate"}}, "Authentication.IdentityAssetReference", false},
		{"a bookmark of nothing in a folder", ddm.TypeSafariBookmarks,
			dict{"ManagedBookmarks": []any{dict{"Bookmarks": []any{dict{"Folder": []any{dict{"URL": "u"}}}}}}},
			dict{"ManagedBookmarks": []any{dict{"Bookmarks": []any{dict{"Folder": []any{dict{"Title": "t"}}}}}}}, "ManagedBookmarks[0].Bookmarks[0].Folder[0]", false},
		{"a task of nothing", ddm.TypeServicesBackgroundTasks, dict{"LaunchdConfigurations": []any{}}, dict{"TaskType": "t"}, "", false},
		{"a beta that is offered, and off", ddm.TypeSoftwareUpdateSettings, dict{"Beta": dict{"ProgramEnrollment": "Allowed", "OfferPrograms": []any{}}},
			dict{"Beta": dict{"ProgramEnrollment": "AlwaysOff", "OfferPrograms": []any{}}}, "Beta.ProgramEnrollment", false},
		{"a beta that is required, and not on", ddm.TypeSoftwareUpdateSettings, dict{"Beta": dict{"ProgramEnrollment": "AlwaysOn", "RequireProgram": dict{}}},
			dict{"Beta": dict{"RequireProgram": dict{}}}, "Beta.ProgramEnrollment", false},
		{"a beta that is required, and free", ddm.TypeSoftwareUpdateSettings, dict{"Beta": dict{"ProgramEnrollment": "Allowed"}},
			dict{"Beta": dict{"ProgramEnrollment": "Allowed", "RequireProgram": dict{}}}, "Beta.ProgramEnrollment", false},
		{"a socket filter of nobody", ddm.TypeWebContentFilterPlugin, dict{"Filter": dict{"Sockets": dict{"Enabled": false}}},
			dict{"Filter": dict{"Sockets": dict{"Enabled": true}}}, "Filter.Sockets.ProviderComposedIdentifier", false},
		{"a packet filter of nobody", ddm.TypeWebContentFilterPlugin, dict{"Filter": dict{"Packets": dict{"Enabled": true, "ProviderComposedIdentifier": "p"}}},
			dict{"Filter": dict{"Packets": dict{"Enabled": true}}}, "Filter.Packets.ProviderComposedIdentifier", false},
		{"a URL filter without parameters", ddm.TypeWebContentFilterPlugin, dict{"Filter": dict{"URLs": dict{"Enabled": false}}},
			dict{"Filter": dict{"URLs": dict{"Enabled": true}}}, "Filter.URLs.Parameters", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			of := func(keys dict) schema.Findings {
				found := ddm.Validate(&ddm.Raw{Type: tt.kind, Values: keys}, schema.Target{})
				assert.Empty(t, found.Of(schema.RuleUnknown), "a rule about a key that there is not")
				return found.Of(schema.RuleCombination)
			}
			assert.Empty(t, of(tt.good))
			found := of(tt.bad)
			for odd := range misshapen(tt.bad) {
				assert.NotPanics(t, func() { ddm.Validate(&ddm.Raw{Type: tt.kind, Values: odd.(dict)}, schema.Target{}) }, "%v", odd)
			}
			require.Len(t, found, 1)
			assert.Equal(t, tt.path, found[0].Path)
			assert.Equal(t, tt.warning, found[0].Warning)
		})
	}
}

type dict = map[string]any

// misshapen yields copies of a tree in which one value each is of another type than it was.
func misshapen(tree any) iter.Seq[any] {
	return func(yield func(any) bool) {
		switch v := tree.(type) {
		case dict:
			for key, value := range v {
				for odd := range odds(value) {
					other := maps.Clone(v)
					if other[key] = odd; !yield(other) {
						return
					}
				}
			}
		case []any:
			for i, value := range v {
				for odd := range odds(value) {
					other := slices.Clone(v)
					if other[i] = odd; !yield(other) {
						return
					}
				}
			}
		}
	}
}

// odds yields what may stand in place of a value: anything, and the value misshapen further down.
func odds(value any) iter.Seq[any] {
	return func(yield func(any) bool) {
		for _, odd := range []any{nil, "text", true, int64(-1), uint64(1), 0.5, []byte{1}, time.Unix(0, 0), []any{nil, "x", []any{}}, dict{}, dict{"x": nil}} {
			if !yield(odd) {
				return
			}
		}
		for odd := range misshapen(value) {
			if !yield(odd) {
				return
			}
		}
	}
}
