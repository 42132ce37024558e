package practice

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
)

// passcodePredicate is true while the device keeps its passcode policies (status item passcode.is-compliant).
const passcodePredicate = "@status(passcode.is-compliant) == TRUE"

// PasscodeDeclarations returns the declarations by which a device itself gives and takes what waits for a compliant passcode:
// the policy as a configuration, an activation that is always on for it, and one for the gated configurations (their
// identifiers) that is on while the device is compliant. Add the gated ones themselves, but no other activation of them.
//
// Their identifiers are prefix with ".passcode", ".passcode.on" and ".passcode.gate", and their server tokens follow from what
// they hold. The error is Malformed: nothing is gated, or an identifier is empty or too long.
func PasscodeDeclarations(prefix string, policy ddm.PasscodeSettings, gated ...string) ([]ddm.Declaration, error) {
	const op = "practice.PasscodeDeclarations"
	name := prefix + ".passcode"
	if prefix == "" || len(name+".gate") > ddm.MaxIdentifier {
		return nil, mdm.Errorf(mdm.Malformed, op, "the prefix is empty, or longer than %d bytes", ddm.MaxIdentifier-len(".passcode.gate"))
	}
	if len(gated) == 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "no configuration waits for the passcode")
	}
	for _, id := range gated {
		if id == "" || len(id) > ddm.MaxIdentifier || id == name {
			return nil, mdm.Errorf(mdm.Malformed, op, "%q cannot be a gated configuration", id)
		}
	}
	list := []ddm.Declaration{
		{Identifier: name, Payload: &policy},
		{Identifier: name + ".on", Payload: &ddm.ActivationSimple{StandardConfigurations: []string{name}}},
		{Identifier: name + ".gate", Payload: &ddm.ActivationSimple{StandardConfigurations: gated, Predicate: new(passcodePredicate)}},
	}
	for i := range list {
		data, err := json.Marshal(list[i])
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		list[i].ServerToken = hex.EncodeToString(sum[:16])
	}
	return list, nil
}
