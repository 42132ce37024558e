package profile

import (
	"reflect"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// fillIn decodes keys into p, a pointer to a type of this package. What does not fit is kept in Extra, and comes out again as
// it was; its secrets are hidden, as they are in the fields.
func fillIn(p Payload, keys map[string]any) {
	if len(schema.Decode(keys, p)) == 0 {
		return
	}
	extra, _ := reflect.ValueOf(p).Elem().FieldByName("Extra").Interface().(map[string]any)
	top := placeIn(p.(described).Schema())
	for key, value := range extra {
		if at := top.key(key); at.last() != nil { // others are keys of a vendor's, who reads them there
			extra[key] = at.hidden(value)
		}
	}
}

// hidden returns a copy of a tree of values that stands here, with a [mdm.Secret] in place of each text that is one.
func (p place) hidden(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = p.key(key).hidden(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = p.item().hidden(value)
		}
		return out
	case string:
		if p.secret() && v != "" {
			return mdm.SecretString(v)
		}
	}
	return tree
}
