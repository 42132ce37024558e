package enroll_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

// rules returns the rules of the findings that devices refuse for, and of the others.
func rules(i enroll.Inspection) (refused, advice []enroll.ChainRule) {
	for _, f := range i.Findings {
		if f.Refused {
			refused = append(refused, f.Rule)
		} else {
			advice = append(advice, f.Rule)
		}
	}
	return refused, advice
}

func TestWhoTrustsTheChain(t *testing.T) {
	top := root(t, "Root")
	between := top.intermediate(t, "Between")
	leaf, direct := between.server(t, nil), top.server(t, nil)
	other := root(t, "Other")
	self := (*pair)(nil).certify(t, "mdm.example.com", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"mdm.example.com"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	type certs = []*x509.Certificate
	for name, c := range map[string]struct {
		served, carried certs
		public          *x509.CertPool
		trust           enroll.Trust
		refused, advice []enroll.ChainRule
		path            int
	}{
		"public":                             {certs{leaf, between.cert}, nil, pool(top), enroll.TrustPublic, nil, nil, 3},
		"public, and needlessly carried":     {certs{leaf, between.cert}, list(top), pool(top), enroll.TrustPublic, nil, nil, 3},
		"public, incomplete":                 {certs{leaf}, nil, pool(top), enroll.NeedsIntermediate, []enroll.ChainRule{enroll.RuleMissingIntermediate}, nil, 1},
		"public, by what is carried":         {certs{leaf}, list(between), pool(top), enroll.TrustProfile, nil, []enroll.ChainRule{enroll.RuleIncomplete}, 3},
		"by the profile":                     {certs{leaf, between.cert}, list(top), pool(other), enroll.TrustProfile, nil, nil, 3},
		"by the profile, root sent, too":     {certs{leaf, between.cert, top.cert}, list(top), nil, enroll.TrustProfile, nil, nil, 3},
		"by the profile alone":               {certs{leaf}, list(between, top), nil, enroll.TrustProfile, nil, []enroll.ChainRule{enroll.RuleIncomplete}, 3},
		"the profile lacks the root":         {certs{leaf, between.cert}, list(other), pool(other), enroll.NeedsRoot, []enroll.ChainRule{enroll.RuleMissingRoot}, nil, 2},
		"the profile lacks the root, sent":   {certs{leaf, between.cert, top.cert}, nil, pool(other), enroll.NeedsRoot, []enroll.ChainRule{enroll.RuleMissingRoot}, nil, 3},
		"an intermediate is no anchor":       {certs{leaf}, list(between), nil, enroll.NeedsRoot, []enroll.ChainRule{enroll.RuleMissingRoot}, nil, 2},
		"the profile lacks the intermediate": {certs{leaf}, list(top), nil, enroll.NeedsIntermediate, []enroll.ChainRule{enroll.RuleMissingIntermediate}, nil, 1},
		"directly below the root":            {certs{direct}, list(top), nil, enroll.TrustProfile, nil, nil, 2},
		"self-signed":                        {certs{self.cert}, nil, pool(other), enroll.NeedsRoot, []enroll.ChainRule{enroll.RuleMissingRoot}, nil, 1},
		"self-signed, carried":               {certs{self.cert}, list(self), nil, enroll.TrustProfile, nil, nil, 1},
		"nothing":                            {nil, list(top), nil, enroll.NeedsIntermediate, []enroll.ChainRule{enroll.RuleNoCertificate}, nil, 0},
	} {
		i := enroll.ServerChain{Host: "mdm.example.com", Served: c.served, Carried: c.carried, Public: c.public, Now: march}.Inspect()
		refused, advice := rules(i)
		assert.Equal(t, c.trust, i.Trust, name)
		assert.Equal(t, c.refused, refused, name)
		assert.Equal(t, c.advice, advice, name)
		assert.Len(t, i.Path, c.path, name)
		assert.Equal(t, len(c.refused) == 0, i.OK(), name)
		for _, f := range i.Findings {
			assert.NotEmpty(t, f.Do, name)
		}
	}
}

// Apple's requirements for the certificates of servers.
func TestServerCertificate(t *testing.T) {
	top := root(t, "Root")
	valid := func(from time.Time, lifetime time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, from.Add(lifetime-time.Second) }
	}
	const day = 24 * time.Hour
	jan := march.AddDate(0, -2, 0)
	small := rsaKey(t, 1024)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		public bool
		host   string
		want   []enroll.ChainRule
	}{
		"good":              {},
		"another host":      {host: "mdm.example.org", want: []enroll.ChainRule{enroll.RuleWrongHost}},
		"an address":        {host: "192.0.2.1", change: func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{192, 0, 2, 1}} }},
		"another address":   {host: "192.0.2.2", change: func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 1}} }, want: []enroll.ChainRule{enroll.RuleWrongHost}},
		"common name only":  {change: func(c *x509.Certificate) { c.DNSNames = nil }, want: []enroll.ChainRule{enroll.RuleNoSAN}},
		"wildcard":          {change: func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }},
		"825 days":          {change: valid(jan, 825*day)},
		"825 days and more": {change: valid(jan, 825*day+time.Second), want: []enroll.ChainRule{enroll.RuleLifetime825}},
		"398 days":          {public: true, change: valid(jan, 398*day)},
		"398 days and more": {public: true, change: valid(jan, 398*day+time.Second), want: []enroll.ChainRule{enroll.RuleLifetime398}},
		"private, 399 days": {change: valid(jan, 399*day)},
		"public, 826 days":  {public: true, change: valid(jan, 826*day), want: []enroll.ChainRule{enroll.RuleLifetime825}},
		"older than the law": {change: func(c *x509.Certificate) {
			valid(time.Date(2019, 6, 30, 0, 0, 0, 0, time.UTC), 3650*day)(c)
			c.ExtKeyUsage = nil
		}},
		"no usage": {change: func(c *x509.Certificate) { c.ExtKeyUsage = nil }, want: []enroll.ChainRule{enroll.RuleNoServerAuth}},
		"any usage": {change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
			want: []enroll.ChainRule{enroll.RuleNoServerAuth}},
		"client only": {change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
			want: []enroll.ChainRule{enroll.RuleNoServerAuth}},
		"RSA 1024":        {change: func(c *x509.Certificate) { c.PublicKey = small }, want: []enroll.ChainRule{enroll.RuleWeakKey}},
		"RSA 2048":        {change: func(c *x509.Certificate) { c.PublicKey = rsaKey(t, 2048) }},
		"P-224":           {change: func(c *x509.Certificate) { c.PublicKey = p224 }, want: []enroll.ChainRule{enroll.RuleWeakKey}},
		"expired":         {change: valid(jan, 30*day), want: []enroll.ChainRule{enroll.RuleExpired}},
		"expired, public": {public: true, change: valid(jan, 30*day), want: []enroll.ChainRule{enroll.RuleExpired}},
		"not yet":         {change: valid(march.AddDate(0, 0, 1), 30*day), want: []enroll.ChainRule{enroll.RuleExpired}},
		"several": {host: "x.example.com", change: func(c *x509.Certificate) { valid(jan, 900*day)(c); c.PublicKey, c.ExtKeyUsage = small, nil },
			want: []enroll.ChainRule{enroll.RuleWrongHost, enroll.RuleLifetime825, enroll.RuleNoServerAuth, enroll.RuleWeakKey}},
	} {
		chain := enroll.ServerChain{Host: "mdm.example.com", Served: []*x509.Certificate{top.server(t, c.change)}, Carried: list(top), Now: march}
		want := enroll.TrustProfile
		if c.public {
			chain.Carried, chain.Public, want = nil, pool(top), enroll.TrustPublic
		}
		if c.host != "" {
			chain.Host = c.host
		}
		i := chain.Inspect()
		refused, advice := rules(i)
		assert.Equal(t, c.want, refused, name)
		assert.Empty(t, advice, name)
		assert.Equal(t, want, i.Trust, "%s: what is wrong with it changes nothing about who trusts it", name)
		assert.Equal(t, len(c.want) == 0, i.OK(), name)
	}
}

