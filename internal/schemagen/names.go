package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// initialisms are words that Go writes in capitals. Apple writes most of them so itself.
var initialisms = map[string]bool{
	"acl": true, "api": true, "apn": true, "apns": true, "ca": true, "cpu": true, "dns": true, "eap": true, "eid": true, "html": true, "http": true,
	"https": true, "iccid": true, "id": true, "ids": false, "imei": true, "ip": true, "json": true, "ldap": true, "mac": true, "mdm": true, "md5": true,
	"meid": true, "nfc": true, "os": true, "pin": true, "pem": true, "sha256": true, "sso": true, "ssid": true, "tcp": true, "tls": true, "udid": true,
	"udp": true, "ui": true, "uri": true, "url": true, "usb": true, "uuid": true, "vpn": true, "xml": true, "iso": true, "qos": false,
}

// words are compounds that Apple writes in small letters.
var words = map[string]string{
	"md5s": "MD5s", "sha256s": "SHA256s", "SERIAL": "Serial", "PRODUCT": "Product", "VERSION": "Version", "LANGUAGE": "Language",
	"softwareupdate": "SoftwareUpdate", "bootstraptoken": "BootstrapToken", "psso": "PSSO", "filevault": "FileVault", "diskmanagement": "DiskManagement", "caldav": "CalDAV",
	"carddav": "CardDAV", "screensharing": "ScreenSharing", "webcontent": "WebContent", "useridentity": "UserIdentity", "dep": "DEP",
	"lom": "LOM", "usernameandpassword": "UserNameAndPassword", "applecare": "AppleCare", "iphone": "IPhone", "ipad": "IPad", "itunes": "ITunes",
	"iphoneos": "IPhoneOS", "ios": "IOS", "ipados": "IPadOS", "macos": "MacOS", "tvos": "TvOS", "watchos": "WatchOS", "visionos": "VisionOS",
	"esim": "ESIM", "vpp": "VPP", "tcc": "TCC", "mcx": "MCX", "ikev2": "IKEv2", "ipsec": "IPSec", "acme": "ACME", "scep": "SCEP", "hostname": "HostName",
	"username": "UserName", "bundleid": "BundleID", "appstore": "AppStore", "passkey": "Passkey", "maid": "MAID",
}

var wordBreak = regexp.MustCompile(`[^A-Za-z0-9]+`)

// goName makes an exported Go name of a key or a value: "declaration-identifier" is DeclarationIdentifier.
func goName(text string) string {
	var b strings.Builder
	shouted := strings.Contains(text, "_") && text == strings.ToUpper(text) // HIDDEN_NETWORK
	for _, word := range wordBreak.Split(text, -1) {
		if word == "" {
			continue
		}
		if shouted {
			word = strings.ToLower(word)
		}
		digit := unicode.IsDigit(rune(word[0])) && endsInDigit(b.String())
		if digit {
			b.WriteByte('_') // "18.1" must not become 181
		}
		if compound := words[word]; compound != "" {
			b.WriteString(compound)
			continue
		}
		for _, part := range camel(word) {
			if low := strings.ToLower(part); initialisms[low] && (part == low || part == title(low)) {
				part = strings.ToUpper(part)
			}
			b.WriteString(title(part))
		}
	}
	name := b.String()
	if name == "" {
		return "Empty"
	}
	if unicode.IsDigit(rune(name[0])) {
		return "X" + name
	}
	return name
}

func endsInDigit(s string) bool { return s != "" && unicode.IsDigit(rune(s[len(s)-1])) }

// camel splits a word before its capitals, as "userId" into "user" and "Id".
func camel(word string) []string {
	var out []string
	start := 0
	for i := 1; i < len(word); i++ {
		if unicode.IsUpper(rune(word[i])) && unicode.IsLower(rune(word[i-1])) {
			out = append(out, word[start:i])
			start = i
		}
	}
	return append(out, word[start:])
}

func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// lowerFirst makes an unexported name.
func lowerFirst(s string) string {
	n := 0
	for n < len(s) && unicode.IsUpper(rune(s[n])) {
		n++
	}
	switch {
	case n == 0:
		return s
	case n == len(s) || n == 1:
		return strings.ToLower(s[:n]) + s[n:]
	}
	return strings.ToLower(s[:n-1]) + s[n-1:]
}

