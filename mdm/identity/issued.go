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
	Skew          time.Duration       // tolerance at both ends of the validity; 0: DefaultSkew, negative: none
	Clock         func() time.Time    // nil: time.Now
	// AllowExpired lets a certificate that is ours and has expired be used after all, as for the one request that renews
	// it. It is asked only when the chain leads to one of Roots, never about a certificate that is not valid yet. Nil:
	// none. Package checkin does not ask again, so look at what c claims.
	AllowExpired func(ctx context.Context, p Presented, c Claim) bool
}

// IssuedBy returns a Validator that passes client certificates whose chain leads to one of our roots: valid now, for
// client authentication (or for no purpose in particular), no authority itself, no SHA-1 signature in the chain. At most
// eight presented intermediates are looked at. It tells expired certificates of ours from foreign ones; see [ErrExpired]
// and [ErrForeign].
func IssuedBy(c IssuerConfig) (Validator, error) {
	if len(c.Roots) == 0 {
		return nil, errors.New("identity: IssuerConfig.Roots is required")
	}
	if slices.Contains(c.Roots, nil) || slices.Contains(c.Intermediates, nil) {
		return nil, errors.New("identity: a certificate of IssuerConfig is nil")
	}
	i := &issuer{skew: max(c.Skew, 0), clock: c.Clock, allow: c.AllowExpired, roots: x509.NewCertPool(),
		intermediates: x509.NewCertPool(), ours: dates{}}
	for _, root := range c.Roots {
		i.roots.AddCert(i.ours.undate(root))
	}
	for _, cert := range c.Intermediates {
		i.intermediates.AddCert(i.ours.undate(cert))
	}
	if c.Skew == 0 {
		i.skew = DefaultSkew
	}
	if i.clock == nil {
		i.clock = time.Now
	}
	return i, nil
}

// issuer checks a chain without its dates first, and then the dates. Only so can it say of an expired certificate that it
// is ours: [x509.Certificate.Verify] stops at a date before it has checked what is above, which may be anybody's.
type issuer struct {
	skew  time.Duration
	clock func() time.Time
	allow func(ctx context.Context, p Presented, c Claim) bool

	roots, intermediates *x509.CertPool
	ours                 dates // of the certificates in the pools
	passed               chainCache
}

// Validate implements [Validator].
func (i *issuer) Validate(ctx context.Context, p Presented, c Claim) error {
	if p.Leaf == nil || p.Leaf.IsCA || len(p.Intermediates) > maxChain {
		return refused(c, ErrForeign)
	}
	now, fp := i.clock(), mdm.FingerprintOf(p.Leaf)
	if i.passed.holds(fp, now.Add(-i.skew)) {
		return nil
	}
	validities, err := i.chains(p)
	if err != nil {
		return refused(c, fmt.Errorf("%w: %w", ErrForeign, err))
	}
	expired := false
	for _, v := range validities {
		switch {
		case v.until.Before(now.Add(-i.skew)):
			expired = true
		case !v.from.After(now.Add(i.skew)):
			i.passed.add(fp, v.until)
			return nil
		}
	}
	if expired && i.allow != nil && i.allow(ctx, p, c) {
		return nil
	}
	return refused(c, ErrExpired)
}

// chains returns the validity of every chain to one of our roots. It fails if there is none that was ever valid.
func (i *issuer) chains(p Presented) ([]validity, error) {
	presented, pool := dates{}, i.intermediates
	leaf := presented.undate(p.Leaf)
	if len(p.Intermediates) > 0 {
		pool = pool.Clone()
	}
	for _, cert := range p.Intermediates {
		pool.AddCert(presented.undate(cert))
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: i.roots, Intermediates: pool, CurrentTime: anyTime,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, err
	}
	var out []validity
	for _, chain := range chains {
		if v := presented.overlap(i.ours, chain); !v.from.After(v.until) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("at no time were all certificates of the chain valid")
	}
	return out, nil
}

// validity is a time in which something is valid, both ends included.
type validity struct{ from, until time.Time }

// anyTime is when undated certificates are valid.
var anyTime = time.Unix(0, 0)

// dates are the validities of undated certificates.
type dates map[*x509.Certificate]validity

// undate returns a copy of cert that is valid at anyTime and at no other, and keeps its dates. Signatures are over Raw
// bytes, which stay.
func (d dates) undate(cert *x509.Certificate) *x509.Certificate {
	undated := *cert
	undated.NotBefore, undated.NotAfter = anyTime, anyTime
	d[&undated] = validity{cert.NotBefore, cert.NotAfter}
	return &undated
}

// overlap returns when all certificates of a chain, each of which is in d or in more, are valid.
func (d dates) overlap(more dates, chain []*x509.Certificate) validity {
	var all validity
	for n, cert := range chain {
		v, ok := d[cert]
		if !ok {
			v = more[cert]
		}
		if n == 0 || v.from.After(all.from) {
			all.from = v.from
		}
		if n == 0 || v.until.Before(all.until) {
			all.until = v.until
		}
	}
	return all
}

func refused(c Claim, err error) error {
	return &mdm.Error{Code: mdm.Forbidden, Op: "identity.Validate", Enrollment: c.ID, Err: err}
}