func TestBrokenChains(t *testing.T) {
	top := root(t, "Root")
	old := top.certify(t, "Between", func(c *x509.Certificate) { asCA(c); c.NotAfter = march.AddDate(0, 0, -1) })
	notCA := top.certify(t, "Between", func(c *x509.Certificate) { asCA(c); c.IsCA = false })
	limited := top.certify(t, "Between", func(c *x509.Certificate) { asCA(c); c.PermittedDNSDomains = []string{"example.org"} })
	gone := (*pair)(nil).certify(t, "Gone", func(c *x509.Certificate) { asCA(c); c.NotAfter = march.AddDate(0, 0, -1) })
	weak := (*pair)(nil).certify(t, "Weak", func(c *x509.Certificate) { asCA(c); c.PublicKey = rsaKey(t, 2048) })
	sha1 := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	for name, c := range map[string]struct {
		anchor, between *pair
		change          func(*x509.Certificate)
		want            enroll.ChainRule
	}{
		"an intermediate has expired": {top, old, nil, enroll.RuleExpired},
		"the root has expired":        {gone, gone.intermediate(t, "Between"), nil, enroll.RuleExpired},
		"an intermediate is no CA":    {top, notCA, nil, enroll.RuleInvalid},
		"not for this name":           {top, limited, nil, enroll.RuleInvalid},
		"signed with SHA-1":           {weak, weak, sha1, enroll.RuleWeakSignature},
	} {
		served := []*x509.Certificate{c.between.server(t, c.change), c.between.cert}
		for where, chain := range map[string]enroll.ServerChain{"profile": {Carried: list(c.anchor)}, "public": {Public: pool(c.anchor)}} {
			if chain.Public != nil && c.anchor == gone {
				continue // a public root that has expired is none
			}
			chain.Host, chain.Served, chain.Now = "mdm.example.com", served, march
			i := chain.Inspect()
			refused, _ := rules(i)
			assert.Equal(t, enroll.Broken, i.Trust, "%s, %s", name, where)
			assert.Equal(t, []enroll.ChainRule{c.want}, refused, "%s, %s", name, where)
			assert.False(t, i.OK())
		}
	}
}

