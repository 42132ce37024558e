package profile_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// simple is a small profile, encoded.
func simple(t testing.TB) []byte {
	t.Helper()
	data, err := (&profile.Profile{Identifier: "p", Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new("s")}}}).Encode()
	require.NoError(t, err)
	return data
}

func signed(t testing.TB, by identity, content []byte, chain ...*x509.Certificate) []byte {
	t.Helper()
	data, err := profile.CMSSigner{Certificate: by.cert, Key: by.key, Chain: chain}.Sign(t.Context(), content)
	require.NoError(t, err)
	return data
}

func TestSignPutsTheChainInOrder(t *testing.T) {
	t.Parallel()
	root, upper, lower, leaf := line(t, newEC())
	cross := issue(t, "Upper", upper.key, func() *identity { r := issue(t, "Old Root", newEC(), nil); return &r }())
	for name, tt := range map[string]struct{ chain, want []*x509.Certificate }{
		"none":              {nil, nil},
		"in order":          {[]*x509.Certificate{lower.cert, upper.cert, root.cert}, []*x509.Certificate{lower.cert, upper.cert, root.cert}},
		"in disorder":       {[]*x509.Certificate{root.cert, lower.cert, upper.cert}, []*x509.Certificate{lower.cert, upper.cert, root.cert}},
		"without root":      {[]*x509.Certificate{upper.cert, lower.cert}, []*x509.Certificate{lower.cert, upper.cert}},
		"with itself twice": {[]*x509.Certificate{leaf.cert, upper.cert, lower.cert, upper.cert, leaf.cert}, []*x509.Certificate{lower.cert, upper.cert}},
		"certified twice":   {[]*x509.Certificate{root.cert, cross.cert, upper.cert, lower.cert}, []*x509.Certificate{lower.cert, cross.cert, upper.cert, root.cert}},
	} {
		parsed, err := profile.Parse(signed(t, leaf, simple(t), tt.chain...))
		require.NoError(t, err, name)
		assert.True(t, parsed.Signer.Equal(leaf.cert))
		var names, want []string
		for _, c := range parsed.Certificates {
			names = append(names, c.Subject.CommonName+" by "+c.Issuer.CommonName)
		}
		for _, c := range append([]*x509.Certificate{leaf.cert}, tt.want...) {
			want = append(want, c.Subject.CommonName+" by "+c.Issuer.CommonName)
		}
		assert.Equal(t, want, names, name)
	}
	sameName := issue(t, "Lower", newEC(), &upper)
	for name, signer := range map[string]profile.CMSSigner{
		"a gap":               {Chain: []*x509.Certificate{upper.cert, root.cert}},
		"a gap further up":    {Chain: []*x509.Certificate{lower.cert, root.cert}},
		"a stranger":          {Chain: []*x509.Certificate{lower.cert, issue(t, "Stranger", newEC(), nil).cert}},
		"another of its name": {Chain: []*x509.Certificate{sameName.cert, upper.cert}},
		"nobody":              {Chain: []*x509.Certificate{nil}},
		"another key":         {Key: lower.key},
		"a key of no use":     {Certificate: issue(t, "Edwards", ed25519.NewKeyFromSeed(make([]byte, 32)), &lower).cert, Key: ed25519.NewKeyFromSeed(make([]byte, 32))},
	} {
		if signer.Certificate == nil {
			signer.Certificate = leaf.cert
		}
		if signer.Key == nil {
			signer.Key = leaf.key
		}
		_, err := signer.Sign(t.Context(), simple(t))
		require.Error(t, err, name)
		assert.Equal(t, mdm.Internal, mdm.CodeOf(err), name)
		if name == "another key" {
			require.ErrorContains(t, err, "Key is not that of Certificate")
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	root, upper, lower, leaf := line(t, newEC())
	other := issue(t, "Root", newEC(), nil)
	longer := issue(t, "Longer", newEC(), &lower, func(c *x509.Certificate) { c.NotAfter = noon.AddDate(1, 0, 0) })
	parse := func(data []byte) *profile.Parsed {
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		return parsed
	}
	whole := parse(signed(t, leaf, simple(t), lower.cert, upper.cert, root.cert))
	alone := parse(signed(t, leaf, simple(t)))
	outlived := parse(signed(t, longer, simple(t), lower.cert, upper.cert))
	trust := pool(root.cert)
	for name, tt := range map[string]struct {
		parsed *profile.Parsed
		opts   profile.VerifyOptions
		ok     bool
	}{
		"trusted":                     {whole, profile.VerifyOptions{Roots: trust, Time: noon}, true},
		"another root of the name":    {whole, profile.VerifyOptions{Roots: pool(other.cert), Time: noon}, false},
		"roots of the system":         {whole, profile.VerifyOptions{Time: noon}, false},
		"no roots":                    {whole, profile.VerifyOptions{Roots: pool(), Time: noon}, false},
		"without its chain":           {alone, profile.VerifyOptions{Roots: trust, Time: noon}, false},
		"with a chain that is known":  {alone, profile.VerifyOptions{Roots: trust, Time: noon, Intermediates: []*x509.Certificate{upper.cert, lower.cert}}, true},
		"the signer itself":           {alone, profile.VerifyOptions{Roots: pool(leaf.cert), Time: noon}, true},
		"expired":                     {whole, profile.VerifyOptions{Roots: trust, Time: noon.AddDate(0, 0, 2)}, false},
		"now":                         {whole, profile.VerifyOptions{Roots: trust}, false},
		"expired, which is allowed":   {whole, profile.VerifyOptions{Roots: trust, Time: noon.AddDate(9, 0, 0), AllowExpired: true}, true},
		"expired, of another root":    {whole, profile.VerifyOptions{Roots: pool(other.cert), Time: noon.AddDate(9, 0, 0), AllowExpired: true}, false},
		"not yet valid":               {whole, profile.VerifyOptions{Roots: trust, Time: noon.AddDate(0, 0, -2), AllowExpired: true}, false},
		"not expired, but its issuer": {outlived, profile.VerifyOptions{Roots: trust, Time: noon.AddDate(0, 0, 2), AllowExpired: true}, false},
		"not signed":                  {parse(simple(t)), profile.VerifyOptions{Roots: trust, Time: noon}, false},
	} {
		chains, err := tt.parsed.Verify(tt.opts)
		if tt.ok {
			require.NoError(t, err, name)
			assert.True(t, chains[0][0].Equal(leaf.cert), name)
			continue
		}
		require.Error(t, err, name)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
	}
	_, err := whole.Verify(profile.VerifyOptions{Roots: pool(other.cert), Time: noon})
	var unknown x509.UnknownAuthorityError
	assert.ErrorAs(t, err, &unknown)
}

// Certificates for other uses sign profiles, too, as those of a TLS server.
func TestVerifyTakesAnyUsage(t *testing.T) {
	t.Parallel()
	root := issue(t, "Root", newEC(), nil)
	server := issue(t, "Server", newEC(), &root, func(c *x509.Certificate) {
		c.IsCA, c.ExtKeyUsage = false, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	parsed, err := profile.Parse(signed(t, server, simple(t)))
	require.NoError(t, err)
	_, err = parsed.Verify(profile.VerifyOptions{Roots: pool(root.cert), Time: noon})
	require.NoError(t, err)
}

func TestParseOfWrappings(t *testing.T) {
	t.Parallel()
	signer := issue(t, "Signer", newEC(), nil)
	recipient := issue(t, "Recipient", firstRSA(), nil)
	plain := simple(t)
	once := signed(t, signer, plain)
	sealed, err := cms.Encrypt(plain, []*x509.Certificate{recipient.cert})
	require.NoError(t, err)
	detached, err := cms.Sign(plain, signer.cert, signer.key, cms.SignOptions{Detached: true})
	require.NoError(t, err)
	indefinite, err := cms.Sign(plain, signer.cert, signer.key, cms.SignOptions{Indefinite: true, SigningTime: time.Unix(0, 0)})
	require.NoError(t, err)
	certsOnly, err := cms.CertsOnly([]*x509.Certificate{signer.cert})
	require.NoError(t, err)
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: once})
	for name, tt := range map[string]struct {
		data []byte
		want string // part of the error; empty: it is read
	}{
		"plain":                    {plain, ""},
		"signed":                   {once, ""},
		"signed, of unknown size":  {indefinite, ""},
		"signed twice":             {signed(t, signer, once), "another CMS message"},
		"signed three times":       {signed(t, signer, signed(t, signer, once)), "another CMS message"},
		"encrypted as a whole":     {sealed, "EnvelopedData, not SignedData"},
		"encrypted, then signed":   {signed(t, signer, sealed), "another CMS message"},
		"PEM":                      {inPEM, "PEM"},
		"PEM, signed":              {signed(t, signer, inPEM), "PEM"},
		"a detached signature":     {detached, "not in the message"},
		"certificates":             {certsOnly, "signer"},
		"nothing, signed":          {signed(t, signer, nil), ""},
		"followed by something":    {append(bytes.Clone(once), 0), "after the message"},
		"followed by itself":       {append(bytes.Clone(once), once...), "after the message"},
		"plain and followed":       {append(bytes.Clone(plain), "<plist/>"...), "plist"},
		"cut off":                  {once[:len(once)-1], "longer than"},
		"preceded by something":    {append([]byte{'\n'}, once...), "plist"},
		"larger than allowed":      {make([]byte, profile.MaxSize+1), "larger"},
		"one byte":                 {[]byte{0x30}, "signature"},
		"no bytes":                 {nil, "plist"},
		"signed bytes of no sense": {signed(t, signer, []byte("hello")), "plist"},
	} {
		parsed, err := profile.Parse(tt.data)
		if tt.want == "" && name != "nothing, signed" {
			require.NoError(t, err, name)
			assert.Equal(t, plain, parsed.Plain, name)
			continue
		}
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		assert.ErrorContains(t, err, tt.want, name)
	}
}

// A change anywhere in a signed profile is noticed, or changes nothing of what is read.
func TestParseOfDamagedSignatures(t *testing.T) {
	t.Parallel()
	plain := simple(t)
	signer := issue(t, "Signer", newEC(), nil)
	data := signed(t, signer, plain)
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1
		parsed, err := profile.Parse(damaged)
		if err == nil {
			require.Equal(t, plain, parsed.Plain, "byte %d", i)
		}
	}
}
