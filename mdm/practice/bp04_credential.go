package practice

import (
	"errors"
	"strings"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// accountSealed is a credential as it is in the vault: a property list, as which it will reach the device.
type accountSealed struct {
	Password         string
	OutgoingPassword string
	Replaces         string
	IdentityType     string         `plist:",omitempty"`
	Identity         map[string]any `plist:",omitempty"`
}

// accountSeal encodes a credential. An identity gets a new PayloadUUID if it has none, which then stays, however often the
// profile is made.
func accountSeal(c profile.Credential) (mdm.Secret, error) {
	const op = "practice.Accounts"
	if c.Password.IsZero() && c.OutgoingPassword.IsZero() && c.Identity == nil {
		return mdm.Secret{}, mdm.Errorf(mdm.Malformed, op, "the credential is empty")
	}
	s := accountSealed{Password: string(c.Password.Reveal()), OutgoingPassword: string(c.OutgoingPassword.Reveal()), Replaces: c.Replaces}
	if c.Identity != nil {
		keys, err := profile.Keys(c.Identity)
		if err != nil {
			return mdm.Secret{}, mdm.Errorf(mdm.Malformed, op, "%w", err)
		}
		if id, _ := keys["PayloadUUID"].(string); id == "" {
			keys["PayloadUUID"] = strings.ToUpper(uuid.NewString())
		}
		s.IdentityType, s.Identity = c.Identity.PayloadType(), keys
	}
	data, err := plistx.Marshal(s)
	if err != nil {
		return mdm.Secret{}, mdm.Errorf(mdm.Malformed, op, "the credential cannot be written") // the cause may quote it
	}
	return mdm.NewSecret(data), nil
}

// accountOpen reads what accountSeal wrote.
func accountOpen(sealed mdm.Secret) (profile.Credential, error) {
	var s accountSealed
	if err := plistx.Unmarshal(sealed.Reveal(), &s); err != nil {
		return profile.Credential{}, errors.New("practice: a credential in the vault cannot be read")
	}
	c := profile.Credential{Replaces: s.Replaces}
	if s.Password != "" {
		c.Password = mdm.SecretString(s.Password)
	}
	if s.OutgoingPassword != "" {
		c.OutgoingPassword = mdm.SecretString(s.OutgoingPassword)
	}
	if s.IdentityType != "" {
		c.Identity = profile.Typed(&profile.Raw{Type: s.IdentityType, Values: s.Identity})
	}
	return c, nil
}
