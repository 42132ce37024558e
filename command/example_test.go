package command_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/storage/memory"
)

// A command is queued for many in one call. Who cannot have it is named and does not hinder the others.
func ExampleEnqueuer() {
	var store command.Enqueuer = memory.New().Stores().Command
	receipt, err := store.Enqueue(context.Background(), command.Order{
		Command:  command.DeviceLock{Message: new("Please bring me back"), PIN: mdm.SecretString("123456")},
		To:       mdm.IDs(mdm.EnrollmentID{Device: "00008103-000A"}),
		UUID:     "lock-4711", // the same order may be repeated after a lost answer: it is queued once
		Priority: command.Security,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(receipt.UUID, "queued:", receipt.Queued)
	for _, r := range receipt.Refused {
		fmt.Println("refused:", r.Enrollment)
	}
	// Output:
	// lock-4711 queued: 0
	// refused: 00008103-000A
}

// What a store does first with an order.
func ExamplePrepare() {
	item, err := command.Prepare(command.Order{Command: command.RemoveProfile{Identifier: "com.example.wifi"}, UUID: "4711"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(item.RequestType, item.UUID)
	fmt.Println(strings.SplitN(string(item.Body), "\n", 3)[2])

	_, err = command.Prepare(command.Order{Command: command.RemoveProfile{}})
	fmt.Println(err)
	// Output:
	// RemoveProfile 4711
	// <plist version="1.0">
	// 	<dict>
	// 		<key>Command</key>
	// 		<dict>
	// 			<key>Identifier</key>
	// 			<string>com.example.wifi</string>
	// 			<key>RequestType</key>
	// 			<string>RemoveProfile</string>
	// 		</dict>
	// 		<key>CommandUUID</key>
	// 		<string>4711</string>
	// 	</dict>
	// </plist>
	//
	// command.Prepare: malformed: RemoveProfile: Identifier: required: the key is missing
}

// A command that the package does not know, as a property list.
func ExampleRaw() {
	c := command.Raw(`<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict>
	<key>RequestType</key><string>OfNextYear</string>
	<key>Key</key><string>value</string>
</dict></plist>`)
	item, err := command.Prepare(command.Order{Command: c})
	fmt.Println(item.RequestType, len(item.UUID), err)
	// Output: OfNextYear 36 <nil>
}

// What a device cannot do is refused before it is queued, with the key and the rule.
func ExampleValidate() {
	phone := schema.Target{Platform: schema.IOS, OSVersion: "16.5", Channel: mdm.DeviceChannel, Supervised: schema.False, Rights: mdm.InspectProfiles | mdm.Erase}
	erase := command.EraseDevice{
		ObliterationBehavior: new(command.EraseDeviceObliterationBehaviorAlways),
		ReturnToService:      &command.EraseDeviceReturnToService{Enabled: true, WiFiProfileData: []byte("a profile")},
	}
	for _, f := range command.Validate(erase, phone) {
		fmt.Println(f)
	}
	fmt.Println(command.Validate(command.RestartDevice{}, phone).Err())
	// Output:
	// ObliterationBehavior: platform: not on iOS
	// ReturnToService: version: needs iOS 17.0, the device has 16.5
	// supervised: needs a supervised device; rights: the MDM profile lacks the access right LockAndPasscode
}

// Every command has a form in JSON, so that an API over HTTP or gRPC needs no types of its own.
func ExampleDecodeJSON() {
	c, err := command.DecodeJSON([]byte(`{
		"RequestType": "Settings",
		"Settings": [{"Item": "DeviceName", "DeviceName": "Lobby"}, {"Item": "Wallpaper", "Image": "iVBORw==", "Where": 3}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	settings := c.(*command.Settings).Settings
	fmt.Println(settings[0].DeviceName.DeviceName, len(settings[1].Wallpaper.Image), "bytes")
	data, err := command.EncodeJSON(c)
	fmt.Println(string(data), err)
	// Output:
	// Lobby 4 bytes
	// {"RequestType":"Settings","Settings":[{"DeviceName":"Lobby","Item":"DeviceName"},{"Image":"iVBORw==","Item":"Wallpaper","Where":3}]} <nil>
}

// The answer to a command as its type. What an odd device sends is kept in Extra, and the rest can be read.
func ExampleDecodeResponse() {
	response, err := command.DecodeResponse("DeviceInformation", []byte(`<plist version="1.0"><dict>
	<key>Status</key><string>Acknowledged</string>
	<key>QueryResponses</key><dict>
		<key>OSVersion</key><string>18.1</string>
		<key>BatteryLevel</key><string>full</string>
	</dict>
</dict></plist>`))
	answers := response.(*command.DeviceInformationResponse).QueryResponses
	fmt.Println(*answers.OSVersion, answers.IsSupervised == nil, answers.Extra["BatteryLevel"])
	fmt.Println(err)
	// Output:
	// 18.1 true full
	// QueryResponses.BatteryLevel is no real
}

// SetRecoveryLock is a command as if the package did not have it. It holds a secret, so that it says how it is encoded.
type SetRecoveryLock struct{ NewPassword mdm.Secret }

func (SetRecoveryLock) RequestType() string { return "SetRecoveryLock" }

func (c SetRecoveryLock) MarshalPlist() (any, error) {
	return map[string]string{"NewPassword": string(c.NewPassword.Reveal())}, nil
}

// A command of your own. Without secrets, plist tags are enough.
func ExampleCommand() {
	item, err := command.Prepare(command.Order{Command: SetRecoveryLock{mdm.SecretString("open sesame")}})
	fmt.Println(item.RequestType, strings.Contains(string(item.Body), "<string>open sesame</string>"), err)
	// Output: SetRecoveryLock true <nil>
}

func ExampleParseResult() {
	result, err := command.ParseResult([]byte(`<plist version="1.0"><dict>
	<key>UDID</key><string>00008103-000A</string>
	<key>CommandUUID</key><string>4711</string>
	<key>Status</key><string>Error</string>
	<key>ErrorChain</key><array><dict>
		<key>ErrorCode</key><integer>12075</integer>
		<key>ErrorDomain</key><string>MCMDMErrorDomain</string>
		<key>LocalizedDescription</key><string>Das Profil „com.example.wifi“ ist nicht installiert.</string>
	</dict></array>
</dict></plist>`))
	if err != nil {
		fmt.Println(err) // no property list
		return
	}
	fmt.Println(result.CommandUUID, result.Status)
	var failed *command.Error
	if errors.As(result.Err(), &failed) {
		fmt.Println(failed)                        // for logs
		fmt.Println(failed.Chain[0].Description()) // for people
	}
	// Output:
	// 4711 Error
	// command: the device answered Error: MCMDMErrorDomain 12075
	// Das Profil „com.example.wifi“ ist nicht installiert.
}

// Absent is not false: a nil pointer is a key that the device did not send.
func ExampleDecodeResult() {
	var r command.SecurityInfoResponse
	err := command.DecodeResult([]byte(`<plist version="1.0"><dict>
	<key>Status</key><string>Acknowledged</string>
	<key>SecurityInfo</key><dict>
		<key>FDE_Enabled</key><true/>
		<key>ManagementStatus</key><dict><key>EnrolledViaDEP</key><false/></dict>
	</dict>
</dict></plist>`), &r)
	s := r.SecurityInfo
	fmt.Println(*s.FDEEnabled, *s.ManagementStatus.EnrolledViaDEP, s.PasscodePresent == nil, err)
	// Output: true false true <nil>
}

// exchange is an Exchanger without a database.
type exchange func(r *command.Report) *command.Offer

func (f exchange) Exchange(_ context.Context, r *command.Report, admit func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	if v := admit(&identity.Standing{Denied: "stolen"}); v.Err != nil {
		return nil, v.Err
	}
	return f(r), nil
}

// The service asks the store, and the store asks who is calling, inside its transaction.
func ExampleService() {
	s := &command.Service{Store: exchange(func(*command.Report) *command.Offer { return nil })}
	_, err := s.Report(context.Background(), &command.Request{
		ID: mdm.EnrollmentID{Device: "00008103-000A"}, Channel: mdm.DeviceChannel, Status: command.StatusIdle,
	})
	fmt.Println(mdm.CodeOf(err))
	// Output: forbidden
}

// An application of your own is installed by a manifest, which is a property list at a URL.
func ExampleManifest() {
	manifest := command.Manifest{Items: []command.ManifestItem{{
		Assets: []command.ManifestAsset{{Kind: command.ManifestAssetKindSoftwarePackage, URL: "https://example.com/app.ipa"}},
	}}}
	data, err := schema.EncodePlist(manifest)
	fmt.Println(strings.Contains(string(data), "<string>software-package</string>"), err)
	// Output: true <nil>
}
