package profile_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

func secretProfile() *profile.Profile {
	p := &profile.Profile{Identifier: "p", DisplayName: "Readable", ConsentText: map[string]string{"default": "?"}, Extra: map[string]any{"New": true},
		Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new("s"), Password: mdm.SecretString("SESAME")}, &profile.Raw{Type: "x", Values: map[string]any{"K": uint64(1)}}}}
	p.SetRemovalPassword(mdm.SecretString("SESAME"))
	return p
}

func TestEncryptAndDecrypt(t *testing.T) {
	t.Parallel()
	p := secretProfile()
	first, second := issue(t, "First", firstRSA(), nil), issue(t, "Second", secondRSA(), nil)
	signer := issue(t, "Signer", newEC(), nil)
	sealed, err := p.Encrypt(first.cert, second.cert)
	require.NoError(t, err)
	data, err := sealed.Encode()
	require.NoError(t, err)
	assert.NotContains(t, string(data), "SESAME")
	var top map[string]any
	require.NoError(t, plistx.Unmarshal(data, &top))
	assert.NotContains(t, top, "PayloadContent")
	assert.Equal(t, true, top["IsEncrypted"])
	assert.Equal(t, "Readable", top["PayloadDisplayName"])
	sealed.ConsentText["default"], sealed.Extra["New"] = "!", false
	same, err := profile.Equal(secretProfile(), p)
	require.NoError(t, err)
	assert.True(t, same, "the original stays as it is")

	want, err := p.Filled()
	require.NoError(t, err)
	wantData, err := want.Encode()
	require.NoError(t, err)
	for name, data := range map[string][]byte{"encrypted": data, "encrypted and signed": signed(t, signer, data)} {
		parsed, err := profile.Parse(data)
		require.NoError(t, err, name)
		assert.Equal(t, name != "encrypted", parsed.Signer != nil)
		assert.Empty(t, parsed.Profile.Payloads)
		assert.True(t, parsed.Profile.RemovalPassword().IsZero())
		for _, to := range []identity{first, second} {
			open, err := parsed.Profile.Decrypt(to.cert, to.key)
			require.NoError(t, err, name)
			assert.Empty(t, open.EncryptedContent)
			wifi := open.Payloads[0].(*profile.WiFi)
			assert.Equal(t, "SESAME", string(wifi.Password.Reveal()))
			assert.Equal(t, "SESAME", string(open.RemovalPassword().Reveal()))
			opened, err := open.Encode()
			require.NoError(t, err)
			assert.Equal(t, string(wantData), string(opened), name)
		}
		again, err := parsed.Profile.Encode()
		require.NoError(t, err)
		assert.Equal(t, string(parsed.Plain), string(again))
	}
}

