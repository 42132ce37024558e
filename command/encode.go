package command

import (
	"reflect"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm/schema"
)

// encode returns a message with the Command dictionary, and what else a whole raw message holds. The maps may be changed.
func encode(c Command) (map[string]any, error) {
	switch raw := c.(type) {
	case Raw:
		return raw.message()
	case *Raw:
		return raw.message()
	}
	dict, err := dictionaryOf(c)
	if err != nil {
		return nil, err
	}
	dict["RequestType"] = c.RequestType()
	return map[string]any{"Command": dict}, nil
}

func dictionaryOf(c Command) (map[string]any, error) {
	switch r := c.(type) {
	case Recipe:
		return r.dictionary(), nil
	case *Recipe:
		return r.dictionary(), nil
	}
	if isOurs(c) {
		return schema.Encode(c)
	}
	data, err := plistx.Marshal(c)
	if err != nil {
		return nil, err
	}
	var dict map[string]any
	if err := plistx.UnmarshalLimits(data, &dict, plistx.Limits{Bytes: MaxBody}); err != nil {
		return nil, err
	}
	return dict, nil
}

// isOurs reports whether c is of a type of this package. A type that embeds one has its methods, but fields of its own.
func isOurs(c Command) bool {
	t := reflect.TypeOf(c)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == reflect.TypeFor[Item]().PkgPath()
}
