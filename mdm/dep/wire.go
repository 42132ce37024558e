package dep

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object of Apple's with keys that are known. Those that are not, or whose values are of another type than
// ours, are kept and come out again: Apple adds keys without a word.
type object interface {
	// field returns a pointer to where the value of a key is kept: *string, *bool, **bool, *int, *time.Time or
	// *[]string; nil for a key that is not known.
	field(key string) any
}

// decodeObject reads into o and returns what o does not know.
func decodeObject(data []byte, o object) (map[string]json.RawMessage, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, err
	}
	for key, raw := range keys {
		if p := o.field(key); p != nil && decodeValue(raw, p) {
			delete(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return keys, nil
}

// encodeObject writes those of the keys that are set, and what o does not know.
func encodeObject(o object, keys []string, extra map[string]json.RawMessage) ([]byte, error) {
	out := make(map[string]any, len(keys)+len(extra))
	for key, raw := range extra {
		out[key] = raw
	}
	for _, key := range keys {
		if v := value(o.field(key)); v != nil {
			out[key] = v
		}
	}
	return json.Marshal(out)
}

// value returns what p points to, nil if it is not set.
func value(p any) any {
	switch p := p.(type) {
	case *string:
		if *p != "" {
			return *p
		}
	case *bool:
		if *p {
			return true
		}
	case **bool:
		if *p != nil {
			return **p
		}
	case *int:
		if *p != 0 {
			return *p
		}
	case *time.Time:
		if !p.IsZero() {
			return p.UTC().Format(time.RFC3339Nano)
		}
	case *[]string:
		if len(*p) > 0 {
			return *p
		}
	}
	return nil
}

// decodeValue reports whether raw fits what p points to; null leaves it unset.
func decodeValue(raw json.RawMessage, p any) bool {
	if string(raw) == "null" {
		return true
	}
	switch p := p.(type) {
	case *bool:
		v, ok := truth(raw)
		*p = v
		return ok
	case **bool:
		v, ok := truth(raw)
		if ok {
			*p = &v
		}
		return ok
	case *int:
		v, err := strconv.Atoi(strings.Trim(string(raw), `"`))
		*p = v
		return err == nil
	case *time.Time:
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return false
		}
		v, ok := moment(s)
		*p = v
		return ok
	case *[]string:
		var v []string
		if json.Unmarshal(raw, &v) != nil {
			return false
		}
		*p = v
		return true
	default:
		return json.Unmarshal(raw, p) == nil
	}
}

// truth reads a bool, which Apple also sends as a string.
func truth(raw json.RawMessage) (value, ok bool) {
	switch strings.ToLower(strings.Trim(string(raw), `"`)) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// moment reads a time in one of Apple's forms of ISO 8601. Nothing at all is the zero time.
func moment(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1970 && t.Year() < 10000 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
