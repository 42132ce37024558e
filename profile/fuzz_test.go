package profile_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// FuzzExpand wants of any template and any value: what comes out says the same in XML, keeps its secrets, and leaves the
// template as it was.
func FuzzExpand(f *testing.F) {
	for _, text := range []string{"${v}", "a${v}b${s}", "$${v}", "${", "${s}", "$${${v}}"} {
		p := template()
		p.Identifier, p.DisplayName = "p", text
		p.Payloads = append(p.Payloads, &profile.WiFi{SSIDStr: new(text), Password: mdm.SecretString(text)})
		data, err := p.Encode()
		require.NoError(f, err)
		f.Add(data, hostile)
	}
	f.Fuzz(func(t *testing.T, data []byte, value string) {
		parsed, err := profile.Parse(data)
		if err != nil {
			return
		}
		p := parsed.Profile
		before, encodeErr := p.Encode()
		const secret = "SESAME-8f1c"
		values := map[string]any{"v": value, "s": mdm.SecretString(secret), "n": 5, "list": []any{value, mdm.SecretString(secret)}}
		used, err := p.Variables()
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		}
		for _, v := range used {
			require.NotEmpty(t, v.Paths)
			if values[v.Name] == nil {
				values[v.Name] = value
			}
		}
		out, err := p.Expand(values)
		after, _ := p.Encode()
		require.Equal(t, string(before), string(after))
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			if !strings.Contains(string(data), secret) {
				require.NotContains(t, err.Error(), secret)
			}
			return
		}
		if !strings.Contains(string(data)+value, secret) {
			require.NotContains(t, fmt.Sprintf("%+v %#v", out, out.Payloads), secret)
		}
		encoded, err := out.Encode()
		if err != nil { // two payloads of one name, which may come from a variable, or had it before
			return
		}
		require.LessOrEqual(t, len(encoded), 8*(len(before)+len(data)+profile.MaxSize))
		if encodeErr == nil && len(encoded) < profile.MaxSize {
			_, err = profile.Parse(encoded)
			require.NoError(t, err)
		}
	})
}

// FuzzDecrypt wants of anything that was encrypted: payloads that can be written and read, or an error.
func FuzzDecrypt(f *testing.F) {
	to := issue(f, "To", firstRSA(), nil)
	for _, form := range forms(f)[:5] {
		dict := synth.Full(form.Schema())
		dict["PayloadType"] = form.PayloadType()
		data, err := plistx.Marshal([]any{dict, map[string]any{"PayloadType": "x", "PayloadIdentifier": "i"}})
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte("<plist><dict/></plist>"))
	f.Fuzz(func(t *testing.T, content []byte) {
		sealed, err := cms.Encrypt(content, []*x509.Certificate{to.cert})
		require.NoError(t, err)
		open, err := (&profile.Profile{Identifier: "p", EncryptedContent: sealed}).Decrypt(to.cert, to.key)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		again, err := open.Encrypt(to.cert)
		require.NoError(t, err, "its names are checked")
		back, err := again.Decrypt(to.cert, to.key)
		require.NoError(t, err)
		want, err := open.Encode()
		require.NoError(t, err)
		got, err := back.Encode()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	})
}

// FuzzDiff wants of any two profiles: nothing between equal ones, as much there as back, and no secret in words.
func FuzzDiff(f *testing.F) {
	for seed := range uint64(4) {
		r := newRandom(f, seed)
		var data [2][]byte
		for i := range data {
			var err error
			data[i], err = r.profile().Encode()
			require.NoError(f, err)
		}
		f.Add(data[0], data[1])
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		a, err := profile.Parse(one)
		if err != nil {
			return
		}
		b, err := profile.Parse(two)
		if err != nil {
			return
		}
		there, err := profile.Diff(a.Profile, b.Profile)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		back, err := profile.Diff(b.Profile, a.Profile)
		require.NoError(t, err)
		require.Equal(t, len(there), len(back))
		for _, c := range there {
			require.NotEmpty(t, c.String())
		}
		same, err := profile.Equal(a.Profile, a.Profile)
		require.NoError(t, err)
		require.True(t, same)
	})
}
