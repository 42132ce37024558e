package profile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Problem is what is wrong with a profile: where, and against which rule. Package profile/lint explains the rules.
type Problem struct {
	Path string // key path, as "PayloadContent[2].ServerURL"
	Rule string // a stable name, as "basics-only"
	Text string
}

// String returns the problem in a line.
func (p Problem) String() string { return fmt.Sprintf("%s: %s (%s)", p.Path, p.Text, p.Rule) }

// ValidateEnrollment checks an initial profile against Apple's rules for the com.apple.mdm payload and against the
// practice that it holds only the basics. It returns every problem, in the order of the profile; none means that the
// profile is right.
//
// Also lists payload types that this profile may hold besides. There is one good reason: a com.apple.wifi.managed payload
// of the only network through which the device reaches the server.
func ValidateEnrollment(p *Profile, also ...string) []Problem {
	v := validation{profile: p, initial: true, also: also}
	v.payloads()
	n := 0
	for _, count := range v.identities {
		n += count
	}
	if n != 1 {
		v.add("PayloadContent", "one-identity", "holds %d identities; exactly one is needed", n)
	}
	if len(v.mdm) != 1 {
		v.add("PayloadContent", "one-mdm", "holds %d com.apple.mdm payloads; exactly one is needed", len(v.mdm))
	}
	for _, at := range v.mdm {
		v.checkMDM(at.path, at.payload)
	}
	return v.problems
}

// ValidatePayloads checks what holds in every profile, initial or not: identifiers that differ, certificates that are
// some, and identities that can be had safely. [ValidateEnrollment] checks this, too.
func ValidatePayloads(p *Profile) []Problem {
	v := validation{profile: p}
	v.payloads()
	return v.problems
}

type validation struct {
	profile    *Profile
	initial    bool
	also       []string
	problems   []Problem
	uuids      map[string]string // PayloadUUID, in capitals → PayloadType
	identities map[string]int    // how many there are, by PayloadUUID in capitals
	mdm        []mdmAt
}

type mdmAt struct {
	path    string
	payload *MDM
}

func (v *validation) add(path, rule, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (v *validation) payloads() {
	if v.profile.Identifier == "" {
		v.add("PayloadIdentifier", "identifier", "is required")
	}
	v.uuids, v.identities = map[string]string{}, map[string]int{}
	identifiers, ids := map[string]bool{}, v.profile.PayloadIDs()
	for i, payload := range v.profile.Payloads {
		path := joined(i, "")
		if _, err := dictionary(payload); err != nil {
			v.add(path, "malformed", "cannot be encoded: %v", err)
			continue
		}
		identifier, id := ids[i].Identifier, ids[i].UUID
		if identifiers[identifier] {
			v.add(path+".PayloadIdentifier", "unique", "%s is used twice", identifier)
		}
		identifiers[identifier] = true
		if _, twice := v.uuids[strings.ToUpper(id)]; twice {
			v.add(path+".PayloadUUID", "unique", "%s is used twice", id)
		}
		v.uuids[strings.ToUpper(id)] = payload.PayloadType()
		v.payload(path, id, Typed(payload))
	}
}

func (v *validation) payload(path, id string, payload Payload) {
	switch p := payload.(type) {
	case *RootCertificate:
		v.trust(path, p.PayloadContent, true)
	case *Certificate:
		v.trust(path, p.PayloadContent, false)
	case *PEMCertificate:
		v.trust(path, p.PayloadContent, false)
	case *SCEP:
		v.identities[strings.ToUpper(id)]++
		v.checkSCEP(path+".PayloadContent", &p.PayloadContent)
	case *PKCS12:
		v.identities[strings.ToUpper(id)]++
		if len(p.PayloadContent) == 0 {
			v.add(path+".PayloadContent", "pkcs12", "is empty")
		}
	case *ACME:
		v.identities[strings.ToUpper(id)]++
	case *MDM:
		v.mdm = append(v.mdm, mdmAt{path, p})
	default:
		if v.initial && !slices.Contains(v.also, payload.PayloadType()) {
			v.add(path, "basics-only", "%s belongs in a managed profile that is installed after enrollment", payload.PayloadType())
		}
	}
}

func (v *validation) trust(path string, content []byte, root bool) {
	if v.initial && len(v.mdm) > 0 {
		v.add(path, "trust-first", "certificates of the trust chain come before the MDM payload")
	}
	cert, err := parseCertificate(content)
	if err != nil {
		v.add(path+".PayloadContent", "certificate", "is no certificate")
		return
	}
	if root && !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		v.add(path, "certificate", "an intermediate certificate is marked as a root")
	}
}

