package provisioning

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// MaxSize is the largest file, in bytes, that Parse reads. Real ones have some ten KiB.
const MaxSize = 1 << 20

// maxName is how long UUID and Name may be, in bytes.
const maxName = 255

// Parse reads a provisioning profile, a property list in a CMS SignedData, and verifies the signature over it. It does not check
// who signed: see [Profile.VerifyChain]. One that has expired is read like any other. The error is a Malformed one.
func Parse(data []byte) (*Profile, error) {
	const op = "provisioning.Parse"
	signed, err := cms.ParseSigned(data, cms.Limits{Bytes: MaxSize})
	if err == nil {
		err = signed.Verify()
	}
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "signature: %w", err)
	}
	p, err := decode(signed.Content)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	p.Data, p.Signer, p.Certificates = slices.Clone(data), signed.Signer, signed.Certificates
	return p, nil
}

// decode reads the property list that is signed.
func decode(content []byte) (*Profile, error) {
	p, k := &Profile{}, &keys{}
	if err := plistx.UnmarshalLimits(content, &k.left, plistx.Limits{Bytes: MaxSize, Elements: 50_000}); err != nil {
		return nil, err
	}
	take(k, "UUID", &p.UUID)
	take(k, "Name", &p.Name)
	take(k, "ExpirationDate", &p.ExpirationDate)
	take(k, "CreationDate", &p.CreationDate)
	take(k, "AppIDName", &p.AppIDName)
	take(k, "TeamName", &p.TeamName)
	take(k, "ProvisionsAllDevices", &p.ProvisionsAllDevices)
	take(k, "Entitlements", &p.Entitlements)
	p.TeamIdentifiers = list[string](k, "TeamIdentifier")
	p.Platforms = list[string](k, "Platform")
	p.ProvisionedDevices = list[string](k, "ProvisionedDevices")
	for i, der := range list[[]byte](k, "DeveloperCertificates") {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			k.fail("DeveloperCertificates[%d]: %w", i, err)
			break
		}
		p.DeveloperCertificates = append(p.DeveloperCertificates, cert)
	}
	switch {
	case k.err != nil:
	case p.UUID == "" || p.Name == "" || p.ExpirationDate.IsZero():
		k.fail("UUID, Name and ExpirationDate are required")
	case len(p.UUID) > maxName || len(p.Name) > maxName:
		k.fail("UUID or Name is longer than %d bytes", maxName)
	}
	if k.err != nil {
		return nil, k.err
	}
	if len(k.left) > 0 {
		p.Extra = k.left
	}
	return p, nil
}

// keys are those of a profile that were not taken yet, and the first error.
type keys struct {
	left map[string]any
	err  error
}

func (k *keys) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf(format, args...)
	}
}

// take moves the value of a key, if there is one.
func take[T any](k *keys, name string, to *T) {
	v, there := k.left[name]
	if !there {
		return
	}
	value, ok := v.(T)
	if !ok {
		k.fail("%s is of a wrong type", name)
		return
	}
	*to = value
	delete(k.left, name)
}

// list takes an array of values of one type.
func list[T any](k *keys, name string) []T {
	var all []any
	take(k, name, &all)
	var out []T
	for i, v := range all {
		value, ok := v.(T)
		if !ok {
			k.fail("%s[%d] is of a wrong type", name, i)
			return nil
		}
		out = append(out, value)
	}
	return out
}

// appleExtensions begins the names of Apple's own extensions of certificates, some of which are critical.
var appleExtensions = asn1.ObjectIdentifier{1, 2, 840, 113635, 100}

// VerifyChain checks whether the signer's certificate leads to one of roots, as Apple's root, at a time. Certificates that came
// with the profile may be between. The error is a Forbidden one. Devices check that themselves; a server does it to tell an
// operator sooner.
func (p *Profile) VerifyChain(roots *x509.CertPool, at time.Time) error {
	const op = "provisioning.VerifyChain"
	if p.Signer == nil || roots == nil { // without roots, the library would take those of the system
		return mdm.Errorf(mdm.Forbidden, op, "there is no signer, or there are no roots")
	}
	between := x509.NewCertPool()
	for _, c := range p.Certificates {
		between.AddCert(understood(c))
	}
	_, err := understood(p.Signer).Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return mdm.Errorf(mdm.Forbidden, op, "%s: %w", strings.TrimSpace(p.Name), err)
	}
	return nil
}

// understood returns cert without the mark that Apple's own extensions are critical and unknown: they say what the certificate is
// for, which the roots say as well.
func understood(cert *x509.Certificate) *x509.Certificate {
	c := *cert
	apples := func(id asn1.ObjectIdentifier) bool {
		return len(id) > len(appleExtensions) && id[:len(appleExtensions)].Equal(appleExtensions)
	}
	c.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(cert.UnhandledCriticalExtensions), apples)
	return &c
}
