package profile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Encode returns p as an XML property list. The same Profile always gives the same bytes. It fails with a Malformed
// error if p has no identifier, or two payloads have the same identifier or UUID, which a device refuses.
func (p *Profile) Encode() ([]byte, error) {
	const op = "profile.Encode"
	if p.Identifier == "" {
		return nil, mdm.Errorf(mdm.Malformed, op, "PayloadIdentifier is required")
	}
	top := map[string]any{
		"PayloadType":       "Configuration",
		"PayloadVersion":    1,
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
	if len(p.ConsentText) > 0 {
		top["ConsentText"] = p.ConsentText
	}
	content, err := p.encodePayloads()
	if err != nil {
		return nil, err
	}
	top["PayloadContent"] = content
	return plistx.MarshalIndent(top)
}

func (p *Profile) encodePayloads() ([]any, error) {
	content := make([]any, 0, len(p.Payloads))
	seen := map[any]bool{}
	for i, payload := range p.Payloads {
		dict, err := dictionary(payload)
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, "profile.Encode", "PayloadContent[%d]: %w", i, err)
		}
		dict["PayloadType"], dict["PayloadVersion"] = payload.PayloadType(), 1
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
	case *Certificate:
		dict := p.common()
		dict["PayloadContent"] = p.Content
		put(dict, "PayloadCertificateFileName", p.FileName)
		return dict, nil
	case *PKCS12:
		dict := p.common()
		dict["PayloadContent"] = p.Content
		put(dict, "PayloadCertificateFileName", p.FileName)
		put(dict, "Password", string(p.Password.Reveal()))
		return dict, nil
	case *SCEP:
		return p.dictionary(), nil
	case *MDM:
		return p.dictionary(), nil
	default: // a vendor's type, by its plist tags
		data, err := plistx.Marshal(p)
		if err != nil {
			return nil, err
		}
		var dict map[string]any
		return dict, plistx.Unmarshal(data, &dict)
	}
}

func (c Common) common() map[string]any {
	dict := map[string]any{}
	put(dict, "PayloadIdentifier", c.Identifier)
	put(dict, "PayloadUUID", c.UUID)
	put(dict, "PayloadDisplayName", c.DisplayName)
	put(dict, "PayloadDescription", c.Description)
	put(dict, "PayloadOrganization", c.Organization)
	return dict
}

func (s *SCEP) dictionary() map[string]any {
	inner := map[string]any{
		"URL":                s.URL,
		"Key Type":           "RSA", // spelled with a space in Apple's schema
		"Keysize":            orInt(s.KeySize, 2048),
		"Key Usage":          orInt(s.KeyUsage, 5),
		"AllowAllAppsAccess": s.AllowAllApps,
		"KeyIsExtractable":   s.Extractable,
	}
	put(inner, "Name", s.Name)
	put(inner, "Challenge", string(s.Challenge.Reveal()))
	put(inner, "Retries", s.Retries)
	put(inner, "RetryDelay", s.RetryDelay)
	if len(s.Subject) > 0 {
		inner["Subject"] = s.Subject
	}
	if len(s.CAFingerprint) > 0 {
		inner["CAFingerprint"] = s.CAFingerprint
	}
	dict := s.common()
	dict["PayloadContent"] = inner
	return dict
}

func (m *MDM) dictionary() map[string]any {
	dict := m.common()
	dict["IdentityCertificateUUID"] = m.IdentityCertificateUUID
	dict["Topic"] = m.Topic
	dict["ServerURL"] = m.ServerURL
	dict["SignMessage"] = m.SignMessage
	dict["CheckOutWhenRemoved"] = m.CheckOutWhenRemoved
	put(dict, "CheckInURL", m.CheckInURL)
	put(dict, "AccessRights", int(m.AccessRights))
	put(dict, "UseDevelopmentAPNS", m.UseDevelopmentAPNS)
	put(dict, "AssignedManagedAppleID", m.AssignedManagedAppleID)
	put(dict, "EnrollmentMode", m.EnrollmentMode)
	for key, list := range map[string][]string{
		"ServerCapabilities":                m.ServerCapabilities,
		"ServerURLPinningCertificateUUIDs":  m.PinningUUIDs,
		"CheckInURLPinningCertificateUUIDs": m.CheckInPinningUUIDs,
	} {
		if len(list) > 0 {
			dict[key] = slices.Clone(list)
		}
	}
	return dict
}

func orInt(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}
