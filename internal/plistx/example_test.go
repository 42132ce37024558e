package plistx_test

import (
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/internal/plistx"
)

func Example() {
	body := []byte(`<plist version="1.0"><dict>
		<key>MessageType</key><string>TokenUpdate</string>
		<key>UDID</key><string>00008110-000A1B2C3D4E801E</string>
		<key>AwaitingConfiguration</key><true/>
		<key>PushMagic</key><string>6D3C0A4B</string>
	</dict></plist>`)

	header, err := plistx.Scan(body, plistx.Limits{Bytes: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(header.MessageType, header.UDID, header.AwaitingConfiguration, header.NotOnConsole)

	var message struct{ PushMagic string }
	if err := plistx.Unmarshal(body, &message); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(message.PushMagic)
	// Output:
	// TokenUpdate 00008110-000A1B2C3D4E801E true absent
	// 6D3C0A4B
}

func ExampleCheck() {
	err := plistx.Check([]byte(`<plist><array><array/></array></plist>`), plistx.Limits{Depth: 1})
	fmt.Println(errors.Is(err, plistx.ErrTooDeep))
	fmt.Println(err)
	// Output:
	// true
	// plistx: property list nested too deeply: one level too many at byte 14
}

func ExampleMarshal() {
	data, err := plistx.Marshal(map[string]any{"Name": "R&D", "Enabled": true})
	fmt.Println(string(data), err)
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
	// <plist version="1.0"><dict><key>Enabled</key><true/><key>Name</key><string>R&amp;D</string></dict></plist>
	//  <nil>
}
