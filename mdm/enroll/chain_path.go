package enroll

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxPath bounds the search for an explanation; real chains have three or four certificates.
const maxPath = 10

// found is what leads from the server's certificate upwards.
type found struct {
	trust    Trust
	public   bool // the root is a public one
	path     []*x509.Certificate
	findings []Finding
	err      error // why a Broken one is not valid
}

// find looks for a path that devices trust, and if there is none for what is missing.
func (c ServerChain) find() found {
	leaf, served := c.Served[0], c.Served[1:]
	roots, between := split(c.Carried)
	all := slices.Concat(served, between)
	at := within(leaf, c.Now) // that it has expired is one thing, and who trusts it another
	own := pool(roots)
	for _, try := range []struct {
		trust         Trust
		public        bool
		roots         *x509.CertPool
		intermediates []*x509.Certificate
	}{
		{TrustPublic, true, c.Public, served},
		{TrustProfile, false, own, served},
		{TrustProfile, false, own, all},
		{TrustProfile, true, c.Public, all},
	} {
		path, err := verify(leaf, try.roots, try.intermediates, at)
		if err != nil {
			continue
		}
		f := found{trust: try.trust, public: try.public, path: path}
		if try.trust == TrustProfile {
			f.checkComplete(c.Served)
		}
		return f
	}
	return c.explain(roots, all, at)
}

// verify returns a path to one of the roots.
func verify(
	cert *x509.Certificate, roots *x509.CertPool, intermediates []*x509.Certificate, at time.Time,
) ([]*x509.Certificate, error) {
	if roots == nil {
		return nil, errors.New("no roots")
	}
	chains, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool(intermediates), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, err
	}
	return slices.MinFunc(chains, func(a, b []*x509.Certificate) int { return len(a) - len(b) }), nil
}

// checkComplete tells if devices find a certificate between only because the profile brings it.
func (f *found) checkComplete(served []*x509.Certificate) {
	for _, cert := range f.path[:len(f.path)-1] {
		if !contains(served, cert) {
			f.findings = append(f.findings, Finding{Rule: RuleIncomplete, Certificate: cert,
				Text: fmt.Sprintf("the server does not send the intermediate %q; only the profile brings it", cert.Subject),
				Do:   "have the server send it, so that everybody can connect"})
		}
	}
}

// explain follows the names up from the server's certificate as far as it goes.
func (c ServerChain) explain(roots, between []*x509.Certificate, at time.Time) found {
	f := found{path: walk(c.Served[0], roots, between)}
	top := f.path[len(f.path)-1]
	_, known := verify(top, c.Public, nil, within(top, c.Now))
	switch {
	case contains(roots, top) || known == nil:
		f.trust, f.public = Broken, known == nil
		anchors := c.Public
		if known != nil {
			anchors = pool(roots)
		}
		_, f.err = verify(c.Served[0], anchors, between, at)
	case selfIssued(top):
		f.needs(NeedsRoot, RuleMissingRoot, top, "put it into the enrollment profile as a root",
			"nothing has devices trust the root %q", top.Subject)
	case top.IsCA:
		f.needs(NeedsRoot, RuleMissingRoot, top,
			"put its issuer into the enrollment profile; if that is no root, have the server send it, too", "the issuer %q of %q is missing", top.Issuer, top.Subject)
	default:
		f.needs(NeedsIntermediate, RuleMissingIntermediate, top,
			"have the server send its issuer; if that is a private root, put it into the enrollment profile",
			"the issuer %q of %q is sent by nobody", top.Issuer, top.Subject)
	}
	return f
}

func (f *found) needs(trust Trust, rule ChainRule, cert *x509.Certificate, do, format string, args ...any) {
	f.trust = trust
	f.findings = append(f.findings, Finding{Rule: rule, Refused: true, Certificate: cert, Text: fmt.Sprintf(format, args...), Do: do})
}

// walk returns a path upwards by name and signature, whatever else is wrong with it. A signature that is too weak to be
// verified counts: that is told of separately.
func walk(leaf *x509.Certificate, roots, between []*x509.Certificate) []*x509.Certificate {
	path, all := []*x509.Certificate{leaf}, slices.Concat(roots, between)
	for top := leaf; len(path) < maxPath && !contains(roots, top) && !selfIssued(top); {
		n := slices.IndexFunc(all, func(c *x509.Certificate) bool { return issued(c, top) && !contains(path, c) })
		if n < 0 {
			break
		}
		top = all[n]
		path = append(path, top)
	}
	return path
}

func issued(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return false
	}
	err := parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure)
}

// split tells roots from what is between.
func split(certs []*x509.Certificate) (roots, between []*x509.Certificate) {
	for _, cert := range certs {
		if selfIssued(cert) {
			roots = append(roots, cert)
		} else {
			between = append(between, cert)
		}
	}
	return roots, between
}

// within returns the time nearest to now at which cert is valid.
func within(cert *x509.Certificate, now time.Time) time.Time {
	switch {
	case now.Before(cert.NotBefore):
		return cert.NotBefore
	case now.After(cert.NotAfter):
		return cert.NotAfter
	}
	return now
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

func contains(list []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(list, cert.Equal)
}
