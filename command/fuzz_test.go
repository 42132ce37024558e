package command_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Whatever comes, it is refused as Malformed, or becomes a message that every reader reads alike and that stays as it is.
func FuzzPrepareRaw(f *testing.F) {
	f.Add([]byte(raw(kind+"<key>N</key><integer>-1</integer><key>R</key><real>0.1</real><key>D</key><data>AAE=</data><key>T</key><date>2026-01-02T03:04:05Z</date>")), "")
	f.Add([]byte(whole("<string>u</string>", kind+"<key>A</key><array><true/><dict/></array>")), "u")
	f.Add([]byte(whole("<integer>1</integer>", kind)), "")
	f.Add([]byte(raw(kind+"<key>Command</key><string>x</string>")), "a\xff")
	f.Add([]byte(raw("<key>RequestType</key><string>InstallProfile</string><key>Payload</key><data>MIAGCSqGSIb3DQEHAqCAAAAAAA==</data>")), "U")
	f.Add([]byte("bplist00\xd1\x01\x02[RequestTypeTTest\x08\x0b\x17\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1c"), "")
	f.Fuzz(func(t *testing.T, data []byte, id string) {
		before := bytes.Clone(data)
		item, err := command.Prepare(command.Order{Command: command.Raw(data), UUID: id})
		require.Equal(t, before, data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		require.Equal(t, item.RequestType, command.Raw(data).RequestType())
		header, err := plistx.Scan(item.Body, plistx.Limits{Bytes: command.MaxBody, Depth: plistx.DefaultDepth + 1})
		require.NoError(t, err)
		require.Equal(t, item.UUID, header.CommandUUID)
		if header.Depth > plistx.DefaultDepth { // a dictionary of the full depth, which a message makes one deeper
			return
		}
		again, err := command.Prepare(command.Order{Command: command.Raw(item.Body)})
		require.NoError(t, err)
		require.Equal(t, item, again)
	})
}

// Profiles are looked into, but never refused.
func FuzzPrepareProfile(f *testing.F) {
	cert, key := signer(f)
	for _, profile := range [][]byte{profileOf(typeMDM), profileOf(typePasscode), profileOf()} {
		f.Add(profile)
		for _, o := range []cms.SignOptions{{}, {Indefinite: true}, {Detached: true}} {
			signed, err := cms.Sign(profile, cert, key, o)
			require.NoError(f, err)
			f.Add(signed)
		}
	}
	f.Fuzz(func(t *testing.T, profile []byte) {
		if len(profile) == 0 {
			return
		}
		dict, item := prepared(t, command.Order{Command: command.InstallProfile{Payload: profile}, UUID: "u"})
		require.Equal(t, profile, dict["Payload"])
		require.NotEqual(t, command.ReplacesMDM|command.PasscodeOnly, item.Traits)
	})
}

func FuzzParseResult(f *testing.F) {
	f.Add(plist("<dict>" + str("Status", "Idle") + str("UDID", "D") + "</dict>"))
	f.Add(plist("<dict>" + str("Status", "Error") + chain("<key>ErrorCode</key><integer>-1</integer>"+str("ErrorDomain", "D"), str("ErrorCode", "x")) + "</dict>"))
	f.Add(plist("<dict>" + str("AuthToken", "secret") + "<key>NotOnConsole</key><true/><key>ErrorChain</key><array><true/></array></dict>"))
	f.Add([]byte("bplist00\xd1\x01\x02VStatusTIdle\x08\x0b\x12\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17"))
	f.Fuzz(func(t *testing.T, data []byte) {
		result, err := command.ParseResult(data)
		if err != nil {
			require.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			return
		}
		require.NotContains(t, result.Extra, "AuthToken")
		if header, err := plistx.Scan(data, plistx.Limits{}); err == nil { // what the server routed by
			require.Equal(t, header.Status, string(result.Status))
			require.Equal(t, header.CommandUUID, result.CommandUUID)
			require.Equal(t, header.UDID, result.UDID)
			require.Equal(t, header.UserConfiguration == plistx.True, result.UserConfiguration)
		}
		if err := result.Err(); err != nil {
			require.LessOrEqual(t, len(err.Error()), 1200)
			require.NotContains(t, err.Error(), "\n")
		}
	})
}
