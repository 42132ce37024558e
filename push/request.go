package push

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"

	"github.com/gomdm/applemdm/mdm"
)

// Request asks for a push certificate. Its life: [NewRequest] makes it where the key will be used, the vendor signs the CSR
// (package push/vendor), the result is uploaded to Apple's Push Certificates Portal, and [LoadCertificate] takes what comes
// from there and Key. To renew a certificate, upload another Request for that same certificate with the Apple Account that
// made it: a new certificate would have another topic, and every device would have to enroll again.
type Request struct {
	CSR []byte     // DER
	Key mdm.Secret // PKCS#8, PEM; keep it until the certificate is there
}

// requestBits is what the portal takes.
const requestBits = 2048

// NewRequest makes a key and a request for it. The name is for whoever looks at the request; the certificate has Apple's.
func NewRequest(name pkix.Name) (Request, error) {
	key, err := rsa.GenerateKey(rand.Reader, requestBits)
	if err != nil {
		return Request{}, fmt.Errorf("push: new request: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: name, SignatureAlgorithm: x509.SHA256WithRSA}, key)
	if err != nil {
		return Request{}, &mdm.Error{Code: mdm.Malformed, Op: "push.NewRequest", Err: err}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Request{}, fmt.Errorf("push: new request: %w", err)
	}
	return Request{CSR: csr, Key: mdm.NewSecret(pem.EncodeToMemory(&pem.Block{Type: pemPKCS8, Bytes: der}))}, nil
}

// PEM returns the CSR as a text that can be sent to the vendor.
func (r Request) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: r.CSR})
}
