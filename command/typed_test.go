package command_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

type dict = map[string]any

// What goes over the wire, key by key: once with everything set, once with nothing that is optional.
func TestTypedCommands(t *testing.T) {
	t.Parallel()
	pin := mdm.SecretString("123456")
	tests := []struct {
		command command.Command
		kind    string
		want    dict
	}{
		{command.DeviceInformation{Queries: []command.DeviceInformationQuery{"OSVersion", "UDID"}}, "DeviceInformation", dict{"Queries": []any{"OSVersion", "UDID"}}},
		{command.ProfileList{ManagedOnly: new(true)}, "ProfileList", dict{"ManagedOnly": true}},
		{command.ProfileList{}, "ProfileList", dict{}},
		{command.InstallProfile{Payload: []byte{0, 1}}, "InstallProfile", dict{"Payload": []byte{0, 1}}},
		{command.RemoveProfile{Identifier: "com.example"}, "RemoveProfile", dict{"Identifier": "com.example"}},
		{command.SecurityInfo{}, "SecurityInfo", dict{}},
		{command.CertificateList{ManagedOnly: new(true)}, "CertificateList", dict{"ManagedOnly": true}},
		{command.CertificateList{}, "CertificateList", dict{}},
		{command.InstalledApplicationList{Identifiers: []string{"a"}, Items: []command.InstalledApplicationListKey{"Name"}, ManagedAppsOnly: new(true)}, "InstalledApplicationList",
			dict{"Identifiers": []any{"a"}, "Items": []any{"Name"}, "ManagedAppsOnly": true}},
		{command.InstalledApplicationList{}, "InstalledApplicationList", dict{}},
		{command.DeviceLock{Message: new("m"), PhoneNumber: new("p"), PIN: pin}, "DeviceLock", dict{"Message": "m", "PhoneNumber": "p", "PIN": "123456"}},
		{command.DeviceLock{}, "DeviceLock", dict{}},
		{command.EraseDevice{PIN: pin, PreserveDataPlan: new(true), DisallowProximitySetup: new(true),
			ObliterationBehavior: new(command.EraseDeviceObliterationBehaviorAlways), ReturnToService: &command.EraseDeviceReturnToService{Enabled: true, WiFiProfileData: []byte("w"), MDMProfileData: []byte("m"),
				BootstrapToken: mdm.SecretString("b"), ShouldRetryEnrollment: new(true)}}, "EraseDevice",
			dict{"PIN": "123456", "PreserveDataPlan": true, "DisallowProximitySetup": true, "ObliterationBehavior": "Always",
				"ReturnToService": dict{"Enabled": true, "WiFiProfileData": []byte("w"), "MDMProfileData": []byte("m"),
					"BootstrapToken": []byte("b"), "ShouldRetryEnrollment": true}}},
		{command.EraseDevice{ReturnToService: &command.EraseDeviceReturnToService{}}, "EraseDevice", dict{"ReturnToService": dict{"Enabled": false}}},
		{command.EraseDevice{}, "EraseDevice", dict{}},
		{command.ClearPasscode{UnlockToken: mdm.NewSecret([]byte{0, 0xff})}, "ClearPasscode", dict{"UnlockToken": []byte{0, 0xff}}},
		{command.RestartDevice{RebuildKernelCache: new(true), KextPaths: []string{"/a"}, NotifyUser: new(true)}, "RestartDevice",
			dict{"RebuildKernelCache": true, "KextPaths": []any{"/a"}, "NotifyUser": true}},
		{command.RestartDevice{}, "RestartDevice", dict{}},
		{command.ShutDownDevice{}, "ShutDownDevice", dict{}},
		{command.DeviceConfigured{}, "DeviceConfigured", dict{}},
		{command.UserConfigured{}, "UserConfigured", dict{}},
		{command.DeclarativeManagement{Data: []byte("{}")}, "DeclarativeManagement", dict{"Data": []byte("{}")}},
		{command.DeclarativeManagement{}, "DeclarativeManagement", dict{}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %d", tt.kind, len(tt.want)), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.kind, tt.command.RequestType())
			got, _ := prepared(t, command.Order{Command: tt.command})
			tt.want["RequestType"] = tt.kind
			assert.Equal(t, tt.want, got)
		})
	}
}

// A secret leaves a command by Prepare only: no other encoder and no formatting shows it.
func TestTypedSecrets(t *testing.T) {
	t.Parallel()
	const text = "TOP-SECRET"
	secret := mdm.SecretString(text)
	for _, c := range []command.Command{
		command.DeviceLock{PIN: secret},
		command.ClearPasscode{UnlockToken: secret},
		command.EraseDevice{PIN: secret, ReturnToService: &command.EraseDeviceReturnToService{BootstrapToken: secret}},
	} {
		t.Run(c.RequestType(), func(t *testing.T) {
			t.Parallel()
			_, err := plistx.Marshal(c)
			require.ErrorIs(t, err, mdm.ErrSecret)
			inside, _ := plistx.Marshal(dict{"Inside": c}) // the codec does not ask what is in an interface; still nothing shows
			assert.NotContains(t, string(inside), text)
			assert.NotContains(t, string(inside), "VE9QLVNFQ1JFVA", "as data")
			_, err = json.Marshal(c)
			require.ErrorIs(t, err, mdm.ErrSecret)
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
				assert.NotContains(t, fmt.Sprintf(format, command.Order{Command: c}), text)
				assert.NotContains(t, fmt.Sprintf(format, c), "544f50")
			}
			_, item := prepared(t, command.Order{Command: c})
			require.NotEmpty(t, item.Body)
			assert.Equal(t, text, string(secret.Reveal()))
		})
	}
}
