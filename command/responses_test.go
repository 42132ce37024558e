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
		"DevicePropertiesAttestation": []any{[]byte{1}}, "CellularTechnology": uint64(3), "NewQuery": int64(-1)}
	got := decode[command.DeviceInformationResponse](t, dict{"QueryResponses": answers}).QueryResponses
	assert.Equal(t, "18.1", *got.OSVersion)
	assert.InDelta(t, 0.5, *got.BatteryLevel, 0)
	assert.True(t, *got.IsSupervised)
	assert.Equal(t, at, *got.LastCloudBackupDate)
	assert.Equal(t, [][]byte{{1}}, got.DevicePropertiesAttestation)
	assert.Equal(t, int64(3), int64(*got.CellularTechnology))
	assert.Equal(t, dict{"NewQuery": int64(-1)}, got.Extra, "what the schema does not know is kept")
	assert.Nil(t, got.SerialNumber, "absent is absent")
	assert.Zero(t, decode[command.DeviceInformationResponse](t, dict{}).QueryResponses)

	own := decode[struct {
		QueryResponses struct{ OSVersion, SerialNumber string }
	}](t, dict{"QueryResponses": answers})
	assert.Equal(t, "18.1", own.QueryResponses.OSVersion)
	assert.Empty(t, own.QueryResponses.SerialNumber)
}

func TestDecodeProfileList(t *testing.T) {
	t.Parallel()
	got := decode[command.ProfileListResponse](t, dict{"ProfileList": []any{
		dict{"PayloadIdentifier": "a", "PayloadUUID": "U", "PayloadVersion": uint64(1), "HasRemovalPasscode": true, "IsManaged": false,
			"SignerCertificates": []any{[]byte{1}, []byte{2}}, "New": "x",
			"PayloadContent": []any{dict{"PayloadType": "t", "PayloadIdentifier": "i", "PayloadUUID": "u", "PayloadVersion": uint64(1)}}},
		dict{"PayloadIdentifier": "b"},
	}}).ProfileList
	require.Len(t, got, 2)
	assert.Equal(t, "a", got[0].PayloadIdentifier)
	assert.False(t, *got[0].IsManaged)
	assert.Nil(t, got[1].IsManaged)
	assert.Equal(t, [][]byte{{1}, {2}}, got[0].SignerCertificates)
	assert.Equal(t, "t", got[0].PayloadContent[0].PayloadType)
	assert.Equal(t, dict{"New": "x"}, got[0].Extra)
	assert.Empty(t, decode[command.ProfileListResponse](t, dict{"ProfileList": []any{}}).ProfileList)
}

func TestDecodeSecurityInfo(t *testing.T) {
	t.Parallel()
	got := decode[command.SecurityInfoResponse](t, dict{"SecurityInfo": dict{
		"PasscodePresent": false, "HardwareEncryptionCaps": uint64(3), "PasscodeLockGracePeriod": uint64(2147483648),
		"FDE_Enabled": true, "FDE_PersonalRecoveryKeyCMS": []byte{1},
		"ManagementStatus": dict{"EnrolledViaDEP": true},
	}}).SecurityInfo
	assert.False(t, *got.PasscodePresent)
	assert.Equal(t, int64(3), *got.HardwareEncryptionCaps)
	assert.Equal(t, int64(2147483648), *got.PasscodeLockGracePeriod)
	assert.True(t, *got.FDEEnabled)
	assert.Equal(t, []byte{1}, got.FDEPersonalRecoveryKeyCMS)
	assert.True(t, *got.ManagementStatus.EnrolledViaDEP)
	assert.Nil(t, got.PasscodeCompliant, "not sent is not false")
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
