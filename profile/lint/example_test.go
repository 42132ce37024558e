package lint_test

import (
	"fmt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/lint"
)

func ExampleLinter_Check() {
	p := &profile.Profile{Identifier: "com.example.office", Payloads: []profile.Payload{
		&profile.ExchangeWebServices{EmailAddress: new("a@example.com"), UserName: new("a")},
		&profile.LDAP{LDAPAccountHostName: "ldap.${domain}"},
		&profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://ca.example.com/scep", Challenge: mdm.SecretString("once")}},
	}}
	l := lint.Linter{
		Disable: []string{"pairing"},
		Target:  schema.Target{Platform: schema.IOS, OSVersion: "18.0"},
	}
	for _, f := range l.Check(p) {
		fmt.Println(f)
		if f.Rule == "scep-key" {
			fmt.Println("  why:", f.Why)
			fmt.Println("  fix:", f.Fix)
		}
	}
	// Output:
	// warning: PayloadContent[2].PayloadContent.Keysize: is under 2048 bits, as Apple's default is (scep-key)
	//   why: The default is 1024 bits, which is not safe any more.
	//   fix: Set Keysize to 2048 or 4096.
	// warning: PayloadContent[1]: account number 2 of the profile (one-account)
	// error: PayloadContent[1].LDAPAccountHostName: holds a ${variable} that nothing was put in place of (variable)
	// error: PayloadContent[0]: not on iOS (schema-platform)
}

// What is fine in each profile may not be fine on one device, or in a fleet.
func ExampleLinter_CheckFleet() {
	network := func(key byte) []*profile.Profile {
		return []*profile.Profile{{Identifier: "com.example.network", Payloads: []profile.Payload{&profile.PKCS12{PayloadContent: []byte{key}}}}}
	}
	for _, f := range (lint.Linter{}).CheckFleet(map[string][]*profile.Profile{"laptop": network(1), "phone": network(2), "tablet": network(1)}) {
		fmt.Println(f.Device, f)
	}
	// Output: tablet error: PayloadContent[0].PayloadContent: the device laptop has the same (identity-shared)
}
