// Package lint checks configuration profiles against Apple's rules and best practices before a device sees them.
//
// A [Linter] checks a profile, the bytes of a file, all the profiles of a device, those of a fleet, or an update. Each
// [Finding] says where, against which [Rule], why that matters and what to do. [Rules] lists the rules; each can be
// switched off, or be given another severity.
//
// The rules look at what devices refuse (keys, types, and systems, by Apple's schema), at the profile with the
// com.apple.mdm payload, at accounts, restrictions and capabilities, at certificates and their ends, and at secrets.
// No finding holds a secret. The zero Linter is ready for use, and checks everything that it can know.
package lint

import (
	"fmt"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// Severity says how much a finding matters.
type Severity uint8

// The severities. The zero Severity is none.
const (
	Info    Severity = iota + 1 // advice, or something to know
	Warning                     // against a best practice, or likely to cause trouble
	Error                       // a device refuses it, or management or a secret is at risk
)

var severityNames = [...]string{"none", "info", "warning", "error"}

// String returns the severity in a word.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return severityNames[0]
}

// MarshalText writes the form of String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the form of String.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severityNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("lint: no severity %q", text)
	}
	*s = Severity(i)
	return nil
}

// Kind says what a profile is for.
type Kind uint8

// The kinds.
const (
	ByContent Kind = iota // Initial if it holds a com.apple.mdm payload, else Managed
	Initial               // enrolls a device: it holds only the basics
	Managed               // is installed on a device that is enrolled
)

// Linter checks profiles. Its fields say what is known of the world; what is not known is not checked. It does not change,
// and is safe for concurrent use.
type Linter struct {
	Disable  []string            // names of rules
	Only     []string            // if not empty, these rules and no others
	Severity map[string]Severity // by the name of a rule, in place of its own

	Kind   Kind
	Target schema.Target // for whom the profile is

	// InitialAlso are payload types that an initial profile may hold besides the basics. The one good reason for it is
	// the Wi-Fi network through which the device reaches the server.
	InitialAlso []string
	Topic       string   // the topic of the push certificate
	Proxies     []string // hosts in a ServerURL whose TLS ends at a proxy that does not pass on client certificates
	Encrypted   bool     // the profile is encrypted before it is sent

	Now  time.Time     // zero: the present
	Soon time.Duration // how long before its end a certificate is reported; 0: 30 days
}

// Finding is one thing that is wrong, or that ought to be known.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Profile  string   `json:"profile,omitempty"` // PayloadIdentifier
	File     string   `json:"file,omitempty"`    // of CheckFiles
	Device   string   `json:"device,omitempty"`  // of CheckFleet
	Path     string   `json:"path,omitempty"`    // key path, as "PayloadContent[2].ServerURL"; empty: the whole
	Text     string   `json:"text"`              // what is wrong; never a secret
	Why      string   `json:"why"`
	Fix      string   `json:"fix"`
}

// String is the finding in a line.
func (f Finding) String() string {
	path := f.Path
	if path == "" {
		path = "profile"
	}
	return fmt.Sprintf("%s: %s: %s (%s)", f.Severity, path, f.Text, f.Rule)
}

// Findings is what a check found.
type Findings []Finding

// Worst returns the highest severity in f, zero if there is nothing.
func (f Findings) Worst() Severity {
	var worst Severity
	for _, one := range f {
		worst = max(worst, one.Severity)
	}
	return worst
}

// Check checks one profile.
func (l Linter) Check(p *profile.Profile) Findings { return l.CheckSet(p) }

// CheckSet checks the profiles that one device has at the same time, in one scope: each, and all together.
func (l Linter) CheckSet(profiles ...*profile.Profile) Findings {
	c := l.checker()
	var set []content
	for _, p := range profiles {
		set = append(set, c.profileRules("", p)...)
	}
	c.setRules(set)
	return c.found
}

// File is the file of a profile.
type File struct {
	Name string // for findings
	Data []byte
}

// CheckFiles is CheckSet for files: property lists, XML or binary, signed or not. One that cannot be read is a finding, too.
func (l Linter) CheckFiles(files ...File) Findings {
	c := l.checker()
	var set []content
	for _, f := range files {
		if p := c.fileRules(f); p != nil {
			set = append(set, c.profileRules(f.Name, p)...)
		}
	}
	c.setRules(set)
	return c.found
}

// CheckBytes checks one file.
func (l Linter) CheckBytes(data []byte) Findings { return l.CheckFiles(File{Data: data}) }

// CheckFleet checks what the profiles of several devices, by their names, must not have in common. It checks nothing of a
// profile or of a device alone.
func (l Linter) CheckFleet(devices map[string][]*profile.Profile) Findings {
	c := l.checker()
	c.fleetRules(devices)
	return c.found
}

// CheckUpdate checks next, and whether it may replace old on a device.
func (l Linter) CheckUpdate(old, next *profile.Profile) Findings {
	c := l.checker()
	c.setRules(c.profileRules("", next))
	c.about("", next)
	c.problems(profile.ValidateUpdate(old, next))
	return c.found
}
