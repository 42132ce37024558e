package identity_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func issuedBy(t testing.TB, c identity.IssuerConfig) identity.Validator {
	t.Helper()
	v, err := identity.IssuedBy(c)
	require.NoError(t, err)
	return v
}

func TestIssuerConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]identity.IssuerConfig{
		"no roots":           {},
		"only intermediates": {Intermediates: ours().chain()},
		"a nil root":         {Roots: []*x509.Certificate{nil}},
		"a nil intermediate": {Roots: ours().roots(), Intermediates: []*x509.Certificate{nil}},
	} {
		_, err := identity.IssuedBy(c)
		require.Error(t, err, name)
	}
}

func TestIssuedBy(t *testing.T) {
	t.Parallel()
	imposter := newAuthority() // the same names, other keys
	with := func(change func(*x509.Certificate)) holder {
		template := leafTemplate(-time.Hour, time.Hour)
		change(template)
		return create(template, newKey(), ours().intermediate)
	}
	usage := func(usages ...x509.ExtKeyUsage) holder {
		return with(func(c *x509.Certificate) { c.ExtKeyUsage = usages })
	}
	rsaCA := create(caTemplate("rsa", -year, year), must(rsa.GenerateKey(rand.Reader, 2048)), ours().root)
	sha1 := leafTemplate(-time.Hour, time.Hour)
	sha1.SignatureAlgorithm = x509.SHA1WithRSA
	sha256 := leafTemplate(-time.Hour, time.Hour)
	tests := map[string]struct {
		leaf  *x509.Certificate
		chain []*x509.Certificate // presented
		want  error
	}{
		"ours":                       {device().cert, nil, nil},
		"with a chain that is known": {device().cert, slices.Concat(ours().chain(), ours().roots()), nil},
		"with strangers in it":       {device().cert, slices.Concat(imposter.chain(), imposter.roots()), nil},
		"too long a chain":           {device().cert, slices.Repeat(ours().chain(), 9), identity.ErrForeign},
		"the longest chain":          {device().cert, slices.Repeat(ours().chain(), 8), nil},
		"for no purpose":             {usage().cert, nil, nil},
		"for any purpose":            {usage(x509.ExtKeyUsageAny).cert, nil, nil},
		"for two":                    {usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth).cert, nil, nil},
		"a server's":                 {usage(x509.ExtKeyUsageServerAuth).cert, nil, identity.ErrForeign},
		"an authority itself":        {ours().intermediate.cert, nil, identity.ErrForeign},
		"the root itself":            {ours().root.cert, nil, identity.ErrForeign},
		"a leaf in the place of a CA": {create(leafTemplate(-time.Hour, time.Hour), newKey(), device()).cert,
			[]*x509.Certificate{device().cert}, identity.ErrForeign},
		"another's of the same names": {imposter.leaf(-time.Hour, time.Hour).cert, imposter.chain(), identity.ErrForeign},
		"another's with its root":     {imposter.leaf(-time.Hour, time.Hour).cert, slices.Concat(imposter.chain(), imposter.roots()), identity.ErrForeign},
		"self-signed":                 {create(leafTemplate(-time.Hour, time.Hour), newKey(), holder{}).cert, nil, identity.ErrForeign},
		"RSA and SHA-256":             {create(sha256, newKey(), rsaCA).cert, []*x509.Certificate{rsaCA.cert}, nil},
		"RSA and SHA-1":               {create(sha1, newKey(), rsaCA).cert, []*x509.Certificate{rsaCA.cert}, identity.ErrForeign},
		"nothing":                     {nil, nil, identity.ErrForeign},
		"not parsed":                  {&x509.Certificate{}, nil, identity.ErrForeign},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := issuedBy(t, identity.IssuerConfig{Roots: ours().roots(), Intermediates: ours().chain()})
			expect(t, v, identity.Presented{Leaf: tt.leaf, Intermediates: tt.chain}, tt.want)
		})
	}
}

// expect checks twice: what was refused once must not be remembered as good.
func expect(t *testing.T, v identity.Validator, p identity.Presented, want error) {
	t.Helper()
	for range 2 {
		err := v.Validate(t.Context(), p, identity.Claim{ID: phone})
		if want == nil {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, want)
		var e *mdm.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, mdm.Forbidden, e.Code, "never Unmanaged")
		assert.Equal(t, phone, e.Enrollment)
	}
}

func TestMissingIntermediate(t *testing.T) {
	t.Parallel()
	v := issuedBy(t, identity.IssuerConfig{Roots: ours().roots()})
	expect(t, v, identity.Presented{Leaf: device().cert}, identity.ErrForeign)
	expect(t, v, identity.Presented{Leaf: device().cert, Intermediates: newAuthority().chain()}, identity.ErrForeign)
	expect(t, v, identity.Presented{Leaf: device().cert, Intermediates: ours().chain()}, nil)
	expect(t, v, identity.Presented{Leaf: rsaDevice().cert}, identity.ErrForeign)
}

