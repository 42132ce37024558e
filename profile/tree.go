package profile

import (
	"bytes"
	"math/big"
	"reflect"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// simple returns a value of any Go type as one of those that a property list decodes to, as far as its outermost level:
// string, bool, int64 if negative, else uint64, float64, []byte, time.Time, []any and map[string]any; and mdm.Secret. It
// returns nil if there is none.
func simple(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case mdm.Secret, string, bool, uint64, float64, []byte, []any, map[string]any:
		return v
	case time.Time:
		if v = v.UTC(); v.Year() < 0 || v.Year() > 9999 {
			return nil
		}
		return v
	}
	return reflected(reflect.ValueOf(v))
}

func reflected(r reflect.Value) any {
	switch r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return nil
		}
		return simple(r.Elem().Interface())
	case reflect.String:
		return r.String()
	case reflect.Bool:
		return r.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if r.Int() < 0 {
			return r.Int()
		}
		return uint64(r.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return r.Uint()
	case reflect.Float32, reflect.Float64:
		return r.Float()
	case reflect.Slice:
		return reflectedSlice(r)
	case reflect.Map:
		if r.Type().Key().Kind() != reflect.String {
			return nil
		}
		dict := make(map[string]any, r.Len())
		for it := r.MapRange(); it.Next(); {
			dict[it.Key().String()] = it.Value().Interface()
		}
		return dict
	}
	return nil
}

func reflectedSlice(r reflect.Value) any {
	if r.Type().Elem().Kind() == reflect.Uint8 {
		return r.Bytes()
	}
	list := make([]any, r.Len())
	for i := range list {
		list[i] = r.Index(i).Interface()
	}
	return list
}

// sameLeaf reports whether two values of a decoded property list, neither dictionaries nor arrays, are the same for a device:
// numbers by what they are worth.
func sameLeaf(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		other, ok := b.([]byte)
		return ok && bytes.Equal(a, other)
	case time.Time:
		other, ok := b.(time.Time)
		return ok && a.Equal(other)
	}
	if x, y := number(a), number(b); x != nil && y != nil {
		return x.Cmp(y) == 0
	}
	if x, ok := a.(float64); ok && x != x {
		y, ok := b.(float64)
		return ok && y != y
	}
	return a == b
}

// number returns a number exactly, nil for what is none.
func number(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case uint64:
		return new(big.Float).SetUint64(v)
	case float64:
		if v == v {
			return new(big.Float).SetFloat64(v)
		}
	}
	return nil
}
