package ddm_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Which keys go together, with keys that are right and keys that are not for each rule.
func TestCombinations(t *testing.T) {
	t.Parallel()
	type dict = map[string]any
	for _, tt := range []struct {
		name, kind string
		good, bad  dict
		path       string
	}{
		{"no app", ddm.TypeAppManaged, dict{"BundleID": "b"}, dict{}, ""},
		{"two apps", ddm.TypeAppManaged, dict{"AppStoreID": "1"}, dict{"AppStoreID": "1", "ManifestURL": "u"}, ""},
		{"no profile", ddm.TypeLegacy, dict{"ProfileURL": "u"}, dict{}, ""},
		{"two profiles", ddm.TypeLegacyInteractive, dict{"ProfileAssetReference": "a"}, dict{"ProfileURL": "u", "ProfileAssetReference": "a"}, ""},
		{"DNS over HTTPS without a URL", ddm.TypeNetworkDNSSettings, dict{"DNSSettings": dict{"DNSProtocol": "TLS"}}, dict{"DNSSettings": dict{"DNSProtocol": "HTTPS"}}, "DNSSettings.ServerURL"},
		{"DNS over HTTPS with a name", ddm.TypeNetworkDNSSettings, dict{"DNSSettings": dict{"DNSProtocol": "TLS", "ServerName": "n"}},
			dict{"DNSSettings": dict{"DNSProtocol": "HTTPS", "ServerURL": "u", "ServerName": "n"}}, "DNSSettings.ServerName"},
		{"a bookmark of nothing", ddm.TypeSafariBookmarks, dict{"ManagedBookmarks": []any{dict{"Bookmarks": []any{dict{"URL": "u"}}}}},
			dict{"ManagedBookmarks": []any{dict{"Bookmarks": []any{dict{"Title": "t"}}}}}, "ManagedBookmarks[0].Bookmarks[0]"},
		{"a home page of nothing", ddm.TypeSafariSettings, dict{"NewTabStartPage": dict{"PageType": "Home", "HomepageURL": "u"}}, dict{"NewTabStartPage": dict{"PageType": "Home"}}, "NewTabStartPage.HomepageURL"},
		{"a page of no extension", ddm.TypeSafariSettings, dict{"NewTabStartPage": dict{"PageType": "Start"}}, dict{"NewTabStartPage": dict{"PageType": "Extension"}}, "NewTabStartPage.ExtensionIdentifier"},
		{"a beta that is offered and required", ddm.TypeSoftwareUpdateSettings, dict{"Beta": dict{"OfferPrograms": []any{}}},
			dict{"Beta": dict{"OfferPrograms": []any{}, "RequireProgram": dict{}}}, "Beta"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			of := func(keys dict) schema.Findings {
				return ddm.Validate(&ddm.Raw{Type: tt.kind, Values: keys}, schema.Target{}).Of(schema.RuleCombination)
			}
			assert.Empty(t, of(tt.good))
			found := of(tt.bad)
			require.Len(t, found, 1)
			assert.Equal(t, tt.path, found[0].Path)
			assert.False(t, found[0].Warning)
		})
	}
}
