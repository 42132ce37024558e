package lint

import (
	"bytes"
	"errors"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/profile"
)

// fileRules checks how a profile is packed, and returns it; nil if it cannot be read.
func (c *checker) fileRules(f File) *profile.Profile {
	data := f.Data
	c.about(f.Name, &profile.Profile{})
	parsed, err := profile.Parse(data)
	if err != nil {
		if content := unverified(data); content != nil {
			c.add("signature", "", "the signature does not verify: the profile was changed after it was signed, or damaged")
			parsed, err = profile.Parse(content)
		}
		if err != nil {
			c.add("malformed", "", "%v", reason(err))
			return nil
		}
	} else if parsed.Signer == nil {
		c.add("unsigned", "", "the profile is not signed")
	} else if s := parsed.Signer; c.now.After(s.NotAfter) || c.now.Before(s.NotBefore) {
		c.add("signer-expired", "", "the signer's certificate is good from %s to %s", date(s.NotBefore), date(s.NotAfter))
	}
	c.about(f.Name, parsed.Profile)
	c.commonKeys(parsed.Plain)
	return parsed.Profile
}

// reason is the cause of an error of package profile, without the name of its function.
func reason(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// unverified returns the content of a signed message whose signature does not verify, nil if data is something else.
func unverified(data []byte) []byte {
	if !bytes.HasPrefix(data, []byte{0x30}) {
		return nil
	}
	signed, err := cms.ParseSigned(data, cms.Limits{Bytes: profile.MaxSize})
	if err != nil || !errors.Is(signed.Verify(), cms.ErrSignature) || len(signed.Content) == 0 {
		return nil
	}
	return signed.Content
}

// commonKeys looks for keys that every payload has to have, and that a built profile gets by itself.
func (c *checker) commonKeys(plain []byte) {
	var top map[string]any
	if plistx.UnmarshalLimits(plain, &top, plistx.Limits{Bytes: profile.MaxSize}) != nil {
		return
	}
	c.common("", top)
	payloads, _ := top["PayloadContent"].([]any)
	for i, payload := range payloads {
		if dict, ok := payload.(map[string]any); ok {
			c.common(at(i, "")+".", dict)
		}
	}
}

func (c *checker) common(path string, dict map[string]any) {
	for _, key := range []string{"PayloadIdentifier", "PayloadUUID"} {
		if s, ok := dict[key].(string); !ok || s == "" {
			c.add("common-keys", path+key, "is missing, or no string")
		}
	}
	if version, ok := dict["PayloadVersion"].(uint64); !ok || version != 1 {
		c.add("common-keys", path+"PayloadVersion", "must be the integer 1")
	}
}
