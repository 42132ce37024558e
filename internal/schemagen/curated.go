package main

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// What the schema does not say, or says wrong. Everything here is a decision of ours.

// taken are names of types that hand-written files have and generated ones may not.
var taken = map[string][]string{
	"command": {"Error", "ErrorItem", "Result", "Report", "Request", "Order", "Receipt", "Query", "Entry", "Status", "State", "Offer", "Aside",
		"Command", "Raw", "Item", "Traits", "Store", "Service", "Priority", "Refusal", "Security", "Renewal", "Profiles", "Normal", "Inventory",
		"Advice", "ErrorCode", "Response"},
	"profile": {"Profile", "Payload", "Common", "Scope", "Raw", "Parsed", "Enrollment", "Problem", "Builder", "Signer", "CMSSigner", "Uses"},
	"mdm/ddm": {"Declaration", "StatusItem", "Payload", "Raw"},
}

// payloadNames are Go names of payloads whose type does not give a good one, by the name of the file.
var payloadNames = map[string]string{
	"GlobalPreferences":                             "GlobalPreferences",
	"com.apple.ADCertificate.managed":               "ADCertificate",
	"com.apple.AIM.account":                         "AIMAccount",
	"com.apple.AssetCache.managed":                  "ContentCaching",
	"com.apple.Dictionary":                          "ParentalControlsDictionary",
	"com.apple.DirectoryService.managed":            "DirectoryService",
	"com.apple.MCX(Accounts)":                       "MCXAccounts",
	"com.apple.MCX(EnergySaver)":                    "MCXEnergySaver",
	"com.apple.MCX(FileVault2)":                     "MCXFileVaultOptions",
	"com.apple.MCX(Mobility)":                       "MCXMobility",
	"com.apple.MCX(TimeServer)":                     "MCXTimeServer",
	"com.apple.MCX(WiFi)":                           "MCXWiFi",
	"com.apple.MCX.FileVault2":                      "FileVault",
	"com.apple.MCX.TimeMachine":                     "TimeMachine",
	"com.apple.ManagedClient.preferences":           "ManagedPreferences",
	"com.apple.NSExtension":                         "NSExtension",
	"com.apple.SetupAssistant.managed":              "SetupAssistant",
	"com.apple.TCC.configuration-profile-policy":    "PrivacyPreferences",
	"com.apple.airplay.security":                    "AirPlaySecurity",
	"com.apple.airplay":                             "AirPlay",
	"com.apple.airprint":                            "AirPrint",
	"com.apple.apn.managed":                         "APN",
	"com.apple.app.lock":                            "AppLock",
	"com.apple.applicationaccess.new":               "ParentalControlsApplications",
	"com.apple.applicationaccess":                   "Restrictions",
	"com.apple.appstore":                            "AppStore",
	"com.apple.asam":                                "AutonomousSingleAppMode",
	"com.apple.caldav.account":                      "CalDAV",
	"com.apple.carddav.account":                     "CardDAV",
	"com.apple.cellularprivatenetwork.managed":      "CellularPrivateNetwork",
	"com.apple.conferenceroomdisplay":               "ConferenceRoomDisplay",
	"com.apple.configurationprofile.identification": "Identification",
	"com.apple.dnsProxy.managed":                    "DNSProxy",
	"com.apple.dnsSettings.managed":                 "DNSSettings",
	"com.apple.eas.account":                         "ExchangeActiveSync",
	"com.apple.ews.account":                         "ExchangeWebServices",
	"com.apple.extensiblesso":                       "ExtensibleSSO",
	"com.apple.extensiblesso(kerberos)":             "ExtensibleSSOKerberos",
	"com.apple.familycontrols.contentfilter":        "ParentalControlsContentFilter",
	"com.apple.familycontrols.timelimits.v2":        "ParentalControlsTimeLimits",
	"com.apple.fileproviderd":                       "FileProvider",
	"com.apple.firstactiveethernet.managed":         "FirstActiveEthernet",
	"com.apple.firstethernet.managed":               "FirstEthernet",
	"com.apple.gamed":                               "GameCenter",
	"com.apple.globalethernet.managed":              "GlobalEthernet",
	"com.apple.google-oauth":                        "GoogleAccount",
	"com.apple.homescreenlayout":                    "HomeScreenLayout",
	"com.apple.ironwood.support":                    "Dictation",
	"com.apple.jabber.account":                      "JabberAccount",
	"com.apple.ldap.account":                        "LDAP",
	"com.apple.loginitems.managed":                  "LoginItems",
	"com.apple.loginwindow":                         "LoginWindow",
	"com.apple.lom":                                 "LightsOutManagement",
	"com.apple.mail.managed":                        "Mail",
	"com.apple.mcxMenuExtras":                       "MenuExtras",
	"com.apple.mcxloginscripts":                     "LoginScripts",
	"com.apple.mcxprinting":                         "Printing",
	"com.apple.mdm":                                 "MDM",
	"com.apple.mobiledevice.passwordpolicy":         "Passcode",
	"com.apple.networkusagerules":                   "NetworkUsageRules",
	"com.apple.notificationsettings":                "Notifications",
	"com.apple.osxserver.account":                   "MacOSServerAccount",
	"com.apple.preference.security":                 "SecurityPreferences",
	"com.apple.preferences.users":                   "UserPreferences",
	"com.apple.profileRemovalPassword":              "ProfileRemovalPassword",
	"com.apple.proxy.http.global":                   "GlobalHTTPProxy",
	"com.apple.relay.managed":                       "Relay",
	"com.apple.screensaver":                         "ScreenSaver",
	"com.apple.screensaver.user":                    "ScreenSaverUser",
	"com.apple.secondactiveethernet.managed":        "SecondActiveEthernet",
	"com.apple.secondethernet.managed":              "SecondEthernet",
	"com.apple.security.FDERecoveryKeyEscrow":       "FDERecoveryKeyEscrow",
	"com.apple.security.FDERecoveryRedirect":        "FDERecoveryRedirect",
	"com.apple.security.acme":                       "ACME",
	"com.apple.security.certificatepreference":      "CertificatePreference",
	"com.apple.security.certificaterevocation":      "CertificateRevocation",
	"com.apple.security.certificatetransparency":    "CertificateTransparency",
	"com.apple.security.firewall":                   "Firewall",
	"com.apple.security.identitypreference":         "IdentityPreference",
	"com.apple.security.pem":                        "PEMCertificate",
	"com.apple.security.pkcs1":                      "Certificate",
	"com.apple.security.pkcs12":                     "PKCS12",
	"com.apple.security.root":                       "RootCertificate",
	"com.apple.security.scep":                       "SCEP",
	"com.apple.security.smartcard":                  "SmartCard",
	"com.apple.security.wapi-identity":              "WAPIIdentity",
	"com.apple.servicemanagement":                   "ServiceManagement",
	"com.apple.shareddeviceconfiguration":           "LockScreenMessage",
	"com.apple.sso":                                 "SingleSignOn",
	"com.apple.subscribedcalendar.account":          "SubscribedCalendar",
	"com.apple.syspolicy.kernel-extension-policy":   "KernelExtensionPolicy",
	"com.apple.system-extension-policy":             "SystemExtensionPolicy",
	"com.apple.system.logging":                      "SystemLogging",
	"com.apple.systemmigration":                     "SystemMigration",
	"com.apple.systempolicy.control":                "SystemPolicyControl",
	"com.apple.systempolicy.managed":                "SystemPolicyManaged",
	"com.apple.systempolicy.rule":                   "SystemPolicyRule",
	"com.apple.systempreferences":                   "SystemPreferences",
	"com.apple.systemuiserver":                      "SystemUIServer",
	"com.apple.thirdactiveethernet.managed":         "ThirdActiveEthernet",
	"com.apple.thirdethernet.managed":               "ThirdEthernet",
	"com.apple.tvremote":                            "TVRemote",
	"com.apple.universalaccess":                     "Accessibility",
	"com.apple.vpn.managed":                         "VPN",
	"com.apple.vpn.managed.applayer":                "AppLayerVPN",
	"com.apple.vpn.managed.appmapping":              "AppLayerVPNMapping",
	"com.apple.webClip.managed":                     "WebClip",
	"com.apple.webcontent-filter":                   "WebContentFilter",
	"com.apple.wifi.managed":                        "WiFi",
	"com.apple.xsan":                                "Xsan",
	"com.apple.xsan.preferences":                    "XsanPreferences",
	"loginwindow":                                   "LoginWindowScripts",
}

