package profile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// fileOf returns the file of a profile.
func fileOf(identifier, payload string) []byte {
	return []byte(`<plist version="1.0"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadIdentifier</key><string>` +
		identifier + `</string><key>PayloadContent</key><array>` + payload + `</array></dict></plist>`)
}

// TestNamesThatWouldBeSaidAgain: what is told of a profile names keys and identifiers once for each value and payload.
func TestNamesThatWouldBeSaidAgain(t *testing.T) {
	long, half := strings.Repeat("k", 1025), strings.Repeat("k", 513)
	payload := `<dict><key>PayloadType</key><string>a</string>%s</dict>`
	for name, data := range map[string][]byte{
		"identifier":         fileOf(long, ""),
		"payload identifier": fileOf("a", fmt.Sprintf(payload, `<key>PayloadIdentifier</key><string>`+long+`</string>`)),
		"UUID":               fileOf("a", fmt.Sprintf(payload, `<key>PayloadUUID</key><string>`+long+`</string>`)),
		"type":               fileOf("a", `<dict><key>PayloadType</key><string>`+long+`</string></dict>`),
		"key":                fileOf("a", fmt.Sprintf(payload, `<key>`+long+`</key><true/>`)),
		"keys": fileOf("a", fmt.Sprintf(payload,
			`<key>`+half+`</key><array><dict><key>`+half+`</key><true/></dict></array>`)),
	} {
		_, err := profile.Parse(data)
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		assert.Less(t, len(err.Error()), 200, name)
	}
	_, err := profile.Parse(fileOf(long[1:], fmt.Sprintf(payload, `<key>`+half[1:]+`</key><dict><key>k</key><true/></dict>`)))
	require.NoError(t, err)
	_, err = profile.Parse([]byte(strings.Replace(string(fileOf("a", "")), "Configuration", long, 1)))
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 200, "it quotes the type")
}

// TestOneIdentifierForAll: how much is done for payloads of one identifier does not grow with the square of their number.
func TestOneIdentifierForAll(t *testing.T) {
	effort := func(n int) float64 {
		p := &profile.Profile{Identifier: "com.example"}
		for range n {
			p.Payloads = append(p.Payloads, &profile.Raw{Type: "a", Values: map[string]any{"PayloadIdentifier": "x"}})
		}
		return testing.AllocsPerRun(1, func() { p.PayloadIDs() })
	}
	assert.Less(t, effort(1000), 3*effort(500))
}

func TestManyVariablesInOneString(t *testing.T) {
	const n = 2000
	p := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{
		&profile.Raw{Type: "a", Values: map[string]any{"k": strings.Repeat("${a}", n)}},
	}}
	var used []profile.Variable
	assert.Less(t, testing.AllocsPerRun(1, func() { used, _ = p.Variables() }), float64(n), "the path is made once")
	assert.Equal(t, []profile.Variable{{Name: "a", Paths: []string{"PayloadContent[0].k"}}}, used)
}

// TestSplitOfWhatAllName: each account gets a copy of the payload that all of them name.
func TestSplitOfWhatAllName(t *testing.T) {
	p := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{
		&profile.Raw{Type: "a", Values: map[string]any{"PayloadUUID": "U", "k": make([]any, 2000)}},
	}}
	for i := range 1000 {
		p.Payloads = append(p.Payloads, &profile.ExchangeActiveSync{
			Common: profile.Common{PayloadIdentifier: fmt.Sprint("account.", i)}, PayloadCertificateUUID: new("U"),
		})
	}
	_, err := profile.Split(p)
	require.ErrorContains(t, err, "1000000 values")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

// TestPointersToNoPayload: what asks for a payload takes one that is missing.
func TestPointersToNoPayload(t *testing.T) {
	for _, p := range []profile.Payload{nil, (*profile.Raw)(nil), (*profile.WiFi)(nil), (*profile.RootCertificate)(nil), (*profile.PEMCertificate)(nil)} {
		name := fmt.Sprintf("%T", p)
		assert.NotPanics(t, func() {
			all := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{p, p, &profile.WiFi{}, &profile.WiFi{}}}
			assert.Nil(t, profile.CertificateIn(p), name)
			assert.Equal(t, profile.Unclassified, profile.ClassOf(p), name)
			assert.Equal(t, p, profile.Typed(p), name)
			profile.ValidateEnrollment(all)
			profile.ValidateUpdate(all, all)
			all.RemovalPassword()
			assert.NotEmpty(t, all.Validate(schema.Target{Platform: schema.MacOS}), name)
			for _, err := range []error{
				second(profile.EncodeJSON(p)), second(profile.Diff(all, all)), second(profile.Split(all)), second(all.Expand(nil)),
				second(all.Filled()), second(profile.Pair(all, all)), second(profile.ReplaceCredential(all, profile.Credential{Identity: p})),
			} {
				assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
			}
		}, name)
	}
	assert.NotPanics(t, func() {
		p := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{&profile.Raw{}, &profile.Raw{Type: "a"}}}
		_, _ = p.Filled()
		_, _ = p.Expand(nil)
		_, _ = profile.Split(p)
	})
}

func second[T any](_ T, err error) error { return err }
