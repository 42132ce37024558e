package schema

import (
	"encoding/base64"
	"errors"
	"time"
)

// The tags of values whose type nothing else says.
const (
	tagData   = "$data"
	tagDate   = "$date"
	tagObject = "$object"
)

// tag returns a free value with its data and dates tagged.
func tag(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]any{tagData: base64.StdEncoding.EncodeToString(v)}
	case time.Time:
		return map[string]any{tagDate: v.UTC().Format(time.RFC3339Nano)}
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = tag(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = tag(item)
		}
		if isTagged(v) {
			return map[string]any{tagObject: out}
		}
		return out
	}
	return v
}

// plain returns a free value with its data and dates as strings.
func plain(v any) any {
	switch v := v.(type) {
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = plain(item)
		}
		return out
	}
	return v
}

// isTagged reports whether a dictionary looks like a tagged value.
func isTagged(dict map[string]any) bool {
	return len(dict) == 1 && (has(dict, tagData) || has(dict, tagDate) || has(dict, tagObject))
}

func has(dict map[string]any, key string) bool {
	_, ok := dict[key]
	return ok
}

// untag returns what tag was given.
func untag(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			inner, err := untag(item)
			if err != nil {
				return nil, err
			}
			v[i] = inner
		}
	case map[string]any:
		if len(v) == 1 {
			switch {
			case has(v, tagData):
				return untagData(v[tagData])
			case has(v, tagDate):
				return untagDate(v[tagDate])
			case has(v, tagObject):
				return untagObject(v[tagObject])
			}
		}
		return untagValues(v)
	}
	return v, nil
}

func untagValues(dict map[string]any) (any, error) {
	for key, item := range dict {
		inner, err := untag(item)
		if err != nil {
			return nil, err
		}
		dict[key] = inner
	}
	return dict, nil
}

func untagData(v any) (any, error) {
	text, ok := v.(string)
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return nil, errors.New("a $data that is no base64")
	}
	return b, nil
}

func untagDate(v any) (any, error) {
	text, ok := v.(string)
	t, err := time.Parse(time.RFC3339, text)
	if !ok || err != nil {
		return nil, errors.New("a $date that is no date")
	}
	return t.UTC(), nil
}

// untagObject returns a dictionary that only looks like a tagged value.
func untagObject(v any) (any, error) {
	dict, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("an $object that is no object")
	}
	return untagValues(dict)
}
