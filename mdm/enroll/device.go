package enroll

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // Apple's issuers sign with it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/pem"

	"github.com/gomdm/applemdm/mdm"
)

// DeviceCA knows the certificates that are built into devices. The zero value takes those of Apple's iPhone Device CA, which
// iPhones, iPads and Macs have.
//
// What it verifies is a genuine Apple device that holds its key, and nothing more: not whose it is, nor that what the
// device says of itself is true. A virtual machine has no such certificate.
type DeviceCA struct {
	// Issuers are the certificates of those who sign built-in certificates. Only their names and keys count, so they may
	// have expired. Nil: [AppleIPhoneDeviceCA]; name it, too, if you add others.
	Issuers []*x509.Certificate
}

// Verify checks that leaf is a built-in certificate: signed by the key of one of the issuers. The error is Forbidden.
//
// It is not the validation of a chain. Apple's issuer expired in 2014 and signs with SHA-1, and what devices send of the chain
// differs between systems and may be incomplete; so the issuer is pinned, the leaf's signature is checked with its key
// and no other, and no time is looked at. What leaf says it may be used for is not looked at either, except that an authority
// is no device.
func (ca DeviceCA) Verify(leaf *x509.Certificate) error {
	const op = "enroll.DeviceCA"
	switch {
	case leaf == nil:
		return mdm.Errorf(mdm.Forbidden, op, "no certificate")
	case leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 || bytes.Equal(leaf.RawSubject, leaf.RawIssuer):
		return mdm.Errorf(mdm.Forbidden, op, "the certificate of an authority, not of a device")
	}
	for _, issuer := range ca.issuers() {
		if bytes.Equal(leaf.RawIssuer, issuer.RawSubject) && signedBy(leaf, issuer.PublicKey) {
			return nil
		}
	}
	return mdm.Errorf(mdm.Forbidden, op, "not a certificate that is built into devices")
}

// Open reads a message that a device signed with its built-in certificate, which is returned with what the message says.
// The error is one of [ParseMessage], or Forbidden for another signer.
func (ca DeviceCA) Open(message []byte) ([]byte, *x509.Certificate, error) {
	m, err := ParseMessage(message)
	if err != nil {
		return nil, nil, err
	}
	if err := ca.Verify(m.Signer); err != nil {
		return nil, nil, err
	}
	return m.Content, m.Signer, nil
}

func (ca DeviceCA) issuers() []*x509.Certificate {
	if ca.Issuers == nil {
		return []*x509.Certificate{AppleIPhoneDeviceCA()}
	}
	return ca.Issuers
}

// signatures are the algorithms that built-in certificates may be signed with.
var signatures = map[x509.SignatureAlgorithm]struct {
	hash  crypto.Hash
	ecdsa bool
}{
	x509.SHA1WithRSA:     {hash: crypto.SHA1},
	x509.SHA256WithRSA:   {hash: crypto.SHA256},
	x509.SHA384WithRSA:   {hash: crypto.SHA384},
	x509.ECDSAWithSHA256: {hash: crypto.SHA256, ecdsa: true},
	x509.ECDSAWithSHA384: {hash: crypto.SHA384, ecdsa: true},
}

// signedBy reports whether key signed cert. The standard library's check refuses SHA-1.
func signedBy(cert *x509.Certificate, key crypto.PublicKey) bool {
	algorithm, known := signatures[cert.SignatureAlgorithm]
	if !known {
		return false
	}
	h := algorithm.hash.New()
	h.Write(cert.RawTBSCertificate)
	switch key := key.(type) {
	case *rsa.PublicKey:
		return !algorithm.ecdsa && rsa.VerifyPKCS1v15(key, algorithm.hash, h.Sum(nil), cert.Signature) == nil
	case *ecdsa.PublicKey:
		return algorithm.ecdsa && ecdsa.VerifyASN1(key, h.Sum(nil), cert.Signature)
	}
	return false
}

// AppleIPhoneDeviceCA returns the certificate of the Apple iPhone Device CA.
func AppleIPhoneDeviceCA() *x509.Certificate {
	block, _ := pem.Decode([]byte(appleIPhoneDeviceCA))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic("enroll: " + err.Error()) // of a constant that a test holds: cannot fail
	}
	return cert
}

// appleIPhoneDeviceCA is published by Apple. Serial number 1, RSA 1024, 2007-04-16 to 2014-04-16.
const appleIPhoneDeviceCA = `-----BEGIN CERTIFICATE-----
MIIDaTCCAlGgAwIBAgIBATANBgkqhkiG9w0BAQUFADB5MQswCQYDVQQGEwJVUzET
MBEGA1UEChMKQXBwbGUgSW5jLjEmMCQGA1UECxMdQXBwbGUgQ2VydGlmaWNhdGlv
biBBdXRob3JpdHkxLTArBgNVBAMTJEFwcGxlIGlQaG9uZSBDZXJ0aWZpY2F0aW9u
IEF1dGhvcml0eTAeFw0wNzA0MTYyMjU0NDZaFw0xNDA0MTYyMjU0NDZaMFoxCzAJ
BgNVBAYTAlVTMRMwEQYDVQQKEwpBcHBsZSBJbmMuMRUwEwYDVQQLEwxBcHBsZSBp
UGhvbmUxHzAdBgNVBAMTFkFwcGxlIGlQaG9uZSBEZXZpY2UgQ0EwgZ8wDQYJKoZI
hvcNAQEBBQADgY0AMIGJAoGBAPGUSsnquloYYK3Lok1NTlQZaRdZB2bLl+hmmkdf
Rq5nerVKc1SxywT2vTa4DFU4ioSDMVJl+TPhl3ecK0wmsCU/6TKqewh0lOzBSzgd
Z04IUpRai1mjXNeT9KD+VYW7TEaXXm6yd0UvZ1y8Cxi/WblshvcqdXbSGXH0KWO5
JQuvAgMBAAGjgZ4wgZswDgYDVR0PAQH/BAQDAgGGMA8GA1UdEwEB/wQFMAMBAf8w
HQYDVR0OBBYEFLL+ISNEhpVqedWBJo5zENinTI50MB8GA1UdIwQYMBaAFOc0Ki4i
3jlga7SUzneDYS8xoHw1MDgGA1UdHwQxMC8wLaAroCmGJ2h0dHA6Ly93d3cuYXBw
bGUuY29tL2FwcGxlY2EvaXBob25lLmNybDANBgkqhkiG9w0BAQUFAAOCAQEAd13P
Z3pMViukVHe9WUg8Hum+0I/0kHKvjhwVd/IMwGlXyU7DhUYWdja2X/zqj7W24Aq5
7dEKm3fqqxK5XCFVGY5HI0cRsdENyTP7lxSiiTRYj2mlPedheCn+k6T5y0U4Xr40
FXwWb2nWqCF1AgIudhgvVbxlvqcxUm8Zz7yDeJ0JFovXQhyO5fLUHRLCQFssAbf8
B4i8rYYsBUhYTspVJcxVpIIltkYpdIRSIARA49HNvKK4hzjzMS/OhKQpVKw+OCEZ
xptCVeN2pjbdt9uzi175oVo/u6B2ArKAW17u6XEHIdDMOe7cb33peVI6TD15W4MI
pyQPbp8orlXe+tA8JA==
-----END CERTIFICATE-----`
