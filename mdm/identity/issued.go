package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// The refusals of [IssuedBy], to be found with errors.Is. Both are Forbidden: neither ends a device's management.
var (
	ErrForeign = errors.New("identity: the certificate was not issued by us")
	ErrExpired = errors.New("identity: the certificate is ours, but not valid at this time")
)

// DefaultSkew is by how much clocks may differ.
const DefaultSkew = 5 * time.Minute

// IssuerConfig says which client certificates are ours.
type IssuerConfig struct {
	Roots         []*x509.Certificate // the CA of the devices' certificates; required
	Intermediates []*x509.Certificate // of our chain; those that a device presents are used, too
	Skew          time.Duration       // tolerance at both ends of the validity; 0: DefaultSkew
	Clock         func() time.Time    // nil: time.Now
	// AllowExpired lets a certificate that is ours and has expired be used after all, as for the one request that renews
	// it. Nil: none.
	AllowExpired func(ctx context.Context, p Presented, c Claim) bool
}

// IssuedBy returns a Validator that passes client certificates whose chain leads to one of our roots. It tells expired
// certificates of ours from foreign ones.
func IssuedBy(c IssuerConfig) (Validator, error) {
	if len(c.Roots) == 0 {
		return nil, errors.New("identity: IssuerConfig.Roots is required")
	}
	i := &issuer{IssuerConfig: c, roots: x509.NewCertPool()}
	for _, root := range c.Roots {
		i.roots.AddCert(root)
	}
	if i.Skew == 0 {
		i.Skew = DefaultSkew
	}
	if i.Clock == nil {
		i.Clock = time.Now
	}
	return i, nil
}

type issuer struct {
	IssuerConfig
	roots  *x509.CertPool
	chains chainCache
}

// Validate implements [Validator].
func (i *issuer) Validate(ctx context.Context, p Presented, c Claim) error {
	if p.Leaf == nil || p.Leaf.IsCA || len(p.Intermediates) > maxChain {
		return refused(c, ErrForeign)
	}
	now := i.Clock()
	at := now
	if p.Leaf.NotBefore.After(now) { // a clock runs slow, theirs or ours
		at = p.Leaf.NotBefore
	} else if p.Leaf.NotAfter.Before(now) {
		at = p.Leaf.NotAfter
	}
	// The chain is checked at a time when the leaf was valid, so that what fails here was never ours.
	if err := i.verify(p, at); err != nil {
		var invalid x509.CertificateInvalidError
		if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			return refused(c, fmt.Errorf("%w: %w", ErrForeign, err))
		}
		return i.expired(ctx, p, c) // an authority above the leaf has expired
	}
	if d := now.Sub(at).Abs(); d > i.Skew {
		return i.expired(ctx, p, c)
	}
	return nil
}

func (i *issuer) verify(p Presented, at time.Time) error {
	fp := mdm.FingerprintOf(p.Leaf)
	if i.chains.holds(fp, at) {
		return nil
	}
	pool := x509.NewCertPool()
	for _, cert := range slices.Concat(i.Intermediates, p.Intermediates) {
		pool.AddCert(cert)
	}
	chains, err := p.Leaf.Verify(x509.VerifyOptions{Roots: i.roots, Intermediates: pool, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return err
	}
	until := p.Leaf.NotAfter
	for _, above := range chains[0] {
		if above.NotAfter.Before(until) {
			until = above.NotAfter
		}
	}
	i.chains.add(fp, until)
	return nil
}

func (i *issuer) expired(ctx context.Context, p Presented, c Claim) error {
	if i.AllowExpired != nil && i.AllowExpired(ctx, p, c) {
		return nil
	}
	return refused(c, ErrExpired)
}

func refused(c Claim, err error) error {
	return &mdm.Error{Code: mdm.Forbidden, Op: "identity.Validate", Enrollment: c.ID, Err: err}
}

// All passes if every one of vs passes; it stops at the first that does not. Of none it passes nobody.
func All(vs ...Validator) Validator {
	return ValidatorFunc(func(ctx context.Context, p Presented, c Claim) error {
		if len(vs) == 0 {
			return refused(c, errors.New("identity: no validator"))
		}
		for _, v := range vs {
			if err := v.Validate(ctx, p, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// NotRevoked returns a Validator that refuses certificates of which revoked is true. An error of revoked is our own
// failure and is answered so that the device tries again.
func NotRevoked(revoked func(ctx context.Context, fp mdm.Fingerprint) (bool, error)) Validator {
	return ValidatorFunc(func(ctx context.Context, _ Presented, c Claim) error {
		is, err := revoked(ctx, c.Fingerprint)
		switch {
		case err != nil:
			return &mdm.Error{Code: mdm.Unavailable, Op: "identity.NotRevoked", Enrollment: c.ID, Err: err}
		case is:
			return refused(c, errors.New("identity: the certificate is revoked"))
		}
		return nil
	})
}
