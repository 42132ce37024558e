package synth

import (
	"reflect"

	"github.com/gomdm/applemdm/mdm"
)

// Normal returns a tree of values with whole numbers of one type, so that trees can be compared.
func Normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = Normal(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = Normal(value)
		}
		return out
	case uint64:
		return int64(v)
	}
	return v
}

// Extras returns the paths of the fields Extra in a value of a generated type that hold something.
func Extras(v any) []string { return extras(reflect.ValueOf(v), "") }

func extras(v reflect.Value, path string) []string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return extras(v.Elem(), path)
	case reflect.Slice:
		var out []string
		for i := range v.Len() {
			out = append(out, extras(v.Index(i), path+"[]")...)
		}
		return out
	case reflect.Map:
		var out []string
		for it := v.MapRange(); it.Next(); {
			out = append(out, extras(it.Value(), path+"{}")...)
		}
		return out
	case reflect.Struct:
		var out []string
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case f.Name == "Extra" && v.Field(i).Len() > 0:
				out = append(out, path+".Extra")
			case f.IsExported() && f.Name != "Extra" && f.Type != reflect.TypeFor[mdm.Secret]():
				out = append(out, extras(v.Field(i), path+"."+f.Name)...)
			}
		}
		return out
	}
	return nil
}

// Plant puts a key that no schema knows into every dictionary of a tree.
func Plant(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			Plant(inner)
		}
		v["New Key"] = []any{"new", []byte{1}}
	case []any:
		for _, inner := range v {
			Plant(inner)
		}
	}
}
