package profile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// expander walks a profile and makes a new one.
type expander struct {
	lookup func(name, path string) (any, bool)
	raw    bool // within a payload that has no type: secrets may stay what they are
	path   []string
	at     string // path as one string, once somebody asked for it: a string may hold many variables
	depth  int    // how many dictionaries and arrays are open
	wrong  VariableErrors
	bytes  int // of what was put in
	values int
	full   bool // that was too much: the walk ends
}

func (e *expander) profile(p *Profile) (*Profile, error) {
	if len(p.EncryptedContent) > 0 {
		return nil, errors.New("the profile is encrypted")
	}
	out := &Profile{}
	e.header(p, out)
	e.path = []string{""}
	for i, payload := range p.Payloads {
		e.path[0], e.at, e.depth = joined(i, ""), "", 2
		keys, err := keysOf(payload)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.path[0], err)
		}
		out.Payloads = append(out.Payloads, e.payload(payload, keys))
	}
	if len(e.wrong) > 0 {
		return nil, e.wrong
	}
	return out, nil
}

// header expands the keys of the profile itself.
func (e *expander) header(p, out *Profile) {
	top := p.top()
	maps.Copy(top, p.Extra) // with its secrets
	if p.UUID == "" && p.Extra["PayloadUUID"] == nil {
		delete(top, "PayloadUUID") // it follows from the new identifier
	}
	delete(top, "PayloadType")
	if keys, ok := e.keys(placeIn(&toplevelSchema), top, e.value).(map[string]any); ok {
		takeTop(out, keys)
	}
}

func (e *expander) payload(p Payload, keys map[string]any) Payload {
	_, e.raw = p.(*Raw)
	delete(keys, "PayloadType")
	keys, _ = e.keys(placeOf(p, keys), keys, e.value).(map[string]any)
	switch d, ok := p.(described); {
	case keys == nil: // an error
		return p
	case e.raw:
		return &Raw{Type: p.PayloadType(), Values: keys}
	case ok && isOurs(d):
		return alike(d, keys, fillIn)
	}
	keys["PayloadType"] = p.PayloadType()
	return decodePayload(keys)
}

// value expands a value. It returns nil for one that is wrong, as all that follow do.
func (e *expander) value(at place, v any) any {
	v = simple(v)
	switch v := v.(type) {
	case string:
		return e.text(at, v, false)
	case mdm.Secret:
		return e.text(at, string(v.Reveal()), true)
	case map[string]any:
		return e.keys(at, v, e.value)
	case []any:
		return e.list(at, v, e.value)
	case nil:
		return e.fail("", VariableType, "has no form in a property list")
	}
	return v
}

// keys does something with every value of a dictionary.
func (e *expander) keys(at place, dict map[string]any, do func(place, any) any) any {
	if !e.enter() {
		return nil
	}
	defer func() { e.depth-- }()
	out := make(map[string]any, len(dict))
	for _, key := range slices.Sorted(maps.Keys(dict)) {
		if e.full {
			return nil
		}
		e.in(key, func() {
			if v := do(at.key(key), dict[key]); v != nil {
				out[key] = v
			}
		})
	}
	return out
}

// list does something with every item of an array.
func (e *expander) list(at place, list []any, do func(place, any) any) any {
	if !e.enter() {
		return nil
	}
	defer func() { e.depth-- }()
	out := make([]any, 0, len(list))
	for i, item := range list {
		if e.full {
			return nil
		}
		e.in("["+strconv.Itoa(i)+"]", func() {
			if v := do(at.item(), item); v != nil {
				out = append(out, v)
			}
		})
	}
	return out
}

// in does something one level below, at a key or an index.
func (e *expander) in(step string, do func()) {
	e.path, e.at = append(e.path, step), ""
	do()
	e.path, e.at = e.path[:len(e.path)-1], ""
}

// here is the path of the walk.
func (e *expander) here() string {
	if e.at == "" {
		e.at = joinPath(e.path)
	}
	return e.at
}

// enter opens a dictionary or an array, unless Parse would not read it: values may even hold themselves.
func (e *expander) enter() bool {
	if e.depth >= plistx.DefaultDepth {
		e.fail("", VariableSize, "is nested too deeply")
		return false
	}
	e.depth++
	return true
}

