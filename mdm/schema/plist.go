package schema

import (
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// EncodePlist returns v, a struct of a generated type or a pointer to one, as an XML property list; see [Encode]. Secrets
// are revealed. Use it for documents that are files of their own, as a command.Manifest and a command.PasswordHash. The error
// is a Malformed one.
func EncodePlist(v any) ([]byte, error) {
	const op = "schema.EncodePlist"
	dict, err := Encode(v)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	data, err := plistx.MarshalIndent(dict)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return data, nil
}

// DecodePlist fills v, a pointer to a struct of a generated type, from a property list, XML or binary, of at most 8 MiB. The
// Mismatches are as with [Decode]. The error is a Malformed one: no property list, or not a dictionary.
func DecodePlist(data []byte, v any) (Mismatches, error) {
	var dict map[string]any
	if err := plistx.Unmarshal(data, &dict); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, "schema.DecodePlist", "%w", err)
	}
	return Decode(dict, v), nil
}
