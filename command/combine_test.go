package command_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
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
		{"mirroring to nowhere", command.RequestMirroring{DestinationName: new("n")}, command.RequestMirroring{}, ""},
		{"a book from nowhere", command.InstallMedia{MediaType: "Book", ITunesStoreID: new(int64(1))}, command.InstallMedia{MediaType: "Book"}, ""},
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
		})
	}
	wifi := command.EraseDevice{ReturnToService: &command.EraseDeviceReturnToService{Enabled: true}}
	assert.Len(t, command.Validate(wifi, schema.Target{}).Of(schema.RuleCombination), 1)
	require.NoError(t, command.Validate(wifi, schema.Target{}).Err(), "it may have Ethernet")
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
