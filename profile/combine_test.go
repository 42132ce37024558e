package profile_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// Which keys go together, with keys that are right and keys that are not for each rule.
func TestCombinations(t *testing.T) {
	t.Parallel()
	type dict = map[string]any
	for _, tt := range []struct {
		name, kind string
		good, bad  dict
		path       string
		warning    bool
	}{
		{"a mode without an account", profile.TypeMDM, dict{"EnrollmentMode": "ADDE", "AssignedManagedAppleID": "a"}, dict{"EnrollmentMode": "ADDE"}, "AssignedManagedAppleID", false},
		{"rights in User Enrollment", profile.TypeMDM, dict{"EnrollmentMode": "ADDE", "AssignedManagedAppleID": "a", "AccessRights": int64(1)},
			dict{"EnrollmentMode": "BYOD", "AssignedManagedAppleID": "a", "AccessRights": int64(1)}, "AccessRights", false},
		{"a network of no name", profile.TypeWiFi, dict{"DomainName": "d"}, dict{"HIDDEN_NETWORK": true}, "", false},
		{"a proxy without a port", profile.TypeWiFi, dict{"SSID_STR": "s", "ProxyType": "Auto"}, dict{"SSID_STR": "s", "ProxyType": "Manual", "ProxyServer": "p"}, "ProxyServerPort", false},
		{"TLS 1.3 without an outer identity", profile.TypeWiFi, dict{"SSID_STR": "s", "EAPClientConfiguration": dict{"TLSMinimumVersion": "1.2"}},
			dict{"SSID_STR": "s", "EAPClientConfiguration": dict{"TLSMinimumVersion": "1.3"}}, "EAPClientConfiguration.OuterIdentity", true},
		{"a password of an open network", profile.TypeWiFi, dict{"SSID_STR": "s", "EncryptionType": "None"}, dict{"SSID_STR": "s", "EncryptionType": "None", "Password": "p"}, "Password", true},
		{"a global proxy without an address", profile.TypeGlobalHTTPProxy, dict{"ProxyType": "Auto"}, dict{"ProxyType": "Manual", "ProxyServerPort": int64(1)}, "ProxyServer", false},
		{"a VPN of nobody", profile.TypeVPN, dict{"VPNType": "VPN", "VPNSubType": "com.example"}, dict{"VPNType": "VPN"}, "VPNSubType", false},
		{"IKEv2 without its keys", profile.TypeVPN, dict{"VPNType": "IKEv2", "IKEv2": dict{}}, dict{"VPNType": "IKEv2"}, "IKEv2", true},
		{"always on without its keys", profile.TypeVPN, dict{"VPNType": "AlwaysOn", "AlwaysOn": dict{}}, dict{"VPNType": "AlwaysOn"}, "AlwaysOn", true},
		{"a VPN proxy without a port", profile.TypeVPN, dict{"Proxies": dict{"HTTPProxy": "p", "HTTPPort": int64(1)}}, dict{"Proxies": dict{"HTTPProxy": "p"}}, "Proxies.HTTPPort", false},
		{"a secure VPN proxy without a port", profile.TypeVPN, dict{"Proxies": dict{"HTTPSPort": int64(1)}}, dict{"Proxies": dict{"HTTPSProxy": "p"}}, "Proxies.HTTPSPort", false},
		{"a quantum key of no name", profile.TypeVPN, dict{"IKEv2": dict{"PPK": []byte{1}, "PPKIdentifier": "i"}}, dict{"IKEv2": dict{"PPK": []byte{1}}}, "IKEv2.PPKIdentifier", false},
		{"a name of no quantum key", profile.TypeVPN, dict{"IKEv2": dict{}}, dict{"IKEv2": dict{"PPKIdentifier": "i"}}, "IKEv2.PPK", false},
		{"DNS over HTTPS without a URL", profile.TypeDNSSettings, dict{"DNSSettings": dict{"DNSProtocol": "TLS"}}, dict{"DNSSettings": dict{"DNSProtocol": "HTTPS"}}, "DNSSettings.ServerURL", false},
		{"DNS over HTTPS with a name", profile.TypeDNSSettings, dict{"DNSSettings": dict{"DNSProtocol": "TLS", "ServerName": "n"}},
			dict{"DNSSettings": dict{"DNSProtocol": "HTTPS", "ServerURL": "u", "ServerName": "n"}}, "DNSSettings.ServerName", false},
		{"a filter of nobody", profile.TypeWebContentFilter, dict{"FilterType": "BuiltIn"}, dict{"FilterType": "Plugin", "UserDefinedName": "n"}, "PluginBundleID", false},
		{"a socket filter of nobody", profile.TypeWebContentFilter, dict{"FilterSockets": false},
			dict{"FilterSockets": true, "FilterDataProviderBundleIdentifier": "b"}, "FilterDataProviderDesignatedRequirement", true},
		{"a packet filter of nobody", profile.TypeWebContentFilter, dict{"FilterPackets": false},
			dict{"FilterPackets": true, "FilterPacketProviderBundleIdentifier": "b"}, "FilterPacketProviderDesignatedRequirement", true},
		{"a URL filter without parameters", profile.TypeWebContentFilter, dict{"FilterURLs": false}, dict{"FilterURLs": true}, "URLFilterParameters", false},
		{"a redirect from nowhere", profile.TypeExtensibleSSO, dict{"Type": "Redirect", "URLs": []any{"u"}}, dict{"Type": "Redirect"}, "URLs", false},
		{"a credential for nowhere", profile.TypeExtensibleSSO, dict{"Type": "Credential", "Hosts": []any{"h"}}, dict{"Type": "Credential"}, "Hosts", false},
		{"a permission that says nothing", profile.TypePrivacyPreferences, dict{"Services": dict{"Camera": []any{dict{"Allowed": false}}}},
			dict{"Services": dict{"Camera": []any{dict{"Allowed": false}}, "Photos": []any{dict{}}}}, "Services.Photos[0]", false},
		{"a permission that says it twice", profile.TypePrivacyPreferences, dict{"Services": dict{}},
			dict{"Services": dict{"Camera": []any{dict{"Allowed": true, "Authorization": "Allow"}}}}, "Services.Camera[0]", false},
		{"an icon of no app", profile.TypeHomeScreenLayout, dict{"Dock": []any{dict{"Type": "Application", "BundleID": "b"}}}, dict{"Dock": []any{dict{"Type": "Application"}}}, "Dock[0].BundleID", false},
		{"a web clip of nothing", profile.TypeHomeScreenLayout, dict{"Dock": []any{dict{"Type": "Folder"}}}, dict{"Dock": []any{dict{"Type": "WebClip"}}}, "Dock[0].URL", false},
		{"an icon of no app on a page", profile.TypeHomeScreenLayout, dict{"Pages": []any{[]any{}}}, dict{"Pages": []any{[]any{dict{"Type": "Application"}}}}, "Pages[0][0].BundleID", false},
		{"a web clip of nothing on a page", profile.TypeHomeScreenLayout, dict{"Pages": []any{}}, dict{"Pages": []any{[]any{dict{"Type": "WebClip"}}}}, "Pages[0][0].URL", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			of := func(keys dict) schema.Findings {
				return profile.Validate(&profile.Raw{Type: tt.kind, Values: keys}, schema.Target{}).Of(schema.RuleCombination)
			}
			assert.Empty(t, of(tt.good))
			found := of(tt.bad)
			require.Len(t, found, 1)
			assert.Equal(t, tt.path, found[0].Path)
			assert.Equal(t, tt.warning, found[0].Warning)
		})
	}
}
