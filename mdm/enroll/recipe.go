package enroll

import (
	"context"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// Recipe makes enrollment profiles, for every way in and for renewals: what is the same for all devices is in Enrollment,
// and each profile gets an identity of its own. It is safe for concurrent use once it is filled in.
//
// A PKCS#12 identity is a private key with its password beside it. So a profile with one is refused unless it is encrypted
// for its device, or AllowPlainPKCS12 says that it need not be.
type Recipe struct {
	Enrollment profile.Enrollment // its Identity is ignored
	Identities Identities
	// Signer signs the profiles, after they were encrypted. Outside MDM a replacement must have the same signer. Nil: they
	// are not signed.
	Signer profile.Signer
	// AllowPlainPKCS12 is for a download that only the user of the device can make: over TLS, after a login, once.
	AllowPlainPKCS12 bool
	// Tailor changes e for whom it is made, as the AssignedManagedAppleID of account-driven enrollment. Its Identity cannot
	// be changed. It runs before an identity is made, so that it may refuse, as with a Forbidden error. Nil: all are alike.
	Tailor func(ctx context.Context, f For, e *profile.Enrollment) error
}

// Profile makes the profile for f, encrypted if f.EncryptTo is set, and not signed. The error is Malformed if the recipe or f
// is wrong, Forbidden if a private key would travel in the open, or what Identities or Tailor say.
func (r *Recipe) Profile(ctx context.Context, f For) (*profile.Profile, error) {
	const op = "enroll.Recipe"
	f, err := f.check(op)
	if err != nil {
		return nil, err
	}
	if r.Identities == nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "Identities is required")
	}
	if travels(r.Identities) && !r.mayTravel(f) { // before it is made
		return nil, errPlain(op)
	}
	e := r.template()
	if r.Tailor != nil {
		if err := r.Tailor(ctx, f, &e); err != nil {
			return nil, err
		}
	}
	if e.Identity, err = r.Identities.Identity(ctx, f); err != nil {
		return nil, err
	}
	if _, is := e.Identity.(*profile.PKCS12); is && !r.mayTravel(f) {
		return nil, errPlain(op)
	}
	p, err := e.Profile()
	if err != nil || f.EncryptTo == nil {
		return p, err
	}
	return p.Encrypt(f.EncryptTo)
}

// Bytes makes the profile for f as a file, encrypted if f.EncryptTo is set, and signed. Errors are those of Profile; f.Sealed
// promises nothing here, because nothing can be encrypted afterwards.
func (r *Recipe) Bytes(ctx context.Context, f For) ([]byte, error) {
	f.Sealed = false
	p, err := r.Profile(ctx, f)
	if err != nil {
		return nil, err
	}
	data, err := p.Encode()
	if err != nil || r.Signer == nil {
		return data, err
	}
	return r.Signer.Sign(ctx, data)
}

// Build implements [profile.Builder]: the profile that replaces the one of an enrollment. Encrypt or sign it yourself.
func (r *Recipe) Build(ctx context.Context, e *mdm.Enrollment) (*profile.Profile, error) {
	return r.Profile(ctx, Renewal(e))
}

// Validate checks the recipe without making an identity: what it says would make every profile fail. The error is Malformed.
func (r *Recipe) Validate() error {
	if r.Identities == nil {
		return mdm.Errorf(mdm.Malformed, "enroll.Recipe", "Identities is required")
	}
	_, err := r.sample()
	return err
}

// sample builds a profile with an identity that is none.
func (r *Recipe) sample() (*profile.Profile, error) {
	e := r.template()
	e.Identity = &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://scep.invalid", Challenge: mdm.SecretString("none")}}
	if e.EnrollmentMode != "" && e.AssignedManagedAppleID == "" && r.Tailor != nil {
		e.AssignedManagedAppleID = "somebody@example.invalid" // which only Tailor knows
	}
	return e.Profile()
}

// template returns a copy that can be appended to.
func (r *Recipe) template() profile.Enrollment {
	e := r.Enrollment
	e.Roots, e.Intermediates = slices.Clip(e.Roots), slices.Clip(e.Intermediates)
	return e
}

func (r *Recipe) mayTravel(f For) bool { return r.AllowPlainPKCS12 || f.EncryptTo != nil || f.Sealed }

// travels reports whether keys of these identities are made here, as far as that can be told.
func travels(i Identities) bool {
	switch i.(type) {
	case PKCS12Identities, *PKCS12Identities:
		return true
	}
	return false
}

func errPlain(op string) error {
	return mdm.Errorf(mdm.Forbidden, op, "the profile would carry a private key and is not encrypted: "+
		"set For.EncryptTo, or AllowPlainPKCS12 for an authenticated download")
}
