package profile

import (
	"reflect"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Keys returns the keys of a payload as they stand in a property list, without PayloadType and PayloadVersion. Secrets are
// revealed. The dictionary is the caller's; maps and slices in it may be the payload's own.
func Keys(p Payload) (map[string]any, error) {
	keys, err := dictionary(p)
	if keys == nil && err == nil {
		keys = map[string]any{}
	}
	return keys, err
}

// Typed returns p as a pointer to the type of this package that fits it best: p itself if it is one, else a copy of its
// keys. It is p if the schema does not know its type, or if it cannot be encoded.
func Typed(p Payload) Payload {
	keys, err := Keys(p)
	if err != nil {
		return p
	}
	if d, ok := p.(described); ok && isOurs(d) && isPointer(p) {
		return p
	}
	return fitted(p, keys)
}

// fitted returns a payload of the type of p with these keys: a *Raw if p is one that the schema does not know.
func fitted(p Payload, keys map[string]any) Payload {
	out := typed(p.PayloadType(), keys)
	if out == nil {
		return &Raw{Type: p.PayloadType(), Values: keys}
	}
	fillIn(out, keys)
	return out
}

// PayloadID is by what a payload is known.
type PayloadID struct {
	Identifier string // PayloadIdentifier
	UUID       string // PayloadUUID
}

// PayloadIDs returns what the payloads of p are known by in the encoded profile: their own identifiers and UUIDs, or those
// that [Profile.Encode] fills in. They are empty for a payload that cannot be encoded.
func (p *Profile) PayloadIDs() []PayloadID {
	dicts := make([]map[string]any, len(p.Payloads))
	for i, payload := range p.Payloads {
		dicts[i], _ = dictionary(payload)
	}
	_ = p.fill(dicts)
	out := make([]PayloadID, len(dicts))
	for i, dict := range dicts {
		out[i] = PayloadID{text(dict, "PayloadIdentifier"), text(dict, "PayloadUUID")}
	}
	return out
}

// item is a payload of a profile with what it takes to move it to another one.
type item struct {
	payload    Payload
	keys       map[string]any // its own
	identifier string         // as encoded
	uuid       string
	named      bool // the identifier is the payload's own, not derived from its place
	class      Class
}

// items returns the payloads of p. The error is a Malformed one.
func (p *Profile) items(op string) ([]item, error) {
	if len(p.EncryptedContent) > 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "the profile is encrypted")
	}
	ids := p.PayloadIDs()
	out := make([]item, 0, len(p.Payloads))
	for i, payload := range p.Payloads {
		keys, err := Keys(payload)
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "PayloadContent[%d]: %w", i, err)
		}
		it := item{payload: payload, keys: keys, class: ClassOf(payload), named: text(keys, "PayloadIdentifier") != ""}
		it.identifier, it.uuid = ids[i].Identifier, ids[i].UUID
		out = append(out, it)
	}
	return out, nil
}

// with returns the payload under another identifier and UUID, its references renamed. It shares only data with the original.
func (it item) with(identifier, uuid string, renamed map[string]string) Payload {
	keys := rename(it.keys, renamed).(map[string]any)
	keys["PayloadIdentifier"], keys["PayloadUUID"] = identifier, uuid
	if _, ok := it.payload.(*Raw); ok {
		return &Raw{Type: it.payload.PayloadType(), Values: keys}
	}
	return fitted(it.payload, keys)
}

// kept returns the payload with the identifier and UUID that it has.
func (it item) kept(renamed map[string]string) Payload {
	return it.with(it.identifier, it.uuid, renamed)
}

// rename copies a tree of values, with other words for the strings in renamed, whose keys are in capitals.
func rename(tree any, renamed map[string]string) any {
	switch v := tree.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = rename(value, renamed)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = rename(v[i], renamed)
		}
		return out
	case string:
		if to, ok := renamed[strings.ToUpper(v)]; ok {
			return to
		}
	}
	return tree
}

// references returns which of uuids, in capitals, the payload names in keys of its own, at any depth: their values, in order.
func (it item) references(uuids map[string]int) []int {
	var out []int
	var walk func(tree any)
	walk = func(tree any) {
		switch v := tree.(type) {
		case map[string]any:
			for _, value := range v {
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		case string:
			if i, ok := uuids[strings.ToUpper(v)]; ok {
				out = append(out, i)
			}
		}
	}
	walk(withoutCommon(it.keys))
	slices.Sort(out)
	return slices.Compact(out)
}

// places maps the UUIDs of items, in capitals, to their places.
func places(items []item) map[string]int {
	out := make(map[string]int, len(items))
	for i := range items {
		out[strings.ToUpper(items[i].uuid)] = i
	}
	return out
}

// isPointer reports whether p is a pointer: the types of this package are payloads as values, too.
func isPointer(p Payload) bool { return reflect.TypeOf(p).Kind() == reflect.Pointer }
