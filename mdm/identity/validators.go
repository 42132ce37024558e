package identity

import (
	"context"
	"errors"
	"slices"

	"github.com/gomdm/applemdm/mdm"
)

// All passes if every one of vs passes; it asks them in order and stops at the first that does not, whose error it
// returns as it is. Of none it passes nobody.
func All(vs ...Validator) Validator {
	vs = slices.Clone(vs)
	return ValidatorFunc(func(ctx context.Context, p Presented, c Claim) error {
		if len(vs) == 0 {
			return refused(c, errors.New("no validator"))
		}
		for _, v := range vs {
			if err := v.Validate(ctx, p, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// NotRevoked returns a Validator that refuses certificates of which revoked is true, as by a CRL or an inventory of your
// own; what the stores hold as revoked or denied is refused without it. An error of revoked is our own failure: it is
// Unavailable, so that the device tries again.
func NotRevoked(revoked func(ctx context.Context, fp mdm.Fingerprint) (bool, error)) Validator {
	return ValidatorFunc(func(ctx context.Context, _ Presented, c Claim) error {
		if c.Fingerprint.IsZero() { // nobody has revoked what has no name
			return mdm.Errorf(mdm.Internal, "identity.NotRevoked", "the claim has no fingerprint")
		}
		is, err := revoked(ctx, c.Fingerprint)
		switch {
		case err != nil:
			return &mdm.Error{Code: mdm.Unavailable, Op: "identity.NotRevoked", Enrollment: c.ID, Err: err}
		case is:
			return refused(c, errors.New("the certificate is revoked"))
		}
		return nil
	})
}
