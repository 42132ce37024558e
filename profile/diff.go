package profile

import (
	"errors"
	"math"
	"strings"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// ChangeKind says what has become of a key, of a payload, or of the order of the payloads.
type ChangeKind string

// The kinds of changes.
const (
	Added     ChangeKind = "added"
	Removed   ChangeKind = "removed"
	Changed   ChangeKind = "changed"
	Reordered ChangeKind = "reordered" // payloads that are in both profiles follow each other in another order
)

// Change is one difference between two profiles.
type Change struct {
	Kind ChangeKind
	// Payload is the PayloadIdentifier of the payload that the change is in, and PayloadType its type. Both are empty for the
	// keys of the profile itself.
	Payload     string
	PayloadType string
	// Path is the key in the payload, or in the profile, as "EAPClientConfiguration.UserName". It is empty for a payload that
	// comes or goes as a whole. An index is that of the new array, of what is removed that of the old one.
	Path string
	// Old and New are the values, nil if there is none: string, bool, int64, uint64, float64, []byte, time.Time, an empty
	// []any or map[string]any, or a Reference. A secret is a mdm.Secret. Payloads as a whole have no values. Of Reordered they
	// are the identifiers that both profiles have, as []string.
	Old, New any
}

// Reference is the value of a key that holds the UUID of another payload of the profile: the identifier of that payload.
type Reference string

// Diff returns what a device would see change if it had a and got b, by key path: first the keys of the profile, then
// payloads that are gone, then the payloads of b in their order, then their order if it is another one. It compares what
// [Profile.Encode] writes, so that a profile that was built and one that was parsed are the same.
//
// Payloads are matched by PayloadIdentifier, as devices do, so one of another type or name is another payload. UUIDs are not
// compared, although a device makes an account anew if its payload has another UUID: who rebuilds a profile under new UUIDs
// has changed nothing of what it says. A value that is the UUID of a payload of its profile, as IdentityCertificateUUID, is
// a reference, and the same if it leads to a payload of the same identifier. Numbers are the same if they are worth the
// same. Arrays are compared without what is the same at their beginnings and ends.
//
// The order of payloads counts because a device installs them in it: certificates come before what needs them.
//
// The content of encrypted profiles is one value, which is never the same twice. The error is that of Encode.
func Diff(a, b *Profile) ([]Change, error) {
	const op = "profile.Diff"
	before, err := sideOf(a)
	if err != nil {
		return nil, malformed(op, err)
	}
	after, err := sideOf(b)
	if err != nil {
		return nil, malformed(op, err)
	}
	d := differ{old: before, new: after}
	d.keys(Change{}, placeIn(&toplevelSchema), before.top, after.top)
	for _, id := range before.order {
		if other := after.payloads[id]; other == nil || kindOf(other) != kindOf(before.payloads[id]) {
			d.out = append(d.out, Change{Kind: Removed, Payload: id, PayloadType: kindOf(before.payloads[id])})
		}
	}
	for _, id := range after.order {
		d.payload(id)
	}
	d.reordered()
	return d.out, nil
}

// Equal reports whether [Diff] finds nothing.
func Equal(a, b *Profile) (bool, error) {
	changes, err := Diff(a, b)
	return err == nil && len(changes) == 0, err
}

// side is a profile to be compared.
type side struct {
	top      map[string]any
	order    []string                  // identifiers
	payloads map[string]map[string]any // by identifier
	names    map[string]string         // UUID in capitals → identifier
	secrets  map[string]bool           // texts that the profile holds as secrets without a type that says so
}

func sideOf(p *Profile) (*side, error) {
	if p == nil {
		return nil, errors.New("no profile")
	}
	data, err := p.Encode()
	if err != nil {
		return nil, err
	}
	s := &side{payloads: map[string]map[string]any{}, names: map[string]string{}, secrets: map[string]bool{}}
	s.collect(p)
	limits := plistx.Limits{Bytes: math.MaxInt, Depth: plistx.MaxDepth, Elements: math.MaxInt} // it is ours
	if err := plistx.UnmarshalLimits(data, &s.top, limits); err != nil {
		return nil, err
	}
	content, _ := s.top["PayloadContent"].([]any)
	for _, key := range []string{"PayloadContent", "PayloadUUID", "IsEncrypted"} {
		delete(s.top, key)
	}
	for _, item := range content {
		dict := item.(map[string]any)
		id := text(dict, "PayloadIdentifier")
		s.names[strings.ToUpper(text(dict, "PayloadUUID"))] = id
		delete(dict, "PayloadIdentifier")
		delete(dict, "PayloadUUID")
		s.order, s.payloads[id] = append(s.order, id), dict
	}
	return s, nil
}

// collect notes the secrets in Values of a [Raw] and in Extra.
func (s *side) collect(p *Profile) {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case mdm.Secret:
			s.secrets[string(v.Reveal())] = true
		case map[string]any:
			for _, value := range v {
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		}
	}
	walk(p.Extra)
	for _, payload := range p.Payloads {
		keys, _ := keysOf(payload)
		walk(keys)
	}
}

// holdsSecret reports whether a value is one of the secrets.
func (s *side) holdsSecret(v any) bool {
	words, ok := v.(string)
	return ok && s.secrets[words]
}

func kindOf(payload map[string]any) string { return text(payload, "PayloadType") }

// leaf returns a value as it is compared and shown: a UUID of a payload is a reference.
func (s *side) leaf(v any) any {
	if words, ok := v.(string); ok {
		if id, ok := s.names[strings.ToUpper(words)]; ok {
			return Reference(id)
		}
	}
	return v
}
