package command_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm/schema"
)

// answers are reports as devices send them: DeviceInformation of about 4 KB, InstalledApplicationList of about 200 KB.
func answers(b *testing.B) map[string][]byte {
	b.Helper()
	information := plist("<dict>" + str("Status", "Acknowledged") + str("CommandUUID", "U") + str("UDID", "D") +
		"<key>QueryResponses</key><dict>" + queries() + "</dict></dict>")
	var apps strings.Builder
	for i := range 400 {
		apps.WriteString("<dict>" + str("Identifier", fmt.Sprintf("com.example.application%d", i)) + str("Name", "Application") + str("Version", "1.2.3") +
			str("ShortVersion", "1.2") + "<key>BundleSize</key><integer>104857600</integer><key>DynamicSize</key><integer>4096</integer>" +
			"<key>IsValidated</key><true/><key>Installing</key><false/><key>AppStoreVendable</key><true/><key>DeviceBasedVPP</key><false/>" +
			"<key>BetaApp</key><false/><key>AdHocCodeSigned</key><false/><key>HasUpdateAvailable</key><false/></dict>\n")
	}
	list := plist("<dict>" + str("Status", "Acknowledged") + str("CommandUUID", "U") + str("UDID", "D") +
		"<key>InstalledApplicationList</key><array>" + apps.String() + "</array></dict>")
	require.InEpsilon(b, 4<<10, len(information), 0.1)
	require.InEpsilon(b, 200<<10, len(list), 0.1)
	return map[string][]byte{"DeviceInformation": information, "InstalledApplicationList": list}
}

func queries() string {
	var all strings.Builder
	for _, key := range []string{"DeviceName", "OSVersion", "BuildVersion", "ModelName", "Model", "ProductName", "SerialNumber", "UDID", "IMEI", "MEID",
		"ModemFirmwareVersion", "ICCID", "BluetoothMAC", "WiFiMAC", "CurrentCarrierNetwork", "SIMCarrierNetwork", "SubscriberCarrierNetwork",
		"CarrierSettingsVersion", "PhoneNumber", "CurrentMCC", "CurrentMNC", "SubscriberMCC", "SubscriberMNC", "EASDeviceIdentifier", "ModelNumber",
		"TimeZone", "SoftwareUpdateDeviceID", "SupplementalBuildVersion", "SupplementalOSVersionExtra", "LocalHostName", "HostName"} {
		all.WriteString(str(key, "the value of "+key+" on this very device, I say"))
	}
	for _, key := range []string{"IsSupervised", "IsDeviceLocatorServiceEnabled", "IsActivationLockEnabled", "IsDoNotDisturbInEffect", "IsCloudBackupEnabled",
		"IsMDMLostModeEnabled", "DataRoamingEnabled", "VoiceRoamingEnabled", "PersonalHotspotEnabled", "IsRoaming", "IsNetworkTethered", "IsMultiUser",
		"IsAppleSilicon", "AwaitingConfiguration", "iTunesStoreAccountIsActive", "SupportsiOSAppInstalls", "SupportsLOMDevice"} {
		all.WriteString("<key>" + key + "</key><true/>")
	}
	for _, key := range []string{"BatteryLevel", "DeviceCapacity", "AvailableDeviceCapacity"} {
		all.WriteString("<key>" + key + "</key><real>12.5</real>")
	}
	return all.String()
}

func BenchmarkDecodeResponse(b *testing.B) {
	for kind, data := range answers(b) {
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := command.DecodeResponse(kind, data)
				require.NoError(b, err)
			}
		})
	}
}

// What is left when the property list is read: from the tree of values into the type, and back.
func BenchmarkResponseTree(b *testing.B) {
	for kind, data := range answers(b) {
		result, err := command.ParseResult(data)
		require.NoError(b, err)
		b.Run("decode/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := result.Response(kind)
				require.NoError(b, err)
			}
		})
		response, err := result.Response(kind)
		require.NoError(b, err)
		b.Run("encode/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := schema.Encode(response)
				require.NoError(b, err)
			}
		})
		b.Run("json/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := schema.EncodeJSON(response)
				require.NoError(b, err)
			}
		})
	}
}

// A profile of 50 KB on its way into a queue, and read back from one.
func BenchmarkInstallProfile(b *testing.B) {
	c := command.InstallProfile{Payload: bytes.Repeat([]byte{0xa5}, 50<<10)}
	item, err := command.Prepare(command.Order{Command: c})
	require.NoError(b, err)
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(c.Payload)))
		b.ReportAllocs()
		for b.Loop() {
			_, err := command.Prepare(command.Order{Command: c})
			require.NoError(b, err)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(item.Body)))
		b.ReportAllocs()
		for b.Loop() {
			_, err := command.Typed(command.Raw(item.Body))
			require.NoError(b, err)
		}
	})
}

// What it costs a fan-out to check one more target, and a delivery to see that nothing has changed.
func BenchmarkCheck(b *testing.B) {
	object, _ := command.SchemaOf("Settings")
	full := command.New("Settings")
	schema.Decode(synth.Full(object), full)
	target := schema.Target{Platform: schema.IOS, OSVersion: "26.0", Supervised: schema.True}
	for name, c := range map[string]command.Command{"SecurityInfo": command.SecurityInfo{}, "AllSettings": full} {
		item, err := command.Prepare(command.Order{Command: c, Relax: schema.AllRules})
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, item.Check(target))
			}
		})
	}
	b.Run("Digest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			target.Digest()
		}
	})
}
