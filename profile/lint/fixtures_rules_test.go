package lint_test

import (
	"maps"
	"testing"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

func allFixtures(t *testing.T) map[string]ruleFixtures {
	t.Helper()
	k := newPKI(t)
	out := map[string]ruleFixtures{}
	for _, part := range []map[string]ruleFixtures{fileFixtures(t, k), initialFixtures(t, k), profileFixtures(t, k), setFixtures(t, k), updateFixtures(t, k), schemaFixtures()} {
		maps.Copy(out, part)
	}
	return out
}

func fileFixtures(t *testing.T, k pki) map[string]ruleFixtures {
	t.Helper()
	base := k.initial(t, nil)
	signed := k.sign(t, base, k.signer, k.key)
	changed := append([]byte(nil), signed...)
	changed[len(changed)-5] ^= 1 // in the signature
	encrypted := managed()
	encrypted.EncryptedContent = []byte("the CMS message")
	return map[string]ruleFixtures{
		"malformed": {"", []fixture{good(base), bad("-", []byte("hello")), bad("-", []byte{0x30, 0x82, 0x01, 0x00}).named("cms"),
			bad("-", edit(t, base, "<string>Configuration</string>", "<string>Profile Service</string>")).named("type")}},
		"signature":      {"", []fixture{good(signed), bad("-", changed)}},
		"unsigned":       {"", []fixture{good(signed), bad("-", base)}},
		"signer-expired": {"", []fixture{good(signed), good(base).named("unsigned"), bad("-", k.sign(t, base, k.oldSigner, k.oldKey))}},
		"common-keys": {"", []fixture{good(base), bad("PayloadUUID", edit(t, base, "<key>PayloadUUID</key>\n\t\t<string>", "<key>Other</key>\n\t\t<string>")),
			bad("PayloadContent[0].PayloadIdentifier", edit(t, base, "<key>PayloadIdentifier</key>\n\t\t\t\t<string>", "<key>Other</key>\n\t\t\t\t<string>")).named("payload"),
			bad("PayloadContent[0].PayloadVersion", edit(t, base, "<integer>1</integer>", "<integer>2</integer>")).named("version")}},
		"encrypted": {"", []fixture{good(base), bad("EncryptedPayloadContent", encrypted)}},
	}
}

func initialFixtures(t *testing.T, k pki) map[string]ruleFixtures {
	t.Helper()
	type change = func(p *profile.Profile, scep *profile.SCEP, m *profile.MDM)
	with := func(c change) *profile.Profile { return k.initial(t, c) }
	mdmWith := func(c func(m *profile.MDM)) *profile.Profile {
		return k.initial(t, func(_ *profile.Profile, _ *profile.SCEP, m *profile.MDM) { c(m) })
	}
	base := with(nil)
	second := func(p *profile.Profile, m *profile.MDM) {
		other := *m
		other.PayloadIdentifier = "com.example.mdm.second"
		p.Payloads = append(p.Payloads, &other)
	}
	const at = "PayloadContent[3]."
	return map[string]ruleFixtures{
		"basics-only": {"", []fixture{good(base), bad("PayloadContent[4]", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) { p.Payloads = append(p.Payloads, passcode()) }))}},
		"one-identity": {"", []fixture{good(base),
			bad("PayloadContent", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) {
				p.Payloads = append(p.Payloads[:2:2], p.Payloads[3])
			})).named("none"),
			bad("PayloadContent", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) {
				p.Payloads = append(p.Payloads, &profile.PKCS12{PayloadContent: []byte{1}})
			})).named("two")}},
		"one-mdm":  {"", []fixture{good(base), bad("PayloadContent", with(func(p *profile.Profile, _ *profile.SCEP, m *profile.MDM) { second(p, m) }))}},
		"identity": {"", []fixture{good(base), bad(at+"IdentityCertificateUUID", mdmWith(func(m *profile.MDM) { m.IdentityCertificateUUID = "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF" }))}},
		"trust-first": {"", []fixture{good(base), bad("PayloadContent[3]", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) {
			p.Payloads = append(p.Payloads[1:], p.Payloads[0])
		}))}},
		"payload-order": {"", []fixture{good(base), bad("PayloadContent[1]", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) {
			p.Payloads[0], p.Payloads[1] = p.Payloads[1], p.Payloads[0]
		})), bad("PayloadContent[3]", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) {
			p.Payloads[2], p.Payloads[3] = p.Payloads[3], p.Payloads[2]
		})).named("identity")}},
		"trust-chain": {"", []fixture{good(base), bad("PayloadContent[0]", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) { p.Payloads = p.Payloads[1:] }))}},
		"topic":       {"", []fixture{good(base), bad(at+"Topic", mdmWith(func(m *profile.MDM) { m.Topic = "com.example.mdm" }))}},
		"push-topic":  {"topic com.apple.mgmt.External.1\n", []fixture{good(base), bad(at+"Topic", mdmWith(func(m *profile.MDM) { m.Topic = "com.apple.mgmt.External.2" }))}},
		"url":         {"", []fixture{good(base), bad(at+"ServerURL", mdmWith(func(m *profile.MDM) { m.ServerURL = "http://mdm.example.com" })), bad(at+"CheckInURL", mdmWith(func(m *profile.MDM) { m.CheckInURL = new("https:/checkin") })).named("check-in"), bad("PayloadContent[2].PayloadContent.URL", with(func(_ *profile.Profile, scep *profile.SCEP, _ *profile.MDM) { scep.PayloadContent.URL = "ftp://x" })).named("scep")}},
		"rights":      {"", []fixture{good(base), bad(at+"AccessRights", mdmWith(func(m *profile.MDM) { m.AccessRights = new(int64(2)) })), bad(at+"AccessRights", mdmWith(func(m *profile.MDM) { m.AccessRights = nil })).named("none")}},
		"account": {"", []fixture{good(mdmWith(func(m *profile.MDM) {
			m.EnrollmentMode, m.AssignedManagedAppleID = new(profile.MDMEnrollmentModeADDE), new("a@example.com")
		})), bad(at+"AssignedManagedAppleID", mdmWith(func(m *profile.MDM) { m.EnrollmentMode = new(profile.MDMEnrollmentModeADDE) }))}},
		"check-out": {"", []fixture{good(base), bad(at+"CheckOutWhenRemoved", mdmWith(func(m *profile.MDM) { m.CheckOutWhenRemoved = nil }))}},
		"pinning": {"", []fixture{good(with(func(p *profile.Profile, _ *profile.SCEP, m *profile.MDM) {
			m.ServerURLPinningCertificateUUIDs = []string{p.PayloadIDs()[0].UUID}
		})), bad(at+"ServerURLPinningCertificateUUIDs", mdmWith(func(m *profile.MDM) { m.ServerURLPinningCertificateUUIDs = []string{m.IdentityCertificateUUID} }))}},
		"sign-message":      {"proxy mdm.example.com\n", []fixture{good(mdmWith(func(m *profile.MDM) { m.SignMessage = new(true) })), bad(at+"SignMessage", mdmWith(func(m *profile.MDM) { m.SignMessage = nil }))}},
		"sign-message-cost": {"", []fixture{good(base), bad(at+"SignMessage", mdmWith(func(m *profile.MDM) { m.SignMessage = new(true) }))}},
		"development-apns":  {"", []fixture{good(mdmWith(func(m *profile.MDM) { m.UseDevelopmentAPNS = new(false) })), bad(at+"UseDevelopmentAPNS", mdmWith(func(m *profile.MDM) { m.UseDevelopmentAPNS = new(true) }))}},
		"mdm-user-scope":    {"", []fixture{good(base), bad("PayloadScope", with(func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) { p.Scope = profile.ScopeUser }))}},
	}
}

