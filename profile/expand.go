package profile

import "github.com/gomdm/applemdm/mdm"

// Expand returns a new profile with values in place of the variables of p, which serves as a template and stays as it is. A
// variable is "${name}", of letters, digits, "_", "-" and ".", anywhere in a string value of the profile or its payloads;
// "$${" stands for "${" itself. Keys and PayloadType are never expanded, and what is put in is not expanded again.
//
// Values are put into the tree of values, not into XML: a "<" or "&" in a value is no more than that. A string that is
// nothing but one variable becomes the value, of whatever type: string, bool, integer, float, []byte, time.Time, slice, or
// map with string keys. Within a longer string there may be strings and integers. A template that has "${port}" where a
// type has a number holds it in Extra, as [Parse] reads it; once expanded it goes into its field.
//
// A value that is a [mdm.Secret] stays hidden: it goes into fields that are secrets, alone or in a longer string, and where
// no type says what a key is (in Raw, and in Extra) it is kept as a Secret, which Encode writes as its text. In a key that
// Apple's schema describes and that is no secret, as a display name, it is an error; reveal it if that is what you want.
//
// Payloads keep their types; one of a type of your own comes back as Parse would read it. What is put in may have [MaxSize]
// bytes in all. The error is a Malformed one; errors.As finds the [VariableErrors], which name every variable and key that
// is wrong and no value. An encrypted profile is an error: what is in it cannot be expanded.
func (p *Profile) Expand(values map[string]any) (*Profile, error) {
	const op = "profile.Expand"
	e := expander{lookup: func(name, _ string) (any, bool) {
		v, ok := values[name]
		return v, ok
	}}
	out, err := e.profile(p)
	if err != nil {
		return nil, malformed(op, err)
	}
	if out.Identifier == "" {
		return nil, mdm.Errorf(mdm.Malformed, op, "PayloadIdentifier is empty")
	}
	return out, nil
}