// typeNames are Go names of inner types for which the rules give none, or a bad one, by the way to them.
var typeNames = map[string]string{
	"InstalledApplicationList/Items/Item":     "InstalledApplicationListKey",
	"SecurityInfo/SecurityInfo":               "SecurityInfoStatus",
	"Settings/Setting":                        "Setting",
	"SCEP/PayloadContent":                     "SCEPContent",
	"MDM/ServerCapabilities/ServerCapability": "MDMServerCapability",
}

// declarationNames are Go names of declarations, by the rest of their type.
var declarationNames = map[string]string{
	"account.caldav":                      "AccountCalDAV",
	"account.carddav":                     "AccountCardDAV",
	"account.ldap":                        "AccountLDAP",
	"credential.userpassword":             "CredentialUserPassword",
	"credential.acme":                     "CredentialACME",
	"credential.scep":                     "CredentialSCEP",
	"diskmanagement.settings":             "DiskManagementSettings",
	"extensible-sso":                      "ExtensibleSSO",
	"network.vpn.ikev2":                   "NetworkVPNIKEv2",
	"network.vpn.ipsec":                   "NetworkVPNIPsec",
	"network.vpn.vpn-plugin":              "NetworkVPNPlugin",
	"screensharing.connection":            "ScreenSharingConnection",
	"screensharing.connection.group":      "ScreenSharingConnectionGroup",
	"screensharing.host.settings":         "ScreenSharingHostSettings",
	"softwareupdate.enforcement.specific": "SoftwareUpdateEnforcementSpecific",
	"softwareupdate.settings":             "SoftwareUpdateSettings",
	"webcontent-filter.plugin":            "WebContentFilterPlugin",
	"useridentity":                        "UserIdentity",
}