// fail notes an error at the path of the walk, and returns nil.
func (e *expander) fail(name, rule, text string) any {
	e.wrong = append(e.wrong, VariableError{Name: name, Path: e.here(), Rule: rule, Text: text})
	return nil
}

// text expands a string. hidden says that the template holds it as a secret.
func (e *expander) text(at place, s string, hidden bool) any {
	if !strings.Contains(s, "${") {
		return e.written(at, "", s, hidden, true)
	}
	parts, ok := cutVariables(s)
	if !ok {
		return e.fail("", VariableSyntax, `holds a "${" that begins no variable; write "$${" for the characters themselves`)
	}
	if len(parts) == 1 && parts[0].name != "" {
		name := parts[0].name
		v, ok := e.lookup(name, e.here())
		if !ok {
			return e.fail(name, VariableUnknown, "is unknown")
		}
		return e.put(at, name, v, hidden)
	}
	return e.longer(at, parts, hidden)
}

// longer expands a string of several parts.
func (e *expander) longer(at place, parts []part, hidden bool) any {
	var b strings.Builder
	secret := ""
	bad := false
	for _, p := range parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		v, ok := e.lookup(p.name, e.here())
		if !ok {
			e.fail(p.name, VariableUnknown, "is unknown")
			bad = true
			continue
		}
		words, isSecret, ok := asText(v)
		if !ok {
			e.fail(p.name, VariableType, "is neither a string nor an integer, and cannot stand in a longer string")
			bad = true
			continue
		}
		if isSecret {
			secret = p.name
		}
		if !e.spend(len(words)) {
			return nil
		}
		b.WriteString(words)
	}
	if bad {
		return nil
	}
	return e.written(at, secret, b.String(), hidden || secret != "", hidden)
}

// asText returns the text of a value within a longer string.
func asText(v any) (words string, isSecret, ok bool) {
	switch v := simple(v).(type) {
	case string:
		return v, false, true
	case mdm.Secret:
		return string(v.Reveal()), true, true
	case int64:
		return strconv.FormatInt(v, 10), false, true
	case uint64:
		return strconv.FormatUint(v, 10), false, true
	}
	return "", false, false
}

// written returns a string as it stands in the tree. If it is hidden, its place must allow that, unless the template itself
// hides it there.
func (e *expander) written(at place, name, s string, hidden, byTemplate bool) any {
	k := at.last()
	switch {
	case !hidden:
		return s
	case k != nil && k.Secret && k.Kind == schema.Data:
		return []byte(s)
	case k != nil && k.Secret && !e.raw:
		return s // into a field that is a secret
	case k == nil || k.Secret || k.Kind == schema.Any || byTemplate:
		return mdm.SecretString(s)
	}
	return e.fail(name, VariableSecret, "is a secret, and the key is not")
}

// put returns a copy of a value that stands for a whole string.
func (e *expander) put(at place, name string, v any, hidden bool) any {
	given := v
	v = simple(v)
	within := func(at place, v any) any { return e.put(at, name, v, hidden) }
	switch v := v.(type) {
	case string:
		if !e.spend(len(v)) {
			return nil
		}
		return e.written(at, name, v, hidden, hidden)
	case mdm.Secret:
		words := string(v.Reveal())
		if !e.spend(len(words)) {
			return nil
		}
		return e.written(at, name, words, true, hidden)
	case []byte:
		if !e.spend(len(v)) {
			return nil
		}
		return append([]byte{}, v...)
	case map[string]any:
		size := 0
		for key := range v {
			size += len(key)
		}
		if !e.spend(size) {
			return nil
		}
		return e.keys(at, v, within)
	case []any:
		if !e.spend(0) {
			return nil
		}
		return e.list(at, v, within)
	case nil:
		return e.fail(name, VariableType, fmt.Sprintf("has a value of the type %T, which has no form in a property list", given))
	}
	if !e.spend(0) {
		return nil
	}
	return v
}

// spend counts one value of n bytes that is put in, and reports whether it is still allowed.
func (e *expander) spend(n int) bool {
	e.bytes += n
	e.values++
	if (e.bytes > MaxSize || e.values > plistx.DefaultElements) && !e.full {
		e.full = true
		e.fail("", VariableSize, fmt.Sprintf("the values of the variables have more than %d bytes or %d parts", MaxSize, plistx.DefaultElements))
	}
	return !e.full
}
