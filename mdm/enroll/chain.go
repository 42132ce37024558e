package enroll

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// ServerChain is the TLS chain of an MDM server as a device sees it, and what the device has to judge it by. [ServerChain.Inspect]
// says whether devices will connect.
type ServerChain struct {
	Host    string              // the one in the URL that devices use
	Served  []*x509.Certificate // what the server sends, its own first
	Carried []*x509.Certificate // what the enrollment profile brings: roots and intermediates; see [Certificates]

	// Pinned are those of Carried that the profile pins for this host, see [Pins]: with any, a chain without one of them is
	// refused.
	Pinned []*x509.Certificate
	// Public are the roots that every device has. Nil: none. The roots of this system, x509.SystemCertPool, are nearly
	// Apple's, and not the same.
	Public *x509.CertPool
	Now    time.Time // zero: now
}

// Trust says by what devices trust a chain, or what they need for that.
type Trust string

// The kinds of Trust.
const (
	TrustPublic       Trust = "public"             // publicly trusted: the profile need not bring anything
	TrustProfile      Trust = "profile"            // by what the profile brings
	NeedsRoot         Trust = "needs-root"         // a root is missing in the profile
	NeedsIntermediate Trust = "needs-intermediate" // a certificate between is sent by nobody
	Broken            Trust = "broken"             // it leads to a trusted root and is no valid chain; the findings say why
)

// OK reports whether devices trust the chain. They may refuse it for another reason all the same: see [Inspection.OK].
func (t Trust) OK() bool { return t == TrustPublic || t == TrustProfile }

// Inspection is what there is to say about a chain.
type Inspection struct {
	Trust    Trust
	Findings []Finding
	// Path leads from the server's certificate to the last one that could be found, a root if Trust is OK.
	Path []*x509.Certificate
}

// OK reports whether devices will connect: the chain is trusted, and nothing about it has them refuse it.
func (i Inspection) OK() bool {
	return i.Trust.OK() && !slices.ContainsFunc(i.Findings, func(f Finding) bool { return f.Refused })
}

// Finding is one thing that is wrong with a chain.
type Finding struct {
	Rule    ChainRule
	Refused bool // devices refuse to connect; else it is advice
	// Certificate is what it is about. Nil: the chain as a whole.
	Certificate *x509.Certificate
	Text        string // what is wrong
	Do          string // what to do about it
}

// String returns the finding in a line.
func (f Finding) String() string { return fmt.Sprintf("%s: %s (%s)", f.Text, f.Do, f.Rule) }

// ChainRule is the stable name of a rule for TLS chains.
type ChainRule string

// The rules. Where nothing else is said they are from Apple's "Requirements for trusted certificates in iOS 13 and macOS
// 10.15", which are for the certificates of servers and of the CAs that issue them.
const (
	RuleNoCertificate       ChainRule = "no-certificate"
	RuleMissingRoot         ChainRule = "missing-root"
	RuleMissingIntermediate ChainRule = "missing-intermediate"
	RuleIncomplete          ChainRule = "incomplete"     // trusted, but the server does not send all of it (RFC 8446, 4.4.2)
	RuleInvalid             ChainRule = "invalid"        // against RFC 5280, as the constraint of a CA
	RuleWrongHost           ChainRule = "wrong-host"     // RFC 6125
	RuleNoSAN               ChainRule = "no-san"         // the name must be in the alternative names
	RuleNotPinned           ChainRule = "not-pinned"     // against the keys …PinningCertificateUUIDs of com.apple.mdm
	RuleExpired             ChainRule = "expired"        // or not yet valid
	RuleLifetime825         ChainRule = "lifetime-825"   // days: issued from July 2019 on
	RuleLifetime398         ChainRule = "lifetime-398"   // days: issued from September 2020 on below a public root
	RuleWeakSignature       ChainRule = "weak-signature" // SHA-1 and older
	RuleWeakKey             ChainRule = "weak-key"       // RSA below 2048 bits, elliptic curves below 256 (App Transport Security)
	RuleNoServerAuth        ChainRule = "no-server-auth" // ExtendedKeyUsage without id-kp-serverAuth
)

