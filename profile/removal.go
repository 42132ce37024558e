package profile

import (
	"slices"

	"github.com/gomdm/applemdm/mdm"
)

// SetRemovalPassword makes p a profile that its user can remove with a password only: it sets RemovalDisallowed and
// HasRemovalPasscode, and puts the payload com.apple.profileRemovalPassword at the end, or the password into the one that
// is there. An empty password takes the payload out again; then nobody can remove the profile by hand, unless
// RemovalDisallowed is set to false.
//
// It works on supervised iOS and tvOS and on macOS, and not in User Enrollment, by Apple's schema. The password is in
// clear in what [Profile.Encode] writes: deliver it encrypted, by [Profile.Encrypt].
func (p *Profile) SetRemovalPassword(password mdm.Secret) {
	p.HasRemovalPasscode = !password.IsZero()
	if password.IsZero() {
		p.Payloads = slices.DeleteFunc(slices.Clone(p.Payloads), isRemovalPassword)
		return
	}
	p.RemovalDisallowed = true
	i := slices.IndexFunc(p.Payloads, isRemovalPassword)
	if i < 0 {
		p.Payloads = append(slices.Clip(p.Payloads), &ProfileRemovalPassword{RemovalPassword: password})
		return
	}
	p.Payloads = slices.Clone(p.Payloads) // others may share it
	changed := &ProfileRemovalPassword{RemovalPassword: password}
	if old, ok := p.Payloads[i].(*ProfileRemovalPassword); ok {
		changed.Common = old.Common
	}
	p.Payloads[i] = changed
}

// RemovalPassword returns the password of the payload com.apple.profileRemovalPassword, an empty one if there is none. Of
// an encrypted profile it is not known.
func (p *Profile) RemovalPassword() mdm.Secret {
	i := slices.IndexFunc(p.Payloads, isRemovalPassword)
	if i < 0 {
		return mdm.Secret{}
	}
	dict, err := dictionary(p.Payloads[i])
	if err != nil {
		return mdm.Secret{}
	}
	return mdm.SecretString(text(dict, "RemovalPassword"))
}

func isRemovalPassword(p Payload) bool {
	return !isMissing(p) && p.PayloadType() == TypeProfileRemovalPassword
}
