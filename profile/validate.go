package profile

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Problem is what is wrong with a profile: where, and against which rule.
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
func ValidateEnrollment(p *Profile) []Problem {
	v := &validation{uuids: map[string]string{}, names: p.identifiers()}
	if p.Identifier == "" {
		v.add("PayloadIdentifier", "identifier", "is required")
	}
	for i, payload := range p.Payloads {
		v.payload(fmt.Sprintf("PayloadContent[%d]", i), i, payload)
	}
	if len(v.identities) != 1 {
		v.add("PayloadContent", "one-identity", "holds %d identities; exactly one is needed", len(v.identities))
	}
	if len(v.mdm) != 1 {
		v.add("PayloadContent", "one-mdm", "holds %d com.apple.mdm payloads; exactly one is needed", len(v.mdm))
	}
	for _, at := range v.mdm {
		v.checkMDM(at.path, at.payload)
	}
	return v.problems
}

type validation struct {
	problems   []Problem
	names      []string          // the PayloadIdentifiers that Encode writes
	uuids      map[string]string // PayloadUUID → PayloadType
	identities []string          // UUIDs
	mdm        []mdmAt
}

type mdmAt struct {
	path    string
	payload *MDM
}

func (v *validation) add(path, rule, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (v *validation) payload(path string, i int, payload Payload) {
	dict, err := dictionary(payload)
	if err != nil {
		v.add(path, "encoding", "cannot be encoded: %v", err)
		return
	}
	id, _ := dict["PayloadUUID"].(string)
	if id == "" {
		own, _ := dict["PayloadIdentifier"].(string)
		if own == "" {
			own = v.names[i]
		}
		id = UUID(own)
	}
	if _, twice := v.uuids[id]; twice {
		v.add(path+".PayloadUUID", "unique", "%s is used twice", id)
	}
	v.uuids[id] = payload.PayloadType()
	switch payload.PayloadType() {
	case TypeRootCertificate, TypeCertificate, TypePEMCertificate:
		if len(v.mdm) > 0 {
			v.add(path, "trust-first", "certificates of the trust chain come before the MDM payload")
		}
		switch c := payload.(type) {
		case *RootCertificate:
			v.checkCertificate(path, c.PayloadContent, true)
		case *Certificate:
			v.checkCertificate(path, c.PayloadContent, false)
		}
	case TypeSCEP, TypePKCS12, TypeACME:
		v.identities = append(v.identities, id)
		v.checkIdentity(path, payload)
	case TypeMDM:
		if m, ok := payload.(*MDM); ok {
			v.mdm = append(v.mdm, mdmAt{path, m})
			return
		}
		v.add(path, "encoding", "the com.apple.mdm payload must be an *MDM to be checked")
	default:
		v.add(path, "basics-only", "%s belongs in a managed profile that is installed after enrollment", payload.PayloadType())
	}
}

func (v *validation) checkCertificate(path string, der []byte, root bool) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		v.add(path+".PayloadContent", "certificate", "is no certificate")
		return
	}
	if root && string(cert.RawIssuer) != string(cert.RawSubject) {
		v.add(path, "certificate", "an intermediate certificate is marked as a root")
	}
}

func (v *validation) checkIdentity(path string, payload Payload) {
	switch p := payload.(type) {
	case *SCEP:
		c := &p.PayloadContent
		if u, err := url.Parse(c.URL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			v.add(path+".PayloadContent.URL", "url", "is no http or https URL")
		} else if u.Scheme == "http" && len(c.CAFingerprint) == 0 {
			v.add(path+".PayloadContent.CAFingerprint", "scep-pin", "is required if the URL is not https")
		}
		if c.Challenge.IsZero() {
			v.add(path+".PayloadContent.Challenge", "scep-challenge", "is empty; give each device its own")
		}
		if c.Keysize == nil || *c.Keysize < 2048 {
			v.add(path+".PayloadContent.Keysize", "scep-key", "is under 2048 bits, as Apple's default is")
		}
	case *PKCS12:
		if len(p.PayloadContent) == 0 {
			v.add(path+".PayloadContent", "pkcs12", "is empty")
		}
	}
}

func (v *validation) checkMDM(path string, m *MDM) {
	if !slices.Contains(v.identities, strings.ToUpper(m.IdentityCertificateUUID)) && !slices.Contains(v.identities, m.IdentityCertificateUUID) {
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
		if kind := v.uuids[id]; kind != TypeRootCertificate && kind != TypeCertificate && kind != TypePEMCertificate {
			v.add(path, "pinning", "%s is no certificate of this profile", id)
		}
	}
}

func (v *validation) checkURL(path, s string) {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		v.add(path, "url", "must be an https URL")
	}
}
