package profile_test

import (
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
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
		{"a mode without an account", profile.TypeMDM, dict{"EnrollmentMode": "ADDE", "AssignedManagedAppleID": "a"}, dict{"EnrollmentMode": "ADDE"}, "AssignedManagedAppleID", false},
		{"rights in User Enrollment", profile.TypeMDM, dict{"EnrollmentMode": "ADDE", "AssignedManagedAppleID": "a", "AccessRights": int64(1)},
			dict{"EnrollmentMode": "BYOD", "AssignedManagedAppleID": "a", "AccessRights": int64(1)}, "AccessRights", true},
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
			dict{"Services": dict{"Calendar": []any{dict{"Allowed": true, "Authorization": "Allow"}}}}, "Services.Calendar[0]", false},
		{"an icon of no app", profile.TypeHomeScreenLayout, dict{"Dock": []any{dict{"Type": "Application", "BundleID": "b"}}}, dict{"Dock": []any{dict{"Type": "Application"}}}, "Dock[0].BundleID", false},
		{"a web clip of nothing", profile.TypeHomeScreenLayout, dict{"Dock": []any{dict{"Type": "Folder"}}}, dict{"Dock": []any{dict{"Type": "WebClip"}}}, "Dock[0].URL", false},
		{"an icon of no app on a page", profile.TypeHomeScreenLayout, dict{"Pages": []any{[]any{}}}, dict{"Pages": []any{[]any{dict{"Type": "Application"}}}}, "Pages[0][0].BundleID", false},
		{"a web clip of nothing on a page", profile.TypeHomeScreenLayout, dict{"Pages": []any{}}, dict{"Pages": []any{[]any{dict{"Type": "WebClip"}}}}, "Pages[0][0].URL", false},
		{"an attestation of a key in software", profile.TypeACME, dict{"Attest": true, "HardwareBound": true}, dict{"Attest": true, "HardwareBound": false}, "HardwareBound", false},
		{"an RSA key in hardware", profile.TypeACME, dict{"KeyType": "RSA", "HardwareBound": false}, dict{"KeyType": "RSA", "HardwareBound": true}, "KeyType", false},
		{"a curve that hardware does not have", profile.TypeACME, dict{"KeySize": int64(384), "HardwareBound": true}, dict{"KeySize": int64(521), "HardwareBound": true}, "KeySize", false},
		{"a curve of the size of an RSA key", profile.TypeACME, dict{"KeyType": "RSA", "KeySize": int64(2048)}, dict{"KeyType": "ECSECPrimeRandom", "KeySize": int64(2048)}, "KeySize", false},
		{"AirPlay without its password", profile.TypeAirPlaySecurity, dict{"SecurityType": "PASSCODE_ONCE"}, dict{"SecurityType": "PASSWORD"}, "Password", false},
		{"a calendar of nobody", profile.TypeCalDAV, dict{"CalDAVUsername": "anna"}, dict{}, "CalDAVUsername", true},
		{"a cache of nothing", profile.TypeContentCaching, dict{"AllowPersonalCaching": false}, dict{"AllowPersonalCaching": false, "AllowSharedCaching": false}, "AllowSharedCaching", false},
		{"Exchange without services", profile.TypeExchangeActiveSync,
			dict{"UserName": "anna", "EnableMail": false, "EnableContacts": false, "EnableCalendars": false, "EnableReminders": true, "EnableNotes": false},
			dict{"UserName": "anna", "EnableMail": false, "EnableContacts": false, "EnableCalendars": false, "EnableReminders": false, "EnableNotes": false}, "EnableNotes", false},
		{"OAuth with a password", profile.TypeExchangeActiveSync, dict{"UserName": "anna", "OAuth": false, "Password": "p"}, dict{"UserName": "anna", "OAuth": true, "Password": "p"}, "Password", true},
		{"Exchange of nobody", profile.TypeExchangeActiveSync, dict{"UserName": "anna"}, dict{}, "UserName", true},
		{"OAuth with a password on a Mac", profile.TypeExchangeWebServices, dict{"UserName": "anna", "OAuth": true}, dict{"UserName": "anna", "OAuth": true, "Password": "p"}, "Password", true},
		{"Exchange of nobody on a Mac", profile.TypeExchangeWebServices, dict{"UserName": "anna"}, dict{}, "UserName", true},
		{"new users without shared keys", profile.TypeExtensibleSSO, dict{"PlatformSSO": dict{"EnableCreateUserAtLogin": true, "UseSharedDeviceKeys": true}},
			dict{"PlatformSSO": dict{"EnableCreateUserAtLogin": true}}, "PlatformSSO.UseSharedDeviceKeys", false},
		{"new users with shared keys off", profile.TypeExtensibleSSO, dict{"PlatformSSO": dict{"UseSharedDeviceKeys": false}},
			dict{"PlatformSSO": dict{"EnableCreateUserAtLogin": true, "UseSharedDeviceKeys": false}}, "PlatformSSO.UseSharedDeviceKeys", false},
		{"authorization without shared keys", profile.TypeExtensibleSSO, dict{"PlatformSSO": dict{"EnableAuthorization": true, "UseSharedDeviceKeys": true}},
			dict{"PlatformSSO": dict{"EnableAuthorization": true}}, "PlatformSSO.UseSharedDeviceKeys", false},
		{"authorization with shared keys off", profile.TypeExtensibleSSO, dict{"PlatformSSO": dict{"EnableAuthorization": false, "UseSharedDeviceKeys": false}},
			dict{"PlatformSSO": dict{"EnableAuthorization": true, "UseSharedDeviceKeys": false}}, "PlatformSSO.UseSharedDeviceKeys", false},
		{"OpenID without hosts", profile.TypeExtensibleSSO, dict{"PlatformSSO": dict{"AuthenticationMethod": "Password"}},
			dict{"PlatformSSO": dict{"AuthenticationMethod": "OpenID"}}, "PlatformSSO.WebLoginURLAllowList", false},
		{"OpenID for new users without hosts", profile.TypeExtensibleSSO, dict{"PlatformSSO": dict{"NewUserAuthenticationMethods": []any{"Password"}}},
			dict{"PlatformSSO": dict{"NewUserAuthenticationMethods": []any{"Password", "OpenID"}}}, "PlatformSSO.WebLoginURLAllowList", false},
		{"OpenID for all without hosts", profile.TypeExtensibleSSO,
			dict{"PlatformSSO": dict{"AuthenticationMethod": "OpenID", "NewUserAuthenticationMethods": []any{"OpenID"}, "WebLoginURLAllowList": []any{"h"}}},
			dict{"PlatformSSO": dict{"AuthenticationMethod": "OpenID", "NewUserAuthenticationMethods": []any{"OpenID"}}}, "PlatformSSO.WebLoginURLAllowList", false},
		{"an access key without its reader", profile.TypeExtensibleSSO,
			dict{"PlatformSSO": dict{"NewUserAuthenticationMethods": []any{"SmartCard"}}},
			dict{"PlatformSSO": dict{"NewUserAuthenticationMethods": []any{"AccessKey"}, "AccessKeyTerminalIdentityUUID": "u",
				"AccessKeyReaderIssuerCertificateUUID": "u"}}, "PlatformSSO.AccessKeyReaderGroupIdentifier", false},
		{"FileVault for nobody", profile.TypeFileVault, dict{"Enable": "On", "Defer": true}, dict{"Enable": "On"}, "", true},
		{"two sources of credentials", profile.TypeWiFi,
			dict{"SSID_STR": "s", "EAPClientConfiguration": dict{"SystemModeCredentialsSource": "ActiveDirectory", "SystemModeUseOpenDirectoryCredentials": false}},
			dict{"SSID_STR": "s", "EAPClientConfiguration": dict{"SystemModeCredentialsSource": "ActiveDirectory", "SystemModeUseOpenDirectoryCredentials": true}},
			"EAPClientConfiguration.SystemModeUseOpenDirectoryCredentials", false},
		{"a PAC that is not used", profile.TypeWiFi, dict{"SSID_STR": "s", "EAPClientConfiguration": dict{"EAPFASTProvisionPAC": true, "EAPFASTUsePAC": true}},
			dict{"SSID_STR": "s", "EAPClientConfiguration": dict{"EAPFASTProvisionPAC": true}}, "EAPClientConfiguration.EAPFASTUsePAC", true},
		{"a folder's name on an app", profile.TypeHomeScreenLayout, dict{"Dock": []any{dict{"Type": "Folder", "DisplayName": "n", "Pages": []any{}}}},
			dict{"Dock": []any{dict{"Type": "Application", "BundleID": "b", "DisplayName": "n"}}}, "Dock[0].DisplayName", true},
		{"an icon of no app in a folder of the dock", profile.TypeHomeScreenLayout, dict{"Dock": []any{dict{"Type": "Folder", "Pages": []any{[]any{}}}}},
			dict{"Dock": []any{dict{"Type": "Folder", "Pages": []any{[]any{dict{"Type": "Application"}}}}}}, "Dock[0].Pages[0][0].BundleID", false},
		{"a web clip of nothing in a folder", profile.TypeHomeScreenLayout, dict{"Pages": []any{[]any{dict{"Type": "Folder", "Pages": []any{}}}}},
			dict{"Pages": []any{[]any{dict{"Type": "Folder", "Pages": []any{[]any{dict{"Type": "WebClip"}}}}}}}, "Pages[0][0].Pages[0][0].URL", false},
		{"an account without a mode", profile.TypeMDM, dict{}, dict{"AssignedManagedAppleID": "a"}, "EnrollmentMode", true},
		{"an app of the enrollment without a mode", profile.TypeMDM, dict{}, dict{"RequiredAppIDForMDM": int64(1)}, "EnrollmentMode", true},
		{"rights that are ignored", profile.TypeMDM, dict{"ManagedAppleID": "a"}, dict{"ManagedAppleID": "a", "AccessRights": int64(1)}, "AccessRights", true},
		{"an allow list of nothing", profile.TypeParentalControlsContentFilter, dict{"allowListEnabled": false}, dict{"allowListEnabled": true}, "siteAllowList", false},
		{"an older allow list of nothing", profile.TypeParentalControlsContentFilter, dict{"whitelistEnabled": true, "siteWhitelist": []any{}}, dict{"whitelistEnabled": true}, "siteWhitelist", false},
		{"a reset of failures without number", profile.TypePasscode, dict{"minutesUntilFailedLoginReset": int64(5), "maxFailedAttempts": int64(6)},
			dict{"minutesUntilFailedLoginReset": int64(5)}, "maxFailedAttempts", false},
		{"events for nobody", profile.TypePrivacyPreferences,
			dict{"Services": dict{"Calendar": []any{dict{"Allowed": true}}}},
			dict{"Services": dict{"AppleEvents": []any{dict{"Allowed": true, "AEReceiverIdentifierType": "path", "AEReceiverCodeRequirement": "r"}}}},
			"Services.AppleEvents[0].AEReceiverIdentifier", false},
		{"a camera that is allowed", profile.TypePrivacyPreferences, dict{"Services": dict{"Camera": []any{dict{"Allowed": false}}}},
			dict{"Services": dict{"Camera": []any{dict{"Allowed": true}}}}, "Services.Camera[0].Allowed", true},
		{"a microphone that is authorized", profile.TypePrivacyPreferences, dict{"Services": dict{"Microphone": []any{dict{"Authorization": "Deny"}}}},
			dict{"Services": dict{"Microphone": []any{dict{"Authorization": "Allow"}}}}, "Services.Microphone[0].Authorization", true},
		{"events that are heard", profile.TypePrivacyPreferences, dict{"Services": dict{"ListenEvent": []any{dict{"Authorization": "AllowStandardUserToSetSystemService"}}}},
			dict{"Services": dict{"ListenEvent": []any{dict{"Authorization": "Allow"}}}}, "Services.ListenEvent[0].Authorization", true},
		{"a screen that is captured", profile.TypePrivacyPreferences, dict{"Services": dict{"ScreenCapture": []any{}}},
			dict{"Services": dict{"ScreenCapture": []any{dict{"Allowed": true}}}}, "Services.ScreenCapture[0].Allowed", true},
		{"a relay to nowhere", profile.TypeRelay, dict{"Relays": []any{dict{"HTTP2RelayURL": "u", "HTTP3RelayURL": "u"}}}, dict{"Relays": []any{dict{}}}, "Relays[0]", false},
		{"a screen saver without delay", profile.TypeScreenSaver, dict{"askForPassword": true, "askForPasswordDelay": int64(5)}, dict{"askForPassword": true}, "askForPasswordDelay", false},
		{"a delay of no password", profile.TypeScreenSaver, dict{"askForPassword": false}, dict{"askForPasswordDelay": int64(5)}, "askForPassword", true},
		{"Kerberos of nobody", profile.TypeSingleSignOn, dict{"Kerberos": dict{"PrincipalName": "p"}}, dict{"Kerberos": dict{}}, "Kerberos.PrincipalName", true},
		{"a transparent proxy of nobody", profile.TypeVPN, dict{"VPNType": "TransparentProxy", "VPNSubType": "com.example"}, dict{"VPNType": "TransparentProxy"}, "VPNSubType", false},
		{"IPsec without its keys", profile.TypeVPN, dict{"VPNType": "IPSec", "IPSec": dict{}}, dict{"VPNType": "IPSec"}, "IPSec", true},
		{"DNS over HTTPS of a VPN without a URL", profile.TypeVPN, dict{"DNS": dict{"DNSProtocol": "HTTPS", "ServerURL": "u"}}, dict{"DNS": dict{"DNSProtocol": "HTTPS"}}, "DNS.ServerURL", false},
		{"DNS over TLS of a VPN without a name", profile.TypeVPN, dict{"DNS": dict{"DNSProtocol": "Cleartext"}}, dict{"DNS": dict{"DNSProtocol": "TLS"}}, "DNS.ServerName", false},
		{"a certificate of no issuer", profile.TypeVPN, dict{"IKEv2": dict{"CertificateType": "RSA", "ExtendedAuthEnabled": int64(0)}},
			dict{"IKEv2": dict{"CertificateType": "RSA", "ExtendedAuthEnabled": int64(1)}}, "IKEv2.ServerCertificateIssuerCommonName", true},
		{"URLs of no automatic filter", profile.TypeWebContentFilter, dict{"PermittedURLs": []any{"u"}, "AutoFilterEnabled": true}, dict{"PermittedURLs": []any{"u"}}, "AutoFilterEnabled", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			of := func(keys dict) schema.Findings {
				found := profile.Validate(&profile.Raw{Type: tt.kind, Values: keys}, schema.Target{})
				assert.Empty(t, found.Of(schema.RuleUnknown), "a rule about a key that there is not")
				return found.Of(schema.RuleCombination)
			}
			assert.Empty(t, of(tt.good))
			found := of(tt.bad)
			for odd := range misshapen(tt.bad) {
				assert.NotPanics(t, func() { profile.Validate(&profile.Raw{Type: tt.kind, Values: odd.(dict)}, schema.Target{}) }, "%v", odd)
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

// combined are the findings of keys that do not go together, and which of them are warnings.
func combined(t *testing.T, kind string, keys dict) map[string]bool {
	found := profile.Validate(&profile.Raw{Type: kind, Values: keys}, schema.Target{}).Of(schema.RuleCombination)
	out := map[string]bool{}
	for _, f := range found {
		out[f.Path] = f.Warning
	}
	assert.Len(t, out, len(found), "two findings of one key")
	return out
}

// Wired networks have the rules of EAPClientConfiguration, too.
func TestCombinationsOfEthernet(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{profile.TypeFirstActiveEthernet, profile.TypeFirstEthernet, profile.TypeSecondActiveEthernet, profile.TypeSecondEthernet,
		profile.TypeThirdActiveEthernet, profile.TypeThirdEthernet, profile.TypeGlobalEthernet} {
		assert.Empty(t, combined(t, kind, dict{"EAPClientConfiguration": dict{"TLSMinimumVersion": "1.2", "SystemModeUseOpenDirectoryCredentials": true}}), kind)
		assert.Equal(t, map[string]bool{
			"EAPClientConfiguration.OuterIdentity":                         true,
			"EAPClientConfiguration.SystemModeUseOpenDirectoryCredentials": false,
			"EAPClientConfiguration.EAPFASTUsePAC":                         true,
		}, combined(t, kind, dict{"EAPClientConfiguration": dict{"TLSMinimumVersion": "1.3", "EAPFASTProvisionPAC": true,
			"SystemModeCredentialsSource": "ActiveDirectory", "SystemModeUseOpenDirectoryCredentials": true}}), kind)
	}
}

// What a profile can deny, and cannot grant.
func TestCombinationsOfDeniedServices(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"Camera", "Microphone", "ListenEvent", "ScreenCapture"} {
		of := func(entry dict) map[string]bool {
			return combined(t, profile.TypePrivacyPreferences, dict{"Services": dict{service: []any{entry}}})
		}
		at := "Services." + service + "[0]."
		assert.Empty(t, of(dict{"Allowed": false}), service)
		assert.Empty(t, of(dict{"Authorization": "Deny"}), service)
		assert.Equal(t, map[string]bool{at + "Allowed": true}, of(dict{"Allowed": true}))
		assert.Equal(t, map[string]bool{at + "Authorization": true}, of(dict{"Authorization": "Allow"}))
	}
	assert.Empty(t, combined(t, profile.TypePrivacyPreferences, dict{"Services": dict{"Calendar": []any{dict{"Allowed": true}}}}), "others can be granted")
}

// Icons are the same wherever they are.
func TestCombinationsOfIcons(t *testing.T) {
	t.Parallel()
	folder := func(icon dict) dict { return dict{"Type": "Folder", "DisplayName": "n", "Pages": []any{[]any{icon}}} }
	for at, of := range map[string]func(icon dict) dict{
		"Dock[0]":                 func(icon dict) dict { return dict{"Dock": []any{icon}} },
		"Dock[0].Pages[0][0]":     func(icon dict) dict { return dict{"Dock": []any{folder(icon)}} },
		"Pages[0][0]":             func(icon dict) dict { return dict{"Pages": []any{[]any{icon}}} },
		"Pages[0][0].Pages[0][0]": func(icon dict) dict { return dict{"Pages": []any{[]any{folder(icon)}}} },
	} {
		icon := func(icon dict) map[string]bool { return combined(t, profile.TypeHomeScreenLayout, of(icon)) }
		assert.Empty(t, icon(dict{"Type": "Application", "BundleID": "b"}), at)
		assert.Empty(t, icon(dict{"Type": "WebClip", "URL": "u"}), at)
		assert.Equal(t, map[string]bool{at + ".BundleID": false, at + ".DisplayName": true}, icon(dict{"Type": "Application", "DisplayName": "n"}))
		assert.Equal(t, map[string]bool{at + ".URL": false, at + ".DisplayName": true}, icon(dict{"Type": "WebClip", "DisplayName": "n"}))
	}
}

// Apple's own extension may go without hosts: they are optional in its schema.
func TestKerberosWithoutHosts(t *testing.T) {
	t.Parallel()
	found := profile.Validate(&profile.Raw{Type: profile.TypeExtensibleSSO, Values: dict{
		"Type": "Credential", "Realm": "EXAMPLE.COM", "TeamIdentifier": "apple", "ExtensionIdentifier": "com.apple.AppSSOKerberos.KerberosExtension",
	}}, schema.Target{})
	require.NoError(t, found.Err())
}
