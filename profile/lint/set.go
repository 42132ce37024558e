package lint

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
)

// setRules checks the profiles of one device together.
func (c *checker) setRules(set []content) {
	c.names(set)
	c.single(set)
	c.pairs(set)
}

// names checks that profiles and payloads have names of their own.
func (c *checker) names(set []content) {
	uuids := map[string]string{} // PayloadUUID → the profile that it is in
	for n, p := range set {
		c.about(p.file, p.Profile)
		for _, other := range set[:n] {
			apart := p.Scope != "" && other.Scope != "" && p.Scope != other.Scope
			if other.Identifier == p.Identifier && !apart {
				c.add("set-identifier", "PayloadIdentifier", "another profile of the device is called so, too; one replaces the other")
			}
		}
		for i, id := range p.PayloadIDs() {
			uuid := strings.ToUpper(id.UUID)
			if other, ok := uuids[uuid]; ok && other != p.Identifier {
				c.add("set-uuid", at(i, "PayloadUUID"), "is in the profile %s, too", other)
			}
			uuids[uuid] = p.Identifier
		}
	}
}

// single checks the types that a device takes one of.
func (c *checker) single(set []content) {
	first := map[string]int{} // payload type → the profile that it is in
	for n, p := range set {
		c.about(p.file, p.Profile)
		for i, payload := range p.payloads {
			kind := payload.PayloadType()
			other, again := first[kind]
			if !again {
				first[kind] = n
				continue
			}
			switch {
			case other == n: // one profile: that is another rule
			case kind == profile.TypeMDM:
				c.add("set-mdm", at(i, ""), "a device has one MDM payload; another is in the profile %s", set[other].Identifier)
			case c.takesOne(payload):
				c.add("set-single", at(i, ""), "a device takes one of this type; another is in the profile %s", set[other].Identifier)
			}
		}
	}
}

func (c *checker) takesOne(p profile.Payload) bool {
	described, ok := p.(interface{ Schema() *schema.Object })
	if !ok {
		return false
	}
	os := described.Schema().Support.On(c.l.Target.Platform)
	return os != nil && os.Multiple == schema.False
}

// pairs looks for capabilities without a restriction that we advise for them, and for restrictions that nothing is given for.
func (c *checker) pairs(set []content) {
	if !c.on("pairing") {
		return
	}
	has := map[string]bool{}
	for _, p := range set {
		for _, payload := range p.payloads {
			has[payload.PayloadType()] = true
		}
	}
	restrictions, capabilities := map[string][]string{}, map[string][]string{} // by the other
	for _, a := range profile.Advised() {
		restrictions[a.Capability] = append(restrictions[a.Capability], a.Restriction)
		capabilities[a.Restriction] = append(capabilities[a.Restriction], a.Capability)
	}
	paired := func(list []string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(t string) bool { return has[t] })
	}
	for _, p := range set {
		if p.initial {
			continue
		}
		c.about(p.file, p.Profile)
		told := map[string]bool{}
		for i, payload := range p.payloads {
			kind := payload.PayloadType()
			if told[kind] {
				continue
			}
			told[kind] = true
			if !paired(restrictions[kind]) {
				c.add("pairing", at(i, ""), "%s comes without a restriction; we advise %s", kind, strings.Join(restrictions[kind], " or "))
			}
			if !paired(capabilities[kind]) {
				c.add("pairing", at(i, ""), "nothing is given for the restriction %s; it goes with %s", kind, some(capabilities[kind]))
			}
		}
	}
}

// some lists the first of many.
func some(list []string) string {
	if len(list) > 3 {
		list = append(slices.Clone(list[:3]), "…")
	}
	return strings.Join(list, ", ")
}

// fleetRules checks what belongs to one device.
func (c *checker) fleetRules(devices map[string][]*profile.Profile) {
	owners := map[string]string{} // what must not be shared → the device that has it
	for _, device := range slices.Sorted(maps.Keys(devices)) {
		c.device = device
		for _, p := range devices[device] {
			inside, _ := c.open("", p)
			for i, payload := range inside.payloads {
				c.about("", p)
				c.shared(owners, i, payload)
			}
		}
	}
}

func (c *checker) shared(owners map[string]string, i int, payload profile.Payload) {
	rule, key, what := "identity-shared", "", ""
	switch s := payload.(type) {
	case *profile.PKCS12:
		key, what = fmt.Sprintf("pkcs12 %x", sha256.Sum256(s.PayloadContent)), "PayloadContent"
	case *profile.ACME:
		key, what = fmt.Sprintf("acme %q %q", s.DirectoryURL, s.ClientIdentifier), "ClientIdentifier"
	case *profile.SCEP:
		if s.PayloadContent.Challenge.IsZero() {
			return
		}
		rule, what = "challenge-shared", "PayloadContent.Challenge"
		key = fmt.Sprintf("scep %q %x", s.PayloadContent.URL, sha256.Sum256(s.PayloadContent.Challenge.Reveal()))
	default:
		return
	}
	if owner, ok := owners[key]; !ok {
		owners[key] = c.device
	} else if owner != c.device {
		c.add(rule, at(i, what), "the device %s has the same", owner)
	}
}
