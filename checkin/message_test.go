package checkin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

func messages() []checkin.Message {
	common := checkin.Common{Identifiers: mdm.Identifiers{UDID: "UDID", UserID: "GUID", UserShortName: "ada", UserLongName: "Ada L"},
		NotOnConsole: truth(false), AuthToken: mdm.SecretString("auth"), Extra: map[string]any{"FromTheFuture": map[string]any{"Deep": []any{"x", true}}}}
	return []checkin.Message{
		&checkin.Authenticate{Common: common, Topic: "t", Device: mdm.Device{Name: "n & n", Model: "m", ModelName: "mn", ProductName: "p",
			SerialNumber: "s", OSVersion: "18", BuildVersion: "b", IMEI: "i", MEID: "me"}},
		&checkin.TokenUpdate{Common: common, Topic: "t", Token: []byte{0, 1, 2}, PushMagic: "<magic>", UnlockToken: mdm.SecretString("unlock"),
			AwaitingConfiguration: truth(true)},
		&checkin.CheckOut{Common: common, Topic: "t"},
		&checkin.UserAuthenticate{Common: common, DigestResponse: `Digest username="ada"`},
		&checkin.SetBootstrapToken{Common: common, BootstrapToken: mdm.SecretString("token"), AwaitingConfiguration: truth(false)},
		&checkin.GetBootstrapToken{Common: common, AwaitingConfiguration: truth(false)},
		&checkin.DeclarativeManagement{Common: common, Endpoint: "status", Data: []byte(`{}`)},
		&checkin.GetToken{Common: common, TokenServiceType: "com.apple.maid", TokenParameters: map[string]any{"PhoneUDID": "x"}},
		&checkin.ReturnToService{Common: common},
		&checkin.Unknown{Common: common, Type: "Frobnicate"},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range messages() {
		data, err := checkin.Encode(m)
		require.NoError(t, err)
		got, err := checkin.Decode(data)
		require.NoError(t, err, m.MessageType())
		again, err := checkin.Encode(got)
		require.NoError(t, err)
		assert.Equal(t, string(data), string(again), "%s: every key, the unknown ones too", m.MessageType())
		assert.IsType(t, m, got)
	}
}

func TestAbsentKeysStayAbsent(t *testing.T) {
	for _, m := range []checkin.Message{&checkin.GetBootstrapToken{}, &checkin.SetBootstrapToken{}, &checkin.CheckOut{Topic: "t"}} {
		data, err := checkin.Encode(m)
		require.NoError(t, err)
		assert.NotContains(t, string(data), "AwaitingConfiguration")
		got, err := checkin.Decode(data)
		require.NoError(t, err)
		if m, ok := got.(*checkin.GetBootstrapToken); ok {
			assert.Nil(t, m.AwaitingConfiguration)
		}
	}
}

func plist(pairs string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict>` + pairs + `</dict></plist>`)
}

func TestDecodeRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"no type":            `<key>UDID</key><string>U</string>`,
		"type of wrong type": `<key>MessageType</key><true/>`,
		"no topic":           `<key>MessageType</key><string>Authenticate</string>`,
		"no token":           `<key>MessageType</key><string>TokenUpdate</string><key>Topic</key><string>t</string><key>PushMagic</key><string>m</string>`,
		"empty token":        `<key>MessageType</key><string>TokenUpdate</string><key>Topic</key><string>t</string><key>PushMagic</key><string>m</string><key>Token</key><data></data>`,
		"no magic":           `<key>MessageType</key><string>TokenUpdate</string><key>Topic</key><string>t</string><key>Token</key><data>AQ==</data>`,
		"long token":         `<key>MessageType</key><string>TokenUpdate</string><key>Topic</key><string>t</string><key>PushMagic</key><string>m</string><key>Token</key><data>` + strings.Repeat("AAAA", 2000) + `</data>`,
		"token as text":      `<key>MessageType</key><string>TokenUpdate</string><key>Topic</key><string>t</string><key>PushMagic</key><string>m</string><key>Token</key><string>secret-token</string>`,
		"boolean as text":    `<key>MessageType</key><string>GetBootstrapToken</string><key>AwaitingConfiguration</key><string>secret-text</string>`,
		"no endpoint":        `<key>MessageType</key><string>DeclarativeManagement</string>`,
		"no service":         `<key>MessageType</key><string>GetToken</string>`,
	} {
		_, err := checkin.Decode(plist(body))
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		assert.NotContains(t, err.Error(), "secret", "an error quotes no values")
	}
	_, err := checkin.Decode([]byte("hello"))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	require.Error(t, err)
}

// The digest of Apple's published example (MDM Protocol Reference 2018), whose nonce the reference prints.
func TestDigestVector(t *testing.T) {
	a1 := checkin.DigestA1("net1", "fusion.home", mdm.SecretString("test"))
	assert.Len(t, a1.Reveal(), 32)
	d := &checkin.Digest{Realm: "fusion.home", Lookup: lookup("net1", a1)}
	challenge, err := d.Challenge(context.Background(), anna)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(challenge, `Digest nonce="`))
}

func lookup(known string, a1 mdm.Secret) func(context.Context, mdm.EnrollmentID, string) (mdm.Secret, bool, error) {
	return func(_ context.Context, _ mdm.EnrollmentID, user string) (mdm.Secret, bool, error) {
		return a1, user == known, nil
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range messages() {
		data, err := checkin.Encode(m)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := checkin.Decode(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		encoded, err := checkin.Encode(m)
		require.NoError(t, err)
		again, err := checkin.Decode(encoded)
		require.NoError(t, err)
		require.Equal(t, m.MessageType(), again.MessageType())
	})
}

func BenchmarkDecodeTokenUpdate(b *testing.B) {
	data, err := checkin.Encode(&checkin.TokenUpdate{Topic: "com.apple.mgmt.x", Token: make([]byte, 32), PushMagic: "magic",
		UnlockToken: mdm.NewSecret(make([]byte, 1500)), Common: checkin.Common{Identifiers: mdm.Identifiers{UDID: "UDID"}}})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := checkin.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleDecode() {
	m, err := checkin.Decode([]byte(`<plist version="1.0"><dict>
		<key>MessageType</key><string>CheckOut</string>
		<key>Topic</key><string>com.apple.mgmt.External.1</string>
		<key>UDID</key><string>00008030-0123456789AB</string>
	</dict></plist>`))
	fmt.Println(m.MessageType(), err)
	// Output: CheckOut <nil>
}
