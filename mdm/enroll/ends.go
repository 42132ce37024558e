package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// EndKind says what ends.
type EndKind string

// The kinds of End.
const (
	EndIdentity     EndKind = "identity"     // the device's certificate: without it nothing is accepted any more
	EndIssuer       EndKind = "issuer"       // one above the identity
	EndAnchor       EndKind = "anchor"       // a root that the device trusts the server by
	EndIntermediate EndKind = "intermediate" // one between
	EndPin          EndKind = "pin"          // one that the server's chain must have
	EndSigner       EndKind = "signer"       // of the profile; devices then show it as not verified
	EndExpiration   EndKind = "expiration"   // PayloadExpirationDate
	EndRemoval      EndKind = "removal"      // RemovalDate: the device removes the profile, and with it the management
)

// End is one thing that ends and for which the enrollment profile has to be replaced on every device before.
type End struct {
	Kind EndKind
	Path string // key path in the profile, as "PayloadContent[0].PayloadContent"; empty for what is not in it
	Name string // which one, for people: the subject of the certificate
	// Fingerprint of the certificate; zero for a date.
	Fingerprint mdm.Fingerprint
	NotBefore   time.Time // zero for a date
	NotAfter    time.Time
}

// CertificateEnd returns the end of a certificate.
func CertificateEnd(kind EndKind, cert *x509.Certificate) End {
	return End{Kind: kind, Name: cert.Subject.String(), Fingerprint: mdm.FingerprintOf(cert),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
}

// IdentityEnd returns the end of a device's certificate as it is on record.
func IdentityEnd(cert mdm.Certificate) End {
	return End{Kind: EndIdentity, Name: cert.Subject, Fingerprint: cert.Fingerprint, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
}

// Ends returns everything that ends in an enrollment profile of one's own, in its order: certificates, the PKCS#12 identity
// if its password is there, and dates. The identity of a SCEP or ACME payload is not in the profile: see
// [IdentityEnd]. DurationUntilRemoval, which no enrollment profile should have, is no date. What can be read is returned also
// with an error, which is Malformed.
//
// A PKCS#12 file is opened, which one that somebody else has made can make slow.
func Ends(p *profile.Profile) ([]End, error) {
	var ends []End
	var errs []error
	if len(p.EncryptedContent) > 0 {
		errs = append(errs, errors.New("the content is encrypted"))
	}
	pins := pinned(p)
	for i, payload := range p.Payloads {
		more, err := payloadEnds(payload, pins[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("PayloadContent[%d]: %w", i, err))
		}
		for _, e := range more {
			e.Path = fmt.Sprintf("PayloadContent[%d].PayloadContent", i)
			ends = append(ends, e)
		}
	}
	for _, date := range []End{
		{Kind: EndExpiration, Path: "PayloadExpirationDate", NotAfter: p.ExpirationDate},
		{Kind: EndRemoval, Path: "RemovalDate", NotAfter: p.RemovalDate},
	} {
		if !date.NotAfter.IsZero() {
			date.Name = date.Path
			ends = append(ends, date)
		}
	}
	if len(errs) > 0 {
		return ends, mdm.Errorf(mdm.Malformed, "enroll.Ends", "%w", errors.Join(errs...))
	}
	return ends, nil
}

func payloadEnds(payload profile.Payload, pin bool) ([]End, error) {
	if p, ok := typed(payload).(*profile.PKCS12); ok {
		return pkcs12Ends(p)
	}
	certs, err := certificatesOf(payload)
	var ends []End
	for _, cert := range certs {
		kind := EndIntermediate
		switch {
		case pin:
			kind = EndPin
		case selfIssued(cert):
			kind = EndAnchor
		}
		ends = append(ends, CertificateEnd(kind, cert))
	}
	return ends, err
}

// pkcs12Ends opens an identity whose password is in the profile.
func pkcs12Ends(p *profile.PKCS12) ([]End, error) {
	if p.Password.IsZero() {
		return nil, nil // the user is asked for it
	}
	_, cert, chain, err := pkcs12.DecodeChain(p.PayloadContent, string(p.Password.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("the PKCS#12 file cannot be read: %w", err)
	}
	ends := []End{CertificateEnd(EndIdentity, cert)}
	for _, issuer := range chain {
		ends = append(ends, CertificateEnd(EndIssuer, issuer))
	}
	return ends, nil
}

// Ends returns what ends in every profile of this recipe, without making one: roots and intermediates, PayloadExpirationDate,
// and the certificates of a [profile.CMSSigner]. Identities, and what Tailor adds, are each device's own.
func (r *Recipe) Ends() ([]End, error) {
	p, err := r.sample()
	if err != nil {
		return nil, err
	}
	ends, err := Ends(p)
	if s, ok := r.Signer.(*profile.CMSSigner); ok && s != nil {
		return append(ends, signerEnds(*s)...), err
	}
	if s, ok := r.Signer.(profile.CMSSigner); ok {
		return append(ends, signerEnds(s)...), err
	}
	return ends, err
}

func signerEnds(s profile.CMSSigner) []End {
	var ends []End
	if s.Certificate != nil {
		ends = append(ends, CertificateEnd(EndSigner, s.Certificate))
	}
	for _, cert := range s.Chain {
		ends = append(ends, CertificateEnd(EndSigner, cert))
	}
	return ends
}

// Dates returns when each of Ends is, for a calendar:
//
//	expiry.Dates(expiry.EnrollmentProfile, recipe.Dates)
func (r *Recipe) Dates(context.Context) (map[string]time.Time, error) {
	ends, err := r.Ends()
	return Dates(r.Enrollment.Identifier, ends...), err
}

// Dates returns when each end is, by a name that stays the same and ends with a text that says of what. Names have up to 255
// bytes.
func Dates(of string, ends ...End) map[string]time.Time {
	dates := make(map[string]time.Time, len(ends))
	for _, e := range ends {
		dates[cut(e.String()+" of "+of, 255)] = e.NotAfter
	}
	return dates
}

// String names what ends, in a line that stays the same and is another one for another certificate.
func (e End) String() string {
	if e.Fingerprint.IsZero() {
		return e.Name
	}
	return fmt.Sprintf("%s %s (%s)", e.Kind, cut(e.Name, 120), e.Fingerprint.String()[:16])
}

// cut returns the beginning of s, with so many bytes at most.
func cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	return strings.ToValidUTF8(s[:size], "")
}
