package mdmtest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// abmProfile is a profile that a server has defined.
type abmProfile struct {
	server *ABMServer
	uuid   string
	keys   map[string]json.RawMessage // without profile_uuid and devices
}

// given returns the profile as its devices get it.
func (p *abmProfile) given() []byte {
	data, _ := json.Marshal(p.keys) // of JSON
	return data
}

// Profile returns a profile as it was defined, as JSON, and whose it is.
func (a *ABM) Profile(uuid string) (profile []byte, s *ABMServer, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.byUUID[uuid]
	if n == 0 {
		return nil, nil, false
	}
	p := a.profiles[n-1]
	return p.given(), p.server, true
}

// define answers POST /profile.
func (a *ABM) define(c *abmCall) abmReply {
	var keys map[string]json.RawMessage
	if reply, ok := c.decode(&keys); !ok {
		return reply
	}
	if code, why := checkABMProfile(keys); code != "" {
		return refuseABM(http.StatusBadRequest, code, "%s", why)
	}
	var body abmSerials
	if err := json.Unmarshal(c.body, &body); err != nil {
		return refuseABM(http.StatusBadRequest, "MALFORMED_REQUEST_BODY", "%v", err)
	}
	if len(body.Devices) > a.config.MaxLimit {
		return refuseABM(http.StatusBadRequest, "MALFORMED_REQUEST_BODY", "%d devices, of %d at most", len(body.Devices), a.config.MaxLimit)
	}
	delete(keys, "devices")
	delete(keys, "profile_uuid")
	p := &abmProfile{server: c.server, uuid: abmRandom(16), keys: keys}
	a.profiles = append(a.profiles, p)
	a.byUUID[p.uuid] = uint32(len(a.profiles))
	return a.assignTo(c, p.uuid, body.Devices)
}

// checkABMProfile tells what Apple would refuse, with its code.
func checkABMProfile(keys map[string]json.RawMessage) (code, why string) {
	texts := []struct {
		key  string
		max  int
		need string // the code if it is missing
		code string // if it is wrong
	}{
		{"profile_name", 125, "CONFIG_NAME_REQUIRED", "CONFIG_NAME_INVALID"},
		{"url", 2000, "CONFIG_URL_REQUIRED", "CONFIG_URL_INVALID"},
		{"configuration_web_url", 2000, "", "CONFIG_URL_INVALID"},
		{"department", 125, "", "DEPARTMENT_INVALID"},
		{"support_phone_number", 50, "", "SUPPORT_PHONE_INVALID"},
		{"support_email_address", 250, "", "SUPPORT_EMAIL_INVALID"},
		{"org_magic", 256, "", "MAGIC_INVALID"},
		{"language", 2, "", "LOCALE_INVALID"},
		{"region", 2, "", "LOCALE_INVALID"},
	}
	for _, t := range texts {
		raw, there := keys[t.key]
		var v string
		if there && json.Unmarshal(raw, &v) != nil {
			return t.code, t.key + " is no text"
		}
		empty := strings.TrimSpace(v) == ""
		switch {
		case empty && t.need != "":
			return t.need, t.key + " is missing"
		case utf8.RuneCountInString(v) > t.max:
			return t.code, t.key + " is too long"
		case !empty && strings.HasSuffix(t.key, "url") && !abmHTTPS(v):
			return t.code, t.key + " is no https URL"
		case !empty && t.max == 2 && !abmLocale(t.key, v):
			return t.code, t.key + " is no code of ISO"
		}
	}
	return checkABMFlags(keys)
}

func abmHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && !strings.ContainsAny(s, " \r\n")
}

// abmLocale reports whether v is as "en", or "US" for a region.
func abmLocale(key, v string) bool {
	from := byte('a')
	if key == "region" {
		from = 'A'
	}
	return len(v) == 2 && v[0]-from < 26 && v[1]-from < 26
}

func checkABMFlags(keys map[string]json.RawMessage) (code, why string) {
	flags := map[string]bool{"is_supervised": true, "is_mdm_removable": true}
	for _, key := range []string{"is_supervised", "is_mandatory", "is_mdm_removable", "is_multi_user", "await_device_configured", "auto_advance_setup",
		"allow_pairing", "do_not_use_profile_from_backup", "is_return_to_service"} {
		if raw, there := keys[key]; there {
			var v bool
			if json.Unmarshal(raw, &v) != nil {
				return "FLAGS_INVALID", key + " is neither true nor false"
			}
			flags[key] = v
		}
	}
	if !flags["is_supervised"] && !flags["is_mdm_removable"] {
		return "FLAGS_INVALID", "management that cannot be removed needs supervision"
	}
	if raw, there := keys["skip_setup_items"]; there {
		var items []string
		if json.Unmarshal(raw, &items) != nil {
			return "MALFORMED_REQUEST_BODY", "skip_setup_items is no list of texts"
		}
	}
	for _, key := range []string{"anchor_certs", "supervising_host_certs"} {
		if raw, there := keys[key]; there && !abmCertificates(raw) {
			return "MALFORMED_REQUEST_BODY", key + " is no list of certificates, in base64 without line breaks"
		}
	}
	return "", ""
}

// abmCertificates reports whether raw is a list of DER in base64.
func abmCertificates(raw json.RawMessage) bool {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return false
	}
	for _, text := range list {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || strings.ContainsAny(text, "\r\n") {
			return false
		}
		if _, err := x509.ParseCertificate(der); err != nil {
			return false
		}
	}
	return true
}

// known finds a profile of the server, or refuses the call.
func (a *ABM) known(c *abmCall, uuid string) (uint32, abmReply, bool) {
	if uuid == "" {
		return 0, refuseABM(http.StatusBadRequest, "PROFILE_UUID_REQUIRED", "no profile_uuid"), false
	}
	n := a.byUUID[uuid]
	if n == 0 || a.profiles[n-1].server != c.server {
		return 0, refuseABM(a.config.NotFound, "NOT_FOUND", "there is no profile %q", uuid), false
	}
	return n, abmReply{}, true
}

// profileOf answers GET /profile.
func (a *ABM) profileOf(c *abmCall) abmReply {
	n, reply, ok := a.known(c, c.query.Get("profile_uuid"))
	if !ok {
		return reply
	}
	p := a.profiles[n-1]
	keys := map[string]any{"profile_uuid": p.uuid}
	for key, value := range p.keys {
		keys[key] = value
	}
	return c.json(keys)
}
