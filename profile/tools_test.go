package profile_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// Programs of others read what is written here, and the other way around. Without a program its tests are left out, unless
// APPLEMDM_TEST_TOOLS is set.

// bench is a directory in which a program runs.
type bench struct {
	testing.TB
	program string
	dir     string
}

func newBench(t testing.TB, program string, files map[string][]byte) bench {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("APPLEMDM_TEST_TOOLS") != "" {
			t.Fatalf("APPLEMDM_TEST_TOOLS is set, and there is no %s", program)
		}
		t.Skipf("needs %s on the PATH", program)
	}
	b := bench{t, path, t.TempDir()}
	for name, data := range files {
		b.write(name, data)
	}
	return b
}

func (b bench) write(name string, data []byte) {
	b.Helper()
	require.NoError(b, os.WriteFile(filepath.Join(b.dir, name), data, 0o600))
}

// run returns what the program writes to its output, and whether it was content.
func (b bench) run(args string) ([]byte, error) {
	cmd := exec.CommandContext(b.Context(), b.program, strings.Fields(args)...)
	cmd.Dir = b.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", args, err, stderr.String())
	}
	return out, nil
}

func inPEM(kind string, der ...[]byte) []byte {
	var out []byte
	for _, one := range der {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: one})...)
	}
	return out
}

func keyPEM(t testing.TB, i identity) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	require.NoError(t, err)
	return inPEM("PRIVATE KEY", der)
}

func TestOpenSSLVerifiesProfiles(t *testing.T) {
	t.Parallel()
	plain := simple(t)
	for kind, key := range map[string]identity{"rsa": {key: firstRSA()}, "ec": {key: newEC()}} {
		root, upper, lower, leaf := line(t, key.key)
		data := signed(t, leaf, plain, root.cert, upper.cert, lower.cert) // the chain must be complete: it has the root only
		b := newBench(t, "openssl", map[string][]byte{"root.pem": inPEM("CERTIFICATE", root.cert.Raw), "signed": data})
		verify := fmt.Sprintf("cms -verify -binary -inform DER -in signed -CAfile root.pem -purpose any -attime %d", noon.Unix())
		out, err := b.run(verify)
		require.NoError(t, err, kind)
		assert.Equal(t, string(plain), string(out), kind)

		b.write("signed", bytes.Replace(data, []byte(">s<"), []byte(">t<"), 1))
		_, err = b.run(verify)
		require.Error(t, err, kind)
		_, err = profile.Parse(bytes.Replace(data, []byte(">s<"), []byte(">t<"), 1))
		require.ErrorContains(t, err, "signature", kind)
	}
}

func TestOpenSSLSignsProfiles(t *testing.T) {
	t.Parallel()
	plain := simple(t)
	for kind, key := range map[string]identity{"rsa": {key: firstRSA()}, "ec": {key: newEC()}} {
		root, upper, lower, leaf := line(t, key.key)
		b := newBench(t, "openssl", map[string][]byte{"in": plain, "leaf.pem": inPEM("CERTIFICATE", leaf.cert.Raw), "key.pem": keyPEM(t, leaf),
			"chain.pem": inPEM("CERTIFICATE", upper.cert.Raw, lower.cert.Raw)})
		for _, form := range []string{"-outform DER", "-outform DER -stream -nosmimecap"} {
			data, err := b.run("cms -sign -nodetach -binary -in in -signer leaf.pem -inkey key.pem -certfile chain.pem -md sha256 " + form)
			require.NoError(t, err)
			parsed, err := profile.Parse(data)
			require.NoError(t, err, kind)
			assert.Equal(t, string(plain), string(parsed.Plain))
			_, err = parsed.Verify(profile.VerifyOptions{Roots: pool(root.cert), Time: noon})
			require.NoError(t, err, kind)

			damaged := bytes.Replace(data, []byte(">s<"), []byte(">t<"), 1)
			require.NotEqual(t, data, damaged)
			_, err = profile.Parse(damaged)
			require.Error(t, err, kind)
		}
	}
}

