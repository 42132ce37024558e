package command_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// report is a report with the keys, and a few that no response type has.
func report(t *testing.T, keys dict) []byte {
	t.Helper()
	keys["Status"], keys["CommandUUID"], keys["UDID"], keys["NewKey"] = "Acknowledged", "u", "D", dict{"A": uint64(1)}
	return binary(t, keys)
}

func decode[T any](t *testing.T, keys dict) T {
	t.Helper()
	var v T
	require.NoError(t, command.DecodeResult(report(t, keys), &v))
	return v
}

func TestDecodeDeviceInformation(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	answers := dict{"OSVersion": "18.1", "BatteryLevel": 0.5, "IsSupervised": true, "ModemFirmwareVersion": "1", "LastCloudBackupDate": at,
		"DevicePropertiesAttestation": []any{[]byte{1}}, "CellularTechnology": uint64(3), "Negative": int64(-1)}
	got := decode[command.DeviceInformationResponse](t, dict{"QueryResponses": answers})
	assert.Equal(t, map[string]any(answers), got.QueryResponses)
	assert.NotContains(t, got.QueryResponses, "SerialNumber", "absent is absent")
	assert.Nil(t, decode[command.DeviceInformationResponse](t, dict{}).QueryResponses)

	own := decode[struct {
		QueryResponses struct{ OSVersion, SerialNumber string }
	}](t, dict{"QueryResponses": answers})
	assert.Equal(t, "18.1", own.QueryResponses.OSVersion)
	assert.Empty(t, own.QueryResponses.SerialNumber)
}

func TestDecodeProfileList(t *testing.T) {
	t.Parallel()
	got := decode[command.ProfileListResponse](t, dict{"ProfileList": []any{
		dict{"PayloadIdentifier": "a", "PayloadUUID": "U", "PayloadVersion": uint64(1), "PayloadDisplayName": "A", "PayloadDescription": "d",
			"PayloadOrganization": "o", "PayloadRemovalDisallowed": true, "HasRemovalPasscode": true, "IsEncrypted": true, "IsManaged": false,
			"SignerCertificates": []any{[]byte{1}, []byte{2}}, "Source": "Declarative Device Management", "New": "x",
			"PayloadContent": []any{dict{"PayloadType": "t", "PayloadIdentifier": "i", "PayloadUUID": "u", "PayloadVersion": uint64(1)}}},
		dict{"PayloadIdentifier": "b"},
	}})
	no := false
	assert.Equal(t, []command.InstalledProfile{
		{PayloadIdentifier: "a", PayloadUUID: "U", PayloadVersion: 1, PayloadDisplayName: "A", PayloadDescription: "d", PayloadOrganization: "o",
			PayloadRemovalDisallowed: true, HasRemovalPasscode: true, IsEncrypted: true, IsManaged: &no, SignerCertificates: [][]byte{{1}, {2}},
			Source:         "Declarative Device Management",
			PayloadContent: []command.InstalledPayload{{PayloadType: "t", PayloadIdentifier: "i", PayloadUUID: "u", PayloadVersion: 1}}},
		{PayloadIdentifier: "b"},
	}, got.ProfileList)
	assert.Empty(t, decode[command.ProfileListResponse](t, dict{"ProfileList": []any{}}).ProfileList)
}

