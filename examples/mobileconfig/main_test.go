package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/lint"
)

const fixtures = "../../profile/lint/testdata/"

func call(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func file(t *testing.T, p *profile.Profile) string {
	t.Helper()
	data, err := p.Encode()
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "p.mobileconfig")
	require.NoError(t, os.WriteFile(name, data, 0o600))
	return name
}

func TestExitStatus(t *testing.T) {
	good, warned, wrong := fixtures+"pairing/good.mobileconfig", fixtures+"identifier/bad.mobileconfig", fixtures+"topic/bad.mobileconfig"
	for _, tt := range []struct {
		want int
		args []string
	}{
		{0, []string{"lint", good}},
		{0, []string{"lint", warned}},
		{1, []string{"lint", "-strict", warned}},
		{1, []string{"lint", wrong}},
		{1, []string{"lint", good, wrong}},
		{0, []string{"lint", "-disable", "topic", wrong}},
		{1, []string{"lint", "-only", "topic,url", wrong}},
		{0, []string{"lint", "-only", "url", wrong}},
		{1, []string{"lint", fixtures + "malformed/bad.mobileconfig"}},
		{1, []string{"lint", fixtures + "signature/bad.mobileconfig"}},
		{0, []string{"lint", fixtures + "signature/good.mobileconfig"}},
		{1, []string{"lint", "-platform", "macos", fixtures + "schema-platform/bad.mobileconfig"}},
		{1, []string{"lint", "-platform", "iOS", "-os", "15.4", fixtures + "schema-version/bad.mobileconfig"}},
		{1, []string{"lint", "-platform", "iOS", "-supervised=false", fixtures + "schema-supervised/bad.mobileconfig"}},
		{0, []string{"lint", "-platform", "iOS", "-supervised", fixtures + "schema-supervised/bad.mobileconfig"}},
		{0, []string{"lint", "-platform", "iOS", "-supervised=1", fixtures + "schema-supervised/bad.mobileconfig"}},
		{1, []string{"lint", "-platform", "macOS", "-channel", "device", fixtures + "schema-channel/bad.mobileconfig"}},
		{1, []string{"lint", "-proxy", "mdm.example.com", fixtures + "sign-message/bad.mobileconfig"}},
		{1, []string{"lint", "-topic", "com.apple.mgmt.External.1", fixtures + "push-topic/bad.mobileconfig"}},
		{0, []string{"rules"}},
		{0, []string{"lint", "-help"}},
		{2, nil},
		{2, []string{"eat"}},
		{2, []string{"lint"}},
		{2, []string{"lint", "-platform", "BeOS", good}},
		{2, []string{"lint", "-channel", "4", good}},
		{2, []string{"lint", "-supervised=perhaps", good}},
		{2, []string{"lint", "-disable", "no-such-rule", good}},
		{2, []string{"lint", "no-such-file"}},
		{2, []string{"rules", "-x"}},
		{2, []string{"split"}},
		{2, []string{"split", "no-such-file"}},
		{2, []string{"split", fixtures + "malformed/bad.mobileconfig"}},
	} {
		code, _, stderr := call("", tt.args...)
		assert.Equal(t, tt.want, code, "%v: %s", tt.args, stderr)
		assert.Equal(t, tt.want == 2, stderr != "" && code == 2, "%v", tt.args)
	}
}

func TestAllowWiFi(t *testing.T) {
	name := file(t, &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{&profile.WiFi{}, &profile.MDM{}}})
	for option, want := range map[string]int{"-json": 1, "-allow-wifi": 0, "-allow-wifi=true": 0, "-allow-wifi=false": 1} {
		code, _, _ := call("", "lint", "-only", "basics-only", option, name)
		assert.Equal(t, want, code, option)
	}
}

func TestLintForPeople(t *testing.T) {
	data, err := os.ReadFile(fixtures + "topic/bad.mobileconfig")
	require.NoError(t, err)
	_, out, _ := call(string(data), "lint", "-only", "topic", "-")
	assert.Equal(t, `-
  error    PayloadContent[3].Topic: does not begin with com.apple.mgmt.
           rule topic; why: A device takes pushes for such topics only.
           fix: Use the UID in the subject of the push certificate.
errors: 1, warnings: 0, infos: 0, files: 1
`, out)
}

