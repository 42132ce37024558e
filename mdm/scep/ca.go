package scep

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// CA issues client certificates. It is safe for concurrent use.
type CA interface {
	// Issue certifies r.Key for the device that r describes. Subject, extensions and lifetime are the CA's to decide.
	Issue(ctx context.Context, r Request) (*x509.Certificate, error)
	// Chain returns the issuing certificate and those above it, in order. It never changes.
	Chain() []*x509.Certificate
}

// Request asks for a client certificate.
type Request struct {
	Key          crypto.PublicKey // checked: RSA of 2048 bits or more, or ECDSA P-256 or P-384
	Tenant       string
	Purpose      mdm.Purpose
	Device       string // EnrollmentID.Device; empty if not known
	DeviceSerial string // empty if not known
	// CSR is the request as the device sent it, for a CA with rules of its own. Nothing in it is verified but that its
	// sender has the key. Nil for a PKCS#12 identity.
	CSR *x509.CertificateRequest
}

// LocalCA is a CA whose key is at hand.
type LocalCA struct {
	Certificate *x509.Certificate
	Key         crypto.Signer       // RSA, if it is to decrypt SCEP messages, too
	Parents     []*x509.Certificate // the chain above Certificate, if it is no root

	Lifetime time.Duration    // of certificates, never beyond the CA's own; 0: one year
	Backdate time.Duration    // how far their validity begins in the past, for devices whose clock is slow; 0: one hour
	Clock    func() time.Time // nil: time.Now
	// Subject names the certificate of a request. Nil: a random common name, because a name that says who the device
	// is tells everybody on the network.
	Subject func(Request) pkix.Name
}

// NewLocalCA makes a root with a new RSA key of 3072 bits, valid for ten years.
func NewLocalCA(name string) (*LocalCA, error) {
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return nil, fmt.Errorf("scep: new CA: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: randomSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("scep: new CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("scep: new CA: %w", err)
	}
	return &LocalCA{Certificate: cert, Key: key}, nil
}

// PEM returns the CA's certificate and key as PEM blocks in one secret, which [ParseLocalCA] reads.
func (ca *LocalCA) PEM() (mdm.Secret, error) {
	key, err := x509.MarshalPKCS8PrivateKey(ca.Key)
	if err != nil {
		return mdm.Secret{}, fmt.Errorf("scep: CA key: %w", err)
	}
	blocks := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw})
	for _, parent := range ca.Parents {
		blocks = append(blocks, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: parent.Raw})...)
	}
	return mdm.NewSecret(append(blocks, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)), nil
}

// ParseLocalCA reads what PEM wrote: the CA certificate, its parents in order, and the key in PKCS#8.
func ParseLocalCA(s mdm.Secret) (*LocalCA, error) {
	ca := &LocalCA{}
	for block, rest := pem.Decode(s.Reveal()); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("scep: CA certificate: %w", err)
			}
			if ca.Certificate == nil {
				ca.Certificate = cert
			} else {
				ca.Parents = append(ca.Parents, cert)
			}
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("scep: CA key: not PKCS#8") // the cause may quote the key
			}
			ca.Key, _ = key.(crypto.Signer)
		}
	}
	if ca.Certificate == nil || ca.Key == nil {
		return nil, errors.New("scep: CA certificate or key missing")
	}
	if pub, ok := ca.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(ca.Certificate.PublicKey) {
		return nil, errors.New("scep: CA certificate and key do not match")
	}
	return ca, nil
}

// Chain implements [CA].
func (ca *LocalCA) Chain() []*x509.Certificate {
	return append([]*x509.Certificate{ca.Certificate}, ca.Parents...)
}

// Issue implements [CA].
func (ca *LocalCA) Issue(_ context.Context, r Request) (*x509.Certificate, error) {
	now := time.Now
	if ca.Clock != nil {
		now = ca.Clock
	}
	lifetime, backdate := ca.Lifetime, ca.Backdate
	if lifetime <= 0 {
		lifetime = 365 * 24 * time.Hour
	}
	if backdate <= 0 {
		backdate = time.Hour
	}
	usage := x509.KeyUsageDigitalSignature
	if _, isRSA := r.Key.(*rsa.PublicKey); isRSA {
		usage |= x509.KeyUsageKeyEncipherment // profiles may be encrypted to it
	}
	template := &x509.Certificate{
		SerialNumber: randomSerial(), Subject: pkix.Name{CommonName: "MDM " + randomText()[:16]},
		NotBefore: now().Add(-backdate), NotAfter: now().Add(lifetime),
		KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if ca.Subject != nil {
		template.Subject = ca.Subject(r)
	}
	if template.NotAfter.After(ca.Certificate.NotAfter) {
		template.NotAfter = ca.Certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate, r.Key, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("scep: issue: %w", err)
	}
	return x509.ParseCertificate(der)
}

// checkKey refuses keys that are too weak to identify a device for a year.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 || bits > 8192 {
			return fmt.Errorf("an RSA key of %d bits", bits)
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return errors.New("an ECDSA key on another curve than P-256 and P-384")
		}
		return nil
	default:
		return fmt.Errorf("a key of type %T", key)
	}
}

// randomSerial returns a positive number of 159 random bits, which fits the 20 bytes that RFC 5280 allows.
func randomSerial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159))
	if err != nil {
		panic("scep: no randomness: " + err.Error()) // crypto/rand never fails
	}
	return n.Add(n, big.NewInt(1))
}