// Inspect judges the chain by Apple's rules.
func (c ServerChain) Inspect() Inspection {
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	if len(c.Served) == 0 {
		return Inspection{Trust: NeedsIntermediate, Findings: []Finding{{Rule: RuleNoCertificate, Refused: true,
			Text: "the server sends no certificate", Do: "configure one"}}}
	}
	found := c.find()
	i := Inspection{Trust: found.trust, Path: found.path, Findings: found.findings}
	i.checkLeaf(c, found.public)
	isPinned := func(cert *x509.Certificate) bool { return contains(c.Pinned, cert) }
	if len(c.Pinned) > 0 && !slices.ContainsFunc(i.Path, isPinned) {
		i.add(RuleNotPinned, nil, "replace the enrollment profile by one that pins a certificate of this chain",
			"the chain has none of the certificates that the profile pins")
	}
	for n, cert := range i.Path {
		anchor := n > 0 && n == len(i.Path)-1 && selfIssued(cert)
		i.checkCertificate(cert, anchor, c.Now)
	}
	if i.Trust == Broken && !i.has(RuleExpired) && !i.has(RuleWeakSignature) {
		i.add(RuleInvalid, nil, "look at the certificates of the CAs", "the chain is not valid: %v", found.err)
	}
	return i
}

func (i *Inspection) has(rule ChainRule) bool {
	return slices.ContainsFunc(i.Findings, func(f Finding) bool { return f.Rule == rule })
}

func (i *Inspection) add(rule ChainRule, cert *x509.Certificate, do, format string, args ...any) {
	i.Findings = append(i.Findings, Finding{Rule: rule, Refused: true, Certificate: cert, Text: fmt.Sprintf(format, args...), Do: do})
}

// When Apple's rules for certificates of servers begin, by when they were issued.
var (
	since825 = time.Date(2019, 7, 1, 0, 0, 0, 0, time.UTC)
	since398 = time.Date(2020, 9, 1, 0, 0, 0, 0, time.UTC)
)

const day = 24 * time.Hour

// checkLeaf checks what matters of the server's own certificate only.
func (i *Inspection) checkLeaf(c ServerChain, public bool) {
	leaf := c.Served[0]
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		i.add(RuleNoSAN, leaf, "issue it with the host as a DNS name among the subject alternative names",
			"the certificate has no subject alternative name, and its common name is not looked at")
	} else if err := leaf.VerifyHostname(c.Host); err != nil {
		i.add(RuleWrongHost, leaf, "issue a certificate for this host, or use a host that it names",
			"the certificate is not for %q: it names %q", c.Host, slices.Concat(leaf.DNSNames, addresses(leaf)))
	}
	if leaf.NotBefore.Before(since825) {
		return
	}
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore) + time.Second // both ends are within it (RFC 5280)
	days := int((lifetime-1)/day) + 1
	switch {
	case lifetime > 825*day:
		i.add(RuleLifetime825, leaf, "issue it for 825 days or less", "the certificate is valid for %d days", days)
	case public && lifetime > 398*day && !leaf.NotBefore.Before(since398):
		i.add(RuleLifetime398, leaf, "have it issued for 398 days or less", "the certificate is valid for %d days below a public root", days)
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		i.add(RuleNoServerAuth, leaf, "issue it with the extended key usage serverAuth",
			"the certificate does not say that it is for servers")
	}
}

func addresses(cert *x509.Certificate) []string {
	var list []string
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}

// checkCertificate checks what matters of every certificate. Nobody verifies the signature of a root.
func (i *Inspection) checkCertificate(cert *x509.Certificate, anchor bool, now time.Time) {
	name := cert.Subject.String()
	switch {
	case now.After(cert.NotAfter):
		i.add(RuleExpired, cert, "replace it", "%q has expired on %s", name, cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		i.add(RuleExpired, cert, "wait, or set the clock of the CA", "%q is valid from %s on", name, cert.NotBefore.UTC().Format(time.DateOnly))
	}
	if !anchor && weak(cert.SignatureAlgorithm) {
		i.add(RuleWeakSignature, cert, "issue it with SHA-256", "%q is signed with %s", name, cert.SignatureAlgorithm)
	}
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 {
			i.add(RuleWeakKey, cert, "issue it for an RSA key of 2048 bits or more", "%q has an RSA key of %d bits", name, bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits < 256 {
			i.add(RuleWeakKey, cert, "issue it for a key on P-256 or P-384", "%q has an elliptic key of %d bits", name, bits)
		}
	}
}

func weak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		return true
	}
	return false
}
