package sqlstore

import (
	"fmt"
	"reflect"
	"time"
)

// number turns the integers, booleans and texts of named types into what every driver takes.
func number(v any) any {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Bool:
		if r.Bool() {
			return int64(1)
		}
		return int64(0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return int64(r.Uint()) // digests use all 64 bits
	case reflect.String:
		return r.String()
	}
	panic(fmt.Sprintf("sqlstore: an argument of type %T", v))
}

// micros is a time as it is stored; 0 is no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
