package lint

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/profile"
)

// checker collects findings.
type checker struct {
	l      *Linter
	now    time.Time
	soon   time.Duration
	file   string // what is being checked
	id     string // of the profile
	device string
	found  Findings
}

// about says what is being checked from now on.
func (c *checker) about(file string, p *profile.Profile) {
	c.file, c.id = file, p.Identifier
}

func (l Linter) checker() *checker {
	c := &checker{l: &l, now: l.Now, soon: l.Soon}
	if c.now.IsZero() {
		c.now = time.Now()
	}
	if c.soon <= 0 {
		c.soon = 30 * 24 * time.Hour
	}
	return c
}

// on reports whether a rule is to be checked.
func (c *checker) on(rule string) bool {
	return !slices.Contains(c.l.Disable, rule) && (len(c.l.Only) == 0 || slices.Contains(c.l.Only, rule))
}

func (c *checker) add(rule, path, format string, args ...any) {
	c.report(rule, path, Error, fmt.Sprintf(format, args...))
}

// report adds a finding whose severity is that of the rule, most at the most.
func (c *checker) report(rule, path string, most Severity, text string) {
	if !c.on(rule) {
		return
	}
	r, _ := RuleNamed(rule)
	severity, ok := c.l.Severity[rule]
	if !ok {
		severity = min(r.Severity, most)
	}
	c.found = append(c.found, Finding{Rule: rule, Severity: severity, Profile: c.id, File: c.file, Device: c.device, Path: path,
		Text: text, Why: r.Why, Fix: r.Fix})
}

// problems reports what package profile found, which names its rules as this package does.
func (c *checker) problems(list []profile.Problem) {
	for _, p := range list {
		c.add(p.Rule, p.Path, "%s", p.Text)
	}
}

// content is a profile with its payloads in their types.
type content struct {
	*profile.Profile
	file     string
	payloads []profile.Payload
	certs    []*x509.Certificate // of the payload at the same place; nil: none
	initial  bool
}

// at is the path of payload i, or of a key in it.
func at(i int, key string) string {
	if key == "" {
		return fmt.Sprintf("PayloadContent[%d]", i)
	}
	return fmt.Sprintf("PayloadContent[%d].%s", i, key)
}

// open returns the content of a profile; false if a payload cannot be encoded.
func (c *checker) open(file string, p *profile.Profile) (content, bool) {
	out := content{Profile: p, file: file, initial: c.l.Kind == Initial}
	for _, payload := range p.Payloads {
		if _, err := profile.Keys(payload); err != nil {
			return content{}, false
		}
		typed := profile.Typed(payload)
		out.payloads = append(out.payloads, typed)
		out.certs = append(out.certs, profile.CertificateIn(typed))
		if profile.ClassOf(typed) == profile.Enrolling && c.l.Kind == ByContent {
			out.initial = true
		}
	}
	return out, true
}

// profileRules checks one profile by itself. It returns its content, one or none.
func (c *checker) profileRules(file string, p *profile.Profile) []content {
	c.about(file, p)
	c.headerRules(p)
	if len(p.EncryptedContent) > 0 {
		c.add("encrypted", "EncryptedPayloadContent", "the payloads are encrypted; they are not checked")
		return []content{{Profile: p, file: file}}
	}
	inside, ok := c.open(file, p)
	if !ok {
		c.problems(profile.ValidatePayloads(p))
		return nil
	}
	from := len(c.found)
	if inside.initial {
		c.problems(profile.ValidateEnrollment(p, c.l.InitialAlso...))
		c.initialRules(inside)
	} else {
		c.problems(profile.ValidatePayloads(p))
	}
	c.mdmRules(inside)
	c.certificateRules(inside)
	c.secretRules(inside)
	c.payloadRules(inside)
	c.schemaRules(p, from)
	return []content{inside}
}
