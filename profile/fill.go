package profile

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"strconv"
)

// Filled returns a copy of p in which every identifier and UUID is there, as [Profile.Encode] writes them. Payloads keep
// their types; what is inside of them is shared with p. The error is that of Encode.
//
// A payload without a PayloadIdentifier gets that of the profile and its own type, as "com.example.com.apple.mail.managed";
// further ones of the type are told apart by ".2", ".3" and so on, in their order. So payloads of other types never rename
// it: a device takes a payload of another name for another one, and would remove its account and make a new one. Who has
// several of a type that come and go names them himself. A UUID is derived from the identifier, see [UUID].
func (p *Profile) Filled() (*Profile, error) {
	top, err := p.encode()
	if err != nil {
		return nil, malformed("profile.Filled", err)
	}
	out := p.header()
	out.UUID = orDerived(p.UUID, p.Identifier)
	out.EncryptedContent = p.EncryptedContent
	content, _ := top["PayloadContent"].([]any)
	for i, item := range content {
		dict := item.(map[string]any)
		out.Payloads = append(out.Payloads, named(p.Payloads[i], dict))
	}
	return out, nil
}

// header returns a copy of p without content.
func (p *Profile) header() *Profile {
	out := *p
	out.Payloads, out.EncryptedContent = nil, nil
	out.ConsentText, out.Extra = maps.Clone(p.ConsentText), maps.Clone(p.Extra)
	return &out
}

// named returns a copy of a payload with the identifier and UUID of its keys.
func named(p Payload, dict map[string]any) Payload {
	identifier, uuid := text(dict, "PayloadIdentifier"), text(dict, "PayloadUUID")
	if raw, ok := p.(*Raw); ok {
		values := maps.Clone(raw.Values)
		if values == nil {
			values = map[string]any{}
		}
		values["PayloadIdentifier"], values["PayloadUUID"] = identifier, uuid
		return &Raw{Type: raw.Type, Values: values}
	}
	from := reflect.ValueOf(p)
	isPointer := from.Kind() == reflect.Pointer
	if isPointer {
		from = from.Elem()
	}
	to := reflect.New(from.Type())
	to.Elem().Set(from)
	if common := commonOf(to.Elem()); common != nil {
		common.PayloadIdentifier, common.PayloadUUID = identifier, uuid
		if isPointer {
			return to.Interface().(Payload)
		}
		return to.Elem().Interface().(Payload)
	}
	if own, err := tagged(p); err == nil && own["PayloadIdentifier"] != nil && own["PayloadUUID"] != nil {
		return p // a type that has names without Common
	}
	delete(dict, "PayloadType")
	return &Raw{Type: p.PayloadType(), Values: dict}
}

// commonOf returns the field of a payload that has its names, nil if there is none.
func commonOf(v reflect.Value) *Common {
	if v.Kind() != reflect.Struct {
		return nil
	}
	field, ok := v.Type().FieldByName("Common")
	if !ok || field.Type != reflect.TypeFor[Common]() {
		return nil
	}
	for _, i := range field.Index {
		if v.Kind() == reflect.Pointer { // what is behind it is the original's
			return nil
		}
		v = v.Field(i)
	}
	return v.Addr().Interface().(*Common)
}

// fill gives every payload the identifier and the UUID that it lacks. They are those of no other one. dicts are the keys of
// the payloads, nil for one that has none. The error says which two have the same.
func (p *Profile) fill(dicts []map[string]any) error {
	identifiers, wrongName := given(dicts, "PayloadIdentifier")
	uuids, wrongUUID := given(dicts, "PayloadUUID")
	uuids[orDerived(p.UUID, p.Identifier)] = true
	p.fillIdentifiers(dicts, newNamer(identifiers, func(name string) string { return name }))
	names := newNamer(uuids, UUID)
	for _, dict := range dicts {
		if dict != nil && dict["PayloadUUID"] == nil {
			dict["PayloadUUID"] = names.next(text(dict, "PayloadIdentifier"))
		}
	}
	return cmp.Or(wrongName, wrongUUID)
}

// given collects the values of a key that payloads have. An empty one is taken out. The error is the first thing wrong.
func given(dicts []map[string]any, key string) (seen map[string]bool, err error) {
	seen = map[string]bool{}
	for i, dict := range dicts {
		switch v := dict[key].(type) {
		case nil:
		case string:
			if v == "" {
				delete(dict, key)
				continue
			}
			if seen[v] {
				err = cmp.Or(err, fmt.Errorf("PayloadContent[%d]: %s %s is used twice", i, key, v))
			}
			seen[v] = true
		default:
			err = cmp.Or(err, fmt.Errorf("PayloadContent[%d]: %s is no string", i, key))
		}
	}
	return seen, err
}

// fillIdentifiers names the first payload of every type before any further one, so that a type whose name ends in a number
// does not depend on the order, either.
func (p *Profile) fillIdentifiers(dicts []map[string]any, names namer) {
	var later []int
	began := map[string]bool{}
	name := func(i int) {
		dicts[i]["PayloadIdentifier"] = names.next(p.Identifier + "." + p.Payloads[i].PayloadType())
	}
	for i, dict := range dicts {
		if dict == nil || dict["PayloadIdentifier"] != nil {
			continue
		}
		if kind := p.Payloads[i].PayloadType(); began[kind] {
			later = append(later, i)
		} else {
			began[kind] = true
			name(i)
		}
	}
	for _, i := range later {
		name(i)
	}
}

// namer gives out names that nobody has.
type namer struct {
	taken map[string]bool
	made  func(string) string // what becomes of a numbered name
	last  map[string]int      // the last number tried for a name: many may ask for the same
}

func newNamer(taken map[string]bool, made func(string) string) namer {
	return namer{taken, made, map[string]int{}}
}

func (n namer) next(base string) string {
	for {
		n.last[base]++
		if name := n.made(numbered(base, n.last[base])); !n.taken[name] {
			n.taken[name] = true
			return name
		}
	}
}

// numbered returns the nth name made of base.
func numbered(base string, n int) string {
	if n == 1 {
		return base
	}
	return base + "." + strconv.Itoa(n)
}
