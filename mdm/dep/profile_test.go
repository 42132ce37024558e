package dep_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// fullProfile has every key of Apple's documents.
const fullProfile = `{"profile_name":"Staff","url":"https://mdm.example.com/ade","configuration_web_url":"https://mdm.example.com/web","anchor_certs":["%"],
	"supervising_host_certs":["%"],"allow_pairing":false,"is_supervised":true,"is_mandatory":true,"is_mdm_removable":false,"is_multi_user":true,
	"await_device_configured":true,"auto_advance_setup":true,"language":"en","region":"US","is_return_to_service":true,
	"do_not_use_profile_from_backup":true,"skip_setup_items":["Siri","NewerPane"],"department":"IT","support_phone_number":"+1 555",
	"support_email_address":"it@example.com","org_magic":"m","devices":["C01"],"newer_key":{"a":[1,2]}}`

func TestProfileKeys(t *testing.T) {
	cert := base64.StdEncoding.EncodeToString(pairCert(t, tokenPair()).Raw)
	body := strings.ReplaceAll(fullProfile, "%", cert)
	var p dep.Profile
	require.NoError(t, json.Unmarshal([]byte(body), &p))
	require.NoError(t, p.Check())
	assert.Len(t, p.Extra, 1, "every other key is known")
	assert.Equal(t, []string{"Siri", "NewerPane"}, p.SkipSetupItems)
	assert.False(t, *p.AllowPairing)
	assert.True(t, p.NoProfileFromBackup)
	data, err := json.Marshal(p)
	require.NoError(t, err)
	assert.JSONEq(t, body, string(data))

	odd := `{"profile_name":7,"is_mandatory":"true","is_multi_user":"perhaps","skip_setup_items":"Siri"}`
	require.NoError(t, json.Unmarshal([]byte(odd), &p))
	assert.True(t, p.IsMandatory)
	assert.Len(t, p.Extra, 3, "what is odd is kept")
	require.Error(t, json.Unmarshal([]byte(`[]`), &p))
}

// TestProfileCertificates: Apple's own sample has line breaks in them, which are read, and not written.
func TestProfileCertificates(t *testing.T) {
	cert := pairCert(t, tokenPair())
	plain := dep.EncodeCerts(cert, cert)
	broken, err := json.Marshal(map[string]any{"anchor_certs": []string{lines(cert.Raw)}, "supervising_host_certs": []string{lines(cert.Raw)}})
	require.NoError(t, err)
	var p dep.Profile
	require.NoError(t, json.Unmarshal(broken, &p))
	assert.Equal(t, plain[:1], p.AnchorCerts)
	assert.Equal(t, plain[:1], p.SupervisingHostCerts)

	mine := dep.Profile{AnchorCerts: []string{lines(cert.Raw)}}
	data, err := json.Marshal(mine)
	require.NoError(t, err)
	assert.NotContains(t, string(data), `\n`)
	assert.Contains(t, mine.AnchorCerts[0], "\n", "what is written is left alone")

	certs, err := dep.DecodeCerts([]string{lines(cert.Raw), strings.TrimRight(plain[0], "=")})
	require.NoError(t, err)
	assert.Equal(t, []*x509.Certificate{cert, cert}, certs)
	_, err = dep.DecodeCerts([]string{"MIIB"})
	require.Error(t, err)
}

func TestProfileCheck(t *testing.T) {
	yes, no := true, false
	const long = "https://mdm.example.com/"
	good := dep.Profile{Name: "Staff", URL: "https://mdm.example.com/ade"}
	for name, c := range map[string]struct {
		change func(p *dep.Profile)
		want   string
	}{
		"as it is": {func(*dep.Profile) {}, ""},
		"longest":  {func(p *dep.Profile) { p.Name, p.Department = strings.Repeat("ü", 125), strings.Repeat("ü", 125) }, ""},
		"longest others": {func(p *dep.Profile) {
			p.SupportPhoneNumber, p.SupportEmailAddress, p.OrgMagic = strings.Repeat("1", 50), strings.Repeat("a", 250), strings.Repeat("a", 256)
		}, ""},
		"longest URL":         {func(p *dep.Profile) { p.URL = long + strings.Repeat("a", 2000-len(long)) }, ""},
		"removable":           {func(p *dep.Profile) { p.IsMDMRemovable = &yes }, ""},
		"locked":              {func(p *dep.Profile) { p.IsMDMRemovable, p.IsSupervised = &no, true }, ""},
		"an item of a new OS": {func(p *dep.Profile) { p.SkipSetupItems = []string{"Hologram", dep.SkipTOS} }, ""},
		"a language":          {func(p *dep.Profile) { p.Language, p.Region = "de", "CH" }, ""},

		"no name":              {func(p *dep.Profile) { p.Name = "" }, "needs a name"},
		"a long name":          {func(p *dep.Profile) { p.Name = strings.Repeat("a", 126) }, "the name"},
		"a name that is none":  {func(p *dep.Profile) { p.Name = "\xff" }, "the name"},
		"no URL":               {func(p *dep.Profile) { p.URL = "" }, "the URL"},
		"http":                 {func(p *dep.Profile) { p.URL = "http://mdm.example.com" }, "the URL"},
		"no host":              {func(p *dep.Profile) { p.URL = "https:///ade" }, "the URL"},
		"with a password":      {func(p *dep.Profile) { p.URL = "https://a:b@mdm.example.com" }, "the URL"},
		"a long URL":           {func(p *dep.Profile) { p.URL = long + strings.Repeat("a", 2001-len(long)) }, "2000"},
		"a page over http":     {func(p *dep.Profile) { p.ConfigurationWebURL = "http://mdm.example.com" }, "the page"},
		"a long department":    {func(p *dep.Profile) { p.Department = strings.Repeat("a", 126) }, "department"},
		"a long telephone":     {func(p *dep.Profile) { p.SupportPhoneNumber = strings.Repeat("1", 51) }, "telephone"},
		"a long email address": {func(p *dep.Profile) { p.SupportEmailAddress = strings.Repeat("a", 251) }, "email"},
		"long magic":           {func(p *dep.Profile) { p.OrgMagic = strings.Repeat("a", 257) }, "OrgMagic"},
		"locked, unsupervised": {func(p *dep.Profile) { p.IsMDMRemovable = &no }, "IsSupervised"},
		"a language's name":    {func(p *dep.Profile) { p.Language = "English" }, "language"},
		"a region in small":    {func(p *dep.Profile) { p.Region = "us" }, "region"},
		"no certificate":       {func(p *dep.Profile) { p.AnchorCerts = []string{"-----BEGIN"} }, "certificate"},
		"no host certificate":  {func(p *dep.Profile) { p.SupervisingHostCerts = []string{"MIIB"} }, "certificate"},
		"an empty item":        {func(p *dep.Profile) { p.SkipSetupItems = []string{""} }, "Setup Assistant"},
		"no serial number":     {func(p *dep.Profile) { p.Devices = []string{"C 1"} }, "serial number"},
		"too many devices":     {func(p *dep.Profile) { p.Devices = serials(1001) }, "1000"},
		"too many items":       {func(p *dep.Profile) { p.SkipSetupItems = make([]string, 501) }, "500"},
		"too many anchors":     {func(p *dep.Profile) { p.AnchorCerts = make([]string, 101) }, "100"},
	} {
		p := good
		c.change(&p)
		err := p.Check()
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
	}
}
