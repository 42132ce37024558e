package profile

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// MaxSize is the largest profile, in bytes, that Parse reads.
const MaxSize = 4 << 20

// Parsed is a profile as it was read.
type Parsed struct {
	Profile *Profile
	Plain   []byte // the property list, without the signature
	// Signer is nil for an unsigned profile. Its signature over Plain is verified, its chain is not; Certificates has
	// what came with it.
	Signer       *x509.Certificate
	Certificates []*x509.Certificate
}

// Parse reads a profile: a property list, XML or binary, or a CMS-signed one. Payloads of the types in this package
// come back as such, others as [Raw]. The error is a Malformed one.
func Parse(data []byte) (*Parsed, error) {
	const op = "profile.Parse"
	if len(data) > MaxSize {
		return nil, mdm.Errorf(mdm.Malformed, op, "larger than %d bytes", MaxSize)
	}
	out := &Parsed{Plain: data}
	if bytes.HasPrefix(data, []byte{0x30}) { // an ASN.1 SEQUENCE: signed
		signed, err := cms.ParseSigned(data, cms.Limits{Bytes: MaxSize})
		if err == nil {
			err = signed.Verify()
		}
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "signature: %w", err)
		}
		out.Plain, out.Signer, out.Certificates = signed.Content, signed.Signer, signed.Certificates
	}
	var top map[string]any
	if err := plistx.UnmarshalLimits(out.Plain, &top, plistx.Limits{Bytes: MaxSize}); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	p, err := decodeProfile(top)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	out.Profile = p
	return out, nil
}

// takeTop takes the keys of the profile out of top. What is left goes to Extra.
func takeTop(p *Profile, top map[string]any) {
	all := maps.Clone(top)
	for _, key := range []string{"PayloadType", "PayloadContent", "IsEncrypted"} {
		delete(all, key)
	}
	if version, ok := all["PayloadVersion"].(uint64); ok && version == 1 {
		delete(all, "PayloadVersion")
	}
	for key, to := range map[string]*string{
		"PayloadIdentifier": &p.Identifier, "PayloadUUID": &p.UUID, "PayloadDisplayName": &p.DisplayName,
		"PayloadDescription": &p.Description, "PayloadOrganization": &p.Organization, "PayloadScope": (*string)(&p.Scope),
	} {
		take(all, key, to)
	}
	take(all, "PayloadRemovalDisallowed", &p.RemovalDisallowed)
	take(all, "RemovalDate", &p.RemovalDate)
	take(all, "PayloadExpirationDate", &p.ExpirationDate)
	take(all, "EncryptedPayloadContent", &p.EncryptedContent)
	var device uint64
	if take(all, "TargetDeviceType", &device); device > 0 {
		p.TargetDeviceType = int64(device)
	}
	p.DurationUntilRemoval = takeSeconds(all)
	if consent, ok := all["ConsentText"].(map[string]any); ok {
		delete(all, "ConsentText")
		p.ConsentText = map[string]string{}
		for lang := range consent {
			p.ConsentText[lang] = text(consent, lang)
		}
	}
	if len(all) > 0 {
		p.Extra = all
	}
}

// takeSeconds takes the duration, which Apple's schema calls a real and which may be whole.
func takeSeconds(all map[string]any) time.Duration {
	seconds, ok := all["DurationUntilRemoval"].(float64)
	if whole, isWhole := all["DurationUntilRemoval"].(uint64); isWhole {
		seconds, ok = float64(whole), true
	}
	if !ok || seconds < 0 || seconds > math.MaxInt64/float64(time.Second) {
		return 0
	}
	delete(all, "DurationUntilRemoval")
	return time.Duration(seconds * float64(time.Second))
}

// take moves the value of a key if it is a T.
func take[T any](all map[string]any, key string, to *T) {
	if v, ok := all[key].(T); ok {
		*to = v
		delete(all, key)
	}
}

func decodeProfile(top map[string]any) (*Profile, error) {
	if got := text(top, "PayloadType"); got != "Configuration" {
		return nil, fmt.Errorf("PayloadType is %q, not Configuration", got)
	}
	p := &Profile{}
	takeTop(p, top)
	if p.Identifier == "" {
		return nil, fmt.Errorf("PayloadIdentifier is missing")
	}
	if p.EncryptedContent != nil {
		return p, nil
	}
	if truth(top, "IsEncrypted") {
		return nil, fmt.Errorf("the content is encrypted")
	}
	content, ok := top["PayloadContent"].([]any)
	if !ok {
		return nil, fmt.Errorf("PayloadContent is no array")
	}
	var err error
	p.Payloads, err = decodePayloads(content)
	return p, err
}

func decodePayloads(content []any) ([]Payload, error) {
	var out []Payload
	for i, item := range content {
		dict, ok := item.(map[string]any)
		if !ok || text(dict, "PayloadType") == "" {
			return nil, fmt.Errorf("PayloadContent[%d] is no payload", i)
		}
		out = append(out, decodePayload(dict))
	}
	return out, nil
}

func text(dict map[string]any, key string) string {
	s, _ := dict[key].(string)
	return s
}

func truth(dict map[string]any, key string) bool {
	b, _ := dict[key].(bool)
	return b
}