func TestWeakRoots(t *testing.T) {
	small := (*pair)(nil).certify(t, "Small", func(c *x509.Certificate) { asCA(c); c.PublicKey = rsaKey(t, 1024) })
	sha1 := (*pair)(nil).certify(t, "Old", func(c *x509.Certificate) {
		asCA(c)
		c.PublicKey, c.SignatureAlgorithm = rsaKey(t, 2048), x509.SHA1WithRSA
	})
	for _, c := range []struct {
		by   *pair
		want []enroll.ChainRule
	}{{small, []enroll.ChainRule{enroll.RuleWeakKey}}, {sha1, nil}} { // nobody verifies the signature of a root
		i := enroll.ServerChain{Host: "mdm.example.com", Served: []*x509.Certificate{c.by.server(t, nil)}, Carried: list(c.by), Now: march}.Inspect()
		refused, _ := rules(i)
		assert.Equal(t, c.want, refused)
		assert.Equal(t, enroll.TrustProfile, i.Trust)
	}
}

// Names that lead in a circle, or on and on, end the search.
func TestChainsWithoutEnd(t *testing.T) {
	a := root(t, "A")
	b := a.intermediate(t, "B")
	ring := &pair{b.cert, b.key}
	again := ring.certify(t, "A", func(c *x509.Certificate) { asCA(c); c.PublicKey = a.key })
	i := enroll.ServerChain{Host: "mdm.example.com", Served: []*x509.Certificate{b.server(t, nil), b.cert, again.cert}, Now: march}.Inspect()
	assert.Equal(t, enroll.NeedsRoot, i.Trust)

	served, by := []*x509.Certificate{}, a
	for range 30 {
		by = by.intermediate(t, "next")
		served = append([]*x509.Certificate{by.cert}, served...)
	}
	served = append([]*x509.Certificate{by.server(t, nil)}, served...)
	i = enroll.ServerChain{Host: "mdm.example.com", Served: served, Now: march}.Inspect()
	assert.False(t, i.OK())
	assert.LessOrEqual(t, len(i.Path), 10)
}

