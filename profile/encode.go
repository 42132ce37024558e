package profile

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Encode returns p as an XML property list. The same Profile always gives the same bytes. It fails with a Malformed
// error if p has no identifier, or two payloads have the same identifier or UUID, which a device refuses.
func (p *Profile) Encode() ([]byte, error) {
	const op = "profile.Encode"
	if p.Identifier == "" {
		return nil, mdm.Errorf(mdm.Malformed, op, "PayloadIdentifier is required")
	}
	top := p.top()
	if len(p.EncryptedContent) > 0 {
		top["IsEncrypted"], top["EncryptedPayloadContent"] = true, p.EncryptedContent
		return plistx.MarshalIndent(top)
	}
	content, err := p.encodePayloads()
	if err != nil {
		return nil, err
	}
	top["PayloadContent"] = content
	return plistx.MarshalIndent(top)
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
	if !p.RemovalDate.IsZero() {
		top["RemovalDate"] = p.RemovalDate.UTC()
	}
	if !p.ExpirationDate.IsZero() {
		top["PayloadExpirationDate"] = p.ExpirationDate.UTC()
	}
	if p.DurationUntilRemoval > 0 {
		top["DurationUntilRemoval"] = p.DurationUntilRemoval.Seconds()
	}
	put(top, "TargetDeviceType", p.TargetDeviceType)
	if len(p.ConsentText) > 0 {
		top["ConsentText"] = anyMap(p.ConsentText)
	}
	for key, value := range p.Extra {
		top[key] = value
	}
	return top
}

func (p *Profile) encodePayloads() ([]any, error) {
	content := make([]any, 0, len(p.Payloads))
	seen := map[any]bool{}
	for i, payload := range p.Payloads {
		dict, err := dictionary(payload)
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, "profile.Encode", "PayloadContent[%d]: %w", i, err)
		}
		dict["PayloadType"] = payload.PayloadType()
		if dict["PayloadVersion"] == nil {
			dict["PayloadVersion"] = int64(1)
		}
		if dict["PayloadIdentifier"] == nil {
			dict["PayloadIdentifier"] = fmt.Sprintf("%s.%s.%d", p.Identifier, payload.PayloadType(), i+1)
		}
		if dict["PayloadUUID"] == nil {
			dict["PayloadUUID"] = UUID(fmt.Sprint(dict["PayloadIdentifier"]))
		}
		for _, key := range []string{"PayloadIdentifier", "PayloadUUID"} {
			if v := dict[key]; seen[v] {
				return nil, mdm.Errorf(mdm.Malformed, "profile.Encode", "PayloadContent[%d]: %s %v is used twice", i, key, v)
			} else {
				seen[v] = true
			}
		}
		content = append(content, dict)
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

// dictionary returns the keys of a payload without PayloadType and PayloadVersion.
func dictionary(p Payload) (map[string]any, error) {
	switch p := p.(type) {
	case nil:
		return nil, fmt.Errorf("no payload")
	case *Raw:
		return maps.Clone(p.Values), nil
	}
	if d, ok := p.(described); ok && isOurs(d) {
		return schema.Encode(d)
	}
	return tagged(p)
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
	var dict map[string]any
	return dict, plistx.Unmarshal(data, &dict)
}

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
