package practice

import (
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
)

// What the identifiers of [PasscodeDeclarations] end with, behind the prefix.
const (
	passcodeSuffix       = ".passcode"
	passcodeStatusSuffix = ".status"
	passcodeOnSuffix     = ".on"
	passcodeGateSuffix   = ".gate"
)

// passcodePredicate is true while the device keeps its passcode policies (status item passcode.is-compliant).
const passcodePredicate = "@status(passcode.is-compliant) == TRUE"

// PasscodeDeclarations returns the declarations by which a device itself gives and takes what waits for a compliant passcode:
// the policy as a configuration, a subscription to the status of the passcode, an activation that is always on for these, and one
// for the gated configurations (their identifiers) that is on while the device is compliant. Add the gated ones themselves, but no
// other activation of them. [Passcode] does so, with a ddm.Responder that serves them.
//
// Their identifiers are prefix with ".passcode", ".passcode.status", ".passcode.on" and ".passcode.gate", and their server tokens
// follow from what they hold. The error is Malformed: nothing is gated, or an identifier is empty or too long.
func PasscodeDeclarations(prefix string, policy ddm.PasscodeSettings, gated ...string) ([]ddm.Declaration, error) {
	const op = "practice.PasscodeDeclarations"
	name := prefix + passcodeSuffix
	if longest := passcodeSuffix + passcodeStatusSuffix; prefix == "" || len(prefix+longest) > ddm.MaxIdentifier {
		return nil, mdm.Errorf(mdm.Malformed, op, "the prefix is empty, or longer than %d bytes", ddm.MaxIdentifier-len(longest))
	}
	if len(gated) == 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "no configuration waits for the passcode")
	}
	for _, id := range gated {
		if id == "" || len(id) > ddm.MaxIdentifier || id == name || id == name+passcodeStatusSuffix {
			return nil, mdm.Errorf(mdm.Malformed, op, "%q cannot be a gated configuration", id)
		}
	}
	list := []ddm.Declaration{
		{Identifier: name, Payload: &policy},
		{Identifier: name + passcodeStatusSuffix, Payload: declaredSubscription(ddm.ItemPasscodeIsCompliant, ddm.ItemPasscodeIsPresent)},
		{Identifier: name + passcodeOnSuffix, Payload: &ddm.ActivationSimple{StandardConfigurations: []string{name, name + passcodeStatusSuffix}}},
		{Identifier: name + passcodeGateSuffix, Payload: &ddm.ActivationSimple{StandardConfigurations: gated, Predicate: new(passcodePredicate)}},
	}
	for i := range list {
		token, err := ddm.ContentToken(list[i])
		if err != nil {
			return nil, err
		}
		list[i].ServerToken = token
	}
	return list, nil
}