func TestEncryptRefuses(t *testing.T) {
	t.Parallel()
	good := issue(t, "Good", firstRSA(), nil)
	usage := func(u x509.KeyUsage) *x509.Certificate {
		return issue(t, "Usage", firstRSA(), nil, func(c *x509.Certificate) { c.KeyUsage = u }).cert
	}
	for name, to := range map[string][]*x509.Certificate{
		"nobody":              nil,
		"nil":                 {nil},
		"an elliptic curve":   {issue(t, "EC", newEC(), nil).cert},
		"one of two":          {good.cert, issue(t, "EC", newEC(), nil).cert},
		"for signatures only": {usage(x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign)},
	} {
		_, err := secretProfile().Encrypt(to...)
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
	for name, to := range map[string]*x509.Certificate{
		"no usage said": usage(0), "key encipherment": usage(x509.KeyUsageKeyEncipherment),
		"expired": issue(t, "Expired", firstRSA(), nil, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = noon.AddDate(-3, 0, 0), noon.AddDate(-2, 0, 0) }).cert,
	} {
		_, err := secretProfile().Encrypt(to)
		require.NoError(t, err, name)
	}
	for name, p := range map[string]*profile.Profile{
		"no identifier":     {},
		"encrypted already": {Identifier: "p", EncryptedContent: []byte{1}},
		"no payload":        {Identifier: "p", Payloads: []profile.Payload{nil}},
		"the same twice": {Identifier: "p", Payloads: []profile.Payload{&profile.WiFi{Common: profile.Common{PayloadUUID: "u"}},
			&profile.Mail{Common: profile.Common{PayloadUUID: "u"}}}},
	} {
		_, err := p.Encrypt(good.cert)
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}

// sealing is a profile whose encrypted content is anything.
func sealing(t testing.TB, to identity, content []byte) *profile.Profile {
	t.Helper()
	sealed, err := cms.Encrypt(content, []*x509.Certificate{to.cert})
	require.NoError(t, err)
	return &profile.Profile{Identifier: "p", EncryptedContent: sealed}
}

func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	to, other := issue(t, "To", firstRSA(), nil), issue(t, "Other", secondRSA(), nil)
	xml := func(v any) []byte {
		data, err := plistx.Marshal(v)
		require.NoError(t, err)
		return data
	}
	payload := func(keys ...any) map[string]any {
		dict := map[string]any{"PayloadType": "x"}
		for i := 0; i < len(keys); i += 2 {
			dict[keys[i].(string)] = keys[i+1]
		}
		return dict
	}
	const opaque = "cannot decrypt the content with this key"
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"no array":                {xml(map[string]any{"PayloadContent": []any{}}), "no array"},
		"a string":                {xml("x"), "no array"},
		"no payloads":             {xml([]any{"x"}), "PayloadContent[0]"},
		"no type":                 {xml([]any{map[string]any{}}), "PayloadContent[0]"},
		"an identifier twice":     {xml([]any{payload("PayloadIdentifier", "a"), payload("PayloadIdentifier", "a")}), "used twice"},
		"a UUID twice":            {xml([]any{payload("PayloadUUID", "a"), payload("PayloadUUID", "a")}), "used twice"},
		"an identifier of no use": {xml([]any{payload("PayloadIdentifier", 5)}), "no string"},
		"no property list":        {[]byte("hello"), opaque},
		"nothing":                 {nil, opaque},
		"a list that is cut off":  {xml([]any{payload()})[:200], opaque},
		"nested too deeply":       {[]byte("<plist>" + strings.Repeat("<array>", 100) + strings.Repeat("</array>", 100) + "</plist>"), opaque},
		"a key twice":             {[]byte("<plist><array><dict><key>a</key><true/><key>a</key><true/></dict></array></plist>"), opaque},
	} {
		_, err := sealing(t, to, tt.content).Decrypt(to.cert, to.key)
		require.ErrorContains(t, err, tt.want, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
	open, err := sealing(t, to, xml([]any{payload(), payload("PayloadIdentifier", "")})).Decrypt(to.cert, to.key)
	require.NoError(t, err, "what is not there is filled in later")
	assert.Len(t, open.Payloads, 2)
	large := []any{payload("K", strings.Repeat("x", profile.MaxSize))}
	_, err = sealing(t, to, xml(large)).Decrypt(to.cert, to.key)
	require.ErrorContains(t, err, "too large")

	good := sealing(t, to, xml([]any{}))
	for name, tt := range map[string]struct {
		cert *x509.Certificate
		key  crypto.PrivateKey
		code mdm.Code
	}{
		"for somebody else":         {other.cert, other.key, mdm.Malformed},
		"no certificate":            {nil, to.key, mdm.Internal},
		"no key":                    {to.cert, nil, mdm.Internal},
		"something else":            {to.cert, "key", mdm.Internal},
		"the key of somebody else":  {to.cert, other.key, mdm.Internal},
		"a public key":              {to.cert, to.key.Public(), mdm.Internal},
		"a key that cannot decrypt": {to.cert, signOnly{to.key}, mdm.Malformed},
	} {
		_, err := good.Decrypt(tt.cert, tt.key)
		require.Error(t, err, name)
		assert.Equal(t, tt.code, mdm.CodeOf(err), name)
	}
	_, err = (&profile.Profile{Identifier: "p"}).Decrypt(to.cert, to.key)
	require.ErrorContains(t, err, "not encrypted")
	_, err = (&profile.Profile{Identifier: "p", EncryptedContent: []byte("junk")}).Decrypt(to.cert, to.key)
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

// signOnly is a key in a device that signs and does not decrypt.
type signOnly struct{ crypto.Signer }

// Whatever is damaged under the encryption, and whichever key it was, the error is the same word for word. Damage in the block
// before the last leaves the padding right, so that both ways to fail come up.
func TestDecryptTellsNothing(t *testing.T) {
	t.Parallel()
	to := issue(t, "To", firstRSA(), nil)
	imposter := issue(t, "To", secondRSA(), nil, func(c *x509.Certificate) { c.SerialNumber = to.cert.SerialNumber })
	sealed, err := secretProfile().Encrypt(to.cert)
	require.NoError(t, err)
	texts := map[string]int{}
	for range 50 {
		_, err := sealed.Decrypt(imposter.cert, imposter.key)
		require.Error(t, err)
		texts[err.Error()]++
	}
	for i := range 40 { // blocks at the end of the message
		damaged := *sealed
		damaged.EncryptedContent = bytes.Clone(sealed.EncryptedContent)
		damaged.EncryptedContent[len(damaged.EncryptedContent)-1-i] ^= 0x55
		_, err := damaged.Decrypt(to.cert, to.key)
		if err != nil {
			texts[err.Error()]++
		}
	}
	assert.Len(t, texts, 1, "%v", texts)
}
