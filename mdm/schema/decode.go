package schema

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Mismatch is a value that does not fit its Go type.
type Mismatch struct {
	Path string // as "QueryResponses.BatteryLevel"
	Want string // as "real"
}

// Mismatches are what [Decode] could not place. As an error it lists the first of them. It holds no values.
type Mismatches []Mismatch

// Error lists the first keys.
func (m Mismatches) Error() string {
	var parts []string
	for i, one := range m {
		if i == maxListed {
			parts = append(parts, fmt.Sprintf("and %d more", len(m)-i))
			break
		}
		parts = append(parts, one.Path+" is no "+one.Want)
	}
	return strings.Join(parts, "; ")
}

// Err returns m, or nil if it is empty.
func (m Mismatches) Err() error {
	if len(m) == 0 {
		return nil
	}
	return m
}

// Decode fills v, a pointer to a struct of a generated type, from a dictionary. Keys that are absent leave v as it is. A
// key that v does not know is kept in the nearest field Extra, and so is one whose value is of another type, or whose
// array or dictionary holds one: then the field has what could be read, and the Mismatches say what not. Values in Extra
// are those of dict, not copies.
//
// The numbers of dict may be of any Go type that holds them.
func Decode(dict map[string]any, v any) Mismatches {
	return decode(dict, v, false)
}

func decode(dict map[string]any, v any, json bool) Mismatches {
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Pointer || r.IsNil() || r.Elem().Kind() != reflect.Struct {
		return Mismatches{{Want: fmt.Sprintf("dictionary for a %T", v)}}
	}
	d := decoder{json: json}
	d.dictionary(dict, r.Elem())
	return d.wrong
}

// decoder fills values, and remembers where it is and what went wrong.
type decoder struct {
	json     bool // dates and data are strings
	optional bool // the field that is being filled may be absent
	path     []string
	wrong    Mismatches
}

func (d *decoder) fail(want string) bool {
	d.wrong = append(d.wrong, Mismatch{Path: join(d.path), Want: want})
	return false
}

// in does something one level below, at a key or an index.
func (d *decoder) in(step string, do func() bool) bool {
	d.path = append(d.path, step)
	ok := do()
	d.path = d.path[:len(d.path)-1]
	return ok
}

func (d *decoder) dictionary(dict map[string]any, v reflect.Value) {
	p := planOf(v.Type())
	if p.union != "" {
		d.union(p, dict, v)
		return
	}
	placed := 0
	var rest map[string]any
	for i := range p.fields {
		f := &p.fields[i]
		value, ok := dict[f.key]
		if !ok || value == nil {
			continue
		}
		if d.in(f.key, func() bool {
			d.optional = f.omit
			return d.value(value, v.FieldByIndex(f.index), f.text)
		}) {
			placed++
			continue
		}
		rest = keep(rest, f.key, value)
	}
	if placed+len(rest) < len(dict) {
		for key, value := range dict {
			if _, known := p.byKey[key]; !known {
				rest = keep(rest, key, value)
			}
		}
	}
	if rest != nil && p.extra >= 0 {
		v.Field(p.extra).Set(reflect.ValueOf(rest))
	}
}

func keep(rest map[string]any, key string, value any) map[string]any {
	if rest == nil {
		rest = map[string]any{}
	}
	rest[key] = value
	return rest
}

// union fills the alternative that the dictionary names; one that is not known is kept whole.
func (d *decoder) union(p *plan, dict map[string]any, v reflect.Value) {
	name, _ := dict[p.union].(string)
	i, ok := p.byKey[name]
	if !ok {
		v.Field(p.extra).Set(reflect.ValueOf(dict))
		return
	}
	inner := make(map[string]any, len(dict))
	for key, value := range dict {
		if key != p.union {
			inner[key] = value
		}
	}
	f := v.FieldByIndex(p.fields[i].index)
	f.Set(reflect.New(f.Type().Elem()))
	d.dictionary(inner, f.Elem())
}

// value reports whether from fits into v as a whole.
func (d *decoder) value(from any, v reflect.Value, text bool) bool {
	switch v.Type() {
	case timeType:
		t, ok := d.date(from)
		if !ok {
			return d.fail("date")
		}
		v.Set(reflect.ValueOf(t))
		return true
	case secretType:
		return d.secret(from, v, text)
	case dataType:
		b, ok := d.data(from)
		if !ok {
			return d.fail("data")
		}
		v.SetBytes(b)
		return true
	}
	switch v.Kind() {
	case reflect.Pointer:
		return d.pointer(from, v, text)
	case reflect.Interface:
		v.Set(reflect.ValueOf(from))
		return true
	case reflect.Struct:
		dict, ok := from.(map[string]any)
		if !ok {
			return d.fail("dictionary")
		}
		d.dictionary(dict, v)
		return true
	case reflect.Slice:
		return d.slice(from, v, text)
	case reflect.Map:
		return d.mapping(from, v, text)
	}
	return d.scalar(from, v)
}

