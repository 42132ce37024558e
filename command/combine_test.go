package command_test

import (
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Which keys go together, with a command that is right and one that is not for each rule.
func TestCombinations(t *testing.T) {
	t.Parallel()
	secret := mdm.SecretString("s")
	type unlock = command.RotateFileVaultKeyFileVaultUnlock
	for _, tt := range []struct {
		name string
		good command.Command
		bad  command.Command
		path string
	}{
		{"an app from nowhere", command.InstallApplication{Identifier: new("com.example")}, command.InstallApplication{}, ""},
		{"an app from two places", command.InstallApplication{ManifestURL: new("https://example.com")},
			command.InstallApplication{ITunesStoreID: new(int64(1)), ManifestURL: new("https://example.com")}, ""},
		{"a package from nowhere", command.InstallEnterpriseApplication{Manifest: dict{"items": []any{}}}, command.InstallEnterpriseApplication{}, ""},
		{"a managed app that is not", command.InstallApplication{Identifier: new("com.example"), ChangeManagementState: new("Managed")},
			command.InstallApplication{Identifier: new("com.example"), ChangeManagementState: new("Managed"), InstallAsManaged: new(false)}, "InstallAsManaged"},
		{"a package from two places", command.InstallEnterpriseApplication{ManifestURL: new("https://example.com")},
			command.InstallEnterpriseApplication{Manifest: dict{"items": []any{}}, ManifestURL: new("https://example.com")}, ""},
		{"a lost device that says nothing", command.EnableLostMode{PhoneNumber: new("1")}, command.EnableLostMode{Footnote: new("f")}, ""},
		{"nobody to delete", command.DeleteUser{DeleteAllUsers: new(true)}, command.DeleteUser{}, ""},
		{"nobody to delete, said so", command.DeleteUser{UserName: new("anna"), DeleteAllUsers: new(false)}, command.DeleteUser{DeleteAllUsers: new(false)}, "UserName"},
		{"nothing to unlock with", command.RotateFileVaultKey{KeyType: "personal", FileVaultUnlock: unlock{Password: secret}},
			command.RotateFileVaultKey{KeyType: "personal"}, "FileVaultUnlock"},
		{"a key without its password", command.RotateFileVaultKey{KeyType: "personal", FileVaultUnlock: unlock{PrivateKeyExport: secret, PrivateKeyExportPassword: secret}},
			command.RotateFileVaultKey{KeyType: "personal", FileVaultUnlock: unlock{PrivateKeyExport: secret}}, "FileVaultUnlock.PrivateKeyExportPassword"},
		{"an institutional key without a certificate",
			command.RotateFileVaultKey{KeyType: "institutional", FileVaultUnlock: unlock{Password: secret}, NewCertificate: []byte{1}},
			command.RotateFileVaultKey{KeyType: "institutional", FileVaultUnlock: unlock{Password: secret}}, "NewCertificate"},
		{"a Mac without an account", command.AccountConfiguration{SkipPrimarySetupAccountCreation: new(false)},
			command.AccountConfiguration{SkipPrimarySetupAccountCreation: new(true)}, "AutoSetupAdminAccounts"},
		{"a Mac without an administrator", command.AccountConfiguration{}, command.AccountConfiguration{SetPrimarySetupAccountAsRegularUser: new(true)}, "AutoSetupAdminAccounts"},
		{"names that are locked, and not filled in", command.AccountConfiguration{LockPrimaryAccountInfo: new(true), DontAutoPopulatePrimaryAccountInfo: new(false)},
			command.AccountConfiguration{LockPrimaryAccountInfo: new(true), DontAutoPopulatePrimaryAccountInfo: new(true)}, "DontAutoPopulatePrimaryAccountInfo"},
		{"mirroring to nowhere", command.RequestMirroring{DestinationName: new("n")}, command.RequestMirroring{}, ""},
		{"a book from nowhere", command.InstallMedia{MediaType: "Book", ITunesStoreID: new(int64(1))}, command.InstallMedia{MediaType: "Book"}, ""},
		{"a book from two places", command.InstallMedia{MediaType: "Book", MediaURL: new("https://example.com"), PersistentID: new("p")},
			command.InstallMedia{MediaType: "Book", MediaURL: new("https://example.com"), PersistentID: new("p"), ITunesStoreID: new(int64(1))}, ""},
		{"a book of no name", command.RemoveMedia{MediaType: "Book", PersistentID: new("p")}, command.RemoveMedia{MediaType: "Book"}, ""},
		{"an update of nothing", command.ScheduleOSUpdate{Updates: []command.ScheduleOSUpdateUpdate{{InstallAction: "Default", ProductVersion: new("14.1")}}},
			command.ScheduleOSUpdate{Updates: []command.ScheduleOSUpdateUpdate{{InstallAction: "Default"}}}, "Updates[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, command.Validate(tt.good, schema.Target{}).Err())
			found := command.Validate(tt.bad, schema.Target{})
			require.Equal(t, schema.RuleCombination, found.Rules(), "%s", found)
			assert.Equal(t, tt.path, found.Of(schema.RuleCombination)[0].Path)
			_, err := command.Prepare(command.Order{Command: tt.bad})
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			_, err = command.Prepare(command.Order{Command: tt.bad, Relax: schema.RuleCombination})
			assert.NoError(t, err)
			for odd := range misshapen(commandOf(t, tt.bad)) {
				message, err := plistx.Marshal(odd)
				require.NoError(t, err)
				assert.NotPanics(t, func() { command.Validate(command.Raw(message), schema.Target{}) }, "%v", odd)
			}
		})
	}
}