func TestDecodeSecurityInfo(t *testing.T) {
	t.Parallel()
	got := decode[command.SecurityInfoResponse](t, dict{"SecurityInfo": dict{
		"PasscodePresent": false, "HardwareEncryptionCaps": uint64(3), "PasscodeLockGracePeriod": uint64(2147483648),
		"FDE_Enabled": true, "FDE_HasPersonalRecoveryKey": true, "FDE_HasInstitutionalRecoveryKey": false,
		"FDE_PersonalRecoveryKeyCMS": []byte{1}, "FDE_PersonalRecoveryKeyDeviceKey": "C02",
		"BootstrapTokenAllowedForAuthentication": "allowed", "IsRecoveryLockEnabled": true,
		"FirewallSettings":       dict{"FirewallEnabled": true, "Applications": []any{dict{"Allowed": true, "BundleID": "b"}}},
		"FirmwarePasswordStatus": dict{"PasswordExists": false}, "ManagementStatus": dict{"EnrolledViaDEP": true},
		"SecureBoot": dict{"SecureBootLevel": "medium", "ReducedSecurity": dict{"AllowsMDM": true}},
	}}).SecurityInfo
	yes, no := true, false
	three, grace := int64(3), int64(2147483648)
	assert.Equal(t, command.SecurityStatus{
		PasscodePresent: &no, HardwareEncryptionCaps: &three, PasscodeLockGracePeriod: &grace,
		FDEEnabled: &yes, FDEHasPersonalRecoveryKey: &yes, FDEHasInstitutionalRecoveryKey: &no, FDEPersonalRecoveryKeyCMS: []byte{1},
		FDEPersonalRecoveryKeyDevice: "C02", BootstrapTokenAllowedForAuthentication: "allowed", IsRecoveryLockEnabled: &yes,
		FirewallSettings:       &command.FirewallSettings{FirewallEnabled: &yes, Applications: []command.FirewallApplication{{Allowed: &yes, BundleID: "b"}}},
		FirmwarePasswordStatus: &command.FirmwarePasswordStatus{PasswordExists: &no}, ManagementStatus: &command.ManagementStatus{EnrolledViaDEP: &yes},
		SecureBoot: &command.SecureBoot{SecureBootLevel: "medium", ReducedSecurity: dict{"AllowsMDM": true}},
	}, got)
	assert.Zero(t, decode[command.SecurityInfoResponse](t, dict{}), "nothing sent, nothing false")
	list := decode[command.SecurityInfoResponse](t, dict{"SecurityInfo": dict{"SecureBoot": dict{"ReducedSecurity": []any{"AllowsMDM"}}}})
	assert.Equal(t, []any{"AllowsMDM"}, list.SecurityInfo.SecureBoot.ReducedSecurity, "the other form")
}

func TestDecodeLists(t *testing.T) {
	t.Parallel()
	certificates := decode[command.CertificateListResponse](t, dict{"CertificateList": []any{dict{"CommonName": "n", "IsIdentity": true, "Data": []byte{1}}}})
	assert.Equal(t, []command.InstalledCertificate{{CommonName: "n", IsIdentity: true, Data: []byte{1}}}, certificates.CertificateList)

	applications := decode[command.InstalledApplicationListResponse](t, dict{"InstalledApplicationList": []any{
		dict{"Identifier": "a", "Name": "A", "Version": "1", "ShortVersion": "1.0", "Path": "/A", "BundleSize": uint64(5 << 30), "BetaApp": false, "IsAppClip": true},
		dict{"Name": "B"},
	}})
	size, no := int64(5<<30), false
	assert.Equal(t, []command.InstalledApplication{
		{Identifier: "a", Name: "A", Version: "1", ShortVersion: "1.0", Path: "/A", BundleSize: &size, BetaApp: &no, IsAppClip: true},
		{Name: "B"},
	}, applications.InstalledApplicationList)

	assert.Equal(t, "NoPasscodeSet", decode[command.DeviceLockResponse](t, dict{"MessageResult": "NoPasscodeSet"}).MessageResult)
}

func TestDecodeResultMalformed(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"no list": []byte("TOP-SECRET"), "another type": report(t, dict{"SecurityInfo": "TOP-SECRET"}),
		"another type inside": report(t, dict{"SecurityInfo": dict{"PasscodePresent": "TOP-SECRET"}}),
	} {
		var v command.SecurityInfoResponse
		err := command.DecodeResult(raw, &v)
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		assert.NotContains(t, err.Error(), "TOP-SECRET", name)
	}
	require.Error(t, command.DecodeResult(report(t, dict{}), command.SecurityInfoResponse{}), "not a pointer")
	require.Error(t, command.DecodeResult(report(t, dict{}), nil))
}
