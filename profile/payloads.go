package profile

import (
	"cmp"
	"crypto/x509"
	"reflect"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// The payloads of Apple's schema are in the files *_gen.go, one for each. A field that is a pointer, a slice or a map is
// optional and absent if nil; other fields are required. Keys that a type does not have go into its field Extra.

// Common has the keys that every payload has besides its type and version. Empty ones are filled in by [Profile.Encode]:
// the identifier from the profile's and the payload's type, the UUID from the identifier; see [Profile.Filled].
type Common struct {
	PayloadIdentifier   string `plist:"PayloadIdentifier,omitempty" json:"PayloadIdentifier,omitempty"`
	PayloadUUID         string `plist:"PayloadUUID,omitempty" json:"PayloadUUID,omitempty"`
	PayloadDisplayName  string `plist:"PayloadDisplayName,omitempty" json:"PayloadDisplayName,omitempty"`
	PayloadDescription  string `plist:"PayloadDescription,omitempty" json:"PayloadDescription,omitempty"`
	PayloadOrganization string `plist:"PayloadOrganization,omitempty" json:"PayloadOrganization,omitempty"`
}

// NewCertificate returns the payload of cert: a *RootCertificate, an anchor, if cert is self-issued, else a *Certificate,
// an intermediate.
func NewCertificate(cert *x509.Certificate) Payload {
	common := Common{PayloadDisplayName: cert.Subject.CommonName}
	if string(cert.RawIssuer) == string(cert.RawSubject) {
		return &RootCertificate{Common: common, PayloadContent: cert.Raw}
	}
	return &Certificate{Common: common, PayloadContent: cert.Raw}
}

// Raw is a payload of any type. Values are what a property list can hold: string, bool, int64, uint64, float64,
// []byte, time.Time, []any and map[string]any. A [mdm.Secret] is written as its text.
type Raw struct {
	Type   string
	Values map[string]any // without PayloadType and PayloadVersion; the other Payload… keys may be set
}

// PayloadType is Type.
func (r *Raw) PayloadType() string { return r.Type }

// described is a generated type.
type described interface{ Schema() *schema.Object }

// entry is a payload of the schema. Several may share a type.
type entry struct {
	payloadType string
	payload     func() Payload
}

// variants returns the entries of a type.
func variants(payloadType string) []entry {
	compare := func(e entry, t string) int { return cmp.Compare(e.payloadType, t) }
	from, _ := slices.BinarySearchFunc(payloads[:], payloadType, compare)
	to := from
	for to < len(payloads) && payloads[to].payloadType == payloadType {
		to++
	}
	return payloads[from:to]
}

// PayloadTypes lists the types of the schema, in order, each once.
func PayloadTypes() []string {
	var out []string
	for _, e := range payloads {
		out = append(out, e.payloadType)
	}
	return slices.Compact(out)
}

// New returns pointers to the empty payloads of a type. There is more than one where Apple has several forms of a type:
// com.apple.MCX, and com.apple.extensiblesso with its Kerberos form. There is none if the schema does not know the type.
func New(payloadType string) []Payload {
	var out []Payload
	for _, e := range variants(payloadType) {
		out = append(out, e.payload())
	}
	return out
}

// typed returns the payload of a type that the keys fit best, nil if the schema does not know the type. keys is without
// PayloadType and PayloadVersion.
func typed(payloadType string, keys map[string]any) Payload {
	var best Payload
	fewest := -1
	for _, p := range New(payloadType) {
		n := misfits(p, keys)
		if fewest < 0 || n < fewest {
			best, fewest = p, n
		}
	}
	return best
}

// misfits counts what a form of a payload does not know or does not allow.
func misfits(p Payload, keys map[string]any) int {
	if len(keys) == 0 {
		return 0
	}
	return len(schema.Inspect(p.(described).Schema(), withoutCommon(keys)).Check(schema.Target{}).Of(
		schema.RuleUnknown | schema.RuleEnum | schema.RuleType | schema.RuleRequired))
}

// withoutCommon returns the keys of a payload that belong to its type.
func withoutCommon(keys map[string]any) map[string]any {
	out := make(map[string]any, len(keys))
	for key, value := range keys {
		if !slices.ContainsFunc(commonpayloadkeysSchema.Keys, func(k schema.Key) bool { return k.Name == key }) {
			out[key] = value
		}
	}
	return out
}

// decodePayload reads a payload. One of a type that the schema does not know is a *Raw.
func decodePayload(dict map[string]any) Payload {
	kind := text(dict, "PayloadType")
	delete(dict, "PayloadType")
	if version, ok := dict["PayloadVersion"].(uint64); ok && version == 1 {
		delete(dict, "PayloadVersion")
	}
	p := typed(kind, dict)
	if p == nil {
		return &Raw{Type: kind, Values: dict}
	}
	fillIn(p, dict)
	return p
}

// alike returns a new value of the type of d, one of this package, with these keys. fill puts them in.
func alike(d described, keys map[string]any, fill func(Payload, map[string]any)) Payload {
	t := reflect.TypeOf(d)
	if t.Kind() != reflect.Pointer {
		v := reflect.New(t)
		fill(v.Interface().(Payload), keys)
		return v.Elem().Interface().(Payload)
	}
	v := reflect.New(t.Elem()).Interface().(Payload)
	fill(v, keys)
	return v
}

// EncodeJSON returns a payload as JSON: its PayloadType and its keys; see [schema.EncodeJSON]. Secrets are revealed. The
// error is a Malformed one.
func EncodeJSON(p Payload) ([]byte, error) {
	const op = "profile.EncodeJSON"
	dict, err := dictionary(p)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	switch d, ok := p.(described); {
	case ok && isOurs(d): // again from its keys, of which the secrets in Extra are revealed
		p = alike(d, dict, func(p Payload, keys map[string]any) { _ = schema.Decode(keys, p) })
	case !ok:
		kind := p.PayloadType()
		if p = typed(kind, dict); p == nil { // unknown to the schema: every value says itself what it is
			dict["PayloadType"] = kind
			return schema.EncodeTreeJSON(dict)
		}
		_ = schema.Decode(dict, p)
	}
	return schema.EncodeJSONWith(p, map[string]any{"PayloadType": p.PayloadType()})
}

// DecodeJSON reads a payload from the form of [EncodeJSON]: a pointer to the type of its PayloadType, a *Raw if the schema
// does not know it. The error is a Malformed one: no JSON object, no PayloadType, or values that do not fit.
func DecodeJSON(data []byte) (Payload, error) {
	const op = "profile.DecodeJSON"
	dict, err := schema.ParseJSON(data)
	if err != nil {
		return nil, err
	}
	kind, _ := dict["PayloadType"].(string)
	if kind == "" {
		return nil, mdm.Errorf(mdm.Malformed, op, "PayloadType is missing")
	}
	delete(dict, "PayloadType")
	p := typedJSON(kind, dict)
	if p == nil {
		return &Raw{Type: kind, Values: dict}, nil
	}
	if wrong := schema.DecodeTree(dict, p); len(wrong) > 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", wrong)
	}
	return p, nil
}

