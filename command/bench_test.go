package command_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
)

func BenchmarkPrepare(b *testing.B) {
	commands := map[string]command.Command{
		"SecurityInfo": command.SecurityInfo{},
		"Queries":      command.DeviceInformation{Queries: []command.DeviceInformationQuery{"DeviceName", "OSVersion", "BuildVersion", "SerialNumber", "IsSupervised"}},
		"Raw":          raw(kind + str("Identifier", "com.example")),
	}
	for _, size := range []int{10 << 10, 1 << 20} {
		commands[fmt.Sprintf("InstallProfile/%dKiB", size>>10)] = command.InstallProfile{Payload: make([]byte, size)}
	}
	for name, c := range commands {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := command.Prepare(command.Order{Command: c})
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkParseResult(b *testing.B) {
	app := "<dict>" + str("Identifier", "com.example.app") + str("Name", "App") + "<key>BundleSize</key><integer>1000</integer></dict>"
	for name, elements := range map[string]string{
		"Idle":    str("Status", "Idle") + str("UDID", "D"),
		"Error":   str("Status", "Error") + str("CommandUUID", "u") + str("UDID", "D") + chain("<key>ErrorCode</key><integer>1</integer>"+str("ErrorDomain", "D")),
		"Apps500": str("Status", "Acknowledged") + "<key>InstalledApplicationList</key><array>" + strings.Repeat(app, 500) + "</array>",
	} {
		data := plist("<dict>" + elements + "</dict>")
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := command.ParseResult(data)
				require.NoError(b, err)
			}
		})
	}
}
