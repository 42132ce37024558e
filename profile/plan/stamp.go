package plan

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// Stamp sets p.UUID to [Version], so that a ProfileList tells which content is installed. Nothing else of p changes: the UUIDs of
// its payloads stay, which a device needs to update them in place and keep their data.
//
// Stamp a profile before it is signed and encrypted, and before what is different each time goes in, such as a challenge of
// SCEP: a profile that is another one each time it is built would be installed again and again.
func Stamp(p *profile.Profile) error {
	version, err := Version(p)
	if err != nil {
		return err
	}
	p.UUID = version
	return nil
}

// Version returns a UUID that is derived from all that p holds but its UUID: the same for the same content. The error is that
// of [profile.Profile.Encode], or Malformed for an encrypted profile, whose content looks different each time, and for one whose
// Extra has a PayloadUUID.
func Version(p *profile.Profile) (string, error) {
	const op = "plan.Version"
	if len(p.EncryptedContent) > 0 {
		return "", mdm.Errorf(mdm.Malformed, op, "%s is encrypted", p.Identifier)
	}
	if _, ok := p.Extra["PayloadUUID"]; ok {
		return "", mdm.Errorf(mdm.Malformed, op, "%s has a PayloadUUID in Extra", p.Identifier)
	}
	content := *p
	content.UUID = ""
	data, err := content.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return profile.UUID(p.Identifier + " " + hex.EncodeToString(sum[:])), nil
}

// Of returns a Desired for p in the version that it says it is. Stamp it before.
func Of(p *profile.Profile) Desired {
	d := Desired{Identifier: p.Identifier, UUID: p.UUID}
	if d.UUID == "" {
		d.UUID = profile.UUID(p.Identifier) // as Encode writes it
	}
	return d
}