func TestValidity(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	tests := map[string]struct {
		skew        time.Duration
		from, until time.Duration // of the leaf
		caFrom      time.Duration // of the intermediate
		caUntil     time.Duration
		want        error
	}{
		"valid":                        {0, -time.Hour, time.Hour, -year, year, nil},
		"just begun":                   {0, 0, time.Hour, -year, year, nil},
		"about to end":                 {0, -time.Hour, 0, -year, year, nil},
		"a little early":               {0, 5 * minute, time.Hour, -year, year, nil},
		"a little late":                {0, -time.Hour, -5 * minute, -year, year, nil},
		"early":                        {0, 5*minute + time.Second, time.Hour, -year, year, identity.ErrExpired},
		"late":                         {0, -time.Hour, -5*minute - time.Second, -year, year, identity.ErrExpired},
		"no tolerance, early":          {-1, time.Second, time.Hour, -year, year, identity.ErrExpired},
		"no tolerance, late":           {-1, -time.Hour, -time.Second, -year, year, identity.ErrExpired},
		"no tolerance, valid":          {-1, 0, 0, -year, year, nil},
		"much tolerance":               {3 * time.Hour, -4 * time.Hour, -2 * time.Hour, -year, year, nil},
		"the CA has expired":           {0, -2 * time.Hour, time.Hour, -year, -time.Hour, identity.ErrExpired},
		"the CA has just expired":      {0, -2 * time.Hour, time.Hour, -year, -4 * minute, nil},
		"the CA is about to begin":     {0, -time.Hour, time.Hour, 4 * minute, year, nil},
		"older than its CA":            {0, -2 * time.Hour, time.Hour, -time.Hour, year, nil},
		"expired, as is the CA":        {0, -3 * time.Hour, -2 * time.Hour, -year, -time.Hour, identity.ErrExpired},
		"begun after the CA had ended": {0, -time.Hour, time.Hour, -year, -2 * time.Hour, identity.ErrForeign},
		"ended before it began":        {0, time.Hour, -time.Hour, -year, year, identity.ErrForeign},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := create(caTemplate("ca", tt.caFrom, tt.caUntil), newKey(), ours().root)
			leaf := create(leafTemplate(tt.from, tt.until), newKey(), ca).cert
			c := identity.IssuerConfig{Roots: ours().roots(), Skew: tt.skew, Clock: func() time.Time { return now }}
			chain := []*x509.Certificate{ca.cert}
			expect(t, issuedBy(t, c), identity.Presented{Leaf: leaf, Intermediates: chain}, tt.want)
			c.Intermediates = chain
			expect(t, issuedBy(t, c), identity.Presented{Leaf: leaf}, tt.want)
		})
	}
}

// TestRenewedAuthority has two certificates of one CA key: the expired one must not hide the other.
func TestRenewedAuthority(t *testing.T) {
	t.Parallel()
	key := newKey()
	former := create(caTemplate("ca", -2*year, -time.Hour), key, ours().root)
	renewed := create(caTemplate("ca", -year, year), key, ours().root)
	leaf := create(leafTemplate(-2*time.Hour, time.Hour), newKey(), former).cert
	v := issuedBy(t, identity.IssuerConfig{Roots: ours().roots(), Intermediates: []*x509.Certificate{former.cert}})
	expect(t, v, identity.Presented{Leaf: leaf}, identity.ErrExpired)
	expect(t, v, identity.Presented{Leaf: leaf, Intermediates: []*x509.Certificate{renewed.cert}}, nil)

	both := issuedBy(t, identity.IssuerConfig{Roots: []*x509.Certificate{
		create(caTemplate("ca", -2*year, -time.Hour), key, holder{}).cert, create(caTemplate("ca", -year, year), key, holder{}).cert,
	}})
	expect(t, both, identity.Presented{Leaf: leaf}, nil)
}

func TestAKnownChainStillExpires(t *testing.T) {
	t.Parallel()
	a := newAuthority()
	leaf := a.leaf(-time.Hour, 10*year) // outlives the authorities above it
	at := now
	v := issuedBy(t, identity.IssuerConfig{Roots: a.roots(), Clock: func() time.Time { return at }})
	first := identity.Presented{Leaf: leaf.cert, Intermediates: a.chain()}
	expect(t, v, identity.Presented{Leaf: leaf.cert}, identity.ErrForeign)
	expect(t, v, first, nil)
	require.NoError(t, v.Validate(t.Context(), identity.Presented{Leaf: leaf.cert}, identity.Claim{}), "its chain is known now")
	at = now.Add(2*year + time.Minute)
	expect(t, v, first, nil) // within the tolerance
	at = now.Add(3 * year)
	expect(t, v, first, identity.ErrExpired) // an authority has expired
	short := a.leaf(-time.Hour, time.Hour)
	at = now
	presented := identity.Presented{Leaf: short.cert, Intermediates: first.Intermediates}
	expect(t, v, presented, nil)
	at = now.Add(2 * time.Hour)
	expect(t, v, presented, identity.ErrExpired) // the leaf has expired
}

