package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Limits of JSON documents.
const (
	maxJSON      = 16 << 20 // bytes
	maxJSONDepth = 64
)

// EncodeJSON returns v as JSON: an object with the keys of the wire. Data is base64, dates are RFC 3339, and reals have a
// point or an exponent, so that they stay apart from integers. Where no type says what a value is (in Extra, and in keys
// of any type), data and dates are written as {"$data": "…"} and {"$date": "…"}, and an object whose only key begins with
// "$" is put into {"$object": …}. Nothing is lost on the way there and back.
//
// Secrets are revealed: it is for documents that a device or a trusted program reads. Marshaling a value that holds a
// secret with encoding/json fails with [mdm.ErrSecret].
//
// [mdm.ErrSecret]: https://pkg.go.dev/github.com/gomdm/applemdm/mdm#ErrSecret
func EncodeJSON(v any) ([]byte, error) {
	dict, err := encode(v, encoder{json: true})
	if err != nil {
		return nil, err
	}
	return FormatJSON(dict)
}

// EncodeJSONWith is EncodeJSON with further keys, which v does not have.
func EncodeJSONWith(v any, more map[string]any) ([]byte, error) {
	dict, err := encode(v, encoder{json: true, more: more})
	if err != nil {
		return nil, err
	}
	return FormatJSON(dict)
}

// EncodeTreeJSON is EncodeJSON for a dictionary of which no type says what its values are: all data and dates are tagged.
func EncodeTreeJSON(dict map[string]any) ([]byte, error) {
	return EncodeJSON(struct {
		Extra map[string]any `plist:"-"`
	}{dict})
}

// MarshalJSON is [EncodeJSON], but fails with [mdm.ErrSecret] if v holds a secret. The generated types implement
// json.Marshaler by it.
func MarshalJSON(v any) ([]byte, error) {
	dict, err := encode(v, encoder{json: true, noSecret: true})
	if err != nil {
		return nil, err
	}
	return FormatJSON(dict)
}

// FormatJSON writes a tree of JSON values, without escaping what is harmless outside of HTML.
func FormatJSON(tree any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(reals(tree)); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// reals returns tree with reals that do not look like integers.
func reals(tree any) any {
	switch v := tree.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return v // refused by the encoder
		}
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return json.Number(text)
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = reals(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = reals(value)
		}
		return out
	}
	return tree
}

// EncodePlainJSON is [EncodeJSON] for documents that are JSON on the wire, as declarations: nothing is tagged.
func EncodePlainJSON(v any) ([]byte, error) {
	dict, err := encode(v, encoder{json: true, plain: true})
	if err != nil {
		return nil, err
	}
	return FormatJSON(dict)
}

// MarshalPlainJSON is [MarshalJSON] for documents that are JSON on the wire.
func MarshalPlainJSON(v any) ([]byte, error) {
	dict, err := encode(v, encoder{json: true, plain: true, noSecret: true})
	if err != nil {
		return nil, err
	}
	return FormatJSON(dict)
}

// DecodeJSON fills v from the form of [EncodeJSON]. A null is an absent key. The Mismatches are as with [Decode]. The
// error is a Malformed one: no JSON object, a key twice, over 16 MiB, or nested deeper than 64.
func DecodeJSON(data []byte, v any) (Mismatches, error) {
	dict, err := ParseJSON(data)
	if err != nil {
		return nil, err
	}
	return decode(dict, v, true), nil
}

// DecodeTree is [Decode] for a tree that [ParseJSON] or [ParsePlainJSON] made: dates and data may be strings.
func DecodeTree(dict map[string]any, v any) Mismatches { return decode(dict, v, true) }

// DecodePlainJSON is [DecodeJSON] for documents that are JSON on the wire: nothing is taken for a tag.
func DecodePlainJSON(data []byte, v any) (Mismatches, error) {
	dict, err := ParsePlainJSON(data)
	if err != nil {
		return nil, err
	}
	return decode(dict, v, true), nil
}

// UnmarshalJSON is [DecodeJSON] that takes a mismatch for an error. The generated types implement json.Unmarshaler by it.
func UnmarshalJSON(data []byte, v any) error { return strict(DecodeJSON(data, v)) }

// UnmarshalPlainJSON is [UnmarshalJSON] for documents that are JSON on the wire.
func UnmarshalPlainJSON(data []byte, v any) error { return strict(DecodePlainJSON(data, v)) }

func strict(wrong Mismatches, err error) error {
	if err == nil && len(wrong) > 0 {
		err = mdm.Errorf(mdm.Malformed, "schema.UnmarshalJSON", "%w", wrong)
	}
	return err
}

// ParseJSON reads a JSON object into a tree like that of [Encode]: integers are int64 or uint64, numbers with a point or an
// exponent float64, and what [EncodeJSON] tagged is data and dates again.
func ParseJSON(data []byte) (map[string]any, error) { return parseJSON(data, false) }

// ParsePlainJSON is [ParseJSON] without tags.
func ParsePlainJSON(data []byte) (map[string]any, error) { return parseJSON(data, true) }

func parseJSON(data []byte, plain bool) (map[string]any, error) {
	const op = "schema.ParseJSON"
	if len(data) > maxJSON {
		return nil, mdm.Errorf(mdm.Malformed, op, "larger than %d bytes", maxJSON)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	tree, err := parse(d, 0)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more than one value")
		}
	}
	if err == nil && !plain {
		tree, err = untag(tree)
	}
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", redact(err))
	}
	dict, ok := tree.(map[string]any)
	if !ok {
		return nil, mdm.Errorf(mdm.Malformed, op, "not an object")
	}
	return dict, nil
}

// redact drops what a JSON error quotes.
func redact(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	}
	return err
}

// parse reads one value, token by token, so that depth and doubled keys are seen.
func parse(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxJSONDepth)
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return parseObject(d, depth)
		}
		return parseArray(d, depth)
	case json.Number:
		return parseNumber(string(v))
	}
	return token, nil
}

func parseNumber(text string) (any, error) {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, nil
		}
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errors.New("a number out of range")
	}
	return x, nil
}

func parseArray(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		item, err := parse(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := d.Token()
	return list, err
}

func parseObject(d *json.Decoder, depth int) (any, error) {
	dict := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := token.(string)
		if _, twice := dict[key]; twice || !ok {
			return nil, errors.New("an object with the same key twice")
		}
		if dict[key], err = parse(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return dict, err
}
