package plistx_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/gomdm/applemdm/internal/plistx"
)

const head = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`

// tokenUpdate is a TokenUpdate as an iPhone sends it, with an unlock token of 2 KiB in lines as Apple breaks them.
func tokenUpdate() []byte {
	unlock := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00\x01\x02unlock", 230)))
	lines := strings.Builder{}
	for len(unlock) > 68 {
		lines.WriteString("\t" + unlock[:68] + "\n")
		unlock = unlock[68:]
	}
	lines.WriteString("\t" + unlock + "\n")
	return []byte(head + `<dict>
	<key>AwaitingConfiguration</key>
	<false/>
	<key>MessageType</key>
	<string>TokenUpdate</string>
	<key>NotOnConsole</key>
	<false/>
	<key>PushMagic</key>
	<string>6D3C0A4B-8F8B-4C0E-9B53-9D5E0F1D6C11</string>
	<key>Token</key>
	<data>
	AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
	</data>
	<key>Topic</key>
	<string>com.apple.mgmt.External.5d0a9f3b-7a0f-4c83-a1b5-0e4a4c9f7c39</string>
	<key>UDID</key>
	<string>00008110-000A1B2C3D4E801E</string>
	<key>UnlockToken</key>
	<data>
` + lines.String() + `	</data>
</dict>
</plist>
`)
}

// installedApplications is the response to an InstalledApplicationList command for n applications.
func installedApplications(n int) []byte {
	doc := strings.Builder{}
	doc.WriteString(head + `<dict>
	<key>CommandUUID</key>
	<string>0001_InstalledApplicationList</string>
	<key>InstalledApplicationList</key>
	<array>
`)
	for i := range n {
		fmt.Fprintf(&doc, `		<dict>
			<key>AdHocCodeSigned</key>
			<false/>
			<key>AppStoreVendable</key>
			<true/>
			<key>BundleSize</key>
			<integer>%d</integer>
			<key>DynamicSize</key>
			<integer>4096</integer>
			<key>Identifier</key>
			<string>com.example.application%d</string>
			<key>Installing</key>
			<false/>
			<key>IsValidated</key>
			<true/>
			<key>Name</key>
			<string>Würfel &amp; Application %d</string>
			<key>ShortVersion</key>
			<string>1.%d.2</string>
			<key>Version</key>
			<string>2026.%d</string>
		</dict>
`, 1_000_000+i, i, i, i, i)
	}
	doc.WriteString(`	</array>
	<key>Status</key>
	<string>Acknowledged</string>
	<key>UDID</key>
	<string>00008110-000A1B2C3D4E801E</string>
</dict>
</plist>
`)
	return []byte(doc.String())
}

func BenchmarkScanTokenUpdate(b *testing.B) { benchmarkScan(b, tokenUpdate()) }

func BenchmarkScanInstalledApplicationList(b *testing.B) {
	benchmarkScan(b, installedApplications(185))
}

func BenchmarkScanBinary(b *testing.B) { benchmarkScan(b, toBinary(b, installedApplications(185))) }

func benchmarkScan(b *testing.B, doc []byte) {
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := plistx.Scan(doc, plistx.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalTokenUpdate(b *testing.B) {
	doc := tokenUpdate()
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		var v struct{ MessageType, Topic, UDID, PushMagic string }
		if err := plistx.Unmarshal(doc, &v); err != nil {
			b.Fatal(err)
		}
	}
}
