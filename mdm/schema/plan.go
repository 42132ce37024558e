package schema

import (
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// The generated types share a form, which the functions of this package read by reflection. A struct is a dictionary; its
// fields are the keys, named by the tag plist. A pointer, a nil slice and a nil map are absent keys. A field Extra holds
// the keys that the type does not know. A struct with a field tagged union is one of several dictionaries: one of its
// fields is set, and the tag says by which key they are told apart.

var (
	timeType   = reflect.TypeFor[time.Time]()
	secretType = reflect.TypeFor[mdm.Secret]()
	extraType  = reflect.TypeFor[map[string]any]()
	dataType   = reflect.TypeFor[[]byte]()
)

// plan is how a struct is a dictionary.
type plan struct {
	fields []field
	byKey  map[string]int
	extra  int    // the index of the field Extra, or -1
	union  string // the key that tells the dictionaries apart
}

type field struct {
	key   string
	index []int
	text  bool // of a Secret: a string on the wire, not data
	omit  bool // a zero string, number or truth is an absent key
}

var plans sync.Map // reflect.Type → *plan; the types of a program are few

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{extra: -1, byKey: map[string]int{}}
	p.add(t, nil)
	actual, _ := plans.LoadOrStore(t, p)
	return actual.(*plan)
}

// add takes the fields of t, and those of structs embedded in it.
func (p *plan) add(t reflect.Type, at []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(append([]int(nil), at...), i)
		name, options, _ := strings.Cut(f.Tag.Get("plist"), ",")
		switch {
		case f.Name == "_":
			p.union = f.Tag.Get("union")
		case name == "-" && f.Name == "Extra" && f.Type == extraType && len(at) == 0:
			p.extra = i
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			p.add(f.Type, index)
		case name == "-" || !f.IsExported():
		default:
			if name == "" {
				name = f.Name
			}
			p.byKey[name] = len(p.fields)
			p.fields = append(p.fields, field{key: name, index: index, text: hasOption(options, "text"), omit: hasOption(options, "omitempty")})
		}
	}
}

func hasOption(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// extraOf returns the keys that v holds beyond its fields.
func (p *plan) extraOf(v reflect.Value) map[string]any {
	if p.extra < 0 {
		return nil
	}
	return v.Field(p.extra).Interface().(map[string]any)
}
