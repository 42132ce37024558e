package command_test

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm/schema"
)

const (
	typeMDM      = "com.apple.mdm"
	typePasscode = "com.apple.mobiledevice.passwordpolicy"
	typeWiFi     = "com.apple.wifi.managed"
)

func TestTraitsOfProfiles(t *testing.T) {
	t.Parallel()
	cert, key := signer(t)
	encrypted := plist("<dict><key>EncryptedPayloadContent</key><data>MAA=</data></dict>")
	tests := map[string]struct {
		profile []byte
		want    command.Traits
	}{
		"MDM":                   {profileOf(typeMDM), command.ReplacesMDM},
		"MDM among others":      {profileOf(typeWiFi, typePasscode, typeMDM), command.ReplacesMDM},
		"passcode":              {profileOf(typePasscode), command.PasscodeOnly},
		"passcodes":             {profileOf(typePasscode, typePasscode), command.PasscodeOnly},
		"passcode and Wi-Fi":    {profileOf(typePasscode, typeWiFi), 0},
		"passcode and MDM":      {profileOf(typePasscode, typeMDM), command.ReplacesMDM},
		"Wi-Fi":                 {profileOf(typeWiFi), 0},
		"no payloads":           {profileOf(), 0},
		"a type that begins so": {profileOf(typeMDM + ".not"), 0},
		"encrypted":             {encrypted, 0},
		"not a profile":         {[]byte("hello"), 0},
		"an array":              {plist("<array/>"), 0},
		"odd content":           {plist("<dict><key>PayloadContent</key><string>x</string></dict>"), 0},
		"odd payload":           {plist("<dict><key>PayloadContent</key><array><string>x</string></array></dict>"), 0},
		"broken signature":      {[]byte{0x30, 0x80, 0x00}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, item := prepared(t, command.Order{Command: command.InstallProfile{Payload: tt.profile}})
			assert.Equal(t, tt.want, item.Traits, "plain")
			_, item = prepared(t, command.Order{Command: command.Raw(item.Body)})
			assert.Equal(t, tt.want, item.Traits, "as a raw command")
			for form, o := range map[string]cms.SignOptions{"DER": {}, "BER": {Indefinite: true}, "SHA-512": {Hash: crypto.SHA512}} {
				signed, err := cms.Sign(tt.profile, cert, key, o)
				require.NoError(t, err)
				_, item = prepared(t, command.Order{Command: command.InstallProfile{Payload: signed}})
				if want := tt.want; name != "broken signature" {
					assert.Equal(t, want, item.Traits, form)
				}
			}
		})
	}
	t.Run("binary", func(t *testing.T) {
		t.Parallel()
		profile := binary(t, dict{"PayloadContent": []any{dict{"PayloadType": typeMDM, "Other": uint64(1)}}})
		_, item := prepared(t, command.Order{Command: command.InstallProfile{Payload: profile}})
		assert.Equal(t, command.ReplacesMDM, item.Traits)
	})
	t.Run("detached signature", func(t *testing.T) {
		t.Parallel()
		signed, err := cms.Sign(profileOf(typeMDM), cert, key, cms.SignOptions{Detached: true})
		require.NoError(t, err)
		_, item := prepared(t, command.Order{Command: command.InstallProfile{Payload: signed}})
		assert.Zero(t, item.Traits)
	})
}

func TestTraitsOfCommands(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		command command.Command
		want    command.Traits
	}{
		"erase":                    {command.EraseDevice{}, command.Erases},
		"raw erase":                {raw("<key>RequestType</key><string>EraseDevice</string>"), command.Erases},
		"device configured":        {command.DeviceConfigured{}, command.EndsSetup},
		"user configured":          {command.UserConfigured{}, command.EndsSetup},
		"lock":                     {command.DeviceLock{}, 0},
		"a profile of a text":      {raw("<key>RequestType</key><string>InstallProfile</string><key>Payload</key><string>x</string>"), 0},
		"an MDM profile, removed":  {command.RemoveProfile{Identifier: typeMDM}, 0},
		"another one's own Erases": {raw("<key>RequestType</key><string>erasedevice</string>"), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, item := prepared(t, command.Order{Command: tt.command, Relax: schema.RuleType})
			assert.Equal(t, tt.want, item.Traits)
		})
	}
}
