package profile_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/profile"
)

// TestSecretsInWhatDoesNotFit: an array with one item that does not fit its type is kept whole in Extra, with the secrets of
// the other items.
func TestSecretsInWhatDoesNotFit(t *testing.T) {
	const password = "Tr0ub4dor"
	for name, payload := range map[string]string{
		"array": `<dict><key>PayloadType</key><string>com.apple.airplay</string><key>Passwords</key><array>
			<string>odd</string><dict><key>DeviceName</key><string>a</string><key>Password</key><string>` + password + `</string></dict></array></dict>`,
		"dictionary": `<dict><key>PayloadType</key><string>com.apple.wifi.managed</string><key>EAPClientConfiguration</key><array>
			<dict><key>UserPassword</key><string>` + password + `</string></dict></array></dict>`,
	} {
		parsed, err := profile.Parse(fileOf("com.example", payload))
		require.NoError(t, err, name)
		for _, p := range []profile.Payload{parsed.Profile.Payloads[0], profile.Typed(parsed.Profile.Payloads[0])} {
			assert.NotContains(t, fmt.Sprintf("%+v", p), password, name)
			keys, err := profile.Keys(p)
			require.NoError(t, err, name)
			assert.Contains(t, fmt.Sprint(keys), password, "%s: it is encoded all the same", name)
			data, err := profile.EncodeJSON(p)
			require.NoError(t, err, name)
			assert.Contains(t, string(data), password, name)
		}
		again, err := parsed.Profile.Expand(nil)
		require.NoError(t, err, name)
		same, err := profile.Equal(parsed.Profile, again)
		require.NoError(t, err, name)
		assert.True(t, same, name)
		assert.NotContains(t, fmt.Sprintf("%+v", again.Payloads[0]), password, name)
	}
}