// typedJSON is typed for keys whose data and dates may be strings still: it goes by what each form keeps in Extra.
func typedJSON(kind string, keys map[string]any) Payload {
	var best Payload
	fewest := -1
	for i, p := range New(kind) {
		if wrong := schema.DecodeTree(keys, p); len(wrong) > 0 {
			continue
		}
		dict, err := schema.Encode(p)
		if err != nil {
			continue
		}
		if n := misfits(p, dict); fewest < 0 || n < fewest {
			best, fewest = New(kind)[i], n
		}
	}
	if all := New(kind); best == nil && len(all) > 0 {
		return all[0]
	}
	return best
}

// Validate checks a payload, typed or raw, against Apple's schema and a target: its keys, and whether the target's platform,
// system, supervision, enrollment and channel allow it. What is not known of the target is not held against it. Devices
// pass over keys that they do not support, mostly without a word, and refuse a payload that they do not.
func Validate(p Payload, t schema.Target) schema.Findings {
	dict, err := dictionary(p)
	if err != nil {
		return schema.Findings{{Rule: schema.RuleType, Text: err.Error()}}
	}
	keys := withoutCommon(dict)
	form := typed(p.PayloadType(), dict)
	if d, ok := p.(described); ok {
		return schema.Inspect(d.Schema(), keys).Add(combine(p.PayloadType(), keys)).Check(t)
	}
	if form == nil {
		return schema.Findings{{Rule: schema.RuleUnknown, Path: "PayloadType", Text: "the schema does not know the payload", Warning: true}}
	}
	return schema.Inspect(form.(described).Schema(), keys).Add(combine(p.PayloadType(), keys)).Check(t)
}

// repeats reports whether the payload is of a type that the platform takes one of (key multiple of the schema), and an
// earlier one of the profile is, too. Other profiles may hold more; nobody here knows.
func (p *Profile) repeats(i int, platform schema.Platform) bool {
	d, ok := p.Payloads[i].(described)
	if !ok || isMissing(p.Payloads[i]) {
		return false
	}
	os := d.Schema().Support.On(platform)
	if os == nil || os.Multiple != schema.False {
		return false
	}
	return slices.ContainsFunc(p.Payloads[:i], func(other Payload) bool {
		o, ok := other.(described)
		return ok && !isMissing(other) && o.Schema() == d.Schema()
	})
}

// Validate checks the profile against Apple's schema and a target: its own keys, and every payload by [Validate]. Paths of
// payloads begin with "PayloadContent[0]".
func (p *Profile) Validate(t schema.Target) schema.Findings {
	top := p.top()
	top["PayloadContent"] = []any{map[string]any{}}
	delete(top, "HasRemovalPasscode") // Apple documents it, and its schema does not have it
	out := schema.Check(&toplevelSchema, top, t)
	for i, payload := range p.Payloads {
		if p.repeats(i, t.Platform) {
			out = append(out, schema.Finding{Rule: schema.RuleCombination, Path: joined(i, ""), Warning: true,
				Text: "a second payload of a type of which a device takes one"})
		}
		if isRemovalPassword(payload) && !p.RemovalDisallowed {
			out = append(out, schema.Finding{Rule: schema.RuleCombination, Path: joined(i, ""), Warning: true,
				Text: "nobody asks for the password unless PayloadRemovalDisallowed is true"})
		}
		for _, f := range Validate(payload, t) {
			f.Path = joined(i, f.Path)
			out = append(out, f)
		}
	}
	return out
}
