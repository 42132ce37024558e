package profile

import "slices"

// Class says what a payload is to its user: something that is given, something that is taken, or neither. Apple's best
// practices speak of accounts, restrictions and capabilities, and do not list them; which type is what is our reading.
type Class uint8

// The classes. The zero Class is that of a type that nobody has classified: one that the schema does not know.
const (
	Unclassified Class = iota
	Account            // a capability with credentials of its own: mail, calendar, contacts, …
	Restriction        // a rule that binds the user or the device
	Capability         // access to something, besides accounts: networks, printers, fonts, …
	Identity           // a certificate with a private key, or what asks for one
	Trust              // a certificate that is trusted
	Enrolling          // com.apple.mdm
	Neutral            // a setting that neither gives nor takes
)

var classNames = [...]string{"unclassified", "account", "restriction", "capability", "identity", "trust", "enrollment", "neutral"}

// String returns the class in a word.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return classNames[Unclassified]
}

// Gives reports whether payloads of the class give the user something that a restriction may be the price of.
func (c Class) Gives() bool { return c == Account || c == Capability }

// ClassOf returns the class of a payload. That of a type with several forms, com.apple.MCX, depends on its keys.
func ClassOf(p Payload) Class {
	if isMissing(p) {
		return Unclassified
	}
	if p.PayloadType() != TypeMCX {
		return classes[p.PayloadType()]
	}
	switch Typed(p).(type) {
	case *MCXAccounts, *MCXFileVaultOptions, *MCXWiFi:
		return Restriction
	case *MCXEnergySaver, *MCXMobility, *MCXTimeServer:
		return Neutral
	}
	return Unclassified
}

// classes has every type of the schema but com.apple.MCX.
var classes = byType(map[Class][]string{
	Account: {
		TypeMail, TypeExchangeActiveSync, TypeExchangeWebServices, TypeGoogleAccount, TypeCalDAV, TypeCardDAV, TypeLDAP,
		TypeSubscribedCalendar, TypeJabberAccount, TypeAIMAccount, TypeMacOSServerAccount,
	},
	Restriction: {
		TypePasscode, TypeRestrictions, TypeParentalControlsApplications, TypeParentalControlsContentFilter,
		TypeParentalControlsTimeLimits, TypeParentalControlsDictionary, TypeDictation, TypeAppLock, TypeAutonomousSingleAppMode,
		TypeWebContentFilter, TypeGlobalHTTPProxy, TypeGameCenter, TypeDashboard, TypeSystemPreferences,
		TypeSecurityPreferences, TypeUserPreferences, TypeDiscRecording, TypeNetworkUsageRules, TypeDomains,
		TypeAirPlaySecurity, TypeFirewall, TypeFileVault, TypeFDERecoveryKeyEscrow, TypeFDERecoveryRedirect, TypeSmartCard,
		TypeCertificateRevocation, TypeCertificateTransparency, TypeSystemPolicyControl, TypeSystemPolicyManaged,
		TypeSystemPolicyRule, TypeKernelExtensionPolicy, TypeSystemExtensionPolicy, TypePrivacyPreferences, TypeNSExtension,
		TypeLoginWindow, TypeLoginWindowScripts, TypeScreenSaver, TypeScreenSaverUser, TypeSoftwareUpdate, TypeAppStore,
		TypeProfileRemovalPassword, TypeShareKitHelper, TypeSetupAssistant, TypeFinder, TypeSystemUIServer,
	},
	Capability: {
		TypeVPN, TypeAppLayerVPN, TypeAppLayerVPNMapping, TypeWiFi, TypeGlobalEthernet, TypeFirstEthernet,
		TypeFirstActiveEthernet, TypeSecondEthernet, TypeSecondActiveEthernet, TypeThirdEthernet, TypeThirdActiveEthernet,
		TypeCellular, TypeCellularPrivateNetwork, TypeAPN, TypeRelay, TypeDNSSettings, TypeDNSProxy, TypeAirPrint, TypeAirPlay,
		TypePrinting, TypeWebClip, TypeFont, TypeSingleSignOn, TypeExtensibleSSO, TypeAssociatedDomains, TypeADCertificate,
		TypeDirectoryService, TypeXsan, TypeXsanPreferences, TypeFileProvider, TypeContentCaching, TypeEducation,
		TypeTVRemote, TypeConferenceRoomDisplay, TypeLightsOutManagement,
	},
	Identity:  {TypeSCEP, TypeACME, TypePKCS12, TypeWAPIIdentity, TypeIdentityPreference, TypeIdentification},
	Trust:     {TypeRootCertificate, TypeCertificate, TypePEMCertificate, TypeCertificatePreference},
	Enrolling: {TypeMDM},
	Neutral: {
		TypeGlobalPreferences, TypeManagedPreferences, TypeTimeMachine, TypeSystemConfiguration, TypeDesktop, TypeDock,
		TypeHomeScreenLayout, TypeLoginItems, TypeMenuExtras, TypeLoginScripts, TypeNotifications, TypeServiceManagement,
		TypeLockScreenMessage, TypeSystemLogging, TypeSystemMigration, TypeAccessibility, TypeDeclarations,
	},
})

func byType(lists map[Class][]string) map[string]Class {
	out := map[string]Class{}
	for class, types := range lists {
		for _, t := range types {
			out[t] = class
		}
	}
	return out
}

// Advice is a restriction that we advise to ask for in return for a capability.
type Advice struct {
	Capability  string // a payload type, as Restriction
	Restriction string
	Why         string
}

// Why a restriction is the price of a capability.
const (
	whyPasscode = "what it brings to the device is as safe as the passcode that protects it"
	whyLeak     = "restrictions can keep work data from apps that are not managed"
	whyDisk     = "what it brings to the disk is readable without disk encryption"
)

// Advised lists the pairs that we advise. Apple asks for pairs and names none; change what does not suit you.
func Advised() []Advice {
	var out []Advice
	for _, t := range PayloadTypes() {
		switch {
		case classes[t] == Account && t != TypeSubscribedCalendar, slices.Contains(networks, t):
			out = append(out, Advice{t, TypePasscode, whyPasscode})
		case t == TypeFileProvider, t == TypeXsan:
			out = append(out, Advice{t, TypeFileVault, whyDisk})
		}
		switch t {
		case TypeMail, TypeExchangeActiveSync, TypeGoogleAccount:
			out = append(out, Advice{t, TypeRestrictions, whyLeak})
		}
	}
	return out
}

// networks are the ways into an organization's network, and what signs in there.
var networks = []string{
	TypeVPN, TypeAppLayerVPN, TypeWiFi, TypeGlobalEthernet, TypeFirstEthernet, TypeFirstActiveEthernet, TypeSecondEthernet,
	TypeSecondActiveEthernet, TypeThirdEthernet, TypeThirdActiveEthernet, TypeCellularPrivateNetwork, TypeRelay,
	TypeSingleSignOn, TypeExtensibleSSO, TypeDirectoryService,
}