// commandOf returns the Command dictionary of a command.
func commandOf(t *testing.T, c command.Command) dict {
	keys, err := schema.Encode(c)
	require.NoError(t, err)
	keys["RequestType"] = c.RequestType()
	return keys
}

// What is only to be known, as a server cannot tell, or the device makes do with it.
func TestCombinationWarnings(t *testing.T) {
	t.Parallel()
	type update = command.ScheduleOSUpdateUpdate
	url := new("https://example.com")
	for name, tt := range map[string]struct {
		good, bad command.Command
		path      string
	}{
		"it may have Ethernet": {command.EraseDevice{ReturnToService: &command.EraseDeviceReturnToService{}},
			command.EraseDevice{ReturnToService: &command.EraseDeviceReturnToService{Enabled: true}}, "ReturnToService.WiFiProfileData"},
		"a pin for nothing": {command.InstallEnterpriseApplication{ManifestURL: url, ManifestURLPinningCerts: [][]byte{{1}}},
			command.InstallEnterpriseApplication{Manifest: dict{"items": []any{}}, ManifestURLPinningCerts: [][]byte{{1}}}, "ManifestURL"},
		"a package that may be managed": {command.InstallEnterpriseApplication{ManifestURL: url, ChangeManagementState: new("Managed"), InstallAsManaged: new(true)},
			command.InstallEnterpriseApplication{ManifestURL: url, ChangeManagementState: new("Managed")}, "InstallAsManaged"},
		"a managed package that is not": {command.InstallEnterpriseApplication{ManifestURL: url, InstallAsManaged: new(false)},
			command.InstallEnterpriseApplication{ManifestURL: url, ChangeManagementState: new("Managed"), InstallAsManaged: new(false)}, "InstallAsManaged"},
		"a book without an id of its own": {command.InstallMedia{MediaType: "Book", MediaURL: url, PersistentID: new("p")},
			command.InstallMedia{MediaType: "Book", MediaURL: url}, "PersistentID"},
		"what cannot be put off": {command.ScheduleOSUpdate{Updates: []update{{InstallAction: "InstallLater", ProductKey: new("k"), MaxUserDeferrals: new(int64(3))}}},
			command.ScheduleOSUpdate{Updates: []update{{InstallAction: "Default", ProductKey: new("k"), MaxUserDeferrals: new(int64(3))}}}, "Updates[0].MaxUserDeferrals"},
		"extensions of no kernel cache": {command.RestartDevice{KextPaths: []string{"/k"}, RebuildKernelCache: new(true)},
			command.RestartDevice{KextPaths: []string{"/k"}}, "RebuildKernelCache"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Empty(t, command.Validate(tt.good, schema.Target{}).Of(schema.RuleCombination))
			found := command.Validate(tt.bad, schema.Target{})
			require.NoError(t, found.Err())
			require.Len(t, found.Of(schema.RuleCombination), 1)
			assert.Equal(t, tt.path, found.Of(schema.RuleCombination)[0].Path)
			for odd := range misshapen(commandOf(t, tt.bad)) {
				message, err := plistx.Marshal(odd)
				require.NoError(t, err)
				assert.NotPanics(t, func() { command.Validate(command.Raw(message), schema.Target{}) }, "%v", odd)
			}
		})
	}
}

// An empty password clears one where Apple says so, and is missing where it does not.
func TestEmptyPasswords(t *testing.T) {
	t.Parallel()
	cleared, _ := prepared(t, command.Order{Command: command.SetRecoveryLock{CurrentPassword: mdm.SecretString("old")}})
	assert.Equal(t, dict{"RequestType": "SetRecoveryLock", "CurrentPassword": "old", "NewPassword": ""}, cleared)
	typed, err := command.Typed(raw(`<key>RequestType</key><string>SetFirmwarePassword</string><key>NewPassword</key><string></string>`))
	require.NoError(t, err)
	assert.Equal(t, &command.SetFirmwarePassword{}, typed)
	_, err = command.Prepare(command.Order{Command: command.VerifyRecoveryLock{}})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

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
		for _, odd := range []any{"text", true, int64(-1), uint64(1), 0.5, []byte{1}, time.Unix(0, 0), []any{"x", []any{}}, dict{}, dict{"x": "x"}} {
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