func TestLintForMachines(t *testing.T) {
	type report struct {
		Findings []lint.Finding
		Errors   int
		Warnings int
	}
	var r report
	_, out, _ := call("", "lint", "-json", "-only", "topic", fixtures+"topic/bad.mobileconfig", fixtures+"topic/good.mobileconfig")
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Len(t, r.Findings, 1)
	assert.Equal(t, 1, r.Errors)
	assert.Equal(t, fixtures+"topic/bad.mobileconfig", r.Findings[0].File)
	assert.Equal(t, lint.Error, r.Findings[0].Severity)
	_, out, _ = call("", "lint", "-json", "-only", "topic", fixtures+"topic/good.mobileconfig")
	assert.Contains(t, out, `"findings": []`)
	_, out, _ = call("", "rules", "-json")
	var rules []lint.Rule
	require.NoError(t, json.Unmarshal([]byte(out), &rules))
	assert.Equal(t, lint.Rules(), rules)
}

func TestLintSet(t *testing.T) {
	a, b := fixtures+"set-identifier/bad/a.mobileconfig", fixtures+"set-identifier/bad/b.mobileconfig"
	code, _, _ := call("", "lint", a, b)
	assert.Equal(t, 0, code, "they are not said to be on one device")
	code, out, _ := call("", "lint", "-set", a, b)
	assert.Equal(t, 1, code)
	assert.Contains(t, out[strings.Index(out, b):], "error    PayloadIdentifier: another profile")
	assert.NotContains(t, out, "pairing", "the files are a pair")
}

func TestSecretsAndControlCharactersAreNotPrinted(t *testing.T) {
	name := file(t, &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{
		&profile.PKCS12{PayloadContent: []byte("key"), Password: mdm.SecretString("Tr0ub4dor")},
		&profile.Mail{IncomingPassword: mdm.SecretString("Tr0ub4dor"), Extra: map[string]any{"odd\u202ekey": "Tr0ub4dor"}},
	}})
	for _, mode := range []string{"-json=false", "-json"} {
		_, out, errs := call("", "lint", mode, name)
		assert.Contains(t, out, "password-clear")
		assert.NotContains(t, out+errs, "Tr0ub4dor")
		if mode == "-json=false" {
			assert.NotContains(t, out, "\u202e")
		}
	}
}

func TestSplit(t *testing.T) {
	name := file(t, &profile.Profile{Identifier: "com.example/../office", Payloads: []profile.Payload{
		&profile.Passcode{},
		&profile.Mail{Common: profile.Common{PayloadIdentifier: "work"}, IncomingPassword: mdm.SecretString("secret")},
		&profile.LDAP{Common: profile.Common{PayloadIdentifier: "directory"}},
	}})
	dir := t.TempDir()
	code, out, _ := call("", "split", "-out", dir, name)
	require.Equal(t, 0, code)
	assert.Equal(t, []string{
		filepath.Join(dir, "com.example_.._office.mobileconfig"),
		filepath.Join(dir, "com.example_.._office.account.work.mobileconfig"),
		filepath.Join(dir, "com.example_.._office.account.directory.mobileconfig"),
	}, strings.Fields(out))
	for _, part := range strings.Fields(out) {
		data, err := os.ReadFile(part)
		require.NoError(t, err)
		_, err = profile.Parse(data)
		require.NoError(t, err)
		info, err := os.Stat(part)
		require.NoError(t, err)
		assert.Zero(t, info.Mode().Perm()&0o077, "it may hold secrets")
	}
	code, _, errs := call("", "split", "-out", dir, name)
	assert.Equal(t, 2, code, "nothing is overwritten")
	assert.Contains(t, errs, "exists")

	code, out, _ = call("", "split", "-out", dir, fixtures+"pairing/good.mobileconfig")
	assert.Equal(t, 0, code)
	assert.Contains(t, out, "one account or none")
}
