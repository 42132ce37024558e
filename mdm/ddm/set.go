package ddm

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Limits of the declarations that one enrollment has. They are ours; Apple gives none but [MaxIdentifier].
const (
	MaxDeclarations = 1000    // of one enrollment
	MaxDeclaration  = 1 << 20 // bytes of one, as JSON
	MaxSet          = 8 << 20 // bytes of all of an enrollment
)

// Kind is what a declaration is, in the word of the endpoint from which a device fetches it.
type Kind string

// The kinds.
const (
	Activation    Kind = "activation"
	Asset         Kind = "asset"
	Configuration Kind = "configuration"
	Management    Kind = "management"
)

// KindOf tells the kind by the type, as "com.apple.configuration.passcode.settings"; empty if the type has none.
func KindOf(declarationType string) Kind {
	rest, ok := strings.CutPrefix(declarationType, "com.apple.")
	kind, name, more := strings.Cut(rest, ".")
	switch k := Kind(kind); {
	case !ok || !more || name == "":
		return ""
	case k == Activation, k == Asset, k == Configuration, k == Management:
		return k
	}
	return ""
}

// Set is what an enrollment has at one moment: checked, with server tokens, in the order of the identifiers. Make it with
// [NewSet]; it is not changed after that.
type Set struct {
	items []item
	token string
}

// item is a declaration of a set.
type item struct {
	kind Kind
	Declaration
	payload map[string]any // as JSON has it
	body    []byte         // the declaration on the wire
}

// NewSet checks declarations as [Check] does and returns them as a set. A declaration without a ServerToken gets one that
// follows from what it holds; one that has its own must change it with every change.
func NewSet(list []Declaration) (*Set, error) {
	s := &Set{items: make([]item, 0, min(len(list), MaxDeclarations))}
	var wrong []Problem
	if len(list) > MaxDeclarations {
		return nil, &SetError{[]Problem{{Rule: RuleTooMany}}}
	}
	size := 0
	for _, d := range list {
		it, problem := prepared(d)
		if problem != nil {
			wrong = append(wrong, *problem)
			continue
		}
		if size += len(it.body); size > MaxSet {
			return nil, &SetError{append(wrong, Problem{Identifier: d.Identifier, Rule: RuleTooLarge})}
		}
		s.items = append(s.items, it)
	}
	slices.SortStableFunc(s.items, func(a, b item) int { return cmp.Compare(a.Identifier, b.Identifier) })
	wrong = append(wrong, s.twice()...)
	if len(wrong) == 0 {
		wrong = s.dangling()
	}
	if len(wrong) > 0 {
		return nil, &SetError{wrong}
	}
	s.token = s.sum()
	return s, nil
}

// prepared writes a declaration, and gives it a server token if it has none.
func prepared(d Declaration) (item, *Problem) {
	refused := func(rule Rule) (item, *Problem) { return item{}, &Problem{Identifier: d.Identifier, Rule: rule} }
	payload, err := keys(d.Payload)
	if err != nil {
		return refused(RulePayload)
	}
	it := item{kind: KindOf(d.Payload.DeclarationType()), Declaration: d}
	switch {
	case it.kind == "":
		return refused(RuleType)
	case !nameable(d.Identifier), d.ServerToken != "" && !printable(d.ServerToken):
		return refused(RuleIdentifier)
	}
	if payload == nil {
		payload = map[string]any{}
	}
	if it.ServerToken == "" {
		if it.ServerToken, err = ContentToken(d); err != nil {
			return refused(RulePayload)
		}
	}
	it.body, err = schema.EncodePlainJSON(document{d.Payload.DeclarationType(), d.Identifier, it.ServerToken, payload, d.Extra})
	if err != nil {
		return refused(RulePayload)
	}
	if len(it.body) > MaxDeclaration {
		return refused(RuleTooLarge)
	}
	read, err := schema.ParsePlainJSON(it.body)
	if err != nil {
		return refused(RulePayload)
	}
	it.payload, _ = read["Payload"].(map[string]any)
	return it, nil
}

