package profile_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// A profile with variables serves many devices.
func ExampleProfile_Expand() {
	template := &profile.Profile{Identifier: "com.example.wifi", DisplayName: "Wi-Fi of ${user}", Payloads: []profile.Payload{
		&profile.WiFi{SSIDStr: new("Staff"), Password: mdm.SecretString("${password}"), Extra: map[string]any{"HIDDEN_NETWORK": "${hidden}"}},
	}}
	_, err := template.Expand(map[string]any{"user": "Jo"})
	var wrong profile.VariableErrors
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Unknown())
	}
	p, err := template.Expand(map[string]any{"user": `Jo "<&>" Doe`, "password": mdm.SecretString("sesame"), "hidden": true})
	if err != nil {
		fmt.Println(err)
		return
	}
	wifi := p.Payloads[0].(*profile.WiFi)
	fmt.Println(p.DisplayName, wifi.Password, *wifi.HiddenNetwork)
	// Output:
	// [hidden password]
	// Wi-Fi of Jo "<&>" Doe [secret] true
}

// The difference is what a device would see.
func ExampleDiff() {
	before := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{
		&profile.WiFi{SSIDStr: new("Staff"), Password: mdm.SecretString("sesame")},
	}}
	after := &profile.Profile{Identifier: "com.example", DisplayName: "Office", Payloads: []profile.Payload{
		&profile.Passcode{},
		&profile.WiFi{SSIDStr: new("Staff 2"), Password: mdm.SecretString("mustard")},
	}}
	changes, err := profile.Diff(before, after)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range changes {
		fmt.Println(c)
	}
	// Output:
	// added PayloadDisplayName: "Office"
	// added com.example.com.apple.mobiledevice.passwordpolicy (com.apple.mobiledevice.passwordpolicy)
	// changed com.example.com.apple.wifi.managed Password: [secret] -> [secret]
	// changed com.example.com.apple.wifi.managed SSID_STR: "Staff" -> "Staff 2"
}

// A password to remove a profile is in clear in it, so it is encrypted to the identity of the device.
func ExampleProfile_Encrypt() {
	key, err := rsa.GenerateKey(rand.Reader, 2048) // of the device: only its certificate is known to a server
	if err != nil {
		fmt.Println(err)
		return
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Phone"}, KeyUsage: x509.KeyUsageKeyEncipherment}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		fmt.Println(err)
		return
	}
	device, err := x509.ParseCertificate(der)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := &profile.Profile{Identifier: "com.example.wifi", Payloads: []profile.Payload{&profile.WiFi{SSIDStr: new("Staff")}}}
	p.SetRemovalPassword(mdm.SecretString("sesame"))
	sealed, err := p.Encrypt(device)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(sealed.Payloads), len(sealed.EncryptedContent) > 0)
	open, err := sealed.Decrypt(device, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, payload := range open.Payloads {
		fmt.Println(payload.PayloadType())
	}
	// Output:
	// 0 true
	// com.apple.wifi.managed
	// com.apple.profileRemovalPassword
}
