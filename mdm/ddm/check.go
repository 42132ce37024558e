package ddm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Rule is a rule for the declarations of one enrollment.
type Rule string

// The rules. Apple: declarative management; "Leveraging the declarative management data model to scale devices".
const (
	RuleTooMany    Rule = "too-many"   // more than MaxDeclarations
	RuleTooLarge   Rule = "too-large"  // over MaxDeclaration, or all together over MaxSet
	RuleType       Rule = "type"       // the type is of no kind that there is
	RuleIdentifier Rule = "identifier" // Identifier or ServerToken: empty, over 64 bytes, no printable ASCII; an Identifier has no "/" and no space
	RulePayload    Rule = "payload"    // there is none, or it cannot be written
	RuleTwice      Rule = "twice"      // two have the identifier, of whatever kind they are
	RuleMissing    Rule = "missing"    // it names another that is not there
	RuleKind       Rule = "kind"       // it names another that is of the wrong kind or type
)

// texts are the rules in words.
var texts = map[Rule]string{
	RuleTooMany: fmt.Sprintf("more than %d declarations", MaxDeclarations), RuleTooLarge: "too large", RuleType: "the type is of no kind",
	RuleIdentifier: "the identifier or the server token cannot be used", RulePayload: "the payload is missing or cannot be written",
	RuleTwice: "the identifier is there twice", RuleMissing: "it names what is not there", RuleKind: "it names what is of the wrong type",
}

// Problem is one thing that is wrong with a set.
type Problem struct {
	Rule       Rule
	Identifier string // of the declaration; empty: of the whole set
	Reference  string // the identifier that it names, if that is the problem
}

// String describes the problem.
func (p Problem) String() string {
	out := texts[p.Rule]
	if p.Identifier != "" {
		out = fmt.Sprintf("%.80q: ", p.Identifier) + out
	}
	if p.Reference != "" {
		out += fmt.Sprintf(": %.80q", p.Reference)
	}
	return out
}

// SetError says why declarations cannot be published together. Its code is mdm.Malformed.
type SetError struct{ Problems []Problem }

// Error names the first problems.
func (e *SetError) Error() string {
	const most = 5
	var list []string
	for _, p := range e.Problems[:min(len(e.Problems), most)] {
		list = append(list, p.String())
	}
	if more := len(e.Problems) - most; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return "ddm: " + strings.Join(list, "; ")
}

// Unwrap gives the error its code.
func (e *SetError) Unwrap() error { return &mdm.Error{Code: mdm.Malformed, Op: "ddm.Check"} }

// Check looks whether declarations can be published together to one enrollment: their number and sizes, identifiers that are
// there once, and what they name. An activation names configurations, and a key AssetReference, or one that ends like that, an
// asset of a type that Apple's schema allows for it; an empty one names nothing. The error is a *[SetError] with all problems.
//
// It does not look into payloads, nor who may have them: see [Declaration.Validate].
func Check(list []Declaration) error {
	_, err := NewSet(list)
	return err
}

// twice finds identifiers that are there more than once.
func (s *Set) twice() (out []Problem) {
	for i := 1; i < len(s.items); i++ {
		same := s.items[i].Identifier == s.items[i-1].Identifier
		if same && (i == 1 || s.items[i-2].Identifier != s.items[i].Identifier) {
			out = append(out, Problem{Identifier: s.items[i].Identifier, Rule: RuleTwice})
		}
	}
	return out
}

// dangling finds references to what is not there.
func (s *Set) dangling() (out []Problem) {
	types := make(map[string]string, len(s.items))
	for _, it := range s.items {
		types[it.Identifier] = it.Payload.DeclarationType()
	}
	for _, it := range s.items {
		for _, r := range it.references() {
			found, there := types[r.to]
			switch {
			case !there:
				out = append(out, Problem{Identifier: it.Identifier, Reference: r.to, Rule: RuleMissing})
			case KindOf(found) != r.kind, len(r.types) > 0 && New(found) != nil && !slices.Contains(r.types, found):
				out = append(out, Problem{Identifier: it.Identifier, Reference: r.to, Rule: RuleKind})
			}
		}
	}
	return out
}

// reference is one declaration naming another.
type reference struct {
	to    string
	kind  Kind
	types []string // that are allowed; nil: any
}

func (it *item) references() (out []reference) {
	if it.kind == Activation {
		for _, to := range texted(it.payload["StandardConfigurations"]) {
			out = append(out, reference{to: to, kind: Configuration})
		}
	}
	var known []schema.Key
	if form, ok := New(it.Payload.DeclarationType()).(described); ok {
		known = form.Schema().Keys
	}
	return gather(out, it.payload, known)
}

// gather walks a payload. known are the keys that the schema has there; elsewhere names alone say what is a reference.
func gather(out []reference, dict map[string]any, known []schema.Key) []reference {
	for _, name := range sortedKeys(dict) {
		value := dict[name]
		key := &schema.Key{}
		if i := slices.IndexFunc(known, func(k schema.Key) bool { return k.Name == name }); i >= 0 {
			key = &known[i]
		}
		if strings.HasSuffix(name, "AssetReference") || strings.HasSuffix(name, "AssetReferences") {
			types := key.AssetTypes
			if len(types) == 0 && key.Item != nil {
				types = key.Item.AssetTypes
			}
			for _, to := range texted(value) {
				out = append(out, reference{to: to, kind: Asset, types: types})
			}
			continue
		}
		out = deeper(out, value, key)
	}
	return out
}

// deeper walks what a key holds.
func deeper(out []reference, value any, key *schema.Key) []reference {
	switch v := value.(type) {
	case map[string]any:
		return gather(out, v, key.Keys)
	case []any:
		inner := &schema.Key{}
		if key.Item != nil {
			inner = key.Item
		}
		for _, one := range v {
			out = deeper(out, one, inner)
		}
	}
	return out
}

// texted returns a text, or the texts of a list, without empty ones.
func texted(value any) (out []string) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, v := range list {
		if text, ok := v.(string); ok && text != "" {
			out = append(out, text)
		}
	}
	return out
}

func sortedKeys(dict map[string]any) []string {
	names := make([]string, 0, len(dict))
	for name := range dict {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
