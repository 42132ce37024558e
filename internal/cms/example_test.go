package cms_test

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/internal/cms"
)

// A message as devices send it: the signature is detached, and over the exact bytes of the body.
func ExampleSigned_VerifyDetached() {
	body := []byte("<plist/>")
	device := rsaSigner()
	signature, err := cms.Sign(body, device.cert, device.key, cms.SignOptions{Detached: true})
	if err != nil {
		fmt.Println(err)
		return
	}

	signed, err := cms.ParseSigned(signature, cms.Limits{Bytes: 16 << 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(signed.VerifyDetached(body))
	fmt.Println(errors.Is(signed.VerifyDetached([]byte("<other/>")), cms.ErrSignature))
	fmt.Println(signed.Signer.Subject)
	// Output:
	// <nil>
	// true
	// CN=rsa
}

// Content for one device, readable by it alone.
func ExampleEncrypt() {
	device := rsaSigner()
	sealed, err := cms.Encrypt([]byte("<array/>"), []*x509.Certificate{device.cert})
	if err != nil {
		fmt.Println(err)
		return
	}
	content, err := cms.Decrypt(sealed, device.cert, device.key, cms.Limits{})
	fmt.Println(string(content), err)
	// Output: <array/> <nil>
}
