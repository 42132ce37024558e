package profile

import (
	"bytes"
	"crypto/x509"
	"fmt"
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

func decodeProfile(top map[string]any) (*Profile, error) {
	if got := text(top, "PayloadType"); got != "Configuration" {
		return nil, fmt.Errorf("PayloadType is %q, not Configuration", got)
	}
	p := &Profile{
		Identifier:        text(top, "PayloadIdentifier"),
		UUID:              text(top, "PayloadUUID"),
		DisplayName:       text(top, "PayloadDisplayName"),
		Description:       text(top, "PayloadDescription"),
		Organization:      text(top, "PayloadOrganization"),
		Scope:             Scope(text(top, "PayloadScope")),
		RemovalDisallowed: truth(top, "PayloadRemovalDisallowed"),
	}
	p.RemovalDate, _ = top["RemovalDate"].(time.Time)
	p.ExpirationDate, _ = top["PayloadExpirationDate"].(time.Time)
	if seconds, ok := top["DurationUntilRemoval"].(float64); ok {
		p.DurationUntilRemoval = time.Duration(seconds * float64(time.Second))
	}
	if consent, ok := top["ConsentText"].(map[string]any); ok {
		p.ConsentText = map[string]string{}
		for lang := range consent {
			p.ConsentText[lang] = text(consent, lang)
		}
	}
	if p.Identifier == "" {
		return nil, fmt.Errorf("PayloadIdentifier is missing")
	}
	if truth(top, "IsEncrypted") {
		return nil, fmt.Errorf("the content is encrypted")
	}
	content, ok := top["PayloadContent"].([]any)
	if !ok {
		return nil, fmt.Errorf("PayloadContent is no array")
	}
	for i, item := range content {
		dict, ok := item.(map[string]any)
		if !ok || text(dict, "PayloadType") == "" {
			return nil, fmt.Errorf("PayloadContent[%d] is no payload", i)
		}
		p.Payloads = append(p.Payloads, decodePayload(dict))
	}
	return p, nil
}

func decodePayload(dict map[string]any) Payload {
	common := Common{
		Identifier:   text(dict, "PayloadIdentifier"),
		UUID:         text(dict, "PayloadUUID"),
		DisplayName:  text(dict, "PayloadDisplayName"),
		Description:  text(dict, "PayloadDescription"),
		Organization: text(dict, "PayloadOrganization"),
	}
	switch kind := text(dict, "PayloadType"); kind {
	case TypeRoot, TypePKCS1:
		return &Certificate{Common: common, Root: kind == TypeRoot, Content: data(dict, "PayloadContent"),
			FileName: text(dict, "PayloadCertificateFileName")}
	case TypePKCS12:
		return &PKCS12{Common: common, Content: data(dict, "PayloadContent"), Password: mdm.SecretString(text(dict, "Password")),
			FileName: text(dict, "PayloadCertificateFileName")}
	case TypeSCEP:
		return decodeSCEP(common, dict)
	case TypeMDM:
		return decodeMDM(common, dict)
	default:
		delete(dict, "PayloadType")
		delete(dict, "PayloadVersion")
		return &Raw{Type: kind, Values: dict}
	}
}

func decodeSCEP(common Common, dict map[string]any) Payload {
	inner, _ := dict["PayloadContent"].(map[string]any)
	s := &SCEP{
		Common:        common,
		URL:           text(inner, "URL"),
		Name:          text(inner, "Name"),
		Challenge:     mdm.SecretString(text(inner, "Challenge")),
		KeySize:       number(inner, "Keysize"),
		KeyUsage:      number(inner, "Key Usage", "KeyUsage"), // Apple prints both spellings
		Retries:       number(inner, "Retries"),
		RetryDelay:    number(inner, "RetryDelay"),
		CAFingerprint: data(inner, "CAFingerprint"),
		AllowAllApps:  truth(inner, "AllowAllAppsAccess"),
		Extractable:   truth(inner, "KeyIsExtractable"),
	}
	rdns, _ := inner["Subject"].([]any)
	for _, rdn := range rdns {
		var attributes [][]string
		pairs, _ := rdn.([]any)
		for _, pair := range pairs {
			attributes = append(attributes, texts(pair))
		}
		s.Subject = append(s.Subject, attributes)
	}
	return s
}

func decodeMDM(common Common, dict map[string]any) Payload {
	return &MDM{
		Common:                  common,
		IdentityCertificateUUID: text(dict, "IdentityCertificateUUID"),
		Topic:                   text(dict, "Topic"),
		ServerURL:               text(dict, "ServerURL"),
		CheckInURL:              text(dict, "CheckInURL"),
		SignMessage:             truth(dict, "SignMessage"),
		CheckOutWhenRemoved:     truth(dict, "CheckOutWhenRemoved"),
		AccessRights:            mdm.AccessRights(number(dict, "AccessRights")), // Validate refuses what does not fit
		ServerCapabilities:      texts(dict["ServerCapabilities"]),
		UseDevelopmentAPNS:      truth(dict, "UseDevelopmentAPNS"),
		PinningUUIDs:            texts(dict["ServerURLPinningCertificateUUIDs"]),
		CheckInPinningUUIDs:     texts(dict["CheckInURLPinningCertificateUUIDs"]),
		AssignedManagedAppleID:  text(dict, "AssignedManagedAppleID"),
		EnrollmentMode:          text(dict, "EnrollmentMode"),
	}
}

func text(dict map[string]any, key string) string {
	s, _ := dict[key].(string)
	return s
}

func truth(dict map[string]any, key string) bool {
	b, _ := dict[key].(bool)
	return b
}

func data(dict map[string]any, key string) []byte {
	b, _ := dict[key].([]byte)
	return b
}

// number returns the first of keys that is an integer.
func number(dict map[string]any, keys ...string) int {
	for _, key := range keys {
		switch n := dict[key].(type) {
		case int64:
			return int(n)
		case uint64:
			if n <= 1<<31 {
				return int(n)
			}
		}
	}
	return 0
}

func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		s, _ := item.(string)
		out = append(out, s)
	}
	return out
}
