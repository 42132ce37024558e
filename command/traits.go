package command

import (
	"bytes"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
)

// traits looks into a command. A profile that cannot be read, as an encrypted one, has none: that is no error, because
// the device may read it. The signature of a profile is not verified: it is the operator's own.
func traits(kind string, dict map[string]any) Traits {
	switch kind {
	case "EraseDevice":
		return Erases
	case "DeviceConfigured", "UserConfigured":
		return EndsSetup
	case "InstallProfile":
		payload, _ := dict["Payload"].([]byte)
		return profileTraits(payload)
	}
	return 0
}

func profileTraits(data []byte) Traits {
	if bytes.HasPrefix(data, []byte{0x30}) { // an ASN.1 SEQUENCE: signed
		signed, err := cms.ParseSigned(data, cms.Limits{Bytes: MaxBody})
		if err != nil {
			return 0
		}
		data = signed.Content
	}
	var profile struct {
		PayloadContent []struct{ PayloadType string }
	}
	if err := plistx.UnmarshalLimits(data, &profile, plistx.Limits{Bytes: MaxBody}); err != nil || len(profile.PayloadContent) == 0 {
		return 0
	}
	passcodes := 0
	for _, p := range profile.PayloadContent {
		switch p.PayloadType {
		case "com.apple.mdm":
			return ReplacesMDM
		case "com.apple.mobiledevice.passwordpolicy":
			passcodes++
		}
	}
	if passcodes == len(profile.PayloadContent) {
		return PasscodeOnly
	}
	return 0
}
