package plistx

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/groob/plist"
)

// Unmarshal checks data against the default limits and decodes it into v. See [UnmarshalLimits].
func Unmarshal(data []byte, v any) error { return UnmarshalLimits(data, v, Limits{}) }

// UnmarshalLimits checks data, an XML or binary property list, against l as [Check] does, and decodes it with
// groob/plist into v, a pointer to a zero value. Keys without a field are ignored.
//
// Struct fields take their keys from `plist` tags; a type may implement groob's UnmarshalPlist. Into an interface go
// string, bool, uint64, int64 (negative numbers only), float64, []byte, time.Time, []any and map[string]any. Numbers
// that do not fit a narrower integer field are cut off, as groob does; use 64-bit fields for what a device sends.
//
// The error is one of [Check], or [ErrType], or what UnmarshalPlist returned. It does not hold what was decoded,
// unless the latter does.
func UnmarshalLimits(data []byte, v any, l Limits) (err error) {
	t := newTree(l)
	doc, err := t.read(data, true)
	if err != nil {
		return err
	}
	defer recovered(&err)
	return withoutContent(plist.NewXMLDecoder(bytes.NewReader(doc)).Decode(v))
}

// Marshal encodes v as an XML property list. The same value always gives the same bytes: dictionaries are ordered by
// key. Values of nil, and of types that property lists do not have, are errors.
//
// Text keeps only what XML allows: other characters become U+FFFD. Dates are cut to seconds, in UTC.
func Marshal(v any) (data []byte, err error) {
	defer recovered(&err)
	return plist.Marshal(v)
}

// MarshalIndent is [Marshal] for readers: each element on its line, indented by tabs.
func MarshalIndent(v any) (data []byte, err error) {
	defer recovered(&err)
	return plist.MarshalIndent(v, "\t")
}

// recovered turns a panic of the codec or of a type's own method into an error. It is the last line: what reaches the
// codec has been checked, but a destination may be one that reflection cannot set.
func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case *reflect.ValueError:
		*err = fmt.Errorf("%w: panic: %v", ErrType, r)
	case runtime.Error:
		*err = fmt.Errorf("%w: panic: %v", ErrType, r)
	case string:
		if !strings.HasPrefix(r, "reflect") {
			r = "string"
		}
		*err = fmt.Errorf("%w: panic: %s", ErrType, r)
	default:
		*err = fmt.Errorf("%w: panic: %T", ErrType, r)
	}
}

// withoutContent replaces groob's type errors, which quote the value: it may be a secret.
func withoutContent(err error) error {
	var mismatch plist.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w: no conversion into %v", ErrType, mismatch.Type)
	}
	return fmt.Errorf("plistx: %w", err)
}