// The content of an encrypted profile is the array of its payloads, and nothing else.
func TestOpenSSLDecryptsProfiles(t *testing.T) {
	t.Parallel()
	p, to, other := secretProfile(), issue(t, "To", firstRSA(), nil), issue(t, "Other", secondRSA(), nil)
	sealed, err := p.Encrypt(other.cert, to.cert)
	require.NoError(t, err)
	b := newBench(t, "openssl", map[string][]byte{"sealed": sealed.EncryptedContent, "cert.pem": inPEM("CERTIFICATE", to.cert.Raw), "key.pem": keyPEM(t, to)})
	out, err := b.run("cms -decrypt -inform DER -in sealed -recip cert.pem -inkey key.pem")
	require.NoError(t, err)
	var got []any
	require.NoError(t, plistx.Unmarshal(out, &got))
	data, err := p.Encode()
	require.NoError(t, err)
	var top map[string]any
	require.NoError(t, plistx.Unmarshal(data, &top))
	assert.Equal(t, top["PayloadContent"], any(got))
	text, err := b.run("cms -cmsout -print -inform DER -in sealed")
	require.NoError(t, err)
	assert.Contains(t, string(text), "aes-256-cbc")
	assert.Equal(t, 2, strings.Count(string(text), "rsaEncryption"), "a recipient each")
}

func TestOpenSSLEncryptsProfiles(t *testing.T) {
	t.Parallel()
	to := issue(t, "To", firstRSA(), nil)
	content, err := plistx.Marshal([]any{map[string]any{"PayloadType": profile.TypeWiFi, "PayloadIdentifier": "i", "PayloadUUID": "u", "Password": "SESAME"}})
	require.NoError(t, err)
	b := newBench(t, "openssl", map[string][]byte{"in": content, "cert.pem": inPEM("CERTIFICATE", to.cert.Raw)})
	for _, form := range []string{"-aes256", "-des3", "-aes128 -keyid -stream"} {
		sealed, err := b.run("cms -encrypt -binary -in in -outform DER " + form + " cert.pem")
		require.NoError(t, err)
		parsed, err := profile.Parse(document(t, map[string]any{"IsEncrypted": true, "EncryptedPayloadContent": sealed}))
		require.NoError(t, err)
		open, err := parsed.Profile.Decrypt(to.cert, to.key)
		require.NoError(t, err, form)
		assert.Equal(t, "SESAME", string(open.Payloads[0].(*profile.WiFi).Password.Reveal()), form)
	}
}

// Another reader of property lists understands every profile, and writes it in a form that reads the same.
func TestPlistutilReadsProfiles(t *testing.T) {
	t.Parallel()
	odd := &profile.Profile{Identifier: "p", DisplayName: "<&>\"' \t\n ä 😀 ]]> ${x}", RemovalDate: noon, ExpirationDate: noon, DurationUntilRemoval: 1500e6,
		ConsentText: map[string]string{"default": ""}, Extra: map[string]any{"Real": 1e-9, "Large": 1e15, "Most": uint64(1 << 63), "Least": int64(-1 << 63), "<k>&": []byte{},
			"Empty": []any{map[string]any{}, []any{}}}}
	odd.SetRemovalPassword(mdm.SecretString("\"<&"))
	full, minimal, typed := *odd, *odd, *odd
	for i, form := range forms(t) {
		id := fmt.Sprintf("p%d", i)
		for p, keys := range map[*profile.Profile]map[string]any{&full: synth.Full(form.Schema()), &minimal: synth.Minimal(form.Schema())} {
			keys["PayloadIdentifier"] = id
			p.Payloads = append(p.Payloads, &profile.Raw{Type: form.PayloadType(), Values: keys})
		}
		schema.Decode(synth.Full(form.Schema()), form)
		typed.Payloads = append(typed.Payloads, form)
	}
	b := newBench(t, "plistutil", nil)
	for name, p := range map[string]*profile.Profile{"full": &full, "minimal": &minimal, "typed": &typed, "empty": {Identifier: "p"}} {
		data, err := p.Encode()
		require.NoError(t, err)
		b.write(name, data)
		_, err = b.run("-i " + name + " -f bin -o " + name + ".bin")
		require.NoError(t, err, name)
		binary, err := os.ReadFile(filepath.Join(b.dir, name+".bin"))
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(binary, []byte("bplist00")), name)
		parsed, err := profile.Parse(binary)
		require.NoError(t, err, name)
		again, err := parsed.Profile.Encode()
		require.NoError(t, err)
		assert.Equal(t, string(data), string(again), name)
		changes, err := profile.Diff(p, parsed.Profile)
		require.NoError(t, err)
		assert.Empty(t, changes, name)
	}
}