func newNode() *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode} }

// correct mends what the schema says wrong. Each correction fails when it does not apply any more.
func correct(doc *document) error {
	fix, ok := corrections[doc.path]
	if !ok {
		return nil
	}
	if err := fix(doc); err != nil {
		return fmt.Errorf("%s: a correction does not apply any more: %w", doc.path, err)
	}
	return nil
}

var corrections = map[string]func(*document) error{
	// The members of SyncTokens are described in prose only.
	"declarative/protocol/tokensresponse.yaml": func(doc *document) error {
		k, err := find(doc.keys, "SyncTokens")
		if err != nil {
			return err
		}
		if len(k.keys) > 0 {
			return errors.New("the key SyncTokens has keys now")
		}
		k.node = newNode()
		k.keys = []*key{
			{at: k.at, name: "DeclarationsToken", kind: "string", required: true},
			{at: k.at, name: "Timestamp", kind: "string", required: true},
		}
		return nil
	},
	// One level too many: it is a map from language to text.
	"mdm/profiles/TopLevel.yaml": func(doc *document) error {
		k, err := find(doc.keys, "ConsentText")
		if err != nil {
			return err
		}
		inner, err := find(k.keys, "ConsentTextItem")
		if err != nil {
			return err
		}
		k.keys, k.value = nil, inner.value
		return nil
	},
	// The answer is an array with an entry for each setting, in their order; the schema shows one of them.
	"mdm/commands/settings.yaml": func(doc *document) error {
		k, err := find(doc.response, "Settings")
		if err != nil {
			return err
		}
		if k.kind != "dictionary" {
			return errors.New("the key Settings is no dictionary now")
		}
		item := *k
		item.name, item.support, item.required = "Result", nil, false
		k.kind, k.keys, k.node, k.item = "array", nil, newNode(), &item
		return nil
	},
	// An empty password is none: that is how it is cleared.
	"mdm/commands/passcode.firmware.set.yaml": mayBeEmpty("NewPassword"),
	"mdm/commands/passcode.recovery.set.yaml": mayBeEmpty("NewPassword"),
	// These are a string or an array of strings.
	"mdm/profiles/com.apple.security.scep.yaml": func(doc *document) error { return alternativeNames(doc, "PayloadContent", "SubjectAltName") },
	"mdm/profiles/com.apple.security.acme.yaml": func(doc *document) error { return alternativeNames(doc, "SubjectAltName") },
}

func mayBeEmpty(name string) func(*document) error {
	return func(doc *document) error {
		k, err := find(doc.keys, name)
		if err != nil {
			return err
		}
		if k.kind != "string" || !k.required {
			return fmt.Errorf("the key %s is no required string now", name)
		}
		k.empty = true
		return nil
	}
}

func alternativeNames(doc *document, path ...string) error {
	keys := doc.keys
	for _, name := range path {
		k, err := find(keys, name)
		if err != nil {
			return err
		}
		keys = k.keys
	}
	for _, name := range []string{"rfc822Name", "dNSName", "uniformResourceIdentifier"} {
		k, err := find(keys, name)
		if err != nil {
			return err
		}
		if k.kind != "string" {
			return fmt.Errorf("the key %s is no string now", name)
		}
		k.kind = "any"
	}
	return nil
}

func find(keys []*key, name string) (*key, error) {
	for _, k := range keys {
		if k.name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("no key %s", name)
}
