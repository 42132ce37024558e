// Package vendor signs requests for push certificates, which Apple wants done by an MDM vendor. It belongs where the vendor's
// key is and nowhere else; an MDM server makes the request with push.NewRequest and never sees that key.
//
//	signer, err := vendor.New(key, chain)
//	…
//	file, err := signer.Sign(request.CSR) // for identity.apple.com/pushcert
package vendor

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// ErrExpired is what Sign says when a certificate of the vendor's chain has expired: the portal would refuse the file.
var ErrExpired = errors.New("the vendor's chain expired")

// Signer signs with a vendor's certificate. It is safe for concurrent use if its key is.
type Signer struct {
	key   crypto.Signer
	chain []*x509.Certificate
}

// New returns a Signer. The chain is the MDM vendor certificate, the intermediate above it (Apple Worldwide Developer
// Relations) and Apple's root, in this order: the portal wants all of them. Key is the RSA key of the first; it may be in a
// hardware module.
func New(key crypto.Signer, chain []*x509.Certificate) (*Signer, error) {
	const op = "vendor.New"
	if key == nil || len(chain) < 2 {
		return nil, mdm.Errorf(mdm.Malformed, op, "a key and the chain up to the root are required")
	}
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		return nil, mdm.Errorf(mdm.Malformed, op, "the key is not RSA")
	}
	if !public.Equal(chain[0].PublicKey) {
		return nil, mdm.Errorf(mdm.Malformed, op, "the key is not the one of the first certificate")
	}
	if err := inOrder(chain); err != nil {
		return nil, &mdm.Error{Code: mdm.Malformed, Op: op, Err: err}
	}
	return &Signer{key: key, chain: chain}, nil
}

// inOrder checks that each certificate is signed by the next one.
func inOrder(chain []*x509.Certificate) error {
	for i := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(chain[i+1]); err != nil {
			return fmt.Errorf("certificate %d (%s) is not signed by the next one: %w", i+1, chain[i].Subject.CommonName, err)
		}
	}
	return nil
}

// NotAfter is when the first certificate of the chain expires.
func (s *Signer) NotAfter() time.Time {
	first := s.chain[0].NotAfter
	for _, cert := range s.chain {
		if cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first
}

// request is the property list that the portal takes (Apple: Setting Up Push Notifications for Your MDM Customers). All of it
// is text, the signature too.
type request struct {
	CSR       string `plist:"PushCertRequestCSR"`       // base64 of DER
	Chain     string `plist:"PushCertCertificateChain"` // PEM
	Signature string `plist:"PushCertSignature"`        // base64 of RSA PKCS #1 v1.5 with SHA-256 over the DER of the CSR
}

// Limits of what is read.
const (
	maxCSR  = 16 << 10
	maxFile = 256 << 10
)

// minBits is what a key for push certificates must have.
const minBits = 2048

// Sign signs a certificate signing request, DER or PEM, and returns the file to upload: base64 of a property list. A request
// that is not signed by its own key, or whose key is not RSA of 2048 bits or more, is Malformed. See also [ErrExpired].
func (s *Signer) Sign(csr []byte) ([]byte, error) {
	const op = "vendor.Sign"
	parsed, err := parseCSR(csr)
	if err != nil {
		return nil, &mdm.Error{Code: mdm.Malformed, Op: op, Err: err}
	}
	if time.Now().After(s.NotAfter()) {
		return nil, fmt.Errorf("%s: %w on %s", op, ErrExpired, s.NotAfter().UTC().Format(time.DateOnly))
	}
	sum := sha256.Sum256(parsed.Raw)
	signature, err := s.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var chain bytes.Buffer
	for _, cert := range s.chain {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a Buffer does not fail
	}
	text, err := plistx.MarshalIndent(request{
		CSR:       base64.StdEncoding.EncodeToString(parsed.Raw),
		Chain:     chain.String(),
		Signature: base64.StdEncoding.EncodeToString(signature),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return base64.StdEncoding.AppendEncode(nil, text), nil
}

func parseCSR(csr []byte) (*x509.CertificateRequest, error) {
	if len(csr) > maxCSR {
		return nil, fmt.Errorf("the request is longer than %d bytes", maxCSR)
	}
	if block, _ := pem.Decode(csr); block != nil {
		csr = block.Bytes
	}
	parsed, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("not a certificate signing request: %w", err)
	}
	if err := parsed.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request is not signed by its own key: %w", err)
	}
	public, ok := parsed.PublicKey.(*rsa.PublicKey)
	if !ok || public.N.BitLen() < minBits {
		return nil, fmt.Errorf("the key of the request is not RSA of %d bits", minBits)
	}
	return parsed, nil
}

// Signed is a file that Sign made, read again.
type Signed struct {
	CSR   *x509.CertificateRequest
	Chain []*x509.Certificate // the vendor's first
}

// Read reads a file of Sign's and checks it as the portal will: the chain is in order and its first certificate has signed
// the request. Whether Apple knows that chain, it cannot tell. Anything else is Malformed. A server can check with it what it
// got from its vendor, before it is uploaded.
func Read(file []byte) (*Signed, error) {
	s, err := read(file)
	if err != nil {
		return nil, &mdm.Error{Code: mdm.Malformed, Op: "vendor.Read", Err: err}
	}
	return s, nil
}

func read(file []byte) (*Signed, error) {
	if len(file) > maxFile {
		return nil, fmt.Errorf("longer than %d bytes", maxFile)
	}
	text, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(file)))
	if err != nil {
		return nil, errors.New("not base64")
	}
	var r request
	if err := plistx.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	der, err := base64.StdEncoding.DecodeString(r.CSR)
	if err != nil {
		return nil, errors.New("the request is not base64")
	}
	out := &Signed{}
	if out.CSR, err = parseCSR(der); err != nil {
		return nil, err
	}
	if out.Chain, err = readChain([]byte(r.Chain)); err != nil {
		return nil, err
	}
	signature, err := base64.StdEncoding.DecodeString(r.Signature)
	if err != nil {
		return nil, errors.New("the signature is not base64")
	}
	if err := out.Chain[0].CheckSignature(x509.SHA256WithRSA, out.CSR.Raw, signature); err != nil {
		return nil, fmt.Errorf("the request is not signed by the vendor: %w", err)
	}
	return out, nil
}

// maxChain is the most certificates that are read.
const maxChain = 8

func readChain(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if len(chain) == maxChain {
			return nil, errors.New("the chain is too long")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the chain: %w", err)
		}
		chain = append(chain, cert)
	}
	if len(chain) < 2 {
		return nil, errors.New("the chain is not complete")
	}
	return chain, inOrder(chain)
}
