package mdmtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// BuiltInCA signs the certificates that devices are made with, as Apple's iPhone Device CA does: with SHA-1 and an RSA key of
// 1024 bits, below a root, expired since 2014. A server under test takes it in place of Apple's
// (enroll.DeviceCA{Issuers: []*x509.Certificate{ca.Certificate}}).
type BuiltInCA struct {
	Certificate *x509.Certificate
	Root        *x509.Certificate

	options BuiltInOptions
	key     crypto.Signer
}

// BuiltInOptions make a BuiltInCA unlike Apple's. The zero value is like Apple's.
type BuiltInOptions struct {
	Name      string                  // common name; empty: "Test iPhone Device CA"
	Algorithm x509.SignatureAlgorithm // of the certificates; 0: SHA1WithRSA. With ECDSA, devices have ECDSA keys, too
	NotBefore time.Time               // of all certificates; zero: 2007-04-16
	NotAfter  time.Time               // zero: 2014-04-16
}

// NewBuiltInCA makes a BuiltInCA and its root.
func NewBuiltInCA(o BuiltInOptions) (*BuiltInCA, error) {
	o.Name = or(o.Name, "Test iPhone Device CA")
	if o.Algorithm == 0 {
		o.Algorithm = x509.SHA1WithRSA
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = time.Date(2007, 4, 16, 22, 54, 46, 0, time.UTC)
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = time.Date(2014, 4, 16, 22, 54, 46, 0, time.UTC)
	}
	rootKey, err := o.newKey()
	if err != nil {
		return nil, err
	}
	root, err := o.sign(authority("Test Root CA"), nil, rootKey.Public(), rootKey)
	if err != nil {
		return nil, err
	}
	ca := &BuiltInCA{Root: root, options: o}
	if ca.key, err = o.newKey(); err != nil {
		return nil, err
	}
	if ca.Certificate, err = o.sign(authority(o.Name), root, ca.key.Public(), rootKey); err != nil {
		return nil, err
	}
	return ca, nil
}

// Issue makes a key and a certificate for a device.
func (ca *BuiltInCA) Issue(name string) (tls.Certificate, error) {
	key, err := ca.options.newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"Test Inc."}, OrganizationalUnit: []string{"iPhone"}},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	cert, err := ca.options.sign(template, ca.Certificate, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"Test Inc."}, Country: []string{"US"}},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature, IsCA: true, BasicConstraintsValid: true}
}

func (o BuiltInOptions) newKey() (crypto.Signer, error) {
	var key crypto.Signer
	var err error
	switch o.Algorithm {
	case x509.ECDSAWithSHA1, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	}
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	return key, nil
}

// sign makes a certificate of template; parent nil is a self-signed one.
func (o BuiltInOptions) sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	template.SerialNumber, template.SignatureAlgorithm = serial.Add(serial, big.NewInt(1)), o.Algorithm
	template.NotBefore, template.NotAfter = o.NotBefore, o.NotAfter
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	return x509.ParseCertificate(der)
}

// BuiltIn returns the certificate and key that the device was made with: by Config.BuiltIn, or signed by itself, as those of
// a virtual machine, which nobody vouches for. They are made when they are first asked for, and stay when it is wiped.
func (d *Device) BuiltIn() (tls.Certificate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.builtIn.Leaf != nil {
		return d.builtIn, nil
	}
	var err error
	if ca := d.cfg.BuiltIn; ca != nil {
		d.builtIn, err = ca.Issue(d.ID())
	} else {
		d.builtIn, err = selfMade(d.ID())
	}
	return d.builtIn, err
}

// selfMade makes an identity that nobody vouches for.
func selfMade(name string) (tls.Certificate, error) {
	o := BuiltInOptions{Algorithm: x509.SHA256WithRSA, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
	key, err := o.newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := o.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}}, nil, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}
