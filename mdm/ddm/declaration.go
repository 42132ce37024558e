package ddm

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Payload is what a declaration declares. The types of this package implement it, those of Apple's schema; [Raw] carries
// any other.
type Payload interface {
	// DeclarationType is Apple's name of the type, as "com.apple.configuration.passcode.settings".
	DeclarationType() string
}

// Raw is a payload of any type. Values are what JSON can hold: string, bool, int64, uint64, float64, []any and
// map[string]any.
type Raw struct {
	Type   string
	Values map[string]any
}

// DeclarationType is Type.
func (r *Raw) DeclarationType() string { return r.Type }

// Declaration is one declaration, as a device gets it (Apple's DeclarationBase).
type Declaration struct {
	Identifier  string // at most 64 bytes; the same for every version of the declaration
	ServerToken string // at most 64 bytes; another one for every version
	Payload     Payload
	Extra       map[string]any // keys of the declaration that are not here
}

// MaxIdentifier is the longest Identifier and ServerToken, in bytes.
const MaxIdentifier = 64

// described is a generated type.
type described interface{ Schema() *schema.Object }

// entry is a declaration of the schema.
type entry struct {
	declarationType string
	payload         func() Payload
}

// Types lists the declarations of the schema, in order.
func Types() []string {
	out := make([]string, len(declarations))
	for i := range declarations {
		out[i] = declarations[i].declarationType
	}
	return out
}

// New returns a pointer to the empty payload of a type, as a *PasscodeSettings, or nil if the schema does not know it.
func New(declarationType string) Payload {
	i, ok := slices.BinarySearchFunc(declarations[:], declarationType, func(e entry, t string) int { return cmp.Compare(e.declarationType, t) })
	if !ok {
		return nil
	}
	return declarations[i].payload()
}

// keys returns the payload as a tree of what JSON can hold.
func keys(p Payload) (map[string]any, error) {
	switch r := p.(type) {
	case nil:
		return nil, mdm.Errorf(mdm.Malformed, "ddm", "no payload")
	case *Raw:
		return r.Values, nil
	}
	if v := reflect.ValueOf(p); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, mdm.Errorf(mdm.Malformed, "ddm", "no payload")
	}
	return schema.Encode(p)
}

// document is a declaration on the wire.
type document struct {
	Type        string         `plist:"Type"`
	Identifier  string         `plist:"Identifier"`
	ServerToken string         `plist:"ServerToken"`
	Payload     map[string]any `plist:"Payload"`
	Extra       map[string]any `plist:"-"`
}

// MarshalJSON writes the declaration as a device reads it. The error is a Malformed one if there is no payload.
func (d Declaration) MarshalJSON() ([]byte, error) {
	payload, err := keys(d.Payload)
	if err != nil {
		return nil, err
	}
	if payload == nil {
		payload = map[string]any{}
	}
	return schema.EncodePlainJSON(document{d.Payload.DeclarationType(), d.Identifier, d.ServerToken, payload, d.Extra})
}

// UnmarshalJSON is [ParseDeclaration].
func (d *Declaration) UnmarshalJSON(data []byte) error {
	parsed, err := ParseDeclaration(data)
	if err == nil {
		*d = *parsed
	}
	return err
}

// ParseDeclaration reads a declaration. Its payload is a pointer to the type of its Type, a *Raw if the schema does not
// know that. The error is a Malformed one: no JSON, no Type, no Payload, or values that do not fit.
func ParseDeclaration(data []byte) (*Declaration, error) {
	const op = "ddm.ParseDeclaration"
	var doc document
	wrong, err := schema.DecodePlainJSON(data, &doc)
	switch {
	case err != nil:
		return nil, err
	case len(wrong) > 0:
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", wrong)
	case doc.Type == "":
		return nil, mdm.Errorf(mdm.Malformed, op, "Type is missing")
	case doc.Payload == nil:
		return nil, mdm.Errorf(mdm.Malformed, op, "Payload is missing")
	}
	payload, wrong := Typed(doc.Type, doc.Payload)
	if len(wrong) > 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", wrong)
	}
	return &Declaration{Identifier: doc.Identifier, ServerToken: doc.ServerToken, Payload: payload, Extra: doc.Extra}, nil
}

// Typed returns the payload of a type with these keys, a *Raw if the schema does not know the type. What does not fit is
// in the Mismatches, and in Extra.
func Typed(declarationType string, values map[string]any) (Payload, schema.Mismatches) {
	p := New(declarationType)
	if p == nil {
		return &Raw{Type: declarationType, Values: values}, nil
	}
	return p, schema.DecodeTree(values, p)
}

// Validate checks a payload, typed or raw, against Apple's schema and a target: its keys, and whether the target's platform,
// system, kind of enrollment and scope allow it. What is not known of the target is not held against it.
func Validate(p Payload, t schema.Target) schema.Findings {
	values, err := keys(p)
	if err != nil {
		return schema.Findings{{Rule: schema.RuleType, Text: err.Error()}}
	}
	form := New(p.DeclarationType())
	if form == nil {
		return schema.Findings{{Rule: schema.RuleUnknown, Path: "Type", Text: "the schema does not know the declaration", Warning: true}}
	}
	return schema.Inspect(form.(described).Schema(), values).Add(combine(p.DeclarationType(), values)).Check(t)
}

// Validate checks the declaration as [Validate] does its payload, and its identifier and server token. Paths of the payload
// begin with "Payload".
func (d *Declaration) Validate(t schema.Target) schema.Findings {
	var out schema.Findings
	for name, value := range map[string]string{"Identifier": d.Identifier, "ServerToken": d.ServerToken} {
		switch {
		case value == "":
			out = append(out, schema.Finding{Rule: schema.RuleRequired, Path: name, Text: "the key is missing"})
		case len(value) > MaxIdentifier:
			out = append(out, schema.Finding{Rule: schema.RuleRange, Path: name, Text: "longer than 64 bytes"})
		}
	}
	slices.SortFunc(out, func(a, b schema.Finding) int { return cmp.Compare(a.Path, b.Path) })
	for _, f := range Validate(d.Payload, t) {
		if f.Path == "" {
			f.Path = "Payload"
		} else if f.Path != "Type" {
			f.Path = "Payload." + f.Path
		}
		out = append(out, f)
	}
	return out
}