func TestAllowExpired(t *testing.T) {
	t.Parallel()
	foreign := newAuthority()
	expiredCA := create(caTemplate("theirs", -2*year, -year), newKey(), holder{})
	asked := 0
	v := issuedBy(t, identity.IssuerConfig{Roots: ours().roots(), Intermediates: ours().chain(),
		AllowExpired: func(_ context.Context, _ identity.Presented, c identity.Claim) bool {
			asked++
			return c.Message == "Authenticate"
		}})
	renewal := identity.Claim{Message: "Authenticate"}
	old := identity.Presented{Leaf: ours().leaf(-2*time.Hour, -time.Hour).cert}
	require.NoError(t, v.Validate(t.Context(), old, renewal))
	require.ErrorIs(t, v.Validate(t.Context(), old, identity.Claim{Message: "TokenUpdate"}), identity.ErrExpired, "it passes once, for that")
	require.Equal(t, 2, asked)
	for name, tt := range map[string]struct {
		p    identity.Presented
		want error
	}{
		"foreign":          {identity.Presented{Leaf: foreign.leaf(-time.Hour, time.Hour).cert, Intermediates: foreign.chain()}, identity.ErrForeign},
		"foreign, expired": {identity.Presented{Leaf: foreign.leaf(-2*time.Hour, -time.Hour).cert, Intermediates: foreign.chain()}, identity.ErrForeign},
		"foreign, under an expired CA of its own": {identity.Presented{Leaf: create(leafTemplate(-time.Hour, time.Hour), newKey(), expiredCA).cert,
			Intermediates: []*x509.Certificate{expiredCA.cert}}, identity.ErrForeign},
		"self-signed, ended before it began": {identity.Presented{Leaf: create(leafTemplate(time.Hour, -time.Hour), newKey(), holder{}).cert}, identity.ErrForeign},
		"ours, ended before it began":        {identity.Presented{Leaf: ours().leaf(time.Hour, -time.Hour).cert}, identity.ErrForeign},
		"ours, not begun":                    {identity.Presented{Leaf: ours().leaf(time.Hour, 2*time.Hour).cert}, identity.ErrExpired},
	} {
		require.ErrorIs(t, v.Validate(t.Context(), tt.p, renewal), tt.want, name)
	}
	assert.Equal(t, 2, asked, "it is asked about nothing but what is ours and has expired")
}

func TestIssuedByIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	v := issuedBy(t, identity.IssuerConfig{Roots: ours().roots()})
	var wg sync.WaitGroup
	for range 8 {
		leaf := ours().leaf(-time.Hour, time.Hour).cert
		for range 2 {
			wg.Go(func() {
				assert.NoError(t, v.Validate(context.Background(), identity.Presented{Leaf: leaf, Intermediates: ours().chain()}, identity.Claim{}))
			})
		}
	}
	wg.Wait()
}

func BenchmarkIssuedBy(b *testing.B) {
	run := func(name string, config identity.IssuerConfig, p identity.Presented, fresh bool) {
		b.Run(name, func(b *testing.B) {
			v := issuedBy(b, config)
			b.ReportAllocs()
			for b.Loop() {
				if fresh {
					v = issuedBy(b, config)
				}
				if err := v.Validate(context.Background(), p, identity.Claim{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	config := identity.IssuerConfig{Roots: ours().roots(), Intermediates: ours().chain()}
	run("first", config, identity.Presented{Leaf: device().cert}, true)
	run("known", config, identity.Presented{Leaf: device().cert}, false)
}

func ExampleIssuedBy() {
	issued, err := identity.IssuedBy(identity.IssuerConfig{
		Roots:         ours().roots(),
		Intermediates: ours().chain(),
		AllowExpired: func(_ context.Context, _ identity.Presented, c identity.Claim) bool {
			return c.Message == "Authenticate" // an expired device may begin anew, and nothing else
		},
	})
	if err != nil {
		panic(err)
	}
	revoked := map[mdm.Fingerprint]bool{}
	validator := identity.All(issued, identity.NotRevoked(func(_ context.Context, fp mdm.Fingerprint) (bool, error) {
		return revoked[fp], nil
	}))

	presented := identity.Presented{Leaf: device().cert}
	claim := identity.Claim{ID: mdm.EnrollmentID{Device: "UDID"}, Fingerprint: mdm.FingerprintOf(device().cert)}
	fmt.Println(validator.Validate(context.Background(), presented, claim))
	revoked[claim.Fingerprint] = true
	fmt.Println(validator.Validate(context.Background(), presented, claim))
	// Output:
	// <nil>
	// identity.Validate: forbidden (enrollment "UDID"): the certificate is revoked
}