// itemName is the name of one item of an array: "QueriesItem" and "_Errors" are Query and Error.
func itemName(text string) string {
	name := goName(text)
	if stem, ok := strings.CutSuffix(name, "Items"); ok && stem != "" {
		return singular(stem)
	}
	stem := strings.TrimSuffix(name, "Item")
	if one := singular(stem); one != stem {
		return one
	}
	if stem == "" {
		return "Item"
	}
	return name
}

func singular(s string) string {
	switch {
	case strings.HasSuffix(s, "ss"), strings.HasSuffix(s, "us"), strings.HasSuffix(s, "is"), strings.HasSuffix(s, "OS"):
		return s
	case strings.HasSuffix(s, "ies") && len(s) > 4:
		return s[:len(s)-3] + "y"
	case strings.HasSuffix(s, "sses"), strings.HasSuffix(s, "xes"), strings.HasSuffix(s, "ches"), strings.HasSuffix(s, "shes"):
		return s[:len(s)-2]
	case strings.HasSuffix(s, "s") && len(s) > 2:
		return s[:len(s)-1]
	}
	return s
}

// commonPrefix is what values like "com.apple.mdm.token" share, up to a dot.
func commonPrefix(values []string) string {
	prefix := values[0]
	for _, v := range values {
		for !strings.HasPrefix(v, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if !strings.HasPrefix(prefix, "com.apple.") {
		return ""
	}
	return prefix[:strings.LastIndexByte(prefix, '.')+1]
}

// secrets are the keys whose value nobody should see, where their type is string or data.
var secrets = regexp.MustCompile(`^(.*Password|password|passwordHash|PIN|Challenge|UnlockToken|BootstrapToken|ActivationLockBypassCode|` +
	`SharedSecret|sharedSecret|PrivateKeyExport|AppleCareToken|RegistrationToken|SecurityToken|TokenData|PIRAuthenticationToken|IdentityToken|` +
	`PAIRING_TOKEN|RedemptionCode)$`)

// notSecret are keys that only look like it.
var notSecret = map[string]bool{"SecurityToken": true}

func isSecret(k *key) bool {
	return (k.kind == "string" || k.kind == "data") && len(k.enum) == 0 && secrets.MatchString(k.name) && !notSecret[k.name]
}

// candidate is a type that needs a name of its own in a package.
type candidate struct {
	root string   // the name of the type of the file
	path []string // the names on the way to it
	deep int      // how many of path the name has
	name string
	at   string
}

func (c *candidate) propose() {
	if c.name = typeNames[c.root+"/"+strings.Join(c.path, "/")]; c.name != "" {
		return
	}
	tail := strings.Join(c.path[len(c.path)-c.deep:], "")
	if strings.HasPrefix(tail, c.root) && tail != c.root {
		c.name = tail
		return
	}
	c.name = c.root + tail
}

// settle gives every candidate a name that nobody else has. Those that would share one take in more of their path, all of
// them: so a name does not depend on who comes first. taken are names that are not to be had.
func settle(all []*candidate, taken map[string]bool) error {
	for _, c := range all {
		c.deep = 1
		c.propose()
	}
	for range 20 {
		users := map[string][]*candidate{}
		for _, c := range all {
			users[c.name] = append(users[c.name], c)
		}
		clash := false
		for name, these := range users {
			if len(these) == 1 && !taken[name] {
				continue
			}
			clash = true
			for _, c := range these {
				if c.deep < len(c.path) {
					c.deep++
					c.propose()
				} else if taken[name] {
					c.name += "Type"
				}
			}
			if len(these) > 1 && allAtRoot(these) {
				return fmt.Errorf("%s and %s: two types called %s", these[0].at, these[1].at, name)
			}
		}
		if !clash {
			return nil
		}
	}
	return fmt.Errorf("names do not settle")
}

func allAtRoot(these []*candidate) bool {
	n := 0
	for _, c := range these {
		if c.deep == len(c.path) {
			n++
		}
	}
	return n > 1 && n == len(these) && sameName(these)
}

func sameName(these []*candidate) bool {
	for _, c := range these {
		if c.name != these[0].name {
			return false
		}
	}
	return true
}
