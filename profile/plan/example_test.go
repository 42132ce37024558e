package plan_test

import (
	"fmt"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/plan"
)

// A device has an old version of a policy and a network that nobody wants any more; an account is to be added.
func Example() {
	passcode := &profile.Profile{Identifier: "com.example.passcode", Payloads: []profile.Payload{&profile.Passcode{ForcePIN: new(true)}}}
	mail := &profile.Profile{Identifier: "com.example.mail", Payloads: []profile.Payload{&profile.ExchangeActiveSync{Host: new("mail.example.com")}}}
	profiles := map[string]*profile.Profile{}
	for _, p := range []*profile.Profile{passcode, mail} {
		if err := plan.Stamp(p); err != nil { // so that the device tells which content it has
			fmt.Println(err)
		}
		profiles[p.Identifier] = p
	}
	policy, account := plan.Of(passcode), plan.Of(mail)
	policy.Weight, account.Weight = plan.Restriction, plan.Capability
	account.Requires = []string{policy.Identifier} // no mail without a passcode

	answer := command.ProfileListResponse{ProfileList: []command.ProfileListItem{ // the device's answer to a ProfileList
		listed("com.example.mdm", profile.TypeMDM), listed("com.example.passcode", profile.TypePasscode), listed("com.example.wifi", profile.TypeWiFi),
	}}
	p, err := plan.Make([]plan.Desired{account, policy}, plan.FromProfileList(answer), plan.Options{Owns: plan.Under("com.example")})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range p.Drift {
		fmt.Println(d.Identifier, "is", d.Kind)
	}
	commands, err := p.Commands(func(identifier string) ([]byte, error) { return profiles[identifier].Encode() })
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, c := range commands { // queue them in this order
		fmt.Println(c.RequestType(), p.Steps[i].Identifier)
	}
	// Output:
	// com.example.mail is missing
	// com.example.passcode is outdated
	// com.example.wifi is unexpected
	// InstallProfile com.example.passcode
	// InstallProfile com.example.mail
	// RemoveProfile com.example.wifi
}

func listed(identifier, payloadType string) command.ProfileListItem {
	return command.ProfileListItem{PayloadIdentifier: identifier, PayloadUUID: "an old one", IsManaged: new(true),
		PayloadContent: []command.ProfileListPayloadContentItem{{PayloadType: payloadType}}}
}
