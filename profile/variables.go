package profile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Variable is one that a profile uses.
type Variable struct {
	Name  string
	Paths []string // the keys whose values use it, as "PayloadContent[0].Password", in order
}

// Variables lists the variables that a profile uses, by name; see [Profile.Expand]. The error is a Malformed one, with
// [VariableErrors] for what follows "${" and is no variable.
func (p *Profile) Variables() ([]Variable, error) {
	const op = "profile.Variables"
	used := map[string]*Variable{}
	e := expander{lookup: func(name, path string) (any, bool) {
		v := used[name]
		if v == nil {
			v = &Variable{Name: name}
			used[name] = v
		}
		if len(v.Paths) == 0 || v.Paths[len(v.Paths)-1] != path {
			v.Paths = append(v.Paths, path)
		}
		return "", true
	}}
	if _, err := e.profile(p); err != nil {
		return nil, malformed(op, err)
	}
	out := make([]Variable, 0, len(used))
	for _, v := range used {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// VariableError is a use of a variable that is not possible.
type VariableError struct {
	Name string // empty if what follows "${" is no name, and for what has to do with the whole
	Path string // the key whose value uses it, as "PayloadContent[0].Password"
	Rule string // a stable name: one of the Variable… constants
	Text string // what is wrong, in words; never a value
}

// The values of VariableError.Rule.
const (
	VariableUnknown = "unknown" // there is no value for it
	VariableSyntax  = "syntax"  // what follows "${" is no name with "}" after it; "$${" stands for "${"
	VariableType    = "type"    // its value has no form in a property list, or none within a longer string
	VariableSecret  = "secret"  // its value is a secret, and the key is not one
	VariableSize    = "size"    // the profile would become too large or be nested too deeply
)

// Error says it in a line.
func (e VariableError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: %s", e.Path, e.Text)
	}
	return fmt.Sprintf("%s: ${%s} %s", e.Path, e.Name, e.Text)
}

// VariableErrors are all that is wrong with the variables of a profile, in the order of the profile.
type VariableErrors []VariableError

// Error lists the first of them.
func (e VariableErrors) Error() string {
	const most = 10
	var parts []string
	for i, one := range e {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(e)-i))
			break
		}
		parts = append(parts, one.Error())
	}
	return strings.Join(parts, "; ")
}

// Unknown returns the names of the variables that have no value, each once, in order.
func (e VariableErrors) Unknown() []string {
	var out []string
	for _, one := range e {
		if one.Rule == VariableUnknown {
			out = append(out, one.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// part is a piece of a string: text, or a variable.
type part struct {
	text string
	name string // of the variable; empty: text
}

// maxName is the length of the longest name of a variable.
const maxName = 64

// cutVariables takes a string apart at its variables. ok is false if a "${" is not the beginning of one.
func cutVariables(s string) (parts []part, ok bool) {
	from := 0
	var literal strings.Builder
	for {
		i := strings.Index(s[from:], "${")
		if i < 0 {
			break
		}
		i += from
		if i > from && s[i-1] == '$' { // "$${": the dollar before is the escape
			literal.WriteString(s[from : i-1])
			literal.WriteString("${")
			from = i + 2
			continue
		}
		n := nameLength(s[i+2:])
		if n == 0 || i+2+n >= len(s) || s[i+2+n] != '}' {
			return nil, false
		}
		literal.WriteString(s[from:i])
		if literal.Len() > 0 {
			parts = append(parts, part{text: literal.String()})
			literal.Reset()
		}
		parts = append(parts, part{name: s[i+2 : i+2+n]})
		from = i + 2 + n + 1
	}
	literal.WriteString(s[from:])
	if literal.Len() > 0 {
		parts = append(parts, part{text: literal.String()})
	}
	return parts, true
}

// nameLength returns how much of s is a name: letters, digits, "_", "-" and ".", and no digit, "-" or "." in front.
func nameLength(s string) int {
	n := 0
	for n < len(s) && n < maxName {
		c := s[n]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (n == 0 || !(c == '-' || c == '.' || c >= '0' && c <= '9')) {
			break
		}
		n++
	}
	return n
}