func profileFixtures(t *testing.T, k pki) map[string]ruleFixtures {
	t.Helper()
	trust := func(payloads ...profile.Payload) *profile.Profile { return managed(payloads...) }
	root := func() profile.Payload { return profile.NewCertificate(k.root) }
	scep := func(change func(c *profile.SCEPContent)) *profile.Profile {
		c := profile.SCEPContent{URL: "https://ca.example.com", Challenge: mdm.SecretString("once"), Keysize: new(profile.SCEPKeysize2048)}
		change(&c)
		return managed(&profile.SCEP{PayloadContent: c})
	}
	named := func(identifier string) *profile.Profile {
		p := managed(passcode(), wifi())
		p.Identifier = identifier
		return p
	}
	ending := func(expiration, removal int, payloads ...profile.Payload) *profile.Profile {
		p := managed(payloads...)
		if expiration > 0 {
			p.ExpirationDate = day(expiration, 1)
		}
		if removal > 0 {
			p.RemovalDate = day(removal, 1)
		}
		return p
	}
	pair := managed(passcode(), wifi())
	twice := `<string>com.example.managed.com.apple.wifi.managed.2</string>`
	mail := calDAV()
	mail.CalDAVPassword = mdm.SecretString("secret")
	variable := wifi()
	variable.ProxyType, variable.ProxyServer, variable.ProxyServerPort = new(profile.WiFiProxyTypeManual), new("${proxy}"), new(int64(1))
	deep := wifi()
	deep.EAPClientConfiguration = &profile.WiFiEAPClientConfiguration{TLSTrustedServerNames: []string{"a", "${server name}.example.com"}}
	consent := managed(passcode(), wifi())
	consent.ConsentText = map[string]string{"default": "Dear ${user},"}
	asRoot := &profile.RootCertificate{PayloadContent: k.intermediate.Raw}
	return map[string]ruleFixtures{
		"identifier": {"", []fixture{good(pair), bad("PayloadIdentifier", named("My Wi-Fi"))}},
		"unique": {"", []fixture{good(pair), bad("PayloadContent[1].PayloadIdentifier", edit(t, pair, twice, "<string>com.example.managed.com.apple.mobiledevice.passwordpolicy.1</string>")),
			bad("PayloadContent[1].PayloadUUID", edit(t, pair, "<string>"+profile.UUID("com.example.managed.com.apple.wifi.managed.2")+"</string>", "<string>"+profile.UUID("com.example.managed.com.apple.mobiledevice.passwordpolicy.1")+"</string>")).named("uuid")}},
		"profile-expired":        {"", []fixture{good(ending(2030, 2031, passcode(), wifi())), bad("PayloadExpirationDate", ending(2026, 0, passcode())), bad("RemovalDate", ending(0, 2025, passcode())).named("removal")}},
		"certificate":            {"", []fixture{good(trust(root(), profile.NewCertificate(k.intermediate), &profile.PEMCertificate{PayloadContent: pemOf(k.weak)})), bad("PayloadContent[0]", trust(asRoot)), bad("PayloadContent[0].PayloadContent", trust(&profile.PEMCertificate{PayloadContent: []byte("no")})).named("pem")}},
		"certificate-expired":    {"", []fixture{good(trust(root())), bad("PayloadContent[0].PayloadContent", trust(profile.NewCertificate(k.expired)))}},
		"certificate-expires":    {"", []fixture{good(trust(root(), profile.NewCertificate(k.expired))), bad("PayloadContent[0].PayloadContent", trust(profile.NewCertificate(k.soon)))}},
		"certificate-weak":       {"", []fixture{good(trust(root())), bad("PayloadContent[0].PayloadContent", trust(&profile.PEMCertificate{PayloadContent: pemOf(k.weak)})), bad("PayloadContent[0].PayloadContent", trust(&profile.Certificate{PayloadContent: k.sha1.Raw})).named("sha1")}},
		"expiry-order":           {"", []fixture{good(ending(2044, 0, root())), good(ending(2050, 0, passcode())).named("none"), bad("PayloadExpirationDate", ending(2046, 0, root())), bad("RemovalDate", ending(0, 2046, root())).named("removal")}},
		"scep-pin":               {"", []fixture{good(scep(func(c *profile.SCEPContent) { c.URL, c.CAFingerprint = "http://ca.example.com", []byte{1} })), bad("PayloadContent[0].PayloadContent.CAFingerprint", scep(func(c *profile.SCEPContent) { c.URL = "http://ca.example.com" }))}},
		"scep-challenge":         {"", []fixture{good(scep(func(*profile.SCEPContent) {})), bad("PayloadContent[0].PayloadContent.Challenge", scep(func(c *profile.SCEPContent) { c.Challenge = mdm.Secret{} }))}},
		"scep-key":               {"", []fixture{good(scep(func(*profile.SCEPContent) {})), bad("PayloadContent[0].PayloadContent.Keysize", scep(func(c *profile.SCEPContent) { c.Keysize = nil }))}},
		"pkcs12":                 {"", []fixture{good(managed(&profile.PKCS12{PayloadContent: []byte{1}})), bad("PayloadContent[0].PayloadContent", managed(&profile.PKCS12{}))}},
		"password-clear":         {"", []fixture{good(managed(&profile.PKCS12{PayloadContent: []byte{1}})), bad("PayloadContent[0].Password", managed(&profile.PKCS12{PayloadContent: []byte{1}, Password: mdm.SecretString("secret")}))}},
		"account-password-clear": {"", []fixture{good(managed(calDAV())), bad("PayloadContent[0].CalDAVPassword", managed(mail))}},
		"removal-password-clear": {"", []fixture{good(managed(passcode())), bad("PayloadContent[1].RemovalPassword", managed(passcode(), &profile.ProfileRemovalPassword{RemovalPassword: mdm.SecretString("secret")}))}},
		"one-account":            {"", []fixture{good(managed(passcode(), calDAV())), bad("PayloadContent[1]", managed(calDAV(), &profile.LDAP{LDAPAccountHostName: "ldap.example.com"}))}},
		"declarations":           {"", []fixture{good(pair), bad("PayloadContent[0]", managed(&profile.Declarations{}))}},
		"variable": {"", []fixture{good(pair), bad("PayloadContent[0].ProxyServer", managed(variable)), bad("PayloadContent[0].EAPClientConfiguration.TLSTrustedServerNames[1]", managed(deep)).named("deep"),
			bad("ConsentText.default", consent).named("header")}},
	}
}

