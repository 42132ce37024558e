package profile

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Encode returns p as an XML property list. The same Profile always gives the same bytes. It fails with a Malformed
// error if p has no identifier, if two payloads have the same identifier or UUID, which a device refuses, if p has
// payloads beside its encrypted content, or if a value has no form in a property list.
//
// What a payload does not say is filled in, see [Profile.Filled].
func (p *Profile) Encode() ([]byte, error) {
	const op = "profile.Encode"
	top, err := p.encode()
	if err != nil {
		return nil, malformed(op, err)
	}
	data, err := plistx.MarshalIndent(top)
	if err != nil {
		return nil, malformed(op, err)
	}
	return data, nil
}

// contentKeys are the keys by which a profile says what it is and holds. Extra cannot have them.
var contentKeys = []string{"PayloadType", "PayloadContent", "IsEncrypted", "EncryptedPayloadContent"}

func (p *Profile) encode() (map[string]any, error) {
	if p.Identifier == "" {
		return nil, errors.New("PayloadIdentifier is required")
	}
	for _, key := range contentKeys {
		if _, ok := p.Extra[key]; ok {
			return nil, fmt.Errorf("the field Extra holds %s", key)
		}
	}
	top := p.top()
	if len(p.EncryptedContent) > 0 {
		if len(p.Payloads) > 0 {
			return nil, errors.New("a profile with EncryptedContent has payloads, too")
		}
		top["IsEncrypted"], top["EncryptedPayloadContent"] = true, p.EncryptedContent
		return top, nil
	}
	content, err := p.content()
	top["PayloadContent"] = content
	return top, err
}

// top returns the keys of the profile without its content.
func (p *Profile) top() map[string]any {
	top := map[string]any{
		"PayloadType":       "Configuration",
		"PayloadVersion":    int64(1),
		"PayloadIdentifier": p.Identifier,
		"PayloadUUID":       orDerived(p.UUID, p.Identifier),
	}
	put(top, "PayloadDisplayName", p.DisplayName)
	put(top, "PayloadDescription", p.Description)
	put(top, "PayloadOrganization", p.Organization)
	put(top, "PayloadScope", string(p.Scope))
	put(top, "PayloadRemovalDisallowed", p.RemovalDisallowed)
	put(top, "HasRemovalPasscode", p.HasRemovalPasscode)
	if !p.RemovalDate.IsZero() {
		top["RemovalDate"] = p.RemovalDate.UTC()
	}
	if !p.ExpirationDate.IsZero() {
		top["PayloadExpirationDate"] = p.ExpirationDate.UTC()
	}
	if d := p.DurationUntilRemoval.Truncate(time.Millisecond); d > 0 {
		top["DurationUntilRemoval"] = d.Seconds()
	}
	put(top, "TargetDeviceType", p.TargetDeviceType)
	if len(p.ConsentText) > 0 {
		top["ConsentText"] = anyMap(p.ConsentText)
	}
	for key, value := range p.Extra {
		top[key], _ = revealed(value)
	}
	return top
}

// content returns the payloads as they are written: the array PayloadContent.
func (p *Profile) content() ([]any, error) {
	dicts := make([]map[string]any, len(p.Payloads))
	for i, payload := range p.Payloads {
		var err error
		if dicts[i], err = dictionary(payload); err != nil {
			return nil, fmt.Errorf("PayloadContent[%d]: %w", i, err)
		}
	}
	if err := p.fill(dicts); err != nil {
		return nil, err
	}
	content := make([]any, len(dicts))
	for i, dict := range dicts {
		dict["PayloadType"] = p.Payloads[i].PayloadType()
		if dict["PayloadVersion"] == nil {
			dict["PayloadVersion"] = int64(1)
		}
		content[i] = dict
	}
	return content, nil
}

func orDerived(id, identifier string) string {
	if id == "" {
		return UUID(identifier)
	}
	return id
}

// put sets key unless v is its zero value.
func put[T comparable](dict map[string]any, key string, v T) {
	var zero T
	if v != zero {
		dict[key] = v
	}
}

// dictionary returns the keys of a payload without PayloadType and PayloadVersion. Secrets are revealed.
func dictionary(p Payload) (map[string]any, error) {
	dict, err := keysOf(p)
	if err != nil {
		return nil, err
	}
	for key, value := range dict {
		dict[key], _ = revealed(value)
	}
	return dict, nil
}

// keysOf is dictionary, but secrets that no type declares stay what they are: those in Values of a [Raw], and in Extra.
func keysOf(p Payload) (map[string]any, error) {
	if isMissing(p) {
		return nil, errors.New("no payload")
	}
	if raw, ok := p.(*Raw); ok {
		dict := make(map[string]any, len(raw.Values)+4)
		maps.Copy(dict, raw.Values)
		return dict, nil
	}
	if d, ok := p.(described); ok && isOurs(d) {
		return schema.Encode(d)
	}
	return tagged(p)
}

// isMissing reports whether there is no payload, or a pointer to none, of which not even the type can be asked.
func isMissing(p Payload) bool {
	v := reflect.ValueOf(p)
	return p == nil || v.Kind() == reflect.Pointer && v.IsNil()
}

// revealed returns a value with the text of every [mdm.Secret] in it in place of the secret, and whether there is one. What
// holds none is shared, not copied.
func revealed(v any) (any, bool) {
	switch v := v.(type) {
	case mdm.Secret:
		return string(v.Reveal()), true
	case map[string]any:
		var out map[string]any
		for key, value := range v {
			if text, secret := revealed(value); secret {
				if out == nil {
					out = maps.Clone(v)
				}
				out[key] = text
			}
		}
		if out != nil {
			return out, true
		}
	case []any:
		var out []any
		for i, value := range v {
			if text, secret := revealed(value); secret {
				if out == nil {
					out = append([]any(nil), v...)
				}
				out[i] = text
			}
		}
		if out != nil {
			return out, true
		}
	}
	return v, false
}

// isOurs reports whether p is of a type of this package. A type that embeds one has its methods, but fields of its own.
func isOurs(p any) bool {
	t := reflect.TypeOf(p)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == reflect.TypeFor[Common]().PkgPath()
}

// tagged encodes a vendor's type by its plist tags.
func tagged(p Payload) (map[string]any, error) {
	data, err := plistx.Marshal(p)
	if err != nil {
		return nil, err
	}
	dict := map[string]any{}
	return dict, plistx.Unmarshal(data, &dict)
}

func malformed(op string, err error) error { return mdm.Errorf(mdm.Malformed, op, "%w", err) }

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for key, value := range m {
		out[key] = value
	}
	return out
}

func joined(i int, path string) string {
	at := fmt.Sprintf("PayloadContent[%d]", i)
	if path == "" {
		return at
	}
	return at + "." + path
}
