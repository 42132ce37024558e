package enroll

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// ServiceConfigPath is where Apple Configurator asks a host for its service configuration.
const ServiceConfigPath = "/MDMServiceConfig"

// ServiceConfig says where devices enroll and what they must trust for that. It is one value for all who need it: the
// answer at [ServiceConfigPath], the trust profile, and the profile of Automated Device Enrollment, whose keys url and
// anchor_certs are DEPEnrollmentURL and [ServiceConfig.AnchorCerts].
//
// URLs are https and may be on different hosts. One that is empty is not offered.
type ServiceConfig struct {
	DEPEnrollmentURL string // where devices ask for their enrollment profile; goes with AnchorCertsURL
	AnchorCertsURL   string // where the anchors are listed, also if there are none
	TrustProfileURL  string // where the trust profile is; not offered while there are no anchors

	// Anchors are the roots of the TLS chains at these URLs and at the MDM server, in the order in which they are listed.
	// None: the chains are publicly trusted.
	Anchors []*x509.Certificate

	// EmptyAnchors has AnchorCertsURL answer with no body if there are no anchors, where it is [] otherwise. Apple allows both.
	EmptyAnchors bool

	// Of the trust profile. Empty: com.apple.config.HOST.ssl with the first host of the URLs, as in Apple's example, and a
	// name that says what it is.
	Identifier, DisplayName, Organization string
}

// maxURL is the limit of the key url in a profile of Automated Device Enrollment: CONFIG_URL_INVALID above.
const maxURL = 2000

// Validate checks the configuration. The error is a Malformed one that names the first thing wrong with it.
func (c ServiceConfig) Validate() error {
	if (c.DEPEnrollmentURL == "") != (c.AnchorCertsURL == "") {
		return wrong("DEPEnrollmentURL and AnchorCertsURL belong together: set both or none")
	}
	if c.DEPEnrollmentURL == "" && c.TrustProfileURL == "" {
		return wrong("no URL is set")
	}
	paths := map[string]string{}
	for _, named := range c.urls() {
		if named.text == "" {
			continue
		}
		u, err := checkURL(named.text)
		if err != "" {
			return wrong("%s %s", named.name, err)
		}
		if u.Path == ServiceConfigPath {
			return wrong("%s is the path of the service configuration itself", named.name)
		}
		at := place(u)
		if other := paths[at]; other != "" {
			return wrong("%s and %s are the same", other, named.name)
		}
		paths[at] = named.name
	}
	return c.checkAnchors()
}

func (c ServiceConfig) checkAnchors() error {
	seen := map[mdm.Fingerprint]bool{}
	for n, cert := range c.Anchors {
		switch {
		case cert == nil:
			return wrong("anchor %d is nil", n+1)
		case !cert.IsCA:
			return wrong("anchor %d, %q, is no CA certificate", n+1, cert.Subject)
		case !selfIssued(cert):
			return wrong("anchor %d, %q, is an intermediate of %q: name the root", n+1, cert.Subject, cert.Issuer)
		case seen[mdm.FingerprintOf(cert)]:
			return wrong("anchor %d, %q, is there twice", n+1, cert.Subject)
		}
		seen[mdm.FingerprintOf(cert)] = true
	}
	return nil
}

type namedURL struct{ name, text string }

func (c ServiceConfig) urls() [3]namedURL {
	return [3]namedURL{{"DEPEnrollmentURL", c.DEPEnrollmentURL}, {"AnchorCertsURL", c.AnchorCertsURL},
		{"TrustProfileURL", c.TrustProfileURL}}
}

// checkURL returns a URL, or what is wrong with it.
func checkURL(text string) (*url.URL, string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, "is no URL"
	case u.Scheme != "https":
		return nil, "is not https"
	case u.Hostname() == "":
		return nil, "has no host"
	case u.User != nil:
		return nil, "holds a user name or password, and is public"
	case u.Fragment != "":
		return nil, "has a fragment"
	case len(text) > maxURL:
		return nil, "is too long"
	}
	return u, ""
}

func wrong(format string, args ...any) error {
	return mdm.Errorf(mdm.Malformed, "enroll.ServiceConfig", format, args...)
}

// place is where a request for u arrives.
func place(u *url.URL) string { return strings.TrimSuffix(strings.ToLower(u.Host), ":443") + pathOf(u) }

func pathOf(u *url.URL) string {
	if u.Path == "" {
		return "/"
	}
	return u.Path
}

func selfIssued(cert *x509.Certificate) bool { return bytes.Equal(cert.RawIssuer, cert.RawSubject) }

// AnchorCerts returns the anchors as they stand in the key anchor_certs of a profile of Automated Device Enrollment: DER
// in base64 without line breaks. It is empty, and not nil, if there are none.
func (c ServiceConfig) AnchorCerts() []string {
	list := make([]string, 0, len(c.Anchors))
	for _, cert := range c.Anchors {
		list = append(list, base64.StdEncoding.EncodeToString(cert.Raw))
	}
	return list
}

// document returns the body at ServiceConfigPath.
func (c ServiceConfig) document() ([]byte, error) {
	doc := struct {
		DEPEnrollmentURL string `json:"dep_enrollment_url,omitempty"`
		AnchorCertsURL   string `json:"dep_anchor_certs_url,omitempty"`
		TrustProfileURL  string `json:"trust_profile_url,omitempty"`
	}{c.DEPEnrollmentURL, c.AnchorCertsURL, c.TrustProfileURL}
	if len(c.Anchors) == 0 {
		doc.TrustProfileURL = ""
	}
	return plainJSON(doc)
}

// anchors returns the body at AnchorCertsURL.
func (c ServiceConfig) anchors() ([]byte, error) {
	if len(c.Anchors) == 0 && c.EmptyAnchors {
		return nil, nil
	}
	return plainJSON(c.AnchorCerts())
}

// plainJSON leaves an & of a URL as it is.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, mdm.Errorf(mdm.Internal, "enroll.ServiceConfig", "%w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// TrustProfile returns the profile that makes a device trust the anchors, with a root payload for each and nothing else. It is
// always the same for the same configuration. The error is NotFound if there are no anchors: Apple allows no empty one.
func (c ServiceConfig) TrustProfile() (*profile.Profile, error) {
	if len(c.Anchors) == 0 {
		return nil, mdm.Errorf(mdm.NotFound, "enroll.ServiceConfig", "the server is publicly trusted: no trust profile is needed")
	}
	p := &profile.Profile{Identifier: c.Identifier, DisplayName: c.DisplayName, Organization: c.Organization, Scope: profile.ScopeSystem}
	if p.Identifier == "" {
		p.Identifier = "com.apple.config." + c.host() + ".ssl"
	}
	if p.DisplayName == "" {
		p.DisplayName = "Trust for " + c.host()
	}
	for _, cert := range c.Anchors {
		// The identifier names the certificate and not its place, so that a payload stays the same when others come or go.
		id := p.Identifier + "." + mdm.FingerprintOf(cert).String()[:16]
		common := profile.Common{PayloadIdentifier: id, PayloadUUID: profile.UUID(id), PayloadDisplayName: cert.Subject.CommonName}
		p.Payloads = append(p.Payloads, &profile.RootCertificate{Common: common, PayloadContent: cert.Raw})
	}
	return p, nil
}

// host returns the first host of the URLs.
func (c ServiceConfig) host() string {
	for _, named := range c.urls() {
		if u, err := url.Parse(named.text); err == nil && u.Hostname() != "" {
			return strings.ToLower(u.Hostname())
		}
	}
	return "mdm"
}
