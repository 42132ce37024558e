package lint

import "slices"

// Rule is one thing that a Linter looks for.
type Rule struct {
	Name     string   `json:"name"`
	Scope    Scope    `json:"scope"`
	Severity Severity `json:"severity"` // of a finding, if nothing speaks against it
	Title    string   `json:"title"`    // what the rule asks
	Why      string   `json:"why"`
	Fix      string   `json:"fix"`
	Source   string   `json:"source"` // whose rule it is
}

// Scope says what a rule looks at.
type Scope string

// The scopes.
const (
	ScopeFile    Scope = "file"    // how a profile is packed: CheckBytes
	ScopeProfile Scope = "profile" // one profile
	ScopeSet     Scope = "set"     // the profiles of a device together, also a single one
	ScopeFleet   Scope = "fleet"   // the profiles of several devices: CheckFleet
	ScopeUpdate  Scope = "update"  // a profile and its successor: CheckUpdate
)

// Whose rules they are.
const (
	bestPractices = "Apple, MDM Best Practices"
	mdmPayload    = "Apple, com.apple.mdm"
	schemaSource  = "Apple, device management schema"
	topLevel      = "Apple, TopLevel and CommonPayloadKeys"
	ours          = "this library"
)

// Rules lists every rule.
func Rules() []Rule {
	return slices.Concat(fileRules, initialRules, profileRules, setRules, updateRules, schemaRules)
}

// RuleNamed returns the rule of a name.
func RuleNamed(name string) (Rule, bool) {
	for _, rules := range [][]Rule{fileRules, initialRules, profileRules, setRules, updateRules, schemaRules} {
		for i := range rules {
			if rules[i].Name == name {
				return rules[i], true
			}
		}
	}
	return Rule{Name: name, Severity: Error}, false
}

var fileRules = []Rule{
	{
		"malformed", ScopeFile, Error, "A profile can be read.",
		"A device refuses what is no property list of PayloadType Configuration, with a PayloadIdentifier and payloads.",
		"Repair the file; build profiles with a library rather than by hand.", topLevel,
	},
	{
		"signature", ScopeFile, Error, "The signature of a signed profile verifies.",
		"A device refuses a profile that was changed after it was signed.",
		"Sign again, and do not change what was signed.", topLevel,
	},
	{
		"unsigned", ScopeFile, Info, "A profile is signed.",
		"A device shows an unsigned profile as not verified, and whoever passes it on can change it. Installed by MDM it is as safe as the connection.",
		"Sign what users download or get by mail.", bestPractices,
	},
	{
		"signer-expired", ScopeFile, Warning, "The certificate of the signer is good today.",
		"A device shows the profile as not verified. Installed profiles are not affected, and through MDM a new signer may replace them.",
		"Sign with a current certificate.", bestPractices,
	},
	{
		"common-keys", ScopeFile, Error, "Profile and payloads have an identifier, a UUID and version 1.",
		"A device refuses them otherwise, and tells profiles and payloads apart by these keys.",
		"Add the keys, with UUIDs that stay the same when the profile is made again.", topLevel,
	},
	{
		"encrypted", ScopeProfile, Info, "The payloads of a profile can be seen.",
		"What is encrypted for a device cannot be checked.",
		"Check the profile before it is encrypted.", ours,
	},
}