// CertificateIn returns the certificate in a payload of a certificate without a key, root, intermediate or PEM; nil if it
// is none, or cannot be read.
func CertificateIn(p Payload) *x509.Certificate {
	if isMissing(p) {
		return nil
	}
	var content []byte
	switch c := Typed(p).(type) {
	case *RootCertificate:
		content = c.PayloadContent
	case *Certificate:
		content = c.PayloadContent
	case *PEMCertificate:
		content = c.PayloadContent
	}
	cert, _ := parseCertificate(content)
	return cert
}

// parseCertificate reads a certificate, DER or PEM. Either is met in each of the types, whatever their names say.
func parseCertificate(content []byte) (*x509.Certificate, error) {
	if block, _ := pem.Decode(content); block != nil && block.Type == "CERTIFICATE" {
		content = block.Bytes
	}
	return x509.ParseCertificate(content)
}

func (v *validation) checkSCEP(path string, c *SCEPContent) {
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		v.add(path+".URL", "url", "is no http or https URL")
	} else if u.Scheme == "http" && len(c.CAFingerprint) == 0 {
		v.add(path+".CAFingerprint", "scep-pin", "is required if the URL is not https")
	}
	if c.Challenge.IsZero() {
		v.add(path+".Challenge", "scep-challenge", "is empty; give each device its own")
	}
	if c.Keysize == nil || *c.Keysize < 2048 {
		v.add(path+".Keysize", "scep-key", "is under 2048 bits, as Apple's default is")
	}
}

func (v *validation) checkMDM(path string, m *MDM) {
	if v.identities[strings.ToUpper(m.IdentityCertificateUUID)] == 0 {
		v.add(path+".IdentityCertificateUUID", "identity", "names no identity of this profile")
	}
	if !strings.HasPrefix(m.Topic, "com.apple.mgmt.") {
		v.add(path+".Topic", "topic", "does not begin with com.apple.mgmt.")
	}
	v.checkURL(path+".ServerURL", m.ServerURL)
	if m.CheckInURL != nil {
		v.checkURL(path+".CheckInURL", *m.CheckInURL)
	}
	v.checkRights(path+".AccessRights", m)
	if m.EnrollmentMode != nil && (m.AssignedManagedAppleID == nil || *m.AssignedManagedAppleID == "") {
		v.add(path+".AssignedManagedAppleID", "account", "is required with EnrollmentMode")
	}
	if m.CheckOutWhenRemoved == nil || !*m.CheckOutWhenRemoved {
		v.add(path+".CheckOutWhenRemoved", "check-out", "should be true, so that the server learns of a removal")
	}
	v.checkPins(path+".ServerURLPinningCertificateUUIDs", m.ServerURLPinningCertificateUUIDs)
	v.checkPins(path+".CheckInURLPinningCertificateUUIDs", m.CheckInURLPinningCertificateUUIDs)
}

func (v *validation) checkRights(path string, m *MDM) {
	if m.EnrollmentMode != nil && *m.EnrollmentMode == MDMEnrollmentModeBYOD {
		if m.AccessRights != nil {
			v.add(path, "rights", "must be absent in User Enrollment; the device would cancel")
		}
		return
	}
	if m.ManagedAppleID != nil && m.AccessRights == nil { // User Enrollment by a profile, which ignores them
		return
	}
	var rights int64
	if m.AccessRights != nil {
		rights = *m.AccessRights
	}
	if rights != int64(mdm.AccessRights(rights)) {
		v.add(path, "rights", "holds bits that are no rights")
		return
	}
	if err := mdm.AccessRights(rights).Validate(); err != nil {
		v.add(path, "rights", "%v", errors.Unwrap(err))
	}
}

func (v *validation) checkPins(path string, uuids []string) {
	for _, id := range uuids {
		if kind := v.uuids[strings.ToUpper(id)]; kind != TypeRootCertificate && kind != TypeCertificate && kind != TypePEMCertificate {
			v.add(path, "pinning", "%s is no certificate of this profile", id)
		}
	}
}

func (v *validation) checkURL(path, s string) {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		v.add(path, "url", "must be an https URL")
	}
}
