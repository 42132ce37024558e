package profile_test

import (
	"fmt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// What a profile asks of a device is known before it is sent.
func ExampleProfile_Validate() {
	p := &profile.Profile{Identifier: "com.example.kiosk", Payloads: []profile.Payload{
		&profile.Restrictions{AllowCamera: new(false), AllowSafari: new(false)},
		&profile.AppLock{App: profile.AppLockApp{Identifier: "com.example.kiosk"}},
	}}
	phone := schema.Target{Platform: schema.IOS, OSVersion: "18.0", Channel: mdm.DeviceChannel, Supervised: schema.False}
	for _, f := range p.Validate(phone) {
		fmt.Println(f)
	}
	// Output:
	// PayloadContent[0].allowSafari: supervised: needs a supervised device
	// PayloadContent[1]: supervised: needs a supervised device
}

// A payload of any type has a form in JSON.
func ExampleDecodeJSON() {
	p, err := profile.DecodeJSON([]byte(`{"PayloadType": "com.apple.wifi.managed", "SSID_STR": "Guests", "EncryptionType": "WPA2", "Password": "sesame"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	wifi := p.(*profile.WiFi)
	fmt.Println(*wifi.SSIDStr, *wifi.EncryptionType == profile.WiFiEncryptionTypeWPA2, wifi.Password)
	// Output: Guests true [secret]
}