// ContentToken returns the server token that a declaration gets which has none: it follows from the type, the payload and Extra, as
// the device reads them. The error is a Malformed one if that cannot be written.
func ContentToken(d Declaration) (string, error) {
	payload, err := keys(d.Payload)
	if err != nil {
		return "", err
	}
	if payload == nil {
		payload = map[string]any{}
	}
	content, err := schema.EncodePlainJSON(document{Type: d.Payload.DeclarationType(), Payload: payload, Extra: d.Extra})
	if err != nil {
		return "", mdm.Errorf(mdm.Malformed, "ddm.ContentToken", "%w", err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16]), nil
}

// nameable reports whether a device can ask for an identifier: it is the last part of the endpoint, of which no escaping is
// documented.
func nameable(identifier string) bool {
	return printable(identifier) && !strings.ContainsAny(identifier, "/ ")
}

func printable(s string) bool {
	if s == "" || len(s) > MaxIdentifier {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// sum is the DeclarationsToken: another one whenever an identifier or a server token is another.
func (s *Set) sum() string {
	h := sha256.New()
	write := func(text string) {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) // at most MaxIdentifier
		_, _ = h.Write([]byte(text))
	}
	for _, it := range s.items {
		write(it.Identifier)
		write(it.ServerToken)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Token is the DeclarationsToken: a hash of the identifiers and server tokens, the same for the same declarations in any order.
// An empty set has one, too.
func (s *Set) Token() string { return s.token }

// Len is how many declarations there are.
func (s *Set) Len() int { return len(s.items) }

// Declarations returns the declarations with their server tokens, in the order of the identifiers.
func (s *Set) Declarations() []Declaration {
	out := make([]Declaration, len(s.items))
	for i := range s.items {
		out[i] = s.items[i].Declaration
	}
	return out
}

// Items returns the manifest, the answer to the endpoint "declaration-items". All four lists are there, even if empty.
func (s *Set) Items() DeclarationItemsResponse {
	lists := map[Kind][]DeclarationItemsResponseDeclarationItem{}
	for _, kind := range []Kind{Activation, Asset, Configuration, Management} {
		lists[kind] = []DeclarationItemsResponseDeclarationItem{}
	}
	for _, it := range s.items {
		lists[it.kind] = append(lists[it.kind], DeclarationItemsResponseDeclarationItem{Identifier: it.Identifier, ServerToken: it.ServerToken})
	}
	return DeclarationItemsResponse{DeclarationsToken: s.token, Declarations: DeclarationItemsResponseDeclarations{
		Activations: lists[Activation], Assets: lists[Asset], Configurations: lists[Configuration], Management: lists[Management]}}
}

// JSON returns a declaration as a device reads it; false if there is none of that kind and identifier.
func (s *Set) JSON(kind Kind, identifier string) ([]byte, bool) {
	i, ok := slices.BinarySearchFunc(s.items, identifier, func(it item, id string) int { return cmp.Compare(it.Identifier, id) })
	if !ok || s.items[i].kind != kind {
		return nil, false
	}
	return slices.Clone(s.items[i].body), true
}

// one returns a single declaration out of a list as a device reads it, without making a set of all. It is nil if there is none.
func one(list []Declaration, kind Kind, identifier string) ([]byte, error) {
	const op = "ddm.Declare"
	var found *Declaration
	for i := range list {
		if list[i].Identifier != identifier {
			continue
		}
		if found != nil {
			return nil, mdm.Errorf(mdm.Internal, op, "%w", &SetError{[]Problem{{Identifier: identifier, Rule: RuleTwice}}})
		}
		found = &list[i]
	}
	if found == nil {
		return nil, nil
	}
	it, problem := prepared(*found)
	if problem != nil {
		return nil, mdm.Errorf(mdm.Internal, op, "%w", &SetError{[]Problem{*problem}})
	}
	if it.kind != kind {
		return nil, nil
	}
	return it.body, nil
}