func setFixtures(t *testing.T, k pki) map[string]ruleFixtures {
	t.Helper()
	as := func(identifier string, scope profile.Scope, payloads ...profile.Payload) *profile.Profile {
		return &profile.Profile{Identifier: identifier, Scope: scope, Payloads: payloads}
	}
	a, b := as("com.example.a", "", passcode()), as("com.example.b", "", wifi())
	clip := func() profile.Payload { return &profile.WebClip{URL: "https://example.com", Label: "L"} }
	font := &profile.WebClip{Common: profile.Common{PayloadIdentifier: "one", PayloadUUID: "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF"}, URL: "https://example.com", Label: "L"}
	twin := *font
	twin.PayloadIdentifier = "two"
	lock := func() profile.Payload {
		return &profile.GlobalHTTPProxy{ProxyType: new(profile.GlobalHTTPProxyProxyTypeAuto)}
	}
	p12 := func(content byte) *profile.Profile {
		return as("com.example.id", "", &profile.PKCS12{PayloadContent: []byte{content}})
	}
	scep := func(challenge string) *profile.Profile {
		return as("com.example.id", "", &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://ca.example.com", Challenge: mdm.SecretString(challenge)}})
	}
	acme := func(id string) *profile.Profile {
		return as("com.example.id", "", &profile.ACME{DirectoryURL: "https://acme.example.com", ClientIdentifier: id, KeyType: profile.ACMEKeyTypeECSECPrimeRandom, KeySize: 256, Subject: [][][]string{{{"CN", "x"}}}})
	}
	moved := k.initial(t, func(p *profile.Profile, _ *profile.SCEP, _ *profile.MDM) { p.Identifier = "com.example.second" })
	return map[string]ruleFixtures{
		"set-identifier": {"", []fixture{several("good", "", map[string]any{"a": a, "b": b}), several("good-scopes", "", map[string]any{"a": as("com.example.a", profile.ScopeUser, passcode()), "b": as("com.example.a", profile.ScopeSystem, wifi())}),
			several("bad", "PayloadIdentifier", map[string]any{"a": a, "b": as("com.example.a", "", wifi())})}},
		"set-uuid":   {"", []fixture{several("good", "", map[string]any{"a": a, "b": b}), several("bad", "PayloadContent[0].PayloadUUID", map[string]any{"a": as("com.example.a", "", font), "b": as("com.example.b", "", &twin)})}},
		"set-mdm":    {"", []fixture{several("good", "", map[string]any{"a": a, "b": k.initial(t, nil)}), several("bad", "PayloadContent[3]", map[string]any{"a": moved, "b": k.initial(t, nil)})}},
		"set-single": {"platform iOS\n", []fixture{several("good", "", map[string]any{"a": as("com.example.a", "", clip()), "b": as("com.example.b", "", clip())}), several("bad", "PayloadContent[0]", map[string]any{"a": as("com.example.a", "", lock()), "b": as("com.example.b", "", lock())})}},
		"pairing": {"", []fixture{good(managed(passcode(), wifi())), good(managed(clip())).named("free"), good(k.initial(t, nil)).named("initial"), several("good-set", "", map[string]any{"a": a, "b": b}),
			bad("PayloadContent[0]", a).named("restriction"), bad("PayloadContent[0]", b).named("capability")}},
		"identity-shared": {"", []fixture{several("good", "", map[string]any{"phone/id": p12(1), "phone/again": p12(1), "tablet/id": p12(2)}),
			several("bad", "PayloadContent[0].PayloadContent", map[string]any{"phone/id": p12(1), "tablet/id": p12(1)}),
			several("bad-acme", "PayloadContent[0].ClientIdentifier", map[string]any{"phone/id": acme("x"), "tablet/id": acme("x")})}},
		"challenge-shared": {"", []fixture{several("good", "", map[string]any{"phone/id": scep("one"), "tablet/id": scep("two"), "watch/id": scep(""), "tv/id": scep("")}),
			several("bad", "PayloadContent[0].PayloadContent.Challenge", map[string]any{"phone/id": scep("one"), "tablet/id": scep("one")})}},
	}
}

func updateFixtures(t *testing.T, k pki) map[string]ruleFixtures {
	t.Helper()
	old := k.initial(t, nil)
	with := func(path string, c func(p *profile.Profile, m *profile.MDM)) ruleFixtures {
		next := k.initial(t, func(p *profile.Profile, _ *profile.SCEP, m *profile.MDM) { c(p, m) })
		renewed := k.initial(t, func(_ *profile.Profile, scep *profile.SCEP, m *profile.MDM) {
			scep.PayloadUUID = "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF"
			m.IdentityCertificateUUID, m.AccessRights = scep.PayloadUUID, new(int64(mdm.InspectProfiles|mdm.InstallProfiles))
		})
		few := k.initial(t, func(_ *profile.Profile, _ *profile.SCEP, m *profile.MDM) {
			m.AccessRights = new(int64(mdm.QueryDevice))
		})
		before := old
		if path == "PayloadContent[3].AccessRights" {
			before = few
		}
		return ruleFixtures{"", []fixture{several("good", "", map[string]any{"old": old, "new": renewed}), several("bad", path, map[string]any{"old": before, "new": next})}}
	}
	set := func(path string, c func(m *profile.MDM)) ruleFixtures {
		return with("PayloadContent[3]."+path, func(_ *profile.Profile, m *profile.MDM) { c(m) })
	}
	return map[string]ruleFixtures{
		"update-identifier": with("PayloadIdentifier", func(p *profile.Profile, _ *profile.MDM) { p.Identifier = "com.example.other" }),
		"update-mdm":        with("PayloadContent", func(p *profile.Profile, _ *profile.MDM) { p.Payloads = p.Payloads[:3] }),
		"update-one-mdm": with("PayloadContent[4]", func(p *profile.Profile, m *profile.MDM) {
			other := *m
			other.PayloadIdentifier = "com.example.mdm.second"
			p.Payloads = append(p.Payloads, &other)
		}),
		"update-topic":           set("Topic", func(m *profile.MDM) { m.Topic = "com.apple.mgmt.External.2" }),
		"update-server-url":      set("ServerURL", func(m *profile.MDM) { m.ServerURL, m.CheckInURL = "https://new.example.com", new(m.ServerURL) }),
		"update-check-in-url":    set("CheckInURL", func(m *profile.MDM) { m.CheckInURL = new("https://new.example.com") }),
		"update-apple-account":   set("AssignedManagedAppleID", func(m *profile.MDM) { m.AssignedManagedAppleID = new("a@example.com") }),
		"update-enrollment-mode": set("EnrollmentMode", func(m *profile.MDM) { m.EnrollmentMode = new(profile.MDMEnrollmentModeADDE) }),
		"update-app":             set("RequiredAppIDForMDM", func(m *profile.MDM) { m.RequiredAppIDForMDM = new(int64(1)) }),
		"update-rights":          set("AccessRights", func(*profile.MDM) {}),
		"update-user-channels": set("ServerCapabilities", func(m *profile.MDM) {
			m.ServerCapabilities = []profile.MDMServerCapability{profile.MDMServerCapabilityPerUserConnections}
		}),
		"update-encrypted": with("EncryptedPayloadContent", func(p *profile.Profile, _ *profile.MDM) { p.Payloads, p.EncryptedContent = nil, []byte{1} }),
	}
}

func schemaFixtures() map[string]ruleFixtures {
	raw := func(kind string, values map[string]any) *profile.Profile {
		return managed(&profile.Raw{Type: kind, Values: values})
	}
	one := func(options, path string, wrong, right *profile.Profile) ruleFixtures {
		return ruleFixtures{options, []fixture{good(right), bad("PayloadContent[0]"+path, wrong)}}
	}
	pair := managed(passcode(), wifi())
	eas := func(change func(*profile.ExchangeActiveSync)) *profile.Profile {
		p := &profile.ExchangeActiveSync{UserName: new("a")}
		change(p)
		return managed(p)
	}
	acme := func(bound bool) *profile.Profile {
		return managed(&profile.ACME{DirectoryURL: "https://acme.example.com", ClientIdentifier: "x", KeyType: profile.ACMEKeyTypeECSECPrimeRandom, KeySize: 256,
			HardwareBound: bound, Attest: new(true), Subject: [][][]string{{{"CN", "x"}}}})
	}
	lock := managed(&profile.ProfileRemovalPassword{})
	return map[string]ruleFixtures{
		"schema-required":        one("", ".CalDAVHostName", raw(profile.TypeCalDAV, map[string]any{"CalDAVUsername": "a"}), managed(calDAV())),
		"schema-type":            one("", ".AutoJoin", raw(profile.TypeWiFi, map[string]any{"SSID_STR": "Office", "AutoJoin": "yes"}), pair),
		"schema-enum":            one("", ".EncryptionType", raw(profile.TypeWiFi, map[string]any{"SSID_STR": "Office", "EncryptionType": "WPA9"}), pair),
		"schema-range":           one("", ".minLength", managed(&profile.Passcode{MinLength: new(int64(99))}), pair),
		"schema-format":          one("", ".PayloadCertificateUUID", eas(func(p *profile.ExchangeActiveSync) { p.PayloadCertificateUUID = new("x") }), eas(func(*profile.ExchangeActiveSync) {})),
		"schema-combination":     one("", ".HardwareBound", acme(false), acme(true)),
		"schema-unknown":         one("", ".SSID", raw(profile.TypeWiFi, map[string]any{"SSID_STR": "Office", "SSID": "Office"}), pair),
		"schema-platform":        one("platform macOS\n", "", eas(func(*profile.ExchangeActiveSync) {}), pair),
		"schema-version":         one("platform iOS\nos 15.4\n", "", acme(true), pair),
		"schema-removed":         one("platform iOS\nos 18.0\n", ".ManagedAppleID", managed(&profile.MDM{ManagedAppleID: new("a@example.com")}), managed(&profile.MDM{AssignedManagedAppleID: new("a@example.com")})),
		"schema-deprecated":      one("platform iOS\nos 18.0\n", ".HeaderMagic", eas(func(p *profile.ExchangeActiveSync) { p.HeaderMagic = new("x") }), eas(func(*profile.ExchangeActiveSync) {})),
		"schema-supervised":      one("platform iOS\nsupervised no\n", "", managed(&profile.AppLock{App: profile.AppLockApp{Identifier: "com.example"}}), pair),
		"schema-enrollment":      one("platform macOS\napproved no\n", "", managed(&profile.KernelExtensionPolicy{}), pair),
		"schema-channel":         one("platform macOS\nchannel device\n", "", managed(&profile.CertificatePreference{Name: "a", PayloadCertificateUUID: "9A1F8B7E-0001-4002-8003-AABBCCDDEEFF"}), pair),
		"schema-user-enrollment": one("platform iOS\nchannel user-enrollment\n", "", lock, pair),
		"schema-shared-ipad":     one("platform iOS\nshared yes\n", "", lock, managed(&profile.WebClip{URL: "https://example.com", Label: "L"})),
		"schema-ignored":         one("platform iOS\nchannel user-enrollment\n", ".AccessRights", managed(&profile.MDM{AccessRights: new(int64(1))}), managed(&profile.WebClip{URL: "https://example.com", Label: "L"})),
	}
}
