package schema

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Encode returns v, a struct of a generated type or a pointer to one, as the dictionary that it is on the wire. Keys in a
// field Extra are written as they are, in place of a field of the same key. Secrets are revealed. The maps and slices of
// Extra and of values of any type are shared, not copied.
//
// It fails if v is nil or no struct, and if a value that is one of several dictionaries has none or more than one set.
func Encode(v any) (map[string]any, error) {
	return encode(v, encoder{})
}

// encoder says how values are written.
type encoder struct {
	json     bool           // dates and data become strings; in free values, tagged ones
	plain    bool           // nothing is tagged
	noSecret bool           // a secret is an error
	more     map[string]any // further keys of the outermost dictionary
}

func encode(v any, e encoder) (map[string]any, error) {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer && !r.IsNil() {
		r = r.Elem()
	}
	if r.Kind() != reflect.Struct {
		return nil, fmt.Errorf("schema: %T is no struct", v)
	}
	dict, err := e.keys(r)
	if err != nil {
		return nil, err
	}
	maps.Copy(dict, e.more)
	return e.wrap(dict), nil
}

func (e encoder) dictionary(v reflect.Value) (map[string]any, error) {
	dict, err := e.keys(v)
	if err != nil {
		return nil, err
	}
	return e.wrap(dict), nil
}

// wrap keeps a dictionary from being taken for a tagged value.
func (e encoder) wrap(dict map[string]any) map[string]any {
	if e.json && !e.plain && isTagged(dict) {
		return map[string]any{tagObject: dict}
	}
	return dict
}

func (e encoder) keys(v reflect.Value) (map[string]any, error) {
	p := planOf(v.Type())
	if p.union != "" {
		return e.union(p, v)
	}
	extra := p.extraOf(v)
	dict := make(map[string]any, len(p.fields)+len(extra))
	for i := range p.fields {
		f := &p.fields[i]
		if _, ok := extra[f.key]; ok {
			continue
		}
		from := v.FieldByIndex(f.index)
		if f.omit && from.IsZero() && (isScalar(from.Kind()) || from.Type() == secretType) {
			continue
		}
		value, err := e.value(from, f.text)
		if err != nil {
			return nil, within(f.key, err)
		}
		if value != nil {
			dict[f.key] = value
		}
	}
	for key, value := range extra {
		dict[key] = e.free(value)
	}
	return dict, nil
}

// union writes the one field that is set.
func (e encoder) union(p *plan, v reflect.Value) (map[string]any, error) {
	extra := p.extraOf(v)
	var dict map[string]any
	for i := range p.fields {
		f := v.FieldByIndex(p.fields[i].index)
		if f.IsNil() {
			continue
		}
		if dict != nil || extra != nil {
			return nil, errors.New("more than one of the alternatives is set")
		}
		one, err := e.keys(f.Elem())
		if err != nil {
			return nil, err
		}
		dict = one
		dict[p.union] = p.fields[i].key
	}
	if dict != nil {
		return dict, nil
	}
	if extra == nil {
		return nil, errors.New("none of the alternatives is set")
	}
	dict = make(map[string]any, len(extra))
	for key, value := range extra {
		dict[key] = e.free(value)
	}
	return dict, nil
}

// value returns nil for what is absent.
func (e encoder) value(v reflect.Value, text bool) (any, error) {
	switch v.Type() {
	case timeType:
		return e.date(v.Interface().(time.Time)), nil
	case secretType:
		return e.secret(v.Interface().(mdm.Secret), text)
	case dataType:
		if v.IsNil() {
			return nil, nil
		}
		return e.data(v.Bytes()), nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return e.value(v.Elem(), text)
	case reflect.Interface:
		if v.IsNil() {
			return nil, nil
		}
		return e.free(v.Interface()), nil
	case reflect.Struct:
		return e.dictionary(v)
	case reflect.Slice:
		return e.slice(v, text)
	case reflect.Map:
		return e.mapping(v, text)
	}
	return scalar(v)
}

func isScalar(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Float64 || k == reflect.String
}

func scalar(v reflect.Value) (any, error) {
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint(), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	}
	return nil, fmt.Errorf("a %s has no form in a property list", v.Type())
}

func (e encoder) slice(v reflect.Value, text bool) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	list := make([]any, v.Len())
	for i := range list {
		item, err := e.value(v.Index(i), text)
		if err != nil {
			return nil, within(bracket(i), err)
		}
		list[i] = item
	}
	return list, nil
}

func (e encoder) mapping(v reflect.Value, text bool) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	dict := make(map[string]any, v.Len())
	for it := v.MapRange(); it.Next(); {
		value, err := e.value(it.Value(), text)
		if err != nil {
			return nil, within(it.Key().String(), err)
		}
		if value != nil {
			dict[it.Key().String()] = value
		}
	}
	return dict, nil
}

func (e encoder) date(t time.Time) any {
	switch {
	case t.IsZero():
		return nil
	case e.json:
		return t.UTC().Format(time.RFC3339Nano)
	}
	return t.UTC()
}

func (e encoder) data(b []byte) any {
	if e.json {
		return base64.StdEncoding.EncodeToString(b)
	}
	return b
}

func (e encoder) secret(s mdm.Secret, text bool) (any, error) {
	switch {
	case s.IsZero() && text:
		return "", nil // of a required key; an optional one is not written
	case s.IsZero():
		return nil, nil
	case e.noSecret:
		return nil, mdm.ErrSecret
	case text:
		return string(s.Reveal()), nil
	}
	return e.data(s.Reveal()), nil
}

// free returns a value of no declared type.
func (e encoder) free(v any) any {
	switch {
	case e.json && e.plain:
		return plain(v)
	case e.json:
		return tag(v)
	}
	return v
}