func TestPinnedChains(t *testing.T) {
	top, other := root(t, "Root"), root(t, "Other")
	between := top.intermediate(t, "Between")
	e := template()
	e.Roots, e.Intermediates = list(top, other), list(between)
	e.Identity = &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://mdm.example.com/scep"}}
	e.Identity.(*profile.SCEP).PayloadContent.Challenge = secret
	p, err := e.Profile()
	require.NoError(t, err)
	assert.Empty(t, enroll.Pins(p))
	m := p.Payloads[len(p.Payloads)-1].(*profile.MDM)
	uuid := func(n int) string { // as Encode fills it in
		data, err := p.Encode()
		require.NoError(t, err)
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		if c, ok := parsed.Profile.Payloads[n].(*profile.Certificate); ok {
			return c.PayloadUUID
		}
		return parsed.Profile.Payloads[n].(*profile.RootCertificate).PayloadUUID
	}
	chain := enroll.ServerChain{Host: "mdm.example.com", Served: []*x509.Certificate{between.server(t, nil), between.cert}, Carried: enroll.Certificates(p), Now: march}
	assert.Equal(t, list(top, other, between), chain.Carried)
	m.ServerURLPinningCertificateUUIDs = []string{uuid(2)}
	chain.Pinned = enroll.Pins(p)
	assert.Equal(t, list(between), chain.Pinned)
	assert.True(t, chain.Inspect().OK())
	m.ServerURLPinningCertificateUUIDs, m.CheckInURLPinningCertificateUUIDs = nil, []string{uuid(1)}
	chain.Pinned = enroll.Pins(p)
	assert.Equal(t, list(other), chain.Pinned)
	refused, _ := rules(chain.Inspect())
	assert.Equal(t, []enroll.ChainRule{enroll.RuleNotPinned}, refused)
}

func TestCertificatesOfAProfile(t *testing.T) {
	a, b := root(t, "A"), root(t, "B")
	block := func(p *pair) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}) }
	p := &profile.Profile{Payloads: []profile.Payload{
		&profile.PEMCertificate{PayloadContent: append(block(a), block(b)...)}, &profile.PEMCertificate{PayloadContent: b.cert.Raw},
		&profile.PEMCertificate{PayloadContent: []byte("x")}, &profile.RootCertificate{PayloadContent: []byte("x")}, &profile.WiFi{}}}
	assert.Equal(t, list(a, b, b), enroll.Certificates(p))
}

func TestOverlap(t *testing.T) {
	old, next, public := root(t, "Old"), root(t, "Next"), root(t, "Public")
	const host = "mdm.example.com"
	oldLeaf := old.server(t, nil)
	before := enroll.ServerChain{Host: host, Served: []*x509.Certificate{oldLeaf}, Carried: list(old)}
	after := enroll.ServerChain{Host: host, Served: []*x509.Certificate{next.server(t, nil)}, Carried: list(next), Public: pool(public), Now: march}

	change := enroll.Overlap(before, after)
	assert.True(t, change.ReplaceFirst)
	assert.Equal(t, list(old, next), change.Carry, "first a profile with both")
	assert.Equal(t, list(next), change.Later)
	assert.Equal(t, oldLeaf.NotAfter, change.SwitchBy)
	assert.Empty(t, change.Blocked)
	steps := change.Steps()
	require.Len(t, steps, 4)
	assert.Contains(t, steps[0], "Replace the enrollment profile")
	assert.Contains(t, steps[2], "Switch the server to the new chain before "+oldLeaf.NotAfter.Format(time.DateOnly))

	after.Served = []*x509.Certificate{public.server(t, nil)}
	after.Carried = nil
	change = enroll.Overlap(before, after)
	assert.False(t, change.ReplaceFirst, "a public chain is trusted already")
	assert.Equal(t, list(old), change.Carry)
	assert.Len(t, change.Steps(), 1)
	before.Pinned = list(old)
	assert.True(t, enroll.Overlap(before, after).ReplaceFirst, "not by those who have the old one pinned")
	assert.Empty(t, enroll.Overlap(before, after).Blocked)

	after.Served = []*x509.Certificate{public.server(t, func(c *x509.Certificate) { c.DNSNames = []string{"x"} })}
	change = enroll.Overlap(before, after)
	require.Len(t, change.Blocked, 1)
	assert.Equal(t, enroll.RuleWrongHost, change.Blocked[0].Rule)
	assert.Contains(t, change.Steps()[0], "Do not switch")
}
