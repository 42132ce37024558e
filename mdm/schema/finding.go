package schema

import (
	"fmt"
	"strings"
)

// Rules is a set of the rules that [Check] knows. The values are stable: they may be stored.
type Rules uint32

// The rules. Those that are marked as warnings never refuse anything.
const (
	RuleRequired       Rules = 1 << iota // a required key is missing, or is an empty string
	RuleType                             // a value of the wrong type
	RuleEnum                             // a value that is not in the list
	RuleRange                            // a number out of its range, or an array with too few or too many items
	RuleFormat                           // a string that does not match its format
	RuleCombination                      // keys that do not go together, or of which one is needed
	RuleUnknown                          // a key or a type that the schema does not know: a warning
	RulePlatform                         // not on this platform
	RuleVersion                          // not in this version of the system yet
	RuleRemoved                          // not in this version any more
	RuleDeprecated                       // Apple advises against it: a warning
	RuleSupervised                       // needs a supervised device
	RuleEnrollment                       // needs another kind of enrollment: automated, user-approved
	RuleChannel                          // not on this channel
	RuleUserEnrollment                   // not in User Enrollment, or only there
	RuleSharedIPad                       // not on a Shared iPad, or only there
	RuleRights                           // the installed MDM profile lacks an access right
	RuleIgnored                          // accepted, without effect: a warning
	ruleEnd
)

// AllRules is every rule.
const AllRules = ruleEnd - 1

// ShapeRules are the rules that need no [Target].
const ShapeRules = RuleRequired | RuleType | RuleEnum | RuleRange | RuleFormat | RuleCombination | RuleUnknown

var ruleNames = [...]string{
	"required", "type", "enum", "range", "format", "combination", "unknown", "platform", "version", "removed", "deprecated",
	"supervised", "enrollment", "channel", "user-enrollment", "shared-ipad", "rights", "ignored",
}

// Has reports whether every rule of r is in s.
func (s Rules) Has(r Rules) bool { return s&r == r }

// String lists the rules by name, as "required|enum".
func (s Rules) String() string {
	var names []string
	for i, name := range ruleNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// ParseRules reads the form of [Rules.String]. Empty text is no rule.
func ParseRules(text string) (Rules, error) {
	var out Rules
	for name := range strings.SplitSeq(text, "|") {
		i := index(name)
		if i < 0 && text != "" {
			return 0, fmt.Errorf("schema: no rule is named %q", name)
		}
		if i >= 0 {
			out |= 1 << i
		}
	}
	return out, nil
}

func index(name string) int {
	for i, n := range ruleNames {
		if n == name {
			return i
		}
	}
	return -1
}

// MarshalText writes the form of String.
func (s Rules) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the form of String.
func (s *Rules) UnmarshalText(text []byte) (err error) {
	*s, err = ParseRules(string(text))
	return err
}

// Finding is one thing that is wrong, or that ought to be known.
type Finding struct {
	Rule    Rules  // one rule
	Path    string // the key, as "Settings[2].Image"; empty: the whole
	Text    string // what is wrong, in words; never a value that was checked
	Warning bool   // to be known; refuses nothing
}

// String is the finding in a line, as "Settings[2].Image: required: the key is missing".
func (f Finding) String() string {
	if f.Path == "" {
		return f.Rule.String() + ": " + f.Text
	}
	return f.Path + ": " + f.Rule.String() + ": " + f.Text
}

// Findings is what a check found, in the order of the keys. As an error it lists those that are no warnings.
type Findings []Finding

// maxListed bounds the text of an error.
const maxListed = 5

// Error lists the first findings that are no warnings.
func (f Findings) Error() string {
	var lines []string
	n := 0
	for _, one := range f {
		if one.Warning {
			continue
		}
		if n++; n <= maxListed {
			lines = append(lines, one.String())
		}
	}
	if n > maxListed {
		lines = append(lines, fmt.Sprintf("and %d more", n-maxListed))
	}
	return strings.Join(lines, "; ")
}

// Err returns f if anything in it is no warning, else nil.
func (f Findings) Err() error {
	for _, one := range f {
		if !one.Warning {
			return f
		}
	}
	return nil
}

// Relaxed returns f with the findings of these rules turned into warnings: how a vendor overrules the schema, which is
// not always right.
func (f Findings) Relaxed(r Rules) Findings {
	out := make(Findings, len(f))
	for i, one := range f {
		one.Warning = one.Warning || r&one.Rule != 0
		out[i] = one
	}
	return out
}

// Of returns the findings of these rules.
func (f Findings) Of(r Rules) Findings {
	var out Findings
	for _, one := range f {
		if one.Rule&r != 0 {
			out = append(out, one)
		}
	}
	return out
}

// Rules returns the rules that f has findings of, without warnings.
func (f Findings) Rules() Rules {
	var out Rules
	for _, one := range f {
		if !one.Warning {
			out |= one.Rule
		}
	}
	return out
}
