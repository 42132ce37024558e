// Package enroll has the documents of the ways in: what a device says of itself before it enrolls ([MachineInfo]), what a
// server answers when it may not yet or must not (the Error… types), and the document of enrollment with single sign-on
// ([SSODocument]).
//
// A device that is not enrolled yet signs with the certificate that it was made with: [ParseMessage] reads what it says, and
// [DeviceCA] tells a genuine device. A [Session] remembers a way in that takes more than one request, as that of
// mdm/enroll/ota and mdm/enroll/ade.
//
// The types are those of Apple's schema. A field that is a pointer, a slice or a map is optional and absent if nil; keys
// that a type does not have go into its field Extra.
//
// A [Recipe] makes enrollment profiles, each with an identity of its own ([Identities]), for every way in and for renewals;
// [Download] hands them out to users. A [ServiceConfig] tells what devices must trust for that, [ServerChain] whether they will
// connect, and [Ends] and [RenewAt] when what they hold has to be replaced.
package enroll

import (
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Errors are the documents that explain a 403 to a device, by their code. Each call makes new ones.
func Errors() map[string]any {
	return map[string]any{
		ErrorPSSORequiredCode:             &ErrorPSSORequired{Code: ErrorPSSORequiredCode},
		ErrorSoftwareUpdateRequiredCode:   &ErrorSoftwareUpdateRequired{Code: ErrorSoftwareUpdateRequiredCode},
		ErrorUnrecognizedDeviceCode:       &ErrorUnrecognizedDevice{Code: ErrorUnrecognizedDeviceCode},
		ErrorWatchPairingTokenMissingCode: &ErrorWatchPairingTokenMissing{Code: ErrorWatchPairingTokenMissingCode},
		ErrorWellKnownFailedCode:          &ErrorWellKnownFailed{Code: ErrorWellKnownFailedCode},
	}
}

// ParseMachineInfo reads the property list that a device sends in a signed message when it asks for an enrollment profile.
// The signature is not looked at. The error is a Malformed one; if errors.As finds a [schema.Mismatches] in it, the
// MachineInfo has what fits.
func ParseMachineInfo(plist []byte) (*MachineInfo, error) {
	const op = "enroll.ParseMachineInfo"
	info := &MachineInfo{}
	wrong, err := schema.DecodePlist(plist, info)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	if len(wrong) > 0 {
		return info, mdm.Errorf(mdm.Malformed, op, "%w", wrong)
	}
	return info, nil
}

// Validate checks one of the documents of this package, typed, against Apple's schema and a target.
func Validate(v interface{ Schema() *schema.Object }, t schema.Target) schema.Findings {
	dict, err := schema.Encode(v)
	if err != nil {
		return schema.Findings{{Rule: schema.RuleType, Text: err.Error()}}
	}
	return schema.Check(v.Schema(), dict, t)
}
