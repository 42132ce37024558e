package lint

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// reverseDNS is what an identifier looks like.
var reverseDNS = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$`)

// headerRules checks what is said about the profile as a whole.
func (c *checker) headerRules(p *profile.Profile) {
	if p.Identifier != "" && !reverseDNS.MatchString(p.Identifier) {
		c.add("identifier", "PayloadIdentifier", "is not in reverse DNS form, as com.example.network")
	}
	for _, end := range ends(p) {
		if !end.at.IsZero() && !end.at.After(c.now) {
			c.add("profile-expired", end.key, "was on %s", date(end.at))
		}
	}
	for _, text := range [][2]string{
		{"PayloadIdentifier", p.Identifier}, {"PayloadUUID", p.UUID}, {"PayloadDisplayName", p.DisplayName},
		{"PayloadDescription", p.Description}, {"PayloadOrganization", p.Organization},
	} {
		c.variables(text[0], text[1])
	}
	for _, lang := range slices.Sorted(maps.Keys(p.ConsentText)) {
		c.variables("ConsentText."+lang, p.ConsentText[lang])
	}
	c.variables("", p.Extra)
}

// end is a day on which a profile ends, by a key.
type end struct {
	key string
	at  time.Time // zero: absent
}

func ends(p *profile.Profile) []end {
	return []end{{"PayloadExpirationDate", p.ExpirationDate}, {"RemovalDate", p.RemovalDate}}
}

// secretRules checks secrets that lie open.
func (c *checker) secretRules(p content) {
	if c.l.Encrypted {
		return
	}
	for i, payload := range p.payloads {
		switch s := payload.(type) {
		case *profile.PKCS12:
			if !s.Password.IsZero() {
				c.add("password-clear", at(i, "Password"), "whoever has the profile has the private key")
			}
		case *profile.ProfileRemovalPassword:
			if !s.RemovalPassword.IsZero() {
				c.add("removal-password-clear", at(i, "RemovalPassword"), "whoever reads the profile can remove it")
			}
		}
		if profile.ClassOf(payload) == profile.Account {
			c.accountSecrets(i, payload)
		}
	}
}

func (c *checker) accountSecrets(i int, account profile.Payload) {
	keys, _ := profile.Keys(account)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if s, ok := keys[key].(string); ok && s != "" && strings.HasSuffix(key, "Password") {
			c.add("account-password-clear", at(i, key), "whoever has the profile can sign in")
		}
	}
}

// payloadRules checks what payloads a profile holds, and the strings in them.
func (c *checker) payloadRules(p content) {
	accounts := 0
	for i, payload := range p.payloads {
		if profile.ClassOf(payload) == profile.Account {
			if accounts++; accounts > 1 {
				c.add("one-account", at(i, ""), "account number %d of the profile", accounts)
			}
		}
		if payload.PayloadType() == profile.TypeDeclarations {
			c.add("declarations", at(i, ""), "%s is installed by declarative management, not by MDM", payload.PayloadType())
		}
		keys, _ := profile.Keys(payload)
		c.variables(at(i, ""), keys)
	}
}

// variable is what templates leave if nothing is put in its place.
var variable = regexp.MustCompile(`\$\{[^{}]*\}`)

// variables looks for unresolved variables in a tree of values.
func (c *checker) variables(path string, tree any) {
	switch v := tree.(type) {
	case string:
		if variable.MatchString(v) {
			c.add("variable", path, "holds a ${variable} that nothing was put in place of")
		}
	case []any:
		for i := range v {
			c.variables(fmt.Sprintf("%s[%d]", path, i), v[i])
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			c.variables(strings.TrimPrefix(path+"."+key, "."), v[key])
		}
	}
}

// schemaRules checks the profile against Apple's schema. What another rule has said of a key since the finding from is not
// said again.
func (c *checker) schemaRules(p *profile.Profile, from int) {
	said := map[string]bool{}
	for _, f := range c.found[from:] {
		said[f.Path] = true
	}
	for _, f := range p.Validate(c.l.Target) {
		if said[f.Path] && f.Rule&schema.ShapeRules != 0 {
			continue
		}
		most := Error
		if f.Warning {
			most = Warning
		}
		c.report("schema-"+f.Rule.String(), f.Path, most, f.Text)
	}
}