func (d *decoder) pointer(from any, v reflect.Value, text bool) bool {
	to := reflect.New(v.Type().Elem())
	if !d.value(from, to.Elem(), text) {
		return false
	}
	v.Set(to)
	return true
}

func (d *decoder) slice(from any, v reflect.Value, text bool) bool {
	list, ok := from.([]any)
	if one, alone := from.(map[string]any); alone && v.Type().Elem().Kind() == reflect.Struct {
		list = []any{one} // some systems send one entry without its array; it is kept as it came, too
	} else if !ok {
		return d.fail("array")
	}
	out := reflect.MakeSlice(v.Type(), len(list), len(list))
	n := 0
	for i, item := range list {
		fits := item != nil && d.in(bracket(i), func() bool { return d.value(item, out.Index(n), text) })
		if fits {
			n++
			continue
		}
		out.Index(n).SetZero()
		ok = false
	}
	v.Set(out.Slice(0, n))
	return ok
}

func (d *decoder) mapping(from any, v reflect.Value, text bool) bool {
	dict, ok := from.(map[string]any)
	if !ok {
		return d.fail("dictionary")
	}
	out := reflect.MakeMapWithSize(v.Type(), len(dict))
	for key, item := range dict {
		to := reflect.New(v.Type().Elem()).Elem()
		if item != nil && d.in(key, func() bool { return d.value(item, to, text) }) {
			out.SetMapIndex(reflect.ValueOf(key), to)
			continue
		}
		ok = false
	}
	v.Set(out)
	return ok
}

func (d *decoder) scalar(from any, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		s, ok := from.(string)
		if !ok {
			return d.fail("string")
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := from.(bool)
		if !ok {
			return d.fail("boolean")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := integer(from)
		if !ok || v.OverflowInt(n) {
			return d.fail("integer")
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, ok := natural(from)
		if !ok || v.OverflowUint(n) {
			return d.fail("integer")
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		x, ok := number(from)
		if !ok {
			return d.fail("real")
		}
		v.SetFloat(x)
	default:
		return d.fail(v.Type().String())
	}
	return true
}

func (d *decoder) date(from any) (time.Time, bool) {
	if s, ok := from.(string); ok && d.json {
		t, err := time.Parse(time.RFC3339, s)
		return t.UTC(), err == nil
	}
	t, ok := from.(time.Time)
	return t, ok
}

func (d *decoder) data(from any) ([]byte, bool) {
	if s, ok := from.(string); ok && d.json {
		b, err := base64.StdEncoding.DecodeString(s)
		return b, err == nil
	}
	b, ok := from.([]byte)
	if ok && b == nil {
		b = []byte{}
	}
	return b, ok
}

func (d *decoder) secret(from any, v reflect.Value, text bool) bool {
	if text {
		s, ok := from.(string)
		if !ok {
			return d.fail("string")
		}
		v.Set(reflect.ValueOf(mdm.SecretString(s)))
		return s != "" || !d.optional // an empty one that may be absent cannot be told from none: it is kept aside
	}
	b, ok := d.data(from)
	if !ok {
		return d.fail("data")
	}
	v.Set(reflect.ValueOf(mdm.NewSecret(b)))
	return len(b) > 0
}

// integer returns what is a whole number of 64 bits.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64
	case int:
		return int64(n), true
	}
	return 0, false
}

// natural returns what is a whole number of 64 bits without a sign.
func natural(v any) (uint64, bool) {
	if n, ok := v.(uint64); ok {
		return n, true
	}
	n, ok := integer(v)
	return uint64(n), ok && n >= 0
}

// number returns any number.
func number(v any) (float64, bool) {
	if x, ok := v.(float64); ok {
		return x, true
	}
	if n, ok := v.(uint64); ok {
		return float64(n), true
	}
	n, ok := integer(v)
	return float64(n), ok
}

// join writes a path as people do: "Settings[2].Image".
func join(path []string) string {
	var b strings.Builder
	for i, step := range path {
		if i > 0 && !strings.HasPrefix(step, "[") {
			b.WriteByte('.')
		}
		b.WriteString(step)
	}
	return b.String()
}

func bracket(i int) string { return "[" + strconv.Itoa(i) + "]" }

// pathError is an error at a path.
type pathError struct {
	path []string
	err  error
}

func (e *pathError) Error() string { return join(e.path) + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// within adds a step in front of the path of err.
func within(step string, err error) error {
	if at, ok := errors.AsType[*pathError](err); ok {
		return &pathError{path: slices.Concat([]string{step}, at.path), err: at.err}
	}
	return &pathError{path: []string{step}, err: err}
}
