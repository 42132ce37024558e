package profile

import (
	"bytes"
	"crypto/x509"
	"errors"
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
	// Profile may be an encrypted one: then it has EncryptedContent instead of Payloads, and [Profile.Decrypt] opens it.
	Profile *Profile
	Plain   []byte // the property list, without the signature
	// Signer is nil for an unsigned profile. Its signature over Plain is verified, its chain is not: [Parsed.Verify] does
	// that. Certificates has what came with it, the signer first.
	Signer       *x509.Certificate
	Certificates []*x509.Certificate
}

// Parse reads a profile: a property list, XML or binary, or one in a signed CMS message (DER, or BER as some tools write
// it). Payloads of the types in this package come back as such, others as [Raw]. The error is a Malformed one, also for
// what devices do not read: PEM, a profile signed twice, anything after its end, or a profile that says both to be
// encrypted and not to be; and for keys with those around them, identifiers, UUIDs and types of more than 1024 bytes.
func Parse(data []byte) (*Parsed, error) {
	const op = "profile.Parse"
	if len(data) > MaxSize {
		return nil, mdm.Errorf(mdm.Malformed, op, "larger than %d bytes", MaxSize)
	}
	out := &Parsed{Plain: data}
	if isDER(data) {
		if err := out.unwrap(data); err != nil {
			return nil, malformed(op, err)
		}
	}
	if bytes.HasPrefix(out.Plain, []byte("-----BEGIN")) {
		return nil, mdm.Errorf(mdm.Malformed, op, "in PEM; devices read DER only")
	}
	var top map[string]any
	if err := plistx.UnmarshalLimits(out.Plain, &top, plistx.Limits{Bytes: MaxSize}); err != nil {
		return nil, malformed(op, err)
	}
	p, err := decodeProfile(top)
	if err != nil {
		return nil, malformed(op, err)
	}
	out.Profile = p
	return out, nil
}

// isDER reports whether data begins as CMS does, with an ASN.1 SEQUENCE. No property list begins so.
func isDER(data []byte) bool { return bytes.HasPrefix(data, []byte{0x30}) }

// unwrap takes the property list out of a signed message.
func (p *Parsed) unwrap(data []byte) error {
	signed, err := cms.ParseSigned(data, cms.Limits{Bytes: MaxSize})
	if err == nil {
		err = signed.Verify()
	}
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	if isDER(signed.Content) {
		return errors.New("there is another CMS message in the signed one; a profile is signed once, and only its content is encrypted")
	}
	p.Plain, p.Signer, p.Certificates = signed.Content, signed.Signer, signed.Certificates
	return nil
}

// takeTop takes the keys of the profile out of top. What is left goes to Extra.
func takeTop(p *Profile, top map[string]any) {
	all := maps.Clone(top)
	for _, key := range contentKeys {
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
	take(all, "HasRemovalPasscode", &p.HasRemovalPasscode)
	take(all, "RemovalDate", &p.RemovalDate)
	take(all, "PayloadExpirationDate", &p.ExpirationDate)
	if device, ok := all["TargetDeviceType"].(uint64); ok && device <= math.MaxInt64 {
		p.TargetDeviceType = int64(device)
		delete(all, "TargetDeviceType")
	}
	p.DurationUntilRemoval = takeSeconds(all)
	p.ConsentText = takeConsent(all)
	if len(all) > 0 {
		p.Extra = all
	}
}

// takeSeconds takes the duration, which Apple's schema calls a real and which may be whole. One that is none, or of less
// than a millisecond, stays.
func takeSeconds(all map[string]any) time.Duration {
	const key = "DurationUntilRemoval"
	seconds, ok := all[key].(float64)
	if whole, isWhole := all[key].(uint64); isWhole {
		seconds, ok = float64(whole), true
	}
	const most = math.MaxInt64 / int64(time.Millisecond)
	millis := math.Round(seconds * 1000)
	if !ok || !(millis >= 1) || millis > float64(most) {
		return 0
	}
	delete(all, key)
	return time.Duration(millis) * time.Millisecond
}

// takeConsent takes the texts, if there is nothing else among them.
func takeConsent(all map[string]any) map[string]string {
	consent, _ := all["ConsentText"].(map[string]any)
	out := make(map[string]string, len(consent))
	for lang, value := range consent {
		words, ok := value.(string)
		if !ok {
			return nil
		}
		out[lang] = words
	}
	if len(out) == 0 {
		return nil
	}
	delete(all, "ConsentText")
	return out
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
		return nil, fmt.Errorf("PayloadType is %s, not Configuration", inWords(got))
	}
	if err := checkLengths(top); err != nil {
		return nil, err
	}
	p := &Profile{}
	takeTop(p, top)
	if p.Identifier == "" {
		return nil, errors.New("PayloadIdentifier is missing")
	}
	encrypted, err := encryptedContent(top)
	if err != nil || encrypted != nil {
		p.EncryptedContent = encrypted
		return p, err
	}
	content, ok := top["PayloadContent"].([]any)
	if !ok {
		return nil, errors.New("PayloadContent is no array")
	}
	p.Payloads, err = decodePayloads(content)
	return p, err
}

// encryptedContent returns the content of an encrypted profile, nil for a plain one. A profile must not leave open which of
// both it is, or readers differ: IsEncrypted may be absent beside EncryptedPayloadContent, but not say the contrary, and
// there is no PayloadContent then.
func encryptedContent(top map[string]any) ([]byte, error) {
	said, isSaid := top["IsEncrypted"]
	encrypted, isBool := said.(bool)
	if isSaid && !isBool {
		return nil, errors.New("IsEncrypted is no boolean")
	}
	value, ok := top["EncryptedPayloadContent"]
	switch {
	case !ok && encrypted:
		return nil, errors.New("IsEncrypted is true, and EncryptedPayloadContent is missing")
	case !ok:
		return nil, nil
	case isSaid && !encrypted:
		return nil, errors.New("there is EncryptedPayloadContent, and IsEncrypted is false")
	case top["PayloadContent"] != nil:
		return nil, errors.New("there are both PayloadContent and EncryptedPayloadContent")
	}
	content, _ := value.([]byte)
	if len(content) == 0 {
		return nil, errors.New("EncryptedPayloadContent is no data, or is empty")
	}
	return content, nil
}

func decodePayloads(content []any) ([]Payload, error) {
	var out []Payload
	for i, item := range content {
		dict, ok := item.(map[string]any)
		if !ok || text(dict, "PayloadType") == "" {
			return nil, fmt.Errorf("PayloadContent[%d] is no payload", i)
		}
		if err := checkIDs(dict); err != nil {
			return nil, fmt.Errorf("PayloadContent[%d]: %w", i, err)
		}
		out = append(out, decodePayload(dict))
	}
	return out, nil
}

func text(dict map[string]any, key string) string {
	s, _ := dict[key].(string)
	return s
}
